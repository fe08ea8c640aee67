"""What the paper exchange trades on: raw bars and corporate actions from the lake, as exact decimals."""

from __future__ import annotations

from bisect import bisect_right
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

    def average_volume(self, symbol: str, session: date, sessions: int) -> Decimal | None:
        """Mean shares traded a session over the last ``sessions`` bars at or before ``session``; None without any.

        Shares from before a split are multiplied by it, so that they compare with today's.
        """
        ...

    def actions(self, after: date, through: date) -> Sequence[CorporateAction]:
        """What went ex in (``after``, ``through``]: by day, splits before dividends, by symbol."""
        ...


class LakeMarket:
    """Raw bars of a lake snapshot up to ``end``; nothing later can be seen through it."""

    def __init__(self, lake: Lake, end: date, *, snapshot: int | None = None) -> None:
        self.end = end
        bars: Bars = lake.bars(end=end, adjustment="raw", snapshot=snapshot)
        self._days = [stamp.date() for stamp in bars.sessions]
        self._rows = {day: row for row, day in enumerate(self._days)}
        self._columns = {symbol: column for column, symbol in enumerate(bars.symbols)}
        self._values = {field: getattr(bars, field).to_numpy() for field in FIELDS}
        self._actions = _by_date(lake.actions(end=end, snapshot=snapshot))
        self._action_days = sorted(self._actions)

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
        closes = self._values["close"][:, column]
        for row in range(bisect_right(self._days, session) - 1, -1, -1):
            if closes[row] == closes[row]:
                day = self._days[row]
                return day, exact(float(closes[row])) / self._split_between(symbol, day, session)
        return None

    def average_volume(self, symbol: str, session: date, sessions: int) -> Decimal | None:
        column = self._columns.get(symbol)
        if column is None or session > self.end:
            return None
        volumes = self._values["volume"][:, column]
        seen: list[Decimal] = []
        for row in range(bisect_right(self._days, session) - 1, -1, -1):
            if len(seen) == sessions:
                break
            if volumes[row] == volumes[row]:
                seen.append(exact(float(volumes[row])) * self._split_between(symbol, self._days[row], session))
        return sum(seen, Decimal(0)) / len(seen) if seen else None

    def actions(self, after: date, through: date) -> Sequence[CorporateAction]:
        days = self._action_days[bisect_right(self._action_days, after) : bisect_right(self._action_days, through)]
        return [action for day in days for action in self._actions[day]]

    def _split_between(self, symbol: str, after: date, through: date) -> Decimal:
        """New shares for one old, over all splits that went ex in (``after``, ``through``]."""
        ratio = Decimal(1)
        if after != through:
            for action in self.actions(after, through):
                if action.symbol == symbol and action.kind == "split":
                    ratio *= action.value
        return ratio


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
