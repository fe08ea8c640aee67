"""The files that spare a small lake's readers DuckDB: the same answers, and never those of another state."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from support.staging import Frames, actions, flat, listings

from workbench.clock import ManualClock
from workbench.data._reading import Reader
from workbench.data._small import SmallReader
from workbench.data.lake import Lake

PIECES = ["AAPL", "FB", "ZEN"]


def later() -> ManualClock:
    """A clock to which whatever is on the disk has been there for an hour."""
    return ManualClock(datetime.now(UTC) + timedelta(hours=1))


@pytest.fixture
def lake(tmp_path: Path, sample_lake: Lake) -> Lake:
    shutil.copytree(sample_lake.folder, tmp_path / "lake", ignore=shutil.ignore_patterns("cache"))
    return Lake(tmp_path / "lake", clock=later())


QUESTIONS: dict[str, Callable[[Reader], object]] = {
    "symbols": lambda r: r.symbols,
    "coverage": lambda r: r.coverage(None),
    "coverage of two": lambda r: r.coverage(["ZEN", "AAPL"]),
    "coverage of none": lambda r: r.coverage(["X"]),
    "last session": lambda r: r.last_session(),
    "traded": lambda r: r.traded(date(2013, 3, 1), None),
    "traded of two": lambda r: r.traded(date(2014, 5, 15), ["ZEN", "IBM"]),
    "nobody traded": lambda r: r.traded(date(2013, 6, 3), None),
    "last common": lambda r: r.last_common(["AAPL", "IBM"], date.max),
    "last common before": lambda r: r.last_common(["AAPL", "IBM"], date(2013, 1, 1)),
    "no common": lambda r: r.last_common(["ZEN", "FB"], date.max),
    "common of an unknown": lambda r: r.last_common(["ZEN", "X"], date.max),
    "history": lambda r: r.history(r.listings.pieces(["ZEN"], date.max), date.min, date(2014, 6, 2)),
    "history since": lambda r: r.history(r.listings.pieces(["ZEN"], date.max), date(2014, 5, 20), date(2014, 6, 2)),
    "actions": lambda r: r.actions(None, date.min, date.max),
    "some actions": lambda r: r.actions(["AAPL", "IBM"], date(2005, 1, 1), date(2012, 12, 31)),
    "notices": lambda r: r.notices(["GOOG", "IBM"]),
    "listings": lambda r: bool(r.listings),
}


def test_the_file_answers_as_the_lake_does(lake: Lake) -> None:
    for snapshot in (1, 2):
        kept, asked = lake._kept(snapshot), lake._sql(snapshot)
        assert isinstance(kept, SmallReader)
        for name, question in QUESTIONS.items():
            assert question(kept) == question(asked), name
        pieces = asked.listings.pieces(PIECES, date.max)
        columns = [reader.bars(pieces, date(2012, 1, 3), date(2014, 6, 2)) for reader in (kept, asked)]
        order = [np.lexsort((found["day"], found["code"])) for found in columns]
        for name, values in columns[1].items():
            assert (columns[0][name][order[0]] == values[order[1]]).all()


def test_a_read_of_a_kept_snapshot_opens_no_database(lake: Lake) -> None:
    first = lake.bars(["AAPL", "ZEN"], adjustment="total")
    with Lake(lake.folder, clock=later()) as other:
        again = other.bars(["AAPL", "ZEN"], adjustment="total")
        assert (other.symbols(), other.last_session(), other.loaded("x")) == (lake.symbols(), date(2014, 12, 31), None)
        assert not other.is_empty()
        assert other._connection is None
    assert again.close.equals(first.close)
    assert again.volume.equals(first.volume)


def test_a_load_is_seen_at_once_by_whoever_read_a_kept_snapshot(lake: Lake) -> None:
    lake.symbols()
    digest = next(iter(lake._kept(2)._header["loads"]))  # type: ignore[union-attr]
    assert lake.loaded(digest) == Lake(lake.folder).loaded(digest)
    with Lake(lake.folder) as writer:
        writer.load(Frames("1", {"bars": flat("NEW", ["2015-01-02"], [1.0])}))
        assert (lake.snapshot(), lake.last_session()) == (3, date(2015, 1, 2))
        writer.load(
            Frames(
                "2",
                {
                    "listings": listings(("i", "NEW", "2015-01-02", None)),
                    "actions": actions(("NEW", "2015-01-02", "split", 2)),
                },
            )
        )
        assert lake.actions(["NEW"])["value"].tolist() == [2.0]
        assert "NEW" not in lake.symbols(snapshot=2)
        assert lake.history("NEW") == [(date(2015, 1, 2), 1.0, 1.0, 1.0, 1.0, 1000.0)]
    assert len(list((lake.folder / "cache").iterdir())) == 1  # of the newest state only


def test_a_torn_file_is_not_believed(lake: Lake) -> None:
    expected = lake.history("ZEN")
    (file,) = (lake.folder / "cache").rglob("*.bars")
    whole = file.read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole[:-100] + b"x" + whole[-99:]):
        file.unlink()
        file.write_bytes(content)
        with Lake(lake.folder, clock=later()) as other:
            assert other.history("ZEN") == expected
            assert other._connection is not None
        assert file.read_bytes() == whole  # made again


def test_a_lake_that_was_put_back_is_read_as_it_is(lake: Lake, tmp_path: Path) -> None:
    lake.close()
    shutil.copytree(lake.folder, tmp_path / "backup")
    lake.load(Frames("1", {"bars": flat("A", ["2015-01-02"], [1.0])}))
    assert lake.history("A", snapshot=3)[0][1] == 1.0
    lake.close()
    for name in ("catalog.sqlite", "files"):  # whoever restores it may leave the cache where it is
        target = lake.folder / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        source = tmp_path / "backup" / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
    lake.load(Frames("2", {"bars": flat("A", ["2015-01-02"], [2.0])}))
    assert lake.history("A", snapshot=3)[0][1] == 2.0


def test_a_young_state_is_not_kept(lake: Lake) -> None:
    with Lake(lake.folder) as now:
        now.load(Frames("1", {"bars": flat("A", ["2015-01-02"], [1.0])}))
        now.symbols()
    assert not list(lake.folder.glob("cache/*/3.bars"))


def test_a_folder_that_cannot_be_written_to_is_read_all_the_same(lake: Lake) -> None:
    (lake.folder / "cache").write_text("in the way")
    assert lake.last_session() == date(2014, 12, 31)
