"""`workbench run` of one notebook against the `papermill` command on the same one. Whole processes, in turn.

Ours includes the preflight, the ledger, the lake, the page and the reports; papermill's output is its notebook.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from measurement import Measurement, kept_bytecode

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.homes import environment, make_home, write_notebook

TRIES = 5
PYTHON = [sys.executable, "-m"]


def run() -> list[Measurement]:
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as scratch:
        home = make_home(Path(scratch) / "home", cold=True)
        write_notebook(home / "trivial.ipynb", "x = 1 + 1\nx")
        write_notebook(home / "long.ipynb", *[f"x{n} = {n}\nprint(x{n})" for n in range(200)])
        _process(home, "workbench.cli.main", "data", "load")
        found = []
        for label, name, bar in (("trivial notebook", "trivial", 0.4), ("200 cells", "long", 0.3)):
            ours, theirs = _in_turn(
                lambda name=name: _process(home, "workbench.cli.main", "run", f"{name}.ipynb"),
                lambda name=name: _process(home, "papermill", f"{name}.ipynb", "out.ipynb", "--no-progress-bar"),
            )
            found += [
                Measurement.shown(f"{label}: workbench run", ours, "s"),
                Measurement.shown(f"{label}: papermill", theirs, "s"),
                Measurement.at_most(f"{label}: workbench run against papermill", ours / theirs, "x", bar),
            ]
    return found


def _in_turn(first: Callable[[], float], second: Callable[[], float]) -> tuple[float, float]:
    """Medians of both, run alternately, so that a slow moment of the machine hits both."""
    pairs = [(first(), second()) for _ in range(TRIES + 1)][1:]
    return median(a for a, _ in pairs), median(b for _, b in pairs)


def _process(home: Path, module: str, *arguments: str) -> float:
    env = kept_bytecode(environment())
    start = time.perf_counter()
    subprocess.run([*PYTHON, module, *arguments], cwd=home, env=env, check=True, capture_output=True)
    return time.perf_counter() - start
