"""Several processes on one lake, one of them killed: real processes, started together, talking over pipes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from workbench.clock import ManualClock
from workbench.data.dataset import Dataset
from workbench.data.lake import Lake
from workbench.errors import DataError

Make = Callable[..., Dataset]
SOURCE = Path(__file__).parents[2] / "src"

# Common to all children: datasets of 50 sessions of one symbol, and a start on the parent's word.
CHILD = """
import sys
from pathlib import Path
import pandas as pd
from workbench.clock import SystemClock
from workbench.data.dataset import Dataset, no_actions
from workbench.data.lake import Lake

def dataset(symbol, price=1.0):
    bars = pd.DataFrame({"symbol": symbol, "session": pd.bdate_range("2013-01-02", periods=50)})
    for field in ("open", "high", "low", "close", "volume"):
        bars[field] = price
    return Dataset(bars, no_actions(), symbol, f"{symbol} {price}")

folder = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
"""
WRITER = """
with Lake(folder) as lake:
    for symbol in sys.argv[2:]:
        lake.load(dataset(symbol))
"""
# Reads until it has seen everything, and says how many rows a symbol ever had.
READER = """
import json
seen, snapshots, symbols = set(), [], 0
with Lake(folder, read_only=True) as lake:
    while symbols < int(sys.argv[2]):
        coverage = lake.coverage()
        symbols = len(coverage)
        seen.update(coverage["rows"].tolist())
        snapshots.append(lake.bars(coverage.index.tolist()).snapshot)
        lake.close()  # attaching is where processes get into each other's way
print(json.dumps([sorted(seen), snapshots == sorted(snapshots)]), flush=True)
"""
# Stops inside the transaction: the load asks for the time when all rows are written and nothing is committed.
STUCK = """
class Stuck(SystemClock):
    def now(self):
        print("in the transaction", flush=True)
        sys.stdin.readline()
        return super().now()

