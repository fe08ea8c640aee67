"""Rules and repairs over minute bars against the same in plain pandas, each side in a process of its own.

The repaired cells of both have to be the same, old and new, or the benchmark fails. Memory is what the system counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from measurement import Measurement

SIDES = Path(__file__).with_name("clean_sides.py")
ROWS = 10_000_000
# Plain pandas takes minutes and over 4 GB for all of them: its time is that of a tenth, ten times.
PANDAS_ROWS = 1_000_000
MB = 1024.0


def run() -> list[Measurement]:
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as folder:

        def side(name: str, rows: int) -> tuple[dict[str, float], pd.DataFrame]:
            file = Path(folder) / f"{name}.pkl"
            command = [sys.executable, str(SIDES), name, str(rows), str(file)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            return json.loads(done.stdout.splitlines()[-1]), pd.read_pickle(file)

        (ours, _), (few, cells), (plain, expected) = (
            side("ours", ROWS),
            side("ours", PANDAS_ROWS),
            side("pandas", PANDAS_ROWS),
        )
    pd.testing.assert_frame_equal(cells, expected, rtol=1e-12)
    rate = {name: one["rows"] / one["seconds"] for name, one in (("ours", ours), ("pandas", plain))}
    return [
        Measurement.shown(f"check, repair, check again: {ours['rows']:,.0f} minutes", ours["seconds"], "s"),
        Measurement.shown(f"the same: {few['rows']:,.0f} minutes", few["seconds"], "s"),
        Measurement.shown(f"plain pandas: {plain['rows']:,.0f} minutes", plain["seconds"], "s"),
        Measurement.at_least("bars a second against plain pandas", rate["ours"] / rate["pandas"], "x", 20),
        Measurement.at_most("peak memory of the whole process", ours["peak_kb"] / MB, "MB", 2000),
        Measurement.shown("of it the bars and the libraries", ours["idle_kb"] / MB, "MB"),
    ]
