"""kill -9 at random instants of `workbench run daily`, then the same command again: the full crash campaign.

    python benchmarks/crash_runs.py --kills 200 --seed 1

A short version with chosen instants runs in `make test` (tests/app/test_crashes.py). Every home starts with a loaded
lake; the same command is killed up to three times before it is let through. Doubled or lost orders, or a run that
cannot be finished, end the campaign with exit code 1.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.homes import make_home, start, workbench

COMMAND = ("run", "daily", "--session", "2013-02-28")
Orders = list[tuple[str, str, str, str]]
_TOO_LATE = "too late (not counted)"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="workbench-crash-") as scratch:
        loaded = make_home(Path(scratch) / "loaded", cold=True)
        _must(workbench(loaded, "data", "load"))
        reference = _copy(loaded, Path(scratch) / "reference")
        began = time.perf_counter()
        _must(workbench(reference, *COMMAND))
        length = time.perf_counter() - began
        expected = _orders(reference)
        print(f"seed {options.seed}; undisturbed run: {length:.1f} s, {len(expected)} orders", flush=True)
        return _campaign(options.kills, chance, length, loaded, Path(scratch), expected)


def _campaign(kills: int, chance: random.Random, length: float, loaded: Path, scratch: Path, expected: Orders) -> int:
    done, doubled, lost, unfinished, stages = 0, 0, 0, 0, Counter[str]()
    while done < kills:
        home = _copy(loaded, scratch / "victim")
        for _ in range(min(chance.randint(1, 3), kills - done)):
            stage = _kill_after(home, chance.uniform(length / 4, length))  # the first quarter is imports
            stages[stage] += 1
            done += stage != _TOO_LATE
        finished = workbench(home, *COMMAND)
        found = _orders(home)
        unfinished += finished.returncode != 0
        lost += len(set(expected) - set(found))
        doubled += len(found) - len(set(found)) + len(set(found) - set(expected))
        if finished.returncode or found != expected:
            print(f"after {done} kills: exit {finished.returncode} {finished.stderr}{found}", flush=True)
        shutil.rmtree(home)
    where = ", ".join(f"{stage} {count}" for stage, count in sorted(stages.items()))
    print(f"{done} kills ({where}): {doubled} doubled, {lost} lost, {unfinished} unfinished", flush=True)
    return int(bool(doubled or lost or unfinished))


def _kill_after(home: Path, seconds: float) -> str:
    """Start the run, kill it after a while; the step it was in."""
    process = start(home, *COMMAND)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    if process.returncode != -signal.SIGKILL:
        return _TOO_LATE
    rows = _query(home / "data" / "journal.sqlite", "SELECT name FROM steps WHERE state='running'")
    return rows[0][0] if rows else "between steps"


def _orders(home: Path) -> Orders:
    sql = "SELECT client_order_id, symbol, side, quantity FROM orders ORDER BY client_order_id, id"
    return _query(home / "data" / "exchange" / "paper.sqlite", sql)


def _query(file: Path, sql: str) -> Orders:
    if not file.is_file():
        return []
    with closing(sqlite3.connect(file, timeout=10)) as connection:
        table = sql.split(" FROM ")[1].split()[0]
        there = connection.execute("SELECT 1 FROM sqlite_master WHERE name=?", (table,)).fetchone()
        return connection.execute(sql).fetchall() if there else []


def _copy(home: Path, to: Path) -> Path:
    shutil.copytree(home, to)
    return to


def _must(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        raise SystemExit(done.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
