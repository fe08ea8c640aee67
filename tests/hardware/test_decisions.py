"""From figures to decisions: budget, advice, costs, comparison. Expected numbers are worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hardware.machines import LAPTOP, POD, plant

from workbench.cli.schedule_run import limits_of
from workbench.clock import ManualClock
from workbench.errors import DataError
from workbench.hardware.advice import Advice, advise, advise_costs
from workbench.hardware.budget import Workload, budget, defaults, defaults_here
from workbench.hardware.capability import Capability, measure, thread_counts
from workbench.hardware.comparing import Difference, compare
from workbench.hardware.costs import monthly_costs
from workbench.hardware.disk import Disk
from workbench.hardware.diskspeed import DiskSpeed, FsyncLatency
from workbench.hardware.measurements import Measurements
from workbench.hardware.network import Interface, Network, Route
from workbench.hardware.profile import HardwareProfile, profile
from workbench.hardware.sensors import Power, Sensors, Temperature
from workbench.hardware.timekeeping import ClockState
from workbench.settings import MachineSettings, PriceSettings, ScheduleSettings, Settings

GIB = 2**30
NOW = datetime(2026, 6, 1, 14, 30, tzinfo=UTC)
MEASURED = Capability(
    blas_gflops={1: 50.0, 2: 95.0, 4: 160.0}, scan_rows_per_s=50e6, sweep_bars_per_s=1e9, notebook_cold_s=3.0,
    notebook_warm_s=0.25, order_ms=10.0, orders_per_s=400.0,
)  # fmt: skip


@pytest.fixture
def laptop(tmp_path: Path) -> HardwareProfile:
    found = profile(tmp_path, root=plant(LAPTOP, tmp_path / "root"), writes=5)
    return replace(found, fsync=FsyncLatency((2.0,) * 100), clock=ClockState(True, 10.0, 0.1, "chrony"))


def advice(found: HardwareProfile, measured: Capability = MEASURED, **limits: Any) -> dict[str, Advice]:
    carries = budget(found.cpu.cores_usable, found.memory.total_bytes, measured)
    return {one.topic: one for one in advise(found, measured, carries, MachineSettings(**limits))}


# ---- budget --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cores", "memory", "workers", "jobs"),
    [
        (8, 32 * GIB, 8, 16),
        (16, 4 * GIB, 3, 6),  # 3 GiB of work: a worker wants 1 GiB, a job half of it
        (1.5, 2 * GIB, 1, 2),  # 1 GiB of work
        (1.5, 4 * GIB, 1, 3),  # two jobs a core
        (64, 512 * GIB, 64, 64),
        (0.5, GIB // 2, 1, 1),  # never none
    ],
)
def test_workers_fit_the_cores_and_the_memory(cores: float, memory: int, workers: int, jobs: int) -> None:
    found = defaults(cores, memory)
    assert (found.workers, found.side_by_side) == (workers, jobs)
    assert found.workers * found.memory_per_worker_bytes <= memory


def test_a_pod_takes_the_defaults_of_its_limits(tmp_path: Path) -> None:
    found = defaults_here(plant(POD, tmp_path))  # 1.5 cores and 2 GiB of a node of 64 and 252
    assert (found.workers, found.side_by_side) == (1, 2)
    assert found.memory_per_worker_bytes == GIB


def test_a_setting_of_the_user_beats_the_budget(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, config_file=tmp_path / "workbench.toml")
    assert limits_of(settings).side_by_side == defaults_here().side_by_side
    own = settings.model_copy(update={"schedule": ScheduleSettings(side_by_side=7)})
    assert limits_of(own).side_by_side == 7


def test_the_universe_is_what_memory_holds() -> None:
    found = budget(4, 16 * GIB, MEASURED)
    work = 16 * GIB - int(0.15 * 16 * GIB)
    assert found.work_memory_bytes == work
    # 120 bytes a bar, 252 bars a year
    assert found.universe == {years: work // 120 // (years * 252) for years in (1, 5, 10, 20)}


def test_the_largest_sweep_of_an_hour_follows_from_the_rate() -> None:
    # 10^9 combinations x bars a second, 3,600 s, 5,000 bars
    assert budget(4, 16 * GIB, MEASURED).sweep_combinations == 720_000_000


def test_the_daily_job_is_the_sum_of_its_parts() -> None:
    found = budget(4, 16 * GIB, MEASURED, Workload(steps=3, symbols=1000, years=10, orders=100))
    assert found.daily_job_parts_s == pytest.approx(
        {
            "notebooks": 3.0 + 2 * 0.25,
            "reading bars": 1000 * 10 * 252 / 50e6,
            "orders": 100 / 400,
        }
    )
    assert found.daily_job_s == pytest.approx(3.5 + 0.0504 + 0.25)


def test_what_was_not_measured_is_not_promised() -> None:
    found = budget(4, 16 * GIB, Capability())
    assert (found.sweep_combinations, found.orders_per_s, found.daily_job_s) == (None, None, None)


# ---- measuring -----------------------------------------------------------------------------------


def test_what_does_not_fit_in_the_time_is_skipped_and_named() -> None:
    clock = ManualClock(NOW)
    given: list[float] = []

    def long(left_s: float) -> dict[str, Any]:
        given.append(left_s)
        clock.sleep(4)
        return {"order_ms": 1.0}

    found = measure({"one": long, "two": long, "three": long}, clock, budget_s=5, limit_s=9)
    assert given == [9, 5]
    assert found.skipped == {"three": "the 5 s for measuring were over"}
    assert found.seconds == {"one": 4, "two": 4}


def test_a_measurement_that_fails_is_named_and_the_rest_goes_on() -> None:
    def broken(left_s: float) -> dict[str, Any]:
        raise OSError("no disk")

    found = measure({"bad": broken, "good": lambda left_s: {"order_ms": 2.0}}, ManualClock(NOW), budget_s=5, limit_s=9)
    assert found.skipped == {"bad": "OSError: no disk"}
    assert found.order_ms == 2.0


def test_threads_double_up_to_the_cores() -> None:
    assert [thread_counts(n) for n in (1, 2, 3, 8, 0.5)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4, 8], [1]]


# ---- advice --------------------------------------------------------------------------------------


def test_advice_gives_reason_and_what_doubling_would_bring(laptop: HardwareProfile) -> None:
    said = advice(laptop)
    # 160 GFLOP/s on 4 threads against 4 x 50: each core adds 0.8
    assert said["sweeps"].doubling == "twice the cores: about 1.6 times as many, as arithmetic scales here"
    # 4 durable writes of 2 ms are 80 % of an order's 10 ms; twice as fast saves 4 ms
    assert said["orders"].reason == "an order waits for 4 such writes, 80% of its time"
    assert said["orders"].doubling == "a disk twice as fast: an order in 6.0 ms"
    memory = 16314320 * 1024
    twice = (2 * memory - int(0.15 * 2 * memory)) // 120 // 5040
    assert said["universe"].doubling == f"twice the memory: {twice:,} symbols with 20 years"
    assert all(one.reason for one in said.values())


def test_the_worst_comes_first(laptop: HardwareProfile) -> None:
    slow = replace(laptop, fsync=FsyncLatency((300.0,) * 5))
    carries = budget(8, 16 * GIB, MEASURED)
    said = advise(slow, MEASURED, carries, MachineSettings())
    states = [one.state for one in said]
    assert states == sorted(states, key=["bad", "tight", "good"].index)
    assert said[0].topic == "orders"


@pytest.mark.parametrize(
    ("fsync", "state"),
    [((2.0,) * 100, "good"), ((2.0,) * 98 + (400.0,) * 2, "tight"), ((100.0,) * 9, "tight"), ((300.0,) * 9, "bad")],
)
def test_slow_durable_writes_are_judged_by_their_tail_too(
    laptop: HardwareProfile, fsync: tuple[float, ...], state: str
) -> None:
    assert advice(replace(laptop, fsync=FsyncLatency(fsync)))["orders"].state == state


def test_a_folder_that_cannot_be_written_to_is_the_worst(laptop: HardwareProfile) -> None:
    assert advice(replace(laptop, fsync=None))["orders"].state == "bad"


@pytest.mark.parametrize(
    ("kind", "state"), [("network", "bad"), ("memory", "bad"), ("overlay", "tight"), ("hard disk", "tight")]
)
def test_data_in_the_wrong_place_is_told(laptop: HardwareProfile, kind: str, state: str) -> None:
    placed = replace(laptop, disk=Disk(Path("/"), "somefs", 1, 1, "sda", kind))
    assert advice(placed)["data folder"].state == state


def test_a_fast_local_disk_is_no_advice(laptop: HardwareProfile) -> None:
    assert "data folder" not in advice(laptop)


def test_limits_of_a_container_are_told(tmp_path: Path) -> None:
    pod = profile(tmp_path, root=plant(POD, tmp_path / "root"), writes=5)
    said = advice(pod)
    assert said["cores"].words == "1.5 of 64 cores may be used"
    assert said["memory limit"].words == "2.0 GiB of the host's 251.7 GiB may be used"
    # 1 GiB is left for work: 2^30 / 120 bytes / (20 x 252 sessions)
    assert said["universe"].words.startswith("1,775 symbols with 20 years")


def test_a_clock_that_nobody_keeps_is_told_unless_a_server_is_asked(laptop: HardwareProfile) -> None:
    loose = replace(laptop, clock=ClockState(False, 16_000.0))
    assert advice(loose)["clock"].state == "tight"
    assert "clock" not in advice(loose, time_server="time.example")
    assert "clock" not in advice(laptop)


def test_the_way_out_is_judged(laptop: HardwareProfile) -> None:
    wired, wireless = Interface("eth0", "wired", "up", 1000, 1500), Interface("wlan0", "wireless", "up", None, 1500)
    route = Route("wlan0", "192.168.1.1")
    assert advice(replace(laptop, network=Network((wired, wireless), (route,))))["network"].state == "tight"
    assert advice(replace(laptop, network=Network((wired,), ())))["network"].state == "bad"
    assert "network" not in advice(replace(laptop, network=Network((wired,), (Route("eth0", "192.168.1.1"),))))


def test_a_battery_and_heat_are_told(laptop: HardwareProfile) -> None:
    unplugged = Sensors(power=(Power("AC", "mains", "unplugged", None), Power("BAT0", "battery", "discharging", 0.5)))
    assert advice(replace(laptop, sensors=unplugged))["power"].words == "the machine runs on its battery"
    empty = Sensors(power=(Power("ups", "ups", "on battery", 0.1),))
    assert advice(replace(laptop, sensors=empty))["power"].words == "ups is at 10%"
    hot = Sensors(temperatures=(Temperature("package", 95.0, 100.0),))
    assert advice(replace(laptop, sensors=hot))["heat"].state == "bad"
    assert not {"power", "heat"} & advice(laptop).keys()


# ---- costs ---------------------------------------------------------------------------------------


def test_a_month_costs_what_the_terms_add_up_to() -> None:
    prices = PriceSettings(
        local_usd=Decimal(1200), local_years=Decimal(5), local_watts=Decimal(50),
        electricity_usd_per_kwh=Decimal("0.30"), cloud_usd_per_hour=Decimal("0.50"),
        cloud_storage_usd_per_month=Decimal(10), cloud_relative_speed=Decimal(2),
        research_hours_per_month=Decimal(40),
    )  # fmt: skip
    found = monthly_costs(prices)
    assert found.local_usd == Decimal("30.95")  # 1200 / 60 + 0.05 kW x 730 h x 0.30
    assert found.cloud_always_usd == Decimal("375.00")  # 730 x 0.50 + 10
    assert found.cloud_research_usd == Decimal("20.00")  # 40 / 2 x 0.50 + 10
    assert found.break_even_hours == Decimal("83.8")  # (30.95 - 10) / 0.50 x 2
    assert found.cheapest == "a cloud machine for the research hours"


def test_an_expensive_cloud_makes_this_machine_the_cheapest() -> None:
    found = monthly_costs(PriceSettings(cloud_usd_per_hour=Decimal(3)))
    assert found.cheapest == "this machine"
    assert "this machine is the cheapest way" in advise_costs(found).words


def test_a_cloud_that_costs_nothing_never_breaks_even() -> None:
    found = monthly_costs(PriceSettings(cloud_usd_per_hour=Decimal(0)))
    assert not found.break_even_hours.is_finite()
    assert "any number of hours" in advise_costs(found).reason


# ---- what has changed ----------------------------------------------------------------------------


def kept(found: HardwareProfile, **capability: Any) -> dict[str, Any]:
    measured = replace(MEASURED, disk=DiskSpeed(500.0, 600.0, 9000.0, True), **capability)
    text = json.dumps({**found.to_dict(), "capability": measured.to_dict()})
    values: dict[str, Any] = json.loads(text)
    return values


def test_the_same_machine_has_not_changed(laptop: HardwareProfile) -> None:
    later = replace(
        laptop,
        measured_at=NOW + timedelta(days=1),
        memory=replace(laptop.memory, available_bytes=1),
        sensors=Sensors(),
        fsync=FsyncLatency((2.5,) * 100),
    )
    assert compare([kept(laptop)], kept(later, order_ms=12.0, scan_rows_per_s=40e6)) == []


def test_a_core_that_vanished_is_worse(laptop: HardwareProfile) -> None:
    later = replace(laptop, cpu=replace(laptop.cpu, cores_logical=7, cores_usable=7.0))
    assert compare([kept(laptop)], kept(later)) == [
        Difference("cpu.cores_logical", "worse", 8, 7, 0.875),
        Difference("cpu.cores_usable", "worse", 8.0, 7.0, 0.875),
    ]


def test_a_disk_that_became_slow_is_worse(laptop: HardwareProfile) -> None:
    later = replace(laptop, fsync=FsyncLatency((20.0,) * 100))
    assert compare([kept(laptop)], kept(later)) == [Difference("fsync.median_ms", "worse", 2.0, 20.0, 10.0)]


def test_measured_figures_are_held_against_all_that_was_seen(laptop: HardwareProfile) -> None:
    earlier = [kept(laptop, scan_rows_per_s=rate) for rate in (20e6, 50e6, 60e6)]
    assert compare(earlier, kept(laptop, scan_rows_per_s=15e6)) == []  # 20 / 1.5 is still usual
    assert compare(earlier, kept(laptop, scan_rows_per_s=10e6)) == [
        Difference("capability.scan_rows_per_s", "worse", 50e6, 10e6, 0.2)
    ]
    assert compare(earlier, kept(laptop, scan_rows_per_s=200e6))[0].change == "better"


def test_more_memory_is_better_and_another_numpy_is_a_change(laptop: HardwareProfile) -> None:
    memory = replace(laptop.memory, total_bytes=2 * laptop.memory.total_bytes)
    packages = {**laptop.software.packages, "numpy": "99.0"}
    later = replace(laptop, memory=memory, software=replace(laptop.software, packages=packages))
    found = compare([kept(laptop)], kept(later))
    assert [(one.what, one.change) for one in found] == [
        ("software.packages.numpy", "changed"), ("memory.total_bytes", "better"),
    ]  # fmt: skip


def test_an_interface_that_went_down_is_a_change(laptop: HardwareProfile) -> None:
    interfaces = tuple(replace(one, state="down") for one in laptop.network.interfaces)
    later = replace(laptop, network=replace(laptop.network, interfaces=interfaces))
    assert compare([kept(laptop)], kept(later)) == [
        Difference("network.interfaces.wlp0s20f3.state", "changed", "up", "down")
    ]


def test_what_only_one_of_them_measured_is_left_out(laptop: HardwareProfile) -> None:
    quick = json.loads(json.dumps({**laptop.to_dict(), "capability": Capability().to_dict()}))
    assert [one.what for one in compare([quick], kept(laptop))] == []
    assert [one.what for one in compare([kept(laptop)], quick)] == []


# ---- where measurements are kept -----------------------------------------------------------------


def test_measurements_are_read_in_the_order_they_were_made(tmp_path: Path) -> None:
    files = Measurements.of(tmp_path)
    moments = [datetime(2026, month, 1, tzinfo=UTC) for month in (12, 1, 6)]
    for moment in moments:
        files.add("latency", moment, {"month": moment.month})
    files.add("profile", NOW, {"month": 0})
    assert [row["month"] for row in files.read("latency")] == [1, 6, 12]
    assert [row["month"] for row in files.read("latency", last=2)] == [6, 12]
    assert list(files.read("profile", last=0)) == []


def test_a_moment_of_another_zone_is_filed_by_utc(tmp_path: Path) -> None:
    moment = datetime(2026, 6, 1, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    file = Measurements.of(tmp_path).add("profile", moment, {})
    assert file.relative_to(tmp_path) == Path("hardware/profile/2026-05/20260531T230000.000000Z.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"measured_at": "yesterday"}', '{"month": 1}'])
def test_a_file_that_is_no_measurement_is_named(tmp_path: Path, text: str) -> None:
    files = Measurements.of(tmp_path)
    file = files.add("latency", NOW, {})
    file.write_text(text)
    with pytest.raises(DataError, match=file.name):
        list(files.read("latency"))
