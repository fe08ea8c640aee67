"""What a run was made of: notebook, code, environment. Recorded with it, so that a result can be traced."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import workbench


def provenance(home: Path, notebooks: Mapping[str, Path]) -> dict[str, Any]:
    """Hashes (SHA-256) of notebooks and lock file, git commit and dirty flag, versions.

    A value that cannot be known (no git, no lock file) is None.
    """
    commit, dirty = _git(home)
    lock = home / "requirements.lock"
    return {
        "workbench": workbench.__version__,
        "python": platform.python_version(),
        "git_commit": commit,
        "git_dirty": dirty,
        "lock_sha256": sha256(lock) if lock.is_file() else None,
        "notebooks": {step: sha256(path) for step, path in notebooks.items()},
    }


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _git(home: Path) -> tuple[str | None, bool | None]:
    """The commit, and whether a file that git knows differs from it."""
    command = [
        "git",
        "--no-optional-locks",
        "-C",
        str(home),
        "status",
        "--porcelain=v2",
        "--branch",
        "--untracked-files=no",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None, None
    if done.returncode != 0:
        return None, None
    told = [line for line in done.stdout.splitlines() if line.startswith("# ")]
    commit = next((line.split()[2] for line in told if line.startswith("# branch.oid ")), "(initial)")
    return None if commit == "(initial)" else commit, len(told) < len(done.stdout.splitlines())
