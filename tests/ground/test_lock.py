"""The lock is exact, complete, hashed, and says nothing of where it was made."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import workbench

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
OVERRIDES = {Requirement(text).name: Requirement(text) for text in PROJECT["tool"]["uv"]["override-dependencies"]}
PYTHONS = ("3.11.0", "3.12.1")


def environment(python: str) -> dict[str, str]:
    """This machine, with another Python."""
    return default_environment() | {
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "extra": "",
    }


def pinned(python: str) -> dict[str, str]:
    """What the lock installs here for a version of Python: canonical name to version."""
    found = {}
    for line in LOCK.splitlines():
        if line.startswith(" "):
            continue
        requirement = Requirement(line.rstrip("\\").strip())
        if requirement.marker is None or requirement.marker.evaluate(environment(python)):
            name = canonicalize_name(requirement.name)
            assert name not in found, f"{name} is pinned twice for Python {python}"
            [specifier] = requirement.specifier
            assert specifier.operator == "=="
            found[name] = specifier.version
    return found


def test_the_lock_holds_pins_and_hashes_and_nothing_else():
    pin = re.compile(r"[a-z0-9-]+==[A-Za-z0-9.+!]+( ; [^\\]+)? \\")
    digest = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    lines = LOCK.splitlines()
    assert [line for line in lines if not pin.fullmatch(line) and not digest.fullmatch(line)] == []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        assert following.startswith("    --hash") == line.endswith("\\"), line


def test_the_lock_names_no_address_and_no_index():
    assert re.findall(r"(?i)[a-z]+://\S*|--?(?:extra-)?index\S*|--find-links|--trusted-host|localhost", LOCK) == []


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_of_the_project_is_pinned_within_its_range(python):
    pins = pinned(python)
    wanted = PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]
    wanted += PROJECT["build-system"]["requires"] + PROJECT["tool"]["uv"]["override-dependencies"]
    for text in wanted:
        requirement = Requirement(text)
        version = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), f"{text}: {version}"


def test_what_is_installed_is_what_the_lock_says():
    pins = pinned(default_environment()["python_full_version"])
    installed = {canonicalize_name(d.metadata["Name"]): d.version for d in distributions()}
    wrong = {name: (version, installed.get(name)) for name, version in pins.items() if installed.get(name) != version}
    assert wrong == {}


def test_every_installed_requirement_is_met_except_the_known_overrides():
    here = environment(default_environment()["python_full_version"])
    installed = {canonicalize_name(d.metadata["Name"]): d for d in distributions()}
    unmet = set()
    for name in pinned(default_environment()["python_full_version"]):
        for requirement in map(Requirement, installed[name].requires or []):
            if requirement.marker is not None and not requirement.marker.evaluate(here):
                continue
            other = installed.get(canonicalize_name(requirement.name))
            if other is None or not requirement.specifier.contains(other.version, prereleases=True):
                unmet.add((name, canonicalize_name(requirement.name)))
    assert unmet == {("alpaca-trade-api", canonicalize_name(name)) for name in OVERRIDES}


def test_duckdb_and_its_extensions_are_of_one_version():
    # an extension is signed for, and loads into, exactly one release
    pins = pinned("3.11.0")
    assert {v for n, v in pins.items() if n == "duckdb" or n.startswith("duckdb-extension")} == {pins["duckdb"]}


def test_conda_users_get_a_python_that_the_project_supports():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    [python] = [item for item in conda["dependencies"] if item.startswith("python ")]
    assert SpecifierSet(python.removeprefix("python ")) == SpecifierSet(PROJECT["project"]["requires-python"])


def test_conda_lists_tools_only_so_that_no_library_can_differ_from_the_lock():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert all(isinstance(item, str) for item in conda["dependencies"]), "a pip section would resolve anew"
    named = {re.split(r"[ <>=]", item)[0] for item in conda["dependencies"]}
    assert named == {"python", "pip", "uv", "make"}
    assert named & set(pinned("3.12.1")) == set()


def test_the_version_is_the_same_everywhere():
    assert workbench.__version__ == PROJECT["project"]["version"]
