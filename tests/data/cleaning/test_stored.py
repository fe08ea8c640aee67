"""Cleaned bars in a lake: written beside the raw ones, read back, cleaned again; and what trades never looks ahead."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from workbench.app import checking, open_workbench
from workbench.app.cleaning import find_policy, run
from workbench.app.workbench import Workbench
from workbench.cli.commands import command_line
from workbench.data.cleaning import CleaningPolicy, policy_of
from workbench.data.dataset import FIELDS, Dataset
from workbench.data.rows import BarRows
from workbench.errors import ConfigError, DataError
from workbench.settings import load_settings

ROOT = Path(__file__).parents[3]
Home = Callable[[pd.DataFrame], Workbench]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, actions: pd.DataFrame) -> Home:
    """A workbench of its own whose lake holds the rows given."""
    (tmp_path / "workbench.toml").write_text('[cleaning]\nzero_volume = "accept"\n')
    monkeypatch.chdir(tmp_path)

    def made(rows: pd.DataFrame, digest: str = "1") -> Workbench:
        workbench = open_workbench(start=tmp_path)
        bars = rows.rename(columns={"at": "session"})
        workbench.lake.load(Dataset(bars, actions, f"file {digest}", digest))
        return workbench

    return made


@pytest.fixture(scope="module")
def faulty(real: pd.DataFrame) -> pd.DataFrame:
    """Two years of three symbols: a bar of IBM in cents, a bar on a Saturday, a session of MSFT that is missing."""
    frame = real[(real["at"] >= "2011-03-01") & real["symbol"].isin(["GOOG", "IBM", "MSFT"])].copy()
    cents = (frame["symbol"] == "IBM") & (frame["at"] == "2012-06-13")
    frame.loc[cents, list(FIELDS[:4])] *= 100
    saturday = frame[(frame["symbol"] == "GOOG") & (frame["at"] == "2012-06-15")].assign(at=pd.Timestamp("2012-06-16"))
    missing = (frame["symbol"] == "MSFT") & (frame["at"] == "2012-06-13")
    return pd.concat([frame[~missing], saturday], ignore_index=True)


def ibm_close(workbench: Workbench, *, cleaned: bool) -> float:
    return float(workbench.bars(["IBM"], adjustment="raw", cleaned=cleaned).close.loc["2012-06-13", "IBM"])


def test_cleaned_bars_stand_beside_the_raw_ones(home: Home, faulty: pd.DataFrame, real: pd.DataFrame) -> None:
    workbench = home(faulty)
    outcome = workbench.clean(policy={"missing_sessions": "previous"})
    assert outcome.stored is not None
    assert (outcome.stored.cleaned, outcome.stored.unchanged) == (3, False)
    usd = float(real[(real["symbol"] == "IBM") & (real["at"] == "2012-06-13")]["close"].iloc[0])
    assert (ibm_close(workbench, cleaned=False), ibm_close(workbench, cleaned=True)) == (usd * 100, usd)
    rows = workbench.lake.rows(cleaned=True).frame()
    expected = BarRows.from_frame(faulty).frame()
    pd.testing.assert_frame_equal(workbench.lake.rows().frame(), expected)
    assert not ((rows["symbol"] == "GOOG") & (rows["at"] == "2012-06-16")).any()
    filled = rows[(rows["symbol"] == "MSFT") & (rows["at"] == "2012-06-13")]
    assert filled[list(FIELDS)].to_numpy().tolist() == [[29.29] * 4 + [0.0]]  # MSFT closed so on 2012-06-12


def test_cleaning_again_writes_nothing_and_new_rows_only_what_is_theirs(home: Home, faulty: pd.DataFrame) -> None:
    last = faulty["at"] == faulty["at"].max()
    workbench = home(faulty[~last])
    first = workbench.clean()
    assert first.stored is not None
    again = workbench.clean()
    assert again.stored is not None
    assert again.stored.unchanged
    assert again.stored.snapshot == first.stored.snapshot == workbench.lake.snapshot()
    made = workbench.lake.repairs()["made_at"]
    cents = faulty[last].copy()
    cents.loc[cents["symbol"] == "MSFT", "high"] += 1.0
    cents.loc[cents["symbol"] == "MSFT", ["high", "low"]] = cents.loc[
        cents["symbol"] == "MSFT", ["low", "high"]
    ].to_numpy()
    workbench = home(cents, "2")
    third = workbench.clean()
    assert third.stored is not None
    assert not third.stored.unchanged
    ledger = workbench.lake.repairs()
    assert set(ledger["made_at"]) > set(made)
    assert set(ledger.loc[~ledger["made_at"].isin(made), "symbol"]) == {"MSFT"}


def test_groups_of_symbols_are_cleaned_as_all_at_once_would_be(home: Home, faulty: pd.DataFrame) -> None:
    workbench = home(faulty)
    told: list[tuple[int, int, str]] = []
    policy = find_policy(workbench)
    parts = run(workbench, None, policy, write=False, rows_at_once=600, progress=lambda *said: told.append(said))
    whole = run(workbench, None, policy, write=False)
    pd.testing.assert_frame_equal(parts.repairs, whole.repairs)
    assert [what for _, _, what in told] == ["GOOG to GOOG", "IBM to IBM", "MSFT to MSFT", ""]
    assert told[-1][0] == told[-1][1] == len(faulty)


def test_an_interpolated_bar_is_refused_to_whoever_decides_on_a_session(home: Home, faulty: pd.DataFrame) -> None:
    workbench = home(faulty)
    workbench.clean(policy={"missing_sessions": "interpolate"})
    assert workbench.bars(["MSFT"], cleaned=True).close.loc["2012-06-13", "MSFT"] > 0
    deciding = open_workbench(session="2012-12-03", start=workbench.settings.home)
    with pytest.raises(DataError, match=r"MSFT 2012-06-13 missing_sessions: the cleaned .* was interpolated"):
        deciding.bars(["MSFT"], cleaned=True)
    assert len(deciding.bars(["IBM"], cleaned=True)) > 0
    before = open_workbench(session="2012-06-12", start=workbench.settings.home)
    assert len(before.bars(["MSFT"], cleaned=True)) > 0


def test_what_a_person_accepted_is_not_repaired(home: Home, faulty: pd.DataFrame) -> None:
    workbench = home(faulty)
    until = workbench.clock.now().date() + timedelta(days=30)
    checking.accept(workbench, "unit_error", "IBM", first=None, last=None, who="ann", why="it is in cents", until=until)
    outcome = workbench.clean(dry_run=True)
    assert set(outcome.repairs["symbol"]) == {"GOOG"}
    assert [one.rule for one, _ in outcome.after.excused] == ["unit_error"]


def test_a_corrected_split_is_used_by_cleaned_reads_alone(home: Home, real: pd.DataFrame) -> None:
    """AAPL split 2:1 on 2005-02-28; a second record of it makes every adjusted price before wrong by half."""
    aapl = real[(real["symbol"] == "AAPL") & real["at"].between("2004-09-01", "2005-06-30")]
    workbench = home(aapl)
    twice = {"symbol": "AAPL", "ex_date": pd.Timestamp("2005-03-02"), "kind": "split", "value": 2.0, "origin": "x"}
    last = aapl.tail(1).rename(columns={"at": "session"})
    workbench.lake.load(Dataset(last, pd.DataFrame([twice]), "actions", "2"))
    workbench.clean()
    closes = {kept: workbench.bars(["AAPL"], adjustment="split", cleaned=kept).close for kept in (False, True)}
    raw = float(aapl[aapl["at"] == "2004-09-01"]["close"].iloc[0])
    assert float(closes[False].loc["2004-09-01", "AAPL"]) == pytest.approx(raw / 4)
    assert float(closes[True].loc["2004-09-01", "AAPL"]) == pytest.approx(raw / 2)


def test_the_policy_comes_from_the_configuration_then_a_file_then_options(home: Home, faulty: pd.DataFrame) -> None:
    workbench = home(faulty)
    assert find_policy(workbench).zero_volume == "accept"
    file = workbench.settings.home / "strict.toml"
    file.write_text('[cleaning]\nunit_error = "keep"\n')
    assert (find_policy(workbench, file).unit_error, find_policy(workbench, file).zero_volume) == ("keep", "keep")
    assert find_policy(workbench, file, ["unit_error=divide"]).unit_error == "divide"


def test_the_configuration_that_comes_with_the_product_shows_the_defaults_and_choices_that_exist() -> None:
    text = (ROOT / "workbench.toml").read_text()
    assert policy_of(load_settings(ROOT, {}).cleaning, "workbench.toml") == CleaningPolicy()
    block = text[text.index("[cleaning]") : text.index("[jobs]")]
    shown = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", block, flags=re.MULTILINE))["cleaning"]
    assert len(shown) == 20
    assert policy_of(shown, "workbench.toml") != CleaningPolicy()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('outler = "drop"', r"unknown key 'outler', did you mean outlier?"),
        ('outlier = "prevous"', r"outlier: input should be 'keep', 'accept', 'drop', 'previous' or 'interpolate'"),
        ('outlier = "prevous"', r"did you mean previous?"),
        ("max_fill = 0", r"max_fill: input should be greater than or equal to 1 \(got 0\)"),
        ("outlier =", r"not valid TOML"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_by_file_and_key(
    home: Home, faulty: pd.DataFrame, text: str, said: str
) -> None:
    workbench = home(faulty)
    file = workbench.settings.home / "wrong.toml"
    file.write_text(f"[cleaning]\n{text}\n")
    with pytest.raises(ConfigError, match=said) as caught:
        find_policy(workbench, file)
    assert "wrong.toml" in str(caught.value)


def test_the_command_cleans_lists_and_shows_the_ledger(home: Home, faulty: pd.DataFrame) -> None:
    home(faulty).close()
    runner = CliRunner()
    app = command_line(["data"])
    dry = runner.invoke(app, ["data", "clean", "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "nothing written (--dry-run): 2 bars would differ from raw; block before, warn after" in dry.output
    assert runner.invoke(app, ["data", "repairs"]).output == "nothing was repaired\n"
    done = runner.invoke(app, ["data", "clean", "IBM", "GOOG"])
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert ["unit_error", "divide", "IBM", "1", "4"] in lines
    assert ["extra_session", "drop", "GOOG", "1", "5"] in lines
    shown = json.loads(runner.invoke(app, ["data", "repairs", "IBM", "--json"]).output)
    assert {(one["at"], one["field"], round(one["old"] / one["new"])) for one in shown} == {
        ("2012-06-13", field, 100) for field in FIELDS[:4]
    }
    again = json.loads(runner.invoke(app, ["data", "clean", "IBM", "GOOG", "--json"]).output)
    assert again["stored"]["unchanged"]
    assert again["policy"]["zero_volume"] == "accept"


def test_the_commands_refuse_what_does_not_exist(home: Home, faulty: pd.DataFrame) -> None:
    home(faulty).close()
    runner = CliRunner()
    for arguments, said in (
        (["clean", "IBN"], "no bars of IBN"),
        (["clean", "--option", "outlier"], "is not of the form key=value"),
        (["clean", "--frequency", "hourly"], "no frequency 'hourly'"),
        (["repairs", "--rule", "outlyer"], "no rule 'outlyer'"),
    ):
        result = runner.invoke(command_line(["data"]), ["data", *arguments])
        assert result.exit_code != 0
        assert said in str(result.exception)
