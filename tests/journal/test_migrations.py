"""A file of an older version is brought up to date in place, whatever stops it on the way.

``version_1.sql`` was dumped from a file that the released version 1 wrote: a run with three orders (one filled,
one in doubt, one denied), a deposit, two marks and a halt that was lifted.
"""

from __future__ import annotations

import multiprocessing
import signal
import sqlite3
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from support.journals import EVENING

from workbench.clock import ManualClock
from workbench.domain import OrderState, TradingState
from workbench.errors import JournalError
from workbench.journal import Controls, Journal, Ledger, OrderJournal, RunJournal, schema, store
from workbench.journal.controls import BY_HAND
from workbench.journal.ledger import Correction
from workbench.journal.orders import Answer
from workbench.journal.schema import MIGRATIONS

VERSION_1 = Path(__file__).parent / "version_1.sql"
NEWEST = MIGRATIONS[-1].version


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file as version 1 left it."""
    made = tmp_path / "journal.sqlite"
    raw = sqlite3.connect(made)
    raw.executescript(VERSION_1.read_text(encoding="utf-8"))
    raw.close()
    return made


def open_journal(file: Path) -> Journal:
    return Journal(file, ManualClock(EVENING))


def version(file: Path) -> int:
    raw = sqlite3.connect(file)
    try:
        return int(raw.execute("PRAGMA user_version").fetchone()[0])
    finally:
        raw.close()


def rows(file: Path, columns: dict[str, list[str]]) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, of the columns named."""
    raw = sqlite3.connect(file)
    try:
        return {
            table: raw.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY rowid").fetchall()
            for table, names in columns.items()
        }
    finally:
        raw.close()


def columns(file: Path) -> dict[str, list[str]]:
    raw = sqlite3.connect(file)
    try:
        tables = raw.execute("SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%'")
        return {
            name: [column[1] for column in raw.execute(f"PRAGMA table_info({name})")] for (name,) in tables.fetchall()
        }
    finally:
        raw.close()


def test_the_file_of_version_1_is_one(file: Path) -> None:
    assert version(file) == 1
    assert "cause" not in columns(file)["trading_states"]
    assert "corrections" not in columns(file)


def test_every_row_of_an_older_file_is_kept(file: Path) -> None:
    known = columns(file)
    before = rows(file, known)
    assert sum(map(len, before.values())) == 29
    open_journal(file).close()
    assert version(file) == NEWEST
    assert rows(file, known) == before


def test_an_older_file_ends_with_the_same_tables_as_a_new_one(file: Path, tmp_path: Path) -> None:
    open_journal(file).close()
    open_journal(tmp_path / "new.sqlite").close()

    def layout(one: Path) -> tuple[dict[str, list[tuple[object, ...]]], set[tuple[str, str]]]:
        raw = sqlite3.connect(one)
        tables = {name: raw.execute(f"PRAGMA table_info({name})").fetchall() for name in columns(one)}
        others = set(raw.execute("SELECT type, name FROM sqlite_master WHERE type <> 'table'").fetchall())
        raw.close()
        return tables, others

    assert layout(file) == layout(tmp_path / "new.sqlite")


def test_orders_money_and_halts_of_an_older_file_are_read_as_they_were(file: Path) -> None:
    with open_journal(file) as journal:
        orders, ledger, controls = OrderJournal(journal), Ledger(journal), Controls(journal)
        assert {r.intent.client_order_id: r.state.value for r in orders.intents()} == {
            "c1": "filled", "c2": "unknown", "c3": "denied",
        }  # fmt: skip
        record = orders.intent("c2")
        assert record is not None
        assert (record.kind, record.intent.limit_price, record.intent.bracket) == ("plan", Decimal(550), None)
        # 100,000 less 249 x 197.10 and a fee of 1.245
        assert ledger.books("paper").cash == Decimal("50920.855")
        assert ledger.books("paper").holdings == {"IBM": Decimal(249)}
        assert ledger.sleeves("paper") == {"momentum": {"IBM": Decimal(249)}}
        assert [mark.equity for mark in ledger.curve("paper")] == [Decimal(100_000), Decimal("99543.085")]
        assert ledger.cursor("paper", "paper") is None
        (stop,) = controls.halted()
        assert (stop.account, stop.state, stop.cause, stop.reason) == (
            "paper", TradingState.REDUCING, BY_HAND, "winding down",
        )  # fmt: skip
        assert RunJournal(journal).runs()[0].run_id == "r1"


