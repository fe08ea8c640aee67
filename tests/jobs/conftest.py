"""One warm pool of kernels for all tests of this folder, and small helpers around notebooks and processes."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench.jobs.kernels import KernelPool

FIXTURES = Path(__file__).parent.parent / "fixtures" / "notebooks"
DEADLINE_S = 30.0  # for what happens at once on an idle machine


@pytest.fixture(scope="session")
def fixtures() -> Path:
    return FIXTURES


@pytest.fixture(scope="session")
def pool() -> Iterator[KernelPool]:
    with KernelPool(preload=("numpy",), calendars=()) as kernels:
        yield kernels


@pytest.fixture
def notebook(tmp_path: Path) -> Callable[..., Path]:
    """Write a notebook from sources; a source that is a pair carries its tags."""

    def write(*sources: str | tuple[str, list[str]], title: str = "# Test\n\nplaces orders: no") -> Path:
        cells: list[dict[str, Any]] = [{"cell_type": "markdown", "id": "m", "metadata": {}, "source": title}]
        for number, source in enumerate(sources):
            text, tags = (source, []) if isinstance(source, str) else source
            cells.append(
                {
                    "cell_type": "code",
                    "id": f"c{number}",
                    "metadata": {"tags": tags},
                    "source": text,
                    "execution_count": None,
                    "outputs": [],
                }
            )
        file = tmp_path / "written.ipynb"
        content = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        file.write_text(json.dumps(content), encoding="utf-8")
        return file

    return write


@pytest.fixture(scope="session")
def wait_for() -> Callable[[Callable[[], bool]], None]:
    """Look again and again until something is true, at most for ``DEADLINE_S``."""

    def wait(condition: Callable[[], bool]) -> None:
        for _ in range(int(DEADLINE_S / 0.01)):
            if condition():
                return
            select.select([], [], [], 0.01)
        raise AssertionError(f"did not happen within {DEADLINE_S:g} s")

    return wait


@pytest.fixture(scope="session")
def is_alive() -> Callable[[int], bool]:
    """Whether a process exists and is not a zombie."""

    def alive(pid: int) -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state not in "ZX"

    assert alive(os.getpid())
    return alive


@pytest.fixture(scope="session")
def outputs() -> Callable[[Path], str]:
    """All text that the cells of a notebook show."""

    def read(file: Path) -> str:
        shown = []
        for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                text = output.get("text") or output.get("traceback") or output["data"]["text/plain"]
                shown.append("".join(text))
        return "\n".join(shown)

    return read
