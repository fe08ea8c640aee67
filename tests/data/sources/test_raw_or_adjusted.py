"""Whether prices are as traded is told from them, with a reason, or has to be declared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data.sources.conftest import Desk

from workbench.data.sources import Reading
from workbench.data.sources.files import FileSource
from workbench.errors import DataError

# Apple's split of four on 2020-08-31, as Yahoo shows it: divided by four before, whole cents after.
ADJUSTED = [
    "2020-08-27,127.142502,127.485001,123.832497,125.010002,155552400,0",
    "2020-08-28,126.012497,126.442497,124.577499,124.807503,187630000,0",
    "2020-08-31,127.580002,131.000000,126.000000,129.039993,225702700,4",
    "2020-09-01,132.759995,134.800003,130.529999,134.179993,151948100,0",
]
# The same sessions as traded: four times the price and a quarter of the shares.
TRADED = [
    "2020-08-27,508.57,509.94,495.33,500.04,38888100,0",
    "2020-08-28,504.05,505.77,498.31,499.23,46907500,0",
    *ADJUSTED[2:],
]
LISTED = "Date,Open,High,Low,Close,Volume,Stock Splits"


def test_a_listed_split_without_a_step_shows_adjusted_prices_and_they_are_made_raw(desk: Desk) -> None:
    found = desk.bars("AAPL.csv", LISTED, *ADJUSTED, adjusted=None)
    assert [row[1] for row in found] == ["2020-08-27", "2020-08-28", "2020-08-31", "2020-09-01"]
    closes = [row[5] for row in found]
    np.testing.assert_allclose(closes, [500.04, 499.23, 129.04, 134.18], rtol=1e-6)
    assert [row[6] for row in found] == [38_888_100.0, 46_907_500.0, 225_702_700.0, 151_948_100.0]
    assert [row[2:4] for row in desk.table(desk.staged.actions)] == [("split", 4.0)]
    assert desk.staged.notices is None
    assert (
        "prices are adjusted for splits: the split of 4 of AAPL on 2020-08-31 leaves no step in the prices "
        "(close 124.808 before, open 127.58)" in desk.staged.assumptions
    )


def test_a_listed_split_with_a_step_shows_raw_prices(desk: Desk) -> None:
    found = desk.bars("AAPL.csv", LISTED, *TRADED, adjusted=None)
    assert [row[5] for row in found] == [500.04, 499.23, 129.039993, 134.179993]
    assert [row[2:4] for row in desk.table(desk.staged.actions)] == [("split", 4.0)]
    assert any(note.startswith("prices are as traded: the split of 4 of AAPL") for note in desk.staged.assumptions)


def test_a_declaration_stands_but_is_told_what_speaks_against_it(desk: Desk) -> None:
    desk.bars("AAPL.csv", LISTED, *ADJUSTED, adjusted=False)
    assert any("declared, although the split of 4" in note for note in desk.staged.assumptions)


def test_prices_without_a_clue_have_to_be_declared(desk: Desk) -> None:
    rows = [row.rsplit(",", 1)[0] for row in ADJUSTED]
    header = LISTED.rsplit(",", 1)[0]
    with pytest.raises(DataError, match=r"whether prices are as traded or adjusted; say --raw .*--adjusted"):
        desk.bars("AAPL.csv", header, *rows, adjusted=None)
    desk.bars("AAPL.csv", header, *rows, adjusted=True)
    assert desk.table(desk.staged.notices, "symbol, first::VARCHAR, last::VARCHAR, detail") == [
        (
            "AAPL", "2020-08-27", "2020-09-01",
            "AAPL.csv has prices adjusted for splits by its source, not as traded",
        )
    ]  # fmt: skip
    assert desk.staged.actions is None


def test_the_sample_is_told_to_be_raw_by_its_own_splits(desk: Desk, sample_folder: Path) -> None:
    # the same file through the general reader and through the one that was written for it
    from workbench.data.sources import read_wiki

    file = sample_folder / "wiki_2000_2013_AAPL_FB_GOOG_IBM_MSFT.csv.gz"
    found = desk.read(FileSource(file))
    known = read_wiki(file)
    assert len(found) == len(known.bars) == 12_154
    assert any(
        note.startswith("prices are as traded: the close steps at the split of 2") for note in desk.staged.assumptions
    )
    key = ["symbol", "ex_date", "kind"]
    theirs = known.actions.sort_values(key)[[*key, "value"]]
    ours = desk.connection.execute(
        f"SELECT symbol, ex_date::TIMESTAMP_NS AS ex_date, kind, value FROM {desk.staged.actions} ORDER BY ALL"
    ).df()
    assert ours.to_numpy().tolist() == theirs.to_numpy().tolist()


def closes(count: int, divisor: float) -> list[str]:
    """Rows in whole cents, divided by a later split; the adjusted close is lower by one dividend before the middle."""
    rows = []
    for at in range(count):
        close = round((100 + 7 * np.sin(at)) * divisor, 2) / divisor
        factor = 0.99 if at < count // 2 else 1.0
        day = pd.Timestamp("2013-01-01") + pd.Timedelta(days=at)
        rows.append(f"{day:%Y-%m-%d},{close:.6f},{close:.6f},{close:.6f},{close:.6f},{close * factor:.6f},1000")
    return rows


def test_an_adjusted_close_beside_closes_in_whole_cents_shows_raw_prices(desk: Desk) -> None:
    header = "Date,Open,High,Low,Close,Adj Close,Volume"
    desk.bars("KO.csv", header, *closes(40, 1), adjusted=None)
    assert (
        "prices are as traded: there is an adjusted close besides, and closes are in whole cents"
        in desk.staged.assumptions
    )
    ((_, day, kind, value, _),) = desk.table(desk.staged.actions)
    assert (str(day), kind) == ("2013-01-21", "dividend")
    # 1 / 0.99 - 1 of the close of that day, which is 100 + 7 sin(20)
    assert value == pytest.approx((1 / 0.99 - 1) * 106.39, abs=0.005)
    with pytest.raises(DataError, match=r"closes such as 106\.365714 are not in whole cents, as if divided"):
        desk.bars("KO.csv", header, *closes(40, 7), adjusted=None)


def test_numbers_that_went_through_32_bits_make_no_phantom_dividends(desk: Desk) -> None:
    rng = np.random.default_rng(7)
    price = np.round(30 + np.cumsum(rng.normal(0, 0.3, 500)), 2)
    factor = np.where(np.arange(500) < 250, 0.985, 1.0)
    days = pd.bdate_range("2013-01-01", periods=500)
    raw, adjusted = price.astype(np.float32), (price * factor).astype(np.float32)
    rows = [
        f"{day:%Y-%m-%d},{c:.6f},{c:.6f},{c:.6f},{c:.6f},{a:.6f},1000"
        for day, c, a in zip(days, raw, adjusted, strict=True)
    ]
    desk.bars("KO.csv", "Date,Open,High,Low,Close,Adj Close,Volume", *rows, adjusted=None)
    assert [(str(row[1]), row[2]) for row in desk.table(desk.staged.actions)] == [(f"{days[250]:%Y-%m-%d}", "dividend")]


def test_listed_dividends_become_actions_and_empty_cells_are_none(desk: Desk) -> None:
    # Tiingo's names
    header = "date,close,high,low,open,volume,adjClose,divCash,splitFactor"
    rows = [
        "2013-02-05,202.79,204.75,202.51,204.31,3636900,171.2,0.0,1.0",
        "2013-02-06,201.02,201.29,199.56,200.39,3624200,170.4,0.85,",
    ]
    desk.bars("IBM.csv", header, *rows)
    assert [(row[0], str(row[1]), *row[2:]) for row in desk.table(desk.staged.actions)] == [
        ("IBM", "2013-02-06", "dividend", 0.85, "published")
    ]


def test_files_with_and_without_a_column_of_dividends_are_one_load(desk: Desk) -> None:
    desk.write(
        "KO.csv", "Date,Open,High,Low,Close,Volume,Dividends", "2013-02-05,1,1,1,1,5,0", "2013-02-06,1,1,1,1,5,0.28"
    )
    desk.write("IBM.csv", "Date,Open,High,Low,Close,Volume", "2013-02-05,1,1,1,1,5")
    assert len(desk.read(FileSource(desk.folder, Reading(adjusted=False)))) == 3
    assert [row[:1] + row[2:4] for row in desk.table(desk.staged.actions)] == [("KO", "dividend", 0.28)]
    desk.write("GE.csv", "Date,Open,High,Low,Close,Volume,Adj Close", "2013-02-05,1,1,1,1,5,1")
    with pytest.raises(DataError, match="some of it has an adjusted close and some has not; load these apart"):
        desk.read(FileSource(desk.folder, Reading(adjusted=False)))


def test_an_impossible_split_is_refused(desk: Desk) -> None:
    with pytest.raises(DataError, match="AAPL has a split of -4 on 2020-08-31; it is at least 0"):
        desk.bars("AAPL.csv", LISTED, *(row[:-1] + "-4" if row.endswith(",4") else row for row in ADJUSTED))
