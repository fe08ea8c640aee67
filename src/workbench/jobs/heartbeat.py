"""Says every few seconds that a run is still worked on, so that another machine can tell a dead runner."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from workbench.clock import Clock
from workbench.journal import Journal, RunJournal
from workbench.journal.runs import BEAT_S


class Heartbeat:
    """Beats in a thread of its own while the block runs; a journal that cannot be written ends the beating."""

    def __init__(self, file: Path, clock: Clock, run_id: str) -> None:
        self._file = file
        self._clock = clock
        self._run_id = run_id
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        with Journal(self._file, self._clock) as journal:
            runs = RunJournal(journal)
            while not self._stop.wait(BEAT_S):
                runs.beat(self._run_id)
