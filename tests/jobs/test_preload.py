"""What a kernel is warmed up with depends on what its notebook imports."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.homes import write_notebook

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
