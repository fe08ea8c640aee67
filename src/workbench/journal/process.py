"""Processes as the journal knows them: by machine, number and when they started."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_MACHINES_OWN = "pid:[4026531836]"  # the number that Linux gives to the first one


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, told apart from a later one with the same number by when it started."""

    host: str
    pid: int
    started: float

    @classmethod
    def current(cls) -> Owner:
        """The calling process."""
        pid = os.getpid()
        return cls(this_host(), pid, process_started(pid) or 0.0)

    def is_alive(self) -> bool:
        """Whether the process still runs. A process of another host is taken to be alive."""
        if self.host != this_host():
            return True
        started = process_started(self.pid)
        return started is not None and abs(started - self.started) < 1.0


@lru_cache(maxsize=1)
def this_host() -> str:
    """The machine's name, and its space of process numbers if that is not its own: a container has one to itself."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux
        space = _MACHINES_OWN
    name = socket.gethostname()
    return name if space == _MACHINES_OWN else f"{name}/{space}"


@lru_cache(maxsize=1)
def _boot() -> float:
    """A large number that is another one after a reboot: services get the same number at the same second each time."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(text[:6], 16) * 1e6


def process_started(pid: int) -> float | None:
    """When a process of this machine started, in seconds that start anew with every boot; None if there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.is_dir():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        if fields[0] in {"Z", "X"}:
            return None
        return _boot() + float(fields[19]) / os.sysconf("SC_CLK_TCK")
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None
