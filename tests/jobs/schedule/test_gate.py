"""What a trigger from outside runs, against a real ledger. XNYS, March 2013: the close is at 21:00 UTC, then 20:00."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from workbench.calendars import calendar
from workbench.clock import ManualClock
from workbench.errors import DeadlineMissed
from workbench.jobs.pipelines import Pipeline
from workbench.jobs.schedule.agenda import Agenda, Past
from workbench.jobs.schedule.gate import LOOK_S, Answer, what_is_due
from workbench.jobs.schedule.history import LedgerHistory
from workbench.journal import Journal, Origin, Owner, RunJournal, RunKey
from workbench.journal.states import RunState

FRIDAY = date(2013, 3, 1)
BELL = datetime(2013, 3, 1, 21, 30, tzinfo=UTC)


def pipeline(name: str, schedule: str | None, *, orders: bool = False, **keys: Any) -> Pipeline:
    step = {"name": "only", "notebook": "only.ipynb", "orders": orders}
    values = {"name": name, "file": Path(f"{name}.toml"), "description": "", "schedule": schedule, "steps": [step]}
    return Pipeline.model_validate({**values, **keys})


class WatchedClock(ManualClock):
    """Something happens elsewhere while somebody sleeps on it."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)
    slept: int = 0

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.slept += 1
        self.meanwhile()


@pytest.fixture
def clock() -> WatchedClock:
    return WatchedClock(BELL)


@pytest.fixture
def journal(tmp_path: Path, clock: WatchedClock) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite", clock) as opened:
        yield opened


def record(journal: Journal, name: str, state: RunState, *, amendment: int = 0, at: datetime | None = BELL) -> None:
    runs = RunJournal(journal)
    key = RunKey("paper", name, FRIDAY, amendment)
    origin = Origin("schedule", at) if at else Origin()
    if state is RunState.SKIPPED:
        runs.put_aside(key, Owner.current(), state, "closed", origin=origin)
        return
    claim = runs.claim(
        key, Owner.current(), run_id=key.run_id, folder="", parameters={}, provenance={}, steps=[("only", "x")],
        origin=origin,
    )  # fmt: skip
    if state is not RunState.PREFLIGHT:
        runs.set_state(claim.run.run_id, RunState.RUNNING)
    if state not in {RunState.PREFLIGHT, RunState.RUNNING}:
        runs.set_state(claim.run.run_id, state)


def ask(journal: Journal, clock: WatchedClock, *pipelines: Pipeline) -> Answer:
    return what_is_due(Agenda(pipelines, calendar), pipelines[0].name, journal, "paper", clock)


def test_the_ledger_is_read_by_slot_with_the_moment_that_each_run_was_for(journal: Journal) -> None:
    record(journal, "often", RunState.FAILED)
    record(journal, "often", RunState.SUCCEEDED, amendment=1, at=None)
    record(journal, "often", RunState.SKIPPED, amendment=1000)
    record(journal, "often", RunState.RUNNING, amendment=3000, at=None)
    history = LedgerHistory(journal, "paper")
    assert history("often", FRIDAY) == {
        0: Past(RunState.SUCCEEDED, BELL),  # repeated by hand, with success
        1: Past(RunState.SKIPPED, BELL),
        3: Past(RunState.RUNNING, None),
    }
    assert history("often", date(2013, 2, 28)) == history("other", FRIDAY) == {}
    assert LedgerHistory(journal, "elsewhere")("often", FRIDAY) == {}
    assert (history.busy(), LedgerHistory(journal, "elsewhere").busy()) == ({"often"}, set())


def test_a_moment_that_has_come_is_due_and_after_its_run_nothing_is(journal: Journal, clock: WatchedClock) -> None:
    daily = pipeline("daily", "close + 30min", orders=True)
    answer = ask(journal, clock, daily)
    assert answer.due is not None
    assert (answer.due.session, answer.due.slot, answer.due.at) == (FRIDAY, 0, BELL)
    record(journal, "daily", RunState.SUCCEEDED)
    assert ask(journal, clock, daily) == Answer(None, "the moment at 2013-03-01 21:30 UTC has been dealt with")


def test_a_trigger_at_the_wrong_time_trades_nothing(journal: Journal, clock: WatchedClock) -> None:
    daily = pipeline("daily", "close + 30min", orders=True, missed="run_until 30min")
    clock.advance(-3 * 3600)  # the time of a half-day
    answer = ask(journal, clock, daily)
    assert answer.due is None
    assert answer.reason.startswith("missed its deadline, 2013-02-28 22:00:00 UTC")
    clock.advance(3 * 3600 + 30 * 60)
    assert ask(journal, clock, daily).due is None


def test_a_report_is_caught_up(journal: Journal, clock: WatchedClock) -> None:
    clock.advance(2 * 86_400)
    answer = ask(journal, clock, pipeline("report", "close + 30min"))
    assert answer.due is not None
    assert answer.due.session == FRIDAY


def test_it_waits_for_what_must_come_first(journal: Journal, clock: WatchedClock) -> None:
    update = pipeline("update", "close")
    trade = pipeline("trade", "close + 30min", orders=True, missed="run_until 1h", after="update")
    bell = datetime(2013, 3, 1, 21, 0, tzinfo=UTC)

    def finish() -> None:
        if clock.slept == 3:
            record(journal, "update", RunState.SUCCEEDED, at=bell)

    clock.meanwhile = finish
    answer = ask(journal, clock, trade, update)
    assert answer.due is not None
    assert (clock.now() - BELL).total_seconds() == 3 * LOOK_S


def test_waiting_in_vain_is_an_error(journal: Journal, clock: WatchedClock) -> None:
    update = pipeline("update", "close")
    trade = pipeline("trade", "close + 30min", orders=True, missed="run_until 1h", after="update")
    with pytest.raises(DeadlineMissed, match=r"trade for 2013-03-01: missed its deadline, .*: update was not through"):
        ask(journal, clock, trade, update)
    assert clock.now() == datetime(2013, 3, 1, 22, 30, tzinfo=UTC)


def test_a_dependency_that_failed_is_an_error_at_once(journal: Journal, clock: WatchedClock) -> None:
    update = pipeline("update", "close + 30min")
    record(journal, "update", RunState.FAILED)
    with pytest.raises(DeadlineMissed, match="report for 2013-03-01: update for 2013-03-01: failed"):
        ask(journal, clock, pipeline("report", "close + 30min", after="update"), update)
    assert clock.slept == 0


def test_a_trading_cron_on_a_holiday_is_no_error(journal: Journal, clock: WatchedClock) -> None:
    clock.advance(28 * 86_400)  # Good Friday, 29 March 2013
    daily = pipeline("daily", "cron 30 16 * * mon-fri America/New_York", orders=True, missed="run_until 2h")
    assert ask(journal, clock, daily) == Answer(None, "XNYS is closed on 2013-03-29")


def test_a_run_of_it_that_is_going_on_is_waited_for(journal: Journal, clock: WatchedClock) -> None:
    often = pipeline("often", "every 30min from open + 30min to close", missed="run_until 20min")
    clock.advance(-60 * 60)  # 20:30 UTC is 15:30 in New York, and decides on the day before
    record(journal, "often", RunState.RUNNING, amendment=7000, at=None)
    run = RunKey("paper", "often", FRIDAY, 7000).run_id
    clock.meanwhile = lambda: RunJournal(journal).set_state(run, RunState.SUCCEEDED) if clock.slept == 2 else None
    answer = ask(journal, clock, often)
    assert answer.due is not None
    assert (answer.due.session, clock.slept) == (date(2013, 2, 28), 2)
