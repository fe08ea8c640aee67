from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from support.journals import SESSION, Desk, activity, batch, fill, intent

from workbench.clock import ManualClock
from workbench.domain import ActivityKind, Target, TradingState
from workbench.errors import JournalError
from workbench.journal import Controls, Journal, Judgements, Ledger
from workbench.journal.leases import Lease
from workbench.journal.ledger import Correction
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


GUARDED = (
    "batches", "targets", "decisions", "order_events", "run_events", "fills", "activities", "marks",
    "trading_states", "legs", "external_fills", "corrections", "locks", "breaker_resets", "reconciliations",
    "quality_verdicts", "quality_acceptances", "quality_revocations",
)  # fmt: skip


def filled(desk: Desk) -> None:
    """At least one row in every guarded table."""
    desk.orders.propose(batch(), [Target("IBM", Decimal(1), Decimal(1), Decimal(0), Decimal(1))], [intent("c1")])
    desk.orders.authorize(["c1"], desk.lease(), TradingState.ACTIVE)
    desk.ledger.add_leg("paper", "leg-1", "c1")
    desk.record(
        fill("f1", "1", "10"),
        fill("h1", "1", "10", order="by-hand"),
        activities=[activity("a1", ActivityKind.DEPOSIT, cash="1")],
    )
    desk.ledger.correct("paper", "paper", [Correction("cash", "", SESSION, Decimal(0), Decimal(1), "seen")], "ada")
    desk.ledger.mark("paper", SESSION, Decimal(1), {})
    desk.controls.set_trading_state("paper", TradingState.HALTED, "drill", "me")
    desk.controls.reset("paper", "drawdown", actor="ada", reason="", session=None)
    desk.controls.set_locks("paper", {"IBM": "a"}, "me", release=True)
    desk.controls.record_reconciliation("paper", "start", [])
    judgements = Judgements(desk.journal)
    judgements.record(1, ["IBM"], SESSION, "block", [], [], found=0)
    seen = judgements.accept("outlier", "IBM", SESSION, SESSION, actor="ada", why="seen", until=SESSION)
    judgements.revoke(seen.number, actor="ada", why="not so")


@pytest.mark.parametrize("table", GUARDED)
def test_history_cannot_be_changed(desk: Desk, table: str) -> None:
    filled(desk)
    before = [tuple(row) for row in desk.journal.read(f"SELECT * FROM {table}")]
    assert before
    column = desk.journal.read(f"PRAGMA table_info({table})")[-1]["name"]
    for verb in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
        with (
            pytest.raises(JournalError, match=f"{table} is append-only"),
            desk.journal.transaction() as connection,
        ):
            connection.execute(verb)
    assert [tuple(row) for row in desk.journal.read(f"SELECT * FROM {table}")] == before


@pytest.mark.parametrize("table", GUARDED)
def test_history_cannot_be_replaced(desk: Desk, table: str) -> None:
    filled(desk)
    before = [tuple(row) for row in desk.journal.read(f"SELECT * FROM {table}")]
    with (
        pytest.raises(JournalError, match=f"{table} is append-only"),
        desk.journal.transaction() as connection,
    ):
        connection.execute(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")
    assert [tuple(row) for row in desk.journal.read(f"SELECT * FROM {table}")] == before


def test_every_table_is_guarded_or_known_to_change(desk: Desk) -> None:
    tables = {row[0] for row in desk.journal.read("SELECT name FROM sqlite_master WHERE type='table'")}
    changing = {"runs", "steps", "cells", "memory", "leases", "intents", "cursors", "commands", "sqlite_sequence"}
    assert tables == set(GUARDED) | changing


def test_the_events_of_one_order_are_looked_up_by_the_order(desk: Desk) -> None:
    # By the state alone, every order ever sent would be looked at, for each order again.
    asked = "FROM order_events WHERE client_order_id = 'c1' AND to_state = 'submitting'"
    for what in ("1", "max(at)"):
        (step,) = desk.journal.read(f"EXPLAIN QUERY PLAN SELECT {what} {asked}")
        assert "order_events_by_order (client_order_id=? AND to_state=?)" in step["detail"]


def test_another_connections_commit_is_noticed_and_ones_own_is_not(desk: Desk, tmp_path: Path) -> None:
    before = desk.journal.touched()
    desk.controls.ask("paper", "cancel", "me")
    assert desk.journal.touched() == before
    with open_journal(tmp_path) as other:
        Controls(other).ask("paper", "cancel", "me")
    assert desk.journal.touched() != before


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


# ---- a full disk ----------------------------------------------------------------------------------


def propose(desk: Desk, n: int) -> None:
    targets = [Target(f"S{k}", Decimal(1), Decimal(1), Decimal(0), Decimal(1)) for k in range(5)]
    orders = [intent(f"{n}-{k}", strategy=f"s{n}") for k in range(5)]
    assert desk.orders.propose(batch(f"b{n}", f"s{n}"), targets, orders)


def record(desk: Desk, n: int) -> None:
    happened = [activity(f"a{n}-{k}", ActivityKind.DIVIDEND, cash="1") for k in range(5)]
    fills = [fill(f"f{n}-{k}", "1", "10", order="c1" if k else "by-hand") for k in range(5)]
    desk.record(*fills, activities=happened, cursor=str(n))


def authorize(desk: Desk, n: int) -> None:
    names = [f"c{k}" for k in range(10 * n, 10 * n + 10)]
    assert desk.orders.authorize(names, Lease("gateway:paper", 1), TradingState.ACTIVE) is None


def correct(desk: Desk, n: int) -> None:
    change = Correction("cash", "", SESSION, Decimal(0), Decimal(1), "seen " * 20)
    desk.ledger.correct("paper", "paper", [change] * 10, "ada")


# What is called, and how many rows one call makes, by table.
WRITES = {
    propose: {"batches": 1, "targets": 5, "intents": 5, "order_events": 5},
    record: {"fills": 4, "external_fills": 1, "activities": 5},
    authorize: {"decisions": 10, "order_events": 10},
    correct: {"corrections": 10},
}


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_a_full_disk_leaves_all_that_was_acknowledged_and_nothing_half(
    desk: Desk, write: Callable[[Desk, int], None]
) -> None:
    desk.proposed(*(f"c{n}" for n in range(2000)))
    assert desk.lease() == Lease("gateway:paper", 1)
    before = {table: desk.count(table) for table in WRITES[write]}
    pages = desk.journal.read("PRAGMA page_count")[0][0]
    desk.journal._connection.execute(f"PRAGMA max_page_count = {pages + 20}")
    done = 0
    with pytest.raises(JournalError, match="full; free disk space, then run the same command again"):  # noqa: PT012
        while done < 200:
            write(desk, done)
            done += 1
    assert 0 < done < 200
    with open_journal(desk.journal.file.parent) as other:
        rows = {table: other.read(f"SELECT count(*) FROM {table}")[0][0] for table in before}
        assert rows == {table: before[table] + done * each for table, each in WRITES[write].items()}
        if write is record:
            assert Ledger(other).cursor("paper", "paper") == str(done - 1)
        assert other.read("PRAGMA integrity_check")[0][0] == "ok"
    desk.journal._connection.execute("PRAGMA max_page_count = 1000000")
    write(desk, done)
    assert {table: desk.count(table) - before[table] for table in before} == {
        table: (done + 1) * each for table, each in WRITES[write].items()
    }
