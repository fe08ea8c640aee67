"""An interruption reaches the notebook's code, or waits for it: it is never lost on the way.

The runner sends SIGINT as soon as it hears that the kernel works on a cell. Between that word and the cell's first
line, and between its statements, IPython's own code runs: it swallows a KeyboardInterrupt there, and the cell goes on,
or it dies of it, and the runner waits for an answer that never comes.
"""

from __future__ import annotations

import threading
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
        self._depth, self._waits = 0, False

    def handle(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Be the handler of SIGINT."""
        if self._depth:
            raise KeyboardInterrupt
        self._waits = True

    def __enter__(self) -> None:
        self._depth += 1
        if self._waits:
            self._waits = False
            self._depth -= 1
            raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