def test_life_goes_on_in_an_older_file(file: Path) -> None:
    with open_journal(file) as journal:
        orders, ledger, controls = OrderJournal(journal), Ledger(journal), Controls(journal)
        assert orders.answer([Answer("c2", OrderState.ACCEPTED, broker_order_id="v2")]) == []
        ledger.add_leg("paper", "leg-1", "c1")
        busted = Correction("bust", "IBM", date(2013, 1, 4), Decimal(-249), Decimal("49079.145"), "gone", "f1")
        ledger.correct("paper", "paper", [busted], "ada")
        assert ledger.books("paper").cash == 100_000
        controls.set_trading_state("paper", TradingState.ACTIVE, "over", "ada")
        assert controls.halted() == []
        with pytest.raises(JournalError, match="trading_states is append-only"), journal.transaction() as connection:
            connection.execute("UPDATE trading_states SET cause='x'")


def kill_in_migration(file: Path, number: int, after: int) -> None:
    """Open the journal and die by SIGKILL when a migration has made so many of its statements."""
    import os

    chosen = MIGRATIONS[number - 1]

    class Deadly(list[str]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            for n, statement in enumerate(list.__iter__(self)):
                if n == after:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield statement

    deadly = schema.Migration(chosen.version, chosen.name, lambda: Deadly(chosen.statements()))
    store.MIGRATIONS = tuple(deadly if one is chosen else one for one in MIGRATIONS)  # type: ignore[misc]
    open_journal(file)


@pytest.mark.parametrize("after", [0, 1, 7, 20])
def test_a_process_killed_in_a_migration_leaves_the_file_as_it_was(file: Path, after: int) -> None:
    before = rows(file, columns(file))
    assert killed(file, 2, after)
    assert version(file) == 1
    assert rows(file, columns(file)) == before
    with open_journal(file) as journal:
        assert Ledger(journal).books("paper").cash == Decimal("50920.855")
    assert version(file) == NEWEST


def test_a_process_killed_between_two_migrations_leaves_a_file_that_the_next_one_finishes(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    assert killed(file, 2, 0)  # version 1 is committed, nothing of version 2 is
    assert version(file) == 1
    open_journal(file).close()
    assert version(file) == NEWEST


def test_a_process_killed_in_the_first_migration_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    assert killed(file, 1, 3)
    assert (version(file), columns(file)) == (0, {})
    open_journal(file).close()
    assert version(file) == NEWEST


def killed(file: Path, number: int, after: int) -> bool:
    process = multiprocessing.get_context("fork").Process(target=kill_in_migration, args=(file, number, after))
    process.start()
    process.join()
    return process.exitcode == -signal.SIGKILL


def test_a_migration_that_fails_leaves_no_table_behind(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statements = ["CREATE TABLE extra (a TEXT) STRICT", "CREATE TABLE nonsense ("]
    broken = schema.Migration(NEWEST + 1, "broken", lambda: statements)
    monkeypatch.setattr(store, "MIGRATIONS", (*MIGRATIONS, broken))
    with pytest.raises(JournalError):
        open_journal(file)
    monkeypatch.undo()
    with open_journal(file) as journal:
        assert journal.read("PRAGMA user_version")[0][0] == NEWEST
        assert journal.read("SELECT count(*) FROM sqlite_master WHERE name='extra'")[0][0] == 0


def test_a_second_opener_finds_the_migration_done(file: Path) -> None:
    with open_journal(file) as first, open_journal(file) as second:
        assert second.read("PRAGMA user_version")[0][0] == first.read("PRAGMA user_version")[0][0] == NEWEST


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [migration.version for migration in MIGRATIONS] == list(range(1, NEWEST + 1))
