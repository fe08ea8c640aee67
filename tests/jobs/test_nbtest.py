"""Notebooks under test: what nbval alone would let pass is found, and each failure names cell and reason."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import ConfigError, RunCancelled
from workbench.jobs.nbtest import NotebookTest, all_notebooks, find_notebooks, run_tests
from workbench.jobs.nbtest.stored import check_stored
from workbench.settings import load_settings

CHECK = "nbval-check-output"
SAYS = {"output_type": "stream", "name": "stdout", "text": ["1\n"]}
ADDRESS = {
    "output_type": "execute_result", "metadata": {}, "execution_count": 1,
    "data": {"text/plain": ["<object at 0x7fabe6997bd0>"]},
}  # fmt: skip


def cell(source: str, *tags: str, outputs: list[dict[str, Any]] | None = None, run: bool = False) -> dict[str, Any]:
    return {
        "cell_type": "code", "metadata": {"tags": list(tags)}, "source": source, "id": f"c{abs(hash(source))}"[:9],
        "execution_count": 1 if run or outputs else None, "outputs": outputs or [],
    }  # fmt: skip


def write(file: Path, *cells: dict[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return file


NOTEBOOKS: dict[str, list[dict[str, Any]]] = {
    "good": [
        cell("import os, random, time\nimport numpy", "parameters-are-elsewhere"),
        cell("print(1)", CHECK, outputs=[SAYS]),
        cell("object()", CHECK, outputs=[ADDRESS]),
        # What varies is fixed, and nothing of the person who tests shows.
        cell("print(hash('workbench') == hash('workbench'), random.random() < 1)"),
        cell("assert (time.tzname[0], os.environ['PYTHONHASHSEED']) == ('UTC', '0')"),
        cell("assert not [n for n in os.environ if n.startswith('WORKBENCH_') and n != 'WORKBENCH_CONFIG']"),
        cell("assert 'APCA_API_KEY_ID' not in os.environ"),
    ],
    "differs": [cell("print(1)"), cell("print(2)", CHECK, outputs=[SAYS]), cell("raise ValueError('not reached')")],
    "nothing_stored": [cell("1 / 0"), cell("print(1)", CHECK)],
    "fails": [cell("print(1)"), cell("1 / 0"), cell("open('reached', 'w').close()")],
    "dies": [cell("import os"), cell("os._exit(3)")],
    "asks": [
        cell("import socket"),
        cell("try:\n    socket.create_connection(('192.0.2.1', 80))\nexcept Exception:\n    pass"),
    ],
    # A notebook's own folder is where JupyterLab and nbval run it; the runner runs it in the home.
    "only_in_the_runner": [cell("open('beside.txt').read()")],
    "demands": [cell("top: int", "parameters")],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "workbench.toml").write_text('[account]\nname = "main"\nbroker = "alpaca"\n')
    for name, cells in NOTEBOOKS.items():
        write(folder / "notebooks" / f"{name}.ipynb", *cells)
    write(folder / "notebooks" / ".ipynb_checkpoints" / "good-checkpoint.ipynb", cell("1 / 0"))
    (folder / "notebooks" / "beside.txt").write_text("there")
    return folder


@pytest.fixture(scope="module")
def results(home: Path) -> dict[str, NotebookTest]:
    """One run of all of them, two at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_RISK__MAX_ORDER_VALUE_USD", "1")
        patch.setenv("APCA_API_KEY_ID", "PK1")
        settings = load_settings(home, {})
        told: list[NotebookTest] = []
        found = run_tests(all_notebooks(settings), settings, workers=2, timeout_s=120, on_result=told.append)
    assert [result.notebook.stem for result in found] == sorted(NOTEBOOKS)
    assert {result.notebook for result in told} == {result.notebook for result in found}
    return {result.notebook.stem: result for result in found}


def failure(result: NotebookTest) -> tuple[str | None, int | None, str]:
    assert not result.passed
    return result.stage, result.cell, result.reason


def test_a_good_notebook_passes_and_says_how_much_was_compared(results: dict[str, NotebookTest]) -> None:
    good = results["good"]
    assert (good.passed, good.reason, good.cells, good.compared) == (True, "", 7, 2)
    assert good.seconds > 0


