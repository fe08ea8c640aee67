"""What the product does on this machine, measured: a sweep, a year of zipline, a notebook's start, an order's path.

The engines are measured in child processes: their imports burden nobody, and one that hangs is ended.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.calendars import Calendar
from workbench.clock import Clock, SystemClock
from workbench.hardware.budget import SWEEP_BARS
from workbench.hardware.capability import Capability, Step, machine_steps, measure
from workbench.hardware.cpu import Cpu
from workbench.settings import Settings

if TYPE_CHECKING:
    from workbench.data.bars import Adjustment, Bars

# Nothing is begun after the first, and everything has ended after the second.
FULL_S, QUICK_S = (25.0, 29.0), (3.5, 5.0)
_SINGLES, _BATCH = 10, 100
_YEAR = 252
_CELL: dict[str, Any] = {
    "cell_type": "code",
    "id": "one",
    "metadata": {},
    "source": "1 + 1",
    "execution_count": None,
    "outputs": [],
}
_NOTEBOOK = {"cells": [_CELL], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def measure_all(settings: Settings, calendar: Calendar, cpu: Cpu, clock: Clock, *, quick: bool = False) -> Capability:
    """Measure the machine and the product on it, in under 30 s; ``quick``: the machine alone, in under 5 s.

    On a machine so slow that this would take longer, the last measurements are skipped, and say so.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    steps = machine_steps(settings.data_dir, cpu, clock, quick=quick)
    if not quick:
        steps |= product_steps(settings, calendar, clock)
    budget_s, limit_s = QUICK_S if quick else FULL_S
    return measure(steps, clock, budget_s=budget_s, limit_s=limit_s)


def product_steps(settings: Settings, calendar: Calendar, clock: Clock) -> dict[str, Step]:
    """The measurements of the product; what is written goes to a scratch folder on the disk of the data."""
    return {
        "orders": lambda left_s: _orders(settings, calendar, clock),
        "notebook": lambda left_s: _notebook(settings, clock, left_s),
        "sweep": lambda left_s: {"sweep_bars_per_s": _in_child("sweep", left_s)},
        "zipline": lambda left_s: {"zipline_year_s": _in_child("zipline", left_s)},
    }


def _orders(settings: Settings, calendar: Calendar, clock: Clock) -> dict[str, Any]:
    from workbench.app.practice import order_path

    with tempfile.TemporaryDirectory(dir=settings.data_dir, prefix=".orders-") as scratch:
        times, rebalance_s = order_path(Path(scratch), calendar, clock, singles=_SINGLES, batch=_BATCH)
    return {"order_ms": statistics.median(times), "orders_per_s": _BATCH / rebalance_s}


def _notebook(settings: Settings, clock: Clock, left_s: float) -> dict[str, Any]:
    """Seconds from nothing to the end of a notebook of one cell, and again with the helper of the kernels warm."""
    from workbench.jobs.engine import execute
    from workbench.jobs.kernels import KernelPool
    from workbench.jobs.preload import PRELOAD

    with tempfile.TemporaryDirectory(dir=settings.data_dir, prefix=".notebook-") as scratch:
        folder = Path(scratch)
        (folder / "in.ipynb").write_text(json.dumps(_NOTEBOOK), encoding="utf-8")
        times = []
        start = clock.monotonic()
        with KernelPool(PRELOAD, (settings.calendar,), cache=settings.cache_dir) as pool:
            for number in range(3):
                execute(
                    folder / "in.ipynb", folder / f"out{number}.ipynb", {}, pool=pool, env={}, cwd=folder,
                    timeout_s=left_s / 3, cancel=threading.Event(), on_cell=lambda progress: None,
                )  # fmt: skip
                times.append(clock.monotonic() - start)
                start = clock.monotonic()
    return {"notebook_cold_s": times[0], "notebook_warm_s": min(times[1:])}


def _in_child(name: str, left_s: float) -> float:
    """What a child process measures.

    Raises
    ------
    RuntimeError
        If it fails or takes too long; the message says so, or is the last thing it said.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "workbench.app.measuring", name], capture_output=True, text=True, timeout=left_s,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"it took longer than the {left_s:.0f} s that were left for it") from error
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1])
    return float(json.loads(done.stdout.splitlines()[-1]))


def _zipline_year() -> float:
    """Seconds of a year of a moving average over four symbols, event by event; the imports do not count."""
    import pandas as pd

    from workbench.research.engines import backtest
    from workbench.strategies import load

    split, raw = walk(2 * _YEAR, "split"), walk(2 * _YEAR, "raw")
    none = pd.DataFrame(columns=["symbol", "ex_date", "kind", "value"])
    strategy, clock = load("moving_average", {"fast": 20, "slow": 50}), SystemClock()
    first, last = raw.sessions[_YEAR].date(), raw.sessions[-1].date()
    times = []
    for _ in range(2):  # the first finds its modules not yet loaded
        start = clock.monotonic()
        backtest(strategy, split, raw, none, start=first, end=last, engine="zipline")
        times.append(clock.monotonic() - start)
    return min(times)


def _sweep_rate() -> float:
    """Combinations x bars a second of a crossover of two averages on one symbol; compiling does not count."""
    from workbench.research.sweeping import sweep

    bars, clock = walk(SWEEP_BARS, "total", symbols=1), SystemClock()
    sweep("moving_average", {"fast": range(5, 8), "slow": range(60, 63)}, bars, progress=False)
    grid = {"fast": range(5, 55), "slow": range(60, 160)}
    start = clock.monotonic()
    found = sweep("moving_average", grid, bars, progress=False)
    return len(found) * SWEEP_BARS / (clock.monotonic() - start)


def walk(sessions: int, adjustment: Adjustment, symbols: int = 4) -> Bars:
    """Made-up bars on the last sessions up to 2013: the same geometric random walks every time."""
    import numpy as np
    import pandas as pd

    from workbench.calendars import calendar
    from workbench.data.bars import Bars

    days = calendar("XNYS").index(date(1990, 1, 2), date(2013, 12, 31))[-sessions:]
    steps = np.random.default_rng(0).normal(0.0003, 0.01, (len(days), symbols))
    close = pd.DataFrame(100 * np.exp(np.cumsum(steps, axis=0)), days, [f"P{n:03}" for n in range(symbols)])
    opened = close.shift(1).fillna(100.0)
    volume = close * 0 + 1e6
    return Bars(opened, close * 1.02, close * 0.98, close, volume, adjustment, 0)


_CHILDREN: dict[str, Callable[[], float]] = {"sweep": _sweep_rate, "zipline": _zipline_year}


def main(name: str) -> None:
    """The child process: prints its number."""
    print(json.dumps(_CHILDREN[name]()))


if __name__ == "__main__":
    main(sys.argv[1])
