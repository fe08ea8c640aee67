"""A writer that is killed, or has no room left: real processes, and what they leave behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.staging import Frames, flat

from workbench.data.lake import Lake
from workbench.errors import DataError

ROOT = Path(__file__).parents[3]
# 20,000 bars in one file; the process stops at the point it is told to, says so, and waits to be killed.
CHILD = """
import sys
from pathlib import Path
import pandas as pd
from workbench.clock import SystemClock
from workbench.data import _merge
from workbench.data.lake import Lake
from support.staging import Frames, flat

def stop():
    print("here", flush=True)
    sys.stdin.readline()

class Stuck(SystemClock):
    def now(self):
        if point == "written":
            stop()
        return super().now()

class Source(Frames):
    def stage(self, connection):
        made = super().stage(connection)
        if point == "staged":
            stop()
        return made

folder, point = Path(sys.argv[1]), sys.argv[2]
bars = flat("K", [f"{day:%Y-%m-%d}" for day in pd.bdate_range("1930-01-02", periods=20_000)], [1.0] * 20_000)
lake = Lake(folder, clock=Stuck())
if point == "committed":
    settle = lake._settle
    lake._settle = lambda connection: (stop(), settle(connection))
lake.load(Source("K", {"bars": bars}))
"""


def parquet(folder: Path) -> set[str]:
    return {path.name for path in (folder / "files").rglob("*.parquet")}


def killed_at(point: str, folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), point],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n", process.communicate()[1]
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL


@pytest.mark.parametrize("point", ["staged", "written", "committed"])
def test_a_load_that_is_killed_is_done_whole_or_not_at_all(tmp_path: Path, point: str) -> None:
    with Lake(tmp_path) as lake:
        before = lake.load(Frames("1", {"bars": flat("A", ["2013-01-02"], [1.0])})).snapshot
        known = parquet(tmp_path)
        killed_at(point, tmp_path)
        done = point == "committed"
        assert (lake.snapshot(), lake.symbols()) == ((before + 1, ["A", "K"]) if done else (before, ["A"]))
        assert bool(parquet(tmp_path) - known) == (point != "staged")
        again = Frames("2", {"bars": flat("K", ["1930-01-02", "2013-01-02"], [1.0, 2.0])})
        assert lake.load(again).rows_added == (1 if done else 2)
        named = lake._rows("SELECT path FROM __ducklake_metadata_lake.ducklake_data_file")
        assert parquet(tmp_path) == {Path(str(row[0])).name for row in named}  # no file that no snapshot refers to
        assert lake.rows(["K"]).close[-1] == 2.0
        assert not list((tmp_path / "writers").iterdir())


def test_files_of_a_load_that_is_under_way_are_left_alone(tmp_path: Path) -> None:
    with Lake(tmp_path) as lake:
        lake.load(Frames("1", {"bars": flat("A", ["2013-01-02"], [1.0])}))
        lake.close()
        killed_at("written", tmp_path)
        (orphan,) = parquet(tmp_path) - {
            Path(str(row[0])).name for row in lake._rows("SELECT path FROM __ducklake_metadata_lake.ducklake_data_file")
        }
        with lake._writing():  # sweeps, and is a writer from here on
            assert orphan not in parquet(tmp_path)
            marks = list((tmp_path / "writers").iterdir())
            with Lake(tmp_path) as other, other._writing():
                assert len(list((tmp_path / "writers").iterdir())) == len(marks) + 1


FULL = """
import resource, signal, sys
from pathlib import Path
from workbench.data.lake import Lake
from workbench.errors import DataError
from support.staging import Frames, flat
import pandas as pd
days = [f"{day:%Y-%m-%d}" for day in pd.bdate_range("1930-01-02", periods=20_000)]
bars = pd.concat([flat(f"S{n}", days, [hash((n, at)) % 10**9 / 7 for at in range(20_000)]) for n in range(10)])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    Lake(Path(sys.argv[1])).load(Frames("big", {"bars": bars}))
except DataError as error:
    print(error)
"""


def test_a_full_disk_gets_one_line_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    with Lake(tmp_path) as lake:
        before = lake.load(Frames("1", {"bars": flat("A", ["2013-01-02"], [1.0])})).snapshot
        known = parquet(tmp_path)
        done = subprocess.run(
            [sys.executable, "-c", FULL, str(tmp_path)],
            capture_output=True, text=True, check=False,
            env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"},
        )  # fmt: skip
        assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
        assert done.stdout.startswith("loading file big: ")
        assert "no room" in done.stdout
        assert (lake.snapshot(), parquet(tmp_path)) == (before, known)
        assert lake.load(Frames("2", {"bars": flat("A", ["2013-01-03"], [1.0])})).rows_added == 1


def test_small_files_are_merged_before_they_slow_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.data._maintenance._MANY_FILES", 8)
    days = ["2013-01-02", "2013-01-03", "2013-01-04", "2013-01-07", "2013-01-08", "2013-01-09"]
    with Lake(tmp_path) as lake:
        snapshots = [
            lake.load(Frames(day, {"bars": flat("A", [day], [float(at)])})).snapshot for at, day in enumerate(days)
        ]
        assert "small files merged" in lake.snapshots()["note"].tolist()
        assert len(lake._rows("SELECT 1 FROM ducklake_list_files('lake', 'bars')")) < len(days)
        for at, snapshot in enumerate(snapshots):
            assert lake.rows(snapshot=snapshot).close.tolist() == [float(n) for n in range(at + 1)]
        with pytest.raises(DataError, match="reading only"):
            Lake(tmp_path, read_only=True).compact()
