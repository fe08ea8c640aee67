"""The hardware profile: what this machine offers a trading job, described in well under a second.

What a container or service manager withholds is subtracted: a job that believes the host's numbers is
killed for memory it was never given. A sensor that does not exist here is None, shown as "not available".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.clock import Clock, SystemClock
from workbench.hardware.cgroups import Limits, read_limits
from workbench.hardware.cpu import Cpu, read_cpu
from workbench.hardware.disk import Disk, Drive, read_disk, read_drives
from workbench.hardware.diskspeed import FsyncLatency, measure_fsync
from workbench.hardware.gpu import Gpu, read_gpus, read_tensorflow_devices
from workbench.hardware.host import Host, read_host
from workbench.hardware.memory import Memory, read_memory
from workbench.hardware.network import Network, read_network
from workbench.hardware.reading import HERE
from workbench.hardware.sensors import Sensors, read_sensors
from workbench.hardware.software import Software, read_software
from workbench.hardware.timekeeping import ClockState, read_clock_state

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class HardwareProfile:
    """What the machine is, at one moment. Sizes in bytes; None means that no sensor answered.

    ``cpu.cores_usable`` and ``memory.total_bytes`` are what this process may use: the host's, less what an affinity
    mask or a control group withholds. ``gpus`` is None without an NVIDIA driver; ``tensorflow_devices`` is
    None unless it was asked for.
    """

    measured_at: datetime
    host: Host
    cpu: Cpu
    memory: Memory
    limits: Limits
    disk: Disk
    drives: tuple[Drive, ...]
    fsync: FsyncLatency | None
    network: Network
    sensors: Sensors
    gpus: tuple[Gpu, ...] | None
    tensorflow_devices: tuple[str, ...] | None
    clock: ClockState | None
    software: Software

    def to_dict(self) -> dict[str, Any]:
        """All of it as values that JSON can hold."""
        values = asdict(self)
        values["measured_at"] = self.measured_at.isoformat()
        values["disk"]["folder"] = str(self.disk.folder)
        if self.fsync is not None:
            values["fsync"] |= {
                "median_ms": self.fsync.median_ms, "p95_ms": self.fsync.p95_ms, "p99_ms": self.fsync.p99_ms,
                "worst_ms": self.fsync.worst_ms,
            }  # fmt: skip
        return values

    def to_frame(self) -> pd.DataFrame:
        """All of it to be read: columns ``part``, ``property`` and ``value`` (text with units)."""
        import pandas as pd

        from workbench.hardware.wording import rows

        return pd.DataFrame(list(rows(self)), columns=["part", "property", "value"])


def profile(
    folder: Path,
    *,
    clock: Clock | None = None,
    tensorflow: bool = False,
    root: Path = HERE,
    writes: int = 50,
) -> HardwareProfile:
    """Describe the machine.

    Parameters
    ----------
    folder
        Where the product keeps its data: its disk is described, and durable writes are timed in it.
    clock
        What times them, and dates the profile.
    tensorflow
        Whether to ask TensorFlow, in a child process of some ten seconds, which cards it can use.
    root
        Where the kernel shows itself, in ``proc``, ``sys``, ``etc`` and ``run``.
    writes
        How many durable writes are timed, in half a second at most.

    >>> found = profile(Path("."))
    >>> found.memory.total_bytes <= found.memory.host_bytes
    True
    >>> list(found.to_frame().columns)
    ['part', 'property', 'value']
    """
    clock = clock or SystemClock()
    limits = read_limits(root / "sys/fs/cgroup", root / "proc/self/cgroup")
    return HardwareProfile(
        measured_at=clock.now(),
        host=read_host(root),
        cpu=read_cpu(limits, root),
        memory=read_memory(limits, root),
        limits=limits,
        disk=read_disk(folder, root),
        drives=read_drives(root),
        fsync=measure_fsync(folder, clock, writes),
        network=read_network(root),
        sensors=read_sensors(root),
        gpus=read_gpus(),
        tensorflow_devices=read_tensorflow_devices() if tensorflow else None,
        clock=read_clock_state(root),
        software=read_software(),
    )
