"""One symbol's good bars in order of time, with its returns: what rules about moves work on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from workbench.data.quality.tape import TO_SIGMA, Floats, Ints, Mask, Tape

# Bars on each side that say what is ordinary where a bar stands.
AROUND = 30
# Returns that say well enough what is usual.
_ENOUGH = 10_000
# A bar's turnover (in shares) is ordinary up to this times the median of the bars around it.
ORDINARY = 4.0


class Series:
    """T good bars of one symbol, each time once, and what is on record about it.

    ``rows``, shape (T,): where they are in the tape. ``splits``: log of the recorded split that works from a bar on.
    """

    def __init__(self, tape: Tape, number: int, symbol: str, where: slice, kept: Ints | None) -> None:
        self.tape = tape
        self.number = number
        self.symbol = symbol
        self._first = where.start
        self._kept = kept
        index: slice | Ints = where if kept is None else kept
        rows = tape.rows
        self.ns: Ints = tape.ns[index]
        self.open: Floats = rows.open[index]
        self.high: Floats = rows.high[index]
        self.low: Floats = rows.low[index]
        self.close: Floats = rows.close[index]
        self.volume: Floats = rows.volume[index]

    def __len__(self) -> int:
        return len(self.ns)

    @cached_property
    def rows(self) -> Ints:
        return np.arange(self._first, self._first + len(self)) if self._kept is None else self._kept

    @cached_property
    def days(self) -> Ints:
        """The session's day since 1970 of every bar."""
        return self.tape.days(self.rows)

    @cached_property
    def log_open(self) -> Floats:
        return np.log(self.open)

    @cached_property
    def log_close(self) -> Floats:
        return np.log(self.close)

    @cached_property
    def splits(self) -> Floats:
        """Log of the split that works from a bar on, zero elsewhere: its ex-date's bar, or the first one after it."""
        logs = np.zeros(len(self))
        for day, _, value in self.tape.recorded(self.symbol, ("split",)):
            place = int(np.searchsorted(self.days, day))
            if 0 < place < len(logs):
                logs[place] += np.log(value)
        return logs

    @property
    def has_splits(self) -> bool:
        """Whether any split is on record."""
        return bool(self.tape.recorded(self.symbol, ("split",)))

    def splits_at(self, bars: Ints) -> Floats | float:
        """The logs of the splits that work from some bars on."""
        return self.splits[bars] if self.has_splits else 0.0

    @cached_property
    def returns(self) -> Floats:
        """Log return from the close before, recorded splits taken out; the first bar's is zero."""
        found = np.empty(len(self))
        found[0] = 0.0
        np.subtract(self.log_close[1:], self.log_close[:-1], out=found[1:])
        if self.has_splits:
            found += self.splits
        return found

    @cached_property
    def scale(self) -> float:
        """A robust standard deviation of the returns; of a symbol that mostly stands still the ordinary one.

        Of a long history every n-th return, so that some ten thousand are looked at.
        """
        sizes = np.abs(self.returns[1 :: max(1, len(self) // _ENOUGH)])
        if not len(sizes):
            return self.tape.floor
        middle = TO_SIGMA * float(np.median(sizes))
        if middle < self.tape.floor:  # it moves by ticks, and not often
            middle = float(np.sqrt(np.mean(np.minimum(sizes, 0.5) ** 2)))
        return max(self.tape.floor, middle)

    def local(self, bars: Ints, gap: int = 1) -> Floats:
        """The robust standard deviation of the returns around some bars, without the moves into and out of them.

        ``gap``: bars that each of them stands for. Never below half of the symbol's own scale.
        """
        before, after = np.arange(-AROUND, 0), np.arange(gap + 1, gap + 1 + AROUND)
        places = bars[:, None] + np.concatenate([before, after])
        valid = (places > 0) & (places < len(self))
        sizes = np.where(valid, np.abs(self.returns[np.clip(places, 0, len(self) - 1)]), np.nan)
        alone = ~valid.any(axis=1)
        sizes[alone, 0] = self.scale / TO_SIGMA
        found: Floats = np.maximum(TO_SIGMA * np.nanmedian(sizes, axis=1), 0.5 * self.scale)
        return found

    def tick(self, bars: Ints) -> Floats:
        """The smallest step between closes around some bars, in USD; zero where they all stand still."""
        places = np.clip(bars[:, None] + np.arange(-AROUND, AROUND + 1), 0, len(self) - 1)
        steps = np.abs(np.diff(self.close[places], axis=1))
        least: Floats = np.where(steps > 0, steps, np.inf).min(axis=1)
        return np.where(np.isfinite(least), least, 0.0)

    def turnover(self, bars: Ints) -> Floats:
        """Shares traded in some bars over the median of those around them; NaN where there was none around."""
        places = bars[:, None] + np.concatenate([np.arange(-AROUND, 0), np.arange(2, 2 + AROUND)])
        valid = (places >= 0) & (places < len(self))
        volumes = np.where(valid, self.volume[np.clip(places, 0, len(self) - 1)], np.nan)
        volumes[~valid.any(axis=1), 0] = 0.0
        usual = np.nanmedian(volumes, axis=1)
        found: Floats = np.divide(self.volume[bars], usual, out=np.full(len(bars), np.nan), where=usual > 0)
        return found

    def ordinary(self, bars: Ints) -> Mask:
        """Whether no more was traded in some bars than is usual around them."""
        return ~(self.turnover(bars) > ORDINARY)


def all_series(tape: Tape) -> Iterator[Series]:
    """Every symbol with two good bars or more."""
    good, ns = tape.good, tape.ns
    for number, (symbol, where) in enumerate(tape.rows):
        own = ns[where]
        fine = good[where]
        fresh = own[1:] != own[:-1]
        if fine.all() and fresh.all():
            kept = None
            count = len(own)
        else:
            mask = fine.copy()
            mask[1:] &= fresh
            kept = np.flatnonzero(mask) + where.start
            count = len(kept)
        if count >= 2:
            yield Series(tape, number, symbol, where, kept)
