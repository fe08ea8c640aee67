"""A profile in words: one line per property, numbers with their units, a sensor that is missing said so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.hardware.cpu import Cpu
    from workbench.hardware.network import Network
    from workbench.hardware.profile import HardwareProfile
    from workbench.hardware.sensors import Sensors

MISSING = "not available"
Row = tuple[str, str, str]


def rows(found: HardwareProfile) -> Iterator[Row]:
    """Part, property and value of everything that the profile knows, and of what it looked for in vain."""
    yield from _processor(found.cpu)
    if found.limits.cpus is not None:
        yield "processor", "limit of the control group", f"{found.limits.cpus:g} cores"
    yield from _memory(found)
    yield from _disk(found)
    yield from _network(found.network)
    yield "graphics", "NVIDIA cards", _cards(found)
    if found.tensorflow_devices is not None:
        yield "graphics", "used by TensorFlow", ", ".join(found.tensorflow_devices) or "none"
    yield from _sensors(found.sensors)
    yield "system", "operating system", found.host.operating_system
    yield "system", "kernel", found.host.kernel
    yield "system", "board", _or_missing(found.host.board)
    yield "system", "virtualization", _or_missing(found.host.virtualization)
    yield "system", "cloud", _or_missing(found.host.cloud)
    yield from _clock(found)
    yield "software", "python", found.software.python
    yield (
        "software",
        "BLAS",
        _listed(
            f"{b.name} {b.version or ''} for {b.target or 'any'}, {b.threads} threads" for b in found.software.blas
        ),
    )
    yield "software", "packages", _listed(f"{name} {version}" for name, version in found.software.packages.items())


def size(value: float | None) -> str:
    """Bytes in GiB; small ones in MiB or KiB.

    >>> size(3 * 2**29), size(32 * 2**10)
    ('1.5 GiB', '32 KiB')
    """
    if value is None:
        return MISSING
    for unit, name in ((2**30, "GiB"), (2**20, "MiB")):
        if value >= unit:
            return f"{value / unit:,.1f} {name}"
    return f"{value / 2**10:,.0f} KiB"


def milliseconds(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.2f} ms"


def _processor(cpu: Cpu) -> Iterator[Row]:
    yield "processor", "model", _or_missing(cpu.model)
    yield "processor", "architecture", cpu.architecture
    yield "processor", "sockets", _or_missing(cpu.sockets)
    yield "processor", "physical cores", _or_missing(cpu.cores_physical)
    yield "processor", "logical cores", _or_missing(cpu.cores_logical)
    yield "processor", "usable cores", f"{cpu.cores_usable:g}"
    yield "processor", "frequency now", _megahertz(cpu.frequency_mhz)
    yield "processor", "frequency at most", _megahertz(cpu.frequency_max_mhz)
    names = {"data": "L1 data", "instruction": "L1 instruction"}
    yield (
        "processor",
        "caches",
        _listed(f"{names.get(c.kind, f'L{c.level}')} {size(c.size_bytes)} x {c.count}" for c in cpu.caches),
    )
    yield "processor", "instruction sets", _listed(cpu.instructions)


def _memory(found: HardwareProfile) -> Iterator[Row]:
    yield "memory", "host", size(found.memory.host_bytes)
    yield "memory", "usable", size(found.memory.total_bytes)
    yield "memory", "available now", size(found.memory.available_bytes)
    yield "memory", "swap", size(found.memory.swap_bytes)


def _disk(found: HardwareProfile) -> Iterator[Row]:
    disk, fsync = found.disk, found.fsync
    yield "disk", "under the data folder", ", ".join(filter(None, (disk.device, disk.kind))) or MISSING
    yield "disk", "filesystem", _or_missing(disk.filesystem)
    yield "disk", "size", size(disk.total_bytes)
    yield "disk", "free", size(disk.free_bytes)
    yield "disk", "durable write, median", milliseconds(fsync.median_ms if fsync else None)
    yield "disk", "durable write, 95th percentile", milliseconds(fsync.p95_ms if fsync else None)
    yield "disk", "durable write, 99th percentile", milliseconds(fsync.p99_ms if fsync else None)
    yield "disk", "durable write, worst", milliseconds(fsync.worst_ms if fsync else None)
    yield (
        "disk",
        "all drives",
        _listed(", ".join(filter(None, (d.name, d.kind, d.model, size(d.size_bytes)))) for d in found.drives),
    )


def _network(network: Network) -> Iterator[Row]:
    for interface in network.interfaces:
        speed = f"{interface.speed_mbps:,} Mbit/s" if interface.speed_mbps else f"speed {MISSING}"
        yield "network", interface.name, f"{interface.kind}, {interface.state}, {speed}, MTU {interface.mtu}"
    if not network.interfaces:
        yield "network", "interfaces", MISSING
    yield "network", "default route", _listed(f"{r.gateway} by {r.interface}" for r in network.routes)
    yield "network", "name servers", _listed(network.nameservers)


def _sensors(sensors: Sensors) -> Iterator[Row]:
    yield "sensors", "temperatures", _listed(f"{t.name} {t.celsius:.0f} °C" for t in sensors.temperatures)
    yield "sensors", "fans", _listed(f"{fan.name} {fan.rpm} rpm" for fan in sensors.fans)
    yield (
        "sensors",
        "power",
        _listed(
            f"{p.name} ({p.kind}) {p.status or ''}{'' if p.charge is None else f' {p.charge:.0%}'}"
            for p in sensors.power
        ),
    )
    yield "sensors", "screens", _listed(f"{s.name} {s.resolution or ''}".strip() for s in sensors.screens)


def _clock(found: HardwareProfile) -> Iterator[Row]:
    clock = found.clock
    if clock is None:
        yield "clock", "follows a time server", MISSING
        return
    by = f", by {clock.daemon}" if clock.daemon else ""
    yield "clock", "follows a time server", ("yes" if clock.synchronized else "no, or the kernel is not told") + by
    yield "clock", "offset", milliseconds(clock.offset_ms)
    yield "clock", "largest error", milliseconds(clock.max_error_ms)
    yield "clock", "counter", _or_missing(clock.clocksource)


def _cards(found: HardwareProfile) -> str:
    if found.gpus is None:
        return MISSING
    return "; ".join(f"{g.name} ({size(g.memory_bytes)}, driver {g.driver})" for g in found.gpus) or "none"


def _listed(words: Iterable[str]) -> str:
    return "; ".join(words) or MISSING


def _or_missing(value: object) -> str:
    return MISSING if value is None else str(value)


def _megahertz(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.0f} MHz"
