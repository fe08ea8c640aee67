"""A sick machine, made sick by asking more of it than it has; the clock, by a time server that runs ahead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hardware.machines import BARE, LAPTOP, POD, Tree, plant
from support.hosts import TimeServer, closed_port

from workbench.clock import ManualClock, SystemClock
from workbench.errors import MachineUnfit
from workbench.hardware import health
from workbench.hardware.health import Checkup, Finding, examine, require_fit
from workbench.hardware.measurements import Measurements
from workbench.hardware.timekeeping import ClockState
from workbench.settings import MachineSettings

NOW = datetime(2026, 6, 1, 14, 30, tzinfo=UTC)


class SlowClock(ManualClock):
    """Each look at it costs as long as it is told."""

    def __init__(self, tick_s: float) -> None:
        super().__init__(NOW)
        self.tick_s = tick_s

    def monotonic(self) -> float:
        self.advance(self.tick_s)
        return super().monotonic()


def finding(name: str, folder: Path, settings: MachineSettings | None = None, **more: Any) -> Finding:
    [found] = [one for one in examine(folder, settings or MachineSettings(), **more) if one.name == name]
    return found


def state_of_clock(monkeypatch: pytest.MonkeyPatch, state: ClockState | None) -> None:
    monkeypatch.setattr(health, "read_clock_state", lambda root: state)


def test_a_well_machine_is_fit(tmp_path: Path) -> None:
    modest = MachineSettings(min_free_disk_mb=1, min_free_memory_mb=1, max_fsync_ms=60_000)
    states = {one.name: one.state for one in examine(tmp_path, modest)}
    assert states.keys() == {"memory", "disk", "durable writes", "clock"}
    assert "fail" not in states.values()
    require_fit(tmp_path, modest)


def test_too_little_memory_is_a_fault(tmp_path: Path) -> None:
    # the pod has 2 GiB less 0.75 GiB in use: 1,342 MB
    root = plant(POD, tmp_path / "root")
    found = finding("memory", tmp_path, MachineSettings(min_free_memory_mb=1500), root=root)
    assert (found.state, found.found) == ("fail", "1,342 MB of memory left, 1,500 are needed")
    assert finding("memory", tmp_path, MachineSettings(min_free_memory_mb=500), root=root).state == "warn"
    assert finding("memory", tmp_path, MachineSettings(min_free_memory_mb=400), root=root).state == "ok"


def test_a_full_disk_is_a_fault(tmp_path: Path) -> None:
    found = finding("disk", tmp_path, MachineSettings(min_free_disk_mb=10**9))
    assert found.state == "fail"
    assert found.found.endswith("1,000,000,000 are needed")
    assert found.fix == "free some space"


def test_slow_durable_writes_are_a_fault(tmp_path: Path) -> None:
    found = finding("durable writes", tmp_path, clock=SlowClock(0.3))
    assert (found.state, found.found) == (
        "fail", "a durable write takes 300.0 ms (median of 5), 250 ms are the most",
    )  # fmt: skip
    assert finding("durable writes", tmp_path, clock=SlowClock(0.1)).state == "warn"
    assert finding("durable writes", tmp_path, clock=SlowClock(0.01)).state == "ok"


def test_a_folder_that_cannot_be_written_to_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.fsync", refuse)
    assert finding("durable writes", tmp_path).state == "fail"


@pytest.mark.parametrize(("ahead_s", "state"), [(0.0, "ok"), (1.5, "ok"), (10.0, "fail"), (-10.0, "fail")])
def test_a_clock_that_the_time_server_contradicts_is_a_fault(tmp_path: Path, ahead_s: float, state: str) -> None:
    with TimeServer(ahead_s) as server:
        found = finding("clock", tmp_path, MachineSettings(time_server=server.address))
    assert found.state == state
    assert server.address in found.found


def test_a_time_server_that_is_away_is_said_and_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state_of_clock(monkeypatch, None)
    address = f"127.0.0.1:{closed_port()}"
    found = finding("clock", tmp_path, MachineSettings(time_server=address))
    assert (found.state, found.found) == ("warn", f"{address} does not answer, and nobody knows how right the clock is")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (ClockState(True, 20.0, 0.5, "chrony"), "ok"),
        (ClockState(True, 20.0, -2500.0, "chrony"), "fail"),
        (ClockState(True, 900.0), "ok"),
        (ClockState(False, 16_000.0), "warn"),
        (ClockState(False, 16_000.0, 5000.0), "warn"),  # a daemon that follows nobody knows nothing
        (None, "warn"),
    ],
)
def test_what_the_time_daemon_knows_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: ClockState | None, expected: str
) -> None:
    state_of_clock(monkeypatch, state)
    assert finding("clock", tmp_path).state == expected


@pytest.mark.parametrize(
    ("age", "offset_ms", "expected"),
    [
        (timedelta(minutes=10), 5000.0, "fail"),
        (timedelta(minutes=10), 2300.0, "ok"),  # 2.3 s give or take 0.5 may be less than 2
        (timedelta(hours=2), 5000.0, "warn"),  # too long ago to say anything
        (timedelta(minutes=10), None, "warn"),
    ],
)
def test_a_venue_that_was_just_measured_contradicts_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: timedelta, offset_ms: float | None, expected: str
) -> None:
    state_of_clock(monkeypatch, None)
    row = {"target": {"name": "venue.example"}, "clock_offset_ms": offset_ms, "clock_error_ms": 500.0}
    Measurements.of(tmp_path).add("latency", NOW - age, {"results": [row]})
    assert finding("clock", tmp_path, clock=ManualClock(NOW)).state == expected


def test_all_faults_are_told_in_one_line(tmp_path: Path) -> None:
    greedy = MachineSettings(min_free_disk_mb=10**9, min_free_memory_mb=10**9)
    with pytest.raises(MachineUnfit) as refused:
        require_fit(tmp_path, greedy)
    text = str(refused.value)
    assert text.startswith("this machine is not fit to trade on: ")
    assert "of memory left" in text
    assert "left on the disk" in text
    assert text.endswith("end other programs, or add memory; free some space")
    assert "\n" not in text


def test_a_machine_found_well_is_believed_for_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(NOW)
    checkup = Checkup(tmp_path, MachineSettings(min_free_disk_mb=1, min_free_memory_mb=1), clock)
    checkup.require_fit()

    def sick(*arguments: object) -> None:
        raise MachineUnfit("sick")

    monkeypatch.setattr(health, "require_fit", sick)
    clock.advance(59)
    checkup.require_fit()
    clock.advance(2)
    with pytest.raises(MachineUnfit):
        checkup.require_fit()


@pytest.mark.parametrize("machine", [LAPTOP, BARE], ids=["laptop", "bare"])
def test_any_machine_can_be_looked_at(tmp_path: Path, machine: Tree) -> None:
    assert len(examine(tmp_path, MachineSettings(), SystemClock(), plant(machine, tmp_path / "root"))) == 4
