"""Bars under repair: what was changed, taken out and added, cell by cell, beside rows that stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from workbench.data.dataset import FIELDS
from workbench.data.rows import BarRows

Ints = npt.NDArray[np.int64]
OPEN, HIGH, LOW, CLOSE, VOLUME = range(5)
PRICES = (OPEN, HIGH, LOW, CLOSE)
NAN = float("nan")
DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One cell of the ledger. ``at`` is in ns since 1970; ``occurrence`` tells bars of one time apart, from 0."""

    table: str
    symbol: str
    at: int
    occurrence: int
    field: str
    old: float
    new: float
    rule: str
    action: str
    reason: str


class Work:
    """A pass of repairs over some rows. Bars are known by their row; nothing is written into the rows themselves.

    ``lost`` are the occurrences by symbol and time (ns) that earlier passes took out: bars of one time keep their
    number.
    """

    def __init__(self, rows: BarRows, lost: Mapping[tuple[str, int], set[int]] | None = None) -> None:
        self.rows = rows
        self.lost = {} if lost is None else lost
        self.ns: Ints = rows.at.astype("datetime64[ns]", copy=False).view(np.int64)
        self.codes = {symbol: code for code, symbol in enumerate(rows.symbols)}
        self.table = "bars" if rows.frequency == "daily" else "minutes"
        self.entries: list[Entry] = []
        self.gone: set[int] = set()
        self._columns = [getattr(rows, name) for name in FIELDS]
        self._cells: dict[int, list[float]] = {}
        self._added: dict[tuple[int, int], list[float]] = {}

    # ---- looking ---------------------------------------------------------------------------------

    def bounds(self, symbol: str) -> tuple[int, int]:
        """The first row of a symbol and the one after its last."""
        code = self.codes[symbol]
        return int(self.rows.offsets[code]), int(self.rows.offsets[code + 1])

    def rows_at(self, symbol: str, at: int) -> list[int]:
        """The rows of a symbol with that time which are not taken out."""
        first, stop = self.bounds(symbol)
        low = first + int(np.searchsorted(self.ns[first:stop], at))
        high = low
        while high < stop and self.ns[high] == at:
            high += 1
        return [row for row in range(low, high) if row not in self.gone]

    def is_missing(self, symbol: str, at: int) -> bool:
        """Whether a symbol has no bar with that time, an added one included."""
        return not self.rows_at(symbol, at) and (self.codes[symbol], at) not in self._added

    def rows_from(self, symbol: str, at: int, until: int) -> list[int]:
        """The rows of a symbol from one time to another, both included, which are not taken out."""
        first, stop = self.bounds(symbol)
        low, high = np.searchsorted(self.ns[first:stop], [at, until + 1])
        return [row for row in range(first + int(low), first + int(high)) if row not in self.gone]

    def bar(self, row: int) -> list[float]:
        """The five numbers of a bar as repaired so far."""
        found = self._cells.get(row)
        return list(found) if found is not None else [float(column[row]) for column in self._columns]

    def before(self, symbol: str, row: int) -> float | None:
        """The close of the last bar before a row that has one; None if there is none."""
        return self._close(range(row - 1, self.bounds(symbol)[0] - 1, -1))

    def after(self, symbol: str, row: int) -> float | None:
        """The open of the first bar after a row that has one; it is later than the row, and so looks ahead."""
        for one in range(row + 1, self.bounds(symbol)[1]):
            if one not in self.gone and self.bar(one)[OPEN] > 0:
                return self.bar(one)[OPEN]
        return None

    def volumes_before(self, symbol: str, row: int, count: int) -> list[float]:
        """The volumes above zero among the ``count`` bars before a row."""
        first = max(self.bounds(symbol)[0], row - count)
        volumes = [self.bar(one)[VOLUME] for one in range(first, row) if one not in self.gone]
        return [volume for volume in volumes if volume > 0]

    def _close(self, rows: range) -> float | None:
        for row in rows:
            if row not in self.gone and self.bar(row)[CLOSE] > 0 and np.isfinite(self.bar(row)[CLOSE]):
                return self.bar(row)[CLOSE]
        return None

    # ---- repairing -------------------------------------------------------------------------------

    def change(self, symbol: str, row: int, bar: Sequence[float], rule: str, action: str, reason: str) -> None:
        """Give a bar other numbers; only cells that differ go on record."""
        old = self.bar(row)
        differs = [field for field in range(5) if not _same(old[field], bar[field])]
        for field in differs:
            self._note(symbol, row, field, old[field], bar[field], rule, action, reason)
        if differs:
            self._cells[row] = list(bar)

    def drop(self, symbol: str, row: int, rule: str, action: str, reason: str) -> None:
        """Take a bar out."""
        for field, old in enumerate(self.bar(row)):
            self._note(symbol, row, field, old, NAN, rule, action, reason)
        self.gone.add(row)

    def add(self, symbol: str, at: int, bar: list[float], rule: str, action: str, reason: str) -> None:
        """Put a bar where there is none."""
        for field, new in enumerate(bar):
            self.entries.append(Entry(self.table, symbol, at, 0, FIELDS[field], NAN, new, rule, action, reason))
        self._added[self.codes[symbol], at] = bar

    def result(self) -> BarRows:
        """The rows as repaired; columns without a change are shared with those before."""
        columns = dict(zip(FIELDS, self._columns, strict=True))
        for place, name in enumerate(FIELDS):
            changed = [(row, bar[place]) for row, bar in self._cells.items() if bar[place] != columns[name][row]]
            if changed:
                columns[name] = columns[name].copy()
                columns[name][[row for row, _ in changed]] = [value for _, value in changed]
        if not self.gone and not self._added:
            return replace(self.rows, **columns)
        gone = np.array(sorted(self.gone), dtype=np.int64)
        added = [(code, at, bar) for (code, at), bar in sorted(self._added.items())]
        # Where an added bar goes among the rows that stay: those taken out before it no longer count.
        places = [self._place(code, at) for code, at, _ in added]
        places = [place - int(np.searchsorted(gone, place)) for place in places]
        counts = np.diff(self.rows.offsets)
        np.subtract.at(counts, np.searchsorted(self.rows.offsets, gone, side="right") - 1, 1)
        np.add.at(counts, [code for code, _, _ in added], 1)
        for place, name in enumerate(FIELDS):
            columns[name] = np.insert(np.delete(columns[name], gone), places, [bar[place] for _, _, bar in added])
        at = np.insert(np.delete(self.ns, gone), places, [at for _, at, _ in added]).view("datetime64[ns]")
        return replace(self.rows, offsets=np.concatenate([[0], np.cumsum(counts)]), at=at, **columns)

    def _place(self, code: int, at: int) -> int:
        first, stop = int(self.rows.offsets[code]), int(self.rows.offsets[code + 1])
        return first + int(np.searchsorted(self.ns[first:stop], at))

    def _note(
        self, symbol: str, row: int, field: int, old: float, new: float, rule: str, action: str, reason: str
    ) -> None:
        at, occurrence = int(self.ns[row]), 0
        first = self.bounds(symbol)[0]
        while row - occurrence > first and self.ns[row - occurrence - 1] == at:
            occurrence += 1
        for number in sorted(self.lost.get((symbol, at), ())):
            occurrence += number <= occurrence
        self.entries.append(Entry(self.table, symbol, at, occurrence, FIELDS[field], old, new, rule, action, reason))


def _same(one: float, other: float) -> bool:
    return one == other or (one != one and other != other)
