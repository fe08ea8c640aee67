"""What is computed for a range of combinations, here or on another machine: a job is sent once, ranges many times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.compiling import prepared
from workbench.data.bars import FIELDS
from workbench.errors import DataError
from workbench.indicators._loops import moving_averages
from workbench.indicators.memo import Memo, remembering
from workbench.research.inputs import WEIGHT_DECIMALS
from workbench.research.sweeping.grid import Grid, Numbers, words
from workbench.research.sweeping.kernels import (
    LEVELS,
    PATH_BYTES,
    SUMS,
    Path,
    Rules,
    books_of,
    crossovers,
    first_fault,
    follow,
    in_and_out,
    room_of,
    simulate,
)
from workbench.research.sweeping.window import Array, Window
from workbench.strategies.base import Strategy
from workbench.strategies.moving_average import NOISE, MovingAverageCrossover

_CROSSOVERS_IN_CHUNK = 512
_TOGETHER = 8  # combinations whose weights are computed before they are simulated, side by side
_CELLS_IN_CHUNK = 2_000_000  # of sessions x symbols x combinations: some tenths of a second
_AVERAGES_BYTES = 1 << 30
_MOST_PATH_BYTES = 1 << 27
# Strategies that write into the frames of indicators, as far as it is known.
_writers: WeakSet[type[Strategy]] = WeakSet()


class Job(Protocol):
    """A part of a sweep that can be computed range by range, by several threads or processes."""

    @property
    def chunk(self) -> int:
        """Combinations that are computed at a time."""
        ...

    @property
    def in_python(self) -> bool:
        """Whether Python code runs for every combination, so that threads can be in each other's way."""
        ...

    def run(self, numbers: Numbers) -> Array:
        """The sums of some combinations, by their numbers in the grid: combinations x :data:`SUMS`."""
        ...

    def writable(self) -> Job:
        """The same job with arrays that may be written to; a copy is made of those that may not."""
        ...


@dataclass(frozen=True)
class StrategyJob:
    """Any strategy: weights in Python, everything after them compiled; of a few combinations at a time.

    ``path`` is that of the only symbol, if what is held or not can be simulated order by order.
    """

    grid: Grid
    window: Window
    rules: Rules
    chunk: int
    path: Path | None = None

    @property
    def in_python(self) -> bool:
        return True

    def run(self, numbers: Numbers) -> Array:
        sums, by_session = np.zeros((len(numbers), SUMS)), _BySession(self.window, self.rules)
        by_order = None if self.path is None else _ByOrder(self.window, self.rules, self.path)
        frames, together = [getattr(self.window.signals, name) for name in FIELDS], by_order.together if by_order else 1
        with remembering(frames, lent=self.grid.kind not in _writers) as memo:
            for first in range(0, len(numbers), together):
                strategies = self.grid.strategies(numbers[first : first + together])
                weights, left = [], sums[first : first + together]
                for row, strategy in enumerate(strategies):
                    made = weights_of(strategy, self.window, memo, whole_shares=self.rules.lot > 0.0)
                    weights.append(by_order.taken(row, made) if by_order else made)
                for row in by_order.run(left) if by_order else range(len(weights)):
                    check_weights(strategies[row], weights[row], self.window)
                    by_session.run(weights[row], left[row])
        return sums

    def writable(self) -> StrategyJob:
        path = None if self.path is None else Path(*(np.require(array, requirements="W") for array in self.path))
        return replace(self, window=self.window.writable(), path=path)


@dataclass(frozen=True)
class CrossoverJob:
    """Moving-average crossovers of one symbol: compiled as a whole.

    ``averages`` are ``windows`` x sessions, the moving averages of the close over each window.
    """

    grid: Grid
    window: Window
    rules: Rules
    windows: npt.NDArray[np.int64]
    averages: Array
    path: Path
    chunk: int = _CROSSOVERS_IN_CHUNK

    @property
    def in_python(self) -> bool:
        return False

    def run(self, numbers: Numbers) -> Array:
        window, sums, done = self.window, np.zeros((len(numbers), SUMS)), np.zeros(len(numbers), dtype=np.bool_)
        fast, slow = self._row("fast", numbers), self._row("slow", numbers)
        prices, marks = window.prices[:, 0], window.marks[:, 0]
        if window.whole:
            crossovers(
                self.averages, fast, slow, NOISE, 1.0, prices, marks, float(marks.min()), window.lag, self.path,
                self.rules, room_of(len(marks)), sums, done,
            )  # fmt: skip
        by_session = _BySession(window, self.rules)
        for row in np.flatnonzero(~done):
            held = self.averages[fast[row]] > self.averages[slow[row]] * (1.0 + NOISE)
            by_session.run(held[:, np.newaxis].astype(np.float64), sums[row])
        return sums

    def writable(self) -> CrossoverJob:
        averages, *path = (np.require(array, requirements="W") for array in (self.averages, *self.path))
        return replace(self, window=self.window.writable(), averages=averages, path=Path(*path))

    def _row(self, name: str, numbers: Numbers) -> npt.NDArray[np.uint64]:
        """Where the averages of a parameter are, by combination."""
        names = list(self.grid.values)
        if name not in names:
            place = np.full(len(numbers), np.searchsorted(self.windows, self.grid.held[name]))
        else:
            places = np.searchsorted(self.windows, self.grid.values[name])
            place = places[np.unravel_index(numbers, self.grid.shape)[names.index(name)]]
        return place.astype(np.uint64)


