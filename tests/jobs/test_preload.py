"""What a kernel is warmed up with depends on what its notebook imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.homes import environment, make_home, write_notebook

from workbench.jobs.preload import PRELOAD, preload_for

PANDAS = ("pandas", "pandas.core.methods.to_dict", "pandas.io.formats.html", "pandas.io.formats.string")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1 + 1", ()),
        ("import numpy as np", ("numpy", "numpy.rec")),
        ("import os, duckdb as d, json", ("duckdb",)),
        ("if True:\n    from pandas.api import types", PANDAS),
        ("import workbench", PRELOAD),
        ("from workbench.research import metrics", PRELOAD),
        ('"""\nimport pandas\n"""', PANDAS),  # a line that only looks like an import costs time, nothing else
        ("%matplotlib inline\nimport pyarrow", ("pyarrow",)),
    ],
)
def test_only_what_is_imported_is_loaded_ahead(tmp_path: Path, source: str, expected: tuple[str, ...]) -> None:
    assert preload_for([write_notebook(tmp_path / "a.ipynb", "y = 2", source)]) == expected


def test_one_notebook_of_several_that_needs_the_workbench_is_enough(tmp_path: Path) -> None:
    notebooks = [write_notebook(tmp_path / "a.ipynb", "1"), write_notebook(tmp_path / "b.ipynb", "import workbench")]
    assert preload_for(notebooks) == PRELOAD


@pytest.mark.parametrize("text", ["", "nope", "[]", '{"cells": 1}', '{"cells": [{}]}'])
def test_a_file_that_is_no_notebook_counts_as_one_that_needs_everything(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.ipynb").write_text(text)
    assert preload_for([tmp_path / "a.ipynb"]) == PRELOAD
    assert preload_for([tmp_path / "missing.ipynb"]) == PRELOAD


_CELLS = """
import importlib, json, sys
from workbench.jobs.preload import PRELOAD
for name in PRELOAD:
    module, _, prepare = name.partition(":")
    loaded = importlib.import_module(module)
    if prepare:
        getattr(loaded, prepare)()
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell()
before = set(sys.modules)
for notebook in ("update_data", "rebalance"):
    for cell in json.load(open(f"pipelines/{notebook}.ipynb"))["cells"]:
        if cell["cell_type"] == "code":
            shell.run_cell("".join(cell["source"]), silent=False).raise_error()
late = {name for name in set(sys.modules) - before if name.split(".")[0] in ("workbench", "pandas", "numpy", "duckdb")}
print("late", sorted(late))
"""


def test_the_notebooks_of_daily_import_nothing_in_their_cells(tmp_path: Path) -> None:
    """A module that is not loaded ahead is loaded by every kernel of every session, in the middle of a cell."""
    home = make_home(tmp_path / "home", loaded=True)
    command = [sys.executable, "-c", _CELLS]
    clean = environment(IPYTHONDIR=str(tmp_path / "ipython"))
    done = subprocess.run(command, cwd=home, env=clean, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "late []"
