"""What a sweep runs on, checked once: prices of one window as arrays, and the bars that strategies see."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.data.bars import FIELDS, Bars
from workbench.errors import ConfigError, DataError
from workbench.research.costs import Assumptions
from workbench.research.sweeping.kernels import Rules

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_PERIODS = {"week_end": "W", "month_end": "M", "month_start": "M"}
# What the compiled loops do not model; a backtest does.
_BACKTEST_ONLY = (
    *("max_volume_share", "impact", "target", "sizing", "allow_short", "borrow_rate"),
    *("max_leverage", "debit_rate", "day_count", "delisting"),
)


@dataclass(frozen=True)
class Window:
    """Prices of the sessions simulated: float64 arrays, sessions x symbols, NaN where a symbol did not trade.

    Attributes
    ----------
    signals
        The bars that strategies see: up to the last session, with what comes before the first as warm-up.
    prices
        What an order fills at in a session, before slippage.
    closes, marks
        Closes, and the last known close.
    due
        By session, whether targets are acted on.
    lag
        Sessions from decision to fill: 1, or 0 at the close decided on.
    """

    signals: Bars
    sessions: pd.DatetimeIndex
    symbols: list[str]
    prices: Array
    closes: Array
    marks: Array
    due: Flags
    lag: int

    @property
    def whole(self) -> bool:
        """Whether there is a close in every session, and targets are acted on in all."""
        return bool(self.due.all()) and not np.isnan(self.closes).any()

    def writable(self) -> Window:
        """The same window with arrays that may be written to; a copy is made of those that may not."""
        arrays = {
            name: np.require(getattr(self, name), requirements="W") for name in ("prices", "closes", "marks", "due")
        }
        return replace(self, **arrays)

    def digest(self) -> str:
        """A name for the content of all bars that strategies see."""
        made = hashlib.sha256(self.signals.sessions.to_numpy().tobytes())
        for name in FIELDS:
            made.update(np.ascontiguousarray(getattr(self.signals, name).to_numpy(dtype=float)).tobytes())
        return made.hexdigest()


def window_of(bars: Bars, start: date | None, end: date | None, assumptions: Assumptions) -> Window:
    """Check bars and cut out the window.

    Raises
    ------
    DataError
        If sessions are not ascending and unique, the window is empty, a price is not a positive number, a session has
        one of open and close only, or a symbol has no price in the window at all. Names symbol and session.
    """
    _check_frames(bars)
    signals, window = bars.between(None, end), bars.between(start, end)
    if not len(window):
        have = (
            f"the bars cover {_day(bars.sessions[0])} to {_day(bars.sessions[-1])}"
            if len(bars)
            else "there are no bars"
        )
        raise DataError(f"no sessions from {start} to {end}", hint=have)
    opens, closes = _prices(window, "open"), _prices(window, "close")
    lone = np.isnan(opens) != np.isnan(closes)
    _refuse(window, lone, "has only one of open and close")
    for at in np.flatnonzero(np.isnan(closes).all(axis=0)):
        first, last = _day(window.sessions[0]), _day(window.sessions[-1])
        raise DataError(f"{window.symbols[at]} has no price from {first} to {last}")
    return Window(
        signals=signals,
        sessions=window.sessions,
        symbols=window.symbols,
        prices=opens if assumptions.fill == "next_open" else closes,
        closes=closes,
        marks=np.ascontiguousarray(pd.DataFrame(closes).ffill().to_numpy()),
        due=_due(window.sessions, assumptions.rebalance),
        lag=0 if assumptions.fill == "close" else 1,
    )


def rules_of(assumptions: Assumptions) -> Rules:
    """Assumptions as the compiled loops read them.

    Raises
    ------
    ConfigError
        If one of them is only modelled by a backtest.
    """
    for name in _BACKTEST_ONLY:
        if name in assumptions.changed():
            raise ConfigError(
                f"a sweep cannot express assumption {name} = {getattr(assumptions, name)!r}",
                hint="leave it at its default here, and run a backtest of the combinations that matter",
            )
    numbers = Rules(
        capital=assumptions.capital_usd,
        fee_share=assumptions.commission_per_share_usd,
        fee_trade=assumptions.commission_per_trade_usd,
        fee_rate=assumptions.commission_bps / 10_000.0,
        fee_min=assumptions.commission_min_usd,
        fee_cap=np.inf if assumptions.commission_max_share is None else assumptions.commission_max_share,
        slippage=(assumptions.slippage_bps + assumptions.half_spread_bps) / 10_000.0,
        buffer=assumptions.cash_buffer,
        lot=assumptions.lot or 0.0,
        min_value=assumptions.min_trade_value_usd,
        tolerance=assumptions.tolerance,
        compounding=float(assumptions.compounding),
        within_cash=float(assumptions.buys == "within_cash"),
        on_change=float(assumptions.rebalance == "on_change"),
        hurdle=assumptions.risk_free_rate / assumptions.sessions_per_year,
    )
    return Rules(*map(float, numbers))  # compiled code would take a whole number for another type, and compile again


def _check_frames(bars: Bars) -> None:
    index, columns = bars.close.index, bars.close.columns
    for name in FIELDS:
        frame: pd.DataFrame = getattr(bars, name)
        if not frame.index.equals(index) or not frame.columns.equals(columns):
            raise DataError(f"the bars' frame {name} has other sessions or symbols than close")
    wrong = np.flatnonzero(np.diff(index.to_numpy()) <= np.timedelta64(0, "ns"))
    if wrong.size:
        before, after = index[wrong[0]], index[wrong[0] + 1]
        what = "is there twice" if before == after else f"follows {_day(before)}"
        raise DataError(f"sessions of {columns[0]} are not ascending and unique: {_day(after)} {what}")
    if columns.has_duplicates:
        raise DataError(f"{columns[columns.duplicated()][0]} is in the bars twice")
    if not len(columns):
        raise DataError("there are no symbols in the bars")


def _prices(window: Bars, field: str) -> Array:
    prices = np.ascontiguousarray(getattr(window, field).to_numpy(dtype=float))
    _refuse(window, ~np.isnan(prices) & ~((prices > 0) & np.isfinite(prices)), f"its {field} is not a positive number")
    return prices


def _refuse(window: Bars, wrong: Flags, what: str) -> None:
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(f"{window.symbols[column]} on {_day(window.sessions[row])}: {what}")


def _due(sessions: pd.DatetimeIndex, rebalance: str) -> Flags:
    """When targets are acted on; whether the last session ends its period is asked of the next business day."""
    if rebalance not in _PERIODS:
        return np.ones(len(sessions), dtype=np.bool_)
    following = pd.DatetimeIndex([*sessions[1:], sessions[-1] + pd.offsets.BDay()])
    period = _PERIODS[rebalance]
    ends = np.asarray(sessions.to_period(period) != following.to_period(period))
    if rebalance == "month_start":
        return np.concatenate([[sessions[0].day <= 4], ends[:-1]])
    return ends


def _day(stamp: object) -> str:
    return f"{pd.Timestamp(stamp):%Y-%m-%d}"  # type: ignore[arg-type]  # any label of a session index
