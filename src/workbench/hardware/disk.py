"""The disks, and the one under a folder: what it is, how much room is left, which filesystem.

Source of the files: proc_pid_mountinfo(5); Linux kernel documentation, ABI/stable/sysfs-block.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import psutil

from workbench.hardware.reading import HERE, folders, read_int, read_text

_SECTOR_BYTES = 512  # the kernel's, whatever the disk's own
_NOT_DISKS = re.compile(r"^(loop|ram|zram|sr|fd|nbd)\d")
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "fuse.sshfs", "ceph", "glusterfs", "fuse.s3fs")
_MEMORY = ("tmpfs", "ramfs")


@dataclass(frozen=True, slots=True)
class Drive:
    """One disk of the machine. ``kind`` is "NVMe SSD", "SSD", "hard disk", "virtual disk", "SD card" or "array"."""

    name: str
    kind: str
    model: str | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk that holds ``folder``. Sizes in bytes; None where the system does not say.

    ``kind`` is that of the drive, or "network", "memory" or "overlay" for a filesystem that has none of its own.
    """

    folder: Path
    filesystem: str | None
    total_bytes: int | None
    free_bytes: int | None
    device: str | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class _Mount:
    point: Path
    filesystem: str
    source: str
    number: str


def read_disk(folder: Path, root: Path = HERE) -> Disk:
    """Describe the disk under ``folder``, or under the nearest folder above it that exists."""
    existing = nearest_existing(folder)
    mount = _mount_of(existing, root)
    filesystem = mount.filesystem if mount else None
    device, kind = _device(mount, root) if mount else (None, None)
    try:
        usage = psutil.disk_usage(str(existing))
    except OSError:
        return Disk(existing, filesystem, None, None, device, kind)
    return Disk(existing, filesystem, int(usage.total), int(usage.free), device, kind)


def read_drives(root: Path = HERE) -> tuple[Drive, ...]:
    """Every disk of the machine, whether it is mounted or not; empty where the system does not list them."""
    found = []
    for folder in folders(root / "sys/block"):
        if _NOT_DISKS.match(folder.name) or not read_int(folder / "size"):
            continue
        sectors = read_int(folder / "size")
        model = read_text(folder / "device/model") or read_text(folder / "device/name")
        found.append(Drive(folder.name, _kind(folder), model, sectors * _SECTOR_BYTES if sectors else None))
    return tuple(found)


def nearest_existing(folder: Path) -> Path:
    """``folder`` itself, or the first folder above it that exists."""
    absolute = folder.absolute()
    return next(path for path in (absolute, *absolute.parents) if path.is_dir())


def _kind(drive: Path) -> str:
    if drive.name.startswith("nvme"):
        return "NVMe SSD"
    if drive.name.startswith("mmcblk"):
        return "SD card"
    if drive.name.startswith(("md", "dm-")):
        return "array"
    # A hypervisor's disk calls itself rotating or not as its author pleased.
    if drive.name.startswith(("vd", "xvd")) or "virtual" in (read_text(drive / "device/model") or "").lower():
        return "virtual disk"
    return {1: "hard disk", 0: "SSD"}.get(read_int(drive / "queue/rotational") or 0, "disk")


def _mount_of(folder: Path, root: Path) -> _Mount | None:
    """The mount closest above ``folder``. Later mounts hide earlier ones on the same point."""
    resolved = folder.resolve()
    best: _Mount | None = None
    for mount in _mounts(root):
        above = resolved.is_relative_to(mount.point)
        if above and (best is None or len(mount.point.parts) >= len(best.point.parts)):
            best = mount
    return best


def _mounts(root: Path) -> list[_Mount]:
    text = read_text(root / "proc/self/mountinfo")
    if text is None:
        return [_Mount(Path(p.mountpoint), p.fstype, p.device, "") for p in _partitions()] if root == HERE else []
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        left, right = before.split(), after.split()
        if len(left) >= 5 and len(right) >= 2:
            point = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), left[4])  # a space is \040
            found.append(_Mount(Path(point), right[0], right[1], left[2]))
    return found


def _partitions() -> list[psutil._ntuples.sdiskpart]:
    try:
        return psutil.disk_partitions(all=True)
    except OSError:
        return []


def _device(mount: _Mount, root: Path) -> tuple[str | None, str | None]:
    """The drive behind a mount and its kind. A partition, or an encrypted or logical volume, leads to its drive."""
    if mount.filesystem in _NETWORK:
        return mount.source, "network"
    if mount.filesystem in _MEMORY:
        return None, "memory"
    if mount.filesystem == "overlay":
        return None, "overlay"
    block = root / "sys/class/block"
    name = _by_number(mount.number, root) or os.path.basename(mount.source)
    for _ in range(8):  # volumes on volumes
        slaves = folders(block / name / "slaves")
        if len(slaves) != 1:
            break
        name = slaves[0].name
    if not (block / name).exists():
        return (mount.source or None), None
    if (block / name / "partition").exists():
        name = (block / name).resolve().parent.name
    return name, _kind(block / name)


def _by_number(number: str, root: Path) -> str | None:
    """The name of a device by its major and minor number; filesystems such as btrfs have numbers of their own."""
    device = root / "sys/dev/block" / number
    return device.resolve().name if number and device.exists() else None