class _BySession:
    """Combinations of a window, each simulated session by session."""

    def __init__(self, window: Window, rules: Rules) -> None:
        self._window, self._rules, self._books = window, rules, books_of(len(window.symbols))
        self._traded_on = ~np.isnan(window.closes)

    def run(self, weights: Array, sums: Array) -> None:
        """Write the sums of these weights, sessions x symbols."""
        window, sums[:] = self._window, 0.0
        simulate(
            weights, window.prices, window.marks, self._traded_on, window.due, window.lag, self._rules, self._books,
            sums,
        )  # fmt: skip


class _ByOrder:
    """Combinations that hold one symbol or nothing, simulated order by order, some side by side."""

    def __init__(self, window: Window, rules: Rules, path: Path) -> None:
        sessions, prices, marks = len(window.sessions), window.prices[:, 0], window.marks[:, 0]
        room = room_of(sessions, _TOGETHER)
        self.together = len(room.counts)
        self._weights, self._sums = np.zeros((self.together, sessions)), np.empty((self.together, SUMS))
        self._done = np.empty(self.together, dtype=np.bool_)
        self._simulate = prepared(
            in_and_out, self._weights, prices, marks, float(marks.min()), _limit(window), window.lag, path, rules, room,
            self._sums, self._done,
        )  # fmt: skip

    def taken(self, row: int, weights: Array) -> Array:
        """A copy of weights, sessions x 1, to be simulated in their turn: a strategy may write into its own again."""
        self._weights[row] = weights[:, 0]
        return self._weights[row, :, np.newaxis]

    def run(self, sums: Array) -> list[int]:
        """Write the sums of the weights that were taken; the rows of those that are not so simple."""
        self._simulate()
        sums[:] = self._sums[: len(sums)]
        return np.flatnonzero(~self._done[: len(sums)]).tolist()


def load_loops(grid: Grid, window: Window, rules: Rules) -> None:
    """Load the loops of a grid, or compile them where this machine has not yet, by running them on next to nothing."""
    one, column, sums = np.ones((1, 1)), np.ones(1), np.empty((1, SUMS))
    little = replace(window, prices=one, closes=one, marks=one, due=np.ones(1, dtype=np.bool_))
    _BySession(little, rules).run(one, sums[0])
    if _is_crossover(grid, window):
        moving_averages(column, np.ones(1, dtype=np.int64), one)
        if window.whole:
            first, path, done = np.zeros(1, dtype=np.uint64), _path(column, rules), np.empty(1, dtype=np.bool_)
            crossovers(one, first, first, NOISE, 1.0, column, column, 1.0, 1, path, rules, room_of(1), sums, done)
    else:
        first_fault(one, one, 1.0, np.empty(2, dtype=np.int64))
        if _order_by_order(window, rules):
            path = _path(column, rules)
            in_and_out(one, column, column, 1.0, 1.0, 1, path, rules, room_of(1), sums, np.empty(1, dtype=np.bool_))


