"""The output notebook while it is being made: papermill's metadata, the truth about each cell, safe saves."""

# nbformat's functions have no types:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import html
from datetime import datetime

import nbformat
from nbformat import NotebookNode
from papermill.execute import ERROR_ANCHOR_MSG, ERROR_MARKER_TAG, ERROR_STYLE

from workbench.errors import JobError, NotebookFailed
from workbench.jobs.engine import CellProgress, CellState, Job
from workbench.jobs.files import write_atomically

# papermill's words for the states of a cell
_STATUS = {"running": "running", "ok": "completed", "error": "failed", "not_run": "pending"}
SKIP_TAG = "skip-execution"


class Record:
    """What is known of one run, kept in the notebook itself and saved now and then."""

    def __init__(self, nb: NotebookNode, job: Job) -> None:
        self.changed = False
        self._nb = nb
        self._job = job
        self._started = job.clock.monotonic()
        self._started_at = job.clock.now()
        self._cell_started = self._started
        self._codes = [index for index, cell in enumerate(nb.cells) if runs(cell)]
        self._progress: dict[int, CellProgress] = {}

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
        self.save()

    def passed(self, index: int) -> None:
        """A cell without code was reached: it counts as completed, as papermill has it."""
        self._nb.cells[index].metadata.papermill["status"] = "completed"
        self.changed = True

    def cell_start(self, index: int) -> None:
        """A code cell begins."""
        self._cell_started = self._job.clock.monotonic()
        about = self._nb.cells[index].metadata.papermill
        about.update(start_time=self._job.clock.now().isoformat(), exception=False)
        self._set(index, "running", 0.0)

    def cell_end(self, index: int, state: CellState, error: JobError | None = None) -> None:
        """A code cell ended; ``error`` is what stopped it from outside, shown in its output."""
        cell = self._nb.cells[index]
        seconds = self._job.clock.monotonic() - self._cell_started
        about = cell.metadata.papermill
        about.update(end_time=self._job.clock.now().isoformat(), duration=seconds, exception=state == "error")
        if error is not None:
            name = type(error).__name__
            trace = [f"{name}: {error.message}"]
            shown = {"output_type": "error", "ename": name, "evalue": error.message, "traceback": trace}
            cell.outputs.append(NotebookNode(shown))
        self._set(index, state, seconds)

    def end(self, error: JobError | None) -> None:
        """Close the books: report the cells that never ran, show the error on top, and save."""
        now: datetime = self._job.clock.now()
        failed = next((index for index in self._codes if self._progress[index].state == "error"), None)
        about = self._nb.metadata.papermill
        about.update(end_time=now.isoformat(), duration=self.seconds, exception=True if error else None)
        for index in self._codes:
            if self._progress[index].state == "not_run":
                self._job.on_cell(self._progress[index])
        if error is not None and not (self._job.is_command and isinstance(error, NotebookFailed)):
            self._mark(error, failed)
        self.save()

    def save(self) -> None:
        """Write the output, whole or not at all."""
        self.changed = False
        if self._job.output is not None:
            write_atomically(self._job.output, nbformat.v4.writes(self._nb) + "\n")

    def _set(self, index: int, state: CellState, seconds: float) -> None:
        self._nb.cells[index].metadata.papermill["status"] = _STATUS[state]
        self._progress[index] = self._state(index, state, seconds)
        self.changed = True
        self._job.on_cell(self._progress[index])

    def _state(self, index: int, state: CellState, seconds: float) -> CellProgress:
        return CellProgress(self.number(index), len(self._codes), state, seconds)

    def number(self, index: int) -> int:
        """The number under which the cell at ``index`` is shown: ``In [number]``."""
        return self._codes.index(index) + 1

    def _mark(self, error: JobError, failed: int | None) -> None:
        link = ' (<a href="#papermill-error-cell">go to the cell</a>)' if failed is not None else ""
        text = f"<span {ERROR_STYLE}>{html.escape(f'{type(error).__name__}: {error.message}')}{link}</span>"
        if failed is not None:
            self._nb.cells.insert(failed, _marker(ERROR_ANCHOR_MSG))
        self._nb.cells.insert(0, _marker(text))


def runs(cell: NotebookNode) -> bool:
    """Whether a cell is executed at all."""
    tags = cell.metadata.get("tags", [])
    return cell.cell_type == "code" and bool(cell.source.strip()) and SKIP_TAG not in tags


def _marker(text: str) -> NotebookNode:
    # papermill removes cells of this tag before it runs a notebook again
    return NotebookNode(nbformat.v4.new_markdown_cell(text, metadata={"tags": [ERROR_MARKER_TAG]}))
