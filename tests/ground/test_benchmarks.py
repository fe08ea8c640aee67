"""The benchmark runner, on made-up benchmarks; the real ones are timed and do not belong in tests."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

GOOD = """
from measurement import Measurement
def run():
    return [
        Measurement.at_most("waiting", 0.2, "s", 0.3),
        Measurement.at_least("speed-up", 9.0, "x", 10.0),
        Measurement.shown("peer", 1.5, "s"),
    ]
"""
BROKEN = "def run():\n    raise ValueError('no lake here')\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("run.py", "measurement.py"):
        shutil.copy(ROOT / "benchmarks" / name, tmp_path)
    (tmp_path / "bench_good.py").write_text(GOOD)
    return tmp_path


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(folder / "run.py"), *arguments], capture_output=True, text=True, check=False
    )


def test_numbers_are_written_with_their_bars_and_verdicts(folder):
    done = bench(folder)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "latest.json").read_text()) == [
        {"name": "waiting", "value": 0.2, "unit": "s", "bar": 0.3, "holds": True},
        {"name": "speed-up", "value": 9.0, "unit": "x", "bar": 10.0, "holds": False},
        {"name": "peer", "value": 1.5, "unit": "s", "bar": None, "holds": True},
    ]
    assert "1 of 2 bars hold" in done.stdout


def test_a_benchmark_that_cannot_run_fails_the_command_and_not_the_others(folder):
    (folder / "bench_broken.py").write_text(BROKEN)
    done = bench(folder)
    assert done.returncode == 1
    assert done.stderr.strip() == "could not run broken: ValueError: no lake here"
    assert len(json.loads((folder / "latest.json").read_text())) == 3


def test_one_benchmark_runs_by_name(folder):
    (folder / "bench_broken.py").write_text(BROKEN)
    assert bench(folder, "--name", "good").returncode == 0


def test_an_unknown_name_is_answered_with_the_valid_ones(folder):
    done = bench(folder, "--name", "goood")
    assert done.returncode == 2
    assert "good" in done.stderr.splitlines()[-1]


def test_every_committed_benchmark_can_be_run_by_the_runner():
    files = sorted((ROOT / "benchmarks").glob("bench_*.py"))
    assert files
    for file in files:
        assert "def run() -> list[Measurement]:" in file.read_text(encoding="utf-8"), file.name
