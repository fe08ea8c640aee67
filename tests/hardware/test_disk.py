from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from workbench.clock import ManualClock, SystemClock
from workbench.hardware import disk
from workbench.hardware.disk import nearest_existing, read_disk
from workbench.hardware.diskspeed import FsyncLatency, measure_fsync, measure_speed, percentile


class Mount(NamedTuple):
    """The fields of psutil's partition that are read."""

    mountpoint: str
    fstype: str
    device: str


class TickingClock(ManualClock):
    """Each look at it costs as long as it is told."""

    def __init__(self, tick_s: float) -> None:
        super().__init__(datetime(2013, 1, 2, tzinfo=UTC))
        self.tick_s = tick_s

    def monotonic(self) -> float:
        self.advance(self.tick_s)
        return super().monotonic()


def test_every_append_is_confirmed_by_the_disk_before_it_counts(tmp_path, monkeypatch):
    sizes = []
    real = os.fsync

    def observed(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", observed)
    found = measure_fsync(tmp_path, SystemClock())
    assert found is not None
    assert len(found.samples_ms) == 50
    assert sizes == [512 * n for n in range(1, 51)]


def test_the_time_between_write_and_confirmation_is_what_is_measured(tmp_path):
    # the clock is read once before and once after each append, one tick of 2 ms apart
    found = measure_fsync(tmp_path, TickingClock(0.002), writes=10)
    assert found is not None
    assert found.samples_ms == pytest.approx([2.0] * 10)


def test_a_slow_disk_is_measured_five_times_only(tmp_path):
    found = measure_fsync(tmp_path, TickingClock(0.4), writes=50)
    assert found is not None
    assert found.samples_ms == pytest.approx([400.0] * 5)


def test_nothing_is_left_in_the_folder(tmp_path):
    measure_fsync(tmp_path, SystemClock(), writes=5)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_has_no_latency(tmp_path, monkeypatch):
    def refuse(descriptor: int) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "fsync", refuse)
    assert measure_fsync(tmp_path, SystemClock()) is None


def test_median_and_95th_percentile_of_one_to_a_hundred():
    # numpy.percentile(range(1, 101), [50, 95]) -> 50.5, 95.05
    latency = FsyncLatency(tuple(float(n) for n in range(1, 101)))
    assert latency.median_ms == 50.5
    assert latency.p95_ms == pytest.approx(95.05)


def test_one_sample_is_its_own_95th_percentile():
    assert FsyncLatency((3.0,)).p95_ms == 3.0


def test_a_folder_that_does_not_exist_yet_is_described_by_the_one_above(tmp_path):
    assert nearest_existing(tmp_path / "data" / "lake") == tmp_path
    assert read_disk(tmp_path / "data" / "lake").folder == tmp_path


def test_sizes_are_those_of_the_disk(tmp_path):
    found = read_disk(tmp_path)
    assert found.total_bytes == psutil.disk_usage(str(tmp_path)).total
    assert found.free_bytes is not None
    assert 0 < found.free_bytes <= found.total_bytes


def test_the_filesystem_is_that_of_the_closest_mount(tmp_path):
    root, data = tmp_path / "root", tmp_path / "data"
    (root / "proc/self").mkdir(parents=True)
    data.mkdir()
    lines = ["1 1 0:1 / / rw - overlay overlay rw", f"2 1 0:2 / {tmp_path.resolve()} rw - ext4 /dev/sda1 rw",
             f"3 1 0:3 / {tmp_path.resolve()}/other rw - nfs server:/x rw"]  # fmt: skip
    (root / "proc/self/mountinfo").write_text("\n".join(lines) + "\n")
    assert read_disk(data, root).filesystem == "ext4"


def test_without_a_list_of_mounts_psutil_is_asked(tmp_path, monkeypatch):
    mounts = [Mount("/", "overlay", "overlay"), Mount(str(tmp_path), "apfs", "/dev/disk3s1")]
    monkeypatch.setattr(disk, "read_text", lambda file: None)
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    found = read_disk(tmp_path)
    assert (found.filesystem, found.device) == ("apfs", "/dev/disk3s1")


def test_an_unknown_filesystem_is_not_available(tmp_path, monkeypatch):
    def refuse(all: bool) -> None:
        raise PermissionError(13, "not in this sandbox")

    monkeypatch.setattr(disk, "read_text", lambda file: None)
    monkeypatch.setattr(psutil, "disk_partitions", refuse)
    found = read_disk(Path(tmp_path))
    assert (found.filesystem, found.kind) == (None, None)


def test_throughput_is_bytes_over_the_time_they_took(tmp_path):
    # 4 MiB, the clock moves 0.1 s each time it is read: once before, once after each MiB and once more at the end
    # of the writes (4 x before a block, 1 for the first, 1 at the end), so every rate follows from a count of reads.
    clock = TickingClock(0.1)
    found = measure_speed(tmp_path, clock, size_bytes=4 * 2**20, budget_s=1e9)
    assert found is not None
    # writes: started, looked at before blocks 2 to 4, ended: 4 ticks after the start
    assert found.write_mb_per_s == pytest.approx(4 * 2**20 / 0.4 / 1e6)
    assert found.read_mb_per_s == pytest.approx(4 * 2**20 / 0.4 / 1e6)
    # 1024 pages, looked at before every page but the first, and at the end
    assert found.random_reads_per_s == pytest.approx(1024 / (1024 * 0.1))
    assert list(tmp_path.iterdir()) == []


def test_a_slow_disk_is_measured_on_fewer_bytes(tmp_path):
    found = measure_speed(tmp_path, TickingClock(2.0), size_bytes=64 * 2**20, budget_s=1.0)
    assert found is not None
    assert found.write_mb_per_s == pytest.approx(2**20 / 4.0 / 1e6)  # one block, two ticks


def test_a_folder_that_cannot_be_written_to_has_no_speed(tmp_path, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    assert measure_speed(tmp_path, SystemClock(), size_bytes=2**20) is None
    assert list(tmp_path.iterdir()) == []


def test_percentiles_are_those_of_numpy():
    numpy = pytest.importorskip("numpy")
    samples = [5.0, 1.0, 4.0, 4.5, 9.0, 2.0, 2.5]
    for percent in (0, 10, 50, 95, 99, 100):
        assert percentile(samples, percent) == pytest.approx(numpy.percentile(samples, percent))
