"""One notebook under nbval, in a process of its own: ``python -m workbench.jobs.nbtest.worker NOTEBOOK RESULT ...``.

What nbval 0.11 does not do: end when the kernel dies (it waits for the cell's time-out), end when its parent
does, and say in one line what is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Generator, Mapping
from functools import partial
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

from workbench.jobs.engine import FORMAT_CHECKS, imports_without
from workbench.jobs.files import write_atomically

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_LOOK_S = 0.5  # how often a silent kernel is asked whether it lives
_CHARACTERS = 300


def main(argv: list[str]) -> int:
    """Test a notebook and write what became of each cell; exits like pytest."""
    parser = argparse.ArgumentParser()
    parser.add_argument("notebook", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--cell-timeout", type=float, default=600.0)
    parser.add_argument("--sanitize", type=Path)
    asked = parser.parse_args(argv)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with imports_without(*FORMAT_CHECKS):
        import nbval.plugin  # type: ignore[import-untyped]  # nbval has no types
    watch = Watch(asked.result)
    empty = asked.result.with_suffix(".ini")
    empty.write_text("[pytest]\n", encoding="utf-8")  # nobody's pytest configuration has a say
    options = [
        str(asked.notebook),
        "--exitfirst",
        "--noconftest",
        "--disable-plugin-autoload",
        f"--config-file={empty}",
        f"--rootdir={empty.parent}",
        "--nbval" if asked.strict else "--nbval-lax",
        "--nbval-current-env",
        f"--nbval-cell-timeout={asked.cell_timeout}",
        "--color=no",
        "-p",
        "no:cacheprovider",
    ]
    if asked.sanitize is not None:
        options.append(f"--nbval-sanitize-with={asked.sanitize}")
    return int(pytest.main(options, plugins=[nbval.plugin, watch]))


class Watch:
    """A pytest plugin that writes down how each cell ended, after every cell."""

    def __init__(self, result: Path) -> None:
        self._result = result
        self._cells: list[dict[str, Any]] = []

    def pytest_runtest_setup(self, item: Any) -> None:
        """Let a dead kernel be noticed. (The kernel is started by the notebook's collector, before this.)"""
        kernel = getattr(item.parent, "kernel", None)
        if kernel is not None:
            kernel.await_reply = partial(_await_reply, kernel)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: Any, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.when == "call" or report.outcome != "passed":
            error = call.excinfo.value if call.excinfo is not None and report.outcome == "failed" else None
            self._note(item, report.outcome, call.duration, error)
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._cells.append({"cell": None, "outcome": "failed", "reason": _last_line(str(report.longrepr))})
            self._write()

    def _note(self, item: Any, outcome: str, seconds: float, error: BaseException | None) -> None:
        said = {"cell": item.cell_num + 1, "outcome": outcome, "seconds": round(seconds, 3)}
        if error is not None:
            trace = _plain(getattr(error, "inner_traceback", None) or "")
            said |= {"reason": _reason(item, error, trace), "detail": trace.strip()}
        self._cells.append(said)
        self._write()

    def _write(self) -> None:
        write_atomically(self._result, json.dumps(self._cells))


def _reason(item: Any, error: BaseException, trace: str) -> str:
    message = _plain(str(error))
    if message == "Cell outputs differ":
        return f"the stored output differs: {_difference(item.cell.outputs, item.test_outputs or [])}"
    if message == "Cell execution caused an exception":
        return _last_line(trace) or message
    return _last_line(message) or type(error).__name__


def _difference(stored: list[Mapping[str, Any]], now: list[Mapping[str, Any]]) -> str:
    """The first line that is another one."""
    old, new = _lines(stored), _lines(now)
    for number in range(max(len(old), len(new))):
        before = old[number] if number < len(old) else "nothing"
        after = new[number] if number < len(new) else "nothing"
        if before != after:
            return _cut(f"{before.strip()!r} is now {after.strip()!r}")
    return "in what is not text"


def _lines(outputs: list[Mapping[str, Any]]) -> list[str]:
    texts = []
    for output in outputs:
        data = output.get("data", {})
        text = output.get("text") or data.get("text/plain") or next(iter(data.values()), "")
        texts.append(_plain("".join(text) if isinstance(text, list) else str(text)))
    return "\n".join(texts).splitlines()


def _await_reply(kernel: Any, message: str, timeout: float | None = None) -> None:
    """Wait for the answer to a cell, as long as there is a kernel that could give one."""
    deadline = time.monotonic() + (timeout if timeout is not None else float("inf"))
    while True:
        try:
            answer = kernel.kc.get_shell_msg(timeout=max(0.0, min(_LOOK_S, deadline - time.monotonic())))
        except Empty:
            if not kernel.is_alive():
                raise RuntimeError("the kernel died") from None
            if time.monotonic() >= deadline:
                raise
            continue
        if answer["parent_header"].get("msg_id") == message:
            return


def _end_with_parent() -> None:
    """The parent holds the other end of standard input; when it is gone, so is the test."""
    while os.read(0, 1024):
        continue
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def _plain(text: str) -> str:
    return _ANSI.sub("", text)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in _plain(text).splitlines() if line.strip()]
    return _cut(lines[-1]) if lines else ""


def _cut(text: str) -> str:
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}…"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
