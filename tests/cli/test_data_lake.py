"""``workbench data show | versions | diff | export | compact``, as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from support.homes import environment, make_home, workbench
from support.staging import Frames, flat

from workbench.data.lake import Lake
from workbench.data.sample import load_sample


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_home(tmp_path_factory.mktemp("home"))
    with Lake(made / "data" / "lake") as lake:
        load_sample(lake, made / "data" / "sample")
        lake.load(Frames("fix", {"bars": flat("ZEN", ["2014-12-31", "2015-01-02"], [24.5, 24.0])}))
    return made


def test_show_tells_everything_about_a_symbol(home: Path) -> None:
    shown = json.loads(workbench(home, "data", "show", "ZEN", "--json").stdout)[0]
    assert (shown["symbol"], shown["snapshot"]) == ("ZEN", 3)
    assert shown["bars"] == [{"symbol": "ZEN", "first": "2014-05-15", "last": "2015-01-02", "rows": 161}]
    assert [bar["session"] for bar in shown["last_bars"]][-2:] == ["2014-12-31", "2015-01-02"]
    told = workbench(home, "data", "show", "GOOG").stdout
    assert "GOOG, snapshot 3" in told
    assert "twice" in told  # its notice


def test_show_as_of_a_moment_before_the_lake_gets_one_clear_line(home: Path) -> None:
    done = workbench(home, "data", "show", "--at", "2000-01-03")
    assert done.returncode == 65
    assert done.stderr.count("\n") == 1
    assert "the lake has no snapshot of 2000-01-03" in done.stderr


def test_a_check_of_a_small_lake_starts_neither_duckdb_nor_pandas(home: Path) -> None:
    """Together they take longer than all rules; one read that needs them would bring them back unnoticed."""
    assert workbench(home, "data", "check").returncode in (0, 1)  # which keeps the lake's file for the next one
    code = (
        "import sys\n"
        "from workbench.cli.main import main\n"
        "try: main(['data', 'check', 'AAPL', 'ZEN'])\n"
        "except SystemExit as end: print('ended', end.code, sorted({'pandas', 'pyarrow', 'duckdb'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=home, env=environment(), capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.splitlines()[-1] in ("ended 0 []", "ended 1 []"), done.stdout


def test_diff_lists_values_and_counts_them(home: Path) -> None:
    done = workbench(home, "data", "diff", "2", "3")
    assert done.returncode == 0, done.stderr
    assert "1 bars added, of 1 symbols" in done.stdout
    assert "1 bars restated, of 1 symbols" in done.stdout
    rows = json.loads(workbench(home, "data", "diff", "2", "3", "--json").stdout)
    assert {(row["field"], row["new"]) for row in rows if row["change"] == "added"} == {("close", 24.0)}
    # 2014-12-31 in data/sample/wiki_2014_AAPL_BRKA_MSFT_ZEN.csv: ZEN closed at 24.37
    assert [row["old"] for row in rows if (row["change"], row["field"]) == ("restated", "close")] == [24.37]


@pytest.mark.parametrize("name", ["bars.parquet", "bars.csv.gz"])
def test_an_export_loaded_again_gives_the_same_bars(home: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    with Lake(home / "data" / "lake") as lake, Lake(tmp_path / "lake") as copy:
        assert lake.export(file, snapshot=2) == 13_070
        bars = duckdb.sql(f"SELECT * FROM '{file}'").df()
        copy.load(Frames("copy", {"bars": bars}))
        ours, theirs = lake.rows(snapshot=2), copy.rows()
        assert (ours.symbols, ours.at.tolist()) == (theirs.symbols, theirs.at.tolist())
        for field in ("open", "high", "low", "close", "volume"):
            assert (getattr(ours, field) == getattr(theirs, field)).all()
    assert [path.name for path in tmp_path.glob("bars*")] == [name]


def test_an_adjusted_export_is_what_bars_reads(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "adjusted.csv"
    done = workbench(
        home, "data", "export", str(file), "--symbols", "AAPL,FB", "--to", "2012-12-31", "--adjustment", "total"
    )
    assert done.returncode == 0, done.stderr
    found = pd.read_csv(file, parse_dates=["session"], float_precision="round_trip").pivot(
        index="session", columns="symbol", values="close"
    )
    with Lake(home / "data" / "lake") as lake:
        expected = lake.bars(["AAPL", "FB"], end=pd.Timestamp("2012-12-31").date(), adjustment="total").close
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    again = workbench(home, "data", "export", str(file))
    assert (again.returncode != 0, again.stderr.count("\n")) == (True, 1)
    assert "adjusted.csv is there already" in again.stderr


def test_actions_are_exported_as_they_are_listed(home: Path, tmp_path: Path) -> None:
    with Lake(home / "data" / "lake") as lake:
        assert lake.export(tmp_path / "a.csv", ["AAPL"], table="actions") == len(lake.actions(["AAPL"]))
    assert (tmp_path / "a.csv").read_text().splitlines()[0] == "symbol,ex_date,kind,value,origin"


def test_compact_says_what_it_did(home: Path) -> None:
    done = workbench(home, "data", "compact")
    assert done.returncode == 0
    assert done.stdout.endswith("files fewer\n")
    assert workbench(home, "data", "compact").stdout == "there is nothing to merge\n"
