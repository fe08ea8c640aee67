from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from workbench.data.lake import Lake
from workbench.data.sample import load_sample, read_sample
from workbench.data.sources import read_wiki
from workbench.errors import DataError

BARE = "Ticker,Date,Open,High,Low,Close,Volume,Adj Close"
FULL = "ticker,date,open,high,low,close,volume,ex-dividend,split_ratio,adj_close"
ROW = "IBM,2013-02-05,204.31,204.75,202.51,202.79,3636900,174.429963"
NEXT = "IBM,2013-02-06,200.39,201.29,199.56,201.02,3624200,173.638624"


def write(folder: Path, *lines: str, name: str = "prices.csv") -> Path:
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return file


def test_a_file_without_listed_actions_is_read_and_its_actions_derived(tmp_path: Path) -> None:
    dataset = read_wiki(write(tmp_path, BARE, ROW, NEXT))
    assert dataset.source == "prices.csv"
    assert dataset.bars.drop(columns="session").to_numpy().tolist() == [
        ["IBM", 204.31, 204.75, 202.51, 202.79, 3_636_900.0],
        ["IBM", 200.39, 201.29, 199.56, 201.02, 3_624_200.0],
    ]
    # (173.638624 / 201.02) / (174.429963 / 202.79) = 1.0042284, so 0.85 on a close of 201.02
    assert dataset.actions[["kind", "value", "origin"]].to_numpy().tolist() == [
        ["dividend", 0.85, "derived from adj_close"]
    ]


def test_a_file_with_listed_actions_is_read_with_them(tmp_path: Path) -> None:
    rows = [
        "BRK_A,2014-06-06,10,11,9,10,300,0,1,1",
        "BRK_A,2014-06-09,5,6,4,5,300,0.5,2,1",
    ]
    dataset = read_wiki(write(tmp_path, FULL, *rows))
    assert dataset.actions[["symbol", "kind", "value", "origin"]].to_numpy().tolist() == [
        ["BRK_A", "split", 2.0, "published"],
        ["BRK_A", "dividend", 0.5, "published"],
    ]


def test_a_gzipped_file_is_read_like_a_plain_one(tmp_path: Path) -> None:
    plain = read_wiki(write(tmp_path, BARE, ROW))
    packed = tmp_path / "prices.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "prices.csv").read_bytes()))
    assert read_wiki(packed).bars.equals(plain.bars)


def test_rows_may_come_in_any_order(tmp_path: Path) -> None:
    assert read_wiki(write(tmp_path, BARE, NEXT, ROW)).actions["value"].tolist() == [0.85]


def test_the_same_content_has_the_same_digest_under_any_name(tmp_path: Path) -> None:
    one = read_wiki(write(tmp_path, BARE, ROW, name="one.csv"))
    two = read_wiki(write(tmp_path, BARE, ROW, name="two.csv"))
    other = read_wiki(write(tmp_path, BARE, ROW, NEXT, name="other.csv"))
    assert one.digest == two.digest != other.digest


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([BARE, ROW, NEXT.replace("199.56", "19x.56")], r", line 3, column 'Low': is not a number \(got '19x.56'\)"),
        ([BARE, ROW, NEXT.replace("3624200", "")], r", line 3, column 'Volume': is not a number \(got ''\)"),
        ([BARE, ROW.replace("204.31", "inf")], r", line 2, column 'Open': is not a number \(got 'inf'\)"),
        ([BARE, ROW.replace("2013-02-05", "05.02.2013")], r", line 2, column 'Date': .*\(got '05.02.2013'\)"),
        ([BARE, ROW.replace("2013-02-05", "2013-02-30")], r", line 2, column 'Date': is not a date like"),
        ([BARE, ROW.replace("IBM", " ")], ", line 2, column 'Ticker': is empty"),
        ([BARE, ROW, "", NEXT], ", line 3, column 'Ticker': is empty"),
        ([BARE, ROW, ROW], ", line 3, column 'Date': the symbol has this session already"),
        ([BARE, ROW, NEXT + ",7"], ": Expected 8 fields in line 3, saw 9"),
        ([BARE, ROW, "IBM,2013-02-06,200.39"], r", line 3, column 'High': is not a number"),
        ([BARE, ROW.replace("174.429963", "0")], ", line 2, column 'Adj Close': is not above zero"),
        ([BARE.replace("Low", "Lo"), ROW], r", line 1: there is no column 'Low'; did you mean Lo"),
        ([BARE], ": there are no rows below the header"),
        ([FULL, "A,2014-01-02,1,1,1,1,1,0,0,1"], ", line 2, column 'split_ratio': is below"),
        ([FULL, "A,2014-01-02,1,1,1,1,1,-1,1,1"], ", line 2, column 'ex-dividend': is below"),
    ],
)
def test_a_malformed_file_is_refused_with_line_and_column(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=rf"^wiki_bad\.csv{message}") as caught:
        read_wiki(write(tmp_path, *lines, name="wiki_bad.csv"))
    assert "\n" not in str(caught.value)


def test_a_malformed_file_loads_nothing(tmp_path: Path) -> None:
    write(tmp_path, BARE, ROW, NEXT.replace("199.56", "x"), name="wiki_bad.csv")
    with Lake(tmp_path / "lake") as lake:
        with pytest.raises(DataError, match="line 3, column 'Low'"):
            load_sample(lake, tmp_path)
        assert lake.is_empty()


def test_prices_whose_adjustment_makes_no_sense_are_refused(tmp_path: Path) -> None:
    # the adjusted close halves while the raw close stands: no split and no dividend does that
    with pytest.raises(DataError, match=r"^IBM: the adjusted close of 2013-02-06 implies a factor of 0\.50"):
        read_wiki(write(tmp_path, BARE, ROW, NEXT.replace("173.638624", "86.819312")))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the file is empty"), (b"\x1f\x8bnot really", "cannot be read"), (b"\xff\xfe,\xff", "cannot be read")],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / ("prices.csv.gz" if content[:2] == b"\x1f\x8b" else "prices.csv")
    file.write_bytes(content)
    with pytest.raises(DataError, match=rf"^{file.name}: {message}"):
        read_wiki(file)


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^wiki\.csv: cannot be read: No such file"):
        read_wiki(tmp_path / "wiki.csv")
    with pytest.raises(DataError, match=r"^no wiki_\*\.csv\* in "):
        read_sample(tmp_path)


def test_the_sample_is_what_its_readme_says(sample_folder: Path) -> None:
    old, new = read_sample(sample_folder)
    assert old.bars.groupby("symbol").size().to_dict() == {
        "AAPL": 3270,
        "FB": 196,
        "GOOG": 2148,
        "IBM": 3270,
        "MSFT": 3270,
    }
    assert new.bars.groupby("symbol").size().to_dict() == {"AAPL": 252, "BRK_A": 252, "MSFT": 252, "ZEN": 160}
    assert set(old.actions["origin"]) == {"derived from adj_close"}
    assert set(new.actions["origin"]) == {"published"}
    assert old.notices["symbol"].tolist() == ["GOOG"]
