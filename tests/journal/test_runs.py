from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from workbench.clock import ManualClock
from workbench.errors import ConfigError, RunOverlap
from workbench.journal import Claim, Journal, Owner, RunJournal, RunKey
from workbench.journal.process import process_started
from workbench.journal.states import RunState, StepState

KEY = RunKey("paper", "daily", date(2013, 1, 2))
STEPS = [("update", "update.ipynb"), ("rebalance", "rebalance.ipynb")]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2013, 1, 2, 22, tzinfo=UTC))


@pytest.fixture
def journal(tmp_path: Path, clock: ManualClock) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite", clock) as opened:
        yield opened


def claim(journal: Journal, owner: Owner, parameters: dict[str, Any] | None = None, key: RunKey = KEY) -> Claim:
    return RunJournal(journal).claim(
        key,
        owner,
        run_id=f"r{key.amendment}",
        folder="runs/r",
        parameters=parameters or {},
        provenance={},
        steps=STEPS,
    )


@pytest.fixture
def other() -> Iterator[Owner]:
    """A process of this machine that lives as long as the test."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = process_started(process.pid)
    assert started is not None
    yield Owner(Owner.current().host, process.pid, started)
    process.communicate(b"\n")


def dead(owner: Owner) -> Owner:
    """The same process number, started at another time: a later process that got the number again."""
    return Owner(owner.host, owner.pid, owner.started - 100)


def test_a_run_is_claimed_once(journal: Journal, other: Owner) -> None:
    assert claim(journal, other).mine
    with pytest.raises(RunOverlap, match=rf"daily for 2013-01-02 is already running as r0 \(process {other.pid}"):
        claim(journal, Owner.current())


def test_the_run_of_a_dead_process_is_resumed_with_what_it_finished(journal: Journal) -> None:
    runs = RunJournal(journal)
    claim(journal, dead(Owner.current()))
    runs.set_state("r0", RunState.RUNNING)
    runs.set_step("r0", "update", StepState.RUNNING)
    runs.set_step("r0", "update", StepState.OK)
    runs.set_step("r0", "rebalance", StepState.RUNNING)
    again = claim(journal, Owner.current())
    assert (again.mine, again.resumed, again.run.attempt) == (True, True, 2)
    assert [step.state for step in runs.steps("r0")] == [StepState.OK, StepState.PENDING]
    states = [row["state"] for row in journal.read("SELECT state FROM run_events ORDER BY id")]
    assert states == ["preflight", "running", "lost", "preflight"]


def test_a_finished_run_stands(journal: Journal) -> None:
    claim(journal, Owner.current())
    RunJournal(journal).set_state("r0", RunState.SUCCEEDED, exit_code=0)
    again = claim(journal, Owner.current())
    assert (again.mine, again.run.state, again.run.exit_code) == (False, RunState.SUCCEEDED, 0)


def test_an_amendment_is_a_run_of_its_own(journal: Journal) -> None:
    claim(journal, Owner.current())
    RunJournal(journal).set_state("r0", RunState.SUCCEEDED, exit_code=0)
    number = RunJournal(journal).next_amendment(KEY)
    assert number == 1
    assert claim(journal, Owner.current(), key=RunKey(KEY.account, KEY.pipeline, KEY.session, number)).mine


def test_a_failed_run_starts_over_with_other_parameters(journal: Journal) -> None:
    runs = RunJournal(journal)
    claim(journal, Owner.current(), {"top": 2})
    runs.set_step("r0", "update", StepState.OK)
    runs.set_state("r0", RunState.FAILED, exit_code=1, reason="boom")
    again = claim(journal, Owner.current(), {"top": 3})
    assert again.run.parameters == {"top": 3}
    assert [step.state for step in runs.steps("r0")] == [StepState.PENDING, StepState.PENDING]


def test_a_run_that_proposed_orders_keeps_its_parameters(journal: Journal) -> None:
    runs = RunJournal(journal)
    claim(journal, Owner.current(), {"top": 2})
    with journal.transaction() as connection:
        connection.execute(
            "INSERT INTO batches VALUES ('b','r0','paper','daily','2013-01-02',0,'momentum','1','1',1,'','plan','','')"
        )
    runs.set_state("r0", RunState.CANCELLED, exit_code=143)
    with pytest.raises(ConfigError, match="resume it with the same ones, or use --amend"):
        claim(journal, Owner.current(), {"top": 3})
    assert claim(journal, Owner.current(), {"top": 2}).resumed


def test_a_lease_passes_on_only_when_its_holder_is_gone_or_late(
    journal: Journal, clock: ManualClock, other: Owner
) -> None:
    runs = RunJournal(journal)
    first = runs.acquire("gateway:paper", other, ttl_s=30)
    with pytest.raises(RunOverlap, match=f"gateway:paper is held by process {other.pid}"):
        runs.acquire("gateway:paper", Owner.current(), ttl_s=30)
    clock.advance(31)
    second = runs.acquire("gateway:paper", Owner.current(), ttl_s=30)
    assert second.token > first.token
    assert runs.renew(first, 30) is False
    assert runs.renew(second, 30) is True
    runs.release(second)
    assert runs.acquire("gateway:paper", other, ttl_s=30).token > second.token


def test_the_lease_of_a_dead_process_passes_on_at_once(journal: Journal) -> None:
    runs = RunJournal(journal)
    runs.acquire("gateway:paper", dead(Owner.current()), ttl_s=3600)
    assert runs.acquire("gateway:paper", Owner.current(), ttl_s=30).token == 2


def test_a_run_of_another_machine_is_taken_over_when_it_falls_silent(journal: Journal, clock: ManualClock) -> None:
    claim(journal, Owner("another-machine", 1, 1.0))
    clock.advance(50)
    with pytest.raises(RunOverlap, match="process 1 on another-machine"):
        claim(journal, Owner.current())
    RunJournal(journal).beat("r0", 1)
    clock.advance(50)
    with pytest.raises(RunOverlap):
        claim(journal, Owner.current())
    clock.advance(11)
    assert claim(journal, Owner.current()).resumed


def test_an_amendment_that_did_not_succeed_is_resumed_and_not_followed_by_another(journal: Journal) -> None:
    runs = RunJournal(journal)
    assert runs.next_amendment(KEY) == 0
    claim(journal, Owner.current())
    assert runs.next_amendment(KEY) == 0
    runs.set_state("r0", RunState.SUCCEEDED, exit_code=0)
    assert runs.next_amendment(KEY) == 1


def test_a_resumed_run_keeps_what_its_first_attempt_was_made_of(journal: Journal) -> None:
    runs = RunJournal(journal)
    claim(journal, Owner.current())
    runs.add_provenance("r0", "data_snapshot", 7)
    runs.set_state("r0", RunState.FAILED, exit_code=1)
    again = runs.claim(
        KEY, Owner.current(), run_id="r0", folder="", parameters={}, provenance={"git_commit": "new"}, steps=STEPS
    )
    assert again.run.provenance == {"git_commit": "new", "data_snapshot": 7, "resumed": [{"git_commit": "new"}]}
