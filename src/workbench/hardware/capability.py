"""What the machine can do, measured: arithmetic, memory, disk, a scan by DuckDB. Seconds, not minutes.

The parts of the product that lie above (a sweep, a notebook, an order) are measured by :mod:`workbench.app.measuring`,
which fills in the rest of :class:`Capability`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench.clock import Clock
from workbench.hardware.cpu import Cpu
from workbench.hardware.disk import nearest_existing
from workbench.hardware.diskspeed import DiskSpeed, measure_speed

_MATRIX = 1024
_LEAST_ARRAY_BYTES, _LARGEST_ARRAY_BYTES = 2**26, 2**28
_SCAN_ROWS, _QUICK_SCAN_ROWS = 2_000_000, 500_000


@dataclass(frozen=True, slots=True)
class Capability:
    """What was measured; None, or an empty table, for what was not, and ``skipped`` says why.

    ``blas_gflops`` and ``memory_gb_per_s`` are by number of threads: 10^9 additions and multiplications of float64 a
    second, and 10^9 bytes read and written a second. ``sweep_bars_per_s`` is parameter combinations x bars a second.
    ``order_ms`` is one order from proposal to the venue's answer, ``orders_per_s`` many in one rebalance. ``seconds``
    is how long each measurement took.
    """

    blas_gflops: dict[int, float] = field(default_factory=dict)
    memory_gb_per_s: dict[int, float] = field(default_factory=dict)
    disk: DiskSpeed | None = None
    scan_rows_per_s: float | None = None
    sweep_bars_per_s: float | None = None
    zipline_year_s: float | None = None
    notebook_cold_s: float | None = None
    notebook_warm_s: float | None = None
    order_ms: float | None = None
    orders_per_s: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All of it as values that JSON can hold."""
        return asdict(self)


# Given the seconds that are left for it; a measurement that could take longer ends itself by then.
Step = Callable[[float], dict[str, Any]]


def measure(steps: dict[str, Step], clock: Clock, *, budget_s: float, limit_s: float) -> Capability:
    """Do some measurements one after the other until the time is up; what did not fit is skipped, and named.

    Parameters
    ----------
    steps
        By name, in order: each returns values of fields of :class:`Capability`. One that fails is skipped, with its
        error.
    budget_s
        Nothing is begun after that many seconds.
    limit_s
        Everything has ended after that many.
    """
    found = Capability()
    began = clock.monotonic()
    seconds: dict[str, float] = {}
    skipped: dict[str, str] = {}
    for name, step in steps.items():
        start = clock.monotonic()
        if start - began >= budget_s:
            skipped[name] = f"the {budget_s:g} s for measuring were over"
            continue
        try:
            found = replace(found, **step(began + limit_s - start))
        except Exception as error:  # what cannot be measured here is said, and the rest is measured all the same
            skipped[name] = f"{type(error).__name__}: {error}"
        seconds[name] = clock.monotonic() - start
    return replace(found, seconds=seconds, skipped=skipped)


def machine_steps(folder: Path, cpu: Cpu, clock: Clock, *, quick: bool) -> dict[str, Step]:
    """The measurements that need nothing of the product."""
    size, budget_s = (2**25, 0.3) if quick else (2**28, 1.0)
    each_s, rows = (0.1, _QUICK_SCAN_ROWS) if quick else (0.4, _SCAN_ROWS)
    return {
        "arithmetic": lambda left_s: {"blas_gflops": dict(_blas(cpu, clock, each_s))},
        "memory": lambda left_s: {"memory_gb_per_s": dict(_memory(cpu, clock, each_s))},
        "disk": lambda left_s: {"disk": measure_speed(folder, clock, size_bytes=size, budget_s=budget_s)},
        "scan": lambda left_s: {"scan_rows_per_s": scan(folder, clock, threads=_most(cpu), rows=rows, budget_s=each_s)},
    }


def thread_counts(cores: float) -> list[int]:
    """One, two, four, ... up to the cores that may be used.

    >>> thread_counts(6.0), thread_counts(0.5)
    ([1, 2, 4, 6], [1])
    """
    most = max(1, int(cores))
    return sorted({most, *(2**power for power in range(most.bit_length()) if 2**power <= most)})


