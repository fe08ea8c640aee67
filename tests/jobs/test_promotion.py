"""What production may run: notebook, values and strategies as they were promoted, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from workbench import strategies
from workbench.errors import ConfigError
from workbench.jobs import promotion
from workbench.jobs.pipelines import Pipeline, Step, load_pipeline, pipeline_names
from workbench.jobs.promotion.tables import to_toml
from workbench.settings import Settings, load_settings

REPOSITORY = Path(__file__).parents[2]
NOTHING: Mapping[str, str] = {}
LIVE = "https://api.alpaca.markets"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The repository's pipelines, promoted as they stand."""
    shutil.copy(REPOSITORY / "workbench.toml", tmp_path)
    (tmp_path / "requirements.lock").write_text("numpy==2.4\n")
    shutil.copytree(REPOSITORY / "pipelines", tmp_path / "pipelines", ignore=shutil.ignore_patterns("*.lock"))
    pin(tmp_path)
    return tmp_path


def pin(home: Path) -> None:
    settings, pipeline = of(home)
    pinned = promotion.pins(pipeline, settings, promotion.strategies_of(pipeline))
    promotion.lock_file(pipeline).write_text(to_toml(promotion.lock_table(pipeline, pinned)))


def of(home: Path, env: Mapping[str, str] = NOTHING) -> tuple[Settings, Pipeline]:
    return load_settings(home, dict(env)), load_pipeline("daily", home / "pipelines")


def ask(home: Path, env: Mapping[str, str] = NOTHING, *, allow_dirty: bool = False) -> dict[str, Any]:
    settings, pipeline = of(home, env)
    return promotion.require(pipeline, settings, allow_dirty=allow_dirty)


def refusal(home: Path, env: Mapping[str, str] = NOTHING, *, allow_dirty: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        ask(home, env, allow_dirty=allow_dirty)
    assert caught.value.exit_code == 64
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content, indent=4))


def codes(content: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def live(**more: str) -> dict[str, str]:
    return {"WORKBENCH_ACCOUNT__BROKER": "alpaca", "WORKBENCH_ALPACA__BASE_URL": LIVE, **more}


# ---- what passes -----------------------------------------------------------------------------------


def test_a_promoted_pipeline_passes_and_the_answer_is_its_provenance(home: Path) -> None:
    answer = ask(home)
    assert answer["promoted"] == promotion.read_pins(home / "pipelines" / "daily.lock").digest
    assert (answer["dirty"], answer["drift"]) == ([], [])
    assert list(answer["code"]) == ["update_data", "rebalance", "report"]
    assert json.loads(json.dumps(answer)) == answer


def test_opening_running_and_saving_a_notebook_leaves_it_promoted(home: Path) -> None:
    def as_jupyterlab_saves_it(content: dict[str, Any]) -> None:
        content["metadata"] = {"kernelspec": {"name": "other"}, "widgets": {}}
        content["cells"][0]["source"] = ["# Another title\n", "\n", "Places orders: yes"]
        for number, cell in enumerate(codes(content), 1):
            cell["execution_count"] = number
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "1"}]
            cell["metadata"]["execution"] = {"shell.execute_reply": "2026-11-22T21:42:55Z"}
            cell["id"] = f"new-{number}"
            if isinstance(cell["source"], str):
                cell["source"] = cell["source"].splitlines(keepends=True)
        empty: dict[str, Any] = {
            "cell_type": "code",
            "id": "x",
            "metadata": {},
            "source": [],
            "execution_count": None,
            "outputs": [],
        }
        content["cells"].append(empty)

    edit(home / "pipelines" / "rebalance.ipynb", as_jupyterlab_saves_it)
    assert ask(home)["promoted"]


def test_comments_and_the_description_of_a_pipeline_are_not_its_meaning(home: Path) -> None:
    file = home / "pipelines" / "daily.toml"
    text = file.read_text().replace("Update and check data", "Something else")
    file.write_text(f"# a comment\n{text}")
    assert ask(home)["promoted"]


# ---- what does not ---------------------------------------------------------------------------------


