"""Every library of the product lives in one environment, and none is loaded before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIBRARIES = (
    "jupyterlab",
    "papermill",
    "zipline",
    "pandas",
    "numpy",
    "sklearn",
    "tensorflow",
    "vectorbt",
    "duckdb",
    "alpaca_trade_api",
    "pytest",
    "nbval",
)
HEAVY = (
    "alpaca_trade_api",
    "duckdb",
    "exchange_calendars",
    "jupyterlab",
    "matplotlib",
    "nbclient",
    "nbconvert",
    "numba",
    "numpy",
    "pandas",
    "papermill",
    "plotly",
    "pyarrow",
    "sklearn",
    "tensorflow",
    "vectorbt",
    "zipline",
)


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", LIBRARIES)
def test_each_library_imports_in_a_fresh_process(name):
    assert python(f"import {name}; print({name}.__name__)").strip() == name


def test_all_libraries_import_together_in_one_process():
    imports = "\n".join(f"import {name}" for name in LIBRARIES)
    loaded = python(f"{imports}\nimport sys; print(*sys.modules)").split()
    assert set(LIBRARIES) <= set(loaded)


@pytest.mark.parametrize("module", ["workbench", "workbench.cli.main"])
def test_nothing_heavy_is_imported_before_it_is_used(module):
    loaded = python(f"import {module}, sys; print(*sys.modules)").split()
    assert module in loaded
    assert sorted(set(HEAVY) & set(loaded)) == []
