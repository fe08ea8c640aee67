"""Memory: what the host has, what this process may take of it, and what is left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from workbench.hardware.cgroups import Limits
from workbench.hardware.reading import HERE, read_table


@dataclass(frozen=True, slots=True)
class Memory:
    """Sizes in bytes. ``total_bytes`` and ``available_bytes`` are this process's; None where nobody tells."""

    host_bytes: int
    total_bytes: int
    available_bytes: int
    swap_bytes: int | None
    swap_used_bytes: int | None


def read_memory(limits: Limits, root: Path = HERE) -> Memory:
    """Read the host's memory below ``root`` and subtract what the control groups withhold.

    A job that believes the host's number is killed for memory it was never given.

    Source: ``MemAvailable`` is the kernel's own estimate of what a new process can take without swapping
    (filesystems/proc.rst).
    """
    table = {name: int(value.split()[0]) * 1024 for name, value in read_table(root / "proc/meminfo").items() if value}
    if {"MemTotal", "MemAvailable"} <= table.keys():
        host, available = table["MemTotal"], table["MemAvailable"]
        swap, free = table.get("SwapTotal"), table.get("SwapFree")
    else:
        memory = psutil.virtual_memory()
        host, available = int(memory.total), int(memory.available)
        swap, free = _swap()
    used = None if swap is None or free is None else swap - free
    total, available = _limited(host, available, limits)
    return Memory(host, total, available, swap, used)


def _limited(total: int, available: int, limits: Limits) -> tuple[int, int]:
    """What this process may use, and what is left of it, in bytes."""
    if limits.memory_bytes is None or limits.memory_bytes >= total:
        return total, available
    left = limits.memory_bytes - (limits.memory_used_bytes or 0)
    return limits.memory_bytes, max(0, min(available, left))


def _swap() -> tuple[int | None, int | None]:
    try:
        swap = psutil.swap_memory()
    except (OSError, RuntimeError):  # a sandbox may hide /proc/vmstat or sysctl
        return None, None
    return int(swap.total), int(swap.free)
