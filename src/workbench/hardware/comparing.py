"""Two profiles of one machine side by side: a disk that became slow, a core that vanished, another version of NumPy."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Change = Literal["worse", "better", "changed"]
# How far outside what is usual a measured figure must be. Disks differ most: their caches do, and their neighbours.
_FACTOR, _DISK_FACTOR = 1.5, 3.0
_DISK = ("fsync", "capability.disk", "capability.order_ms", "capability.orders_per_s")
# What a machine has; less of it is worse.
_HAS = (
    "cpu.cores_physical", "cpu.cores_logical", "cpu.cores_usable", "cpu.frequency_max_mhz", "memory.host_bytes",
    "memory.total_bytes", "memory.swap_bytes", "disk.total_bytes", "limits.cpus", "limits.memory_bytes",
)  # fmt: skip
# What was measured: the more the better, and the less the better.
_MORE = (
    "capability.blas_gflops", "capability.memory_gb_per_s", "capability.disk.write_mb_per_s",
    "capability.disk.read_mb_per_s", "capability.disk.random_reads_per_s", "capability.scan_rows_per_s",
    "capability.sweep_bars_per_s", "capability.orders_per_s",
)  # fmt: skip
_LESS = (
    "fsync.median_ms", "capability.zipline_year_s", "capability.notebook_cold_s",
    "capability.notebook_warm_s", "capability.order_ms",
)  # fmt: skip
_PASSING_ENDS = (".memory_free_bytes", ".temperature_c")  # of each card
# What goes up and down with every hour, or is told by another figure.
_PASSING = (
    "measured_at", "memory.available_bytes", "memory.swap_used_bytes", "disk.free_bytes", "limits.memory_used_bytes",
    "cpu.frequency_mhz", "fsync.samples_ms", "fsync.worst_ms", "fsync.p95_ms", "fsync.p99_ms", "clock.max_error_ms",
    "clock.offset_ms", "sensors", "disk.folder", "capability.disk.direct", "capability.seconds", "capability.skipped",
    "budget", "advice", "costs", "tensorflow_devices",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it was. ``factor`` is after over before, of figures."""

    what: str
    change: Change
    before: object
    after: object
    factor: float | None = None


def compare(earlier: Sequence[Mapping[str, Any]], after: Mapping[str, Any]) -> list[Difference]:
    """What has changed since the last of some profiles as they were kept, oldest first; the worse comes first.

    What a machine is, is held against the last one. What was measured, against the range of all of them, because it
    never is the same twice: it has changed if it is clearly outside. What only some of them measured is left out.

    >>> compare([{"cpu": {"cores_usable": 4}}], {"cpu": {"cores_usable": 3}})
    [Difference(what='cpu.cores_usable', change='worse', before=4, after=3, factor=0.75)]
    """
    before = [dict(_flat(one)) for one in earlier]
    now = dict(_flat(after))
    every = (
        _measured(what, [one.get(what) for one in before], now.get(what))
        if _is(what, _MORE) or _is(what, _LESS)
        else _told(what, before[-1].get(what), now.get(what))
        for what in before[-1].keys() | now.keys()
    )
    order: list[Change] = ["worse", "changed", "better"]
    found = [difference for difference in every if difference is not None]
    return sorted(found, key=lambda difference: (order.index(difference.change), difference.what))


def _measured(what: str, before: Sequence[Any], after: Any) -> Difference | None:
    values = [value for value in before if isinstance(value, int | float)]
    if not values or not isinstance(after, int | float):
        return None
    slack = _DISK_FACTOR if _is(what, _DISK) else _FACTOR
    if min(values) / slack <= after <= max(values) * slack:
        return None
    usual = statistics.median(values)
    grown = after > usual
    change: Change = "better" if grown != _is(what, _LESS) else "worse"
    return Difference(what, change, usual, after, round(after / usual, 3) if usual else None)


def _told(what: str, before: Any, after: Any) -> Difference | None:
    if before == after or _is(what, _PASSING) or what.endswith(_PASSING_ENDS):
        return None
    if _is(what, _HAS) and isinstance(before, int | float) and isinstance(after, int | float):
        change: Change = "better" if after > before else "worse"
        return Difference(what, change, before, after, round(after / before, 3) if before else None)
    return Difference(what, "changed", before, after)


def _is(what: str, names: tuple[str, ...]) -> bool:
    return any(what == name or what.startswith(f"{name}.") for name in names)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names; a list of parts with names is by name, any other list by its text."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif isinstance(value, list) and value and all(isinstance(v, Mapping) and "name" in v for v in value):
            for part in value:
                yield from _flat({k: v for k, v in part.items() if k != "name"}, f"{name}.{part['name']}.")
        elif isinstance(value, list):
            yield name, ", ".join(str(v) for v in value)
        else:
            yield name, value
