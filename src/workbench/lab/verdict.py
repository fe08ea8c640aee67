"""What the screen says of a job: the ledger's word, or why there is none."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Literal

from workbench.journal import RunRecord
from workbench.journal.states import RunState

Status = Literal["COMPLETED", "FAILED", "STOPPED"]

_COMPLAINT = "workbench: "
_NEVER_RAN = {RunState.SKIPPED, RunState.CANCELLED}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a job ended, in the screen's terms; ``message`` is one line, empty where there is nothing to say."""

    status: Status
    message: str


def judge(run: RunRecord | None, said: str, code: int | None, *, stopping: bool) -> Verdict:
    """Put the end of a job into the screen's terms.

    Parameters
    ----------
    run
        What the ledger has of the job's process; None if that never claimed a run.
    said
        What the process wrote.
    code
        Its exit code, None if it is not known: another server had started it.
    stopping
        Whether somebody pressed Stop.
    """
    complaint = _complaint(said)
    if run is None:
        return _without_run(said, complaint, code, stopping=stopping)
    if run.state is RunState.SUCCEEDED:
        return Verdict("COMPLETED", complaint)
    status: Status = "STOPPED" if run.state in _NEVER_RAN else "FAILED"
    words = "" if run.state is RunState.FAILED else f"{run.state.value.replace('_', ' ')}: "
    return Verdict(status, f"{words}{_line(run.reason) or complaint or 'no reason is given'} (run {run.run_id})")


def _without_run(said: str, complaint: str, code: int | None, *, stopping: bool) -> Verdict:
    if complaint:
        return Verdict("FAILED", complaint)
    if code == 0:  # it found the session's run done already, and says so
        return Verdict("STOPPED", _line(next(iter(said.strip().splitlines()), "nothing was run")))
    if stopping:
        return Verdict("STOPPED", "stopped before it had begun")
    last = _line(next(iter(reversed(said.strip().splitlines())), ""))
    how = "it was never seen to end" if code is None else f"exit code {code}" if code > 0 else _killed(-code)
    return Verdict("FAILED", f"it ended without a run in the ledger ({how})" + (f": {last}" if last else ""))


def _complaint(said: str) -> str:
    """The last line that the command line complained with."""
    lines = [line for line in said.splitlines() if line.startswith(_COMPLAINT)]
    return _line(lines[-1].removeprefix(_COMPLAINT)) if lines else ""


def _killed(number: int) -> str:
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:
        return f"killed by signal {number}"


def _line(text: str) -> str:
    return " ".join(text.split())
