"""The table in docs/architecture.md and the contract that import-linter enforces say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def rooms_in_the_document() -> list[set[str]]:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d+ \| ([^|]+) \|", text, flags=re.MULTILINE)
    return [{name.removesuffix(".py").rstrip("/") for name in re.findall(r"`([^`]+)`", row)} for row in rows]


def rooms_in_the_contract() -> list[set[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [contract] = [c for c in project["tool"]["importlinter"]["contracts"] if c["id"] == "rooms"]
    return [set(re.split(r" \| ", layer)) for layer in contract["layers"]]


def test_the_enforced_rooms_are_the_documented_ones():
    assert rooms_in_the_contract() == rooms_in_the_document()


def test_every_room_is_in_the_table():
    package = ROOT / "src" / "workbench"
    built = {path.stem for path in package.glob("*.py") if not path.stem.startswith("__")}
    built |= {path.parent.name for path in package.glob("*/__init__.py")}
    assert built == set().union(*rooms_in_the_document())
