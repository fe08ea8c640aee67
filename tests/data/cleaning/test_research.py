"""Research on cleaned bars: the numbers are those of data without the fault, and every result says what it read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from workbench.app import open_workbench
from workbench.app.workbench import Workbench
from workbench.cli.main import main
from workbench.data.cleaning import CleaningPolicy
from workbench.data.dataset import FIELDS, Dataset
from workbench.errors import ConfigError, DataError

NAMES = ["GOOG", "IBM", "MSFT"]
ASKED = {"symbols": NAMES, "start": "2012-01-03", "end": "2012-12-31"}
GRID = {"fast": [5, 10], "slow": [20, 40]}


@pytest.fixture(scope="module")
def whole(real: pd.DataFrame) -> pd.DataFrame:
    return real[(real["at"] >= "2011-03-01") & real["symbol"].isin(NAMES)].copy()


def opened(folder: Path, rows: pd.DataFrame, actions: pd.DataFrame) -> Workbench:
    folder.mkdir()
    (folder / "workbench.toml").touch()
    workbench = open_workbench(start=folder)
    workbench.lake.load(Dataset(rows.rename(columns={"at": "session"}), actions, "file 1", "1"))
    return workbench


@pytest.fixture
def sound(tmp_path: Path, whole: pd.DataFrame, actions: pd.DataFrame) -> Iterator[Workbench]:
    """The real bars as they are."""
    workbench = opened(tmp_path / "sound", whole, actions)
    yield workbench
    workbench.close()


@pytest.fixture
def faulty(tmp_path: Path, whole: pd.DataFrame, actions: pd.DataFrame) -> Iterator[Workbench]:
    """The same with a week of IBM in cents."""
    broken = whole.copy()
    cents = (broken["symbol"] == "IBM") & broken["at"].between("2012-06-11", "2012-06-15")
    broken.loc[cents, list(FIELDS[:4])] *= 100
    workbench = opened(tmp_path / "faulty", broken, actions)
    yield workbench
    workbench.close()


def test_a_backtest_on_cleaned_bars_is_that_of_bars_without_the_fault(sound: Workbench, faulty: Workbench) -> None:
    expected = sound.backtest("moving_average", fast=10, slow=40, **ASKED)  # type: ignore[arg-type]
    raw = faulty.backtest("moving_average", fast=10, slow=40, **ASKED)  # type: ignore[arg-type]
    faulty.clean()
    made = faulty.backtest("moving_average", fast=10, slow=40, cleaned=True, **ASKED)  # type: ignore[arg-type]
    pd.testing.assert_series_equal(made.equity, expected.equity, rtol=1e-12)
    assert abs(raw.equity - expected.equity).max() > 1000
    data = f"cleaned by policy {CleaningPolicy().digest}"
    assert (raw.assumptions.data, made.assumptions.data) == ("raw", data)
    trials = faulty.trials.read("moving_average")
    assert [json.loads(text)["data"] for text in trials["assumptions"]] == ["raw", data]
    assert trials["sweep_id"].nunique() == 2
    assert trials["snapshot"].tolist() == [1, faulty.lake.snapshot()]
    # The same combination on other data is another trial on record, but no other idea.
    assert faulty.trials.count("moving_average", NAMES) == 1


def test_a_sweep_and_returns_on_cleaned_bars_are_those_of_bars_without_the_fault(
    sound: Workbench, faulty: Workbench
) -> None:
    faulty.clean()
    expected = sound.sweep("moving_average", GRID, progress=False, **ASKED)  # type: ignore[arg-type]
    made = faulty.sweep("moving_average", GRID, progress=False, cleaned=True, **ASKED)  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(made.table, expected.table, rtol=1e-9)
    assert made.assumptions.data.startswith("cleaned by policy ")
    raw = faulty.sweep("moving_average", GRID, progress=False, **ASKED)  # type: ignore[arg-type]
    assert raw.sweep_id != made.sweep_id
    assert raw.resumed == 0
    strategies = [sound.strategy("moving_average", fast=fast, slow=40) for fast in (5, 10)]
    theirs = sound.trial_returns(strategies, **ASKED)  # type: ignore[arg-type]
    ours = faulty.trial_returns(strategies, cleaned=True, **ASKED)  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(ours.returns, theirs.returns, rtol=1e-9)
    assert json.loads(faulty.trials.read()["assumptions"].iloc[-1])["data"] == made.assumptions.data


def test_a_split_whose_record_was_put_right_counts_in_the_backtest(
    tmp_path: Path, real: pd.DataFrame, actions: pd.DataFrame
) -> None:
    # AAPL's 2:1 of 2005-02-28, put on record a week late.
    rows = real[(real["at"] < "2006-01-01") & (real["at"] >= "2004-01-02") & (real["symbol"] == "AAPL")]
    late = actions.copy()
    split = (late["symbol"] == "AAPL") & (late["ex_date"] == "2005-02-28")
    assert split.sum() == 1
    late.loc[split, "ex_date"] = pd.Timestamp("2005-03-07")
    asked = {"symbols": ["AAPL"], "start": "2005-01-03", "end": "2005-12-30", "fast": 5, "slow": 20}
    right, wrong = opened(tmp_path / "right", rows, actions), opened(tmp_path / "wrong", rows, late)
    try:
        wrong.clean(policy={"split_not_in_price": "move"})
        expected = right.backtest("moving_average", **asked)  # type: ignore[arg-type]
        made = wrong.backtest("moving_average", cleaned=True, **asked)  # type: ignore[arg-type]
        pd.testing.assert_series_equal(made.equity, expected.equity, rtol=1e-12)
    finally:
        right.close()
        wrong.close()


def test_research_on_cleaned_bars_is_refused_where_nothing_was_cleaned(faulty: Workbench) -> None:
    for study in (
        lambda: faulty.backtest("moving_average", cleaned=True, **ASKED),  # type: ignore[arg-type]
        lambda: faulty.sweep("moving_average", GRID, cleaned=True, **ASKED),  # type: ignore[arg-type]
        lambda: faulty.verdict("moving_average", cleaned=True, **ASKED),  # type: ignore[arg-type]
        lambda: faulty.lookahead("moving_average", cleaned=True, **ASKED),  # type: ignore[arg-type]
    ):
        with pytest.raises(DataError, match="nothing of GOOG, IBM, MSFT was cleaned: snapshot 1 has no repairs"):
            study()
    faulty.clean()
    with pytest.raises(DataError, match="nothing of GOOG was cleaned"):
        faulty.backtest("moving_average", symbols=["GOOG"], cleaned=True)
    assert faulty.trials.parts() == []


def test_a_study_does_not_read_what_was_interpolated_from_the_future(
    tmp_path: Path, whole: pd.DataFrame, actions: pd.DataFrame
) -> None:
    gone = (whole["symbol"] == "MSFT") & (whole["at"] == "2012-06-13")
    workbench = opened(tmp_path / "gap", whole[~gone], actions)
    workbench.clean(policy={"missing_sessions": "interpolate"})
    try:
        with pytest.raises(DataError, match="interpolated from a later price"):
            workbench.backtest("moving_average", cleaned=True, **ASKED)  # type: ignore[arg-type]
        before = ASKED | {"start": "2012-01-03", "end": "2012-06-12"}
        made = workbench.backtest("moving_average", cleaned=True, fast=5, slow=20, **before)  # type: ignore[arg-type]
        assert made.equity.index[-1] == pd.Timestamp("2012-06-12")
    finally:
        workbench.close()


def ended(command: list[str]) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as end:
        main(command)
    return int(end.value.code or 0)


def test_what_was_read_is_told_and_cannot_be_claimed(
    faulty: Workbench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(faulty.settings.home)
    command = [
        "backtest",
        "moving_average",
        "-p",
        "fast=10",
        "-p",
        "slow=40",
        "--symbols",
        "GOOG,IBM,MSFT",
        "--cleaned",
    ]
    assert ended(command) == 65
    assert "workbench data clean, or read the raw bars" in capsys.readouterr().err
    faulty.clean()
    assert ended(command) == 0
    assert f"assuming data=cleaned by policy {CleaningPolicy().digest}" in capsys.readouterr().out
    assert ended([*command, "-a", "data=raw"]) == 64
    assert "says what was read" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="must say which bars were read"):
        faulty.assumptions.__class__(data="")
