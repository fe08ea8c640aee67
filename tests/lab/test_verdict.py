"""What the screen says of a job that has ended, case by case."""

from __future__ import annotations

from datetime import date

import pytest

from workbench.journal import Owner, RunKey, RunRecord
from workbench.journal.states import RunState
from workbench.lab.verdict import Verdict, judge


def run(state: RunState, reason: str = "") -> RunRecord:
    return RunRecord(
        run_id="nb-x-1", key=RunKey("paper", "nb-x", date(2013, 3, 1)), state=state, attempt=1,
        owner=Owner("here", 7, 1.0), created_at="", ended_at="", parameters={}, provenance={}, folder="",
        exit_code=None, reason=reason,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "status", "message"),
    [
        (RunState.SUCCEEDED, "COMPLETED", ""),
        (RunState.FAILED, "FAILED", "why (run nb-x-1)"),
        (RunState.TIMED_OUT, "FAILED", "timed out: why (run nb-x-1)"),
        (RunState.KERNEL_DIED, "FAILED", "kernel died: why (run nb-x-1)"),
        (RunState.LOST, "FAILED", "lost: why (run nb-x-1)"),
        (RunState.REJECTED, "FAILED", "rejected: why (run nb-x-1)"),
        (RunState.CANCELLED, "STOPPED", "cancelled: why (run nb-x-1)"),
        (RunState.SKIPPED, "STOPPED", "skipped: why (run nb-x-1)"),
    ],
)
def test_the_ledger_has_the_word(state: RunState, status: str, message: str) -> None:
    told = judge(run(state, "" if state is RunState.SUCCEEDED else "why"), "anything\n", 0, stopping=False)
    assert (told.status, told.message) == (status, message)


def test_a_run_that_succeeded_before_its_report_failed_is_completed_and_says_so() -> None:
    said = "nb-x for 2013-03-01: succeeded\nworkbench: reports.duckdb: disk full\n"
    assert judge(run(RunState.SUCCEEDED), said, 74, stopping=False) == Verdict("COMPLETED", "reports.duckdb: disk full")


def test_a_reason_of_several_lines_is_one_line_on_the_screen() -> None:
    assert judge(run(RunState.FAILED, "a\n  b"), "", 1, stopping=False).message == "a b (run nb-x-1)"


def test_what_was_refused_before_it_had_a_run_shows_the_complaint_itself() -> None:
    said = "a warning\nworkbench: unknown parameter 'tpo'; did you mean top?\n"
    assert judge(None, said, 64, stopping=False) == Verdict("FAILED", "unknown parameter 'tpo'; did you mean top?")


def test_a_session_that_has_run_already_shows_the_ledgers_line() -> None:
    said = "nb-x for 2013-03-01 has already run as nb-x-1 (succeeded); nothing new was ordered\n  orders   0 proposed\n"
    expected = "nb-x for 2013-03-01 has already run as nb-x-1 (succeeded); nothing new was ordered"
    assert judge(None, said, 0, stopping=False) == Verdict("STOPPED", expected)


def test_stopping_what_had_not_begun_is_no_failure() -> None:
    assert judge(None, "", -15, stopping=True) == Verdict("STOPPED", "stopped before it had begun")


def test_a_killed_process_without_a_run_says_by_what() -> None:
    expected = "it ended without a run in the ledger (killed by SIGKILL)"
    assert judge(None, "", -9, stopping=False) == Verdict("FAILED", expected)


def test_a_crash_without_a_run_shows_its_last_line() -> None:
    said = "Traceback (most recent call last):\n  ...\nImportError: no module x\n"
    expected = "it ended without a run in the ledger (exit code 1): ImportError: no module x"
    assert judge(None, said, 1, stopping=False) == Verdict("FAILED", expected)


def test_a_job_of_a_dead_server_without_a_run_says_what_is_not_known() -> None:
    expected = "it ended without a run in the ledger (it was never seen to end)"
    assert judge(None, "", None, stopping=False) == Verdict("FAILED", expected)
