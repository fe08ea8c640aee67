"""The results of a sweep while it runs: in memory, and part by part in the ledger of trials."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from workbench.clock import Clock
from workbench.research.costs import Assumptions
from workbench.research.sweeping.grid import Grid
from workbench.research.sweeping.result import METRICS, metrics_of
from workbench.research.sweeping.running import Range, missing
from workbench.research.sweeping.window import Array, Window
from workbench.research.trials import Study, TrialLedger, strategy_name, study_id
from workbench.strategies.base import Strategy

# Raised when the same combination would get other numbers, so that nothing older is taken up again.
_VERSION = 1
_FLUSH_S = 2.0  # what a crash can cost


class Record:
    """The metrics of the combinations of a grid that are done, in the order of ``grid.allowed``."""

    def __init__(
        self, study: Study, grid: Grid, assumptions: Assumptions, ledger: TrialLedger | None, clock: Clock
    ) -> None:
        self.study, self.grid, self.ledger = study, grid, ledger
        total = len(grid.allowed)
        self._values = np.full((total, len(METRICS)), np.nan)
        self._flags = np.full(total, "", dtype=object)
        self._done = np.zeros(total, dtype=np.bool_)
        self._waiting: list[Range] = []
        self._assumed, self._clock, self._flushed = assumptions, clock, clock.monotonic()
        self.resumed = 0
        if ledger is not None:
            self._resume(ledger)

    @property
    def done(self) -> int:
        return int(self._done.sum())

    def missing(self) -> list[Range]:
        """The ranges of combinations that are still to do."""
        return missing(np.flatnonzero(self._done), len(self._done))

    def take(self, first: int, sums: Array) -> None:
        """Keep the sums of the combinations from ``first`` on; now and then a part goes into the ledger."""
        rows = slice(first, first + len(sums))
        self._values[rows], self._flags[rows] = metrics_of(sums, self.study.sessions, self._assumed)
        self._done[rows] = True
        self._waiting.append((rows.start, rows.stop))
        if self._clock.monotonic() - self._flushed >= _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Put what was computed since the last time into the ledger."""
        self._flushed = self._clock.monotonic()
        if self.ledger is not None:
            for first, last in _joined(self._waiting):
                trials = self._frame(slice(first, last))
                trials["sharpe_per_session"] = trials.pop("sharpe") / np.sqrt(self._assumed.sessions_per_year)
                self.ledger.add(trials, self.study, at=self._clock.now(), part=first)
        self._waiting.clear()

    def table(self) -> pd.DataFrame:
        """The metrics by combination; see :func:`workbench.research.sweep`."""
        return self._frame(slice(None)).astype({"trades": np.int64})

    def _frame(self, rows: slice) -> pd.DataFrame:
        index = self.grid.index(self.grid.allowed[rows])
        return pd.DataFrame(self._values[rows], index=index, columns=list(METRICS)).assign(flag=self._flags[rows])

    def _resume(self, ledger: TrialLedger) -> None:
        found = ledger.sweep(self.study.sweep_id, self.study.strategy, self.study.symbols)
        rows = found.index.to_numpy(dtype=np.int64)
        found["sharpe"] = found["sharpe_per_session"] * np.sqrt(self._assumed.sessions_per_year)
        self._values[rows] = found[list(METRICS)].to_numpy(dtype=float)
        self._flags[rows] = found["flag"].to_numpy(dtype=object)
        self._done[rows] = True
        self.resumed = len(rows)


def study_of(grid: Grid, window: Window, assumptions: Assumptions, *, with_content: bool) -> Study:
    """Name a sweep by strategy, source, grid, data, window, snapshot and assumptions.

    ``with_content`` names the prices too; it costs a pass over the bars, and is what makes resuming safe.
    """
    name, assumed = strategy_name(grid.kind), asdict(assumptions)
    first, last = window.sessions[0].date(), window.sessions[-1].date()
    sweep_id = study_id(
        version=_VERSION,
        strategy=name,
        source=_source(grid.kind),
        grid=grid.values,
        held=grid.held,
        symbols=window.symbols,
        first=first,
        last=last,
        snapshot=window.signals.snapshot,
        adjustment=window.signals.adjustment,
        content=window.digest() if with_content else None,
        assumptions=assumed,
    )
    return Study(
        sweep_id=sweep_id,
        strategy=name,
        symbols=tuple(window.symbols),
        first_session=first,
        last_session=last,
        sessions=len(window.sessions),
        snapshot=window.signals.snapshot,
        engine="sweep",
        assumptions=assumed,
        held=grid.held,
    )


@cache
def _source(kind: type[Strategy]) -> str:
    """A name for a strategy's own code: its text, or its compiled functions where the text is not to be had."""
    try:
        text = inspect.getsource(kind)
    except (OSError, TypeError):
        codes: list[Any] = [value.__code__ for value in vars(kind).values() if inspect.isfunction(value)]
        text = repr(
            [(code.co_code, code.co_names, [c for c in code.co_consts if not inspect.iscode(c)]) for code in codes]
        )
    return hashlib.sha256(text.encode()).hexdigest()


def _joined(ranges: list[Range]) -> list[Range]:
    """Ranges that follow each other as one.

    >>> _joined([(4, 6), (0, 2), (2, 4), (8, 9)])
    [(0, 6), (8, 9)]
    """
    joined: list[Range] = []
    for first, last in sorted(ranges):
        if joined and joined[-1][1] == first:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined
