"""What nbval does with a notebook: which outputs it compares, and whether anything is stored to compare with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.jobs.parameters import read_cells, source_of

CHECK, IGNORE, SKIP = "nbval-check-output", "nbval-ignore-output", "nbval-skip"
TAGS = frozenset({CHECK, IGNORE, SKIP, "nbval-raises-exception"})


def check_stored(notebook: Path, *, strict: bool = False) -> tuple[int, tuple[int, str] | None]:
    """How many cells are compared, and the first that has nothing to be compared with: its number, and why.

    nbval lets such a cell pass without a word.
    """
    compared = 0
    for number, cell in enumerate(codes(notebook), 1):
        wanted = compares(cell, strict=strict)
        if wanted is None or not source_of(cell).strip():
            continue
        compared += 1
        if cell.get("execution_count") is None:
            return compared, (number, "is compared, but has no stored output: run the notebook and save it")
        if wanted == CHECK and not cell.get("outputs"):
            return compared, (number, f"is tagged {CHECK}, but its stored output is empty: there is nothing to compare")
    return compared, None


def compares(cell: Mapping[str, Any], *, strict: bool) -> str | None:
    """Whether nbval compares the output of a cell, by tag or comment: ``nbval-check-output``, ``default`` or None."""
    marks = marks_of(cell)
    if SKIP in marks or IGNORE in marks:
        return None
    return CHECK if CHECK in marks else "default" if strict else None


def marks_of(cell: Mapping[str, Any]) -> set[str]:
    """The tags of a cell, and the comments that stand for one: ``# NBVAL_SKIP`` is ``nbval-skip``."""
    comments = re.findall(r"^\s*#+\s*(NBVAL_\w+)\s*$", source_of(cell), flags=re.MULTILINE)
    tags = {str(tag) for tag in cell.get("metadata", {}).get("tags", [])}
    return tags | {comment.lower().replace("_", "-") for comment in comments}


def codes(notebook: Path) -> list[dict[str, Any]]:
    """The code cells of a notebook, in order."""
    return [cell for cell in read_cells(notebook) if cell.get("cell_type") == "code"]
