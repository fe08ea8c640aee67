"""How long a person waits for the command line to answer: whole processes, disk cache warm."""

from __future__ import annotations

import sys
from pathlib import Path

from measurement import Measurement, time_process

RUNS = 10


def run() -> list[Measurement]:
    command = Path(sys.executable).with_name("workbench")
    bare = time_process([sys.executable, "-c", "pass"], RUNS)
    helped = time_process([str(command), "--help"], RUNS)
    return [
        Measurement.at_most("workbench --help", helped, "s", 0.3),
        Measurement.shown("python -c pass", bare, "s"),
        Measurement.shown("workbench --help against python -c pass", helped / bare, "x"),
    ]
