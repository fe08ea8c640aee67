"""What ``workbench new`` writes passes every check as it is, and nothing that exists is overwritten."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.errors import ConfigError
from workbench.jobs import scaffold
from workbench.jobs.binding import bind
from workbench.jobs.lint import lint
from workbench.jobs.nbtest import run_tests
from workbench.jobs.nbtest.stored import check_stored
from workbench.jobs.parameters import read_parameters
from workbench.jobs.pipelines import load_pipeline
from workbench.settings import load_settings

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An installation with nothing in it but the sample."""
    (tmp_path / "workbench.toml").write_text("")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sample").symlink_to(REPOSITORY / "data" / "sample")
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def ruff(folder: Path, *files: Path) -> None:
    tool = Path(sys.executable).with_name("ruff")
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [str(tool), *command, "--no-cache", *map(str, files)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_notebook_and_pipelines_pass_rules_style_and_tests_as_they_are(home: Path) -> None:
    settings = load_settings(home, {})
    (home / "src" / "workbench").mkdir(parents=True)  # so that ruff knows which imports are the house's own
    notebook = scaffold.new_notebook("07_earnings", settings).files[0]
    table, decides = scaffold.new_pipeline("weekly", settings).files
    _, orders = scaffold.new_pipeline("orders_too", settings, orders=True).files
    assert (
        lint(notebook) == lint(notebook, is_job=True) == lint(decides, is_job=True) == lint(orders, is_job=True) == []
    )
    ruff(home, notebook, decides, orders)
    for name, orderly in (("weekly", False), ("orders_too", True)):
        pipeline = load_pipeline(name, settings.pipelines_dir)
        assert [step.orders for step in pipeline.steps] == [orderly]
        assert bind(pipeline, {name: read_parameters(pipeline.notebooks[0])}, {}).symbols == ("AAPL", "IBM", "MSFT")
    assert table.read_text().startswith("# One production job")
    # With real kernels, after a run of its pipeline; the notebook's turn comes when it is promoted.
    (result,) = run_tests([orders], settings)
    assert (result.reason, result.compared) == ("", 1)


def test_symbols_and_session_are_those_that_the_installation_works_with(home: Path) -> None:
    settings = load_settings(home, {})
    scaffold.new_pipeline("first", settings)
    file = home / "pipelines" / "first.toml"
    file.write_text(file.read_text().replace('["AAPL", "IBM", "MSFT"]', '["IBM"]'))
    notebook = scaffold.new_notebook("second", settings).files[0]
    assert read_parameters(notebook).defaults["symbols"] == ["IBM"]
    assert "'1 symbols up to 2013-03-01'" in notebook.read_text()


def test_what_is_there_is_never_overwritten(home: Path) -> None:
    settings = load_settings(home, {})
    made = [scaffold.new_notebook("mine", settings), scaffold.new_pipeline("mine", settings)]
    for file in [file for scaffolded in made for file in scaffolded.files]:
        file.write_text("work of a week")
    with pytest.raises(ConfigError, match=r"mine\.ipynb exists already; choose another name; nothing was written"):
        scaffold.new_notebook("mine", settings)
    (home / "pipelines" / "mine.toml").unlink()
    with pytest.raises(ConfigError, match=r"mine\.ipynb exists already"):
        scaffold.new_pipeline("mine", settings)
    assert not (home / "pipelines" / "mine.toml").exists()
    assert (home / "pipelines" / "mine.ipynb").read_text() == "work of a week"


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("notebook", "My Notebook.ipynb", "did you mean my_notebook?"),
        ("notebook", "../escape", "did you mean escape?"),
        ("notebook", "x" * 33, f"did you mean {'x' * 32}?"),
        ("notebook", "", "for example mean_reversion"),
        ("pipeline", "Weekly Rebalance", "did you mean weekly_rebalance?"),
        ("pipeline", "2x", "did you mean p_2x?"),
        ("strategy", "mean-reversion", "did you mean mean_reversion?"),
        ("strategy", "class", "did you mean class_strategy?"),
        ("strategy", "base", "did you mean base_strategy?"),
    ],
)
def test_a_bad_name_is_told_the_rule_and_the_nearest(home: Path, kind: str, name: str, words: str) -> None:
    make = {"notebook": scaffold.new_notebook, "pipeline": scaffold.new_pipeline, "strategy": scaffold.new_strategy}
    with pytest.raises(ConfigError) as caught:
        make[kind](name, load_settings(home, {}))
    assert f"{name!r} cannot be the name of a {kind}" in str(caught.value)
    assert words in str(caught.value)
    assert not list(home.rglob("*.ipynb"))


def test_a_strategy_needs_the_sources_of_the_package(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"its sources are not in .*; run it in a clone of the repository"):
        scaffold.new_strategy("trend", load_settings(home, {}))


def test_a_strategy_comes_with_tests_that_pass(home: Path) -> None:
    shutil.copytree(REPOSITORY / "src", home / "src", ignore=shutil.ignore_patterns("__pycache__"))
    env = {**os.environ, "PYTHONPATH": str(home / "src")}
    code = (
        "from pathlib import Path; from workbench.jobs.scaffold import new_strategy;"
        "from workbench.settings import load_settings;"
        "print(*new_strategy('mean_reversion', load_settings(Path.cwd(), {})).files)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=home, env=env, capture_output=True, text=True, check=True
    )
    strategy, tests = (Path(file) for file in done.stdout.split())
    assert strategy == home / "src" / "workbench" / "strategies" / "mean_reversion.py"
    ruff(home, strategy, tests)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--doctest-modules",
        str(tests),
        str(strategy),
    ]
    tested = subprocess.run(
        command, cwd=home, env=env, capture_output=True, text=True, check=False, timeout=300
    )  # fmt: skip
    assert tested.returncode == 0, tested.stdout
    assert "4 passed" in tested.stdout


def test_the_scaffold_stores_what_its_test_compares(home: Path) -> None:
    notebook = scaffold.new_notebook("mine", load_settings(home, {})).files[0]
    assert check_stored(notebook) == (1, None)
