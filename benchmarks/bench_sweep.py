"""Sweeps against vectorbt 1.0, in processes of their own: time after compiling, and memory as the system counts it.

Before anything is compared, the metrics of all sides are: the same to 1e-9, or the benchmark fails.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from measurement import Measurement

SIDES = Path(__file__).with_name("sweep_sides.py")
MB = 1024.0


def run() -> list[Measurement]:
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as folder:
        made, metrics = Path(folder), {}

        def side(name: str) -> dict[str, float]:
            command = [sys.executable, str(SIDES), name, str(made / f"{name}.npy")]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            if (made / f"{name}.npy").exists():
                metrics[name] = np.load(made / f"{name}.npy")
            return json.loads(done.stdout.splitlines()[-1])

        side("ours")  # compiles, for the processes that come
        ours, numba, plain, dask = side("ours"), side("numba"), side("ordinary"), side("dask")
        rust = side("rust") if importlib.util.find_spec("vectorbt_rust") else None
        momentum = side("momentum")
        _same(metrics)
    found = [
        Measurement.shown("crossover, 4,950 combinations x 5,000 bars, 7 metrics", ours["seconds"], "s"),
        Measurement.shown("crossover: compile, or load from the cache", ours["compile_s"], "s"),
        *_against("vectorbt, numba engine", numba, ours, 150),
        *(_against("vectorbt, Rust engine", rust, ours, 80) if rust else []),
        Measurement.shown("crossover as an ordinary strategy", plain["seconds"], "s"),
        Measurement.at_least("ordinary strategy against vectorbt", numba["seconds"] / plain["seconds"], "x", 10),
        Measurement.at_least("dask with 2 workers against 2 cores", plain["seconds"] / dask["seconds"], "x", 0.8),
        Measurement.shown("momentum, 500 symbols x 10 years x 1,000", momentum["seconds"], "s"),
        Measurement.at_most("momentum: peak memory", momentum["peak_kb"] / MB, "MB", 4096),
    ]
    if rust is None:
        print("vectorbt-rust is not installed: its engine is not measured", file=sys.stderr)
    return found


def _against(name: str, theirs: dict[str, float], ours: dict[str, float], bar: float) -> list[Measurement]:
    work = [(one["peak_kb"] - one["idle_kb"]) / MB for one in (ours, theirs)]
    return [
        Measurement.shown(name, theirs["seconds"], "s"),
        Measurement.at_least(f"{name}: faster", theirs["seconds"] / ours["seconds"], "x", bar),
        Measurement.at_most(f"{name}: our peak memory over its", ours["peak_kb"] / theirs["peak_kb"], "x", 1 / 20),
        Measurement.at_most(f"{name}: the same without libraries", work[0] / work[1], "x", 1 / 20),
    ]


def _same(metrics: dict[str, np.ndarray]) -> None:
    expected = np.where(np.isfinite(metrics["numba"]), metrics["numba"], np.nan)
    for name, found in metrics.items():
        finite = np.where(np.isfinite(found), found, np.nan)  # where vectorbt says infinite, we say nothing
        worst = float(np.nanmax(np.abs(finite - expected) / np.maximum(1.0, np.abs(expected))))
        if not worst <= 1e-9 or not np.array_equal(np.isnan(finite), np.isnan(expected)):
            raise AssertionError(f"{name} and vectorbt differ by {worst:g}")
