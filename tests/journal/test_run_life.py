"""A run's life: queued, put aside, taken over, lost; and what its cells and its scheduler leave on record."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from workbench.clock import ManualClock
from workbench.errors import ConfigError, JournalError, RunOverlap
from workbench.journal import CellRecord, Claim, Journal, Origin, Owner, RunJournal, RunKey
from workbench.journal.states import CellState, RunState, StepState, check_run_move

KEY = RunKey("paper", "daily", date(2013, 1, 2))
BELL = datetime(2013, 1, 2, 21, 30, tzinfo=UTC)
BY_HAND, SCHEDULED = Origin(), Origin("schedule", BELL)
STEPS = [("update", "update.ipynb"), ("rebalance", "rebalance.ipynb"), ("report", "report.ipynb")]
ME = Owner.current()
GONE = Owner(ME.host, ME.pid, ME.started - 100)  # the same number, an earlier process


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(BELL)


@pytest.fixture
def runs(tmp_path: Path, clock: ManualClock) -> Iterator[RunJournal]:
    with Journal(tmp_path / "journal.sqlite", clock) as journal:
        yield RunJournal(journal)


def claim(
    runs: RunJournal, owner: Owner = ME, key: RunKey = KEY, steps: list[tuple[str, str]] = STEPS,
    origin: Origin = BY_HAND,
) -> Claim:  # fmt: skip
    return runs.claim(
        key, owner, run_id=key.run_id, folder="f", parameters={}, provenance={}, steps=steps, origin=origin
    )


def events(runs: RunJournal) -> list[tuple[str, int]]:
    rows = runs._journal.read("SELECT state, attempt FROM run_events ORDER BY id")
    return [(row["state"], row["attempt"]) for row in rows]


def test_a_queued_run_is_claimed_by_whoever_begins_it(runs: RunJournal) -> None:
    queued = runs.enqueue(KEY, GONE, folder="", origin=SCHEDULED)
    assert (queued.state, queued.trigger, queued.scheduled_at) == (
        RunState.QUEUED, "schedule", "2013-01-02T21:30:00.000000+00:00",
    )  # fmt: skip
    assert runs.enqueue(KEY, ME, folder="f", origin=Origin()).trigger == "schedule"
    claimed = claim(runs)
    assert (claimed.mine, claimed.resumed, claimed.run.attempt, claimed.run.owner) == (True, False, 1, ME)
    assert claimed.run.folder == "f"
    assert [step.state for step in runs.steps(KEY.run_id)] == [StepState.PENDING] * 3
    assert events(runs) == [("queued", 1), ("preflight", 1)]


@pytest.mark.parametrize("state", [RunState.SKIPPED, RunState.REJECTED])
def test_what_was_put_aside_is_on_record_and_can_still_be_run(runs: RunJournal, state: RunState) -> None:
    aside = runs.put_aside(KEY, ME, state, "the deadline has passed", origin=SCHEDULED)
    assert (aside.state, aside.reason, aside.exit_code) == (
        state, "the deadline has passed", 64 if state is RunState.REJECTED else 0,
    )  # fmt: skip
    assert aside.ended_at is not None
    begun = claim(runs)
    assert (begun.mine, begun.run.state, begun.run.reason, begun.run.ended_at) == (True, RunState.PREFLIGHT, "", None)


def test_a_run_that_has_begun_is_not_put_aside(runs: RunJournal) -> None:
    claim(runs)
    assert runs.put_aside(KEY, ME, RunState.SKIPPED, "too late").state is RunState.PREFLIGHT
    runs.set_state(KEY.run_id, RunState.SUCCEEDED, exit_code=0)
    assert runs.put_aside(KEY, ME, RunState.SKIPPED, "too late").state is RunState.SUCCEEDED


def test_the_reaper_marks_what_a_dead_runner_left(runs: RunJournal) -> None:
    claim(runs, GONE)
    runs.set_state(KEY.run_id, RunState.RUNNING, attempt=1)
    runs.set_step(KEY.run_id, "update", StepState.OK)
    runs.set_step(KEY.run_id, "rebalance", StepState.RUNNING)
    cells = {
        "update": [CellRecord(1, 1, CellState.OK, 0.1)],
        "rebalance": [CellRecord(n, 2, s, 0.0) for n, s in ((1, CellState.RUNNING), (2, CellState.PENDING))],
    }
    runs.beat(KEY.run_id, 1, "rebalance [1/2]", cells)
    (lost,) = runs.reap()
    assert (lost.state, lost.doing) == (RunState.LOST, "")
    assert lost.reason == f"process {ME.pid} on {ME.host} is gone at rebalance [1/2]"
    assert [step.state for step in runs.steps(KEY.run_id)] == [StepState.OK, StepState.ERROR, StepState.NOT_RUN]
    assert {step: [cell.state.value for cell in cells] for step, cells in runs.cells(KEY.run_id, 1).items()} == {
        "update": ["ok"], "rebalance": ["error", "not_run"],
    }  # fmt: skip
    assert runs.reap() == []
    again = claim(runs)
    assert (again.resumed, again.run.attempt) == (True, 2)
    assert [step.state for step in runs.steps(KEY.run_id)] == [StepState.OK, StepState.PENDING, StepState.PENDING]


def test_the_reaper_leaves_the_living_alone(runs: RunJournal, clock: ManualClock) -> None:
    claim(runs, ME)
    claim(runs, Owner("another-machine", 1, 1.0), RunKey("paper", "weekly", KEY.session))
    assert runs.reap() == []
    clock.advance(61)  # the other machine has not been heard of
    assert [run.key.pipeline for run in runs.reap()] == ["weekly"]


def test_a_runner_that_was_paused_while_another_took_its_run_changes_nothing(runs: RunJournal) -> None:
    claim(runs, GONE)
    runs.reap()
    claim(runs, ME)
    for act in (
        lambda: runs.set_state(KEY.run_id, RunState.SUCCEEDED, attempt=1),
        lambda: runs.set_step(KEY.run_id, "update", StepState.OK, attempt=1),
        lambda: runs.pass_on(KEY.run_id, "update", "rebalance", {"data_snapshot": 7}, attempt=1),
        lambda: runs.add_provenance(KEY.run_id, "data_snapshot", 7, attempt=1),
        lambda: runs.beat(KEY.run_id, 1, "", {"update": [CellRecord(1, 1, CellState.OK, 0.1)]}),
        lambda: runs.abandon(KEY.run_id, 1, "too late"),
    ):
        with pytest.raises(JournalError, match="has been taken from this process, which is at attempt 1"):
            act()
    found = runs.run(KEY.run_id)
    assert found is not None
    assert (found.state, found.attempt) == (RunState.PREFLIGHT, 2)
    assert "data_snapshot" not in found.provenance
    assert runs.cells(KEY.run_id, 1) == {}
    assert {step.state for step in runs.steps(KEY.run_id)} == {StepState.PENDING}


def test_one_step_ends_and_the_next_begins_in_one_commit(runs: RunJournal, clock: ManualClock) -> None:
    claim(runs)
    before = runs.run(KEY.run_id)
    assert before is not None
    runs.set_step(KEY.run_id, "update", StepState.RUNNING)
    clock.advance(3)
    runs.pass_on(KEY.run_id, "update", "rebalance", {"data_snapshot": 7}, attempt=1)
    update, rebalance, report = runs.steps(KEY.run_id)
    assert [step.state for step in (update, rebalance, report)] == [StepState.OK, StepState.RUNNING, StepState.PENDING]
    assert update.ended_at == rebalance.started_at != update.started_at
    found = runs.run(KEY.run_id)
    assert found is not None
    assert found.provenance == {**before.provenance, "data_snapshot": 7}


def test_a_run_that_was_reaped_can_not_be_ended_by_its_old_runner(runs: RunJournal) -> None:
    claim(runs, GONE)
    runs.reap()
    with pytest.raises(JournalError, match="has been taken from this process"):
        runs.set_state(KEY.run_id, RunState.SUCCEEDED, attempt=1)


# Written down by hand from the issue: queued, preflight, running, stopping, then one of eight ends.
ENDS = ["succeeded", "failed", "timed_out", "kernel_died", "cancelled", "lost", "skipped", "rejected"]
MOVES = {
    "queued": {"preflight", *ENDS} - {"succeeded"},
    "preflight": {"running", "stopping", *ENDS},
    "running": {"stopping", *ENDS} - {"skipped", "rejected"},
    "stopping": {*ENDS} - {"skipped", "rejected"},
    "succeeded": set(),
    **{end: {"queued", "preflight", "skipped", "rejected"} for end in ENDS[1:]},
}


@pytest.mark.parametrize("before", MOVES)
def test_only_these_moves_are_possible(before: str) -> None:
    possible = set()
    for after in RunState:
        try:
            check_run_move("r", RunState(before), after)
        except JournalError:
            continue
        possible.add(after.value)
    assert possible == MOVES[before]


def test_repeats_are_numbered_within_their_slot(runs: RunJournal) -> None:
    slot = RunKey("paper", "daily", KEY.session, 2000)
    assert runs.next_amendment(slot) == 2000
    claim(runs, key=slot)
    runs.set_state(slot.run_id, RunState.SUCCEEDED, exit_code=0)
    assert (runs.next_amendment(slot), runs.next_amendment(KEY)) == (2001, 0)


def test_notes_outlive_their_writer(runs: RunJournal) -> None:
    runs.remember("last_seen", "2013-01-02")
    runs.remember("last_seen", "2013-01-03")
    runs.remember("broken:daily", "line 3")
    runs.remember("broken:weekly", "line 4")
    runs.remember("broken:weekly", "")
    assert (runs.recall("last_seen"), runs.recall("broken:weekly")) == ("2013-01-03", None)
    assert runs.recall_all("broken:") == {"daily": "line 3"}


@pytest.mark.parametrize("end", [RunState.FAILED, RunState.CANCELLED, RunState.LOST])
def test_a_moment_of_the_schedule_gets_one_try_and_a_person_may_go_on(runs: RunJournal, end: RunState) -> None:
    assert claim(runs, origin=SCHEDULED).mine
    runs.set_state(KEY.run_id, end, exit_code=1)
    again = claim(runs, origin=SCHEDULED)
    assert (again.mine, again.run.state, again.run.attempt) == (False, end, 1)
    by_hand = claim(runs)
    assert (by_hand.mine, by_hand.resumed, by_hand.run.attempt) == (True, True, 2)


def test_a_step_that_was_added_is_run_and_one_that_has_proposed_may_not_go(runs: RunJournal) -> None:
    claim(runs)
    runs.set_step(KEY.run_id, "update", StepState.OK)
    with runs._journal.transaction() as connection:
        connection.execute(
            "INSERT INTO batches VALUES ('b',?,'paper','daily','2013-01-02',0,'s','1','1',1,'','plan','','rebalance')",
            (KEY.run_id,),
        )
    runs.set_state(KEY.run_id, RunState.FAILED, exit_code=1)
    with pytest.raises(ConfigError, match="has proposed orders in step rebalance, which the pipeline does not have"):
        claim(runs, steps=[("update", "u.ipynb"), ("trade", "r.ipynb")])
    claim(runs, steps=[("update", "u.ipynb"), ("check", "c.ipynb"), ("rebalance", "r.ipynb")])
    assert [(s.name, s.state.value) for s in runs.steps(KEY.run_id)][:3] == [
        ("update", "ok"), ("check", "pending"), ("rebalance", "pending"),
    ]  # fmt: skip
    assert runs.has_decided(KEY.run_id, "rebalance")
    assert not runs.has_decided(KEY.run_id, "check")


def test_what_may_run_as_often_as_one_likes_is_numbered_without_end(runs: RunJournal) -> None:
    key = RunKey("paper", "nb-look", KEY.session)
    assert runs.next_repeat(key) == 0
    for number in (0, 999, 1000):
        claim(runs, key=RunKey("paper", "nb-look", KEY.session, number))
    assert runs.next_repeat(key) == 1001


@pytest.mark.parametrize("state", [RunState.PREFLIGHT, RunState.SUCCEEDED, RunState.FAILED])
def test_who_asks_for_a_new_run_is_never_given_another_ones(runs: RunJournal, state: RunState) -> None:
    claim(runs)
    if state is not RunState.PREFLIGHT:
        runs.set_state(KEY.run_id, state, exit_code=0)
    with pytest.raises(RunOverlap, match=f"daily for 2013-01-02 has a run 0 already: {KEY.run_id}"):
        runs.claim(KEY, ME, run_id="other", folder="f", parameters={}, provenance={}, steps=STEPS, only_new=True)
    assert [(run.state, run.attempt) for run in runs.runs()] == [(state, 1)]
