from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from workbench.clock import ManualClock, SystemClock
from workbench.hardware.disk import FsyncLatency, measure_fsync, nearest_existing, read_disk


class Mount(NamedTuple):
    """The two fields of psutil's partition that are read."""

    mountpoint: str
    fstype: str


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


def test_the_filesystem_is_that_of_the_closest_mount(tmp_path, monkeypatch):
    mounts = [
        Mount("/", "overlay"),
        Mount(str(tmp_path), "ext4"),
        Mount(str(tmp_path / "other"), "nfs"),
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    (tmp_path / "data").mkdir()
    assert read_disk(tmp_path / "data").filesystem == "ext4"


def test_an_unknown_filesystem_is_not_available(tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [])
    assert read_disk(Path(tmp_path)).filesystem is None
