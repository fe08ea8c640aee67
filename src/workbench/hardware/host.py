"""The processor, the system around it, graphics cards and the clock. A missing sensor answers None."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# ADJ status bit "clock not synchronised" and the kernel's own verdict (linux/timex.h)
_STA_UNSYNC = 0x0040
_TIME_ERROR = 5
_HYPERVISORS = (
    # (a word in the board's vendor or product name, what it means)
    ("kvm", "kvm"),
    ("qemu", "qemu"),
    ("vmware", "vmware"),
    ("virtualbox", "virtualbox"),
    ("microsoft", "hyper-v"),
    ("xen", "xen"),
    ("amazon ec2", "amazon"),
    ("google", "google"),
    ("openstack", "openstack"),
    ("parallels", "parallels"),
)
_DEVICES = "import json, tensorflow as tf;print(json.dumps([d.name for d in tf.config.list_physical_devices('GPU')]))"


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA card as its driver reports it; memory in bytes, None if it shares the host's."""

    name: str
    memory_bytes: int | None
    driver: str


@dataclass(frozen=True, slots=True)
class ClockState:
    """Whether the system clock follows a time server, and its largest possible error in milliseconds."""

    synchronized: bool
    max_error_ms: float


def read_cpu_model(proc: Path = Path("/proc")) -> str | None:
    """The processor's name as it is sold; None if the system does not tell."""
    for line in _text(proc / "cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"model name", "Model", "cpu model"} and value.strip():
            return value.strip()
    if sys.platform == "darwin":
        return _command("sysctl", "-n", "machdep.cpu.brand_string")
    return platform.processor() or None


def read_virtualization(proc: Path = Path("/proc"), sys_dir: Path = Path("/sys")) -> str | None:
    """What the system runs in ("kvm", "docker", "wsl", ...), "none" on bare metal, None if it cannot be told.

    A container is named in preference to the virtual machine that it runs on.
    """
    if sys.platform == "darwin":
        return {"1": "virtual machine", "0": "none"}.get(_command("sysctl", "-n", "kern.hv_vmm_present") or "")
    container = _container(proc)
    if container:
        return container
    board = " ".join(
        _text(sys_dir / "class/dmi/id" / name).lower() for name in ("sys_vendor", "product_name", "bios_vendor")
    )
    named = next((meaning for word, meaning in _HYPERVISORS if word in board), None)
    flags = next((ln for ln in _text(proc / "cpuinfo").splitlines() if ln.startswith("flags")), None)
    if flags is None:
        return named
    # The processor shows this flag to guests only, whatever the board says its maker is.
    return (named or "virtual machine") if "hypervisor" in flags.split() else "none"


def read_operating_system() -> str:
    """The system's name and version as its users know it, such as "Debian GNU/Linux 12 (bookworm)"."""
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def read_gpus(timeout_s: float = 5.0) -> tuple[Gpu, ...] | None:
    """NVIDIA cards by the driver's own tool, in a child process; None if it is absent or does not answer."""
    answer = _command(
        "nvidia-smi",
        "--query-gpu=name,memory.total,driver_version",
        "--format=csv,noheader,nounits",
        timeout_s=timeout_s,
    )
    return None if answer is None else parse_gpus(answer)


def parse_gpus(answer: str) -> tuple[Gpu, ...]:
    """Read the lines of ``nvidia-smi --format=csv,noheader,nounits``.

    >>> parse_gpus("NVIDIA T4, 15360, 550.54.15")
    (Gpu(name='NVIDIA T4', memory_bytes=16106127360, driver='550.54.15'),)
    """
    cards = []
    for line in answer.splitlines():
        parts = [part.strip() for part in line.rsplit(",", 2)]
        if len(parts) == 3:
            name, mebibytes, driver = parts
            cards.append(Gpu(name, int(mebibytes) * 2**20 if mebibytes.isdigit() else None, driver))
    return tuple(cards)


def read_tensorflow_devices(timeout_s: float = 120.0) -> tuple[str, ...] | None:
    """Graphics cards that TensorFlow can use, asked in a child process (some ten seconds).

    None if it fails.
    """
    answer = _command(sys.executable, "-c", _DEVICES, timeout_s=timeout_s)
    try:
        return tuple(json.loads(answer)) if answer else None
    except ValueError:
        return None


def read_clock_state() -> ClockState | None:
    """Ask the kernel whether the clock follows a time server; None where it cannot be asked.

    Source: ntp_adjtime(3); reading (``modes`` = 0) needs no privilege.
    """
    if sys.platform not in {"linux", "darwin"} or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    timex = _Timex()
    try:
        verdict = ctypes.CDLL(None).ntp_adjtime(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    if verdict < 0:
        return None
    synchronized = verdict != _TIME_ERROR and not timex.status & _STA_UNSYNC
    return ClockState(synchronized, timex.maxerror / 1000)


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


def _container(proc: Path) -> str | None:
    if Path("/.dockerenv").exists():
        return "docker"
    if Path("/run/.containerenv").exists():
        return "podman"
    if "microsoft" in _text(proc / "sys/kernel/osrelease").lower():
        return "wsl"
    return "kubernetes" if os.environ.get("KUBERNETES_SERVICE_HOST") else None


def _command(program: str, *arguments: str, timeout_s: float = 2.0) -> str | None:
    """What a program prints, or None if it is absent, fails or takes too long."""
    found = shutil.which(program)
    if found is None:
        return None
    try:
        done = subprocess.run([found, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
