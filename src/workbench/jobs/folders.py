"""A run's folder: writable while the run lasts, then sealed with a record of what it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.jobs.files import write_atomically

RECORD = "run.json"


def unseal(folder: Path) -> None:
    """Make a folder writable again, for a run that is taken up once more; it need not be there yet.

    What a runner was writing when it was killed goes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _chmod(folder, folder=0o755, file=0o644)
    for part in folder.glob(".*.part"):
        part.unlink()


def seal(folder: Path) -> None:
    """Nobody changes a finished run by accident: its files and the folder become read-only."""
    if folder.is_dir():
        _chmod(folder, folder=0o555, file=0o444)


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """What the run was made of and how it ended, as ``run.json``."""
    write_atomically(folder / RECORD, json.dumps(record, indent=2, sort_keys=True, default=str) + "\n")


def _chmod(top: Path, *, folder: int, file: int) -> None:
    top.chmod(0o755)  # the contents can only be reached so
    for path in top.rglob("*"):
        if not path.is_symlink():
            path.chmod(folder if path.is_dir() else file)
    top.chmod(folder)
