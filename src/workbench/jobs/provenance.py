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
    commit = _git(home, "rev-parse", "HEAD")
    status = _git(home, "status", "--porcelain", "--untracked-files=no")
    lock = home / "requirements.lock"
    return {
        "workbench": workbench.__version__,
        "python": platform.python_version(),
        "git_commit": commit,
        "git_dirty": None if status is None else bool(status),
        "lock_sha256": sha256(lock) if lock.is_file() else None,
        "notebooks": {step: sha256(path) for step, path in notebooks.items()},
    }


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _git(home: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(home), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
