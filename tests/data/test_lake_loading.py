from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from workbench.clock import ManualClock
from workbench.data.dataset import Dataset, Staged
from workbench.data.lake import Lake
from workbench.data.sample import load_sample, read_sample
from workbench.errors import DataError

Make = Callable[..., Dataset]
FIRST = {"A": {"2013-01-02": 1.0, "2013-01-03": 2.0}, "B": {"2013-01-02": 3.0}}


def splits(*rows: tuple[str, str, float]) -> pd.DataFrame:
    symbols, days, values = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "symbol": symbols,
            "ex_date": pd.to_datetime(list(days)),
            "kind": "split",
            "value": values,
            "origin": "published",
        }
    )


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.parquet")}


def test_every_row_of_the_sample_comes_back_as_it_was_in_the_file(sample_lake: Lake, sample_folder: Path) -> None:
    rows = 0
    for dataset in read_sample(sample_folder):
        wide = sample_lake.bars(adjustment="raw")
        for field in ("open", "high", "low", "close", "volume"):
            expected = dataset.bars.pivot(index="session", columns="symbol", values=field)
            got = getattr(wide, field).loc[expected.index, expected.columns]
            traded = expected.notna()
            assert (got.to_numpy()[traded] == expected.to_numpy()[traded]).all()
        rows += len(dataset.bars)
    # 12,154 and 916 lines below the headers of the two files
    assert rows == 13_070
    assert int(sample_lake.coverage()["rows"].sum()) == 13_070


def test_loading_the_sample_twice_changes_nothing(tmp_path: Path, sample_folder: Path) -> None:
    with Lake(tmp_path) as lake:
        first = load_sample(lake, sample_folder)
        parquet = files(tmp_path)
        again = load_sample(lake, sample_folder)
        assert [(r.rows_added, r.rows_unchanged, r.rows_restated) for r in first] == [
            (12154, 0, 0),
            (916, 0, 0),
        ]
        assert [(r.rows_added, r.rows_unchanged, r.actions_added) for r in again] == [
            (0, 12154, 0),
            (0, 916, 0),
        ]
        assert all(r.repeated for r in again)
        assert lake.snapshot() == first[-1].snapshot == again[-1].snapshot
        assert len(lake.snapshots()) == 3  # the empty lake and one per file
    assert files(tmp_path) == parquet


