"""Advice in words: what the machine is enough for, what limits it, what twice as much of that would give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from workbench.hardware.budget import ROW_BYTES, SESSIONS_A_YEAR, SWEEP_BARS, Budget, work_memory
from workbench.hardware.capability import Capability
from workbench.hardware.costs import Costs
from workbench.hardware.profile import HardwareProfile
from workbench.hardware.wording import size
from workbench.settings import MachineSettings

# An order of ours is committed three times (proposed, approved, answered), and once by the paper exchange.
COMMITS_OF_AN_ORDER = 4
_SAFE = 3
_TIGHT_UNIVERSE = 500  # symbols with 20 years of daily bars: an index
_LOW_CHARGE = 0.2


@dataclass(frozen=True, slots=True)
class Advice:
    """One piece of advice: what is so, why, and what doubling it would give ("" if that is not the question)."""

    topic: str
    state: Literal["good", "tight", "bad"]
    words: str
    reason: str
    doubling: str = ""


def advise(found: HardwareProfile, measured: Capability, carries: Budget, limits: MachineSettings) -> list[Advice]:
    """Everything worth saying about the machine, the worst first."""
    said = [
        *_cores(found, measured, carries),
        *_memory(found, carries),
        *_orders(found, measured, limits),
        *_place(found),
        *_clock(found, limits),
        *_network(found),
        *_power(found),
    ]
    return sorted(said, key=lambda advice: ["bad", "tight", "good"].index(advice.state))


def advise_costs(costs: Costs) -> Advice:
    """What the cost model says."""
    words = (
        f"{costs.cheapest} is the cheapest way: {costs.local_usd} USD a month here, {costs.cloud_research_usd} in the"
        f" cloud for the research hours, {costs.cloud_always_usd} always on"
    )
    hours = f"{costs.break_even_hours:,.0f}" if costs.break_even_hours.is_finite() else "any number of"
    reason = f"{hours} hours of research a month in the cloud would cost as much as this machine; prices are yours"
    return Advice("local or cloud", "good", words, reason)


def _cores(found: HardwareProfile, measured: Capability, carries: Budget) -> Iterator[Advice]:
    cores = found.cpu.cores_usable
    logical = found.cpu.cores_logical
    if logical is not None and cores < logical:
        yield Advice(
            "cores", "tight", f"{cores:g} of {logical} cores may be used",
            "a container, a service manager or an affinity mask withholds the rest",
            "raising that limit costs nothing where the host has cores to spare",
        )  # fmt: skip
    if carries.sweep_combinations is None:
        return
    efficiency = _efficiency(measured)
    yield Advice(
        "sweeps", "good" if cores >= 2 else "tight",
        f"{carries.sweep_combinations:,} combinations on {SWEEP_BARS:,} bars in an hour",
        f"a sweep keeps all {cores:g} cores busy; combinations, bars and symbols multiply",
        f"twice the cores: about {2 * efficiency:.1f} times as many, as arithmetic scales here",
    )  # fmt: skip


def _efficiency(measured: Capability) -> float:
    """What each further core adds, against the first: 1 is perfect."""
    rates = measured.blas_gflops
    if len(rates) < 2:
        return 1.0
    most = max(rates)
    return min(1.0, rates[most] / (most * rates[min(rates)]))


def _memory(found: HardwareProfile, carries: Budget) -> Iterator[Advice]:
    memory = found.memory
    if memory.total_bytes < memory.host_bytes:
        yield Advice(
            "memory limit", "tight",
            f"{size(memory.total_bytes)} of the host's {size(memory.host_bytes)} may be used",
            "more than that, and the kernel ends the process in the middle of what it does",
        )  # fmt: skip
    symbols = carries.universe[20]
    double = work_memory(2 * memory.total_bytes) // ROW_BYTES // (20 * SESSIONS_A_YEAR)
    yield Advice(
        "universe", "good" if symbols >= _TIGHT_UNIVERSE else "tight",
        f"{symbols:,} symbols with 20 years of daily bars fit in memory, {carries.universe[5]:,} with 5",
        f"a bar takes {ROW_BYTES} bytes while a strategy works, and {size(carries.work_memory_bytes)} are there for it",
        f"twice the memory: {double:,} symbols with 20 years",
    )  # fmt: skip
    if memory.swap_used_bytes and memory.swap_bytes and memory.swap_used_bytes > memory.swap_bytes / 2:
        yield Advice("swap", "bad", "more than half of the swap is in use", "a sweep that swaps does not end")


def _orders(found: HardwareProfile, measured: Capability, limits: MachineSettings) -> Iterator[Advice]:
    if found.fsync is None:
        yield Advice("orders", "bad", "the data folder cannot be written to", "no order is sent without its record")
        return
    write_ms = found.fsync.median_ms
    state: Literal["good", "tight", "bad"] = "good"
    if write_ms > limits.max_fsync_ms:
        state = "bad"
    elif write_ms > limits.max_fsync_ms / _SAFE or found.fsync.p99_ms > limits.max_fsync_ms:
        state = "tight"
    words = f"a durable write takes {write_ms:.2f} ms, and {found.fsync.p99_ms:.2f} ms at the 99th percentile"
    if measured.order_ms is None or measured.orders_per_s is None:
        yield Advice("orders", state, words, "every order waits for three before it leaves")
        return
    share = min(1.0, COMMITS_OF_AN_ORDER * write_ms / measured.order_ms)
    yield Advice(
        "orders", state,
        f"{words}; an order takes {measured.order_ms:.1f} ms, {measured.orders_per_s:,.0f} go in a second",
        f"an order waits for {COMMITS_OF_AN_ORDER} such writes, {share:.0%} of its time",
        f"a disk twice as fast: an order in {measured.order_ms * (1 - share / 2):.1f} ms",
    )  # fmt: skip


def _place(found: HardwareProfile) -> Iterator[Advice]:
    kind, filesystem = found.disk.kind, found.disk.filesystem
    if kind == "network":
        yield Advice(
            "data folder", "bad", f"the data folder is on a network filesystem ({filesystem})",
            "SQLite's write-ahead log needs shared memory, which such a filesystem does not give; use a local disk",
        )  # fmt: skip
    elif kind == "memory":
        yield Advice(
            "data folder", "bad", f"the data folder is in memory ({filesystem})",
            "a journal that does not survive a restart is none; move data to a disk",
        )  # fmt: skip
    elif kind == "overlay":
        yield Advice(
            "data folder", "tight", "the data folder is in the container's own layer",
            "it goes when the container does; mount a volume there",
        )  # fmt: skip
    elif kind == "hard disk":
        yield Advice(
            "data folder", "tight", "the data folder is on a hard disk", "a solid-state disk confirms writes sooner"
        )


def _clock(found: HardwareProfile, limits: MachineSettings) -> Iterator[Advice]:
    clock = found.clock
    if clock is None or limits.time_server:
        return
    if not clock.synchronized:
        yield Advice(
            "clock", "tight", "the kernel does not know of anybody who keeps the clock right",
            "orders and bars are judged by their time; run chrony, or set machine.time_server so that it is asked",
        )  # fmt: skip


def _network(found: HardwareProfile) -> Iterator[Advice]:
    if not found.network.interfaces:
        return
    up = {interface.name: interface for interface in found.network.interfaces if interface.state == "up"}
    routes = found.network.routes
    if not routes:
        yield Advice("network", "bad", "there is no way out of this machine", "no venue can be reached")
    elif (first := up.get(routes[0].interface)) is not None and first.kind == "wireless":
        yield Advice(
            "network", "tight", "the way out is wireless", "a cable loses less and is steadier: see the jitter"
        )


def _power(found: HardwareProfile) -> Iterator[Advice]:
    supplies = found.sensors.power
    if any(supply.kind == "mains" and supply.status == "unplugged" for supply in supplies):
        yield Advice("power", "bad", "the machine runs on its battery", "it slows down, and sleeps when it is closed")
    for supply in supplies:
        if supply.kind != "mains" and supply.charge is not None and supply.charge < _LOW_CHARGE:
            yield Advice("power", "bad", f"{supply.name} is at {supply.charge:.0%}", "it will not last for long")
    hot = [t for t in found.sensors.temperatures if t.critical_c is not None and t.celsius > 0.9 * t.critical_c]
    for temperature in hot:
        yield Advice(
            "heat", "bad", f"{temperature.name} is at {temperature.celsius:.0f} °C",
            f"at {temperature.critical_c:.0f} °C the machine slows down or stops",
        )  # fmt: skip
