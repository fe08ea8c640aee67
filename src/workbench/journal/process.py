"""Processes as the journal knows them: by machine, number and when they started."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path


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
        return cls(socket.gethostname(), pid, process_started(pid) or 0.0)

    def is_alive(self) -> bool:
        """Whether the process still runs. A process of another host is taken to be alive."""
        if self.host != socket.gethostname():
            return True
        started = process_started(self.pid)
        return started is not None and abs(started - self.started) < 1.0


def process_started(pid: int) -> float | None:
    """When a process of this machine started, in seconds since boot or the epoch; None if there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.is_dir():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        if fields[0] in {"Z", "X"}:
            return None
        return float(fields[19]) / os.sysconf("SC_CLK_TCK")
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None