def test_a_pipeline_without_a_lock_is_refused_with_both_ways_out(home: Path) -> None:
    (home / "pipelines" / "daily.lock").unlink()
    line = refusal(home)
    for words in (
        "pipeline daily is not promoted",
        "no daily.lock",
        "workbench promote daily",
        "--allow-dirty",
        "paper",
    ):
        assert words in line
    answer = ask(home, allow_dirty=True)
    assert answer["promoted"] is None
    assert answer["dirty"] == ["there is no daily.lock"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: codes(c)[3].update(source="weights = {}"), "rebalance.ipynb has another cell [4]"),
        (lambda c: codes(c)[4]["metadata"].update(tags=["timeout=5"]), "rebalance.ipynb has another cell [5]"),
        (lambda c: codes(c)[0].update(source='session: "date" = "2013-02-01"'), "another cell [1]"),
        (lambda c: c["cells"].remove(codes(c)[2]), "rebalance.ipynb has 7 code cells instead of 8"),
    ],
)
def test_a_notebook_with_other_code_is_refused_and_the_cell_is_named(
    home: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    edit(home / "pipelines" / "rebalance.ipynb", change)
    assert words in refusal(home)
    assert words in ask(home, allow_dirty=True)["dirty"][0]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"close + 30min"', '"close + 1h"', "schedule in the pipeline's file differs"),
        ('"IBM", ', "", "parameters in the pipeline's file differs"),
        ("top = 2", "top = 3", "strategies in the pipeline's file differs"),
        ("timeout_s = 600", "timeout_s = 601", "steps in the pipeline's file differs"),
        ('notebook = "report.ipynb"', 'notebook = "update_data.ipynb"', "steps in the pipeline's file differs"),
    ],
)
def test_another_value_in_the_pipelines_file_is_refused_and_named(home: Path, old: str, new: str, words: str) -> None:
    file = home / "pipelines" / "daily.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    assert words in refusal(home)


def test_a_strategy_with_other_source_is_refused_even_if_only_its_helper_changed(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "package"
    shutil.copytree(strategies.__path__[0], package)
    monkeypatch.setattr(strategies, "__path__", [str(package)])
    momentum = package / "momentum.py"
    momentum.write_text(f"from workbench.strategies._shared import X\nfrom . import _more\n{momentum.read_text()}")
    for helper in ("_shared.py", "_more.py"):
        (package / helper).write_text("X = 1\n")
    pin(home)
    assert ask(home)["promoted"]
    for helper in ("_shared.py", "_more.py"):
        (package / helper).write_text("X = 2\n")
        assert "strategy momentum has other source" in refusal(home)
        (package / helper).write_text("X = 1\n")
    (package / "moving_average.py").unlink()
    assert "strategy moving_average is gone" in refusal(home)


def test_a_strategy_that_the_promotion_never_saw_is_refused(home: Path) -> None:
    file = home / "pipelines" / "daily.toml"
    file.write_text(file.read_text().replace("[strategies.moving_average]\nfast = 50\nslow = 200\n", ""))
    pin(home)
    settings, pipeline = of(home)
    assert promotion.require(pipeline, settings, allow_dirty=False, strategies=["momentum"])["promoted"]
    with pytest.raises(ConfigError, match="strategy moving_average is not part of the promotion"):
        promotion.require(pipeline, settings, allow_dirty=False, strategies=["moving_average"])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('digest = "', 'digest = "0', "not as `workbench promote` wrote it"),
        ('workbench = "', 'workbench = "9', "not as `workbench promote` wrote it"),
        ("format = 1", "format = 2", "not as `workbench promote` wrote it"),
        ("format = 1", "<<<<<<< HEAD\nformat = 1", "cannot be read"),
        ("[values]", "[value]", "not complete"),
    ],
)
def test_a_lock_that_was_edited_or_badly_merged_promotes_nothing(home: Path, old: str, new: str, words: str) -> None:
    file = home / "pipelines" / "daily.lock"
    file.write_text(file.read_text().replace(old, new, 1))
    assert words in refusal(home)
    assert ask(home, allow_dirty=True)["promoted"] is None


def test_a_step_whose_notebook_changes_during_the_run_is_refused(home: Path) -> None:
    code = ask(home)["code"]
    _, pipeline = of(home)
    for step in pipeline.steps:
        promotion.require_same(pipeline, step, code)
    edit(home / "pipelines" / "report.ipynb", lambda content: codes(content)[1].update(source="2"))
    with pytest.raises(ConfigError, match=r"report\.ipynb was changed while the run was under way"):
        promotion.require_same(pipeline, pipeline.steps[2], code)


