"""Verdicts on data and what people accepted of it: on record, in order, never changed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from support.journals import EVENING

from workbench.clock import ManualClock
from workbench.errors import JournalError
from workbench.journal import Journal, Judgements

DAY = date(2013, 3, 1)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite", ManualClock(EVENING))


def test_the_last_verdict_of_a_run_and_of_some_data_is_found(journal: Journal) -> None:
    judgements = Judgements(journal)
    assert judgements.of_run("daily-1") is None
    fault = {"symbol": "IBM", "rule": "stale"}
    judgements.record(3, ["MSFT", "IBM"], DAY, "block", [fault], [], found=7, run_id="daily-1")
    judgements.record(3, ["IBM", "MSFT"], DAY, "warn", [], [fault], found=0, run_id="daily-1")
    judgements.record(3, ["IBM"], None, "pass", [], [], found=0)
    found = judgements.of_run("daily-1")
    assert found is not None
    assert (found.verdict, found.symbols, found.session, found.accepted) == ("warn", ("IBM", "MSFT"), DAY, (fault,))
    assert judgements.on(3, ["MSFT", "IBM"]) == found
    alone = judgements.on(3, ["IBM"])
    assert alone is not None
    assert (alone.verdict, alone.session, alone.run_id) == ("pass", None, "")
    assert judgements.on(4, ["IBM"]) is None


def test_an_acceptance_stands_until_it_is_revoked_once(journal: Journal) -> None:
    judgements = Judgements(journal)
    made = judgements.accept("stale", "IBM", DAY, DAY, actor="ann", why="halted", until=date(2013, 3, 8))
    assert judgements.standing() == [made]
    judgements.revoke(made.number, actor="bob", why="it trades")
    assert judgements.standing() == []
    (record,) = judgements.acceptances()
    assert (record.is_revoked, record.revoked_by, record.revoked_why) == (True, "bob", "it trades")
    with pytest.raises(JournalError, match="was revoked before"):
        judgements.revoke(made.number, actor="bob", why="again")
    with pytest.raises(JournalError, match="there is no acceptance 9"):
        judgements.revoke(9, actor="bob", why="typo")


@pytest.mark.parametrize("table", ["quality_verdicts", "quality_acceptances", "quality_revocations"])
def test_history_is_never_rewritten(journal: Journal, table: str) -> None:
    judgements = Judgements(journal)
    judgements.record(1, ["IBM"], DAY, "pass", [], [], found=0)
    made = judgements.accept("stale", "IBM", DAY, DAY, actor="ann", why="halted", until=DAY)
    judgements.revoke(made.number, actor="ann", why="no")
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET at = 'yesterday'"):
        with pytest.raises(JournalError, match="append-only"), journal.transaction() as connection:
            connection.execute(statement)
