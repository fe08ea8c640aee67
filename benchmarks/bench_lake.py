"""How fast the lake is read and added to at 25 million daily bars, against a plain Parquet file read by DuckDB."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
from measurement import Measurement, kept_bytecode

from workbench.data.dataset import Staged
from workbench.data.lake import Lake

SYMBOLS, SESSIONS = 5_000, 5_000
READ = 12  # symbols that are read, each once after the first
MERGED = 2_000_000
_BARS = f"""
    SELECT printf('S%04d', i // {SESSIONS}) AS symbol,
        DATE '2000-01-03' + ((i % {SESSIONS}) * 7 // 5)::INT AS session,
        x AS open, round(x * 1.01, 2) AS high, round(x * 0.99, 2) AS low, round(x + 0.01, 2) AS close,
        round(1e6 * (1 + x / 500)) AS volume
    FROM (SELECT i, round(100 + 50 * sin(i) + (hash(i) % 1000) / 100, 2) AS x FROM range({SYMBOLS * SESSIONS}) t(i))"""
_SAMPLE = Path(__file__).parents[1] / "data" / "sample"
_FRESH = """
import sys, time
from datetime import date
from pathlib import Path
from workbench.data.lake import Lake
began = time.perf_counter()
lake = Lake(Path(sys.argv[1]))
snapshot = lake.snapshot()
lake.symbols(snapshot), lake.traded(date(2014, 5, 15), snapshot=snapshot), lake.last_session(snapshot)
lake.history("AAPL", snapshot=snapshot), lake.action_rows(snapshot=snapshot)
print(time.perf_counter() - began)
"""

# The same bars session by session, so that every row has to move.
_BY_DATE = _BARS.replace(f"i // {SESSIONS}", f"i % {SYMBOLS}").replace(f"(i % {SESSIONS})", f"(i // {SYMBOLS})")
_MEMORY = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from bench_lake import Rows
from measurement import high_water_kb
from workbench.data.lake import Lake
with Lake(Path(sys.argv[1])) as lake:
    lake.load(Rows("by date", f"SELECT * FROM '{sys.argv[2]}'"))
print(high_water_kb())
"""


class Rows:
    """A source that stages a query."""

    def __init__(self, digest: str, query: str) -> None:
        self.digest = self.name = digest
        self._query = query

    def stage(self, connection: duckdb.DuckDBPyConnection) -> Staged:
        connection.execute(f"CREATE OR REPLACE TEMP VIEW staged_bars AS {self._query}")
        return Staged(bars="staged_bars")


class Dividends:
    """A dividend a quarter for every symbol."""

    digest = name = "dividends"

    def stage(self, connection: duckdb.DuckDBPyConnection) -> Staged:
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE staged_actions AS SELECT printf('S%04d', i // 77) AS symbol, "
            "DATE '2000-02-01' + ((i % 77) * 90)::INT AS ex_date, 'dividend' AS kind, 0.25 AS value, "
            f"'published' AS origin FROM range({SYMBOLS} * 77) AS t(i)"
        )
        return Staged(actions="staged_actions")


def run() -> list[Measurement]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "bars.parquet"
        duckdb.execute(f"COPY ({_BARS}) TO '{file}'")
        with Lake(folder / "lake") as lake:
            loaded = _seconds(lambda: lake.load(Rows("all", f"SELECT * FROM '{file}'")))
            plain = _seconds(lambda: duckdb.execute(f"COPY (SELECT * FROM '{file}') TO '{folder / 'copy.parquet'}'"))
            lake.load(Dividends())
            found = [
                Measurement.at_least("merge into a new lake", SYMBOLS * SESSIONS / loaded / 1e6, "million rows/s", 2.0),
                Measurement.shown("merge against DuckDB's copy of the file", plain / loaded, "x"),
                *_read(lake, file),
                *_add(lake, file),
            ]
    return [*found, _memory(), *_fresh()]


def _memory() -> Measurement:
    """What a process takes that loads 25 million rows by date: the operating system's largest figure for it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "by_date.parquet"
        duckdb.execute(f"COPY ({_BY_DATE}) TO '{file}'")
        command = [sys.executable, "-c", _MEMORY, str(folder / "lake"), str(file), str(Path(__file__).parent)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Measurement.at_most("memory of a load of 25 million rows", int(done.stdout) / 1024, "MB", 1500.0)


def _read(lake: Lake, file: Path) -> list[Measurement]:
    """One symbol of the whole, warm: the lake's files are open, the symbol was not read before."""
    names = [f"S{at * SYMBOLS // (READ + 1):04d}" for at in range(READ + 1)]
    snapshot = lake.snapshot()
    with duckdb.connect() as connection:

        def plainly(symbol: str) -> None:
            connection.execute(f"SELECT * FROM '{file}' WHERE symbol = '{symbol}'").fetchnumpy()

        def ours(**options: Any) -> float:
            times = [_seconds(lambda n=n: lake.bars([n], snapshot=snapshot, **options)) for n in names]
            return median(times[1:]) * 1e3

        raw, split, total = (ours(adjustment=kind) for kind in ("raw", "split", "total"))
        cleaned = ours(adjustment="total", cleaned=True)
        theirs = [_seconds(lambda n=n: plainly(n)) for n in names][1:]
    return [
        Measurement.at_most("one symbol of 25 million rows, split-adjusted", split, "ms", 20.0),
        Measurement.shown("the same raw", raw, "ms"),
        Measurement.shown("the same with dividends", total, "ms"),
        Measurement.shown("the same cleaned", cleaned, "ms"),
        Measurement.shown("the same from plain Parquet", median(theirs) * 1e3, "ms"),
    ]


def _add(lake: Lake, file: Path) -> list[Measurement]:
    """A day's append of every symbol, and bars that are there already."""
    day = f"SELECT * REPLACE (DATE '2030-01-02' AS session) FROM '{file}' WHERE session = '2000-01-03'"
    appended = _seconds(lambda: lake.load(Rows("day", day)))
    again = _seconds(lambda: lake.load(Rows("again", f"SELECT * FROM '{file}' LIMIT {MERGED}")))
    return [
        Measurement.shown(f"append a day of {SYMBOLS:,} symbols", appended, "s"),
        Measurement.at_least("compare bars that are known", MERGED / again / 1e6, "million rows/s", 1.0),
    ]


def _fresh() -> list[Measurement]:
    """A process that asks a small lake what a job's runner asks, with the snapshot's file and without."""
    from workbench.data.sample import load_sample

    with tempfile.TemporaryDirectory() as name:
        with Lake(Path(name)) as lake:
            load_sample(lake, _SAMPLE)
        time.sleep(1.1)  # a state of the catalog is kept once it is a second old
        times = [_process(name) for _ in range(6)]
    return [
        Measurement.shown("a fresh process asks a small lake, first", times[0] * 1e3, "ms"),
        Measurement.at_most("a fresh process asks a small lake, later", median(times[1:]) * 1e3, "ms", 30.0),
    ]


def _process(folder: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _FRESH, folder], check=True, capture_output=True, text=True, env=kept_bytecode({})
    )
    return float(done.stdout)


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    for measurement in run():
        print(measurement)
