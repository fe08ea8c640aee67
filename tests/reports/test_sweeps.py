"""The table of trials: each part of the ledger once, in any order of projections, and the same after a rebuild."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from workbench.clock import ManualClock
from workbench.errors import DataError
from workbench.journal import Journal
from workbench.reports.projection import project, rebuild
from workbench.research.trials import METRICS, Study, TrialLedger

AT = datetime(2013, 3, 1, 22, 0, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> TrialLedger:
    return TrialLedger(tmp_path / "trials")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite", ManualClock(AT))


def record(ledger: TrialLedger, sweep_id: str, first: int, lookbacks: list[int]) -> None:
    study = Study(
        sweep_id, "momentum", ("IBM", "AAPL"), date(2012, 1, 3), date(2013, 3, 1), 290, 7, "sweep",
        {"slippage_bps": 2.0}, {"top": 2},
    )  # fmt: skip
    trials = pd.DataFrame(0.25, index=pd.Index(lookbacks, name="lookback"), columns=list(METRICS))
    trials = trials.assign(trades=[float(number) for number in lookbacks], win_rate=np.nan, flag="")
    ledger.add(trials, study, at=AT, part=first)


def query(file: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_trials_are_merged_once_and_survive_a_rebuild(ledger: TrialLedger, journal: Journal, tmp_path: Path) -> None:
    file, trials = tmp_path / "reports.duckdb", ledger.folder
    assert project(journal, file, trials=trials).rows["sweeps"] == 0
    record(ledger, "aa", 0, [20, 60])
    assert project(journal, file).rows["sweeps"] == 0  # not asked for
    assert project(journal, file, trials=trials).rows["sweeps"] == 2
    record(ledger, "aa", 2, [120])
    record(ledger, "bb", 0, [20])
    record(ledger, "aa", 1, [60, 120])  # by another process that computed the same
    assert project(journal, file, trials=trials).rows["sweeps"] == 2
    assert project(journal, file, trials=trials).total == 0
    everything = "SELECT * FROM sweeps ORDER BY sweep_id, number"
    merged = query(file, everything)
    assert rebuild(journal, file, trials=trials).rows["sweeps"] == 4
    assert query(file, everything) == merged
    assert project(journal, file, trials=trials).total == 0


def test_a_trial_says_what_it_was_and_what_came_of_it(ledger: TrialLedger, journal: Journal, tmp_path: Path) -> None:
    file = tmp_path / "reports.duckdb"
    record(ledger, "aa", 5, [20, 60])
    project(journal, file, trials=ledger.folder)
    columns = "number, strategy, symbols->>0, parameters->>'lookback', parameters->>'top', first_session, sessions"
    assert query(file, f"SELECT {columns} FROM sweeps ORDER BY number") == [
        (5, "momentum", "AAPL", "20", "2", date(2012, 1, 3), 290),
        (6, "momentum", "AAPL", "60", "2", date(2012, 1, 3), 290),
    ]
    columns = "snapshot, sharpe_per_session, trades, win_rate, flag, engine, assumptions->>'slippage_bps', \"at\""
    assert query(file, f"SELECT {columns} FROM sweeps WHERE number = 6") == [
        (7, 0.25, 60, None, "", "sweep", "2.0", AT)
    ]


def test_a_damaged_part_is_named_and_nothing_is_merged(ledger: TrialLedger, journal: Journal, tmp_path: Path) -> None:
    file = tmp_path / "reports.duckdb"
    record(ledger, "aa", 0, [20, 60])
    project(journal, file, trials=ledger.folder)
    record(ledger, "bb", 0, [20])
    record(ledger, "cc", 0, [20])
    (part,) = ledger.folder.rglob("cc-*.parquet")
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(DataError, match=f"{part.name} of the trial ledger cannot be read"):
        project(journal, file, trials=ledger.folder)
    part.unlink()
    assert query(file, "SELECT count(*) FROM sweeps") == [(2,)]
    assert project(journal, file, trials=ledger.folder).rows["sweeps"] == 1
