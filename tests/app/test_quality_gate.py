"""A fault in the data stops the order step of the real pipeline, and a person's word on record lets it go on."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.homes import make_home, workbench, write_pipeline

from workbench.data.dataset import Dataset, no_actions
from workbench.data.lake import Lake
from workbench.data.sample import load_sample

SESSION = "2013-03-01"
FAULT = ("price_order", "IBM")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, in which a vendor has since restated IBM's bar of the session: its high is below its close."""
    home = make_home(tmp_path_factory.mktemp("gated"))
    with Lake(home / "data" / "lake") as lake:
        load_sample(lake, home / "data" / "sample")
        day = date.fromisoformat(SESSION)
        bar = lake.rows(["IBM"], start=day, end=day).frame().rename(columns={"at": "session"})
        bar["high"] = bar["close"] - 1
        lake.load(Dataset(bar, no_actions(), "a vendor's correction", "wrong"))
    return home


def listing(home: Path, *arguments: str) -> list[dict[str, Any]]:
    done = workbench(home, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert isinstance(rows, list)
    return rows


def test_a_fault_stops_the_daily_pipeline_until_it_is_accepted(home: Path) -> None:
    stopped = workbench(home, "run", "daily", "--session", SESSION, "--allow-dirty")
    assert stopped.returncode == 1
    assert "block: IBM 2013-03-01 price_order" in stopped.stderr
    assert listing(home, "orders") == []

    check = workbench(home, "data", "check", "IBM", "--session", SESSION)
    assert check.returncode == 1
    assert "price_order" in check.stdout

    said = workbench(home, "data", "accept", *FAULT, "--why", "closing print, confirmed", "--until", "2099-12-31",
                     "--who", "ann")  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert "it covers 1 finding now" in said.stdout
    assert workbench(home, "data", "check", "IBM", "--session", SESSION).returncode == 0

    amended = workbench(home, "run", "daily", "--session", SESSION, "--amend", "--allow-dirty")
    assert amended.returncode == 0, amended.stderr
    orders = listing(home, "orders")
    assert orders
    assert all(order["decision"] == "approved" for order in orders)

    with duckdb.connect(str(home / "data" / "reports.duckdb"), read_only=True) as reports:
        verdicts = reports.execute(
            "SELECT verdict, accepted->0->>'because' FROM quality WHERE run_id <> '' ORDER BY id"
        )
        # What still warns is GOOG's volume, a known fault of the sample.
        assert verdicts.fetchall() == [
            ("block", None),
            ("warn", "accepted by ann until 2099-12-31: closing print, confirmed"),
        ]
        accepted = reports.execute('SELECT rule, symbol, "first", "last", actor, revoked_by FROM acceptances')
        day = date.fromisoformat(SESSION)
        assert accepted.fetchall() == [(*FAULT, day, day, "ann", None)]

    taken_back = workbench(home, "data", "revoke", "1", "--why", "it was not", "--who", "bob")
    assert taken_back.returncode == 0, taken_back.stderr
    assert workbench(home, "data", "check", "IBM", "--session", SESSION).returncode == 1
    assert [row["state"] for row in listing(home, "data", "accepted")] == ["revoked"]


def test_an_order_step_is_not_begun_on_a_verdict_that_blocks_though_no_notebook_minds(home: Path) -> None:
    steps = {
        "look": ["import workbench", f"workbench.open(session='{SESSION}').check(['IBM', 'MSFT']).verdict"],
        "order": ["import workbench", f"wb = workbench.open(session='{SESSION}')", "wb.stand_aside('nothing to do')"],
    }
    file = write_pipeline(home, "careless", steps, step_more="orders = true")
    run = ("run", "careless", "--session", SESSION, "--account", "other", "--allow-dirty")
    stopped = workbench(home, *run)
    assert stopped.returncode == 65
    assert "order is not begun: the data is not fit to trade on: block: IBM 2013-03-01 price_order" in stopped.stderr
    (record,) = [r for r in listing(home, "runs") if r["pipeline"] == "careless"]
    assert record["state"] == "failed"

    file.write_text(file.read_text() + '\n[quality]\ntolerate = ["price_order"]\n', encoding="utf-8")
    tolerant = workbench(home, *run, "--amend")
    assert tolerant.returncode == 0, tolerant.stderr


def test_what_cannot_be_accepted_is_refused_in_one_line(home: Path) -> None:
    def said(*arguments: str) -> tuple[int, str]:
        done = workbench(home, "data", "accept", *arguments)
        return done.returncode, done.stderr.strip()

    until = ("--until", "2099-12-31")
    assert said("price_ordre", "IBM", "--why", "x", *until) == (
        64,
        "workbench: no rule 'price_ordre'; did you mean price_order?",
    )
    code, text = said("unit_error", "IBM", "--why", "x", *until)
    assert (code, "unit_error finds nothing of IBM" in text) == (65, True)
    code, text = said("price_order", "IBM", "--why", "x", "--until", "2013-03-02")
    assert (code, "has passed" in text) == (64, True)
    code, text = said("price_order", "IBM", "--why", " ", *until)
    assert (code, "needs a person and a reason" in text) == (64, True)
