"""A run's pulse: tells the journal where it is, and the run when it has to stop.

A thread of its own, because the runner's waits for a kernel. What it writes late is progress only: a runner that is
killed loses a quarter of a second of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from workbench.clock import Clock
from workbench.domain import TradingState
from workbench.errors import JournalError, WorkbenchError
from workbench.jobs.engine import CellProgress
from workbench.journal import CellRecord, Controls, Journal, RunJournal, RunRecord
from workbench.journal.controls import EVERY_ACCOUNT
from workbench.journal.runs import BEAT_S, SILENT_S
from workbench.journal.states import CellState, RunState

LOOK_S = 0.25


class StopSignal(threading.Event):
    """Set when a run has to stop, with the reason; set as well when ``cancel`` is, which needs none."""

    def __init__(self, cancel: threading.Event) -> None:
        super().__init__()
        self._cancel = cancel
        self.reason = ""

    def is_set(self) -> bool:
        return self._cancel.is_set() or super().is_set()

    def stop(self, reason: str) -> None:
        """Stop the run; the first reason stands."""
        self.reason = self.reason or reason
        self.set()


class Pulse:
    """Beats while the block runs.

    Parameters
    ----------
    stop
        Set by the pulse if the journal cannot be written, the run has passed to another process, or trading is halted
        while a step that may order runs.
    """

    def __init__(self, file: Path, clock: Clock, run: RunRecord, stop: StopSignal) -> None:
        self._file = file
        self._clock = clock
        self._run = run
        self._stop = stop
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._cells: dict[tuple[str, int], CellRecord] = {}
        self._doing = ""
        self._orders = False
        self._halted = False
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Write the last of it and stop; nothing happens if it has not started, or has ended."""
        self._end.set()
        if self.has_started:
            self._thread.join()

    @property
    def has_started(self) -> bool:
        return self._thread.ident is not None

    def step(self, name: str, *, orders: bool) -> None:
        """A step begins; while one that may order runs, a halt of its account stops the run."""
        with self._lock:
            self._doing, self._orders = name, orders

    def watcher(self, step: str) -> Callable[[CellProgress], None]:
        """What takes the progress of a step's cells."""

        def note(progress: CellProgress) -> None:
            state = CellState(progress.state)
            with self._lock:
                if state is CellState.RUNNING and progress.number == 1:
                    for number in range(1, progress.total + 1):
                        self._cells[step, number] = CellRecord(number, progress.total, CellState.PENDING, 0.0)
                self._cells[step, progress.number] = CellRecord(
                    progress.number, progress.total, state, progress.seconds, progress.reason or ""
                )
                self._doing = f"{step} [{progress.number}/{progress.total}]"

        return note

    # ---- the thread ------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            with Journal(self._file, self._clock) as journal:
                self._beat(journal)
        except Exception as error:  # whatever it is, the run must not go on without anybody hearing a halt
            self.failure = error
            self._stop.stop(error.message if isinstance(error, WorkbenchError) else f"the pulse has failed: {error}")

    def _beat(self, journal: Journal) -> None:
        runs, controls = RunJournal(journal), Controls(journal)
        beaten, told, touched, over = self._clock.monotonic(), False, journal.touched(), False
        self._halted = self._is_halted(controls)
        while not over:
            over = self._end.wait(LOOK_S)
            try:
                self._flush(runs)
                if self._stop.is_set() and not told and not over:
                    reason = self._stop.reason
                    runs.set_state(self._run.run_id, RunState.STOPPING, attempt=self._run.attempt, reason=reason)
                    told = True
                now = journal.touched()
                if now != touched:
                    self._look_for_halt(controls)
                    touched = now
                if not over and self._clock.monotonic() - beaten >= BEAT_S:
                    runs.beat(self._run.run_id, self._run.attempt, self._doing)
                    beaten = self._clock.monotonic()
            except JournalError as error:
                # Somebody else writes for long: a trading run is not stopped for that, it is only not heard of.
                if "locked" not in error.message or self._clock.monotonic() - beaten > SILENT_S:
                    raise

    def _flush(self, runs: RunJournal) -> None:
        with self._lock:
            changed, doing = dict(self._cells), self._doing
        steps: dict[str, list[CellRecord]] = {}
        for (step, _), record in changed.items():
            steps.setdefault(step, []).append(record)
        if steps:
            runs.beat(self._run.run_id, self._run.attempt, doing, steps)
        with self._lock:  # what was written, unless it has moved on meanwhile
            self._cells = {where: record for where, record in self._cells.items() if changed.get(where) != record}

    def _look_for_halt(self, controls: Controls) -> None:
        halted = self._is_halted(controls)
        if halted and not self._halted and self._orders:
            reasons = [s.reason for s in controls.halted() if s.account in {self._run.key.account, EVERY_ACCOUNT}]
            self._stop.stop(f"trading was halted: {'; '.join(reasons)}")
        self._halted = halted

    def _is_halted(self, controls: Controls) -> bool:
        return controls.trading_state(self._run.key.account) is TradingState.HALTED
