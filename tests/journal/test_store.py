from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from workbench.clock import ManualClock
from workbench.errors import JournalError
from workbench.journal import Journal
from workbench.journal.schema import MIGRATIONS

NOON = datetime(2013, 1, 2, 17, tzinfo=UTC)


def open_journal(folder: Path) -> Journal:
    return Journal(folder / "journal.sqlite", ManualClock(NOON))


def test_the_journal_is_durable_and_readers_do_not_block(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        assert journal.read("PRAGMA journal_mode")[0][0] == "wal"
        assert journal.read("PRAGMA synchronous")[0][0] == 2  # FULL
        assert journal.read("PRAGMA foreign_keys")[0][0] == 1


def insert_and_raise(journal: Journal) -> None:
    with journal.transaction() as connection:
        connection.execute(
            "INSERT INTO trading_states (account,state,reason,actor,at) VALUES ('*','halted','','me','')"
        )
        raise ZeroDivisionError


def test_a_transaction_that_raises_leaves_nothing(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        with pytest.raises(ZeroDivisionError):
            insert_and_raise(journal)
        assert journal.read("SELECT count(*) FROM trading_states")[0][0] == 0


@pytest.mark.parametrize("verb", ["UPDATE trading_states SET reason='x'", "DELETE FROM trading_states"])
def test_history_cannot_be_changed(tmp_path: Path, verb: str) -> None:
    with open_journal(tmp_path) as journal:
        with journal.transaction() as connection:
            connection.execute(
                "INSERT INTO trading_states (account,state,reason,actor,at) VALUES ('*','halted','','me','')"
            )
        with (
            pytest.raises(JournalError, match="trading_states is append-only"),
            journal.transaction() as connection,
        ):
            connection.execute(verb)


def test_every_table_of_money_is_append_only(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        guarded = {row[0] for row in journal.read("SELECT DISTINCT tbl_name FROM sqlite_master WHERE type='trigger'")}
    assert {
        "decisions",
        "order_events",
        "fills",
        "activities",
        "marks",
        "trading_states",
        "batches",
        "targets",
    } <= guarded


def test_a_file_that_is_no_database_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_text("these are not the orders you are looking for " * 100)
    with pytest.raises(JournalError, match="trading is halted; move the file aside and restore a backup"):
        open_journal(tmp_path)


def test_a_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    open_journal(tmp_path).close()
    raw = sqlite3.connect(tmp_path / "journal.sqlite")
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(JournalError, match=r"newer workbench \(schema 99\); update workbench"):
        open_journal(tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    with pytest.raises(JournalError, match="data"):
        open_journal(tmp_path / "data")


def test_eight_threads_open_a_new_journal_at_once_and_it_is_made_once(tmp_path: Path) -> None:
    errors: list[BaseException] = []
    barrier = threading.Barrier(8)

    def work() -> None:
        try:
            barrier.wait()
            with open_journal(tmp_path) as journal, journal.transaction() as connection:
                connection.execute(
                    "INSERT INTO trading_states (account,state,reason,actor,at) VALUES ('*','active','','me','')"
                )
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with open_journal(tmp_path) as journal:
        assert journal.read("SELECT count(*) FROM trading_states")[0][0] == 8
        assert journal.read("PRAGMA user_version")[0][0] == MIGRATIONS[-1].version


def test_a_migration_that_fails_leaves_no_table_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.journal import schema, store

    broken = schema.Migration(2, "broken", lambda: ["CREATE TABLE extra (a TEXT) STRICT", "CREATE TABLE nonsense ("])
    monkeypatch.setattr(store, "MIGRATIONS", (*MIGRATIONS, broken))
    with pytest.raises(JournalError):
        open_journal(tmp_path)
    monkeypatch.undo()
    with open_journal(tmp_path) as journal:
        assert journal.read("PRAGMA user_version")[0][0] == 1
        assert journal.read("SELECT count(*) FROM sqlite_master WHERE name='extra'")[0][0] == 0
