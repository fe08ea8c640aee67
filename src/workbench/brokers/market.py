"""What the paper exchange trades on: raw bars and corporate actions from the lake, as exact decimals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from workbench.data.bars import FIELDS, Bars

if TYPE_CHECKING:
    from workbench.data.lake import Lake


@dataclass(frozen=True, slots=True)
class Bar:
    """One raw session of one symbol; prices in USD, volume in shares."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """A split (``value`` new shares for one old) or a dividend (``value`` USD a share) on its ex-date."""

    symbol: str
    kind: str
    value: Decimal


class Market(Protocol):
    """Raw market data by session."""

    def bar(self, symbol: str, session: date) -> Bar | None:
        """The bar, or None if the symbol did not trade."""
        ...

    def last_close(self, symbol: str, session: date) -> tuple[date, Decimal] | None:
        """The latest close at or before ``session`` and when it was; None if there is none yet.

        A close from before a split is divided by it, so that it prices today's shares.
        """
        ...

    def actions(self, after: date, through: date) -> Sequence[CorporateAction]:
        """What went ex in (``after``, ``through``]: by day, splits before dividends, by symbol."""
        ...


class LakeMarket:
    """Raw bars of a lake snapshot up to ``end``; nothing later can be seen through it."""

    def __init__(self, lake: Lake, end: date, *, snapshot: int | None = None) -> None:
        self.end = end
        self._bars: Bars = lake.bars(end=end, adjustment="raw", snapshot=snapshot)
        self._rows = {stamp.date(): row for row, stamp in enumerate(self._bars.sessions)}
        self._columns = {symbol: column for column, symbol in enumerate(self._bars.symbols)}
        self._values = {field: getattr(self._bars, field).to_numpy() for field in FIELDS}
        self._actions = _by_date(lake.actions(end=end, snapshot=snapshot))

    def bar(self, symbol: str, session: date) -> Bar | None:
        row, column = self._rows.get(session), self._columns.get(symbol)
        if row is None or column is None:
            return None
        values = [float(self._values[field][row, column]) for field in FIELDS]
        if any(value != value for value in values):
            return None
        return Bar(*(exact(value) for value in values))

    def last_close(self, symbol: str, session: date) -> tuple[date, Decimal] | None:
        column = self._columns.get(symbol)
        if column is None or session > self.end:
            return None
        series = self._bars.close[symbol].loc[: pd.Timestamp(session)]
        known = series.dropna()
        if known.empty:
            return None
        day, price = pd.Timestamp(str(known.index[-1])).date(), exact(float(known.iloc[-1]))
        for action in self.actions(day, session):
            if action.symbol == symbol and action.kind == "split":
                price /= action.value
        return day, price

    def actions(self, after: date, through: date) -> Sequence[CorporateAction]:
        days = (day for day in sorted(self._actions) if after < day <= through)
        return [action for day in days for action in self._actions[day]]


def exact(value: float) -> Decimal:
    """The shortest decimal that reads back as ``value``: the digits the data file had.

    >>> exact(428.4299)
    Decimal('428.4299')
    """
    return Decimal(repr(float(value)))


def _by_date(frame: pd.DataFrame) -> dict[date, list[CorporateAction]]:
    found: dict[date, list[CorporateAction]] = {}
    for row in frame.itertuples(index=False):
        action = CorporateAction(str(row.symbol), str(row.kind), exact(float(str(row.value))))
        found.setdefault(pd.Timestamp(str(row.ex_date)).date(), []).append(action)
    for actions in found.values():
        actions.sort(key=lambda a: (a.kind != "split", a.symbol))
    return found
