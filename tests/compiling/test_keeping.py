"""Machine code is made once on a machine, is never used when anything it is made of has changed, and needs no numba."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HELPER = "from workbench.compiling import inlined\nRATE = {rate}\n@inlined\ndef more(a):\n    return a + RATE\n"
LOOP = """
import sys, numpy as np
from helper import more
from workbench.compiling import bare

@bare
def run(values):
    for at in range(len(values)):
        values[at] = more(values[at])

values = np.zeros(2)
run(values)
print(values.tolist(), "numba" in sys.modules)
"""


class Place:
    """A program of two files, and where its machine code is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kept = folder, folder / "kept"
        self.rate(0.5)
        (folder / "loop.py").write_text(LOOP)

    def rate(self, rate: float) -> None:
        (self.folder / "helper.py").write_text(HELPER.format(rate=rate))

    def start(self, **environment: str) -> subprocess.Popen[str]:
        known = {**os.environ, "NUMBA_CACHE_DIR": str(self.kept), "PYTHONDONTWRITEBYTECODE": "1", **environment}
        command = [sys.executable, str(self.folder / "loop.py")]
        return subprocess.Popen(command, env=known, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, **environment: str) -> str:
        return finished(self.start(**environment))

    def files(self) -> list[Path]:
        return [path for path in self.kept.rglob("*") if path.is_file()]


def finished(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.strip()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_it_is_made_once_even_by_two_processes_and_anew_when_a_called_function_changes(place: Place) -> None:
    both = [place.start(), place.start()]
    assert [finished(process) for process in both] == ["[0.5, 0.5] True"] * 2
    (first,) = place.files()
    assert place.run() == "[0.5, 0.5] False"
    place.rate(0.25)
    assert place.run() == "[0.25, 0.25] True"
    (second,) = place.files()
    assert second.name != first.name
    assert place.run() == "[0.25, 0.25] False"
    assert place.run(NUMBA_OPT="1") == "[0.25, 0.25] True"
    assert len(place.files()) == 2


def test_a_damaged_file_is_made_anew(place: Place) -> None:
    place.run()
    (file,) = place.files()
    whole = file.read_bytes()
    for damaged in (whole[:-9], whole[:200] + b"x" + whole[201:], b""):
        file.write_bytes(damaged)
        assert place.run() == "[0.5, 0.5] True"
        assert file.read_bytes() == whole


def test_where_nothing_can_be_kept_every_process_compiles_for_itself(place: Place) -> None:
    # A file in the place of a folder is what nobody can write into, not even root.
    place.kept.write_text("")
    assert place.run(XDG_CACHE_HOME=str(place.kept), HOME=str(place.kept)) == "[0.5, 0.5] True"


def test_what_cannot_be_kept_there_is_kept_in_the_users_cache(place: Place) -> None:
    place.kept.write_text("")
    users = place.folder / "users"
    assert [place.run(XDG_CACHE_HOME=str(users)) for _ in range(2)] == ["[0.5, 0.5] True", "[0.5, 0.5] False"]


SWEEP = """
import json, sys
from measurement import high_water_kb
from sweep_sides import WINDOWS, bars_of, crossover, plain, prices
from workbench.research import sweep

kind = {"own": "moving_average", "ordinary": crossover()}[sys.argv[1]]
bars, grid = bars_of(prices(2000)), {"fast": WINDOWS, "slow": WINDOWS}
idle = high_water_kb()
made = sweep(kind, grid, bars, assumptions=plain(), progress=False)
print(json.dumps([len(made.table), "numba" in sys.modules, idle, high_water_kb()]))
"""


def swept(side: str) -> list[Any]:
    command = [sys.executable, "-c", SWEEP, side]
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@pytest.mark.parametrize("side", ["own", "ordinary"])
def test_a_later_sweep_needs_no_numba_and_little_memory(side: str) -> None:
    swept(side)  # compiles, if nobody has
    combinations, by_numba, idle_kb, peak_kb = swept(side)
    assert (combinations, by_numba) == (4950, False)
    assert peak_kb - idle_kb < 75_000  # LLVM and what a sweep keeps: 55 MB were measured; numba alone takes 80 more
