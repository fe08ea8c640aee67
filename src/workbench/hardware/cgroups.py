"""The limits a container or service manager puts on this process, below what the host has.

Source: Linux kernel documentation, admin-guide/cgroup-v2.rst (``cpu.max``, ``memory.max``) and
admin-guide/cgroup-v1/memory.rst, scheduler/sched-bwc.rst (``cpu.cfs_quota_us``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# Version 1 writes "no limit" as the largest page-aligned 63-bit number; nothing real comes near it.
_UNLIMITED_BYTES = 1 << 60


@dataclass(frozen=True, slots=True)
class Limits:
    """What the control groups allow. None where they set no limit, or there are no control groups.

    ``cpus`` is processor time in cores (1.5 is one and a half), memory is in bytes. ``memory_used_bytes``
    belongs to the group whose limit is given; page cache that can be dropped is not counted.
    """

    cpus: float | None = None
    memory_bytes: int | None = None
    memory_used_bytes: int | None = None


def read_limits(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> Limits:
    """Read the tightest limits on the way from this process's group up to the root.

    Both versions are read, because a machine may mount them side by side. A file that is missing or says
    something unexpected counts as no limit.

    Parameters
    ----------
    root
        Where the control groups are mounted.
    membership
        Which group this process is in, one ``id:controllers:path`` a line.

    >>> read_limits(Path("nowhere"), Path("nothing"))
    Limits(cpus=None, memory_bytes=None, memory_used_bytes=None)
    """
    groups = list(_groups(root, membership))
    cpus = [cpu for folder in groups for cpu in (_cpu_v2(folder), _cpu_v1(folder)) if cpu is not None]
    limits = [pair for folder in groups for pair in (_memory_v2(folder), _memory_v1(folder)) if pair is not None]
    memory, used = min(limits, key=lambda pair: pair[0]) if limits else (None, None)
    return Limits(cpus=min(cpus) if cpus else None, memory_bytes=memory, memory_used_bytes=used)


def _groups(root: Path, membership: Path) -> Iterator[Path]:
    """Each folder that binds this process: its own group's and all above, for every hierarchy."""
    for line in (_text(membership) or "0::/").splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3:
            continue
        _, controllers, path = parts
        # Version 2 has no controller names and may be mounted at the root or beside version 1.
        bases = [controllers, *controllers.split(",")] if controllers else ["", "unified"]
        for base in dict.fromkeys(bases):
            # Inside a container the path may be the host's and not exist here: the mount's root still does.
            inner = PurePosixPath(path.lstrip("/"))
            for group in (inner, *inner.parents):
                folder = root / base / group
                if ".." not in group.parts and folder.is_dir():
                    yield folder


def _cpu_v2(folder: Path) -> float | None:
    words = (_text(folder / "cpu.max") or "").split()
    return _number(words, lambda w: int(w[0]) / int(w[1]))


def _cpu_v1(folder: Path) -> float | None:
    words = [_text(folder / name) or "" for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    return _number(words, lambda w: int(w[0]) / int(w[1]))


def _memory_v2(folder: Path) -> tuple[int, int | None] | None:
    return _memory(folder, "memory.max", "memory.current", "inactive_file")


def _memory_v1(folder: Path) -> tuple[int, int | None] | None:
    return _memory(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _memory(folder: Path, limit: str, usage: str, droppable: str) -> tuple[int, int | None] | None:
    bound = _number([_text(folder / limit) or ""], lambda w: int(w[0]))
    if bound is None or bound >= _UNLIMITED_BYTES:
        return None
    used = _number([_text(folder / usage) or ""], lambda w: int(w[0]))
    for line in (_text(folder / "memory.stat") or "").splitlines():
        words = line.split()
        if used is not None and words[0] == droppable:
            used = max(0, used - int(words[1]))
    return int(bound), None if used is None else int(used)


def _number(words: Iterable[str], compute: Callable[[list[str]], float]) -> float | None:
    """A positive number computed from ``words``; None for "max", -1, an absent file or nonsense."""
    try:
        value = compute(list(words))
    except (ValueError, IndexError, ZeroDivisionError):
        return None
    return value if value > 0 else None


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
