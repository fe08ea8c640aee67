"""What a load says of history that is another now, and what cleaned bars do then."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.staging import Frames, actions, flat

from workbench.data.dataset import Restated
from workbench.data.lake import Lake
from workbench.errors import DataError

DAYS = [day.date().isoformat() for day in pd.bdate_range("2013-01-02", periods=40)]
PRICES = [100.0 + day for day in range(40)]


def bars(symbol: str, closes: list[float]) -> dict[str, pd.DataFrame]:
    return {"bars": flat(symbol, DAYS, closes)}


def test_a_load_shows_what_it_restated_and_the_diff_shows_all(tmp_path: Path) -> None:
    changed = flat("A", DAYS, PRICES)
    changed.loc[3, ["high", "close"]] = [105.0, 104.5]
    with Lake(tmp_path) as lake:
        before = lake.load(Frames("1", bars("A", PRICES))).snapshot
        result = lake.load(Frames("2", {"bars": pd.concat([changed, flat("A", ["2013-02-27"], [140.0])])}))
        assert (result.rows_restated, result.rows_added, result.rows_unchanged) == (1, 1, 39)
        day = date(2013, 1, 7)
        assert result.restated == (Restated("A", day, "high", 103.0, 105.0), Restated("A", day, "close", 103.0, 104.5))
        assert str(result.restated[1]) == "A 2013-01-07 close: 103 -> 104.5"
        found = lake.diff(before, result.snapshot)
        assert found.drop(columns="at").to_numpy().tolist() == [
            ["bars", "A", "close", 103.0, 104.5, "restated"],
            ["bars", "A", "high", 103.0, 105.0, "restated"],
            ["bars", "A", "close", pytest.approx(np.nan, nan_ok=True), 140.0, "added"],
        ]
        assert found["at"].tolist() == [pd.Timestamp(day), pd.Timestamp(day), pd.Timestamp("2013-02-27")]
        back = lake.diff(result.snapshot, before)
        assert back["change"].tolist() == ["restated", "restated", "removed"]
        assert back["new"].tolist()[:2] == [103.0, 103.0]
        counts = lake.diff_counts(before, result.snapshot)
        assert counts[["change", "rows"]].to_numpy().tolist() == [["added", 1], ["restated", 1]]
        assert lake.diff(before, before).empty
        with pytest.raises(DataError, match=r"^the lake has no snapshot 9; it has 0 to 2$"):
            lake.diff(before, 9)


def test_a_diff_shows_actions_and_only_the_symbols_asked_for(tmp_path: Path) -> None:
    with Lake(tmp_path) as lake:
        lake.load(Frames("1", bars("A", PRICES) | {"actions": actions(("A", DAYS[5], "split", 2.0))}))
        lake.load(Frames("2", bars("B", PRICES) | {"actions": actions(("A", DAYS[5], "split", 3.0))}))
        found = lake.diff(1, 2, ["A"])
        assert found.drop(columns="at").to_numpy().tolist() == [["actions", "A", "split", 2.0, 3.0, "restated"]]
        assert len(lake.diff(0, 1, limit=7)) == 7


def test_adjusted_prices_over_raw_ones_are_refused_and_called_what_they_are(tmp_path: Path) -> None:
    adjusted = [price / 4 if day < 30 else price for day, price in enumerate(PRICES)]
    with Lake(tmp_path) as lake:
        before = lake.load(Frames("1", bars("A", PRICES))).snapshot
        with pytest.raises(
            DataError,
            match=r"^file 2: A: 30 of 40 known bars would be restated, by a constant factor of 0\.25; "
            r"were adjusted prices loaded over raw ones.*--restate$",
        ):
            lake.load(Frames("2", bars("A", adjusted)))
        assert lake.snapshot() == before
        assert lake.load(Frames("2", bars("A", adjusted)), restate=True).rows_restated == 30
        assert lake.bars(["A"], adjustment="raw").close["A"].iloc[0] == 25.0
        assert lake.bars(["A"], adjustment="raw", snapshot=before).close["A"].iloc[0] == 100.0


def test_dividend_adjusted_prices_are_refused_with_the_range_of_their_factors(tmp_path: Path) -> None:
    adjusted = [price * (0.9 if day < 20 else 0.95) for day, price in enumerate(PRICES)]
    other = pd.concat([flat("A", DAYS, adjusted), flat("B", DAYS, adjusted)])
    with Lake(tmp_path) as lake:
        lake.load(Frames("1", {"bars": pd.concat([flat("A", DAYS, PRICES), flat("B", DAYS, PRICES)])}))
        with pytest.raises(DataError, match=r"A: 40 of 40 .* by factors of 0\.9 to 0\.95 and 1 more symbols likewise"):
            lake.load(Frames("2", {"bars": other}))


def test_corrections_of_a_few_bars_are_no_other_history(tmp_path: Path) -> None:
    corrected = [price + 0.01 if day < 19 else price for day, price in enumerate(PRICES)]
    with Lake(tmp_path) as lake:
        lake.load(Frames("1", bars("A", PRICES)))
        assert lake.load(Frames("2", bars("A", corrected))).rows_restated == 19


CLEANED = flat("A", [DAYS[2], DAYS[4]], [102.5, 104.0]).rename(columns={"session": "at"}).assign(kept=[True, False])
ADDED = flat("A", ["2013-02-27"], [139.0]).rename(columns={"session": "at"}).assign(kept=True)
REPAIRS = pd.DataFrame(
    {
        "symbol": "A",
        "at": pd.to_datetime([DAYS[2], DAYS[4], "2013-02-27"]),
        "field": ["close", "", ""],
        "old": [102.0, np.nan, np.nan],
        "new": [102.5, np.nan, np.nan],
        "rule": ["unit_error", "duplicate", "missing_sessions"],
        "action": ["divide", "drop", "previous"],
        "reason": "by hand",
    }
)


@pytest.fixture
def cleaned(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path)
    lake.load(Frames("1", {"bars": pd.concat([flat("A", DAYS, PRICES), flat("B", DAYS, PRICES)])}))
    made = lake.write_cleaned(pd.concat([CLEANED, ADDED]), REPAIRS, symbols=["A"], policy="p", raw_snapshot=1)
    assert (made.snapshot, made.cleaned, made.repairs, made.unchanged) == (2, 3, 3, False)
    return lake


def test_cleaned_bars_are_read_only_when_asked_for(cleaned: Lake) -> None:
    raw = cleaned.bars(["A"], adjustment="raw")
    assert (raw.close["A"].tolist(), raw.snapshot) == (PRICES, 2)
    mended = cleaned.bars(["A", "B"], adjustment="raw", cleaned=True).close
    assert mended["A"].dropna().tolist() == [100.0, 101.0, 102.5, 103.0, *PRICES[5:], 139.0]
    assert mended["B"].dropna().tolist() == PRICES
    assert cleaned.rows(cleaned=True).close.tolist() == [*mended["A"].dropna(), *PRICES]
    assert cleaned.bars(["A"], adjustment="raw", cleaned=True, snapshot=1).close["A"].tolist() == PRICES
    ledger = cleaned.repairs(["A"], frequency="daily")
    assert ledger["rule"].tolist() == ["unit_error", "duplicate", "missing_sessions"]
    assert (ledger["policy"].unique().tolist(), ledger["raw_snapshot"].unique().tolist()) == (["p"], [1])


def test_the_same_cleaning_again_makes_no_snapshot(cleaned: Lake) -> None:
    again = cleaned.write_cleaned(pd.concat([CLEANED, ADDED]), REPAIRS, symbols=["A"], policy="p", raw_snapshot=2)
    assert (again.snapshot, again.unchanged) == (2, True)
    less = cleaned.write_cleaned(CLEANED, REPAIRS[:2], symbols=["A"], policy="p", raw_snapshot=2)
    assert (less.snapshot, less.cleaned, less.unchanged) == (3, 2, False)
    assert cleaned.repairs()["raw_snapshot"].tolist() == [1, 1]  # as when they were made
    assert len(cleaned.repairs(snapshot=2)) == 3


def test_a_load_that_restates_a_raw_bar_takes_its_repair_away(cleaned: Lake) -> None:
    restated = pd.concat([flat("A", [DAYS[2]], [101.5]), flat("A", ["2013-02-27"], [138.0])])
    result = cleaned.load(Frames("2", {"bars": restated}))
    assert (result.repairs_dropped, result.rows_restated, result.rows_added) == (2, 1, 1)
    closes = cleaned.bars(["A"], adjustment="raw", cleaned=True).close["A"]
    assert (closes.loc[DAYS[2]], closes.loc["2013-02-27"]) == (101.5, 138.0)
    assert DAYS[4] not in closes.index  # its repair holds
    assert cleaned.repairs()["at"].tolist() == [pd.Timestamp(DAYS[4])]
    assert cleaned.bars(["A"], adjustment="raw", cleaned=True, snapshot=2).close["A"].loc[DAYS[2]] == 102.5


def test_a_cleaning_of_raw_bars_that_have_changed_is_refused(cleaned: Lake) -> None:
    cleaned.load(Frames("2", {"bars": flat("A", [DAYS[2]], [101.5])}))
    with pytest.raises(
        DataError, match=r"^the raw bar of A at 2013-01-04 is new or another since the cleaned snapshot 2"
    ):
        cleaned.write_cleaned(CLEANED, REPAIRS[:2], symbols=["A"], policy="p", raw_snapshot=2)
    cleaned.write_cleaned(CLEANED[:0], REPAIRS[:0], symbols=["B"], policy="p", raw_snapshot=2)


def test_corrected_actions_are_applied_to_cleaned_reads_only(tmp_path: Path) -> None:
    listed = actions(("A", DAYS[10], "split", 2.0), ("A", DAYS[20], "dividend", 1.0))
    changed = actions(("A", DAYS[10], "split", 2.0), ("A", DAYS[12], "split", 4.0)).drop(columns="origin")
    with Lake(tmp_path) as lake:
        lake.load(Frames("1", bars("A", PRICES) | {"actions": listed}))
        lake.write_cleaned(
            CLEANED[:0],
            REPAIRS[:0],
            symbols=["A"],
            policy="p",
            raw_snapshot=1,
            actions=changed.assign(kept=[False, True]),
        )
        assert lake.actions()["value"].tolist() == [2.0, 1.0]
        assert lake.actions(cleaned=True)["value"].tolist() == [4.0, 1.0]
        assert lake.bars(["A"], cleaned=True).close["A"].iloc[11] == 111.0 / 4
        assert lake.bars(["A"]).close["A"].iloc[11] == 111.0