def job_of(grid: Grid, window: Window, rules: Rules) -> Job:
    """The fastest way to compute a grid.

    Raises
    ------
    DataError
        If a combination needs more sessions than the bars have.
    """
    if _is_crossover(grid, window):
        widths = np.unique([*_used(grid, "fast"), *_used(grid, "slow")]).astype(np.int64)
        _check_warm_up(grid, window, int(widths[-1]), "slow")
        if (widths.size * 8 + PATH_BYTES) * len(window.sessions) <= _AVERAGES_BYTES:
            averages, followed = _averages(window, widths), _path(window.marks[:, 0], rules)
            return CrossoverJob(grid, window, rules, widths, averages, followed)
    cells = window.closes.size
    path = _path(window.marks[:, 0], rules) if _order_by_order(window, rules) else None
    return StrategyJob(grid, window, rules, chunk=int(np.clip(_CELLS_IN_CHUNK // cells, 1, 1024)), path=path)


def weights_of(strategy: Strategy, window: Window, memo: Memo, *, whole_shares: bool) -> Array:
    """The weights of a strategy in the window, rounded to 9 decimals where shares are whole; an array of their own.

    Raises
    ------
    DataError
        If the bars are too few, or the weights are of other sessions or symbols.
    """
    if strategy.warm_up_sessions > len(window.signals):
        raise DataError(_too_few(repr(strategy), strategy.warm_up_sessions, window))
    frame, close = _asked(strategy, window, memo), window.signals.close
    if (
        not isinstance(frame, pd.DataFrame)
        or not (frame.index is close.index or frame.index.equals(close.index))
        or not (frame.columns is close.columns or frame.columns.equals(close.columns))
    ):
        raise DataError(f"{strategy!r} returned other sessions or symbols than its bars have")
    rows = len(window.sessions)
    weights = np.ascontiguousarray(frame.to_numpy(dtype=float)[-rows:])
    if whole_shares:
        return np.round(weights, WEIGHT_DECIMALS)
    return weights if weights.flags.writeable else weights.copy()  # compiled code takes read-only for another type


def check_weights(strategy: Strategy, weights: Array, window: Window) -> None:
    """See that weights can be traded.

    Raises
    ------
    DataError
        If one cannot; names strategy, symbol and session.
    """
    place = np.empty(2, dtype=np.int64)
    fault = first_fault(weights, window.closes, _limit(window), place)
    if fault:
        raise DataError(_fault(fault, repr(strategy), weights, window, *place.tolist()))


def _asked(strategy: Strategy, window: Window, memo: Memo) -> Any:
    """What a strategy answers; one that writes into the frames of indicators is asked again, with some to write into.

    How a write is refused depends on what writes (pandas, numpy, other compiled code). What is a fault comes again.
    """
    try:
        return strategy.weights(window.signals)
    except Exception:
        if not memo.lent:
            raise
    memo.lent = False
    answer = strategy.weights(window.signals)
    _writers.add(type(strategy))
    return answer


def _limit(window: Window) -> float:
    """The highest sum of weights that is all there is, but for their last decimal."""
    return 1.0 + len(window.symbols) * 10.0**-WEIGHT_DECIMALS


def _order_by_order(window: Window, rules: Rules) -> bool:
    """Whether an account of one symbol may be taken from order to order: no gain where every session has an order."""
    seldom = rules.on_change > 0.0 or rules.tolerance > 0.0 or rules.min_value > 0.0
    small = PATH_BYTES * len(window.sessions) <= _MOST_PATH_BYTES
    return len(window.symbols) == 1 and window.whole and seldom and small


def _is_crossover(grid: Grid, window: Window) -> bool:
    return grid.kind is MovingAverageCrossover and len(window.symbols) == 1


def _fault(fault: int, name: str, weights: Array, window: Window, row: int, column: int) -> str:
    day, symbol = f"{window.sessions[row]:%Y-%m-%d}", window.symbols[column]
    value = weights[row, column]
    if fault == 1:
        return f"{symbol} on {day}: weight given by {name} is not a finite number: {value:g}"
    if fault == 2:
        return f"{symbol} on {day}: weight given by {name} is negative ({value:g}); a sweep has no short positions"
    if fault == 3:
        return f"{symbol} on {day}: has no price, but its weight given by {name} is {value:g}"
    return f"weights of {name} sum to {weights[row].sum():g} on {day}; a sweep does not borrow"


def _used(grid: Grid, name: str) -> npt.NDArray[Any]:
    """The values of a parameter in the combinations that the strategy accepts."""
    names = list(grid.values)
    if name not in names:
        return np.array([grid.held[name]])
    places = np.unravel_index(grid.allowed, grid.shape)[names.index(name)]
    return np.array([grid.values[name][at] for at in np.unique(places)])


def _averages(window: Window, widths: npt.NDArray[np.int64]) -> Array:
    """Moving averages by width and session, of the window's sessions."""
    close = np.ascontiguousarray(window.signals.close.to_numpy(dtype=float)[:, 0])
    out = np.empty((len(widths), len(close)))
    moving_averages(close, widths, out)
    return np.ascontiguousarray(out[:, -len(window.sessions) :])


def _path(marks: Array, rules: Rules) -> Path:
    path = Path(np.empty((len(marks) + 1, 6)), np.empty((LEVELS, len(marks), 4)))
    follow(marks, rules.hurdle, path)
    return path


def _check_warm_up(grid: Grid, window: Window, needed: int, name: str) -> None:
    if needed > len(window.signals):
        raise DataError(_too_few(f"{grid.kind.__name__} {words({name: needed})}", needed, window))


def _too_few(what: str, needed: int, window: Window) -> str:
    bars = window.signals
    return (
        f"too few bars: {what} needs {needed} sessions, and {', '.join(window.symbols[:3])}"
        f"{' and others' if len(window.symbols) > 3 else ''} have {len(bars)}"
        f" ({bars.sessions[0]:%Y-%m-%d} to {bars.sessions[-1]:%Y-%m-%d})"
    )
