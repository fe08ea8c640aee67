"""Temperatures, fans, batteries, UPS and screens. A machine without them has empty lists.

Source of the files: Linux kernel documentation, hwmon/sysfs-interface.rst (temperatures in 1/1000 degree Celsius, fans
in revolutions a minute), ABI/testing/sysfs-class-thermal and sysfs-class-power; ``upsc`` is Network UPS Tools' client.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.hardware.reading import HERE, command, folders, read_int, read_text


@dataclass(frozen=True, slots=True)
class Temperature:
    """One temperature in degrees Celsius; ``critical_c`` is where the hardware says it must not go."""

    name: str
    celsius: float
    critical_c: float | None = None


@dataclass(frozen=True, slots=True)
class Fan:
    name: str
    rpm: int


@dataclass(frozen=True, slots=True)
class Power:
    """A battery, an uninterruptible power supply or the mains. ``charge`` is a fraction of 1, None if unknown."""

    name: str
    kind: str
    status: str | None
    charge: float | None


@dataclass(frozen=True, slots=True)
class Screen:
    """A connector with a screen on it, and its best resolution, such as "1920x1080"."""

    name: str
    resolution: str | None


@dataclass(frozen=True, slots=True)
class Sensors:
    temperatures: tuple[Temperature, ...] = ()
    fans: tuple[Fan, ...] = ()
    power: tuple[Power, ...] = ()
    screens: tuple[Screen, ...] = ()


def read_sensors(root: Path = HERE) -> Sensors:
    """Read every sensor below ``root``."""
    chips = folders(root / "sys/class/hwmon")
    temperatures = [found for chip in chips for found in _temperatures(chip)] or list(_zones(root))
    return Sensors(
        temperatures=tuple(temperatures),
        fans=tuple(fan for chip in chips for fan in _fans(chip)),
        power=tuple(_supplies(root)) + tuple(_ups() if root == HERE else ()),
        screens=tuple(_screens(root)),
    )


def _temperatures(chip: Path) -> Iterator[Temperature]:
    name = read_text(chip / "name") or chip.name
    for file in sorted(chip.glob("temp*_input")):
        reading = read_int(file)
        if reading is None:
            continue  # a sensor of a sleeping device is there and cannot be read
        stem = file.name.removesuffix("_input")
        label = read_text(chip / f"{stem}_label")
        critical = read_int(chip / f"{stem}_crit")
        yield Temperature(f"{name} {label or stem}", reading / 1000, critical / 1000 if critical else None)


def _zones(root: Path) -> Iterator[Temperature]:
    for zone in folders(root / "sys/class/thermal"):
        reading = read_int(zone / "temp")
        if zone.name.startswith("thermal_zone") and reading is not None:
            yield Temperature(read_text(zone / "type") or zone.name, reading / 1000)


def _fans(chip: Path) -> Iterator[Fan]:
    name = read_text(chip / "name") or chip.name
    for file in sorted(chip.glob("fan*_input")):
        rpm = read_int(file)
        if rpm is not None:
            stem = file.name.removesuffix("_input")
            yield Fan(f"{name} {read_text(chip / f'{stem}_label') or stem}", rpm)


def _supplies(root: Path) -> Iterator[Power]:
    for supply in folders(root / "sys/class/power_supply"):
        kind = read_text(supply / "type")
        if kind in ("Battery", "UPS") and read_text(supply / "scope") != "Device":  # not that of a mouse
            capacity = read_int(supply / "capacity")
            charge = None if capacity is None else capacity / 100
            yield Power(supply.name, kind.lower(), _lower(read_text(supply / "status")), charge)
        elif kind == "Mains":
            online = read_int(supply / "online")
            yield Power(supply.name, "mains", {1: "connected", 0: "unplugged"}.get(online or 0), None)


def _ups() -> Iterator[Power]:
    """What Network UPS Tools knows, where it is installed."""
    for name in (command("upsc", "-l") or "").split():
        said = command("upsc", name) or ""
        charge = re.search(r"^battery\.charge: ([\d.]+)", said, flags=re.MULTILINE)
        status = re.search(r"^ups\.status: (.+)$", said, flags=re.MULTILINE)
        words = {"OL": "on line", "OB": "on battery", "LB": "low battery"}
        state = ", ".join(words.get(word, word) for word in status[1].split()) if status else None
        yield Power(name, "ups", state, float(charge[1]) / 100 if charge else None)


def _screens(root: Path) -> Iterator[Screen]:
    for connector in folders(root / "sys/class/drm"):
        if read_text(connector / "status") == "connected":
            modes = (read_text(connector / "modes") or "").split()
            yield Screen(re.sub(r"^card\d+-", "", connector.name), modes[0] if modes else None)


def _lower(text: str | None) -> str | None:
    return text.lower() if text else None
