"""What a fork of the kernel starts with, so that a notebook's first cell does not wait for imports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

PRELOAD = (
    "encodings.ascii",
    "pandas",
    "pandas.core.methods.to_dict",
    "pandas.io.formats.html",
    "pandas.io.formats.string",
    "numpy",
    "numpy.rec",
    "duckdb",
    "pyarrow",
    "workbench.app",
    "workbench.app.checking",
    "workbench.app.warming:read_settings",
    "workbench.app.warming:show_frame",
    "workbench.brokers.matching",
    "workbench.data._frames",
    "workbench.data.sample",
    "workbench.data.quality",
    "workbench.strategies.momentum",
    "workbench.strategies.moving_average",
    "workbench.trading.proposal",
    "workbench.reports.report",
    "workbench.reports.tearsheet:prepare",
    "workbench.research.metrics",
)
_IMPORT = re.compile(r"^[ \t]*(?:import[ \t]+(.+)|from[ \t]+(\w+))", re.MULTILINE)


def preload_for(notebooks: Iterable[Path]) -> tuple[str, ...]:
    """Those of :data:`PRELOAD` that the notebooks import: all of it if any of them imports the workbench.

    Importing what nobody uses costs the first kernel over a second. A file that is no notebook counts as one that
    imports everything; whoever runs it says what is wrong with it.
    """
    try:
        imported = {name for notebook in notebooks for name in _imported(notebook)}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return PRELOAD
    if "workbench" in imported:
        return PRELOAD
    return tuple(name for name in PRELOAD if name.partition(".")[0] in imported)


def _imported(notebook: Path) -> Iterator[str]:
    """Top-level names of what the code cells seem to import; a line that only looks like it does no harm."""
    for cell in json.loads(notebook.read_bytes())["cells"]:
        if cell["cell_type"] != "code":
            continue
        for line, package in _IMPORT.findall("".join(cell["source"])):
            yield from [package] if package else re.findall(r"(?:^|,)\s*(\w+)", line)
