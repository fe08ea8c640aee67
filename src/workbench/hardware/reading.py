"""How the machine is asked: files of the kernel, and tools in child processes. Whatever is missing answers None."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

# Where the kernel shows itself. Readers take another folder, so that a test can hand them a recorded machine.
HERE = Path("/")


def read_text(file: Path) -> str | None:
    """The stripped text of a small file; None if it is not there or cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # a sensor that is there may still refuse to be read
        return None


def read_int(file: Path) -> int | None:
    """A file that holds one integer; None if there is none."""
    text = read_text(file)
    return int(text) if text and re.fullmatch(r"-?\d+", text) else None


def read_table(file: Path) -> dict[str, str]:
    """Lines of ``name: value``; the first of a name counts.

    >>> file = getfixture("tmp_path") / "meminfo"
    >>> _ = file.write_text("MemTotal:  24683656 kB")
    >>> read_table(file)
    {'MemTotal': '24683656 kB'}
    """
    found: dict[str, str] = {}
    for line in (read_text(file) or "").splitlines():
        name, separator, value = line.partition(":")
        if separator:
            found.setdefault(name.strip(), value.strip())
    return found


def folders(parent: Path) -> list[Path]:
    """The folders in a folder, sorted as people count: ``cpu2`` before ``cpu10``."""
    try:
        found = [path for path in parent.iterdir() if path.is_dir()]
    except OSError:
        return []
    return sorted(found, key=lambda path: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", path.name)])


def count_list(text: str) -> int:
    """How many numbers the kernel's list notation names.

    >>> count_list("0-3,8,10-11")
    7
    """
    total = 0
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit():
            total += int(last or first) - int(first) + 1
    return total


def command(program: str, *arguments: str, timeout_s: float = 2.0) -> str | None:
    """What a program prints; None if it is absent, fails or takes too long."""
    found = shutil.which(program)
    if found is None:
        return None
    try:
        done = subprocess.run(
            [found, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
