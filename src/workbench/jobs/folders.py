"""A run's folder: writable while the run lasts, then sealed with a record of what it was."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from workbench.jobs.files import write_atomically

RECORD = "run.json"


def unseal(folder: Path) -> None:
    """Make a folder writable again, for a run that is taken up once more; it need not be there yet.

    What a runner was writing when it was killed goes, and so does the record: a seal that an earlier attempt has still
    to put on finds nothing to seal.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _chmod(folder, add=stat.S_IWUSR)
    (folder / RECORD).unlink(missing_ok=True)
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def seal(folder: Path, attempt: int) -> None:
    """Nobody changes a finished run by accident: its files and the folder become read-only."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return  # a later attempt is at work here
    if record["attempt"] == attempt:
        _chmod(folder, take=stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """What the run was made of and how it ended, as ``run.json``."""
    write_atomically(folder / RECORD, json.dumps(record, indent=2, sort_keys=True, default=str) + "\n")


def _chmod(top: Path, *, add: int = 0, take: int = 0) -> None:
    """Change the permissions of a folder and of everything in it; nobody gets more than they had, but to write."""
    for path in [*top.rglob("*"), top] if take else [top, *top.rglob("*")]:
        with suppress(FileNotFoundError):  # something that was only for a moment
            if not path.is_symlink():
                path.chmod((stat.S_IMODE(path.stat().st_mode) | add) & ~take)