Lake(folder, clock=Stuck()).load(dataset("K"))
"""


@contextmanager
def child(code: str, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD + code, str(folder), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(SOURCE)},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def say(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_processes_load_while_two_read(tmp_path: Path, make_dataset: Make) -> None:
    with Lake(tmp_path) as lake:
        lake.load(make_dataset({"START": {f"2013-01-{day:02}": 1.0 for day in (2, 3, 4)}}, "start"))
    # START, five symbols of each writer, and one that both load: 12
    with ExitStack() as stack:
        writers = [
            stack.enter_context(child(WRITER, tmp_path, *(f"{name}{n}" for n in range(5)), "BOTH")) for name in "AB"
        ]
        readers = [stack.enter_context(child(READER, tmp_path, "12")) for _ in range(2)]
        for process in (*writers, *readers):
            say(process)
        for process in (*writers, *readers):
            output, errors = process.communicate(timeout=300)
            assert (process.returncode, errors) == (0, "")
            if process in readers:
                counts, in_order = json.loads(output)
                assert set(counts) <= {3, 50}  # never a part of a load
                assert in_order
    with Lake(tmp_path) as lake:
        rows = lake.coverage()["rows"].to_dict()
        assert rows == {"START": 3, "BOTH": 50} | {f"{name}{n}": 50 for name in "AB" for n in range(5)}
        assert lake.snapshot() == 12  # one for each load, and BOTH is one


def test_a_load_that_is_killed_leaves_the_snapshot_before_and_can_be_done_again(
    tmp_path: Path, make_dataset: Make
) -> None:
    data = make_dataset({"K": {"2013-01-02": 1.0}}, "again")
    with Lake(tmp_path) as lake:
        before = lake.load(make_dataset({"A": {"2013-01-02": 1.0}}, "1")).snapshot
        lake.close()
        with child(STUCK, tmp_path) as process:
            say(process)
            assert process.stdout is not None
            assert process.stdout.readline() == "in the transaction\n"
            process.send_signal(signal.SIGKILL)
            assert process.wait(timeout=300) == -signal.SIGKILL
        assert (lake.snapshot(), lake.symbols()) == (before, ["A"])
        result = lake.load(data)
        assert (result.rows_added, result.snapshot) == (1, before + 1)
        assert lake.symbols() == ["A", "K"]


def test_a_first_load_that_is_killed_can_be_done_again(tmp_path: Path, make_dataset: Make) -> None:
    with child(STUCK, tmp_path) as process:
        say(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "in the transaction\n"
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=300)
    with Lake(tmp_path) as lake:
        assert lake.is_empty()
        with pytest.raises(DataError, match=r"is empty; run: workbench data load$"):
            lake.symbols()
        assert lake.load(make_dataset({"K": {"2013-01-02": 1.0}}, "again")).rows_added == 1


class Release(ManualClock):
    """Lets go of the catalog when somebody has waited for it this many times."""

    def __init__(self, holder: duckdb.DuckDBPyConnection, waits: int) -> None:
        super().__init__(datetime(2013, 1, 4, tzinfo=UTC))
        self.holder = holder
        self.waits = waits

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.waits -= 1
        if self.waits == 0:
            self.holder.execute("ROLLBACK")


@pytest.fixture
def locked(tmp_path: Path, make_dataset: Make) -> Iterator[duckdb.DuckDBPyConnection]:
    """A lake in ``tmp_path`` whose catalog somebody else is writing to."""
    with Lake(tmp_path) as lake:
        lake.load(make_dataset({"A": {"2013-01-02": 1.0}}, "1"))
        assert lake._connection is not None
        # A second user of the same SQLite library: the one inside DuckDB.
        holder = lake._connection.cursor()
        holder.execute(f"ATTACH '{tmp_path / 'catalog.sqlite'}' AS catalog (TYPE sqlite)")
        holder.execute("BEGIN")
        holder.execute("UPDATE catalog.ducklake_snapshot SET snapshot_id = snapshot_id")
        yield holder


def test_a_load_waits_for_a_busy_catalog(tmp_path: Path, make_dataset: Make, locked: duckdb.DuckDBPyConnection) -> None:
    clock = Release(locked, waits=2)
    with Lake(tmp_path, clock=clock, jitter=lambda: 0.5) as lake:
        assert lake.load(make_dataset({"B": {"2013-01-02": 1.0}}, "2")).rows_added == 1
    assert clock.monotonic() == pytest.approx(0.01 + 0.02)


def test_a_connection_whose_transaction_is_aborted_is_opened_anew(tmp_path: Path, make_dataset: Make) -> None:
    clock = ManualClock(datetime(2013, 1, 4, tzinfo=UTC))
    with Lake(tmp_path, clock=clock, jitter=lambda: 0.5) as lake:
        lake.load(make_dataset({"A": {"2013-01-02": 1.0}}, "1"))
        assert lake._connection is not None
        lake._connection.execute("BEGIN")
        with pytest.raises(duckdb.Error):
            lake._connection.execute("SELECT error('no')")
        assert lake.symbols() == ["A"]
    assert clock.monotonic() == pytest.approx(0.01)


class Cut(ManualClock):
    """Fails the transaction of a load in such a way that its connection is of no more use, this many times."""

    def __init__(self, times: int) -> None:
        super().__init__(datetime(2013, 1, 4, tzinfo=UTC))
        self.lake: Lake | None = None
        self.times = times

    def now(self) -> datetime:
        if self.lake is not None and self.times:
            self.times -= 1
            assert self.lake._connection is not None
            self.lake._connection.execute("ROLLBACK")
            self.lake._connection.execute("DETACH lake")
            raise duckdb.TransactionException("database is locked")
        return super().now()


def test_a_load_whose_connection_is_lost_reads_its_source_again(tmp_path: Path, make_dataset: Make) -> None:
    # Often enough that a new connection is where an old one was: the load took it for the one it had staged in.
    clock = Cut(times=8)
    with Lake(tmp_path, clock=clock, jitter=lambda: 0.5) as lake:
        lake.load(make_dataset({"A": {"2013-01-02": 1.0}}, "1"))
        clock.lake, told = lake, []
        assert lake.load(make_dataset({"B": {"2013-01-02": 1.0}}, "2"), progress=told.append).rows_added == 1
        assert lake.symbols() == ["A", "B"]
    assert clock.times == 0
    assert told.count("reading file 2") == 9


def test_a_load_gives_up_on_a_catalog_that_stays_busy(
    tmp_path: Path, make_dataset: Make, locked: duckdb.DuckDBPyConnection
) -> None:
    clock = ManualClock(datetime(2013, 1, 4, tzinfo=UTC))
    with Lake(tmp_path, clock=clock, jitter=lambda: 0.5, patience_s=0.05) as lake:
        with pytest.raises(DataError, match=r"^loading file 2: other processes kept the lake busy for 0\.05 s"):
            lake.load(make_dataset({"B": {"2013-01-02": 1.0}}, "2"))
        locked.execute("ROLLBACK")
        assert lake.symbols() == ["A"]
    assert clock.monotonic() == pytest.approx(0.01 + 0.02 + 0.04)


def test_readers_do_not_wait_for_a_writer(tmp_path: Path, locked: duckdb.DuckDBPyConnection) -> None:
    clock = ManualClock(datetime(2013, 1, 4, tzinfo=UTC))
    for read_only in (False, True):
        with Lake(tmp_path, clock=clock, read_only=read_only) as lake:
            assert lake.bars(["A"]).close["A"].tolist() == [1.0]
    assert clock.monotonic() == 0


def test_nothing_is_written_to_the_home_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    process = subprocess.run(
        [sys.executable, "-c", CHILD + WRITER, str(tmp_path / "lake"), "A"],
        input="\n",
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(SOURCE), "HOME": str(home), "USERPROFILE": str(home)},
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert list(home.iterdir()) == []