# ---- paper and live --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broker", "address", "is_live"),
    [
        ("paper", LIVE, False),
        ("alpaca", "https://paper-api.alpaca.markets", False),
        ("alpaca", "http://127.0.0.1:8321", False),
        ("alpaca", "http://localhost:8321", False),
        ("alpaca", LIVE, True),
        ("alpaca", "https://paper-api.alpaca.markets.evil.example", True),
        ("alpaca", "http://10.0.0.7:80", True),
    ],
)
def test_only_the_paper_address_and_this_machine_are_not_live(
    home: Path, broker: str, address: str, is_live: bool
) -> None:
    env = {"WORKBENCH_ACCOUNT__BROKER": broker, "WORKBENCH_ALPACA__BASE_URL": address}
    settings = load_settings(home, {**env, "WORKBENCH_ALPACA__ARMED_ACCOUNT": "paper"})
    assert promotion.is_live(settings) is is_live


def test_allow_dirty_is_refused_on_a_live_address_even_if_nothing_is_dirty(home: Path) -> None:
    armed = live(WORKBENCH_ALPACA__ARMED_ACCOUNT="paper")
    line = refusal(home, armed, allow_dirty=True)
    assert "--allow-dirty is for paper" in line
    assert ask(home, armed)["promoted"]


def test_another_installation_is_noted_on_paper_and_refused_on_a_live_address(home: Path) -> None:
    (home / "requirements.lock").write_text("numpy==2.5\n")
    answer = ask(home)
    assert (answer["promoted"] is not None, answer["drift"]) == (True, ["another requirements.lock"])
    line = refusal(home, live())
    assert "another requirements.lock" in line
    assert "allow-dirty" not in line


def test_another_version_of_the_package_is_drift_not_dirt(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.__version__", "9.9.9")
    answer = ask(home)
    assert (answer["dirty"], answer["drift"]) == ([], ["workbench 9.9.9 instead of 0.1.0"])


# ---- a notebook alone ------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [False, True])
def test_a_notebook_alone_may_run_on_paper_unless_it_orders(home: Path, there: bool) -> None:
    if there:  # a pipeline's file of the same stem is not that notebook's
        shutil.copy(home / "pipelines" / "daily.toml", home / "pipelines" / "report.toml")
    settings = load_settings(home, {})

    def alone(orders: bool) -> Pipeline:
        step = Step(name="report", notebook="report.ipynb", orders=orders)
        file = home / "pipelines" / "report.toml"
        return Pipeline(name="nb-report", file=file, description="a notebook", steps=(step,))

    answer = promotion.require(alone(False), settings, allow_dirty=False)
    assert (answer["promoted"], answer["dirty"]) == (None, ["report.ipynb is no pipeline"])
    with pytest.raises(ConfigError, match=r"`workbench promote .*report\.ipynb`"):
        promotion.require(alone(True), settings, allow_dirty=False)
    assert promotion.require(alone(True), settings, allow_dirty=True)["promoted"] is None
    with pytest.raises(ConfigError, match="not promoted"):
        promotion.require(alone(False), load_settings(home, live()), allow_dirty=False)


def test_asking_imports_nothing_heavy(home: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from workbench.settings import load_settings;"
        "from workbench.jobs.pipelines import load_pipeline; from workbench.jobs.promotion import require;"
        "h = Path(sys.argv[1]); before = set(sys.modules);"
        "require(load_pipeline('daily', h / 'pipelines'), load_settings(h, {}), allow_dirty=False);"
        "print([m for m in ('pandas', 'numpy', 'nbformat', 'papermill') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("name", pipeline_names(REPOSITORY / "pipelines"))
def test_the_pipelines_that_ship_are_promoted_as_they_stand(name: str) -> None:
    # After a change of one of them: `workbench promote NAME`, and commit its lock.
    pipeline = load_pipeline(name, REPOSITORY / "pipelines")
    assert promotion.require(pipeline, load_settings(REPOSITORY, {}), allow_dirty=False)["dirty"] == []
