"""What a backtest assumes: capital, the conventions of a fill, costs, borrowing and the frequency of trading.

How published examples are expressed (each field says what it does in :class:`Assumptions`):

===============================================  =====================================================================
example                                          assumptions that differ from the defaults
===============================================  =====================================================================
zipline, ``order_target(asset, shares)``         ``target="shares"``, ``fill="next_close"``, its commission per share,
(dual moving average, buyapple)                  ``max_volume_share=0.025, impact=0.1`` for ``VolumeShareSlippage`` or
                                                 ``slippage_bps=5, max_volume_share=0.1`` for ``FixedBasisPoints``
vectorbt, ``Portfolio.from_signals(close, ...)`` ``fill="close", lot=None, rebalance="on_change", buys="within_cash"``,
                                                 ``cash_buffer=0``, ``commission_bps`` for its ``fees``
backtrader, ``buy()`` with a fixed stake         ``target="shares"``, ``fill="next_open"``, ``commission_bps``
backtesting.py, ``buy()`` and ``sell()``         ``sizing="fill"``, ``rebalance="on_change"``, ``cash_buffer=1e-4``,
of all there is                                  ``buys="within_cash"``, ``allow_short=True``, ``commission_bps``
bt, ``RunMonthly`` and ``WeighEqually``          ``fill="close", lot=1 or None, rebalance="month_start"``
12-1 momentum of a textbook                      ``fill="close", lot=None, rebalance="month_end"``, no costs
pyfolio, quantstats, empyrical                   any; ``sessions_per_year`` and ``risk_free_rate`` of the ratios
===============================================  =====================================================================

In all of them ``min_trade_value_usd=0`` and ``tolerance=0``, because those programs trade every change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from workbench.errors import ConfigError, nearest

if TYPE_CHECKING:
    from workbench.settings import Settings

Fill = Literal["next_open", "next_close", "close"]
Target = Literal["weights", "shares"]
Sizing = Literal["decision", "fill"]
Rebalance = Literal["every_session", "on_change", "week_end", "month_end", "month_start"]
Buys = Literal["in_full", "within_cash"]
Delisting = Literal["hold", "last_close"]
DayCount = Literal["actual/360", "actual/365", "sessions/252"]

_CHOICES = {
    "fill": get_args(Fill),
    "target": get_args(Target),
    "sizing": get_args(Sizing),
    "rebalance": get_args(Rebalance),
    "buys": get_args(Buys),
    "delisting": get_args(Delisting),
    "day_count": get_args(DayCount),
}
_OPTIONAL = ("lot", "max_volume_share", "commission_max_share")
_SWITCHES = ("compounding", "allow_short")


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Everything that a backtest takes for granted; the defaults are those of the paper exchange.

    Attributes
    ----------
    capital_usd
        Cash on the first session.
    commission_per_share_usd, commission_per_trade_usd, commission_bps
        Added up: USD per share, USD per order, basis points of the value traded.
    commission_min_usd, commission_max_share
        The commission of an order is at least so many USD, and at most this fraction of its value (None: no limit);
        the maximum wins, as in the tariff of Interactive Brokers.
    slippage_bps, half_spread_bps
        Both are charged against the price of reference: a buy pays ``price x (1 + (slippage + half spread) / 10000)``.
    max_volume_share, impact
        At most this fraction of the session's raw volume is filled of each order, rounded down to the lot; the rest
        expires. The price moves against the order by ``impact x (filled / volume)^2`` of itself. This is zipline's
        ``VolumeShareSlippage(volume_limit, price_impact)``. None: no limit.
    fill
        ``next_open``: decided on the close of t, filled at the open of t+1. ``next_close``: at the close of t+1.
        ``close``: at the very close it was decided on, which is optimistic, because that close is not known in time.
    lot
        Orders are whole multiples of so many shares, rounded toward zero; None trades fractions of a share.
    target
        What the strategy's rows mean: ``weights``, fractions of equity, or ``shares``, numbers of shares as traded.
    sizing
        How many shares a weight is: ``decision`` counts them on the close that decides, with the equity and the price
        of that close, as an order sent before the fill must; ``fill`` counts an order again when it fills, with the
        equity and the price of that moment, which nobody knows in advance.
    rebalance
        When targets are acted on: ``every_session``; ``on_change``, a symbol when its own target changes (an order
        that expired is not tried again); on the last session of a week or month, or the first of a month.
    cash_buffer
        Fraction of equity that weights leave alone.
    min_trade_value_usd, tolerance
        A change is traded if it is worth at least so many USD and at least this fraction of equity. Exits always are.
    compounding
        Whether weights are fractions of the equity of the day, or of ``capital_usd`` for ever.
    buys
        ``in_full``: a buy always fills, and cash may go below zero by slippage and gaps. ``within_cash``: a buy is cut
        to what the cash pays for, fee included.
    allow_short, borrow_rate
        Whether targets may be negative, and what borrowing costs: a rate per year on the value of the short positions
        at the close before. Dividends of a short position are paid by the account.
    max_leverage, debit_rate
        The sum of the absolute weights may not exceed this. Cash below zero pays interest at this rate per year, on
        the cash of the close before.
    day_count
        What fraction of a year passes from one session to the next, for the two rates: calendar days over 360 or 365,
        or one session over 252.
    delisting
        What becomes of a position whose symbol has no further bars: ``hold`` keeps it at its last close for ever,
        ``last_close`` pays it out at the last close, free of costs, at the next session. The result says which.
    sessions_per_year, risk_free_rate
        For the ratios of the result: the annualisation, and a simple rate per year that the Sharpe ratio, Sortino
        ratio, alpha and omega are measured against.

    Raises
    ------
    ConfigError
        If a value is impossible; the message names the assumption.

    Examples
    --------
    >>> Assumptions(slippage_bps=0.0).capital_usd
    100000.0
    >>> Assumptions(fill="clsoe")
    Traceback (most recent call last):
    workbench.errors.ConfigError: assumption fill: 'clsoe' is not known; did you mean close?
    """

    capital_usd: float = 100_000.0
    commission_per_share_usd: float = 0.005
    commission_min_usd: float = 1.0
    slippage_bps: float = 2.0
    cash_buffer: float = 0.02
    min_trade_value_usd: float = 100.0
    tolerance: float = 0.005
    commission_per_trade_usd: float = 0.0
    commission_bps: float = 0.0
    commission_max_share: float | None = None
    half_spread_bps: float = 0.0
    max_volume_share: float | None = None
    impact: float = 0.0
    fill: Fill = "next_open"
    lot: float | None = 1.0
    target: Target = "weights"
    sizing: Sizing = "decision"
    rebalance: Rebalance = "every_session"
    compounding: bool = True
    buys: Buys = "in_full"
    allow_short: bool = False
    borrow_rate: float = 0.0
    max_leverage: float = 1.0
    debit_rate: float = 0.0
    day_count: DayCount = "actual/360"
    delisting: Delisting = "hold"
    sessions_per_year: int = 252
    risk_free_rate: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name))
        for name in ("capital_usd", "lot", "max_volume_share", "sessions_per_year", "max_leverage"):
            if getattr(self, name) == 0:
                raise ConfigError(f"assumption {name}: must be above 0")
        if self.cash_buffer > 1 or self.slippage_bps + self.half_spread_bps >= 10_000:
            raise ConfigError("assumptions: cash_buffer is at most 1, slippage_bps and half_spread_bps below 10000")
        if self.max_volume_share is not None and self.max_volume_share > 1:
            raise ConfigError(f"assumption max_volume_share: is at most 1 (got {self.max_volume_share!r})")
        if self.sizing == "fill" and self.target == "shares":
            raise ConfigError("assumption sizing: 'fill' counts weights again, and shares are counted", hint="decision")
        if self.impact and self.max_volume_share is None:
            raise ConfigError("assumption impact: needs max_volume_share", hint="0.025 is zipline's")

    @classmethod
    def from_settings(cls, settings: Settings) -> Assumptions:
        """The capital and costs that the paper exchange and the planner are configured with."""
        return cls(
            capital_usd=float(settings.account.starting_cash_usd),
            commission_per_share_usd=float(settings.costs.commission_per_share_usd),
            commission_min_usd=float(settings.costs.commission_min_usd),
            slippage_bps=float(settings.costs.slippage_bps),
            cash_buffer=float(settings.planner.cash_buffer),
            min_trade_value_usd=float(settings.planner.min_trade_value_usd),
            tolerance=float(settings.planner.tolerance),
        )

    def assuming(self, texts: Mapping[str, str]) -> Assumptions:
        """The same with some of them changed, their values as typed on a command line.

        >>> Assumptions().assuming({"lot": "none", "fill": "close", "allow_short": "true"}).changed()
        {'fill': 'close', 'lot': None, 'allow_short': True}
        """
        names = [field.name for field in fields(self)]
        values: dict[str, Any] = {}
        for name, text in texts.items():
            if name not in names:
                raise ConfigError(f"no assumption {name!r}", hint=nearest(name, names))
            values[name] = _read(name, text.strip())
        return replace(self, **values)

    def fee(self, quantity: float, price: float) -> float:
        """Commission of one order in USD, of so many shares (positive) at a price in USD.

        Source: Interactive Brokers, "Commissions Stocks": where the maximum is below the minimum, the maximum is
        charged.

        >>> Assumptions().fee(100, 50.0), Assumptions().fee(1000, 50.0)
        (1.0, 5.0)
        >>> Assumptions(commission_max_share=0.01).fee(5, 10.0)
        0.5
        """
        value = quantity * price
        charged = (
            self.commission_per_trade_usd
            + self.commission_per_share_usd * quantity
            + self.commission_bps / 10_000.0 * value
        )
        charged = max(self.commission_min_usd, charged)
        return charged if self.commission_max_share is None else min(charged, self.commission_max_share * value)

    def changed(self) -> dict[str, object]:
        """The assumptions that are not at their default, by name.

        >>> Assumptions(lot=None, tolerance=0.0).changed()
        {'tolerance': 0.0, 'lot': None}
        """
        usual = asdict(Assumptions())
        return {name: value for name, value in asdict(self).items() if value != usual[name]}


def _read(name: str, text: str) -> object:
    if name in _CHOICES:
        return text
    if name in _SWITCHES:
        return {"true": True, "false": False}.get(text.lower(), text)
    if text.lower() == "none":
        return None
    try:
        return int(text) if name == "sessions_per_year" else float(text)
    except ValueError as error:
        raise ConfigError(f"assumption {name}: {text!r} is not a number") from error


def _check(name: str, value: object) -> None:
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise ConfigError(f"assumption {name}: {value!r} is not known", hint=nearest(str(value), _CHOICES[name]))
    elif name in _SWITCHES:
        if not isinstance(value, bool):
            raise ConfigError(f"assumption {name}: must be true or false (got {value!r})")
    elif not (value is None and name in _OPTIONAL):
        _check_number(name, value)


def _check_number(name: str, value: object) -> None:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not np.isfinite(value) or value < 0:  # type: ignore[call-overload, operator]  # it is a number
        raise ConfigError(f"assumption {name}: must be a number of at least 0 (got {value!r})")
