"""The output notebook while it is being made: papermill's metadata, the truth about each cell, safe saves."""

# nbformat's functions have no types:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import html
import json
from datetime import datetime

import nbformat
from nbformat import NotebookNode
from papermill.execute import ERROR_ANCHOR_MSG, ERROR_MARKER_TAG, ERROR_STYLE

from workbench.errors import JobError, NotebookFailed
from workbench.jobs.engine import CellProgress, CellState, Job
from workbench.jobs.engine.tags import runs
from workbench.jobs.files import write_atomically

# papermill's words for the states of a cell
_STATUS = {"running": "running", "ok": "completed", "error": "failed", "not_run": "pending"}


class Record:
    """What is known of one run, kept in the notebook itself and saved now and then.

    ``saved`` is when it was last saved.
    """

    def __init__(self, nb: NotebookNode, job: Job) -> None:
        self.saved = job.clock.monotonic()
        self._nb = nb
        self._job = job
        self._started = job.clock.monotonic()
        self._started_at = job.clock.now()
        self._cell_started = self._started
        self._codes = [index for index, cell in enumerate(nb.cells) if runs(cell)]
        self._numbers = {index: number for number, index in enumerate(self._codes, start=1)}
        self._progress: dict[int, CellProgress] = {}
        self._is_told = True  # whether on_cell still works

    @property
    def cell_seconds(self) -> float:
        """Seconds since the last cell began."""
        return self._job.clock.monotonic() - self._cell_started

    @property
    def seconds(self) -> float:
        """Seconds since the start of the run."""
        return self._job.clock.monotonic() - self._started

    @property
    def cells(self) -> tuple[CellProgress, ...]:
        """The last known state of every code cell, in order."""
        return tuple(self._progress[index] for index in self._codes)

    def start(self) -> None:
        """Clear what an earlier run left in the notebook, and save it."""
        self._started, self._started_at = self._job.clock.monotonic(), self._job.clock.now()
        about = self._nb.metadata.papermill
        about["output_path"] = str(self._job.output) if self._job.output else about.get("output_path")
        about.update(start_time=self._started_at.isoformat(), end_time=None, duration=None, exception=None)
        for index, cell in enumerate(self._nb.cells):
            empty = {
                "exception": None,
                "start_time": None,
                "end_time": None,
                "duration": None,
                "status": "pending",
            }
            cell.metadata["papermill"] = NotebookNode(empty)
            if cell.cell_type == "code":
                cell.execution_count = None
                cell.outputs = []
            if index in self._codes:
                self._progress[index] = self._state(index, "not_run", 0.0)
        self.save(pretty=False)

    def passed(self, index: int) -> None:
        """A cell without code was reached: it counts as completed, as papermill has it."""
        self._nb.cells[index].metadata.papermill["status"] = "completed"

    def cell_start(self, index: int) -> None:
        """A code cell begins."""
        self._cell_started = self._job.clock.monotonic()
        about = self._nb.cells[index].metadata.papermill
        about.update(start_time=self._job.clock.now().isoformat(), exception=False)
        self._set(index, "running", 0.0)

    def cell_end(self, index: int, state: CellState, error: JobError | None = None, *, show: bool = True) -> None:
        """A code cell ended; ``error`` is why it failed, shown in its output if the cell itself did not."""
        about = self._nb.cells[index].metadata.papermill
        about.update(end_time=self._job.clock.now().isoformat(), duration=self.cell_seconds, exception=state == "error")
        if error is not None and show:
            self._show(index, error, [])
        self._set(index, state, self.cell_seconds, error)

    def fault(self, index: int, error: JobError, trace: list[str]) -> None:
        """Something that a cell started has failed, maybe after the cell itself had ended well."""
        self._nb.cells[index].metadata.papermill["exception"] = True
        self._show(index, error, trace)
        self._set(index, "error", self._progress[index].seconds, error)

    def end(self, error: JobError | None) -> None:
        """Close the books: report the cells that never ran, show the error on top, and save."""
        try:
            self._end_cells(error)
        finally:
            self._end_notebook(error)
            self.save()

    def _end_cells(self, error: JobError | None) -> None:
        for index in self._codes:
            if self._progress[index].state == "running":
                self.cell_end(index, "error", error)
        for index in self._codes:
            if self._progress[index].state == "not_run":
                self._tell(index)

    def _end_notebook(self, error: JobError | None) -> None:
        now: datetime = self._job.clock.now()
        failed = next((index for index in self._codes if self._progress[index].state == "error"), None)
        about = self._nb.metadata.papermill
        about.update(end_time=now.isoformat(), duration=self.seconds, exception=True if error else None)
        if error is not None and not (self._job.is_command and isinstance(error, NotebookFailed)):
            self._mark(error, failed)

    def save(self, *, pretty: bool = True) -> None:
        """Write the output, whole or not at all; ``pretty`` as Jupyter does, which takes ten times as long.

        Raises
        ------
        JobError
            If the disk does not take it.
        """
        self.saved = self._job.clock.monotonic()
        if self._job.output is None:
            return
        try:
            text = nbformat.v4.writes(self._nb) if pretty else json.dumps(self._nb, ensure_ascii=False)
            write_atomically(self._job.output, self._job.redaction.text(text) + "\n")
        except OSError as error:
            raise JobError(f"{self._job.name}: {self._job.output} cannot be written: {error.strerror}") from error

    def redact(self) -> None:
        """Take the secrets out of the notebook itself, for a caller that goes on to use it."""
        if self._job.redaction:
            clean = nbformat.v4.reads(self._job.redaction.text(nbformat.v4.writes(self._nb)))
            self._nb.update(clean)

    def _show(self, index: int, error: JobError, trace: list[str]) -> None:
        name = type(error).__name__
        lines = [*trace, f"{name}: {error.message}"]
        shown = {"output_type": "error", "ename": name, "evalue": error.message, "traceback": lines}
        self._nb.cells[index].outputs.append(NotebookNode(shown))

    def _set(self, index: int, state: CellState, seconds: float, error: JobError | None = None) -> None:
        self._nb.cells[index].metadata.papermill["status"] = _STATUS[state]
        self._progress[index] = self._state(index, state, seconds, error)
        self._tell(index)

    def _tell(self, index: int) -> None:
        """Report a cell's progress. Whoever fails to take it is not asked again: the run ends with that error."""
        if self._is_told:
            self._is_told = False
            self._job.on_cell(self._progress[index])
            self._is_told = True

    def _state(self, index: int, state: CellState, seconds: float, error: JobError | None = None) -> CellProgress:
        reason = self._job.redaction.text(error.message) if error is not None else None
        return CellProgress(self.number(index), len(self._codes), state, seconds, reason)

    def index(self, number: int | None) -> int | None:
        """The index of a cell by its number; None if there is no such cell."""
        return self._codes[number - 1] if number is not None and 1 <= number <= len(self._codes) else None

    def number(self, index: int) -> int:
        """The number under which the cell at ``index`` is shown: ``In [number]``."""
        return self._numbers[index]

    def _mark(self, error: JobError, failed: int | None) -> None:
        link = ' (<a href="#papermill-error-cell">go to the cell</a>)' if failed is not None else ""
        text = f"<span {ERROR_STYLE}>{html.escape(f'{type(error).__name__}: {error.message}')}{link}</span>"
        if failed is not None:
            self._nb.cells.insert(failed, _marker(ERROR_ANCHOR_MSG))
        self._nb.cells.insert(0, _marker(text))


def _marker(text: str) -> NotebookNode:
    # papermill removes cells of this tag before it runs a notebook again
    return NotebookNode(nbformat.v4.new_markdown_cell(text, metadata={"tags": [ERROR_MARKER_TAG]}))
