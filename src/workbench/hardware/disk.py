"""The disk under a folder: room, filesystem, and how long one durable write takes."""

from __future__ import annotations

import os
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from workbench.clock import Clock

# About one journal commit: a few rows of an order and its event.
_WRITE_BYTES = 512
# A slow disk ends the measurement early, so that a profile stays a matter of a moment.
_BUDGET_S = 0.5
_AT_LEAST = 5


@dataclass(frozen=True, slots=True)
class FsyncLatency:
    """How long a small append takes until the disk has confirmed it, in milliseconds, in order measured."""

    samples_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        return statistics.median(self.samples_ms)

    @property
    def p95_ms(self) -> float:
        """The 95th percentile, interpolated linearly between samples."""
        if len(self.samples_ms) == 1:
            return self.samples_ms[0]
        return statistics.quantiles(self.samples_ms, n=20, method="inclusive")[-1]


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk that holds ``folder``. Sizes in bytes; None where the system does not say."""

    folder: Path
    filesystem: str | None
    total_bytes: int | None
    free_bytes: int | None


def read_disk(folder: Path) -> Disk:
    """Describe the disk under ``folder``, or under the nearest folder above it that exists."""
    existing = nearest_existing(folder)
    try:
        usage = psutil.disk_usage(str(existing))
        total, free = int(usage.total), int(usage.free)
    except OSError:
        return Disk(existing, _filesystem(existing), None, None)
    return Disk(existing, _filesystem(existing), total, free)


def measure_fsync(folder: Path, clock: Clock, writes: int = 50) -> FsyncLatency | None:
    """Append small records to a scratch file in ``folder``, each followed by fsync, and time every one.

    The journal commits in this way before an order leaves, so this is the floor of the time an order
    takes. The file is removed afterwards. None if the folder cannot be written to.

    Parameters
    ----------
    writes
        How many appends; a slow disk stops after half a second with at least five.

    >>> from workbench.clock import SystemClock
    >>> len(measure_fsync(Path("."), SystemClock(), writes=5).samples_ms)
    5
    """
    record = b"\0" * _WRITE_BYTES
    samples: list[float] = []
    try:
        with tempfile.NamedTemporaryFile(dir=nearest_existing(folder), prefix=".fsync-") as file:
            began = clock.monotonic()
            for _ in range(writes):
                start = clock.monotonic()
                file.write(record)
                file.flush()
                os.fsync(file.fileno())
                end = clock.monotonic()
                samples.append((end - start) * 1000)
                if end - began > _BUDGET_S and len(samples) >= _AT_LEAST:
                    break
    except OSError:
        return None
    return FsyncLatency(tuple(samples)) if samples else None


def nearest_existing(folder: Path) -> Path:
    """``folder`` itself, or the first folder above it that exists."""
    absolute = folder.absolute()
    return next(path for path in (absolute, *absolute.parents) if path.is_dir())


def _filesystem(folder: Path) -> str | None:
    """The type of the filesystem mounted closest above ``folder``, such as ext4 or apfs."""
    try:
        partitions = psutil.disk_partitions(all=True)
    except OSError:
        return None
    resolved = folder.resolve()
    # Later mounts hide earlier ones on the same point, hence the last of the longest.
    best: tuple[int, str] | None = None
    for partition in partitions:
        mount = Path(partition.mountpoint)
        if resolved.is_relative_to(mount) and (best is None or len(mount.parts) >= best[0]):
            best = (len(mount.parts), partition.fstype)
    return best[1] or None if best else None