def test_a_load_tells_its_progress_by_files(tmp_path: Path, sample_folder: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    with Lake(tmp_path) as lake:
        load_sample(lake, sample_folder, lambda *step: seen.append(step))
    assert seen == [
        (0, 2, "wiki_2000_2013_AAPL_FB_GOOG_IBM_MSFT.csv.gz"),
        (1, 2, "wiki_2014_AAPL_BRKA_MSFT_ZEN.csv"),
        (2, 2, ""),
    ]


def test_an_overlap_with_the_same_prices_adds_only_what_is_new(tmp_path: Path, make_dataset: Make) -> None:
    more = {"A": {"2013-01-03": 2.0, "2013-01-04": 4.0}}
    with Lake(tmp_path) as lake:
        lake.load(make_dataset(FIRST, "1"))
        result = lake.load(make_dataset(more, "2"))
        assert (result.rows_read, result.rows_added, result.rows_unchanged, result.rows_restated) == (
            2,
            1,
            1,
            0,
        )
        assert lake.bars(["A"], adjustment="raw").close["A"].tolist() == [1.0, 2.0, 4.0]


def test_a_restated_row_is_new_at_the_newest_snapshot_and_old_at_the_old(tmp_path: Path, make_dataset: Make) -> None:
    with Lake(tmp_path) as lake:
        before = lake.load(make_dataset(FIRST, "1")).snapshot
        result = lake.load(make_dataset({"A": {"2013-01-02": 1.5, "2013-01-03": 2.0}}, "2"))
        assert (result.rows_restated, result.rows_unchanged, result.rows_added) == (1, 1, 0)
        assert lake.bars(["A"], adjustment="raw").close["A"].tolist() == [1.5, 2.0]
        old = lake.bars(["A"], adjustment="raw", snapshot=before)
        assert old.close["A"].tolist() == [1.0, 2.0]
        assert (old.snapshot, lake.bars(["A"]).snapshot) == (before, result.snapshot)
        assert lake.coverage()["rows"].tolist() == [2, 1]  # no session is there twice


def test_a_restated_action_is_new_at_the_newest_snapshot_and_old_at_the_old(tmp_path: Path, make_dataset: Make) -> None:
    with Lake(tmp_path) as lake:
        before = lake.load(make_dataset(FIRST, "1", splits(("A", "2013-01-03", 2.0))))
        after = lake.load(make_dataset({"B": {"2013-01-04": 3.0}}, "2", splits(("A", "2013-01-03", 3.0))))
        assert (before.actions_added, after.actions_added) == (1, 1)
        assert lake.actions(["A"])["value"].tolist() == [3.0]
        assert lake.actions(["A"], snapshot=before.snapshot)["value"].tolist() == [2.0]
        assert lake.bars(["A"]).close["A"].tolist() == pytest.approx([1 / 3, 2.0])
        assert lake.bars(["A"], snapshot=before.snapshot).close["A"].tolist() == [0.5, 2.0]


def test_data_that_was_restated_does_not_come_back_when_the_first_file_is_loaded_again(
    tmp_path: Path, make_dataset: Make
) -> None:
    with Lake(tmp_path) as lake:
        lake.load(make_dataset(FIRST, "1"))
        restated = lake.load(make_dataset({"A": {"2013-01-02": 1.5}}, "2"))
        again = lake.load(make_dataset(FIRST, "1"))
        assert again.repeated
        assert again.snapshot == restated.snapshot
        assert lake.bars(["A"], adjustment="raw").close["A"].iloc[0] == 1.5


def test_snapshots_say_when_and_what(tmp_path: Path, make_dataset: Make) -> None:
    with Lake(tmp_path) as lake:
        result = lake.load(make_dataset(FIRST, "1", splits(("A", "2013-01-03", 2.0))))
        snapshots = lake.snapshots()
    assert snapshots["snapshot"].tolist() == [0, result.snapshot]
    assert snapshots["note"].tolist() == ["", "file 1: 3 bars added, 0 restated, 1 actions"]
    assert str(snapshots["at"].dt.tz) == "UTC"


def test_a_moved_lake_is_read_where_it_is(tmp_path: Path, make_dataset: Make) -> None:
    with Lake(tmp_path / "here") as lake:
        lake.load(make_dataset(FIRST, "1"))
    (tmp_path / "here").rename(tmp_path / "it's there")
    with Lake(tmp_path / "it's there") as lake:
        assert lake.symbols() == ["A", "B"]
        lake.load(make_dataset({"C": {"2013-01-02": 1.0}}, "2"))
        assert lake.symbols() == ["A", "B", "C"]
    assert not (tmp_path / "here").exists()


def test_a_closed_lake_opens_again_when_it_is_used(tmp_path: Path, make_dataset: Make) -> None:
    lake = Lake(tmp_path)
    lake.load(make_dataset(FIRST, "1"))
    lake.close()
    lake.close()
    assert lake.symbols() == ["A", "B"]
    lake.close()


def test_a_lake_for_reading_only_refuses_a_load(tmp_path: Path, make_dataset: Make) -> None:
    with Lake(tmp_path) as lake:
        lake.load(make_dataset(FIRST, "1"))
    with Lake(tmp_path, read_only=True) as lake, pytest.raises(DataError, match="reading only"):
        lake.load(make_dataset(FIRST, "2"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda bars: bars.drop(columns="volume"), "bars without the column volume"),
        (lambda bars: bars.iloc[:0], "there are no bars in it"),
        (lambda bars: bars.assign(close=float("nan")), "close of A on 2013-01-02 is nan"),
        (lambda bars: bars.assign(volume=float("inf")), "volume of A on 2013-01-02 is inf"),
        (lambda bars: pd.concat([bars, bars.iloc[[1]]]), "A 2013-01-03 occurs twice"),
    ],
)
def test_a_dataset_with_wrong_bars_loads_nothing(
    tmp_path: Path, make_dataset: Make, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    good = make_dataset(FIRST, "1")
    with Lake(tmp_path) as lake:
        with pytest.raises(DataError, match=f"^file 1: {message}"):
            lake.load(Dataset(change(good.bars), good.actions, good.source, good.digest))
        assert lake.is_empty()


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (splits(("A", "2013-01-03", 0.0)), "A has a split of 0.0 on 2013-01-03"),
        (splits(("A", "2013-01-03", 2.0)).assign(kind="merger"), "A has a merger of 2.0 on 2013-01-03"),
        (splits(("A", "2013-01-03", 2.0), ("A", "2013-01-03", 3.0)), "A 2013-01-03 split occurs twice"),
        (splits(("A", "2013-01-03", float("nan"))), "an empty cell in actions"),
    ],
)
def test_a_dataset_with_wrong_actions_loads_nothing(
    tmp_path: Path, make_dataset: Make, actions: pd.DataFrame, message: str
) -> None:
    with Lake(tmp_path) as lake:
        with pytest.raises(DataError, match=f"^file 1: {message}"):
            lake.load(make_dataset(FIRST, "1", actions))
        assert lake.is_empty()


