"""What is handed to other schedulers can be read by them, and comes at every moment."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import exchange_calendars
import pytest
import yaml

from workbench.calendars import Calendar
from workbench.errors import ConfigError
from workbench.jobs.pipelines import Pipeline
from workbench.jobs.schedule.agenda import Agenda
from workbench.jobs.schedule.cron import Cron
from workbench.jobs.schedule.export import CronLine, airflow_dag, cron_jobs, cron_lines
from workbench.jobs.schedule.units import crontab, systemd_unit
from workbench.jobs.schedule.when import Due

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
COMMAND = ["/opt/work bench/bin/python", "-m", "workbench.cli.main"]
HOME, CONFIG = Path('/srv/it\'s 100% "mine" $x'), Path('/srv/it\'s 100% "mine" $x/workbench.toml')


@pytest.fixture(scope="module")
def calendars() -> dict[str, Calendar]:
    return {
        name: Calendar(name, exchange_calendars.get_calendar(name, start="2023-01-01", end="2025-06-01"))
        for name in ("XNYS", "XTKS", "24/7")
    }


def pipeline(schedule: str, **keys: Any) -> Pipeline:
    step = {"name": "only", "notebook": "only.ipynb", "timeout_s": 600.0}
    values = {"name": "daily_job", "file": Path("daily_job.toml"), "description": 'It\'s a "test"\n', "steps": [step]}
    return Pipeline.model_validate({**values, "schedule": schedule, **keys})


def moments(calendars: dict[str, Calendar], job: Pipeline) -> list[Due]:
    return Agenda([job], calendars.__getitem__).upcoming(START, END)


# ---- Kubernetes ----------------------------------------------------------------------------------


def cron_jobs_of(calendars: dict[str, Calendar], job: Pipeline, zone: str) -> list[dict[str, Any]]:
    text = cron_jobs(job, moments(calendars, job), ZoneInfo(zone), image="registry/workbench:1")
    return [document for document in yaml.safe_load_all(text) if document]


def test_a_cron_job_comes_at_both_closing_times_and_asks_what_is_due(calendars: dict[str, Calendar]) -> None:
    (job,) = cron_jobs_of(calendars, pipeline("close - 15min", missed="run_until close - 5min"), "America/New_York")
    assert (job["apiVersion"], job["kind"], job["metadata"]["name"]) == ("batch/v1", "CronJob", "workbench-daily-job")
    spec = job["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("45 12,15 * * 1-5", "America/New_York")
    assert (spec["concurrencyPolicy"], spec["startingDeadlineSeconds"]) == ("Forbid", 600)
    run = spec["jobTemplate"]["spec"]
    assert run["backoffLimit"] == 0
    assert run["activeDeadlineSeconds"] == 600 + 10 + 300
    pod = run["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    assert container["command"] == ["workbench", "schedule", "due", "daily_job"]
    assert container["image"] == "registry/workbench:1"


@pytest.mark.parametrize(
    ("calendar", "schedule", "zone"),
    [
        ("XNYS", "open - 10min", "America/New_York"),
        ("XNYS", "close - 15min", "America/New_York"),
        ("XNYS", "every 15min", "America/New_York"),
        ("XNYS", "close + 9h", "America/New_York"),
        ("XTKS", "every 30min from open + 10min to close", "Asia/Tokyo"),
        ("24/7", "every 8h", "UTC"),
        ("XNYS", "cron 30 16 * * mon-fri America/Chicago", "America/New_York"),
    ],
)
def test_every_moment_of_a_year_has_its_cron_job(
    calendars: dict[str, Calendar], calendar: str, schedule: str, zone: str
) -> None:
    job = pipeline(schedule, calendar=calendar)
    comes: set[datetime] = set()
    documents = cron_jobs_of(calendars, job, zone)
    for document in documents:
        spec = document["spec"]
        comes |= set(Cron.parse(f"{spec['schedule']} {spec['timeZone']}").between(START, END))
    dues = moments(calendars, job)
    assert {due.at for due in dues} <= comes
    assert len(comes) < 2.3 * len(dues)  # and hardly at other times
    names = [document["metadata"]["name"] for document in documents]
    assert len(names) == len(set(names))
    assert all(len(name) <= 52 for name in names)


def test_a_frequent_job_may_not_be_late_for_a_hundred_times_or_kubernetes_gives_up(
    calendars: dict[str, Calendar],
) -> None:
    (job,) = cron_jobs_of(calendars, pipeline("cron */5 * * * * UTC"), "UTC")
    assert job["spec"]["startingDeadlineSeconds"] == 90 * 5 * 60


def test_times_of_day_are_grouped_into_few_lines() -> None:
    day = datetime(2024, 3, 4, tzinfo=UTC)
    half_hours = [day + timedelta(minutes=30 * number) for number in range(19, 32)]  # 9:30 to 15:30, a Monday
    assert cron_lines(half_hours, ZoneInfo("UTC")) == [
        CronLine((30,), (9,), (1,)),
        CronLine((0, 30), (10, 11, 12, 13, 14, 15), (1,)),
    ]
    assert CronLine((0, 30), (10, 11, 12), ()).text == "0,30 10-12 * * *"


# ---- Airflow -------------------------------------------------------------------------------------


class Recorder:
    """An Airflow class that keeps what it is given."""

    made: list[Recorder]

    def __init__(self, **keys: Any) -> None:
        self.keys = keys
        type(self).made.append(self)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture(params=[2, 3])
def airflow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, type[Recorder]]:
    """The few names that a DAG file uses, where Airflow 2 and 3 document them; Airflow itself cannot be installed."""
    classes = {name: type(name, (Recorder,), {"made": []}) for name in ("DAG", "BashOperator", "EventsTimetable")}
    places = {"airflow.timetables.events": "EventsTimetable"}
    if request.param == 3:
        places |= {"airflow.sdk": "DAG", "airflow.providers.standard.operators.bash": "BashOperator"}
    else:
        places |= {"airflow": "DAG", "airflow.operators.bash": "BashOperator"}
    for place, name in places.items():
        parts = place.split(".")
        for number in range(1, len(parts) + 1):
            whole = ".".join(parts[:number])
            if whole not in sys.modules:
                module = ModuleType(whole)
                module.__path__ = []
                monkeypatch.setitem(sys.modules, whole, module)
        setattr(sys.modules[place], name, classes[name])
    pendulum = ModuleType("pendulum")
    pendulum.parse = datetime.fromisoformat  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pendulum", pendulum)
    return classes


def test_a_dag_lists_the_exact_moments_and_asks_what_is_due(
    calendars: dict[str, Calendar], airflow: dict[str, type[Recorder]]
) -> None:
    job = pipeline("close - 15min", timeout_s=300.0)
    dues = moments(calendars, job)
    text = airflow_dag(job, dues, COMMAND, HOME, CONFIG)
    exec(compile(text, "workbench_daily_job.py", "exec"), {"__name__": "dag"})
    (dag,), (task,), (timetable,) = (airflow[name].made for name in ("DAG", "BashOperator", "EventsTimetable"))
    assert timetable.keys["event_dates"] == [due.at for due in dues]
    assert len(dues) == 252
    assert dag.keys["schedule"] is timetable
    assert (dag.keys["dag_id"], dag.keys["max_active_runs"], dag.keys["default_args"]) == (
        "workbench_daily_job", 1, {"retries": 0},
    )  # fmt: skip
    assert dag.keys["start_date"] == dues[0].at
    assert task.keys["bash_command"] == "exec '/opt/work bench/bin/python' -m workbench.cli.main schedule due daily_job"
    assert task.keys["env"] == {"WORKBENCH_CONFIG": str(CONFIG)}
    assert task.keys["cwd"] == str(HOME)
    assert task.keys["execution_timeout"] == timedelta(seconds=300 + 300)


def test_too_many_moments_for_a_dag_are_refused(calendars: dict[str, Calendar]) -> None:
    job = pipeline("cron */10 * * * * UTC")
    with pytest.raises(
        ConfigError, match=r"52704 moments are too many for an Airflow DAG; use `workbench schedule run`"
    ):
        airflow_dag(job, moments(calendars, job), COMMAND, HOME, CONFIG)


# ---- one machine ---------------------------------------------------------------------------------


def test_a_unit_has_absolute_paths_whatever_is_in_them() -> None:
    lines = systemd_unit([*COMMAND, "schedule", "run"], HOME, CONFIG).splitlines()
    assert r'ExecStart="/opt/work bench/bin/python" "-m" "workbench.cli.main" "schedule" "run"' in lines
    assert 'WorkingDirectory=/srv/it\'s 100%% "mine" $x' in lines
    assert r'''Environment="WORKBENCH_CONFIG=/srv/it's 100%% \"mine\" $x/workbench.toml"''' in lines
    assert {"Restart=always", "StartLimitIntervalSec=0", "KillMode=mixed", "WantedBy=default.target"} <= set(lines)
    assert not any(line.startswith("User=") for line in lines)
    lines = systemd_unit(COMMAND, HOME, CONFIG, user="trader").splitlines()
    assert {"User=trader", "WantedBy=multi-user.target"} <= set(lines)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
@pytest.mark.parametrize("user", [None, "root"])
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path, user: str | None) -> None:
    home = tmp_path / 'it\'s 100% "mine" $x'
    home.mkdir()
    unit = tmp_path / "workbench-scheduler.service"

    def verify(text: str) -> tuple[int, str]:
        unit.write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout + done.stderr

    good = systemd_unit([sys.executable, "-m", "workbench.cli.main"], home, home / "workbench.toml", user=user)
    assert verify(good) == (0, "")
    assert verify(good.replace("Type=exec", "Type=exce")) != (0, "")  # it does look


def test_a_crontab_starts_it_with_the_machine_and_looks_after_it(tmp_path: Path) -> None:
    home = tmp_path / 'it\'s 100% "mine" $x'
    home.mkdir()
    say = [sys.executable, "-c", "import os; open('said', 'w').write(os.environ['WORKBENCH_CONFIG'])"]
    text = crontab(say, home, home / "workbench.toml", home / "data" / "scheduler.err")
    comment, *lines = text.splitlines()
    assert comment.startswith("#")
    assert [line.split(" cd ")[0] for line in lines] == ["@reboot", "*/5 * * * *"]
    # cron turns \% into %, and gives the rest to the shell
    command = lines[0].removeprefix("@reboot ").replace(r"\%", "%")
    subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, timeout=60, check=True)
    assert (home / "said").read_text() == str(home / "workbench.toml")
    assert (home / "data" / "scheduler.err").read_text() == ""


def test_a_path_that_would_break_a_line_is_refused() -> None:
    bad = Path("/srv/x\nExecStart=/bin/evil")
    with pytest.raises(ConfigError, match="cannot be named in a unit or a crontab"):
        systemd_unit(COMMAND, bad, CONFIG)
    with pytest.raises(ConfigError, match="cannot be named in a unit or a crontab"):
        crontab(COMMAND, HOME, CONFIG, bad)
