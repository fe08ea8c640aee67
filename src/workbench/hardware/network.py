"""Network interfaces, the way out, and who answers names. Nothing is sent; see ``latency`` for how far a venue is.

Source of the files: Linux kernel documentation, ABI/testing/sysfs-class-net; net/route and net/ipv6_route of proc(5);
resolv.conf(5).
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import psutil

from workbench.errors import ConfigError, nearest
from workbench.hardware.reading import HERE, folders, read_int, read_text

_LOOPBACK = 772  # ARPHRD_LOOPBACK, linux/if_arp.h
_GATEWAY_FLAGS = 0x3  # RTF_UP | RTF_GATEWAY, linux/route.h


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface. ``speed_mbps`` is the link's, megabits a second; None where the driver does not say."""

    name: str
    kind: str
    state: str
    speed_mbps: int | None
    mtu: int | None


@dataclass(frozen=True, slots=True)
class Route:
    """A default route: the interface it leaves by and the gateway's address."""

    interface: str
    gateway: str


@dataclass(frozen=True, slots=True)
class Network:
    interfaces: tuple[Interface, ...] = ()
    routes: tuple[Route, ...] = ()
    nameservers: tuple[str, ...] = ()


def read_network(root: Path = HERE) -> Network:
    """Describe the network below ``root``; loopback is left out."""
    interfaces = _interfaces(root)
    if not interfaces and root == HERE:
        interfaces = _interfaces_elsewhere()
    return Network(tuple(interfaces), (*_routes(root), *_routes_v6(root)), _nameservers(root))


def address_of(source: str) -> str:
    """The local address that is meant by an address or by the name of an interface; IPv4 if it has one.

    Raises
    ------
    ConfigError
        If it is neither.

    >>> address_of("127.0.0.1")
    '127.0.0.1'
    """
    try:
        return str(ip_address(source))
    except ValueError:
        pass  # then it is a name
    known = psutil.net_if_addrs()
    addresses = {entry.family: entry.address for entry in reversed(known.get(source, []))}
    for family in (socket.AF_INET, socket.AF_INET6):
        if family in addresses:
            return addresses[family]
    if source in known:
        raise ConfigError(f"the interface {source} has no address to leave by")
    raise ConfigError(f"{source!r} is neither an address nor an interface", hint=nearest(source, known))


def _interfaces(root: Path) -> list[Interface]:
    found = []
    for folder in folders(root / "sys/class/net"):
        if read_int(folder / "type") == _LOOPBACK:
            continue
        speed = read_int(folder / "speed")
        found.append(
            Interface(
                folder.name,
                _kind(folder),
                read_text(folder / "operstate") or "unknown",
                speed if speed and speed > 0 else None,  # -1: the driver does not know
                read_int(folder / "mtu"),
            )
        )
    return found


def _kind(folder: Path) -> str:
    if (folder / "wireless").is_dir() or (folder / "phy80211").exists():
        return "wireless"
    if (folder / "bridge").is_dir():
        return "bridge"
    # Only what a driver made for a device, real or of the hypervisor, has one.
    return "wired" if (folder / "device").exists() else "virtual"


def _interfaces_elsewhere() -> list[Interface]:
    """Without sysfs (macOS): names, state and speed as psutil finds them."""
    found = []
    for name, stats in psutil.net_if_stats().items():
        if not name.startswith("lo"):
            state = "up" if stats.isup else "down"
            found.append(Interface(name, "unknown", state, stats.speed or None, stats.mtu or None))
    return found


def _routes(root: Path) -> list[Route]:
    """Default routes of IPv4, the preferred one first; addresses are hexadecimal in the machine's byte order."""
    found = []
    for line in (read_text(root / "proc/net/route") or "").splitlines()[1:]:
        words = line.split()
        if len(words) < 8 or words[1] != "00000000" or int(words[3], 16) & _GATEWAY_FLAGS != _GATEWAY_FLAGS:
            continue
        gateway = socket.inet_ntoa(struct.pack("=L", int(words[2], 16)))
        found.append((int(words[6]), Route(words[0], gateway)))
    return [route for _, route in sorted(found, key=lambda pair: pair[0])]


def _routes_v6(root: Path) -> list[Route]:
    found = []
    for line in (read_text(root / "proc/net/ipv6_route") or "").splitlines():
        words = line.split()
        if len(words) < 10 or words[:2] != ["0" * 32, "00"] or int(words[8], 16) & _GATEWAY_FLAGS != _GATEWAY_FLAGS:
            continue
        found.append((int(words[5], 16), Route(words[9], str(IPv6Address(bytes.fromhex(words[4]))))))
    return [route for _, route in sorted(found, key=lambda pair: pair[0])]


def _nameservers(root: Path) -> tuple[str, ...]:
    lines = (read_text(root / "etc/resolv.conf") or "").splitlines()
    return tuple(words[1] for line in lines if len(words := line.split()) > 1 and words[0] == "nameserver")