class Interruption(ManualClock):
    """Lets another process's load happen inside a transaction: the load asks for the time at its end."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__(datetime(2013, 1, 4, tzinfo=UTC))
        self._meanwhile: Callable[[], object] | None = meanwhile

    def now(self) -> datetime:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile:
            meanwhile()
        return super().now()


def test_the_same_data_loaded_twice_at_once_is_there_once(tmp_path: Path, make_dataset: Make) -> None:
    with Lake(tmp_path) as other:
        other.load(make_dataset(FIRST, "1"))
        data = make_dataset({"C": {"2013-01-02": 1.0}}, "2")
        clock = Interruption(lambda: other.load(data))
        with Lake(tmp_path, clock=clock) as lake:
            result = lake.load(data)
        assert result.repeated
        assert clock.monotonic() > 0  # it met the other and waited
        assert other.coverage()["rows"].to_dict() == {"A": 2, "B": 1, "C": 1}


def test_two_first_loads_at_once_make_one_lake(tmp_path: Path, make_dataset: Make) -> None:
    with Lake(tmp_path) as other:
        clock = Interruption(lambda: other.load(make_dataset({"C": {"2013-01-02": 1.0}}, "2")))
        with Lake(tmp_path, clock=clock) as lake:
            lake.load(make_dataset(FIRST, "1"))
        assert other.coverage()["rows"].to_dict() == {"A": 2, "B": 1, "C": 1}


def test_a_load_that_met_another_is_worked_out_again_on_the_newer_data(tmp_path: Path, make_dataset: Make) -> None:
    with Lake(tmp_path) as other:
        other.load(make_dataset(FIRST, "1"))
        clock = Interruption(lambda: other.load(make_dataset({"A": {"2013-01-04": 4.0}}, "2")))
        with Lake(tmp_path, clock=clock) as lake:
            # The row is new when this load begins, and restated when it ends.
            result = lake.load(make_dataset({"A": {"2013-01-04": 5.0}}, "3"))
        assert (result.rows_added, result.rows_restated) == (0, 1)
        assert other.bars(["A"], adjustment="raw").close["A"].tolist() == [1.0, 2.0, 5.0]
        assert other.bars(["A"], adjustment="raw", snapshot=result.snapshot - 1).prices_on(date(2013, 1, 4)) == {
            "A": 4.0
        }


class Moments:
    """A source of daily bars that stages moments for sessions."""

    name = digest = "moments"

    def stage(self, connection: duckdb.DuckDBPyConnection) -> Staged:
        connection.execute(
            "CREATE OR REPLACE TEMP VIEW staged_bars AS SELECT 'A' AS symbol, TIMESTAMP '2013-01-02 16:00' AS session, "
            "1.0 AS open, 1.0 AS high, 1.0 AS low, 1.0 AS close, 1.0 AS volume"
        )
        return Staged(bars="staged_bars")


def test_moments_are_not_taken_for_sessions(tmp_path: Path) -> None:
    with Lake(tmp_path) as lake:
        with pytest.raises(DataError, match="session was staged as TIMESTAMP, not DATE"):
            lake.load(Moments())
        assert lake.is_empty()
