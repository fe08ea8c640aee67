"""A notebook that waits at its gate, in a thread of its own, with its kernel ready."""

from __future__ import annotations

import threading
from collections.abc import Callable

from workbench.jobs.engine import CellProgress, Gate

_NEARLY = 0.75  # of the cells


class StagedNotebook:
    """One notebook between the start of its kernel and its end.

    Parameters
    ----------
    cancel
        Stops this notebook and no other.
    work
        Runs it, waits at ``gate`` before the first cell, and calls its arguments: ``on_cell`` with the progress of
        cells, and ``when_over`` when the notebook has succeeded, though its processes may still be there.
    on_cell
        Told of the progress, too.
    """

    def __init__(
        self,
        gate: Gate,
        cancel: threading.Event,
        work: Callable[..., object],
        on_cell: Callable[[CellProgress], None],
    ) -> None:
        self._gate = gate
        self._cancel = cancel
        self._work = work
        self._error: BaseException | None = None
        self._on_cell = on_cell
        self._nearly = threading.Event()
        self._over = threading.Event()
        self._has_succeeded = False
        self._thread = threading.Thread(target=self._run, name="notebook", daemon=True)

    def start(self) -> None:
        """Start its kernel; does not wait for it."""
        self._thread.start()

    def require_ready(self) -> None:
        """Wait until it stands at the gate; raises what kept it from getting there."""
        self._gate.reached.wait()
        if self._error is not None:
            raise self._error

    @property
    def is_over(self) -> bool:
        """Whether it has ended; before its gate was opened, that means that its kernel is gone."""
        return not self._thread.is_alive()

    def begin(self) -> None:
        """Open the gate."""
        self._gate.open()

    def wait_until_nearly_over(self) -> None:
        """Wait until three quarters of its cells have begun, or it has ended in whatever way."""
        self._nearly.wait()

    def finish(self) -> None:
        """Wait for its end; raises what it ended with. Of one that has succeeded, processes may still be there."""
        self._over.wait()
        if self._error is not None and not self._has_succeeded:
            raise self._error

    def see_off(self) -> None:
        """Wait until nothing of it is there any more; raises what came up after it had succeeded."""
        self._thread.join()
        if self._has_succeeded and self._error is not None:
            raise self._error

    def dismiss(self) -> None:
        """End it, and wait until nothing of it is there any more.

        What kept it from getting ready is not told: nobody waits for it any more.
        """
        self._cancel.set()
        self._thread.join()

    def _note_cell(self, progress: CellProgress) -> None:
        if progress.number >= _NEARLY * progress.total:
            self._nearly.set()
        self._on_cell(progress)

    def _note_success(self) -> None:
        self._has_succeeded = True
        self._over.set()

    def _run(self) -> None:
        try:
            self._work(on_cell=self._note_cell, when_over=self._note_success)
        except BaseException as error:  # carried to the thread that waits, which raises it
            self._error = error
        finally:
            self._gate.reached.set()
            self._nearly.set()
            self._over.set()
