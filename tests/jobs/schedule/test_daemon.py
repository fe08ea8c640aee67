"""The scheduler's daemon with a clock that the test moves, and real worker processes that have no notebooks."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import pytest
from support.offices import Office, Shift, until

from workbench.errors import RunOverlap
from workbench.journal.states import RunState

# On 2013-03-01, a Friday, New York opens at 14:30 and closes at 21:00 UTC.


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path / "home")


def test_a_job_runs_once_at_its_moment_and_is_on_record(office: Office) -> None:
    office.pipeline("nightly", "close + 30min")
    with Shift(office.daemon()) as shift:
        until(lambda: office.events("added"))
        assert office.worked() == []
        office.clock.advance(90 * 60)
        until(lambda: office.events("ended"))
        office.clock.advance(60)
        shift.daemon.ring()
        assert shift.end() == 0
    assert office.worked() == ["nightly 2013-03-01T21:30:00+00:00"]
    (run,) = office.runs()
    assert (run.state, run.key.session.isoformat(), run.key.amendment) == (RunState.SUCCEEDED, "2013-03-01", 0)
    assert run.trigger == "schedule"
    assert run.scheduled_at is not None
    assert run.scheduled_at.startswith("2013-03-01T21:30:00")


def test_a_worker_is_warm_before_the_moment_and_never_early(office: Office) -> None:
    office.pipeline("nightly", "close + 30min")
    with Shift(office.daemon(clock=office.flowing("2013-03-01T21:29:52"), arm_s=0.5)):
        until(lambda: office.events("ended"))
    (started,) = office.events("starts")
    assert started["text"].endswith("warm")
    assert started["at"] < "2013-03-01T21:30:00"  # it was told ahead, and waited for the moment by itself
    (begun,) = office.events("begins")
    assert 0 <= begun["late_s"] < 1


def test_a_moment_that_comes_while_the_pipelines_are_first_read_is_not_lost(office: Office) -> None:
    office.pipeline("nightly", "close + 30min")
    office.clock.advance(89 * 60 + 30)

    class SlowReading(io.StringIO):
        """The minute in which the files are read and the calendars loaded passes when the first one is told of."""

        def write(self, text: str) -> int:
            if '"added"' in text:
                office.clock.advance(60)
            return super().write(text)

    office.said = SlowReading()
    with Shift(office.daemon()):
        until(lambda: office.events("ended"))
    assert office.worked() == ["nightly 2013-03-01T21:30:00+00:00"]


def test_a_job_that_fails_is_logged_with_its_reason_and_not_run_again(office: Office) -> None:
    office.pipeline("nightly", "close + 30min")
    (office.home / "nightly.code").write_text("1")
    with Shift(office.daemon()) as shift:
        until(lambda: office.events("added"))
        office.clock.advance(89 * 60 + 30)
        until(lambda: office.events("warms"))
        office.clock.advance(30)
        until(lambda: office.events("ended"))
        office.clock.advance(10)
        shift.daemon.ring()
        assert shift.end() == 0
    (ended,) = office.events("ended")
    assert (ended["level"], ended["text"]) == ("error", "failed, exit code 1: told to fail")
    assert len(office.worked()) == 1


def test_a_job_that_is_refused_before_its_claim_is_on_record_and_not_tried_again(office: Office) -> None:
    office.pipeline("nightly", "close + 30min", missed="run_once")
    (office.home / "nightly.refuse").touch()
    with Shift(office.daemon()) as shift:
        until(lambda: office.events("added"))
        office.clock.advance(90 * 60)
        until(lambda: office.events("ended"))
        office.clock.advance(60)
        shift.daemon.ring()
        shift.end()
    (run,) = office.runs()
    assert (run.state, run.reason) == (RunState.REJECTED, "refused before the claim")
    assert len(office.events("starts")) == 1
    with Shift(office.daemon()):
        until(lambda: len(office.events("added")) == 2)
    assert len(office.events("starts")) == 1


def test_a_worker_that_cannot_be_warmed_is_tried_once_more_when_it_is_due(office: Office) -> None:
    office.pipeline("nightly", "close + 30min")
    (office.home / "nightly.refuse").touch()
    with Shift(office.daemon()):
        until(lambda: office.events("added"))
        office.clock.advance(89 * 60 + 30)
        until(lambda: office.events("warming failed"))
        (office.home / "nightly.refuse").unlink()
        office.clock.advance(30)
        until(lambda: office.events("ended"))
    assert len(office.events("warming failed")) == 1
    assert office.runs()[0].state is RunState.SUCCEEDED


def test_a_job_that_is_killed_takes_nothing_along(office: Office) -> None:
    office.pipeline("nightly", "close + 30min")
    office.hold("nightly")
    with Shift(office.daemon()) as shift:
        until(lambda: office.events("added"))
        office.clock.advance(90 * 60)
        until(office.worked)
        os.kill(office.events("starts")[0]["pid"], signal.SIGKILL)
        until(lambda: office.events("ended"))
        assert shift.end() == 0
    (run,) = office.runs()
    assert run.state is RunState.LOST
    (ended,) = office.events("ended")
    assert ended["text"].startswith("lost, exit code -9: ")


def test_stopping_stops_what_runs_cleanly_and_says_so_in_the_exit_code(office: Office) -> None:
    office.pipeline("nightly", "close + 30min")
    office.hold("nightly")
    with Shift(office.daemon()) as shift:
        until(lambda: office.events("added"))
        office.clock.advance(90 * 60)
        until(office.worked)
        assert shift.end() == 143
    assert office.runs()[0].state is RunState.CANCELLED
    with Shift(office.daemon()) as shift:  # the lease was given back
        assert shift.end() == 0


def test_a_drained_scheduler_lets_its_jobs_finish_and_starts_no_others(office: Office) -> None:
    office.pipeline("nightly", "close + 30min")
    office.pipeline("later", "close + 31min")
    held = office.hold("nightly")
    with Shift(office.daemon(drain=True)) as shift:
        until(lambda: len(office.events("added")) == 2)
        office.clock.advance(90 * 60)
        until(office.worked)
        shift.daemon.stop()
        until(lambda: office.events("stopping"))
        office.clock.advance(60)
        shift.daemon.ring()
        held.unlink()
        until(lambda: office.events("off duty"))
        assert shift.end(stops=0) == 0
    assert [run.state for run in office.runs()] == [RunState.SUCCEEDED]


@pytest.mark.parametrize("impatient", [True, False], ids=["a second signal", "the grace"])
def test_a_job_that_does_not_stop_is_killed_after(office: Office, impatient: bool) -> None:
    office.pipeline("nightly", "close + 30min")
    office.hold("nightly")
    (office.home / "nightly.stubborn").touch()
    with Shift(office.daemon(stop_s=60.0 if impatient else 0.1)) as shift:
        until(lambda: office.events("added"))
        office.clock.advance(90 * 60)
        until(office.worked)
        assert shift.end(stops=2 if impatient else 1) == 143
    assert office.events("kills")
    assert office.runs()[0].state is RunState.LOST


def test_jobs_with_orders_go_one_after_the_other_and_never_wait_for_those_without(office: Office) -> None:
    for name in ("first", "second"):
        office.pipeline(name, "close - 15min", orders=True)
    for name in ("watch", "study"):
        office.pipeline(name, "close - 15min", missed="run_once")
    held = [office.hold(name) for name in ("first", "watch", "study")]
    with Shift(office.daemon(side_by_side=2)):
        until(lambda: len(office.events("added")) == 4)
        office.clock.advance(45 * 60)
        until(lambda: len(office.worked()) == 3)
        until(lambda: office.events("waits", "second"))
        assert [run.state for run in office.runs("second")] == [RunState.QUEUED]
        held[0].unlink()
        until(lambda: office.events("ended", "second"))
        assert {run.key.pipeline for run in office.runs() if run.state.is_active} == {"watch", "study"}
        for file in held[1:]:
            file.unlink()
        until(lambda: len(office.events("ended")) == 4)
    assert {run.state for run in office.runs()} == {RunState.SUCCEEDED}


def test_a_job_that_outruns_its_next_moments_is_followed_by_the_last_of_them_only(office: Office) -> None:
    office.clock.advance(-4 * 3600 + 1)  # just after 16:00 UTC, an hour and a half into the session
    office.pipeline("watch", "every 30min", missed="run_once")
    held = office.hold("watch")
    with Shift(office.daemon()) as shift:
        until(lambda: office.events("added"))
        office.clock.advance(30 * 60)
        until(office.worked)
        office.clock.advance(60 * 60 + 1)  # 17:00 and 17:30 come while the one of 16:30 runs
        shift.daemon.ring()
        until(lambda: office.events("waits"))
        held.unlink()
        until(lambda: len(office.events("ended")) == 2)
    assert office.worked() == ["watch 2013-03-01T16:30:00+00:00", "watch 2013-03-01T17:30:00+00:00"]
    (skipped,) = office.events("skipped")
    assert skipped["due"] == "2013-03-01 17:00:00+00:00"
    assert [run.state for run in office.runs()].count(RunState.SKIPPED) == 1


def test_after_an_outage_what_was_missed_is_skipped_or_caught_up_as_each_pipeline_says(office: Office) -> None:
    office.pipeline("trade", "close - 15min", orders=True)
    office.pipeline("report", "close + 30min", missed="run_once")
    with Shift(office.daemon()):
        until(lambda: len(office.events("added")) == 2)
    office.clock.advance(6 * 3600)
    with Shift(office.daemon()):
        until(lambda: office.events("ended", "report"))
        until(lambda: office.events("skipped", "trade"))
    assert {run.key.pipeline: run.state for run in office.runs()} == {
        "trade": RunState.SKIPPED,
        "report": RunState.SUCCEEDED,
    }
    assert office.worked() == ["report 2013-03-01T21:30:00+00:00"]


def test_a_broken_file_keeps_the_last_good_pipeline_and_is_told_once(office: Office) -> None:
    file = office.pipeline("nightly", "close + 30min")
    good = file.read_text()
    with Shift(office.daemon()) as shift:
        until(lambda: office.events("added"))
        file.write_text(good.replace("close", "closing"))
        until(lambda: office.events("broken"))
        until(lambda: "closing" in (office.recall("broken:nightly") or ""))
        office.clock.advance(90 * 60)
        until(lambda: office.events("ended"))
        assert len(office.events("broken")) == 1
        file.write_text(good)
        until(lambda: office.events("mended"))
        until(lambda: office.recall("broken:nightly") is None)
        assert shift.end() == 0
    (broken,) = office.events("broken")
    assert (broken["level"], broken["pipeline"]) == ("warning", "nightly")
    assert broken["text"].startswith("the last good pipeline stays: ")
    assert office.worked() == ["nightly 2013-03-01T21:30:00+00:00"]


def test_a_removed_file_ends_its_jobs_and_a_new_one_begins_from_then_on(office: Office) -> None:
    file = office.pipeline("old", "close + 30min")
    with Shift(office.daemon()):
        until(lambda: office.events("added"))
        office.clock.advance(89 * 60 + 30)
        until(lambda: office.events("warms", "old"))
        file.unlink()
        office.pipeline("new", "close + 30min")
        until(lambda: office.events("removed", "old") and office.events("added", "new"))
        until(lambda: office.events("discards", "old"))
        office.clock.advance(30)
        until(lambda: office.events("ended", "new"))
    assert office.worked() == ["new 2013-03-01T21:30:00+00:00"]


def test_a_warm_worker_is_thrown_away_when_its_notebook_changes(office: Office) -> None:
    office.pipeline("nightly", "close + 30min")
    with Shift(office.daemon()):
        until(lambda: office.events("added"))
        office.clock.advance(89 * 60 + 30)
        until(lambda: office.events("warms"))
        with (office.home / "pipelines" / "one.ipynb").open("a") as file:
            file.write("\n")
        until(lambda: len(office.events("warms")) == 2)
        office.clock.advance(30)
        until(lambda: office.events("ended"))
    first, second = office.events("warms")
    assert first["pid"] != second["pid"] == office.events("starts")[0]["pid"]
    assert len(office.worked()) == 1


def test_two_schedulers_without_a_lease_between_them_run_everything_once(office: Office) -> None:
    office.clock.advance(-4 * 3600 + 1)  # just after 16:00 UTC
    office.pipeline("watch", "every 30min", missed="run_once")
    office.pipeline("trade", "close - 4h", orders=True)
    with Shift(office.daemon(name="one")), Shift(office.daemon(name="two")):
        until(lambda: len(office.events("added")) == 4)
        for moment in range(1, 4):
            office.clock.advance(30 * 60)
            until(lambda moment=moment: len(office.worked()) == moment + (moment > 1))
            until(lambda: not any(run.state.is_active for run in office.runs()))
    assert sorted(office.worked()) == [
        "trade 2013-03-01T17:00:00+00:00",
        "watch 2013-03-01T16:30:00+00:00",
        "watch 2013-03-01T17:00:00+00:00",
        "watch 2013-03-01T17:30:00+00:00",
    ]
    assert {run.state for run in office.runs()} == {RunState.SUCCEEDED}
    assert {run.attempt for run in office.runs()} == {1}


def test_a_second_scheduler_is_told_who_is_at_work(office: Office) -> None:
    first = office.process("2013-03-01T20:00:00")
    try:
        until(lambda: office.events("on duty"))
        with Shift(office.daemon()) as shift:
            shift._thread.join(60)
        assert isinstance(shift.code, RunOverlap)
        assert f"process {first.pid}" in str(shift.code)
        assert shift.code.exit_code == 75
    finally:
        first.terminate()
        assert first.wait(60) == 0


def test_a_killed_scheduler_leaves_its_job_running_its_warm_worker_ends_and_the_next_one_does_nothing_twice(
    office: Office,
) -> None:
    office.pipeline("now", "close - 15min", orders=True)
    office.pipeline("soon", "close - 14min", orders=True)
    held = office.hold("now")
    first = office.process("2013-03-01T20:44:57")
    try:
        until(office.worked)
        until(lambda: office.events("warms", "soon"))
        warm = office.events("warms", "soon")[0]["pid"]
        standby = office.process("2013-03-01T20:45:10", "--standby")
        until(lambda: office.events("standby"))
        first.kill()
        first.wait()
        until(lambda: not Path(f"/proc/{warm}").exists())
        until(lambda: len(office.events("on duty")) == 2)
        assert office.runs("now")[0].state is RunState.RUNNING
        held.unlink()
        until(lambda: office.runs("now")[0].state is RunState.SUCCEEDED)
        standby.terminate()
        assert standby.wait(60) == 0
    finally:
        for process in (first, standby):
            process.kill()
            process.wait()
    assert office.worked() == ["now 2013-03-01T20:45:00+00:00"]
