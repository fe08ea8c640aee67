"""``workbench new`` says what it wrote and what comes next."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.homes import make_home, workbench


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path / "home")


def test_a_new_pipeline_is_written_and_the_next_commands_are_named(home: Path) -> None:
    done = workbench(home, "new", "pipeline", "weekly", "--orders")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [str(home / "pipelines" / "weekly.toml"), str(home / "pipelines" / "weekly.ipynb")]
    assert "  next     test and pin it: workbench promote weekly" in lines
    assert workbench(home, "pipelines", "inspect", "weekly").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["notebook", "03_backtest"], "exists already; choose another name; nothing was written"),
        (["notebook", "Earnings!"], "did you mean earnings?"),
        (["pipeline", "daily"], "exists already"),
        (["strategy", "trend"], "strategies are part of the package"),
    ],
)
def test_what_cannot_be_made_is_one_line_and_exit_64(home: Path, arguments: list[str], words: str) -> None:
    done = workbench(home, "new", *arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (64, "", 1)
    assert words in done.stderr
