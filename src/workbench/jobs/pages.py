"""Turns executed notebooks into HTML pages in a process of its own, off the way of the run.

nbconvert takes over a second to import; the runner starts this process early, hands it one path after the
other and waits for it only at the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from workbench.jobs.kernels import kernel_environment


class HtmlWriter:
    """Hand over notebooks with :meth:`submit`; leaving the block waits until all pages are there.

    The pages of a runner that is killed are still written: the process ends when its input does.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
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

    def submit(self, notebook: Path) -> None:
        """Have ``notebook`` written as HTML beside it."""
        self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(str(notebook)) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self.failures.append(f"{notebook.name}: the page writer has died")

    def close(self) -> None:
        """Wait until every page is written; ``failures`` then says which are not, and why."""
        if self._process is None:
            return
        said, _ = self._process.communicate()
        self.failures.extend(line for line in said.splitlines() if line.strip())
        self._process = None


def main() -> None:
    """Read JSON paths from standard input; print a line for each page that could not be written."""
    from workbench.jobs.notebooks import prepare, to_html

    os.nice(10)  # a page can wait, an order cannot
    prepare()
    for line in sys.stdin:
        notebook = Path(json.loads(line))
        try:
            to_html(notebook)
        except Exception as error:  # one bad page must not cost the others; the runner reports the line
            print(f"{notebook.name}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


if __name__ == "__main__":
    main()
