from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from support.staging import Frames, actions, flat

from workbench.calendars import calendar
from workbench.data.lake import Lake
from workbench.errors import DataError

# Two figures of one quarter: published, then restated.
FUNDAMENTALS = pd.DataFrame(
    {
        "symbol": ["IBM", "IBM", "IBM"],
        "period": pd.to_datetime(["2012-12-31", "2012-12-31", "2013-03-31"]),
        "known": pd.to_datetime(["2013-01-22", "2013-02-26", "2013-04-18"]),
        "item": "revenue",
        "value": [29304e6, 29300e6, 23408e6],
        "unit": "USD",
        "origin": "by hand",
    }
)
DOCUMENTS = pd.DataFrame(
    {
        "symbol": ["IBM", "IBM"],
        "day": pd.to_datetime(["2013-01-22", "2013-04-18"]),
        "kind": ["8-K", "news"],
        "key": ["1", "2"],
        "body": [json.dumps({"items": ["2.02"]}), json.dumps({"title": "first quarter"})],
    }
)


def test_fundamentals_are_read_as_known_on_the_day(tmp_path: Path) -> None:
    with Lake(tmp_path) as lake:
        result = lake.load(Frames("1", {"fundamentals": FUNDAMENTALS}))
        assert result.beside["fundamentals"] == 3
        assert lake.fundamentals(["IBM"], on=date(2013, 1, 21)).empty
        assert lake.fundamentals(["IBM"], on=date(2013, 1, 22))["value"].tolist() == [29304e6]
        assert lake.fundamentals(["IBM"], on=date(2013, 3, 1))["value"].tolist() == [29300e6]
        latest = lake.fundamentals(items=["revenue"])
        assert latest["value"].tolist() == [29300e6, 23408e6]
        assert latest["period"].tolist() == [pd.Timestamp("2012-12-31"), pd.Timestamp("2013-03-31")]
        assert lake.fundamentals(items=["assets"]).empty


def test_documents_come_back_as_the_json_they_were(tmp_path: Path) -> None:
    with Lake(tmp_path) as lake:
        lake.load(Frames("1", {"documents": DOCUMENTS}))
        found = lake.documents(["IBM"], end=date(2013, 3, 31))
        assert [json.loads(body) for body in found["body"]] == [{"items": ["2.02"]}]
        assert lake.documents(kind="news")["key"].tolist() == ["2"]
        assert lake.load(Frames("2", {"documents": DOCUMENTS})).beside["documents"] == 0


def test_a_lake_without_these_tables_answers_with_empty_frames(tmp_path: Path) -> None:
    with Lake(tmp_path) as lake:
        lake.load(Frames("1", {"bars": flat("A", ["2013-01-02"], [1.0])}))
        for found in (lake.listings(), lake.fundamentals(), lake.documents(), lake.repairs(), lake.quarantine()):
            assert found.empty
        assert lake.documents().columns.tolist() == ["symbol", "day", "kind", "key", "body", "source"]
        assert len(lake.rows(frequency="minute")) == 0


def test_quarantined_rows_are_kept_with_their_reason(tmp_path: Path) -> None:
    bad = pd.DataFrame({"line": [7], "reason": ["close: not a number"], "row": [json.dumps({"close": "n/a"})]})
    with Lake(tmp_path) as lake:
        result = lake.load(Frames("1", {"bars": flat("A", ["2013-01-02"], [1.0]), "quarantine": bad}))
        assert (result.rows_added, result.quarantined) == (1, 1)
        found = lake.quarantine("file 1")
        assert found[["line", "reason"]].to_numpy().tolist() == [[7, "close: not a number"]]
        assert json.loads(found["row"].iloc[0]) == {"close": "n/a"}
        assert lake.quarantine("file 2").empty


