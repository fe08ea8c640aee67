"""The hardware profile: what this machine offers a trading job, measured in well under a second.

What a container or service manager withholds is subtracted: a job that believes the host's numbers is
killed for memory it was never given. A sensor that does not exist here is None, shown as "not available".
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from workbench.clock import Clock, SystemClock
from workbench.hardware import disk, host
from workbench.hardware.cgroups import Limits, read_limits
from workbench.hardware.disk import Disk, FsyncLatency
from workbench.hardware.host import ClockState, Gpu

if TYPE_CHECKING:
    import pandas as pd

MISSING = "not available"


@dataclass(frozen=True, slots=True)
class HardwareProfile:
    """What the machine is, at one moment. Sizes in bytes; None means that no sensor answered.

    ``cores_usable`` and ``memory_bytes`` are what this process may use: the host's, less what an affinity
    mask or a control group withholds. ``gpus`` is None without an NVIDIA driver; ``tensorflow_devices`` is
    None unless it was asked for.
    """

    measured_at: datetime
    cpu_model: str | None
    architecture: str
    cores_physical: int | None
    cores_logical: int | None
    cores_usable: float
    limits: Limits
    memory_host_bytes: int
    memory_bytes: int
    memory_available_bytes: int
    swap_bytes: int | None
    disk: Disk
    fsync: FsyncLatency | None
    virtualization: str | None
    operating_system: str
    kernel: str
    python: str
    gpus: tuple[Gpu, ...] | None
    tensorflow_devices: tuple[str, ...] | None
    clock: ClockState | None

    def to_dict(self) -> dict[str, Any]:
        """All of it as values that JSON can hold."""
        values = asdict(self)
        values["measured_at"] = self.measured_at.isoformat()
        values["disk"]["folder"] = str(self.disk.folder)
        if self.fsync is not None:
            values["fsync"] |= {"median_ms": self.fsync.median_ms, "p95_ms": self.fsync.p95_ms}
        return values

    def to_frame(self) -> pd.DataFrame:
        """All of it to be read: columns ``part``, ``property`` and ``value`` (text with units)."""
        import pandas as pd

        return pd.DataFrame(list(self._rows()), columns=["part", "property", "value"])

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        yield "processor", "model", _or_missing(self.cpu_model)
        yield "processor", "architecture", self.architecture
        yield "processor", "physical cores", _or_missing(self.cores_physical)
        yield "processor", "logical cores", _or_missing(self.cores_logical)
        yield "processor", "usable cores", f"{self.cores_usable:g}"
        yield "memory", "host", _size(self.memory_host_bytes)
        yield "memory", "usable", _size(self.memory_bytes)
        yield "memory", "available now", _size(self.memory_available_bytes)
        yield "memory", "swap", _size(self.swap_bytes)
        yield "disk", "filesystem", _or_missing(self.disk.filesystem)
        yield "disk", "size", _size(self.disk.total_bytes)
        yield "disk", "free", _size(self.disk.free_bytes)
        median = None if self.fsync is None else self.fsync.median_ms
        yield "disk", "durable write, median", _milliseconds(median)
        p95 = None if self.fsync is None else self.fsync.p95_ms
        yield "disk", "durable write, 95th percentile", _milliseconds(p95)
        yield "system", "operating system", self.operating_system
        yield "system", "kernel", self.kernel
        yield "system", "virtualization", _or_missing(self.virtualization)
        yield "system", "python", self.python
        yield "graphics", "NVIDIA cards", _cards(self.gpus)
        if self.tensorflow_devices is not None:
            yield "graphics", "used by TensorFlow", ", ".join(self.tensorflow_devices) or "none"
        yield from self._clock_rows()

    def _clock_rows(self) -> Iterator[tuple[str, str, str]]:
        if self.clock is None:
            yield "clock", "follows a time server", MISSING
            return
        yield "clock", "follows a time server", "yes" if self.clock.synchronized else "no"
        yield "clock", "largest error", _milliseconds(self.clock.max_error_ms)


def profile(
    folder: Path,
    *,
    clock: Clock | None = None,
    tensorflow: bool = False,
    cgroups: Path = Path("/sys/fs/cgroup"),
    proc: Path = Path("/proc"),
) -> HardwareProfile:
    """Measure the machine.

    Parameters
    ----------
    folder
        Where the product keeps its data: its disk is described, and durable writes are timed in it.
    clock
        What times them, and dates the profile.
    tensorflow
        Whether to ask TensorFlow, in a child process of some ten seconds, which cards it can use.
    cgroups, proc
        Where the kernel shows control groups and processes.

    >>> found = profile(Path("."))
    >>> found.memory_bytes <= found.memory_host_bytes
    True
    >>> list(found.to_frame().columns)
    ['part', 'property', 'value']
    """
    clock = clock or SystemClock()
    limits = read_limits(cgroups, proc / "self" / "cgroup")
    memory = psutil.virtual_memory()
    total, available = _memory(int(memory.total), int(memory.available), limits)
    return HardwareProfile(
        measured_at=clock.now(),
        cpu_model=host.read_cpu_model(proc),
        architecture=platform.machine(),
        cores_physical=psutil.cpu_count(logical=False),
        cores_logical=psutil.cpu_count(logical=True),
        cores_usable=_cores(limits),
        limits=limits,
        memory_host_bytes=int(memory.total),
        memory_bytes=total,
        memory_available_bytes=available,
        swap_bytes=_swap(),
        disk=disk.read_disk(folder),
        fsync=disk.measure_fsync(folder, clock),
        virtualization=host.read_virtualization(proc),
        operating_system=host.read_operating_system(),
        kernel=platform.release(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        gpus=host.read_gpus(),
        tensorflow_devices=host.read_tensorflow_devices() if tensorflow else None,
        clock=host.read_clock_state(),
    )


def _cores(limits: Limits) -> float:
    """Cores this process may keep busy: those it may run on, or the time it is given, if less."""
    # An affinity mask (cpuset, taskset) is known on Linux only.
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else (os.cpu_count() or 1)
    return min(float(allowed), limits.cpus) if limits.cpus is not None else float(allowed)


def _memory(total: int, available: int, limits: Limits) -> tuple[int, int]:
    """What this process may use, and what is left of it, in bytes."""
    if limits.memory_bytes is None or limits.memory_bytes >= total:
        return total, available
    left = limits.memory_bytes - (limits.memory_used_bytes or 0)
    return limits.memory_bytes, max(0, min(available, left))


def _swap() -> int | None:
    try:
        return int(psutil.swap_memory().total)
    except (OSError, RuntimeError):  # a sandbox may hide /proc/vmstat or sysctl
        return None


def _or_missing(value: object) -> str:
    return MISSING if value is None else str(value)


def _size(value: int | None) -> str:
    return MISSING if value is None else f"{value / 2**30:,.1f} GiB"


def _milliseconds(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.2f} ms"


def _cards(gpus: tuple[Gpu, ...] | None) -> str:
    if gpus is None:
        return MISSING
    return "; ".join(f"{g.name} ({_size(g.memory_bytes)})" for g in gpus) or "none"
