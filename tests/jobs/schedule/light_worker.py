"""A worker without notebooks: it keeps the real one's side of the link, claims its run, does what the folder says.

FOLDER/NAME.hold    the job runs until this file is gone
FOLDER/NAME.code    the exit code it ends with, after it has failed
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from workbench.clock import SystemClock
from workbench.jobs.schedule.worker import Assignment, Link, await_bell
from workbench.journal import Journal, Origin, Owner, RunJournal, RunKey
from workbench.journal.records import SLOT
from workbench.journal.states import RunState


def main() -> int:
    folder, home = Path(sys.argv[1]), Path(sys.argv[2])
    given = Assignment.parse(sys.argv[3:])
    stops: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stops.append(number))
    link = Link.of_this_process()
    if (folder / f"{given.pipeline}.refuse").exists():  # as a notebook that was not promoted
        link.report(error="refused before the claim", code=64)
        return 64
    if not await_bell(link, SystemClock(), lambda: bool(stops)):
        return 143 if stops else 0
    with Journal(home / "data" / "journal.sqlite", SystemClock()) as journal:
        return _job(given, RunJournal(journal), link, folder, stops)


def _job(given: Assignment, runs: RunJournal, link: Link, folder: Path, stops: list[int]) -> int:
    key = RunKey(given.account, given.pipeline, given.session, given.slot * SLOT)
    claim = runs.claim(
        key, Owner.current(), run_id=key.run_id, folder="", parameters={}, provenance={},
        steps=[("one", "one.ipynb")], origin=Origin("schedule", given.at),
    )  # fmt: skip
    if not claim.mine:
        return 0
    runs.set_state(key.run_id, RunState.RUNNING)
    print(f"working on {given.session}", file=link, flush=True)
    with (folder / "worked").open("a") as file:
        file.write(f"{given.pipeline} {given.at.isoformat()}\n")
    while (folder / f"{given.pipeline}.hold").exists():
        if stops and not (folder / f"{given.pipeline}.stubborn").exists():
            runs.set_state(key.run_id, RunState.CANCELLED, exit_code=143, reason="cancelled")
            return 143
        time.sleep(0.01)
    code = folder / f"{given.pipeline}.code"
    if code.exists():
        runs.set_state(key.run_id, RunState.FAILED, exit_code=int(code.read_text()), reason="told to fail")
        return int(code.read_text())
    runs.set_state(key.run_id, RunState.SUCCEEDED, exit_code=0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
