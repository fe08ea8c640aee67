"""A single notebook as a pipeline of one step, so that whatever is run has the same ledger and the same checks."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from workbench.errors import ConfigError
from workbench.jobs.parameters import read_cells, source_of
from workbench.jobs.pipelines import Pipeline, Step

_PREFIX = "nb-"  # no pipeline is named so: the ledger tells the two apart
_LONGEST = 32


def pipeline_of_notebook(notebook: Path, calendar: str) -> Pipeline:
    """A pipeline whose one step is that notebook. It may order if its title says ``places orders: yes``.

    Raises
    ------
    ConfigError
        If there is no such file.
    ParameterError
        If it is not a notebook.
    """
    if not notebook.is_file():
        raise ConfigError(f"no notebook {notebook}")
    words = _words(notebook)
    step = words if words[0].isalpha() else f"n{words}"
    return Pipeline(
        name=name_of(notebook),
        file=notebook.resolve().with_suffix(".toml"),
        description=f"the notebook {notebook.name}",
        calendar=calendar,
        steps=(Step(name=step[:_LONGEST], notebook=notebook.name, orders=may_order(notebook)),),
    )


def name_of(notebook: Path) -> str:
    """The name under which a notebook's own runs are in the ledger.

    >>> name_of(Path("notebooks/02_data_cleaning.ipynb"))
    'nb-02_data_cleaning'
    """
    name = f"{_PREFIX}{_words(notebook)}"
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]  # two long names may begin alike
    return f"{name[: _LONGEST - len(digest) - 1]}-{digest}"


def may_order(notebook: Path) -> bool:
    """Whether a notebook's title cell says that it places orders."""
    cells = read_cells(notebook)
    text = source_of(cells[0]) if cells and cells[0].get("cell_type") == "markdown" else ""
    return bool(re.search(r"places orders\W{1,6}yes\b", text, re.IGNORECASE))


def _words(notebook: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "_", notebook.stem.lower()).strip("_") or "notebook"
