"""How fast the disk under a folder is: durable writes, long runs of bytes, single pages. Measured, never looked up."""

from __future__ import annotations

import mmap
import os
import random
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workbench.clock import Clock
from workbench.hardware.disk import nearest_existing

# About one journal commit: a few rows of an order and its event.
_WRITE_BYTES = 512
# A slow disk ends the measurement early, so that a profile stays a matter of a moment.
_BUDGET_S = 0.5
_AT_LEAST = 5
_BLOCK_BYTES = 2**20
_PAGE_BYTES = 4096


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
        return percentile(self.samples_ms, 95)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile, interpolated linearly between samples."""
        return percentile(self.samples_ms, 99)

    @property
    def worst_ms(self) -> float:
        return max(self.samples_ms)


@dataclass(frozen=True, slots=True)
class DiskSpeed:
    """Throughput in megabytes (10^6) a second, and single pages of 4 KiB read at random places a second.

    ``direct`` says that the page cache was bypassed. Where the filesystem does not allow that, reads may have come from
    memory, and are then faster than the disk.
    """

    write_mb_per_s: float
    read_mb_per_s: float
    random_reads_per_s: float
    direct: bool


def percentile(samples: Sequence[float], percent: float) -> float:
    """A percentile, interpolated linearly between samples as ``numpy.percentile`` does.

    >>> percentile([1, 2, 3, 4], 50)
    2.5
    """
    ordered = sorted(samples)
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def measure_fsync(folder: Path, clock: Clock, writes: int = 50, budget_s: float = _BUDGET_S) -> FsyncLatency | None:
    """Append small records to a scratch file in ``folder``, each followed by fsync, and time every one.

    The journal commits in this way before an order leaves, so this is the floor of the time an order
    takes. The file is removed afterwards. None if the folder cannot be written to.

    Parameters
    ----------
    writes
        How many appends; a slow disk stops after ``budget_s`` seconds with at least five.

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
                if end - began > budget_s and len(samples) >= _AT_LEAST:
                    break
    except OSError:
        return None
    return FsyncLatency(tuple(samples)) if samples else None


def measure_speed(folder: Path, clock: Clock, *, size_bytes: int = 2**28, budget_s: float = 1.0) -> DiskSpeed | None:
    """Write a scratch file in ``folder``, read it through, and read single pages of it; None if that is not possible.

    Parameters
    ----------
    size_bytes
        Of the scratch file, a multiple of 1 MiB; it is removed afterwards.
    budget_s
        For each of the three; a slow disk is measured on fewer bytes.

    >>> from workbench.clock import SystemClock
    >>> measure_speed(getfixture("tmp_path"), SystemClock(), size_bytes=2**21).read_mb_per_s > 0
    True
    """
    try:
        with _scratch(nearest_existing(folder)) as file:
            written, write_s = _write(file, size_bytes, clock, budget_s)
            with _uncached(file) as (descriptor, direct):
                read, read_s = _read(descriptor, written, clock, budget_s)
                pages, pages_s = _read_pages(descriptor, written, clock, budget_s)
    except OSError:
        return None
    return DiskSpeed(written / write_s / 1e6, read / read_s / 1e6, pages / pages_s, direct)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".speed-")
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        os.unlink(name)


@contextmanager
def _uncached(file: Path) -> Iterator[tuple[int, bool]]:
    """Open a file past the page cache if the filesystem takes that, else with its cached pages dropped."""
    try:
        descriptor, direct = os.open(file, os.O_RDONLY | os.O_DIRECT), True
    except (OSError, AttributeError):  # tmpfs refuses it, macOS does not have it
        descriptor, direct = os.open(file, os.O_RDONLY), False
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    try:
        yield descriptor, direct
    finally:
        os.close(descriptor)


def _write(file: Path, size_bytes: int, clock: Clock, budget_s: float) -> tuple[int, float]:
    """Bytes written and seconds until the disk had confirmed them all; the bytes do not compress."""
    block = random.Random(0).randbytes(_BLOCK_BYTES)
    done = 0
    with file.open("wb", buffering=0) as out:
        start = clock.monotonic()
        while done < size_bytes and (done == 0 or clock.monotonic() - start < budget_s):
            out.write(block)
            done += _BLOCK_BYTES
        os.fsync(out.fileno())
        return done, clock.monotonic() - start


def _read(descriptor: int, size_bytes: int, clock: Clock, budget_s: float) -> tuple[int, float]:
    done = 0
    with mmap.mmap(-1, _BLOCK_BYTES) as block:  # direct reads need memory on a page boundary
        start = clock.monotonic()
        while done < size_bytes and (done == 0 or clock.monotonic() - start < budget_s):
            done += os.preadv(descriptor, [block], done)
        return done, clock.monotonic() - start


def _read_pages(descriptor: int, size_bytes: int, clock: Clock, budget_s: float) -> tuple[int, float]:
    """Pages read one after the other, and seconds: what one thread that waits for each gets."""
    places = random.Random(0)
    pages = size_bytes // _PAGE_BYTES
    done = 0
    with mmap.mmap(-1, _PAGE_BYTES) as page:
        start = clock.monotonic()
        while done < pages and (done == 0 or clock.monotonic() - start < budget_s):
            os.preadv(descriptor, [page], places.randrange(pages) * _PAGE_BYTES)
            done += 1
        return done, clock.monotonic() - start