def test_a_stored_output_that_differs_is_shown_beside_the_new_one(results: dict[str, NotebookTest]) -> None:
    assert failure(results["differs"]) == ("cells", 2, "the stored output differs: '1' is now '2'")
    assert "reference_output == test_output" in results["differs"].detail


def test_a_cell_to_be_compared_with_nothing_stored_fails_before_anything_runs(
    results: dict[str, NotebookTest],
) -> None:
    stage, number, reason = failure(results["nothing_stored"])
    assert (stage, number) == ("outputs", 2)
    assert "no stored output: run the notebook and save it" in reason


def test_the_first_failing_cell_ends_the_notebook(results: dict[str, NotebookTest], home: Path) -> None:
    assert failure(results["fails"]) == ("cells", 2, "ZeroDivisionError: division by zero")
    assert "1 / 0" in results["fails"].detail
    assert not (home / "notebooks" / "reached").exists()


def test_a_kernel_that_dies_is_noticed_at_once(results: dict[str, NotebookTest]) -> None:
    assert failure(results["dies"]) == ("cells", 2, "the kernel died")
    assert results["dies"].seconds < 60  # nbval alone waits for the cell's time-out, here 120 s


def test_a_notebook_that_asks_the_network_fails_even_if_it_forgives_the_refusal(
    results: dict[str, NotebookTest],
) -> None:
    stage, _, reason = failure(results["asks"])
    assert stage == "network"
    assert "192.0.2.1" in reason


def test_what_fails_only_as_a_job_fails(results: dict[str, NotebookTest]) -> None:
    stage, number, reason = failure(results["only_in_the_runner"])
    assert (stage, number) == ("runner", 1)
    assert "beside.txt" in reason


def test_a_parameter_without_a_default_cannot_be_tested(results: dict[str, NotebookTest]) -> None:
    assert "has no default" in failure(results["demands"])[2]


@pytest.mark.usefixtures("results")
def test_nothing_of_the_home_is_touched(home: Path) -> None:
    assert {path.name for path in home.iterdir()} == {"workbench.toml", "notebooks"}


def test_an_interrupted_test_ends_what_is_running(home: Path, tmp_path: Path) -> None:
    settings = load_settings(home, {})
    endless = write(tmp_path / "endless.ipynb", cell("import time\ntime.sleep(3600)"))
    cancel = threading.Event()
    with pytest.raises(RunCancelled):  # the second is refused at once, while the first is under way
        run_tests([endless, *find_notebooks("demands", settings)], settings, cancel=cancel,
                  on_result=lambda result: cancel.set())  # fmt: skip


# ---- without a kernel ------------------------------------------------------------------------------


def test_notebooks_are_found_by_path_name_and_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    settings = load_settings(home, {})
    good = (home / "notebooks" / "good.ipynb").resolve()
    for spelled in ("notebooks/good.ipynb", "good.ipynb", "good", str(good)):
        assert find_notebooks(spelled, settings) == [good]
    assert len(find_notebooks("notebooks", settings)) == len(NOTEBOOKS)
    with pytest.raises(ConfigError, match="no notebook 'godo'; did you mean good"):
        find_notebooks("godo", settings)


@pytest.mark.parametrize(
    ("cells", "strict", "expected"),
    [
        ([cell("1")], False, (0, None)),
        ([cell("1"), cell("2", CHECK, outputs=[SAYS])], False, (1, None)),
        ([cell("1"), cell("# NBVAL_CHECK_OUTPUT\n2")], False, (1, 2)),
        ([cell("1", CHECK, run=True)], False, (1, 1)),  # run, but it showed nothing: nothing to compare
        ([cell("1", run=True)], True, (1, None)),  # a cell that shows nothing is compared with nothing
        ([cell("1", outputs=[SAYS]), cell("2")], True, (2, 2)),
        ([cell("1", "nbval-ignore-output"), cell("2", "nbval-skip"), cell("")], True, (0, None)),
    ],
)
def test_cells_without_anything_to_compare_with_are_found(
    tmp_path: Path, cells: list[dict[str, Any]], strict: bool, expected: tuple[int, int | None]
) -> None:
    compared, missing = check_stored(write(tmp_path / "n.ipynb", *cells), strict=strict)
    assert (compared, missing and missing[0]) == expected
