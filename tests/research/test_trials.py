"""The ledger of trials: what counts as one, many writers at once, and a writer that is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.errors import DataError
from workbench.research.trials import COLUMNS, METRICS, Study, TrialLedger, data_digest, study_id

AT = datetime(2013, 3, 1, 22, 0, tzinfo=UTC)
STUDY = Study(
    sweep_id="aaaa",
    strategy="moving_average",
    symbols=("IBM", "AAPL"),
    first_session=date(2012, 1, 3),
    last_session=date(2013, 3, 1),
    sessions=290,
    snapshot=7,
    engine="kernel",
    assumptions={"slippage_bps": 2.0},
)

WRITER = """
import os, signal, sys
from datetime import date, datetime, UTC
from pathlib import Path
import pandas as pd
from workbench.research import trials
folder, worker, fatal = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if fatal == "before the name":
    trials.os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if fatal == "in the middle":
    import pyarrow.parquet as pq
    def torn(table, stream, **_):
        stream.write(b"PAR1 half a file")
        stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    pq.write_table = torn
ledger = trials.TrialLedger(folder)
for part in range(5):
    index = pd.MultiIndex.from_product([[worker], range(part * 10, part * 10 + 10)], names=["fast", "slow"])
    frame = pd.DataFrame(0.5, index=index, columns=list(trials.METRICS))
    study = trials.Study(f"w{worker}", "moving_average", ("IBM",), date(2012, 1, 3), date(2013, 3, 1), 290, 7, "kernel")
    ledger.add(frame, study, at=datetime(2013, 3, 1, tzinfo=UTC), part=part * 10)
