"""What the paper exchange trades on: raw bars and corporate actions from the lake, as exact decimals."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from workbench.data.lake import Lake

_RECENT = timedelta(days=90)  # what is read first of a symbol


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
    """Raw bars of a lake snapshot up to ``end``; nothing later can be seen through it.

    A symbol is read when it is first asked for, and first only its last bars: whoever trades five of five thousand
    waits for five, and not for years that nobody asks about.
    """

    def __init__(self, lake: Lake, end: date, *, snapshot: int | None = None) -> None:
        self.end = end
        self._lake = lake
        self._snapshot = lake.snapshot() if snapshot is None else snapshot  # the same for every symbol
        self._histories: dict[str, _History] = {}
        self._actions: dict[date, list[CorporateAction]] | None = None
        self._action_days: list[date] = []

    def bar(self, symbol: str, session: date) -> Bar | None:
        history = self._history(symbol, session)
        row = bisect_right(history.days, session) - 1
        if row < 0 or history.days[row] != session:
            return None
        return Bar(*(exact(value) for value in history.rows[row][1:]))

    def last_close(self, symbol: str, session: date) -> tuple[date, Decimal] | None:
        history = self._history(symbol, session)
        row = bisect_right(history.days, session) - 1
        if row < 0 or session > self.end:
            return None
        day, *_, close, _ = history.rows[row]
        return day, exact(close) / self._split_between(symbol, day, session)

    def average_volume(self, symbol: str, session: date, sessions: int) -> Decimal | None:
        history = self._history(symbol, session, sessions)
        last = bisect_right(history.days, session)
        if not last or session > self.end:
            return None
        seen = [
            exact(volume) * self._split_between(symbol, day, session)
            for day, *_, volume in history.rows[max(0, last - sessions) : last]
        ]
        return sum(seen, Decimal(0)) / len(seen)

    def actions(self, after: date, through: date) -> Sequence[CorporateAction]:
        if self._actions is None:
            self._actions = {}
            for symbol, day, kind, value in self._lake.action_rows(end=self.end, snapshot=self._snapshot):
                self._actions.setdefault(day, []).append(CorporateAction(symbol, kind, exact(value)))
            self._action_days = sorted(self._actions)
        days = self._action_days[bisect_right(self._action_days, after) : bisect_right(self._action_days, through)]
        return [action for day in days for action in self._actions[day]]

    def _history(self, symbol: str, until: date, bars: int = 1) -> _History:
        """A symbol's history with at least so many bars at or before ``until``, or all there are."""
        history = self._histories.get(symbol)
        if history is None:
            history = self._histories[symbol] = self._read(symbol, self.end - _RECENT)
        if history.since is not None and bisect_right(history.days, until) < bars:
            history = self._histories[symbol] = self._read(symbol, None)
        return history

    def _read(self, symbol: str, since: date | None) -> _History:
        rows = self._lake.history(symbol, start=since, end=self.end, snapshot=self._snapshot)
        return _History([row[0] for row in rows], rows, since)

    def _split_between(self, symbol: str, after: date, through: date) -> Decimal:
        """New shares for one old, over all splits that went ex in (``after``, ``through``]."""
        ratio = Decimal(1)
        if after != through:
            for action in self.actions(after, through):
                if action.symbol == symbol and action.kind == "split":
                    ratio *= action.value
        return ratio


@dataclass(frozen=True, slots=True)
class _History:
    """A symbol's sessions, ascending, and its bars: session, open, high, low, close, volume."""

    days: list[date]
    rows: Sequence[tuple[date, float, float, float, float, float]]
    since: date | None  # what is older was not read; None: nothing is


def exact(value: float) -> Decimal:
    """The shortest decimal that reads back as ``value``: the digits the data file had.

    >>> exact(428.4299)
    Decimal('428.4299')
    """
    return Decimal(repr(float(value)))
