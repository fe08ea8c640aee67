"""How long the main job takes: one run, one replayed session, the whole demonstration. Whole processes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from measurement import Measurement, kept_bytecode

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.homes import environment, make_home

SESSIONS = [f"2013-02-{day}" for day in (19, 20, 21, 22, 25)]


def run() -> list[Measurement]:
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as scratch:
        home = make_home(Path(scratch) / "home", cold=True)
        first = seconds(home, "run", "daily", "--session", "2013-02-15")
        runs = [seconds(home, "run", "daily", "--session", session) for session in SESSIONS]
        # Two replays of different length, so that start and end of the process cancel out.
        short = seconds(home, "replay", "daily", "--from", "2013-01-02", "--to", "2013-01-04", "--account", "a")
        long = seconds(home, "replay", "daily", "--from", "2013-01-02", "--to", "2013-01-18", "--account", "b")
        demo = seconds(make_home(Path(scratch) / "demo", cold=True), "demo")
        stock = papermill(home)
    return [
        Measurement.at_most("workbench run daily, data loaded", median(runs), "s", 8.0),
        Measurement.shown("workbench run daily, first time", first, "s"),
        Measurement.at_most("a replayed session of daily", (long - short) / 9, "s", 0.5),
        Measurement.at_most("workbench demo, all of it", demo, "s", 60.0),
        Measurement.shown("papermill on the three notebooks, one after the other", stock, "s"),
        Measurement.shown("workbench run daily against papermill alone", median(runs) / stock, "x"),
    ]


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
