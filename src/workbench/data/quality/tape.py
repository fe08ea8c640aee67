"""The bars that rules look at, with what several of them need: sessions, log prices, recorded splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.calendars import Calendar
from workbench.data.dataset import FIELDS
from workbench.data.instruments import Listings
from workbench.data.rows import BarRows

Action = tuple[str, date, str, float]  # symbol, ex-date, kind, value
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

DAY = np.timedelta64(1, "D").astype("timedelta64[ns]")
_DAY_NS = 86_400_000_000_000
_PART = 32_768  # rows
_EPOCH = date(1970, 1, 1)
# Robust standard deviations: of a normal distribution, this times the median absolute value.
TO_SIGMA = 1.4826
# A robust scale is never taken for less: prices have ticks.
SIGMA_FLOOR = {"daily": 2e-3, "minute": 1e-4}


class Hours:
    """The exchange's sessions over a window: ``day`` since 1970; ``open`` to ``break_end`` in ns since 1970, UTC."""

    def __init__(self, calendar: Calendar, first: int, last: int) -> None:
        found = calendar.hours(_date(first), _date(last))
        self.day: Ints = np.array(found["day"], dtype=np.int64)
        scale = 1_000_000_000
        self.open: Ints = np.array(found["open"], dtype=np.int64) * scale
        self.close: Ints = np.array(found["close"], dtype=np.int64) * scale
        self.break_start: Ints = np.array(found["break_start"], dtype=np.int64) * scale
        self.break_end: Ints = np.array(found["break_end"], dtype=np.int64) * scale
        # Days that the calendar can speak of.
        self.first, self.last = _number(calendar.first), _number(calendar.last)


class Tape:
    """Bars up to the session decided on, one symbol after the other, and what is on record about them."""

    def __init__(
        self,
        rows: BarRows,
        actions: Sequence[Action],
        calendar: Calendar,
        session: date | None,
        listings: Listings,
    ) -> None:
        self.rows = rows
        self.calendar = calendar
        self.session = session
        self.decided = None if session is None else np.datetime64(session, "ns")
        self.listings = listings
        self.daily = rows.frequency == "daily"
        self.floor = SIGMA_FLOOR[rows.frequency]
        self._actions = _by_symbol(actions)

    # ---- time ------------------------------------------------------------------------------------

    @cached_property
    def ns(self) -> Ints:
        """``at`` of every row in ns since 1970."""
        return self.rows.at.astype("datetime64[ns]", copy=False).view(np.int64)

    @cached_property
    def hours(self) -> Hours:
        """The exchange's sessions from the first bar's day to the last one's."""
        if not len(self.ns):
            return Hours(self.calendar, 1, 0)
        margin = 0 if self.daily else 1
        return Hours(self.calendar, int(self.ns.min()) // _DAY_NS - margin, int(self.ns.max()) // _DAY_NS + margin)

    @cached_property
    def between(self) -> Ints:
        """Where one session's bars end and the next one's begin: half way from close to open, in ns since 1970."""
        hours = self.hours
        return hours.close[:-1] + (hours.open[1:] - hours.close[:-1]) // 2

    def days(self, rows: Ints | slice) -> Ints:
        """The session's day since 1970 of some rows; of a minute the session whose hours it is nearest to."""
        ns = self.ns[rows]
        if self.daily or not len(self.hours.day):
            return ns // _DAY_NS
        return self.hours.day[np.searchsorted(self.between, ns, side="right")]

    def sessions(self, rows: Ints | slice) -> npt.NDArray[np.datetime64]:
        """The session of some rows as datetime64[ns]."""
        return (self.days(rows) * _DAY_NS).view("datetime64[ns]")

    # ---- prices ----------------------------------------------------------------------------------

    @cached_property
    def good(self) -> Mask:
        """Bars with five possible numbers, shape (N,): only they are asked what their prices mean."""
        found = np.empty(len(self.rows), dtype=bool)
        for part in self.parts():
            open_, high, low, close, volume = (getattr(self.rows, name)[part] for name in FIELDS)
            least = np.minimum(np.minimum(open_, high), np.minimum(low, close))
            total = open_ + high + low + close + volume
            found[part] = (least > 0) & (volume >= 0) & (total < np.inf)
        return found

    def parts(self) -> Iterator[slice]:
        """Slices that cover all rows, each small enough to stay in the processor's cache."""
        for start in range(0, len(self.rows), _PART):
            yield slice(start, min(start + _PART, len(self.rows)))

    def recorded(self, symbol: str, kinds: tuple[str, ...]) -> list[tuple[int, str, float]]:
        """Actions of a symbol: ex-date (day since 1970), kind and value, by ex-date."""
        return [action for action in self._actions.get(symbol, ()) if action[1] in kinds]

    def bar(self, row: int) -> str:
        """A bar in words."""
        return " ".join(f"{name} {getattr(self.rows, name)[row]:g}" for name in FIELDS)


def day_text(day: Any) -> str:
    """A day since 1970 as ISO text."""
    return _date(int(day)).isoformat()


def moment(day: int) -> np.datetime64:
    """A day since 1970 as datetime64[ns]."""
    return np.datetime64(int(day) * _DAY_NS, "ns")


def among(values: Ints, ascending: Ints) -> Mask:
    """Which of some values are among others that ascend. (``numpy.isin`` imports ``numpy.ma``, 30 ms of a process.)"""
    if not len(ascending):
        return np.zeros(len(values), dtype=bool)
    at = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    found: Mask = ascending[at] == values
    return found


def sigma(returns: Floats, floor: float) -> float:
    """A robust standard deviation of returns around zero."""
    if not len(returns):
        return floor
    return max(floor, TO_SIGMA * float(np.median(np.abs(returns))))


def ratio_text(ratio: float) -> str:
    """A split in words: 2:1, 1:10."""
    return f"{ratio:g}:1" if ratio >= 1 else f"1:{1 / ratio:g}"


def _by_symbol(actions: Sequence[Action]) -> dict[str, list[tuple[int, str, float]]]:
    found: dict[str, list[tuple[int, str, float]]] = {}
    for symbol, ex_date, kind, value in actions:
        # A stock dividend of 0.05 is a split of 1.05.
        effect = ("split", 1 + value) if kind == "stock_dividend" else (kind, value)
        found.setdefault(symbol, []).append((_number(ex_date), *effect))
    for listed in found.values():
        listed.sort()
    return found


def _date(day: int) -> date:
    return _EPOCH + timedelta(days=day)


def _number(day: date) -> int:
    return (day - _EPOCH).days
