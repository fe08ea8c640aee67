"""What a benchmark reports: a number, its unit, and the bar it should keep to."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number. ``bar`` is None where the number is shown for comparison only; then ``holds`` is True."""

    name: str
    value: float
    unit: str
    bar: float | None
    holds: bool

    @classmethod
    def at_most(cls, name: str, value: float, unit: str, bar: float) -> Measurement:
        """A number that should stay at or below its bar: a time, a size."""
        return cls(name, value, unit, bar, value <= bar)

    @classmethod
    def at_least(cls, name: str, value: float, unit: str, bar: float) -> Measurement:
        """A number that should reach its bar: a speed-up over a peer."""
        return cls(name, value, unit, bar, value >= bar)

    @classmethod
    def shown(cls, name: str, value: float, unit: str) -> Measurement:
        """A number without a bar, such as the peer's own time."""
        return cls(name, value, unit, None, True)


def kept_bytecode(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a user, whose Python keeps compiled modules: a machine that forbids it would compile ours in
    every process, and the peer's, which were installed with theirs, in none."""
    return {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}


def time_process(command: Sequence[str], runs: int, cwd: Path | None = None) -> float:
    """Median seconds of a whole process, start to end, after one run that warms the disk cache.

    Raises
    ------
    subprocess.CalledProcessError
        If the process fails: a broken command must not count as a fast one.
    """
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, cwd=cwd, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return median(times[1:])


def high_water_kb() -> int:
    """The most memory that this program has held: Linux's figure.

    Not ``getrusage``: what that says is handed down from the process that started this one.
    """
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


def write(measurements: Sequence[Measurement], file: Path) -> None:
    file.write_text(json.dumps([asdict(m) for m in measurements], indent=2) + "\n", encoding="utf-8")
