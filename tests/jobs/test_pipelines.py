"""A pipeline file is right, or one line says what is wrong, where, and what it should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.errors import ConfigError
from workbench.jobs.pipelines import Pipeline, load_pipeline, pipeline_names

GOOD = """description = "Rebalance after the close"
calendar = "XNYS"
schedule = "close+30min"

[parameters]
strategy = "momentum"
symbols = ["AAPL", "IBM"]

[strategies.momentum]
top = 2

[[steps]]
name = "update"
notebook = "update.ipynb"

[[steps]]
name = "rebalance"
notebook = "inner/rebalance.ipynb"
timeout_s = 300
orders = true
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Pipeline]:
    (tmp_path / "inner").mkdir()
    for name in ("update", "inner/rebalance"):
        (tmp_path / f"{name}.ipynb").write_text("{}")

    def write_and_load(text: str = GOOD, name: str = "daily") -> Pipeline:
        (tmp_path / "daily.toml").write_text(text, encoding="utf-8")
        return load_pipeline(name, tmp_path)

    return write_and_load


def test_a_good_file_is_read_in_full(load, tmp_path):
    pipeline = load()
    assert (pipeline.name, pipeline.calendar, pipeline.schedule) == ("daily", "XNYS", "close + 30min")
    assert pipeline.parameters == {"strategy": "momentum", "symbols": ["AAPL", "IBM"]}
    assert pipeline.strategies == {"momentum": {"top": 2}}
    first, second = pipeline.steps
    assert (first.timeout_s, first.orders) == (3600.0, False)
    assert (second.timeout_s, second.orders) == (300.0, True)
    assert pipeline.notebooks == (tmp_path / "update.ipynb", tmp_path / "inner" / "rebalance.ipynb")


@pytest.mark.parametrize("schedule", ["open", "close", "open - 10min", "close + 1h"])
def test_a_schedule_is_a_moment_of_the_session(load, schedule):
    assert load(GOOD.replace("close+30min", schedule)).schedule == schedule


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("timeout_s = 300", "timeout_s = 0", 19, "steps.2.timeout_s: input should be greater than 0 (got 0)"),
        ("timeout_s = 300", 'timeout_s = "300"', 19, "steps.2.timeout_s: input should be a valid number"),
        ("timeout_s = 300", "timeout = 300", 19, "unknown key 'steps.2.timeout', did you mean timeout_s?"),
        ("orders = true", 'orders = "yes"', 20, "steps.2.orders: input should be a valid boolean"),
        ("description = ", "descripton = ", 1, "unknown key 'descripton', did you mean description?"),
        ("close+30min", "close + 30", 3, "schedule: a schedule is open or close"),
        ("close+30min", "noon", 3, "schedule: a schedule is open or close"),
        ('"XNYS"', '"nyse!"', 2, "calendar: string should match pattern"),
        ('"update"', '"Up date"', 13, "steps.1.name: a name is up to 32 of a-z"),
        ('"update"', '"rebalance"', 17, "two steps are named 'rebalance'"),
        ('"update.ipynb"', '"updat.ipynb"', 14, "no file 'updat.ipynb'; did you mean update.ipynb?"),
        ('"update.ipynb"', '"../update.ipynb"', 14, "steps.1.notebook: a notebook is an .ipynb file inside"),
        ('"update.ipynb"', '"/etc/passwd"', 14, "steps.1.notebook: a notebook is an .ipynb file inside"),
        ('name = "update"\n', "", 12, "steps.1.name: missing"),
        ('strategy = "momentum"', '"a b" = 1', 5, "'a b' cannot be the name of a parameter"),
        ("description", 'name = "other"\ndescription', 1, "unknown key 'name'; the file's name is the name"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_key(load, tmp_path, old, new, line, words):
    with pytest.raises(ConfigError) as caught:
        load(GOOD.replace(old, new, 1))
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'daily.toml'}, line {line}: ")
    assert words in text
    assert "\n" not in text
    assert caught.value.exit_code == 64


def test_a_file_that_is_not_toml_says_where(load):
    with pytest.raises(ConfigError, match=r"daily\.toml: not valid TOML: .*line 2"):
        load('description = "x"\n= 3\n')


def test_a_pipeline_without_steps_is_refused(load):
    with pytest.raises(ConfigError, match="steps: missing"):
        load('description = "x"\n')


def test_an_unknown_pipeline_names_the_nearest(load, tmp_path):
    load()
    (tmp_path / "weekly.toml").write_text("")
    assert pipeline_names(tmp_path) == ["daily", "weekly"]
    with pytest.raises(ConfigError, match=r"no pipeline 'dialy' in .*; did you mean daily\?"):
        load(name="dialy")


@pytest.mark.parametrize("name", ["../daily", "/etc/daily", "inner/daily", "Daily", "", "daily.toml"])
def test_a_name_cannot_lead_out_of_the_folder(load, tmp_path, name):
    (tmp_path / "inner" / "daily.toml").write_text(GOOD)
    with pytest.raises(ConfigError, match="no pipeline"):
        load(name=name)
