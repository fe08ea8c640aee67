"""A promotion is all or nothing: what fails writes nothing, what holds is pinned for everybody to read."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.homes import make_home

from workbench import strategies
from workbench.clock import ManualClock
from workbench.errors import ConfigError, JobError
from workbench.jobs import scaffold
from workbench.jobs.pipelines import load_pipeline
from workbench.jobs.promotion import lock_file, lock_table, pins, require, strategies_of
from workbench.jobs.promotion.promoting import Promotion, promote
from workbench.jobs.promotion.tables import to_toml
from workbench.settings import load_settings

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PEEK = """
import pandas as pd

from workbench.data.bars import Bars
from workbench.strategies.base import Strategy


class Peek(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        return (bars.close.shift(-1) > bars.close).astype(float) / 10
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = make_home(tmp_path / "home")
    monkeypatch.chdir(made)
    for file in (made / "pipelines").glob("*.lock"):
        file.unlink()
    return made


def run(home: Path, target: str, **options: Any) -> Promotion:
    return promote(target, load_settings(home, {}), clock=ManualClock(NOON), who="ada", **options)


def state(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def edit(file: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    content = json.loads(file.read_text())
    change(content["cells"])
    file.write_text(json.dumps(content))


def refused(home: Path, target: str, error: type[Exception] = JobError, **options: Any) -> str:
    """The message of a promotion that fails, and the proof that it wrote nothing."""
    before = state(home)
    with pytest.raises(error) as caught:
        run(home, target, **options)
    assert state(home) == before
    assert "\n" not in str(caught.value)
    assert "wb-promote" not in str(caught.value)  # where it was tried is nobody's business
    return str(caught.value)


def pin(home: Path, name: str) -> None:
    """What a promotion writes, without its tests."""
    settings = load_settings(home, {})
    pipeline = load_pipeline(name, settings.pipelines_dir)
    table = lock_table(pipeline, pins(pipeline, settings, strategies_of(pipeline)))
    lock_file(pipeline).write_text(to_toml(table))


@pytest.fixture
def peek(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A strategy that looks ahead, beside those of the house."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "peek.py").write_text(PEEK)
    monkeypatch.setattr(strategies, "__path__", [*strategies.__path__, str(tmp_path / "more")])
    yield
    sys.modules.pop("workbench.strategies.peek", None)


def test_a_notebook_becomes_a_pipeline_that_may_run(home: Path) -> None:
    settings = load_settings(home, {})
    scaffold.new_notebook("07_signal", settings)
    made = run(home, "notebooks/07_signal.ipynb", schedule="close + 30min")
    folder = home / "pipelines"
    assert made.pipeline == "signal"
    assert made.written == (folder / "signal.ipynb", folder / "signal.toml", folder / "signal.lock")
    assert (folder / "signal.ipynb").read_bytes() == (home / "notebooks" / "07_signal.ipynb").read_bytes()
    pipeline = load_pipeline("signal", folder)
    assert (pipeline.description, pipeline.schedule) == ("Signal", "close + 30min")
    assert [(step.name, step.orders) for step in pipeline.steps] == [("signal", False)]
    assert require(pipeline, settings, allow_dirty=False)["promoted"] == made.digest
    lock = tomllib.loads((folder / "signal.lock").read_text())
    assert (lock["promoted"]["by"], lock["promoted"]["at"]) == ("ada", "2026-03-02T12:00:00+00:00")
    assert [(test["notebook"], test["cells"], test["compared"]) for test in lock["tests"]] == [("signal.ipynb", 5, 1)]
    assert str(home) not in (folder / "signal.lock").read_text()
    assert not (home / "data" / "lake").exists()

    before = state(home)
    for target in ("signal", "notebooks/07_signal.ipynb", "pipelines/signal.ipynb"):
        again = run(home, target)
        assert (again.unchanged, again.digest) == (True, made.digest)
    assert state(home) == before


@pytest.mark.usefixtures("peek")
def test_a_strategy_that_looks_ahead_is_refused(home: Path) -> None:
    scaffold.new_pipeline("look", load_settings(home, {}))
    file = home / "pipelines" / "look.toml"
    text = file.read_text().replace("[strategies.momentum]\nlookback = 126\ntop = 2\n", "[strategies.peek]\n")
    file.write_text(text.replace('strategy = "momentum"', 'strategy = "peek"'))
    line = refused(home, "look")
    assert "look is not promoted: strategy peek: it looks ahead: its weight of" in line
    assert "nothing was written" in line


def test_a_notebook_that_breaks_the_rules_is_refused(home: Path) -> None:
    scaffold.new_notebook("signal", load_settings(home, {}))

    def spoil(cells: list[dict[str, Any]]) -> None:
        cells[2]["source"] = "import duckdb"
        cells[6]["source"] = "import numpy as np\nnp.random.default_rng().normal()"
        cells[6]["metadata"] = {"tags": ["nbval-skip"]}

    edit(home / "notebooks" / "signal.ipynb", spoil)
    line = refused(home, "notebooks/signal.ipynb")
    for words in (
        "duckdb is imported",
        "give it a seed",
        "imports are in one cell",
        "a job has no cell tagged 'nbval-skip'",
    ):
        assert words in line


def test_a_notebook_whose_test_fails_is_refused_with_cell_and_reason(home: Path) -> None:
    scaffold.new_notebook("signal", load_settings(home, {}))
    edit(home / "notebooks" / "signal.ipynb", lambda cells: cells[4].update(execution_count=None, outputs=[]))
    assert "signal.ipynb, cell [3]: is compared, but has no stored output" in refused(home, "notebooks/signal.ipynb")


def test_title_and_pipeline_have_to_agree_on_orders(home: Path) -> None:
    scaffold.new_notebook("signal", load_settings(home, {}))
    line = refused(home, "notebooks/signal.ipynb", orders=True)
    assert "its title says 'places orders: no', but step signal has orders = true" in line


def test_a_notebook_that_was_promoted_before_replaces_its_copy_unless_that_was_worked_on(home: Path) -> None:
    settings = load_settings(home, {})
    scaffold.new_pipeline("weekly", settings)
    (home / "notebooks" / "weekly.ipynb").write_bytes((home / "pipelines" / "weekly.ipynb").read_bytes())
    assert "is not as it was promoted" in refused(home, "notebooks/weekly.ipynb", ConfigError)
    pin(home, "weekly")
    edit(home / "notebooks" / "weekly.ipynb", lambda cells: cells[2].update(source="import duckdb"))
    assert "duckdb is imported" in refused(home, "notebooks/weekly.ipynb")
    edit(home / "pipelines" / "weekly.ipynb", lambda cells: cells[2].update(source="work of a week"))
    assert "`workbench promote weekly`" in refused(home, "notebooks/weekly.ipynb", ConfigError)
    assert "daily exists already" in refused(home, "notebooks/weekly.ipynb", ConfigError, name="daily")


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("dialy", {}, "no pipeline 'dialy'"),
        ("notebooks/none.ipynb", {}, "no notebook notebooks/none.ipynb"),
        ("daily", {"schedule": "open"}, "daily is a pipeline already; change"),
        ("pipelines/rebalance.ipynb", {"orders": True}, "daily is a pipeline already"),
        ("notebooks/03_backtest.ipynb", {"name": "Back Test"}, "'Back Test' cannot be the name of a pipeline"),
        ("notebooks/03_backtest.ipynb", {"schedule": "at noon"}, "schedule"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_runs(
    home: Path, target: str, options: dict[str, Any], words: str
) -> None:
    assert words in refused(home, target, ConfigError, **options)


def test_a_parameter_that_no_notebook_knows_is_refused(home: Path) -> None:
    file = home / "pipelines" / "daily.toml"
    file.write_text(file.read_text().replace("[parameters]", "[parameters]\nlokback = 3"))
    assert "unknown 'lokback'" in refused(home, "daily", ConfigError)
