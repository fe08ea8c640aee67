"""Prices that executions are held against: raw bars and corporate actions of some symbols, as exact decimals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from workbench.brokers.market import Bar, exact
from workbench.data.dataset import FIELDS
from workbench.data.rows import BarRows

if TYPE_CHECKING:
    import numpy.typing as npt

    from workbench.data.lake import Lake

# A close older than this says nothing about the market when an order was sent.
_OLDEST = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class _Series:
    """Sessions in which a symbol traded, ascending, and their bars (rows) by field (columns)."""

    days: npt.NDArray[np.datetime64]
    values: npt.NDArray[np.float64]


class Prices:
    """What some symbols cost, session by session, up to the newest that the lake has.

    Parameters
    ----------
    bars
        Raw bars.
    actions
        Splits and dividends as from ``Lake.action_rows``.
    """

    def __init__(self, bars: BarRows, actions: Sequence[tuple[str, date, str, float]]) -> None:
        self._series = _by_symbol(bars)
        self._actions: dict[str, list[tuple[date, str, Decimal]]] = {}
        for symbol, ex_date, kind, value in actions:
            self._actions.setdefault(symbol, []).append((ex_date, kind, exact(value)))

    @classmethod
    def read(cls, lake: Lake, symbols: Sequence[str], first: date, *, snapshot: int | None = None) -> Prices:
        """Read what orders of ``symbols`` decided on from the session ``first`` on are compared with.

        A symbol that the lake does not know has no prices.

        Raises
        ------
        DataError
            If the lake cannot be read.
        """
        start = first - _OLDEST
        version = lake.snapshot() if snapshot is None else snapshot  # of bars and actions alike
        known = sorted(set(lake.symbols(version)).intersection(symbols))
        if not known:
            return cls(BarRows.none("daily", version), [])
        bars = lake.rows(known, start=start, snapshot=version, followed=True)
        return cls(bars, lake.action_rows(known, start=start, snapshot=version))

    def reach(self, symbol: str, session: date) -> bool:
        """Whether the symbol's prices, and so its splits, are known up to ``session``."""
        series = self._series.get(symbol)
        return series is not None and bool(series.days[-1] >= _stamp(session))

    def bar(self, symbol: str, session: date) -> Bar | None:
        """The raw bar, or None if there is none."""
        row = self._last_row(symbol, session)
        if row is None or self._series[symbol].days[row] != _stamp(session):
            return None
        return Bar(*(exact(value) for value in self._series[symbol].values[row]))

    def last_close(self, symbol: str, session: date) -> tuple[date, Decimal] | None:
        """The latest raw close of the 30 days up to ``session``, as it was printed, and when that was."""
        row = self._last_row(symbol, session)
        if row is None:
            return None
        day: date = self._series[symbol].days[row].item()
        close = self._series[symbol].values[row][FIELDS.index("close")]
        return (day, exact(close)) if session - day <= _OLDEST else None

    def carried(self, symbol: str, price: Decimal, after: date, through: date) -> Decimal:
        """What a price (USD) of ``after`` is worth in ``through``: over splits, and without the dividends gone ex.

        Who waits with a purchase does not get the dividend, and who waits with a sale does, so a fall by the dividend
        is neither a gain nor a cost.
        """
        for ex_date, kind, value in self._actions.get(symbol, ()):
            if after < ex_date <= through:
                price = price / value if kind == "split" else price - value
        return price

    def split_ratio(self, symbol: str, after: date, through: date) -> Decimal:
        """New shares for one old, over all splits that went ex in (``after``, ``through``]."""
        ratio = Decimal(1)
        for ex_date, kind, value in self._actions.get(symbol, ()):
            if kind == "split" and after < ex_date <= through:
                ratio *= value
        return ratio

    def _last_row(self, symbol: str, session: date) -> int | None:
        series = self._series.get(symbol)
        if series is None:
            return None
        row = int(series.days.searchsorted(_stamp(session), side="right")) - 1
        return row if row >= 0 else None


def typical_price(bar: Bar) -> Decimal:
    """(high + low + close) / 3 in USD: what stands for the average price of a session without its trades.

    >>> typical_price(Bar(*map(Decimal, ("10", "12", "9", "12", "100"))))
    Decimal('11')
    """
    return (bar.high + bar.low + bar.close) / 3


def _by_symbol(bars: BarRows) -> dict[str, _Series]:
    days = bars.at.astype("datetime64[D]")
    values = np.column_stack([getattr(bars, field) for field in FIELDS])
    whole = ~np.isnan(values).any(axis=1)
    found = {}
    for symbol, rows in bars:
        traded = whole[rows]
        if traded.any():
            found[symbol] = _Series(days[rows][traded], values[rows][traded])
    return found


def _stamp(session: date) -> np.datetime64:
    return np.datetime64(session, "D")
