"""A load sorts on the disk what does not fit into its share of memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workbench.data.lake import Lake
from workbench.errors import DataError

LOAD = """
import sys
from pathlib import Path
from workbench.data import _ducklake
from workbench.data.dataset import Staged
from workbench.data.lake import Lake

class ByDate:
    name = digest = "by date"  # 500 symbols, session by session: every row has to move

    def stage(self, connection):
        connection.execute(
            "CREATE OR REPLACE TEMP VIEW staged_bars AS SELECT printf('S%03d', i % 500) AS symbol, "
            "DATE '2000-01-01' + (i // 500)::INT AS session, 100 + sin(i) AS open, 102 + sin(i) AS high, "
            "98 + sin(i) AS low, 101 + sin(i) AS close, 1e6 + i AS volume FROM range(2_000_000) AS t(i)")
        return Staged(bars="staged_bars")

def peak_mb():  # of this program alone: what getrusage says is handed down from the process that started it
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024

_ducklake.LOAD_MEMORY = "64MB"
with Lake(Path(sys.argv[1])) as lake:
    lake.load(ByDate())
    loaded = peak_mb()
    bars = lake.rows(["S000", "S499"])
    assert len(bars) == 8000 and bars.volume[0] == 1e6 and bars.volume[-1] == 1e6 + 1_999_999
print(loaded)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_a_load_that_is_larger_than_its_memory_is_sorted_on_the_disk(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LOAD, str(tmp_path)], check=True, capture_output=True, text=True)
    # The interpreter, DuckDB and its writer take 200 to 270 MB of it; sorted in memory it is 410 MB and more.
    assert int(done.stdout) < 350, done.stdout
    assert not list(tmp_path.glob("spill/*"))


def test_a_load_that_even_sorting_on_the_disk_is_too_large_for_says_what_to_do(tmp_path: Path) -> None:
    script = LOAD.replace('"64MB"', '"4MB"')
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, capture_output=True, text=True)
    told = done.stderr.splitlines()[-1]
    assert told.startswith("workbench.errors.DataError: loading by date: Out of Memory Error")
    assert told.endswith("it does not fit into the 4MB that a load works in: load it in parts")
    with Lake(tmp_path) as lake, pytest.raises(DataError, match="is empty"):  # nothing is half loaded
        lake.symbols()
