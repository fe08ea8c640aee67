"""A pipeline file is right, or one line says what is wrong, where, and what it should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.calendars import calendar
from workbench.errors import ConfigError
from workbench.jobs.pipelines import Pipeline, load_pipeline, load_pipelines, pipeline_names

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


TIMED = """description = "Report"
schedule = "close + 30min"
missed = "run_until 2h"
after = "other"
jitter_s = 20

[[steps]]
name = "report"
notebook = "update.ipynb"
"""


def test_a_good_file_is_read_in_full(load, tmp_path):
    pipeline = load()
    assert (pipeline.name, pipeline.calendar, pipeline.schedule) == ("daily", "XNYS", "close + 30min")
    assert pipeline.parameters == {"strategy": "momentum", "symbols": ["AAPL", "IBM"]}
    assert pipeline.strategies == {"momentum": {"top": 2}}
    first, second = pipeline.steps
    assert (first.timeout_s, first.orders) == (3600.0, False)
    assert (second.timeout_s, second.orders) == (300.0, True)
    assert pipeline.notebooks == (tmp_path / "update.ipynb", tmp_path / "inner" / "rebalance.ipynb")


def test_what_the_file_does_not_say_of_steps_and_schedule_has_its_default(load):
    pipeline = load()
    assert (pipeline.after, pipeline.jitter_s, pipeline.timeout_s, pipeline.enabled) == ((), 0.0, None, True)
    step = pipeline.steps[0]
    assert (step.retries, step.retry_delay_s, step.stall_s) == (0, 10.0, None)


def test_every_key_of_schedule_and_steps_is_read(load, tmp_path):
    (tmp_path / "other.toml").write_text(GOOD)
    keys = "timeout_s = 900\nenabled = false\n\n[[steps]]\nretries = 2\nretry_delay_s = 0\nstall_s = 60"
    pipeline = load(TIMED.replace("\n[[steps]]", keys, 1))
    assert (pipeline.missed, pipeline.after, pipeline.jitter_s) == ("run_until 2h", ("other",), 20.0)
    assert (pipeline.timeout_s, pipeline.enabled, pipeline.places_orders) == (900.0, False, False)
    step = pipeline.steps[0]
    assert (step.retries, step.retry_delay_s, step.stall_s) == (2, 0.0, 60.0)


def test_after_can_name_several_pipelines(load, tmp_path):
    for name in ("other", "third"):
        (tmp_path / f"{name}.toml").write_text(GOOD)
    assert load(TIMED.replace('"other"', '["third", "other"]')).after == ("third", "other")


def test_a_trading_pipeline_skips_what_it_missed_and_another_one_runs_once(load):
    assert load().policy.text == "skip"
    assert load(GOOD.replace("orders = true", "orders = false")).policy.text == "run_once"
    assert load(GOOD.replace("[param", 'missed = "run_until  close-5min"\n[param', 1)).policy.text == (
        "run_until close - 5min"
    )


@pytest.mark.parametrize(
    "schedule",
    [
        "open", "close", "open - 10min", "close + 1h", "every 15min", "every 1h from open + 30min to close - 5min",
        "cron 30 16 * * mon-fri America/New_York",
    ],
)  # fmt: skip
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
        ("close+30min", "every 15", 3, "schedule: 'every 15' is not every 15min"),
        ("close+30min", "cron 30 16 * * mon-fri", 3, "(5 of 6 are there)"),
        ("close+30min", "cron 30 16 * * mon-fri America/New_Yrok", 3, "did you mean America/New_York"),
        ("[parameters]", 'missed = "run_once"\n[parameters]', 5, "missed: run_once would trade late"),
        ("[parameters]", 'missed = "later"\n[parameters]', 5, "missed: missed is skip, run_once, run_until 2h or"),
        ("[parameters]", 'mised = "skip"\n[parameters]', 5, "unknown key 'mised', did you mean missed?"),
        ("[parameters]", 'after = "other"\n[parameters]', 5, "after: a pipeline that waits for others needs a"),
        ("[parameters]", "jitter_s = -1\n[parameters]", 5, "jitter_s: input should be greater than or equal to 0"),
        ("[parameters]", "overlap = true\n[parameters]", 5, "overlap: needs a first and a last step, and neither may"),
        ("[parameters]", 'enabled = "no"\n[parameters]', 5, "enabled: input should be a valid boolean"),
        ("[parameters]", "timeout_s = 0\n[parameters]", 5, "timeout_s: input should be greater than 0"),
        ("timeout_s = 300", "retries = 1.5", 19, "steps.2.retries: input should be a valid integer"),
        ("timeout_s = 300", "stall_s = 0", 19, "steps.2.stall_s: input should be greater than 0"),
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


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('"other"', '"othre"', 4, "after: no pipeline 'othre'; did you mean other?"),
        ('"other"', '"daily"', 4, "after: a pipeline cannot come after itself"),
        ('"other"', '["other", "other"]', 4, "after: a pipeline is named twice"),
        ('"other"', "3", 4, "after: input should be a valid tuple"),
        ('"run_until 2h"', '"skip"', 4, "after: a pipeline that waits for others needs a deadline"),
        ('"close + 30min"', '"every 1min"\njitter_s = 60\n', 3, "jitter_s: must be less than the 60 s between"),
        ('"run_until 2h"', '"run_until 0min"', 3, "missed: run_until 0min is not between a minute and a week"),
        ('"run_until 2h"', '"run_until close + 10min"', 3, "missed: close + 10min has passed when close + 30min comes"),
        ('"close + 30min"', '"close - 4min"', 3, "missed: close - 5min has passed when close - 4min comes"),
    ],
)
def test_a_mistake_in_the_schedule_is_named_the_same_way(load, tmp_path, old, new, line, words):
    (tmp_path / "other.toml").write_text(GOOD)
    text = TIMED.replace("jitter_s = 20\n", "") if "jitter_s" in new else TIMED
    text = text.replace("2h", "close - 5min") if "4min" in new else text
    with pytest.raises(ConfigError) as caught:
        load(text.replace(old, new, 1))
    assert str(caught.value).startswith(f"{tmp_path / 'daily.toml'}, line {line}: ")
    assert words in str(caught.value)


def write(folder: Path, name: str, *lines: str) -> None:
    step = '[[steps]]\nname = "only"\nnotebook = "update.ipynb"\n'
    (folder / f"{name}.toml").write_text("\n".join(['description = "x"', *lines, step]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "update.ipynb").write_text("{}")
    return tmp_path


def test_a_folder_is_read_with_every_broken_file_on_its_own(folder):
    write(folder, "good", 'schedule = "close"')
    write(folder, "bad", 'schedule = "noon"')
    (folder / "ugly.toml").write_text("= 3")
    loaded = load_pipelines(folder)
    assert list(loaded.good) == ["good"]
    assert list(loaded.broken) == ["bad", "ugly"]
    assert str(loaded.broken["bad"]).startswith(f"{folder / 'bad.toml'}, line 2: schedule: ")


def test_a_circle_is_refused_in_every_file_that_is_part_of_it(folder):
    write(folder, "a", 'after = "c"')
    write(folder, "b", 'after = "a"')
    write(folder, "c", 'after = ["b", "free"]')
    write(folder, "d", 'after = "a"')
    write(folder, "free")
    loaded = load_pipelines(folder)
    assert list(loaded.good) == ["d", "free"]
    assert {name: str(error) for name, error in loaded.broken.items()} == {
        "a": f"{folder / 'a.toml'}, line 2: after: a circle: a after c after b after a",
        "b": f"{folder / 'b.toml'}, line 2: after: a circle: b after a after c after b",
        "c": f"{folder / 'c.toml'}, line 2: after: a circle: c after b after a after c",
    }


def test_pipelines_of_different_exchanges_cannot_wait_for_each_other(folder):
    write(folder, "london", 'calendar = "XLON"')
    write(folder, "tokyo", 'calendar = "XTKS"', 'after = "london"')
    loaded = load_pipelines(folder)
    assert list(loaded.good) == ["london"]
    assert str(loaded.broken["tokyo"]).endswith("line 3: after: london is for XLON, this one for XTKS")


def test_an_unknown_calendar_is_a_broken_file(folder):
    write(folder, "here", 'calendar = "XNYS"')
    write(folder, "nowhere", 'schedule = "open"', 'calendar = "XNYZ"')
    loaded = load_pipelines(folder, calendars=calendar)
    assert list(loaded.good) == ["here"]
    where = f"{folder / 'nowhere.toml'}, line 3: calendar: no exchange calendar 'XNYZ'"
    assert str(loaded.broken["nowhere"]).startswith(where)


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


def test_a_pipeline_says_what_it_can_live_with_in_its_data(load: Callable[..., Pipeline]) -> None:
    assert load().quality.is_default
    tolerant = load(GOOD + '\n[quality]\ntolerate = ["zero_volume", "known_fault"]\nmax_severity = "pass"\n').quality
    assert (tolerant.tolerate, tolerant.max_severity) == (("zero_volume", "known_fault"), "pass")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('tolerate = ["zero_volumes"]', "no rule 'zero_volumes'; did you mean zero_volume?"),
        ('max_severity = "block"', "quality.max_severity"),
        ('tolerates = ["stale"]', "unknown key 'quality.tolerates', did you mean tolerate?"),
    ],
)
def test_what_it_says_of_its_data_wrongly_is_refused(load: Callable[..., Pipeline], table: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(GOOD + f"\n[quality]\n{table}\n")
    assert said in str(caught.value)
    assert "line 23" in str(caught.value)
