"""Ticker changes and reused tickers.

The spells are real: Facebook traded as FB from 2012-05-18 and as META from 2022-06-09; Roundhill's fund was META from
2021-06-30 to 2022-01-28.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pandas as pd
import pytest
from support.staging import Frames, actions, flat, listings

from workbench.data.lake import Lake
from workbench.errors import DataError

SPELLS = listings(
    ("meta-platforms", "FB", "2012-05-18", "2022-06-08"),
    ("meta-platforms", "META", "2022-06-09", None),
    ("roundhill", "META", "2021-06-30", "2022-01-28"),
    ("roundhill", "METV", "2022-01-31", None),
)
BARS = pd.concat(
    [
        flat("FB", ["2021-12-30", "2022-01-28", "2022-06-08"], [344.36, 301.71, 196.64]),
        flat("META", ["2021-12-30", "2022-01-28", "2022-06-09", "2022-06-10"], [15.5, 13.0, 184.0, 175.57]),
        flat("METV", ["2022-01-31", "2022-06-10"], [13.5, 8.5]),
        flat("IBM", ["2021-12-30", "2022-06-10"], [133.35, 136.19]),
    ]
)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with Lake(tmp_path_factory.mktemp("lake")) as made:
        made.load(Frames("1", {"bars": BARS}))
        split = actions(("FB", "2022-01-28", "split", 2.0), ("META", "2022-01-28", "split", 5.0))
        made.load(Frames("2", {"listings": SPELLS, "actions": split}))
        yield made


def test_a_ticker_gives_the_history_of_its_instrument_under_the_tickers_before(lake: Lake) -> None:
    bars = lake.bars(["META"], adjustment="raw")
    assert bars.close["META"].to_dict() == {
        pd.Timestamp("2021-12-30"): 344.36,
        pd.Timestamp("2022-01-28"): 301.71,
        pd.Timestamp("2022-06-08"): 196.64,
        pd.Timestamp("2022-06-09"): 184.0,
        pd.Timestamp("2022-06-10"): 175.57,
    }


def test_a_reused_ticker_is_the_instrument_of_the_last_session_read(lake: Lake) -> None:
    assert lake.bars(["META"], end=date(2022, 1, 28), adjustment="raw").close["META"].tolist() == [15.5, 13.0]
    assert lake.bars(["METV"], adjustment="raw").close["METV"].tolist() == [15.5, 13.0, 13.5, 8.5]


def test_an_old_ticker_ends_where_the_instrument_lost_it(lake: Lake) -> None:
    assert lake.bars(["FB"], adjustment="raw").close["FB"].tolist() == [344.36, 301.71, 196.64]


@pytest.mark.parametrize("end", [None, date(2022, 1, 28)])
def test_long_rows_follow_an_instrument_if_they_are_asked_to(lake: Lake, end: date | None) -> None:
    names = ["FB", "META", "METV"] if end is None else ["FB", "META"]
    wide = lake.bars(names, end=end, adjustment="raw").close
    rows = lake.rows(names, end=end, followed=True)
    assert {symbol: (rows.at[of].tolist(), rows.close[of].tolist()) for symbol, of in rows} == {
        symbol: (close.dropna().index.to_numpy().tolist(), close.dropna().tolist()) for symbol, close in wide.items()
    }
    assert lake.rows(["META"], end=end).close.tolist()[:2] == [15.5, 13.0]  # the ticker, whoever had it


def test_all_symbols_hold_every_instrument_once(lake: Lake) -> None:
    assert lake.bars(adjustment="raw").symbols == ["IBM", "META", "METV"]
    assert lake.bars(end=date(2021, 12, 30), adjustment="raw").symbols == ["FB", "IBM", "META"]
    assert lake.symbols() == ["FB", "IBM", "META", "METV"]


def test_actions_follow_the_instrument_and_adjust_only_its_own_bars(lake: Lake) -> None:
    assert lake.actions(["META"])[["symbol", "value"]].to_numpy().tolist() == [["META", 2.0]]
    assert lake.bars(["META"]).close["META"].iloc[0] == 344.36 / 2
    assert lake.bars(["METV"]).close["METV"].iloc[0] == 15.5 / 5


def test_before_the_listings_were_known_a_ticker_is_all_of_its_rows(lake: Lake) -> None:
    assert lake.bars(["META"], adjustment="raw", snapshot=1).close["META"].tolist() == [15.5, 13.0, 184.0, 175.57]
    assert lake.listings(snapshot=1).empty


def test_listings_of_a_ticker_are_the_spells_of_all_its_instruments(lake: Lake) -> None:
    found = lake.listings(["FB"])
    assert found[["instrument", "symbol"]].to_numpy().tolist() == [["meta-platforms", "FB"], ["meta-platforms", "META"]]
    assert found["last"].isna().tolist() == [False, True]
    assert len(lake.listings(["META"])) == 4


def test_who_was_not_listed_yet_has_no_bars(lake: Lake) -> None:
    with pytest.raises(DataError, match=r"^no bars of METV from the beginning to 2021-12-30; they were not listed"):
        lake.bars(["METV"], end=date(2021, 12, 30))


@pytest.mark.parametrize(
    ("spells", "message"),
    [
        (
            listings(("x", "FB", "2022-06-08", None)),
            r"^file bad: FB is listed as meta-platforms and as x on 2022-06-08",
        ),
        (
            listings(("roundhill", "MTV", "2023-01-03", None)),
            "^file bad: roundhill is listed as METV and as MTV on 2023",
        ),
        (
            listings(("y", "Y", "2022-06-08", "2022-06-07")),
            "^file bad: Y is listed from 2022-06-08, but only to 2022-06-07",
        ),
    ],
)
def test_spells_that_cannot_both_be_true_are_refused(lake: Lake, spells: pd.DataFrame, message: str) -> None:
    before = lake.snapshot()
    with pytest.raises(DataError, match=message):
        lake.load(Frames("bad", {"listings": spells}))
    assert lake.snapshot() == before