"""


def tried(values: Mapping[tuple[int, int], float]) -> pd.DataFrame:
    """Trials by (fast, slow) with these Sharpe ratios."""
    index = pd.MultiIndex.from_tuples(list(values), names=["fast", "slow"])
    frame = pd.DataFrame(0.0, index=index, columns=list(METRICS))
    return frame.assign(sharpe_per_session=list(values.values()))


@pytest.fixture
def ledger(tmp_path: Path) -> TrialLedger:
    return TrialLedger(tmp_path / "trials")


def test_an_empty_ledger_counts_nothing(ledger: TrialLedger) -> None:
    assert ledger.count("momentum") == 0
    assert ledger.summary().empty
    assert ledger.sweep("none", "momentum", ["IBM"]).empty
    assert list(ledger.read().columns) == list(COLUMNS)


def test_a_combination_counts_once_whatever_window_snapshot_costs_or_sweep(ledger: TrialLedger) -> None:
    first = tried({(5, 20): 0.01, (5, 50): 0.02})
    ledger.add(first, STUDY, at=AT)
    other = replace(
        STUDY, sweep_id="bbbb", last_session=date(2013, 3, 4), snapshot=8, assumptions={"slippage_bps": 5.0}
    )
    ledger.add(first, other, at=AT + timedelta(days=1))
    ledger.add(tried({(5, 50): 0.02, (9, 50): 0.03}), replace(STUDY, sweep_id="cccc"), at=AT + timedelta(days=2))
    assert ledger.count("moving_average", ["AAPL", "IBM"]) == 3
    assert len(ledger.read()) == 6


def test_other_symbols_and_other_strategies_count_apart(ledger: TrialLedger) -> None:
    ledger.add(tried({(5, 20): 0.01}), STUDY, at=AT)
    ledger.add(tried({(5, 20): 0.01, (6, 20): 0.01}), replace(STUDY, symbols=("IBM",)), at=AT)
    ledger.add(tried({(1, 2): 0.01}), replace(STUDY, strategy="mine/../too"), at=AT)
    assert ledger.count("moving_average", ["IBM", "AAPL"]) == 1
    assert ledger.count("moving_average", ["IBM"]) == 2
    assert ledger.count("moving_average") == 2
    assert ledger.count("mine/../too", ["AAPL", "IBM"]) == 1
    assert all(file.is_relative_to(ledger.folder) for file in ledger.folder.rglob("*.parquet"))


def test_held_and_swept_parameters_make_one_text_in_any_order(ledger: TrialLedger) -> None:
    ledger.add(tried({(5, 20): 0.01}), STUDY, at=AT)
    alone = pd.DataFrame(0.0, index=[0], columns=list(METRICS))
    ledger.add(alone, replace(STUDY, sweep_id="dddd", held={"slow": 20, "fast": 5}), at=AT)
    assert ledger.read()["parameters"].unique().tolist() == ['{"fast":5,"slow":20}']
    assert ledger.count("moving_average", ["IBM", "AAPL"]) == 1


def test_a_row_says_everything_about_a_trial(ledger: TrialLedger) -> None:
    metrics = {"total_return": 0.5, "sharpe_per_session": 0.03, "sortino": np.inf, "max_drawdown": -0.2}
    metrics |= {"trades": 4.0, "win_rate": np.nan, "exposure": 0.6}
    ledger.add(pd.DataFrame([metrics], index=pd.Index([5], name="fast")), STUDY, at=AT, part=3)
    (row,) = ledger.read("moving_average", ["IBM", "AAPL"]).to_dict("records")
    assert np.isnan(row.pop("win_rate"))
    assert row == {
        **{key: value for key, value in metrics.items() if key != "win_rate"},
        "sweep_id": "aaaa",
        "part": 3,
        "at": pd.Timestamp(AT),
        "strategy": "moving_average",
        "data": data_digest(["AAPL", "IBM"]),
        "symbols": '["AAPL","IBM"]',
        "first_session": pd.Timestamp("2012-01-03"),
        "last_session": pd.Timestamp("2013-03-01"),
        "snapshot": 7,
        "parameters": '{"fast":5}',
        "flag": "",
        "sessions": 290,
        "engine": "kernel",
        "assumptions": '{"slippage_bps":2.0}',
    }


def test_the_summary_takes_each_combination_as_it_was_simulated_last(ledger: TrialLedger) -> None:
    ledger.add(tried({(5, 20): 0.09, (5, 50): 0.02, (5, 90): np.nan}), STUDY, at=AT)
    ledger.add(tried({(5, 20): 0.04}), replace(STUDY, sweep_id="bbbb"), at=AT + timedelta(days=1))
    (row,) = ledger.summary().reset_index().to_dict("records")
    assert (row["strategy"], row["symbols"]) == ("moving_average", "AAPL IBM")
    assert (row["trials"], row["sweeps"]) == (3, 2)
    assert (row["first_at"], row["last_at"]) == (pd.Timestamp(AT), pd.Timestamp(AT) + pd.Timedelta(days=1))
    assert row["best_sharpe_per_session"] == 0.09
    # 0.04 and 0.02 around 0.03: (0.01^2 + 0.01^2) / 1
    assert row["variance_sharpe_per_session"] == pytest.approx(2e-4, abs=1e-15)


def test_a_part_that_is_there_stays_as_it_is(ledger: TrialLedger) -> None:
    ledger.add(tried({(5, 20): 0.01}), STUDY, at=AT)
    ledger.add(tried({(5, 20): 0.77}), STUDY, at=AT + timedelta(days=1))
    assert ledger.read()["sharpe_per_session"].tolist() == [0.01]
    assert ledger.read()["at"].tolist() == [pd.Timestamp(AT)]


def test_a_study_is_read_back_by_the_numbers_of_its_combinations(ledger: TrialLedger) -> None:
    ledger.add(tried({(5, 20): 0.03, (5, 50): 0.04}), STUDY, at=AT, part=2)
    ledger.add(tried({(1, 20): 0.01, (1, 50): 0.02, (5, 20): 0.03}), STUDY, at=AT, part=0)  # another chunk size
    ledger.add(tried({(1, 20): 0.99}), replace(STUDY, sweep_id="bbbb"), at=AT)
    found = ledger.sweep("aaaa", STUDY.strategy, STUDY.symbols)
    assert found.index.tolist() == [0, 1, 2, 3]
    assert found["sharpe_per_session"].tolist() == [0.01, 0.02, 0.03, 0.04]


def test_a_study_has_the_same_name_for_the_same_content_only() -> None:
    assert study_id(grid={"a": [1, 2]}, end=date(2013, 3, 1)) == study_id(end=date(2013, 3, 1), grid={"a": [1, 2]})
    assert study_id(grid={"a": [1, 2]}) != study_id(grid={"a": [2, 1]})


def test_processes_that_write_at_once_lose_nothing(ledger: TrialLedger) -> None:
    command = [sys.executable, "-c", WRITER, str(ledger.folder)]
    writers = [subprocess.Popen([*command, str(worker), "never"]) for worker in (1, 2, 3)]
    writers.append(subprocess.Popen([*command, "3", "never"]))  # the same study twice
    assert [writer.wait(timeout=300) for writer in writers] == [0, 0, 0, 0]
    assert ledger.count("moving_average", ["IBM"]) == 150
    assert len(ledger.read()) == 150


@pytest.mark.parametrize("fatal", ["before the name", "in the middle"])
def test_a_writer_that_is_killed_leaves_whole_parts_only(ledger: TrialLedger, fatal: str) -> None:
    ledger.add(tried({(5, 20): 0.01}), STUDY, at=AT)
    writer = subprocess.run([sys.executable, "-c", WRITER, str(ledger.folder), "1", fatal], check=False, timeout=300)
    assert writer.returncode == -signal.SIGKILL
    assert len([file for file in ledger.folder.rglob("*") if file.is_file()]) == 2  # one of them has no name of a part
    assert ledger.count("moving_average", ["IBM", "AAPL"]) == 1
    assert ledger.count("moving_average", ["IBM"]) == 0
    assert json.loads(ledger.read()["parameters"].iloc[0]) == {"fast": 5, "slow": 20}


def test_a_damaged_part_is_named(ledger: TrialLedger) -> None:
    ledger.add(tried({(5, 20): 0.01}), STUDY, at=AT)
    (part,) = ledger.folder.rglob("*.parquet")
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(DataError, match=f"{part.name} of the trial ledger is damaged"):
        ledger.count("moving_average")


def test_trials_without_their_metrics_are_refused(ledger: TrialLedger) -> None:
    with pytest.raises(DataError, match="trials without exposure"):
        ledger.add(tried({(5, 20): 0.01}).drop(columns="exposure"), STUDY, at=AT)
    with pytest.raises(DataError, match="no trials"):
        ledger.add(tried({(5, 20): 0.01}).iloc[:0], STUDY, at=AT)
