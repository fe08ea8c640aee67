"""What the tags of a cell ask of its execution."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from workbench.errors import ConfigError

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


def timeout_s(cell: NotebookNode, where: str) -> float | None:
    """The seconds that the tag ``timeout=SECONDS`` gives a cell; None without such a tag.

    Raises
    ------
    ConfigError
        For a tag that means to be one and is not; ``where`` names the cell.
    """
    found = [tag for tag in _tags(cell) if _LIKE_TIMEOUT.match(tag)]
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
