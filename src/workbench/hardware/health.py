"""Is this machine well enough to trade on? Memory, room on the disk, durable writes and the clock, in a blink.

The doctor shows all of it; a run that may order does not start while something here has failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from workbench.clock import Clock, SystemClock
from workbench.errors import DataError, MachineUnfit
from workbench.hardware.cgroups import read_limits
from workbench.hardware.disk import read_disk
from workbench.hardware.diskspeed import measure_fsync
from workbench.hardware.measurements import Measurements
from workbench.hardware.memory import read_memory
from workbench.hardware.reading import HERE
from workbench.hardware.sntp import ask_time
from workbench.hardware.timekeeping import read_clock_state
from workbench.settings import MachineSettings

State = Literal["ok", "warn", "fail"]
_MB = 10**6
_WRITES = 7
_BELIEVED_S = 60.0
_SAFE = 3  # how many times the least is comfortable
_FRESH = timedelta(hours=1)  # a comparison with a venue's clock says something for so long


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what was found and, if it is not well, the way out."""

    name: Literal["memory", "disk", "durable writes", "clock"]
    state: State
    found: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class _Offset:
    """How far the clock is off at least, as far as it is known, and who says so."""

    seconds: float
    source: str


def examine(folder: Path, settings: MachineSettings, clock: Clock | None = None, root: Path = HERE) -> list[Finding]:
    """Look at the machine under ``folder``, which is where the product keeps its data.

    Takes some hundredths of a second, and up to another if a time server is configured and does not answer.
    """
    clock = clock or SystemClock()
    return [
        _memory(settings, root),
        _disk(folder, settings, root),
        _writes(folder, settings, clock),
        _clock(folder, settings, clock, root),
    ]


def require_fit(folder: Path, settings: MachineSettings, clock: Clock | None = None) -> None:
    """Refuse to trade on a sick machine.

    Raises
    ------
    MachineUnfit
        If something has failed; the message says all of it in one line.
    """
    faults = [finding for finding in examine(folder, settings, clock) if finding.state == "fail"]
    if faults:
        raise MachineUnfit(
            "this machine is not fit to trade on: " + "; ".join(fault.found for fault in faults),
            hint="; ".join(fault.fix for fault in faults),
        )


class Checkup:
    """The same for many runs in a row, such as a replay: a machine that was found well is believed for a minute.

    Time is the machine's own, whatever moment a rehearsal pretends.
    """

    def __init__(self, folder: Path, settings: MachineSettings, clock: Clock | None = None) -> None:
        self._folder = folder
        self._settings = settings
        self._clock = clock or SystemClock()
        self._well_at: float | None = None

    def require_fit(self) -> None:
        """Refuse to trade on a sick machine.

        Raises
        ------
        MachineUnfit
            If something has failed; the message says all of it in one line.
        """
        now = self._clock.monotonic()
        if self._well_at is None or now - self._well_at > _BELIEVED_S:
            require_fit(self._folder, self._settings, self._clock)
            self._well_at = now


def _memory(settings: MachineSettings, root: Path) -> Finding:
    limits = read_limits(root / "sys/fs/cgroup", root / "proc/self/cgroup")
    left = read_memory(limits, root).available_bytes / _MB
    return _at_least(
        "memory", left, settings.min_free_memory_mb, "MB of memory left", "end other programs, or add memory"
    )


def _disk(folder: Path, settings: MachineSettings, root: Path) -> Finding:
    disk = read_disk(folder, root)
    if disk.free_bytes is None:
        return Finding("disk", "fail", f"nobody knows what is left on the disk of {disk.folder}", "look at its mount")
    left = disk.free_bytes / _MB
    return _at_least(
        "disk", left, settings.min_free_disk_mb, f"MB left on the disk of {disk.folder}", "free some space"
    )


def _at_least(name: Literal["memory", "disk"], left: float, least: int, what: str, fix: str) -> Finding:
    if left < least:
        return Finding(name, "fail", f"{left:,.0f} {what}, {least:,} are needed", fix)
    if left < _SAFE * least:
        return Finding(name, "warn", f"{left:,.0f} {what}, little more than the {least:,} that are needed", fix)
    return Finding(name, "ok", f"{left:,.0f} {what}")


def _writes(folder: Path, settings: MachineSettings, clock: Clock) -> Finding:
    measured = measure_fsync(folder, clock, writes=_WRITES)
    if measured is None:
        return Finding("durable writes", "fail", f"{folder} cannot be written to", "make it writable")
    said = f"a durable write takes {measured.median_ms:.1f} ms (median of {len(measured.samples_ms)})"
    fix = "move the data folder to a faster disk; an order waits for several such writes"
    if measured.median_ms > settings.max_fsync_ms:
        return Finding("durable writes", "fail", f"{said}, {settings.max_fsync_ms:g} ms are the most", fix)
    if measured.median_ms > settings.max_fsync_ms / _SAFE:
        return Finding("durable writes", "warn", said, fix)
    return Finding("durable writes", "ok", said)


def _clock(folder: Path, settings: MachineSettings, clock: Clock, root: Path) -> Finding:
    """The worst that anybody who can tell says of the clock."""
    fix = "set up a time service, for example chrony"
    known = list(_offsets(folder, settings, clock, root))
    if not known:
        silent = f"{settings.time_server} does not answer, and " if settings.time_server else ""
        state = read_clock_state(root)
        if state is not None and state.synchronized:
            return Finding("clock", "ok", f"{silent}the clock follows a time server, to {state.max_error_ms:,.0f} ms")
        return Finding(
            "clock", "warn", f"{silent}nobody knows how right the clock is", f"{fix}, or set machine.time_server"
        )
    worst = max(known, key=lambda offset: offset.seconds)
    said = f"the clock is off by {worst.seconds:.3f} s by {worst.source}"
    if worst.seconds > settings.max_clock_offset_s:
        return Finding("clock", "fail", f"{said}, {settings.max_clock_offset_s:g} s are the most", fix)
    return Finding("clock", "ok", said)


def _offsets(folder: Path, settings: MachineSettings, clock: Clock, root: Path) -> Iterator[_Offset]:
    if settings.time_server:
        answer = ask_time(settings.time_server, clock, tries=2)
        if answer is not None:
            # Half the way there and back is what the answer leaves open.
            certain_ms = abs(answer.offset_ms) - answer.delay_ms / 2
            yield _Offset(max(0.0, certain_ms) / 1000, settings.time_server)
    state = read_clock_state(root)
    if state is not None and state.offset_ms is not None and state.synchronized:
        yield _Offset(abs(state.offset_ms) / 1000, state.daemon or "the kernel")
    yield from _seen_at_venues(folder, clock)


def _seen_at_venues(folder: Path, clock: Clock) -> Iterator[_Offset]:
    """What `workbench latency` found within the last hour.

    A damaged file is told by the doctor and by whoever reads the history; it does not keep anybody from trading.
    """
    files = Measurements.of(folder)
    try:
        rows = list(files.read("latency", last=1))
    except DataError:
        return
    for row in rows:
        age = clock.now() - datetime.fromisoformat(row["measured_at"])
        if not timedelta(0) <= age < _FRESH:
            continue
        for one in row["results"]:
            if one["clock_offset_ms"] is not None:
                certain_ms = abs(one["clock_offset_ms"]) - one["clock_error_ms"]
                yield _Offset(max(0.0, certain_ms) / 1000, one["target"]["name"])