def _most(cpu: Cpu) -> int:
    return max(1, int(cpu.cores_usable))


def _blas(cpu: Cpu, clock: Clock, budget_s: float) -> Iterator[tuple[int, float]]:
    """The best of some products of two square matrices, by threads: 2 n^3 operations each."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    source = np.random.default_rng(0)
    left, right = source.random((_MATRIX, _MATRIX)), source.random((_MATRIX, _MATRIX))
    out = np.empty_like(left)
    for threads in thread_counts(cpu.cores_usable):
        with threadpool_limits(limits=threads, user_api="blas"):
            best_s = _best(lambda: np.matmul(left, right, out=out), clock, budget_s)
        yield threads, 2 * _MATRIX**3 / best_s / 1e9


def _memory(cpu: Cpu, clock: Clock, budget_s: float) -> Iterator[tuple[int, float]]:
    """The best of some copies of an array that no cache holds, by threads; read and written bytes both count.

    Source: the "copy" kernel of STREAM (McCalpin 1995), with arrays of at least four times the last cache.
    """
    import numpy as np

    size = copied_bytes(cpu) // 8
    source, target = np.ones(size), np.zeros(size)
    for threads in thread_counts(cpu.cores_usable):
        parts = [slice(size * n // threads, size * (n + 1) // threads) for n in range(threads)]
        with ThreadPoolExecutor(threads) as pool:  # NumPy lets go of the interpreter while it copies

            def copy(pool: ThreadPoolExecutor = pool, parts: list[slice] = parts) -> None:
                list(pool.map(lambda part: np.copyto(target[part], source[part]), parts))

            best_s = _best(copy, clock, budget_s)
        yield threads, 2 * 8 * size / best_s / 1e9


def copied_bytes(cpu: Cpu) -> int:
    """The size of the array that is copied to measure memory: four times the last cache, within bounds."""
    last = max((cache.size_bytes * cache.count for cache in cpu.caches), default=0)
    return min(max(4 * last, _LEAST_ARRAY_BYTES), _LARGEST_ARRAY_BYTES)


def scan(folder: Path, clock: Clock, *, threads: int, rows: int = _SCAN_ROWS, budget_s: float = 0.4) -> float:
    """Rows a second of an aggregation over daily bars in a Parquet file, as the lake's are, read from the page cache.

    >>> from workbench.clock import SystemClock
    >>> scan(getfixture("tmp_path"), SystemClock(), threads=1, rows=10_000, budget_s=0) > 0
    True
    """
    import duckdb

    with tempfile.TemporaryDirectory(dir=nearest_existing(folder), prefix=".scan-") as scratch:
        file = Path(scratch) / "bars.parquet"
        with closing(duckdb.connect(config={"threads": threads})) as database:
            database.execute("SET enable_progress_bar = false")
            database.execute(
                "COPY (SELECT 'S' || i % 500 AS symbol, DATE '2000-01-03' + (i // 500)::INTEGER AS session,"
                " 100 + hash(i) % 1000 / 100.0 AS open, 100 + hash(i + 1) % 1000 / 100.0 AS close,"
                f" hash(i + 2) % 1000000 AS volume FROM range({rows}) t(i)) TO '{_quoted(file)}' (FORMAT parquet)"
            )
            query = f"SELECT symbol, sum(close * volume), max(close - open) FROM '{_quoted(file)}' GROUP BY symbol"
            return rows / _best(lambda: database.execute(query).fetchall(), clock, budget_s)


def _quoted(file: Path) -> str:
    return str(file).replace("'", "''")


def _best(action: Callable[[], object], clock: Clock, budget_s: float) -> float:
    """The shortest of as many tries as fit, at least one: what other programs take away is not the machine's.

    One more goes before them, which finds memory, caches and threads cold.
    """
    action()
    began = clock.monotonic()
    best_s = float("inf")
    while best_s == float("inf") or clock.monotonic() - began < budget_s:
        start = clock.monotonic()
        action()
        best_s = min(best_s, clock.monotonic() - start)
    return best_s
