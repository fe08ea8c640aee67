"""The processor: cores, caches, clock frequency and the instructions that numeric libraries look for.

Source of the files: Linux kernel documentation, admin-guide/cputopology.rst, ABI/testing/sysfs-devices-system-cpu and
filesystems/proc.rst.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from workbench.hardware.cgroups import Limits
from workbench.hardware.reading import HERE, command, count_list, folders, read_int, read_table, read_text

# What NumPy, OpenBLAS, DuckDB and TensorFlow choose their code by; x86 first, then Arm.
_INSTRUCTIONS = (
    ("sse4_2", "SSE4.2"), ("avx", "AVX"), ("f16c", "F16C"), ("fma", "FMA"), ("avx2", "AVX2"),
    ("avx512f", "AVX-512"), ("avx512_vnni", "AVX-512 VNNI"), ("avx512_bf16", "AVX-512 BF16"),
    ("avx_vnni", "AVX-VNNI"), ("amx_tile", "AMX"), ("aes", "AES"), ("sha_ni", "SHA"),
    ("asimd", "NEON"), ("sve", "SVE"), ("sve2", "SVE2"), ("bf16", "BF16"), ("sha2", "SHA"),
)  # fmt: skip
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


@dataclass(frozen=True, slots=True)
class Cache:
    """One kind of cache: how large each is, how many there are, how many logical cores share one."""

    level: int
    kind: str
    size_bytes: int
    count: int
    shared_by: int


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor. ``cores_usable`` is what this process may keep busy; None where the system does not tell.

    Frequencies are in MHz: the mean over cores at this moment, and the highest that a core may reach.
    """

    model: str | None
    architecture: str
    sockets: int | None
    cores_physical: int | None
    cores_logical: int | None
    cores_usable: float
    caches: tuple[Cache, ...] = ()
    frequency_mhz: float | None = None
    frequency_max_mhz: float | None = None
    instructions: tuple[str, ...] = ()


def read_cpu(limits: Limits, root: Path = HERE) -> Cpu:
    """Describe the processor under ``root``, less what an affinity mask or a control group withholds."""
    devices = root / "sys/devices/system/cpu"
    logical = _logical(root, devices)
    sockets, physical = _topology(root, devices)
    now, most = _frequencies(root, devices)
    return Cpu(
        model=_model(root),
        architecture=platform.machine(),
        sockets=sockets,
        cores_physical=physical,
        cores_logical=logical,
        cores_usable=_usable(root, limits, logical),
        caches=_caches(devices),
        frequency_mhz=now,
        frequency_max_mhz=most,
        instructions=_instructions(root),
    )


def _model(root: Path) -> str | None:
    """The processor's name as it is sold; some Arm boards tell only their own name, at the end of the list."""
    table = read_table(root / "proc/cpuinfo")
    for key in ("model name", "cpu model", "Model", "Hardware"):
        if table.get(key):
            return table[key]
    if root != HERE:
        return None
    if sys.platform == "darwin":
        return command("sysctl", "-n", "machdep.cpu.brand_string")
    return platform.processor() or None


def _logical(root: Path, devices: Path) -> int | None:
    online = read_text(devices / "online")
    if online:
        return count_list(online)
    listed = re.findall(r"^processor\s*:", read_text(root / "proc/cpuinfo") or "", flags=re.MULTILINE)
    if listed:
        return len(listed)
    return psutil.cpu_count(logical=True) if root == HERE else None


def _topology(root: Path, devices: Path) -> tuple[int | None, int | None]:
    """Sockets and physical cores."""
    cores = set()
    for cpu in folders(devices):
        package = read_text(cpu / "topology/physical_package_id")
        core = read_text(cpu / "topology/core_id")
        if re.fullmatch(r"cpu\d+", cpu.name) and package is not None and core is not None:
            cores.add((package, core))
    if cores:
        return len({package for package, _ in cores}), len(cores)
    return None, psutil.cpu_count(logical=False) if root == HERE else None


def _frequencies(root: Path, devices: Path) -> tuple[float | None, float | None]:
    policies = [cpu / "cpufreq" for cpu in folders(devices)] + folders(devices / "cpufreq")
    now = [kilohertz / 1000 for p in policies if (kilohertz := read_int(p / "scaling_cur_freq"))]
    most = [kilohertz / 1000 for p in policies if (kilohertz := read_int(p / "cpuinfo_max_freq"))]
    if not now:  # a guest has no governor; what it sees is what the host gave it when it started
        text = read_text(root / "proc/cpuinfo") or ""
        now = [float(value) for value in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", text, flags=re.MULTILINE)]
    return (statistics.fmean(now) if now else None), (max(most) if most else None)


def _caches(devices: Path) -> tuple[Cache, ...]:
    """Every kind of cache; the same one is listed below each core that shares it."""
    seen: dict[tuple[int, str, int, int], set[str]] = {}
    for index in (index for cpu in folders(devices) for index in folders(cpu / "cache")):
        level, kind = read_int(index / "level"), read_text(index / "type")
        size = re.fullmatch(r"(\d+)([KMG])", read_text(index / "size") or "")
        shared = read_text(index / "shared_cpu_list")
        if level is None or kind is None or size is None or not shared:
            continue
        key = (level, kind.lower(), int(size[1]) * _UNITS[size[2]], count_list(shared))
        seen.setdefault(key, set()).add(shared)
    return tuple(Cache(*key[:3], len(lists), key[3]) for key, lists in sorted(seen.items()))


def _instructions(root: Path) -> tuple[str, ...]:
    table = read_table(root / "proc/cpuinfo")
    flags = (table.get("flags") or table.get("Features") or "").split()
    return tuple(dict.fromkeys(name for flag, name in _INSTRUCTIONS if flag in flags))


def _usable(root: Path, limits: Limits, logical: int | None) -> float:
    """Cores this process may keep busy: those it may run on, or the time it is given, if less."""
    listed = read_table(root / "proc/self/status").get("Cpus_allowed_list")
    allowed = count_list(listed) if listed else (logical or os.cpu_count() or 1)
    return min(float(allowed), limits.cpus) if limits.cpus is not None else float(allowed)
