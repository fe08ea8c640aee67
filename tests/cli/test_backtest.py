"""``workbench backtest`` as a person types it: whole processes on the committed sample."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.homes import make_home, workbench

from workbench.cli.main import main

WINDOW = ("--symbols", "AAPL,IBM,MSFT", "--from", "2012-06-01", "--to", "2013-03-01")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_home(tmp_path_factory.mktemp("backtests"), loaded=True)
    return made


def test_a_backtest_prints_its_metrics_and_puts_one_trial_on_record(home: Path) -> None:
    from workbench.app import open_workbench

    command = ("backtest", "moving_average", "-p", "fast=20", *WINDOW, "-a", "slippage_bps=5", "--benchmark", "GOOG")
    done = workbench(home, *command)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "moving_average(fast=20, slow=200) on AAPL, IBM, MSFT, 2012-06-01 to 2013-03-01"
    assert lines[1] == "assuming slippage_bps=5.0"
    shown = {line[:26].strip(): line[26:].strip() for line in lines[2:]}
    with_json = json.loads(workbench(home, *command, "--json").stdout)
    metrics = with_json["engines"]["kernel"]["metrics"]
    assert shown["total return"] == f"{metrics['total_return']:.4f}".rstrip("0")
    assert {"alpha", "beta", "information_ratio", "win_rate", "omega"} <= metrics.keys()
    wb = open_workbench(start=home, env={})
    made = wb.backtest("moving_average", fast=20, symbols=["AAPL", "IBM", "MSFT"], start="2012-06-01", end="2013-03-01",
                       assumptions=wb.assumptions.assuming({"slippage_bps": "5"}), benchmark="GOOG")  # fmt: skip
    assert metrics == pytest.approx(made.metrics)
    # Three times the same combination, in three processes or not, is one trial.
    assert wb.trials.count("moving_average", ["AAPL", "IBM", "MSFT"]) == 1
    row = wb.trials.read("moving_average").iloc[0]
    assert json.loads(row["parameters"]) == {"fast": 20, "slow": 200}
    assert row["total_return"] == pytest.approx(made.metrics["total_return"])
    change = made.returns
    assert row["sharpe_per_session"] == pytest.approx(change.mean() / change.std())
    wb.backtest("moving_average", fast=21, symbols=["AAPL", "IBM", "MSFT"], end="2013-03-01")
    assert wb.trials.count("moving_average", ["AAPL", "IBM", "MSFT"]) == 2
    wb.close()


def test_two_engines_are_compared_in_one_command(home: Path) -> None:
    command = ("backtest", "momentum", *WINDOW, "--engine", "zipline", "--compare", "kernel")
    done = workbench(home, *command)
    assert done.returncode == 0, done.stderr
    assert "the engines agree to the cent on 187 closes" in done.stdout.splitlines()
    found = json.loads(workbench(home, *command, "--json").stdout)
    assert found["comparison"]["equal_to_the_cent"] is True
    assert found["comparison"]["parts_usd"] == {}
    assert found["engines"]["zipline"]["metrics"] == pytest.approx(found["engines"]["kernel"]["metrics"])


def test_what_makes_numbers_hard_to_believe_is_said_in_words(home: Path) -> None:
    done = workbench(home, "backtest", "momentum", *WINDOW, "-a", "fill=close", "-a", "max_volume_share=0.00001")
    assert done.returncode == 0, done.stderr
    notes = [line for line in done.stdout.splitlines() if line.startswith("note (kernel): ")]
    assert any("optimistic" in note for note in notes)
    assert any("orders were filled in part" in note for note in notes)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["momentm"], 64, "no strategy 'momentm'; did you mean momentum?"),
        (["momentum", "-p", "lokback=5"], 64, "strategy momentum: unknown key 'lokback', did you mean lookback?"),
        (["momentum", "-a", "lto=5"], 64, "no assumption 'lto'; did you mean lot?"),
        (["momentum", "-a", "lot=many"], 64, "assumption lot: 'many' is not a number"),
        (["momentum", "-a", "fill=clsoe"], 64, "assumption fill: 'clsoe' is not known; did you mean close?"),
        (["momentum", "--engine", "ziplin"], 64, "no engine 'ziplin'; did you mean zipline?"),
        (["momentum", "-a", "lot=none", "--engine", "zipline"], 64, "zipline cannot express lot=None"),
        (["momentum", "--compare", "kernel"], 64, "--compare kernel is the engine itself"),
        (["momentum", "--from", "yesterday"], 64, "'yesterday' is not a date"),
        (["momentum", "--symbols", "IMB"], 65, "no bars of IMB in the lake; did you mean IBM?"),
        (["momentum", "--from", "2030-01-01"], 65, "no sessions from 2030-01-01"),
        (["momentum", "--to", "2000-06-01"], 65, "Momentum needs 127 sessions of bars to decide, and there are 65"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(
    home: Path,
    arguments: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(home)
    with pytest.raises(SystemExit) as ended:
        main(["backtest", *arguments])
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (code, "")
    assert message in said.err
    assert said.err.count("\n") == 1
