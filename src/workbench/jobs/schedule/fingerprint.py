"""What a warmed worker was made of: if that changes before the bell, the worker is thrown away."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import workbench
from workbench.jobs.pipelines import Pipeline
from workbench.settings import Settings

_PACKAGE = Path(workbench.__file__).parent


def fingerprint(settings: Settings, pipeline: Pipeline) -> str:
    """One value for the commit, the lock, the package's files, the configuration, the pipeline and its notebooks."""
    digest = hashlib.sha256(_commit(settings.home).encode())
    digest.update(pipeline.model_dump_json(exclude_unset=True).encode())  # its file may be broken at the moment
    for file in (settings.config_file, settings.home / "requirements.lock", *pipeline.notebooks):
        digest.update(_content(file))
    for folder, _, names in sorted(os.walk(_PACKAGE)):
        for name in sorted(names):
            if name.endswith(".py"):
                digest.update(_stamp(Path(folder, name)))
    return digest.hexdigest()


def _stamp(file: Path) -> bytes:
    try:
        stat = file.stat()
    except OSError as error:  # taken away while one looked
        return f"{file}:{error.errno}".encode()
    return f"{file}:{stat.st_mtime_ns}:{stat.st_size}".encode()


def _content(file: Path) -> bytes:
    try:
        return hashlib.sha256(file.read_bytes()).digest()
    except OSError as error:  # its absence is a state like any other; who needs the file will say so
        return str(error.errno).encode()


def _commit(home: Path) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(home), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
