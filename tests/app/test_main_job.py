"""The main job end to end, as a user would run it: one process per command, real kernels, real stores."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.homes import make_home, workbench

from workbench.app import open_workbench
from workbench.research import backtest

FIRST, LAST = date(2013, 1, 2), date(2013, 3, 1)


def ok(home: Path, *arguments: str) -> str:
    done = workbench(home, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def listing(home: Path, *arguments: str) -> list[dict[str, Any]]:
    rows = json.loads(ok(home, *arguments, "--json"))
    assert isinstance(rows, list)
    return rows


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh installation that has replayed the daily pipeline over 41 sessions."""
    home = make_home(tmp_path_factory.mktemp("replayed"), cold=True)
    said = ok(home, "replay", "daily", "--from", str(FIRST), "--to", str(LAST))
    assert "daily: 41 sessions to 2013-03-01" in said
    return home


@pytest.mark.parametrize("strategy", ["momentum"])
def test_the_replay_ends_with_the_backtests_equity_to_the_cent(replayed: Path, strategy: str) -> None:
    wb = open_workbench(start=replayed, env={})
    symbols = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    expected = backtest(
        wb.strategy(strategy, lookback=126, top=2),
        wb.lake.bars(symbols, end=LAST, adjustment="total"),
        wb.lake.bars(symbols, end=LAST, adjustment="raw"),
        wb.lake.actions(symbols, end=LAST),
        start=FIRST,
        end=LAST,
        assumptions=wb.assumptions,
    )
    wb.close()
    with duckdb.connect(str(replayed / "data" / "reports.duckdb"), read_only=True) as reports:
        rows = reports.execute("SELECT session, equity FROM equity WHERE account='paper' ORDER BY session").fetchall()
    assert [row[0] for row in rows] == [stamp.date() for stamp in expected.equity.index]
    for (session, equity), value in zip(rows, expected.equity, strict=True):
        assert abs(equity - Decimal(repr(float(value)))) < Decimal("0.005"), session
    # The window has dividends of IBM, AAPL and MSFT and trades in both directions, or it would prove little.
    assert len(expected.fills) > 5
    assert set(expected.fills["side"]) == {"buy", "sell"}


def test_orders_are_listed_with_decision_and_fill(replayed: Path) -> None:
    rows = listing(replayed, "orders")
    assert rows
    for row in rows:
        assert {
            "client_order_id",
            "symbol",
            "side",
            "quantity",
            "status",
            "decision",
            "fill_price",
        } <= row.keys()
        assert row["decision"] == "approved"
        assert len(row["client_order_id"]) <= 48
    filled = [row for row in rows if row["status"] == "filled"]
    assert all(row["fill_price"] > 0 and row["fill_session"] > row["session"] for row in filled)
    waiting = [row for row in rows if row["status"] == "accepted"]
    assert {row["session"] for row in waiting} <= {"2013-03-01"}
    assert len(filled) + len(waiting) == len(rows)


def test_the_reports_database_has_the_whole_story(replayed: Path) -> None:
    with duckdb.connect(str(replayed / "data" / "reports.duckdb"), read_only=True) as reports:
        counts = {
            table: reports.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
            for table in ("runs", "targets", "orders", "fills", "positions", "equity")
        }
        states = reports.execute("SELECT DISTINCT state FROM runs").fetchall()
        orphans = reports.execute(
            "SELECT count(*) FROM orders WHERE run_id NOT IN (SELECT run_id FROM runs)"
        ).fetchall()
    assert counts["runs"] == 41
    assert counts["equity"] == 41
    assert counts["targets"] == 41 * 5
    assert counts["orders"] >= counts["fills"] > 0
    assert states == [("succeeded",)]
    assert orphans == [(0,)]


def test_every_run_keeps_its_notebooks_and_pages(replayed: Path) -> None:
    (run,) = [row for row in listing(replayed, "runs") if row["session"] == "2013-02-15"]
    folder = replayed / "data" / "runs" / "daily" / "2013-02-15" / run["run_id"]
    names = {path.name for path in folder.iterdir()}
    for step in ("01_update_data", "02_rebalance", "03_report"):
        assert {f"{step}.ipynb", f"{step}.html"} <= names
    notebook = json.loads((folder / "02_rebalance.ipynb").read_text())
    assert any("injected-parameters" in cell["metadata"].get("tags", []) for cell in notebook["cells"])
    assert "waits for the end of the run" in (folder / "03_report.ipynb").read_text()
    assert "<html" in (folder / "02_rebalance.html").read_text()[:500].lower()


def test_a_second_run_of_a_session_orders_nothing_new(replayed: Path) -> None:
    before = listing(replayed, "orders")
    said = ok(replayed, "run", "daily", "--session", "2013-03-01")
    assert "has already run as" in said
    assert "nothing new was ordered" in said
    assert listing(replayed, "orders") == before


def test_the_account_goes_on_after_the_replay(replayed: Path) -> None:
    rows = listing(replayed, "status")
    assert [(row["account"], row["session"]) for row in rows] == [("paper", "2013-03-01")]
    held = listing(replayed, "positions")
    assert held
    assert all(row["quantity"] > 0 for row in held)


def test_the_tear_sheet_is_written_and_found(replayed: Path) -> None:
    page = Path(ok(replayed, "report").strip())
    assert page.is_file()
    text = page.read_text()
    assert "buy-and-hold" in text.lower() or "buy and hold" in text.lower()


def test_a_deliberate_second_rebalance_is_a_run_of_its_own(replayed: Path) -> None:
    ok(replayed, "run", "daily", "--session", "2013-03-01", "--amend")
    amendments = [row["amendment"] for row in listing(replayed, "runs") if row["session"] == "2013-03-01"]
    assert amendments == [0, 1]
