from __future__ import annotations

import hashlib
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from workbench.clock import ManualClock
from workbench.domain import (
    Activity,
    ActivityKind,
    Bracket,
    Fill,
    OrderIntent,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
)
from workbench.errors import DataError, ReportsLocked
from workbench.journal import Batch, Journal, Judgements
from workbench.journal.ledger import Correction
from workbench.reports import schema
from workbench.reports.projection import project, rebuild


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "reports.duckdb"


def contents(file: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, in order of the key."""
    with duckdb.connect(file, read_only=True) as connection:
        return {
            table.name: connection.execute(f"SELECT * FROM {table.name} ORDER BY {', '.join(table.key)}").fetchall()
            for table in schema.TABLES
        }


def query(file: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(file, read_only=True) as connection:
        return connection.execute(sql).fetchall()


@contextmanager
def another_process(code: str, file: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has run ``code`` on the file and waits; killed at the end."""
    script = f"import duckdb, sys, time\nfile = sys.argv[1]\n{code}\nprint('ready', flush=True)\nsys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def test_every_table_is_filled_from_the_journal(told, file):
    result = project(told.journal, file)
    assert not result.pending
    # 20 sessions x 3 targets; two names held from session 1 on; summary() has 12 metrics
    assert result.rows == {
        "runs": 20, "targets": 60, "orders": 6, "fills": 4, "execution": 5, "activities": 3, "corrections": 0,
        "external_fills": 0, "legs": 0, "trading_states": 0, "locks": 0, "reconciliations": 0, "quality": 0,
        "acceptances": 0, "positions": 38, "equity": 20, "metrics": 12, "profiles": 0, "latency": 0, "sweeps": 0,
    }  # fmt: skip
    assert {name: len(rows) for name, rows in contents(file).items()} == result.rows


def test_values_arrive_exactly_and_typed(told, file):
    project(told.journal, file)
    (order,) = query(
        file,
        "SELECT session, quantity, reference_price, state, approved, gate, filled_quantity, fill_price, fee,"
        " fill_session FROM orders WHERE symbol = 'BBB' AND side = 'sell'",
    )
    decided, filled = date(2013, 1, 18), date(2013, 1, 22)
    price, fee = Decimal("49.99"), Decimal(1)
    assert order == (decided, Decimal(30), Decimal(50), "filled", True, None, Decimal(30), price, fee, filled)
    (denied,) = query(file, "SELECT approved, gate, state, fill_price FROM orders WHERE NOT approved")
    assert denied == (False, "max_order_value", "denied", None)
    (last,) = query(file, "SELECT cash, positions_value, equity FROM equity WHERE session = '2013-01-30'")
    assert last == (Decimal("3028.991"), Decimal(7855), Decimal("10883.991"))
    (first, second) = query(file, 'SELECT "return" FROM equity ORDER BY session LIMIT 2')
    assert (first[0], second[0]) == (None, 0.00364)
    (moment,) = query(file, "SELECT executed_at FROM fills ORDER BY executed_at LIMIT 1")
    assert moment[0] == datetime(2013, 1, 3, 21, 30, 4, tzinfo=UTC)
    (weight,) = query(file, "SELECT weight FROM positions WHERE session = '2013-01-03' AND symbol = 'AAA'")
    assert weight[0] == 4040 / 10036.4
    assert query(file, "SELECT DISTINCT parameters->>'top' FROM runs") == [("2",)]
    (total,) = query(file, "SELECT value, session FROM metrics WHERE metric = 'total_return'")
    assert total == (pytest.approx(0.0883991, abs=1e-12), date(2013, 1, 30))


def test_every_table_and_column_says_what_it_is(told, file):
    project(told.journal, file)
    names = ", ".join(f"'{table.name}'" for table in schema.TABLES)
    columns = query(file, f"SELECT comment FROM duckdb_columns() WHERE table_name IN ({names})")
    assert len(columns) == sum(len(table.columns) for table in schema.TABLES)
    assert all(comment for (comment,) in columns)
    named = query(file, f"SELECT comment FROM duckdb_tables() WHERE table_name IN ({names})")
    assert len(named) == len(schema.TABLES)
    assert all(comment for (comment,) in named)
    types = dict(query(file, "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'orders'"))
    assert types["fill_price"] == types["quantity"] == "DECIMAL(38,12)"
    assert (types["session"], types["approved"]) == ("DATE", "BOOLEAN")
    assert query(file, "SELECT version FROM schema_version") == [(schema.VERSION,)]


def test_session_by_session_ends_where_a_rebuild_does(story, file, tmp_path):
    for i in range(1, 21):
        story.play(i)
        project(story.journal, file)
    whole = tmp_path / "whole.duckdb"
    rebuild(story.journal, whole)
    assert contents(file) == contents(whole)


def test_only_what_changed_is_written(story, file):
    story.play(13)
    project(story.journal, file)
    story.play(14)  # its fill ends the order of the session before
    written = {name: rows for name, rows in project(story.journal, file).rows.items() if rows}
    assert written == {
        "runs": 1, "targets": 3, "orders": 1, "fills": 1, "execution": 1, "positions": 2, "equity": 1, "metrics": 12,
    }  # fmt: skip


def test_a_second_call_changes_nothing_in_the_file(told, file):
    project(told.journal, file)
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    assert project(told.journal, file).total == 0
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before
    assert [path.name for path in file.parent.iterdir()] == ["reports.duckdb"]


def test_a_run_seen_half_way_is_brought_to_its_end(story, file):
    story.play(1)
    story.journal._connection.execute("UPDATE runs SET state='running', ended_at=NULL, exit_code=NULL")
    project(story.journal, file)
    assert query(file, "SELECT state, ended_at FROM runs") == [("running", None)]
    from workbench.journal.states import RunState

    story.runs.set_state("daily-20130102", RunState.FAILED, exit_code=1, reason="boom")
    project(story.journal, file)
    assert query(file, "SELECT state, exit_code, reason FROM runs") == [("failed", 1, "boom")]


def test_a_late_deposit_corrects_the_returns_after_it(story, file, tmp_path):
    story.play(5)
    project(story.journal, file)
    late = Activity("D2", ActivityKind.DEPOSIT, "", story.sessions[3], Decimal(0), Decimal(100), story.clock.now())
    story.ledger.record("paper", "paper", [], [late])
    assert project(story.journal, file).rows["equity"] == 2  # sessions 3 and 4
    rebuild(story.journal, tmp_path / "whole.duckdb")
    assert contents(file) == contents(tmp_path / "whole.duckdb")


def test_an_empty_journal_makes_empty_tables(journal, file):
    assert project(journal, file).total == 0
    assert all(rows == [] for rows in contents(file).values())


def test_a_metric_that_is_not_defined_is_null(story, file):
    story.play(1)
    project(story.journal, file)
    assert query(file, "SELECT value FROM metrics WHERE metric = 'sharpe'") == [(None,)]


def test_a_file_held_by_another_process_is_merged_later(story, file):
    story.play(3)
    project(story.journal, file)
    story.play(4)
    waited_from = story.clock.monotonic()
    with another_process("held = duckdb.connect(file)", file) as holder:
        result = project(story.journal, file, wait_s=2.0)
        assert result.pending
        assert str(holder.pid) in result.holder
        assert result.total == 0
    assert story.clock.monotonic() - waited_from == pytest.approx(2.0)
    assert project(story.journal, file).rows["runs"] == 1
    assert len(contents(file)["runs"]) == 4


def test_a_reader_in_another_process_keeps_the_projection_waiting(told, file):
    project(told.journal, file)
    told.orders.move(told.order_id(19, "buy", "CCC"), OrderState.EXPIRED)
    with another_process("held = duckdb.connect(file, read_only=True)", file):
        assert project(told.journal, file).pending
    assert project(told.journal, file).rows["orders"] == 1


def test_a_reader_in_this_process_keeps_the_projection_waiting(told, file):
    project(told.journal, file)
    with duckdb.connect(file, read_only=True):
        result = project(told.journal, file)
    assert result.pending
    assert result.holder.startswith("this process")


def test_a_rebuild_refuses_a_file_that_is_held(told, file):
    project(told.journal, file)
    with another_process("held = duckdb.connect(file)", file) as holder, pytest.raises(ReportsLocked) as caught:
        rebuild(told.journal, file)
    assert re.search(rf"held by process {holder.pid}", str(caught.value))


def test_a_process_killed_in_the_middle_of_a_transaction_loses_nothing(story, file):
    story.play(3)
    project(story.journal, file)
    before = contents(file)
    half = (
        "held = duckdb.connect(file)\nheld.execute('BEGIN')\nheld.execute('DELETE FROM orders')\n"
        'held.execute("UPDATE watermarks SET last_id = 999")'
    )
    with another_process(half, file) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert contents(file) == before
    story.play(4)
    project(story.journal, file)
    assert len(contents(file)["runs"]) == 4


def test_a_process_killed_after_its_commit_leaves_a_log_that_is_replayed(story, file):
    story.play(3)
    project(story.journal, file)
    committed = "held = duckdb.connect(file)\nheld.execute(\"DELETE FROM orders WHERE symbol = 'CCC'\")"
    with another_process(committed, file) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert file.with_name("reports.duckdb.wal").exists()
    story.play(4)
    assert project(story.journal, file).rows["runs"] == 1
    assert rebuild(story.journal, file).rows["orders"] == 3
    assert not file.with_name("reports.duckdb.wal").exists()


KILLED = """
import sys, os, signal
from pathlib import Path
from workbench.clock import SystemClock
from workbench.journal import Batch, Journal
from workbench.journal.ledger import Correction
from workbench.reports import projection
written = []
def stop_half_way(connection, table, rows, write=projection._write):
    write(connection, table, rows)
    written.append(table.name)
    if len(written) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
projection._write = stop_half_way
projection.project(Journal(Path(sys.argv[1]), SystemClock()), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("sessions_before", [0, 3])
def test_a_projection_killed_half_way_is_done_again_by_the_next(story, file, tmp_path, sessions_before):
    if sessions_before:
        story.play(sessions_before)
        project(story.journal, file)
    story.play(8)
    died = subprocess.run([sys.executable, "-c", KILLED, story.journal.file, file], check=False)
    assert died.returncode == -signal.SIGKILL
    project(story.journal, file)
    rebuild(story.journal, tmp_path / "whole.duckdb")
    assert contents(file) == contents(tmp_path / "whole.duckdb")
    assert [path.name for path in file.parent.iterdir()] == ["reports.duckdb"]


@pytest.mark.parametrize("damage", [b"", b"not a database " * 1000])
def test_a_damaged_file_is_named_with_the_way_out_and_rebuilt(told, file, damage):
    file.parent.mkdir()
    file.write_bytes(damage)
    with pytest.raises(DataError, match="workbench reports rebuild") as caught:
        project(told.journal, file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert rebuild(told.journal, file).replaced == "a damaged file"
    assert len(contents(file)["orders"]) == 6


def test_the_log_of_a_damaged_file_is_not_replayed_into_the_new_one(told, file):
    project(told.journal, file)
    with another_process("held = duckdb.connect(file)\nheld.execute('DELETE FROM orders')", file) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    file.write_bytes(b"torn")
    rebuild(told.journal, file)
    assert len(contents(file)["orders"]) == 6
    assert [path.name for path in file.parent.iterdir()] == ["reports.duckdb"]


@pytest.mark.parametrize("offset", [0, 4096, 8192, 12288])
def test_a_torn_block_is_noticed_or_does_not_matter(told, file, offset):
    project(told.journal, file)
    before, torn = contents(file), bytearray(file.read_bytes())
    torn[offset : offset + 512] = bytes(512)
    file.write_bytes(torn)
    told.orders.move(told.order_id(19, "buy", "CCC"), OrderState.EXPIRED)
    complaint = ""
    try:
        project(told.journal, file)
    except DataError as error:
        complaint = str(error)
    assert complaint == "" or "workbench reports rebuild" in complaint
    rebuild(told.journal, file)
    assert len(contents(file)["fills"]) == len(before["fills"])


def test_somebody_elses_database_is_never_replaced(told, file):
    file.parent.mkdir()
    with duckdb.connect(file) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 42 AS answer")
    for call in (project, rebuild):
        with pytest.raises(DataError, match="something else; move it away"):
            call(told.journal, file)
    assert query(file, "SELECT answer FROM mine") == [(42,)]


def test_a_file_of_another_journal_is_refused_and_rebuilt(told, file, tmp_path):
    project(told.journal, file)
    later = ManualClock(datetime(2014, 1, 2, tzinfo=UTC))
    with Journal(tmp_path / "other.sqlite", later) as other:
        with pytest.raises(DataError, match="made from another journal"):
            project(other, file)
        assert rebuild(other, file).replaced == "the reports"
    assert contents(file)["orders"] == []


def test_a_file_of_a_newer_layout_is_refused(told, file):
    project(told.journal, file)
    with duckdb.connect(file) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    with pytest.raises(DataError, match="newer workbench"):
        project(told.journal, file)


def test_a_file_of_an_older_layout_is_filled_again(told, file, tmp_path):
    project(told.journal, file)
    with duckdb.connect(file) as connection:
        connection.execute("UPDATE schema_version SET version = 0")
        connection.execute("ALTER TABLE orders DROP COLUMN fee")
    assert project(told.journal, file).rows["orders"] == 6
    rebuild(told.journal, tmp_path / "whole.duckdb")
    assert contents(file) == contents(tmp_path / "whole.duckdb")


def test_a_rebuild_that_fails_leaves_the_old_file(told, file, monkeypatch):
    project(told.journal, file)
    before = contents(file)
    from workbench.reports import projection

    def fail(*_: object) -> None:
        raise DataError("the disk is full")

    monkeypatch.setattr(projection, "_write", fail)
    with pytest.raises(DataError, match="the disk is full"):
        rebuild(told.journal, file)
    assert contents(file) == before
    assert [path.name for path in file.parent.iterdir()] == ["reports.duckdb"]


def test_of_two_processes_that_make_the_file_the_first_one_wins(told, file, monkeypatch):
    from workbench.reports import store

    publish = store.publish_first

    def publish_second(made: Path, target: Path) -> bool:
        shutil.copy(made, target)
        return publish(made, target)

    monkeypatch.setattr(store, "publish_first", publish_second)
    assert project(told.journal, file).total == 0
    assert len(contents(file)["orders"]) == 6
    assert [path.name for path in file.parent.iterdir()] == ["reports.duckdb"]


def test_a_folder_in_the_place_of_the_file_is_named(told, file):
    file.mkdir(parents=True)
    for call in (project, rebuild):
        with pytest.raises(DataError, match="check that the file and its folder can be written"):
            call(told.journal, file)


def test_unfinished_files_of_dead_processes_are_removed(told, file):
    died = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    file.parent.mkdir()
    left = file.with_name(f".reports.duckdb.{died.stdout.strip()}")
    left.write_bytes(b"half")
    project(told.journal, file)
    assert not left.exists()


def totals(file: Path) -> dict[str, dict[str, object]]:
    """Of every table the number of rows, and the sum of every column of money or shares."""
    with duckdb.connect(file, read_only=True) as connection:
        found = {}
        for table in schema.TABLES:
            sums = ["count(*)", *(f'sum("{c.name}")' for c in table.columns if c.type.startswith("DECIMAL"))]
            cursor = connection.execute(f"SELECT {', '.join(sums)} FROM {table.name}")
            found[table.name] = dict(zip(sums, cursor.fetchall()[0], strict=True))
    return found


def bracketed(story) -> None:
    """An entry of the story gets an exit at the venue, which fills 2 AAA at 58."""
    story.ledger.add_leg("paper", "leg-1", story.order_id(9, "buy", "AAA"))
    moment, day = story.clock.now(), story.sessions[19]
    exit_ = Fill("L1", "leg-1", "AAA", Side.SELL, Decimal(2), Decimal(58), Decimal("0.10"), day, moment)
    story.ledger.record("paper", "paper", [exit_, story.stray(19, "H2")], [])


def test_a_file_that_was_deleted_is_made_again_with_equal_totals(corrected, file):
    project(corrected.journal, file)
    bracketed(corrected)
    project(corrected.journal, file)
    before = totals(file)
    file.unlink()
    rebuild(corrected.journal, file)
    assert totals(file) == before
    # 4 of the story, the adopted one and the exit; the one of nobody's adoption is among the external ones only
    assert {name: before[name]["count(*)"] for name in ("fills", "external_fills", "corrections", "legs")} == {
        "fills": 6, "external_fills": 2, "corrections": 5, "legs": 1,
    }  # fmt: skip
    assert before["corrections"]['sum("cash_delta")'] == Decimal("-1494.95")
    assert before["external_fills"]['sum("fee")'] == Decimal(1)


def test_what_the_file_holds_adds_up_to_the_books(corrected, file):
    bracketed(corrected)
    project(corrected.journal, file)
    cash, held = Decimal(0), dict[str, Decimal]()
    for symbol, side, quantity, price, fee in query(file, "SELECT symbol, side, quantity, price, fee FROM fills"):
        signed = quantity if side == "buy" else -quantity
        cash -= signed * price + fee
        held[symbol] = held.get(symbol, Decimal(0)) + signed
    for table in ("activities", "corrections"):
        for symbol, quantity, amount in query(file, f"SELECT symbol, quantity_delta, cash_delta FROM {table}"):
            cash += amount
            held[symbol] = held.get(symbol, Decimal(0)) + quantity
    # 1,390.041 of the conftest, and 2 x 58 - 0.10 for the exit
    assert cash == corrected.ledger.books("paper").cash == Decimal("1505.941")
    assert {symbol: quantity for symbol, quantity in held.items() if quantity} == {"AAA": 91, "BBB": 80, "CCC": 7}


def test_corrections_reach_a_file_that_is_there_as_they_reach_a_new_one(told, file, tmp_path):
    project(told.journal, file)
    told.correct()
    written = {name: rows for name, rows in project(told.journal, file).rows.items() if rows}
    # sessions 18 and 19 are valued again, with 3 names each; 2 orders have corrected fills
    assert written["equity"] == 2
    assert written["positions"] == 6
    assert written["orders"] == 2
    assert {name: written[name] for name in ("corrections", "fills", "external_fills", "reconciliations")} == {
        "corrections": 5, "fills": 1, "external_fills": 1, "reconciliations": 2,
    }  # fmt: skip
    rebuild(told.journal, tmp_path / "whole.duckdb")
    assert contents(file) == contents(tmp_path / "whole.duckdb")
    assert project(told.journal, file).total == 0


def test_a_position_that_a_correction_took_away_leaves_the_file(told, file, tmp_path):
    project(told.journal, file)
    gone = Correction("position", "BBB", told.sessions[18], Decimal(-50), Decimal(0), "the venue has none")
    told.ledger.correct("paper", "paper", [gone], "ada")
    project(told.journal, file)
    assert query(file, "SELECT session, symbol FROM positions WHERE session >= '2013-01-28' ORDER BY ALL") == [
        (date(2013, 1, 28), "AAA"), (date(2013, 1, 28), "BBB"), (date(2013, 1, 29), "AAA"), (date(2013, 1, 30), "AAA"),
    ]  # fmt: skip
    rebuild(told.journal, tmp_path / "whole.duckdb")
    assert contents(file) == contents(tmp_path / "whole.duckdb")


def test_an_external_execution_becomes_adopted_in_the_file(told, file):
    told.ledger.record("paper", "paper", [told.stray()], [])
    project(told.journal, file)
    assert query(file, "SELECT fill_id, adopted FROM external_fills") == [("H1", False)]
    assert query(file, "SELECT count(*) FROM fills") == [(4,)]
    told.adopt()
    project(told.journal, file)
    assert query(file, "SELECT fill_id, adopted FROM external_fills") == [("H1", True)]
    assert query(file, "SELECT run_id, quantity FROM fills WHERE fill_id = 'H1'") == [(None, Decimal(7))]


def test_corrections_between_projections_end_where_a_rebuild_does(story, file, tmp_path):
    for i in range(1, 21):
        story.play(i)
        if i in {3, 11, 12, 17}:
            day = story.sessions[i - 2]
            change = Correction("position", "BBB", day, Decimal(i), Decimal("-0.5"), "found")
            story.ledger.correct("paper", "paper", [change], "ada")
        if i == 14:
            story.ledger.record("paper", "paper", [story.stray(13)], [])
        project(story.journal, file)
    story.adopt()
    project(story.journal, file)
    rebuild(story.journal, tmp_path / "whole.duckdb")
    assert contents(file) == contents(tmp_path / "whole.duckdb")


def test_verdicts_and_acceptances_arrive_and_a_revocation_later(told, file):
    judgements = Judgements(told.journal)
    fault = {"symbol": "AAA", "session": "2013-01-02", "last": "2013-01-03", "rule": "outlier", "severity": "warn"}
    judgements.record(3, ["BBB", "AAA"], date(2013, 1, 30), "block", [fault, fault], [fault], found=5, run_id="daily-x")
    record = judgements.accept(
        "outlier", "AAA", date(2013, 1, 2), date(2013, 1, 3), actor="ann", why="seen", until=date(2026, 12, 31)
    )
    project(told.journal, file)
    assert query(
        file,
        "SELECT run_id, snapshot, session, verdict, found, symbols->>1, json_array_length(findings),"
        " accepted->0->>'rule' FROM quality",
    ) == [("daily-x", 3, date(2013, 1, 30), "block", 5, "BBB", 2, "outlier")]
    accepted = 'SELECT rule, symbol, "first", "last", until, actor, why, revoked_by FROM acceptances'
    days = (date(2013, 1, 2), date(2013, 1, 3), date(2026, 12, 31))
    assert query(file, accepted) == [("outlier", "AAA", *days, "ann", "seen", None)]
    judgements.revoke(record.number, actor="bob", why="wrong")
    assert project(told.journal, file).rows["acceptances"] == 1
    assert query(file, accepted) == [("outlier", "AAA", *days, "ann", "seen", "bob")]


def test_trading_states_locks_and_reconciliations_arrive_with_cause_and_actor(corrected, file):
    project(corrected.journal, file)
    assert query(file, "SELECT account, state, cause, reason, actor FROM trading_states") == [
        ("paper", "reducing", "breaker:drawdown", "down 12 %", "breaker:drawdown")
    ]
    assert query(file, "SELECT symbol, locked, reason FROM locks ORDER BY id") == [
        ("BBB", True, "gone at the venue"), ("CCC", True, "not ours"),
        ("BBB", False, "agrees again"), ("CCC", False, "agrees again"),
    ]  # fmt: skip
    assert query(
        file, "SELECT moment, agrees, json_array_length(differences), recorded_at FROM reconciliations ORDER BY id"
    ) == [
        ("start", False, 5, datetime(2013, 1, 22, 21, 32, 20, tzinfo=UTC)),
        ("asked", True, 0, datetime(2013, 1, 22, 21, 33, 20, tzinfo=UTC)),
    ]
    assert query(file, "SELECT differences->0->>'kind' FROM reconciliations WHERE NOT agrees") == [("bust",)]


def test_every_price_of_an_order_arrives(story, file):
    story.play(1)
    bracket = Bracket(Decimal("110"), Decimal("90.5"))
    intent = OrderIntent(
        "t1", "AAA", Side.BUY, Decimal("1.5"), Decimal(100), "tickets", 0, OrderType.LIMIT, Decimal("99.95"),
        TimeInForce.GTC, notional_usd=Decimal("150"), bracket=bracket,
    )  # fmt: skip
    trail = OrderIntent(
        "t2", "AAA", Side.SELL, Decimal(1), Decimal(100), "tickets", 1, OrderType.TRAILING_STOP,
        trail_percent=Decimal("2.5"), replaces="t1",
    )  # fmt: skip
    key = ("paper", "daily", story.sessions[0], 0, "tickets")
    story.orders.propose(Batch("T", "daily-20130102", *key, Decimal(1), Decimal(1), 1), [], [intent, trail])
    project(story.journal, file)
    names = "type, time_in_force, limit_price, stop_price, trail_price, trail_percent, notional_usd, replaces, kind"
    assert query(file, f"SELECT {names} FROM orders WHERE strategy = 'tickets' ORDER BY client_order_id") == [
        ("limit", "gtc", Decimal("99.95"), None, None, None, Decimal(150), None, "plan"),
        ("trailing_stop", "day", None, None, None, Decimal("2.5"), None, "t1", "plan"),
    ]
    exits = "bracket->>'take_profit', bracket->>'stop_loss', bracket->>'stop_loss_limit'"
    assert query(file, f"SELECT {exits} FROM orders WHERE client_order_id = 't1'") == [("110", "90.5", None)]
