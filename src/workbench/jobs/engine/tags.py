"""What the tags of a cell ask of its execution."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import ConfigError
from workbench.jobs.parameters import read_cells

if TYPE_CHECKING:
    from nbformat import NotebookNode

SKIP_TAG = "skip-execution"
RAISES_TAG = "raises-exception"
_TIMEOUT = re.compile(r"timeout=(\d+(?:\.\d+)?)")
_LIKE_TIMEOUT = re.compile(r"\s*timeout(\W|$)", re.IGNORECASE)


def runs(cell: NotebookNode) -> bool:
    """Whether a cell is executed at all."""
    return cell.cell_type == "code" and bool(cell.source.strip()) and SKIP_TAG not in _tags(cell)


def may_raise(cell: NotebookNode) -> bool:
    """Whether an exception of the cell is no failure."""
    return RAISES_TAG in _tags(cell)


def check_tags(notebook: Path) -> None:
    """Refuse a notebook with a malformed tag, before anything of its pipeline has run.

    Raises
    ------
    ConfigError
        Naming notebook and cell.
    """
    codes = [cell for cell in read_cells(notebook) if cell.get("cell_type") == "code"]
    for number, cell in enumerate(codes, 1):
        _limit(cell.get("metadata", {}).get("tags", []), f"{notebook.name}, cell [{number}]")


def timeout_s(cell: NotebookNode, where: str) -> float | None:
    """The seconds that the tag ``timeout=SECONDS`` gives a cell; None without such a tag.

    Raises
    ------
    ConfigError
        For a tag that means to be one and is not; ``where`` names the cell.
    """
    return _limit(_tags(cell), where)


def _limit(tags: Sequence[object], where: str) -> float | None:
    found = [tag for tag in tags if isinstance(tag, str) and _LIKE_TIMEOUT.match(tag)]
    if not found:
        return None
    match = _TIMEOUT.fullmatch(found[0])
    seconds = float(match[1]) if match else 0.0
    if len(found) > 1 or not 0 < seconds < math.inf:
        raise ConfigError(
            f"{where}: {' and '.join(repr(tag) for tag in found)} is not a time-out",
            hint="write one tag timeout=SECONDS, for example timeout=60",
        )
    return seconds


def _tags(cell: NotebookNode) -> list[str]:
    return [tag for tag in cell.metadata.get("tags", []) if isinstance(tag, str)]
