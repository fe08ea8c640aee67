"""The system around the processor: what it is, what it runs in, and whose cloud. A missing sensor answers None."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from workbench.hardware.reading import HERE, command, read_table, read_text

_HYPERVISORS = (
    # (a word in the board's vendor or product name, what it means)
    ("kvm", "kvm"),
    ("qemu", "qemu"),
    ("vmware", "vmware"),
    ("virtualbox", "virtualbox"),
    ("microsoft", "hyper-v"),
    ("xen", "xen"),
    ("amazon ec2", "kvm"),  # Nitro; the older Xen instances say so
    ("google", "kvm"),
    ("openstack", "openstack"),
    ("parallels", "parallels"),
)
# What cloud vendors write into the firmware of their machines, and the ids that cloud-init gives them.
_CLOUDS = (
    ("amazon ec2", "Amazon EC2"), ("google", "Google Compute Engine"),
    ("7783-7084-3265-9085-8269-3286-77", "Microsoft Azure"), ("digitalocean", "DigitalOcean"), ("hetzner", "Hetzner"),
    ("ovhcloud", "OVHcloud"), ("oraclecloud", "Oracle Cloud"), ("alibaba cloud", "Alibaba Cloud"), ("vultr", "Vultr"),
    ("linode", "Linode"), ("akamai", "Linode"), ("scaleway", "Scaleway"), ("upcloud", "UpCloud"),
    ("openstack", "OpenStack"),
)  # fmt: skip
_CLOUD_INIT = {
    "aws": "Amazon EC2", "gce": "Google Compute Engine", "azure": "Microsoft Azure", "digitalocean": "DigitalOcean",
    "hetzner": "Hetzner", "oracle": "Oracle Cloud", "aliyun": "Alibaba Cloud", "vultr": "Vultr", "akamai": "Linode",
    "scaleway": "Scaleway", "upcloud": "UpCloud", "openstack": "OpenStack",
}  # fmt: skip
_DMI = ("sys_vendor", "product_name", "bios_vendor", "board_vendor", "chassis_asset_tag")


@dataclass(frozen=True, slots=True)
class Host:
    """The system: "none" of ``virtualization`` is bare metal, None of anything is that it cannot be told."""

    operating_system: str
    kernel: str
    virtualization: str | None
    cloud: str | None
    board: str | None


def read_host(root: Path = HERE) -> Host:
    """Describe the system below ``root``."""
    vendor, product = read_text(root / "sys/class/dmi/id/sys_vendor"), read_text(root / "sys/class/dmi/id/product_name")
    board = " ".join(filter(None, (vendor, product))) or read_text(root / "proc/device-tree/model")
    return Host(
        operating_system=_operating_system(root),
        kernel=read_text(root / "proc/sys/kernel/osrelease") or platform.release(),
        virtualization=read_virtualization(root),
        cloud=read_cloud(root),
        board=board.strip("\0") if board else None,
    )


def read_virtualization(root: Path = HERE) -> str | None:
    """What the system runs in ("kvm", "docker", "wsl", ...), "none" on bare metal, None if it cannot be told.

    A container is named in preference to the virtual machine that it runs on.
    """
    if sys.platform == "darwin" and root == HERE:
        return {"1": "virtual machine", "0": "none"}.get(command("sysctl", "-n", "kern.hv_vmm_present") or "")
    container = _container(root)
    if container:
        return container
    board = _board(root)
    named = next((meaning for word, meaning in _HYPERVISORS if word in board), None)
    flags = read_table(root / "proc/cpuinfo").get("flags")
    if flags is None:
        return named
    # The processor shows this flag to guests only, whatever the board says its maker is.
    return (named or "virtual machine") if "hypervisor" in flags.split() else "none"


def read_cloud(root: Path = HERE) -> str | None:
    """Whose cloud the machine belongs to, by its firmware or cloud-init; None if neither says so."""
    board = _board(root)
    named = next((name for word, name in _CLOUDS if word in board), None)
    return named or _CLOUD_INIT.get(read_text(root / "run/cloud-init/cloud-id") or "")


def _board(root: Path) -> str:
    return " ".join(read_text(root / "sys/class/dmi/id" / name) or "" for name in _DMI).lower()


def _operating_system(root: Path) -> str:
    """The system's name and version as its users know it, such as "Debian GNU/Linux 12 (bookworm)"."""
    if sys.platform == "darwin" and root == HERE:
        return f"macOS {platform.mac_ver()[0]}"
    for line in (read_text(root / "etc/os-release") or "").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip('"')
    return platform.system()


def _container(root: Path) -> str | None:
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    if "microsoft" in (read_text(root / "proc/sys/kernel/osrelease") or "").lower():
        return "wsl"
    if root == HERE and os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    return read_text(root / "run/systemd/container") or None
