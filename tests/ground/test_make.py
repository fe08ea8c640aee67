"""The Makefile where nothing is installed. That an installation works is what `make test` itself shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "sh", "rm", "grep", "sed", "awk", "touch", "make")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout without .venv, and a PATH with the basic tools but neither Python nor uv."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None, f"{tool} is not on the PATH"
        (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def add(folder: Path, name: str, script: str) -> None:
    file = folder / "bin" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # the variables of an outer make (`make test`) would change what this one does
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    env["PATH"] = str(folder / "bin")
    return subprocess.run(["make", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_make_alone_lists_every_command(folder):
    listed = re.findall(r"^make (\w+)", make(folder).stdout, flags=re.MULTILINE)
    [phony] = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert sorted(listed) == sorted(phony.split())


def test_a_machine_without_python_is_told_what_to_install(folder):
    done = make(folder, "demo")
    assert done.returncode != 0
    assert done.stderr.splitlines()[:2] == [
        "Workbench needs Python 3.11 or 3.12.",
        "Install one, or name it: make demo PYTHON=/path/to/python3.12",
    ]
    assert not (folder / ".venv").exists()


def test_a_python_that_is_too_new_counts_as_none(folder):
    add(folder, "python3", "exit 1")  # what the version check answers on 3.13
    done = make(folder, "demo", "PYTHON=python3")
    assert done.stderr.startswith("Workbench needs Python 3.11 or 3.12; python3 is not one.")


def test_a_python_without_venv_names_the_missing_package_and_leaves_nothing(folder):
    # a Debian python3 answers the version check and its own path, and has no venv module
    add(
        folder,
        "python3",
        'case "$1" in -c) case "$2" in *executable*) echo python3;; esac;; *) exit 1;; esac',
    )
    done = make(folder, "venv")
    assert done.returncode != 0
    assert "python3 -m venv failed: on Debian and Ubuntu, install python3-venv" in done.stderr
    assert not (folder / ".venv").exists()


def test_an_installation_that_fails_is_not_taken_for_finished(folder):
    # uv makes the environment, then loses its connection
    add(folder, "python3", 'case "$2" in *executable*) echo python3;; esac')
    add(folder, "uv", 'case "$1" in venv) mkdir -p .venv/bin;; *) echo "no route to host" >&2; exit 2;; esac')
    add(folder, "mkdir", f'exec {shutil.which("mkdir")} "$@"')
    done = make(folder, "venv")
    assert done.returncode != 0
    assert "no route to host" in done.stderr
    assert not (folder / ".venv" / ".installed").exists()


def test_uv_installs_exactly_the_lock_with_hashes_and_wheels_only(folder):
    add(folder, "python3", 'case "$2" in *executable*) echo python3;; esac')
    add(folder, "mkdir", f'exec {shutil.which("mkdir")} "$@"')
    add(folder, "uv", '[ "$1" = venv ] && mkdir -p .venv/bin; echo "$@" >> calls')
    done = make(folder, "venv")
    assert done.returncode == 0, done.stderr
    created, synced, itself = (folder / "calls").read_text().splitlines()
    assert created == "venv --quiet --python python3 .venv"
    assert synced.startswith("pip sync")
    assert {"--require-hashes", "--only-binary", "requirements.lock"} <= set(synced.split())
    assert itself.endswith("--no-deps --no-build-isolation --offline --editable .")
    again = make(folder, "venv")
    assert len((folder / "calls").read_text().splitlines()) == 3, again.stdout