def test_a_read_of_a_moment_is_the_snapshot_that_was_the_newest_then(tmp_path: Path) -> None:
    with Lake(tmp_path) as lake:
        for digest, close in (("1", 1.0), ("2", 2.0)):
            lake.load(Frames(digest, {"bars": flat("A", ["2013-01-02"], [close])}))
        moments = [stamp.to_pydatetime() for stamp in lake.snapshots()["at"]]
        assert [lake.snapshot(at=moment) for moment in moments] == [0, 1, 2]
        just_before = moments[2] - timedelta(microseconds=1)
        assert lake.bars(["A"], at=just_before).close["A"].tolist() == [1.0]
        assert lake.bars(["A"], at=moments[2]).close["A"].tolist() == [2.0]
        with pytest.raises(
            DataError, match=r"^the lake has no snapshot of 2000-01-01 00:00:00\+00:00; its first is of"
        ):
            lake.bars(["A"], at=datetime(2000, 1, 1, tzinfo=UTC))
        with pytest.raises(DataError, match=r"^the moment 2013-01-01 00:00:00 has no time zone"):
            lake.rows(at=datetime(2013, 1, 1))
        with pytest.raises(DataError, match=r"^a read names a snapshot \(1\) or a moment"):
            lake.rows(at=moments[2], snapshot=1)


def test_stock_dividends_are_splits_and_special_dividends_cash(tmp_path: Path) -> None:
    listed = actions(
        ("A", "2013-01-03", "stock_dividend", 0.25),
        ("A", "2013-01-04", "special_dividend", 1.5),
        ("A", "2013-01-04", "dividend", 0.5),
    )
    with Lake(tmp_path) as lake:
        lake.load(
            Frames("1", {"bars": flat("A", ["2013-01-02", "2013-01-03", "2013-01-04"], [10, 8, 8]), "actions": listed})
        )
        assert lake.actions(listed=True)["kind"].tolist() == ["stock_dividend", "special_dividend", "dividend"]
        took = lake.actions()
        assert took[["kind", "value"]].to_numpy().tolist() == [["split", 1.25], ["dividend", 2.0]]
        split = lake.bars(["A"])
        assert split.close["A"].tolist() == [8.0, 8.0, 8.0]
        assert split.volume["A"].tolist() == [1250.0, 1000.0, 1000.0]
        # 2 USD on a close of 8 leaves 1 / (1 + 2/8) = 0.8 of the prices before.
        assert lake.bars(["A"], adjustment="total").close["A"].tolist() == pytest.approx([6.4, 6.4, 8.0])


def test_plain_rows_are_the_bars_and_actions_without_pandas(sample_lake: Lake, tmp_path: Path) -> None:
    raw = sample_lake.bars(["ZEN"], end=date(2014, 6, 2), adjustment="raw")
    rows = sample_lake.history("ZEN", end=date(2014, 6, 2))
    assert [row[0] for row in rows] == [stamp.date() for stamp in raw.sessions]
    assert [row[4] for row in rows] == raw.close["ZEN"].tolist()
    assert sample_lake.history("NONE") == []
    found = sample_lake.action_rows(end=date(2005, 2, 28))
    assert ("AAPL", date(2005, 2, 28), "split", 2.0) in found
    assert found == sorted(found, key=lambda row: row[1])
    calendar("XNYS", tmp_path)  # worked out with pandas, and kept
    code = (
        "import sys; from datetime import date; from pathlib import Path; from workbench.data.lake import Lake\n"
        f"lake = Lake(Path({str(sample_lake.folder)!r}))\n"
        "day = lake.last_session(); lake.traded(day, ['ZEN']); lake.last_common_session(['ZEN', 'AAPL'])\n"
        "lake.symbols(), lake.history('ZEN'), lake.action_rows(), lake.loaded('x'), lake.is_empty()\n"
        "from workbench.calendars import calendar; from workbench.data.quality import check\n"
        "facts = {'notices': lake.notice_rows(), 'listings': lake.spells()}\n"
        f"hours = calendar('XNYS', Path({str(tmp_path)!r}))\n"
        "report = check(lake.rows(), lake.action_rows(listed=True), hours, **facts)\n"
        "assert report.verdict == 'block', report\n"
        "print([name for name in ('pandas', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_threads_share_a_lake(sample_lake: Lake) -> None:
    expected = {name: sample_lake.history(name) for name in ("IBM", "MSFT", "ZEN")}
    with Lake(sample_lake.folder, read_only=True) as lake, ThreadPoolExecutor(3) as pool:
        for name, rows in zip(list(expected) * 4, pool.map(lake.history, list(expected) * 4), strict=True):
            assert rows == expected[name]
