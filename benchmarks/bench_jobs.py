"""How long the main job takes: one run, one replayed session, the whole demonstration. Whole processes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from statistics import median

from measurement import Measurement, kept_bytecode

from workbench.calendars import calendar

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.homes import environment, make_home

REPLAYED = date(2012, 11, 21), date(2013, 2, 19)  # 60 sessions
SESSIONS = [f"2013-02-{day}" for day in (19, 20, 21, 22, 25)]


def run() -> list[Measurement]:
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as scratch:
        before = plain_loop()
        home = make_home(Path(scratch) / "home", cold=True)
        first = seconds(home, "run", "daily", "--session", "2013-02-15")
        runs = [seconds(home, "run", "daily", "--session", session) for session in SESSIONS]
        sixty = calendar("XNYS", home / "data" / "cache").sessions(*REPLAYED)
        whole = seconds(home, "replay", "daily", *span(sixty[0], sixty[-1]), "--account", "a")
        # Another of a tenth of its length, so that start and end of the process cancel out.
        short = seconds(home, "replay", "daily", *span(sixty[0], sixty[5]), "--account", "b")
        demo = seconds(make_home(Path(scratch) / "demo", cold=True), "demo")
        stock = papermill(home)
    return [
        Measurement.shown("a plain loop of 3 million additions, before and after", (before + plain_loop()) / 2, "s"),
        Measurement.at_most("workbench run daily, data loaded", median(runs), "s", 8.0),
        Measurement.shown("workbench run daily, first time", first, "s"),
        Measurement.at_most("a session of a replay of 60, start and end included", whole / len(sixty), "s", 0.5),
        Measurement.shown("a replayed session of daily by itself", (whole - short) / (len(sixty) - 6), "s"),
        Measurement.at_most("workbench demo, all of it", demo, "s", 60.0),
        Measurement.shown("papermill on the three notebooks, one after the other", stock, "s"),
        Measurement.shown("workbench run daily against papermill alone", median(runs) / stock, "x"),
    ]


def plain_loop() -> float:
    """What absolute seconds are to be read against: an interpreter and a machine's hour differ by a factor of two."""
    start = time.perf_counter()
    total = 0
    for number in range(3_000_000):
        total += number
    return time.perf_counter() - start


def span(first: date, last: date) -> list[str]:
    return ["--from", first.isoformat(), "--to", last.isoformat()]


def seconds(home: Path, *arguments: str) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "workbench.cli.main", *arguments]
    subprocess.run(command, cwd=home, env=kept_bytecode(environment()), check=True, capture_output=True)
    return time.perf_counter() - start


def papermill(home: Path) -> float:
    """The same notebooks by papermill's own command and engine: no gates, no orders sent, no page, no ledger."""
    start = time.perf_counter()
    for notebook in ("update_data", "rebalance", "report"):
        command = [sys.executable, "-m", "papermill", f"pipelines/{notebook}.ipynb", "output.ipynb", "-p", "session",
                   SESSIONS[-1], "--cwd", str(home), "--no-progress-bar"]  # fmt: skip
        subprocess.run(command, cwd=home, env=kept_bytecode(environment()), check=True, capture_output=True)
    return time.perf_counter() - start
