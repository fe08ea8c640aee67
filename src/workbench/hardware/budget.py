"""What this machine can carry: workers, memory for each, the largest sweep, the universe that fits, orders a second.

The defaults of the sweep, the scheduler and the cleaner come from here, so that nobody has to know the machine.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench.hardware.capability import Capability
from workbench.hardware.cgroups import read_limits
from workbench.hardware.cpu import read_cpu
from workbench.hardware.memory import read_memory
from workbench.hardware.reading import HERE

GIB = 2**30
# The system, JupyterLab and a browser want something, too.
_LEAST_RESERVE_BYTES, _RESERVED = GIB, 0.15
# Five columns of float64 for a bar, and the copies that adjusting prices and computing weights make of them. The bar of
# the rebalance job (5,000 symbols x 20 years in 3 GB) is the same: 119 bytes a row.
ROW_BYTES = 120
# The daily job of the sample at its height: a runner, its kernels with pandas and DuckDB, the writer of pages. Measured
# as 430 MiB, pages that they share counted once (benchmarks/check_hardware.py).
JOB_BYTES = 512 * 2**20
_LEAST_WORKER_BYTES = GIB
_MOST_JOBS = 64
SESSIONS_A_YEAR = 252
SWEEP_BARS = 5_000
YEARS = (1, 5, 10, 20)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What is taken where the user has not said otherwise.

    ``workers`` are processes that keep a core busy each, with ``memory_per_worker_bytes``; ``threads`` of a sweep share
    their memory; ``side_by_side`` counts jobs without orders; ``cleaning_rows`` is how many bars are cleaned at a time.
    """

    threads: int
    workers: int
    memory_per_worker_bytes: int
    side_by_side: int
    cleaning_rows: int


@dataclass(frozen=True, slots=True)
class Workload:
    """A daily job: notebooks in a row, bars that they read, orders that come of it."""

    steps: int = 3
    symbols: int = 500
    years: int = 5
    orders: int = 50

    @property
    def rows(self) -> int:
        return self.symbols * self.years * SESSIONS_A_YEAR


@dataclass(frozen=True, slots=True)
class Budget:
    """What the machine can carry; None for what was not measured.

    ``sweep_combinations`` are parameter combinations on 5,000 bars of one symbol in an hour; ``universe`` is how many
    symbols of daily bars fit in memory, by years of history. ``daily_job_s`` is made up of ``daily_job_parts_s`` and is
    the least that the job takes: what its notebooks compute comes on top.
    """

    defaults: Defaults
    work_memory_bytes: int
    rows_in_memory: int
    universe: dict[int, int]
    sweep_combinations: int | None
    orders_per_s: float | None
    daily_job_s: float | None
    daily_job_parts_s: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """All of it as values that JSON can hold."""
        return asdict(self)


def defaults(cores: float, memory_bytes: int) -> Defaults:
    """The defaults for so many cores and so much memory.

    >>> found = defaults(cores=8, memory_bytes=16 * 2**30)
    >>> found.threads, found.workers, found.side_by_side, found.memory_per_worker_bytes // 2**20
    (8, 8, 16, 1740)
    """
    work = work_memory(memory_bytes)
    workers = max(1, min(int(cores), work // _LEAST_WORKER_BYTES))
    # Jobs wait more than they compute, hence two for a core.
    jobs = max(1, min(int(2 * cores), work // JOB_BYTES, _MOST_JOBS))
    # A share of a core keeps a thread busy for that share of the time.
    threads = max(1, math.ceil(cores))
    return Defaults(threads, workers, work // workers, jobs, max(100_000, work // workers // ROW_BYTES))


def defaults_here(root: Path = HERE) -> Defaults:
    """The defaults on this machine, within the limits of its container; nothing is measured, so it is quick."""
    limits = read_limits(root / "sys/fs/cgroup", root / "proc/self/cgroup")
    return defaults(read_cpu(limits, root).cores_usable, read_memory(limits, root).total_bytes)


def work_memory(memory_bytes: int) -> int:
    """What is left of memory when the system has had its share, in bytes."""
    return max(0, memory_bytes - max(_LEAST_RESERVE_BYTES, int(memory_bytes * _RESERVED)))


def budget(cores: float, memory_bytes: int, measured: Capability, workload: Workload | None = None) -> Budget:
    """What a machine with such a capability can carry."""
    rows = work_memory(memory_bytes) // ROW_BYTES
    parts = _daily_job(measured, workload or Workload())
    sweep = measured.sweep_bars_per_s
    return Budget(
        defaults=defaults(cores, memory_bytes),
        work_memory_bytes=work_memory(memory_bytes),
        rows_in_memory=rows,
        universe={years: rows // (years * SESSIONS_A_YEAR) for years in YEARS},
        sweep_combinations=None if sweep is None else int(sweep * 3600 / SWEEP_BARS),
        orders_per_s=measured.orders_per_s,
        daily_job_s=sum(parts.values()) if parts else None,
        daily_job_parts_s=parts,
    )


def _daily_job(measured: Capability, workload: Workload) -> dict[str, float]:
    """Seconds by part; empty unless all of them are known."""
    cold, warm = measured.notebook_cold_s, measured.notebook_warm_s
    if cold is None or warm is None or measured.scan_rows_per_s is None or measured.orders_per_s is None:
        return {}
    return {
        "notebooks": cold + (workload.steps - 1) * warm,
        "reading bars": workload.rows / measured.scan_rows_per_s,
        "orders": workload.orders / measured.orders_per_s,
    }
