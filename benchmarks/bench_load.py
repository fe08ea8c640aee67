"""How fast prices come into the lake: rows a second from Parquet and from CSV, against readers that keep nothing."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
from measurement import Measurement

from workbench.data.lake import Lake
from workbench.data.sources import Reading
from workbench.data.sources.files import FileSource

SYMBOLS, SESSIONS = 500, 6_000
ROWS = SYMBOLS * SESSIONS
RUNS = 3
_MAKE = f"""
    SELECT printf('S%04d', i // {SESSIONS}) AS symbol, DATE '2000-01-03' + (i % {SESSIONS})::INT AS date,
        round(100 + 10 * sin(i), 2) AS open, round(101 + 10 * sin(i), 2) AS high, round(99 + 10 * sin(i), 2) AS low,
        round(100.5 + 10 * sin(i), 2) AS close, 1000000 + i % 1000 AS volume
    FROM range({ROWS}) AS t(i)"""


def run() -> list[Measurement]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {kind: folder / f"prices.{kind}" for kind in ("csv", "parquet")}
        for file in files.values():
            duckdb.execute(f"COPY ({_MAKE}) TO '{file}'")
        loaded, busy = {}, {}
        for kind, file in files.items():
            started = time.process_time()
            loaded[kind] = _best(lambda file=file: _load(file, folder))
            busy[kind] = (time.process_time() - started) / RUNS
        pandas = {
            "csv": _best(lambda: pd.read_csv(files["csv"], parse_dates=["date"])),
            "parquet": _best(lambda: pd.read_parquet(files["parquet"])),
        }
        plain = {kind: _best(lambda file=file: _read(file)) for kind, file in files.items()}
    found = []
    for kind, bar in (("csv", 0.5), ("parquet", 2.0)):
        found.append(Measurement.at_least(f"load {kind}", ROWS / loaded[kind] / 1e6, "million rows/s", bar))
        # Of every core together: what a busy machine does not change.
        found.append(Measurement.shown(f"load {kind}, of processor time", ROWS / busy[kind] / 1e6, "million rows/s"))
        found.append(Measurement.shown(f"load {kind} against pandas.read_{kind}", pandas[kind] / loaded[kind], "x"))
        found.append(
            Measurement.shown(f"load {kind} against DuckDB's read into memory", plain[kind] / loaded[kind], "x")
        )
    return found


def _load(file: Path, folder: Path) -> None:
    """Into a new lake: read, checked, compared, sorted and written durably."""
    with tempfile.TemporaryDirectory(dir=folder) as place, Lake(Path(place)) as lake:
        result = lake.load(FileSource(file, Reading(adjusted=False)))
        assert result.rows_added == ROWS


def _read(file: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE rows AS SELECT * FROM '{file}'")


def _best(action: Callable[[], object]) -> float:
    """Seconds of the fastest of a few runs: what else the machine did is in the others."""
    times = []
    for _ in range(RUNS):
        gc.collect()
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    for each in run():
        print(f"{each.name}: {each.value:.2f} {each.unit}" + ("" if each.bar is None else f" (bar {each.bar:g})"))
