"""Turns executed notebooks into HTML pages in a process of its own, off the way of the run.

nbconvert takes over a second to import; the runner starts this process early, hands it one path after the
other and waits for it only at the end. Where kernels are forked, so is this process (:meth:`KernelPool.pages`).
"""

from __future__ import annotations

import gc
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from workbench.jobs.folders import seal
from workbench.jobs.kernels import KernelPool, kernel_environment

_FLUSH = "flush"
_FLUSHED = "\x1eflushed "  # what the process answers; a line of anything else is a complaint


class HtmlWriter:
    """Hand over notebooks with :meth:`submit`; leaving the block waits until all pages are there.

    The pages of a runner that is killed are still written: the process ends when its input does.
    """

    def __init__(self, pool: KernelPool | None = None) -> None:
        self._pool = pool
        self._line: _Line | None = None
        self._reader: threading.Thread | None = None
        self._news = threading.Condition()
        self._asked = 0  # flushes, and how many of them were answered
        self._answered = 0
        self._is_over = False
        self._sealing: list[tuple[Path, int]] = []
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the process now, so that its imports are over when the first notebook is."""
        if self._line is None:
            self._line = _Line.open(self._pool)
            self._is_over = False
            self._reader = threading.Thread(target=self._read, args=(self._line.answers,), name="pages", daemon=True)
            self._reader.start()

    def submit(self, notebook: Path) -> None:
        """Have ``notebook`` written as HTML beside it."""
        self._order("page", notebook)

    def seal(self, folder: Path, attempt: int) -> None:
        """Have the folder of a run's attempt made read-only once the pages submitted so far are written."""
        self._sealing.append((folder, attempt))
        self._order("seal", folder, attempt)

    def flush(self, timeout_s: float = 60.0) -> None:
        """Wait until everything handed over so far is done; ``failures`` then says what is not, and why."""
        if self._line is None:
            return
        self._asked += 1
        self._order(_FLUSH, Path(str(self._asked)))
        with self._news:
            self._news.wait_for(lambda: self._is_over or self._answered >= self._asked, timeout_s)
            if self._answered < self._asked:
                why = "has died" if self._is_over else f"has not finished within {timeout_s:g} s"
                self.failures.append(f"pages: their writer {why}")

    def _order(self, what: str, path: Path, attempt: int = 0) -> None:
        self.start()
        assert self._line is not None
        try:
            self._line.orders.write(json.dumps([what, str(path), attempt]) + "\n")
            self._line.orders.flush()
        except BrokenPipeError:
            if what != _FLUSH:
                self.failures.append(f"{path.name}: the page writer has died")

    def _read(self, answers: IO[str]) -> None:
        """Take in what the process says. In a thread, so that it never waits for somebody to listen."""
        with suppress(ConnectionResetError):  # it was killed with orders that it had not read
            for line in answers:
                with self._news:
                    if line.startswith(_FLUSHED):
                        self._answered = int(line.removeprefix(_FLUSHED))
                        self._news.notify_all()
                    elif line.strip():
                        self.failures.append(line.rstrip("\n"))
        with self._news:
            self._is_over = True
            self._news.notify_all()

    def let_go(self) -> None:
        """Hand over no more: the process ends when it has written what it has, and :meth:`close` waits for that."""
        if self._line is not None:
            self._line.hang_up()

    def close(self) -> None:
        """Wait until every page is written; ``failures`` then says which are not, and why."""
        if self._line is None:
            return
        assert self._reader is not None
        self._line.hang_up()
        self._reader.join()
        self._line.close()
        self._line = None
        for folder, attempt in self._sealing:  # if the process has died; else there is nothing left to do
            seal(folder, attempt)
        self._sealing.clear()


@dataclass(frozen=True)
class _Line:
    """Both directions to the process: a pair of pipes, or a socket if it was forked."""

    orders: IO[str]
    answers: IO[str]
    process: subprocess.Popen[str] | None = None
    socket: socket.socket | None = None

    @classmethod
    def open(cls, pool: KernelPool | None) -> _Line:
        line = None if pool is None else pool.pages()
        if line is not None:
            return cls(line.makefile("w", encoding="utf-8"), line.makefile("r", encoding="utf-8"), socket=line)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "workbench.jobs.pages"],
            env=kernel_environment(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is for the runner, which then closes this in order
        )
        assert process.stdin is not None
        assert process.stdout is not None
        return cls(process.stdin, process.stdout, process)

    def hang_up(self) -> None:
        """Send no more orders; the process ends when it has done those it has."""
        with suppress(OSError):  # it has died, which every order since has noted
            self.orders.close()
        if self.socket is not None:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.answers.close()
        if self.socket is not None:
            self.socket.close()
        if self.process is not None:
            self.process.wait()


def main(cache: str | None = None) -> None:
    """Read orders as JSON from standard input; print a line for each that could not be done."""
    from workbench.jobs.notebooks import prepare, to_html

    os.nice(10)  # a page can wait, an order cannot
    gc.disable()  # of what imports make nothing is garbage
    prepare(None if cache is None else Path(cache))
    gc.freeze()
    gc.enable()
    for line in sys.stdin:
        what, text, attempt = json.loads(line)
        notebook = Path(text)
        try:
            if what == _FLUSH:
                print(f"{_FLUSHED}{text}", flush=True)
            elif what == "seal":
                seal(notebook, attempt)
            else:
                to_html(notebook)
        except Exception as error:  # one bad page must not cost the others; the runner reports the line
            print(f"{notebook.name}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


if __name__ == "__main__":
    main(*sys.argv[1:])
