"""Turns executed notebooks into HTML pages in a process of its own, off the way of the run.

nbconvert takes over a second to import; the runner starts this process early, hands it one path after the
other and waits for it only at the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from workbench.jobs.folders import seal
from workbench.jobs.kernels import kernel_environment

_FLUSH = "flush"
_FLUSHED = "\x1eflushed "  # what the process answers; a line of anything else is a complaint


class HtmlWriter:
    """Hand over notebooks with :meth:`submit`; leaving the block waits until all pages are there.

    The pages of a runner that is killed are still written: the process ends when its input does.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
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
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "workbench.jobs.pages"],
                env=kernel_environment(os.environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,  # Ctrl-C is for the runner, which then closes this in order
            )
            self._is_over = False
            self._reader = threading.Thread(target=self._read, args=(self._process,), name="pages", daemon=True)
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
        if self._process is None:
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
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps([what, str(path), attempt]) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            if what != _FLUSH:
                self.failures.append(f"{path.name}: the page writer has died")

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Take in what the process says. In a thread, so that it never waits for somebody to listen."""
        assert process.stdout is not None
        for line in process.stdout:
            with self._news:
                if line.startswith(_FLUSHED):
                    self._answered = int(line.removeprefix(_FLUSHED))
                    self._news.notify_all()
                elif line.strip():
                    self.failures.append(line.rstrip("\n"))
        with self._news:
            self._is_over = True
            self._news.notify_all()

    def close(self) -> None:
        """Wait until every page is written; ``failures`` then says which are not, and why."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._reader is not None
        with suppress(BrokenPipeError):  # it has died, which every order since has noted
            self._process.stdin.close()
        self._reader.join()
        self._process.stdout.close()
        self._process.wait()
        self._process = None
        for folder, attempt in self._sealing:  # if the process has died; else there is nothing left to do
            seal(folder, attempt)
        self._sealing.clear()


def main() -> None:
    """Read orders as JSON from standard input; print a line for each that could not be done."""
    from workbench.jobs.notebooks import prepare, to_html

    os.nice(10)  # a page can wait, an order cannot
    prepare()
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
    main()
