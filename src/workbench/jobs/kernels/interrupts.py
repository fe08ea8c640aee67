"""An interruption reaches the notebook's code, or waits for it: it is never lost on the way.

The runner sends SIGINT as soon as it hears that the kernel works on a cell. Between that word and the cell's first
line, and between its statements, IPython's own code runs: it swallows a KeyboardInterrupt there, and the cell goes on,
or it dies of it, and the runner waits for an answer that never comes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupts:
    """Handles SIGINT while a kernel answers a request.

    Examples
    --------
    >>> interrupts = Interrupts()
    >>> interrupts.handle()  # nothing of the notebook's runs: it waits
    >>> try:
    ...     with interrupts:
    ...         print("never")
    ... except KeyboardInterrupt:
    ...     print("stopped before the first line")
    stopped before the first line
    """

    def __init__(self) -> None:
        self._depth = 0  # how deep in the notebook's code: a cell can run another
        self._held = 0  # by what must not be cut in two
        self._waits = False

    def install(self, shell: Any) -> None:
        """Run the code of this IPython shell so that it can be interrupted, and nothing else."""
        run_code = shell.run_code

        async def interruptible(*arguments: Any, **options: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                return await run_code(*arguments, **options)
            with self:
                return await run_code(*arguments, **options)

        shell.run_code = interruptible

    def begin(self) -> None:
        """A request begins: what came for the one before came too late."""
        self._depth, self._held, self._waits = 0, 0, False

    def handle(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Be the handler of SIGINT."""
        self._waits = True
        self._raise()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let an interruption wait until the block is over. Other threads are never interrupted."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = self._held
        try:
            self._held = before + 1
            yield
        finally:
            self._held = before
            self._raise()

    def _raise(self) -> None:
        if self._waits and self._depth and not self._held:
            self._waits = False
            raise KeyboardInterrupt

    def __enter__(self) -> None:
        self._depth += 1
        try:
            self._raise()
        except KeyboardInterrupt:
            self._depth -= 1
            raise

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
