"""Whether the system clock is right: what the kernel says, and what the time daemon says."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path

from workbench.hardware.reading import HERE, command, read_text

# ADJ status bits and the kernel's own verdict (linux/timex.h)
_STA_PLL, _STA_UNSYNC, _STA_NANO = 0x0001, 0x0040, 0x2000
_TIME_ERROR = 5
# Fields of `chronyc -c tracking` (chronyc(1)): reference id, name, stratum, reference time, system time, ...
_CHRONY_NAME, _CHRONY_STRATUM, _CHRONY_OFFSET, _CHRONY_LEAP = 1, 2, 4, 13


@dataclass(frozen=True, slots=True)
class ClockState:
    """Whether the system clock follows a time server, its largest possible error, and how far off it is known to be.

    ``offset_ms`` is None where nobody knows it; ``daemon`` names who keeps the clock, if that can be told.
    """

    synchronized: bool
    max_error_ms: float
    offset_ms: float | None = None
    daemon: str | None = None
    clocksource: str | None = None


def read_clock_state(root: Path = HERE) -> ClockState | None:
    """Ask the kernel and, where it runs, chrony; None where the kernel cannot be asked.

    Source: ntp_adjtime(3); reading (``modes`` = 0) needs no privilege. A virtual machine is often kept right by its
    host: its kernel then says "not synchronised" although the time is good, which only a comparison can tell.
    """
    source = read_text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource")
    kernel = _kernel()
    chrony = parse_chrony(command("chronyc", "-c", "tracking") or "")
    if chrony is not None:
        synchronized, offset_ms = chrony
        error_ms = kernel.maxerror / 1000 if kernel is not None else abs(offset_ms)
        return ClockState(synchronized, error_ms, offset_ms, "chrony", source)
    if kernel is None:
        return None
    synchronized = kernel.verdict != _TIME_ERROR and not kernel.status & _STA_UNSYNC
    daemon = "systemd-timesyncd" if (root / "run/systemd/timesync/synchronized").exists() else None
    scale = 1e6 if kernel.status & _STA_NANO else 1e3
    # What the kernel's own loop has still to take back; it means nothing while nobody feeds the loop.
    offset_ms_known = kernel.offset / scale if synchronized and kernel.status & _STA_PLL else None
    return ClockState(synchronized, kernel.maxerror / 1000, offset_ms_known, daemon, source)


def parse_chrony(answer: str) -> tuple[bool, float] | None:
    """Read ``chronyc -c tracking``: whether it follows a server, and the clock's offset in ms (positive: ahead).

    Source: chronyc(1), ``tracking``: "System time" is how far the clock is behind (positive) or ahead of NTP time.

    >>> parse_chrony("D8EF2300,time.example,2,1700000000.1,0.000512,0.0001,0.0002,1.5,0,0.01,0.02,0.001,64.2,Normal")
    (True, -0.512)
    """
    fields = answer.split(",")
    if len(fields) <= _CHRONY_LEAP:
        return None
    try:
        offset_s, stratum = float(fields[_CHRONY_OFFSET]), int(fields[_CHRONY_STRATUM])
    except ValueError:
        return None
    return fields[_CHRONY_LEAP] != "Not synchronised" and stratum > 0, -offset_s * 1000


class _Timex(ctypes.Structure):
    """The head of ``struct timex`` (the same on Linux and macOS, 64 bit), with room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("_rest", ctypes.c_char * 256),
    )
    verdict = 0


def _kernel() -> _Timex | None:
    if sys.platform not in {"linux", "darwin"} or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    timex = _Timex()
    try:
        timex.verdict = ctypes.CDLL(None).ntp_adjtime(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    return timex if timex.verdict >= 0 else None
