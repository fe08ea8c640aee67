"""``workbench promote`` and ``workbench test notebooks`` as a person sees them; no kernel is needed for a refusal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.homes import make_home, workbench


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = make_home(tmp_path / "home")
    (made / "pipelines" / "daily.lock").unlink(missing_ok=True)
    return made


def test_a_failed_promotion_is_one_line_and_exit_1(home: Path) -> None:
    file = home / "pipelines" / "rebalance.ipynb"
    file.write_text(file.read_text().replace("import workbench", "import duckdb"))
    done = workbench(home, "promote", "daily")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "daily is not promoted: rebalance.ipynb, cell [2]: duckdb is imported" in done.stderr
    assert not (home / "pipelines" / "daily.lock").exists()


def test_a_wrong_promotion_is_exit_64(home: Path) -> None:
    done = workbench(home, "promote", "dialy")
    assert (done.returncode, done.stdout) == (64, "")
    assert "did you mean daily?" in done.stderr


def test_a_failed_notebook_test_is_a_row_with_cell_and_reason_and_exit_1(home: Path) -> None:
    broken = home / "notebooks" / "broken.ipynb"
    tags = {"tags": ["nbval-check-output"]}
    cell = {"cell_type": "code", "id": "a", "metadata": tags, "source": "1", "execution_count": None, "outputs": []}
    broken.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    done = workbench(home, "test", "notebooks", "broken", "--json")
    assert done.returncode == 1, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["notebook"], row["result"], row["stage"], row["cell"]) == (
        "notebooks/broken.ipynb", "failed", "outputs", 1,
    )  # fmt: skip
    assert "no stored output" in row["reason"]


def test_a_notebook_that_is_not_there_is_exit_64(home: Path) -> None:
    done = workbench(home, "test", "notebooks", "rebalanc")
    assert (done.returncode, done.stdout) == (64, "")
    assert "no notebook 'rebalanc'; did you mean rebalance?" in done.stderr
