"""``workbench schedule next | due | install | export`` as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml
from support.homes import make_home, workbench, write_pipeline

from workbench.calendars import calendar


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The daily pipeline at the open, a report after it, one without a schedule, one switched off, one broken."""
    folder = make_home(tmp_path_factory.mktemp("schedule"))
    for file in (folder / "pipelines").glob("*.toml"):
        file.unlink()
    write_pipeline(folder, "prepare", {"only": ["1"]}, more='schedule = "open - 10min"')
    write_pipeline(
        folder, "sum", {"only": ["1"]}, more='schedule = "open - 10min"\nafter = "prepare"\nmissed = "run_until open"'
    )
    write_pipeline(folder, "by_hand", {"only": ["1"]})
    write_pipeline(folder, "off", {"only": ["1"]}, more='schedule = "open"\nenabled = false')
    return folder


@pytest.fixture
def broken(home: Path) -> object:
    file = write_pipeline(home, "broken", {"only": ["1"]}, more='schedule = "noon"')
    yield file
    file.unlink()


def upcoming_sessions(now: datetime, days: int) -> list[tuple[str, str]]:
    """The sessions whose pre-open moment lies ahead, with the session decided on, from the exchange's calendar."""
    xnys = calendar("XNYS")
    found = []
    for session in xnys.sessions(now.date(), now.date() + timedelta(days=days + 1)):
        moment = xnys.open(session) - timedelta(minutes=10)
        if now <= moment < now + timedelta(days=days):
            found.append((moment.isoformat(), xnys.previous(session).isoformat()))
    return found


def test_next_lists_what_will_run_in_order_there_and_here(home: Path) -> None:
    before = upcoming_sessions(datetime.now(UTC), 10)
    done = workbench(home, "schedule", "next", "10d", "--json", TZ="Asia/Tokyo")
    after = upcoming_sessions(datetime.now(UTC), 10)
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    found = [(row["at"], row["session"]) for row in rows if row["pipeline"] == "prepare"]
    assert found in (before, after)
    assert [row["pipeline"] for row in rows] == ["prepare", "sum"] * len(found)  # the one that others wait for first
    row = rows[1]
    moment = datetime.fromisoformat(row["at"])
    assert row["exchange_time"] == f"{moment.astimezone(ZoneInfo('America/New_York')):%a %Y-%m-%d 09:20 %Z}"
    assert row["local_time"] == f"{moment.astimezone(ZoneInfo('Asia/Tokyo')):%a %Y-%m-%d %H:%M JST}"
    assert (row["after"], row["slot"], row["note"]) == ("prepare", 0, "")
    assert row["deadline"].endswith(("09:30 EST", "09:30 EDT"))


def test_next_shows_a_table_and_names_a_broken_file_after_the_others(home: Path, broken: Path) -> None:
    done = workbench(home, "schedule", "next", "7d")
    assert done.returncode == 64
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"workbench: {broken}, line 2: schedule: a schedule is open or close")
    header, _, *rows = done.stdout.splitlines()
    assert header.split() == ["exchange", "time", "local", "time", "pipeline", "session", "slot", "after", "deadline"]
    assert len(rows) >= 6


def test_next_says_that_nothing_is_scheduled(home: Path) -> None:
    done = workbench(home, "schedule", "next", "1min")
    assert done.returncode == 0
    assert "nothing is scheduled for the next 1min" in done.stdout or "09:20" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["next", "soon"], "'soon' is not a span of time; write it as 12h, 10d or 4w"),
        (["next", "0d"], "0d is not between a minute and a year"),
        (["next", "400d"], "400d is not between a minute and a year"),
        (["due", "prepair"], "no pipeline 'prepair'"),
        (["due", "by_hand"], "by_hand has no schedule; `workbench run by_hand` runs it"),
        (["due", "off"], "off is switched off"),
        (["install", "--systemd", "--crontab"], "--systemd and --crontab are one or the other"),
        (["install", "--print", "--out", "x"], "--print and --out are one or the other"),
        (["export"], "export needs --airflow or --kubernetes"),
        (["export", "--airflow", "--kubernetes"], "export needs --airflow or --kubernetes"),
    ],
)
def test_whatever_is_asked_wrongly_gets_one_line(home: Path, arguments: list[str], words: str) -> None:
    done = workbench(home, "schedule", *arguments)
    assert (done.returncode, done.stdout) == (64, "")
    (line,) = done.stderr.splitlines()
    assert words in line


def test_due_becomes_the_run_of_the_moment_or_says_that_nothing_is_due(home: Path) -> None:
    file = write_pipeline(home, "always", {"only": ["1"]}, more='schedule = "cron * * * * * UTC"')
    done = workbench(home, "schedule", "due", "always")
    file.unlink()
    # `workbench run` was started: it refuses what nobody has promoted, and says so in the ledger
    assert (done.returncode, "promote" in done.stderr) == (64, True)
    (run,) = json.loads(workbench(home, "runs", "--json").stdout)
    moment = datetime.fromisoformat(run["scheduled_at"])
    assert timedelta(0) <= datetime.now(UTC) - moment < timedelta(minutes=5)
    closed = calendar("XNYS").last_closed(moment)
    assert (run["pipeline"], run["trigger"], run["session"]) == ("always", "schedule", closed.isoformat())
    assert run["amendment"] == 1000 * ((moment - calendar("XNYS").close(closed)) // timedelta(minutes=1))
    past = datetime.now(UTC) - timedelta(hours=2)
    line = f"{past.minute} {past.hour} * * * UTC"
    file = write_pipeline(home, "earlier", {"only": ["1"]}, more=f'schedule = "cron {line}"\nmissed = "skip"')
    done = workbench(home, "schedule", "due", "earlier")
    file.unlink()
    assert done.returncode == 0
    assert done.stdout.startswith("earlier: nothing is due: missed its deadline, ")


def test_install_prints_a_unit_or_writes_it_and_enables_nothing(home: Path, tmp_path: Path) -> None:
    printed = workbench(home, "schedule", "install", HOME=str(tmp_path))
    assert printed.returncode == 0
    assert f'ExecStart="{sys.executable}" "-m" "workbench.cli.main" "schedule" "run" "--standby"' in printed.stdout
    assert f"WorkingDirectory={home}" in printed.stdout
    out = tmp_path / "a folder"
    done = workbench(home, "schedule", "install", "--system", "--out", str(out), HOME=str(tmp_path))
    assert done.returncode == 0
    unit = out / "workbench-scheduler.service"
    assert "\nUser=" in unit.read_text()
    assert done.stdout.splitlines()[0] == f"wrote {unit}"
    assert f"cp '{unit}' /etc/systemd/system/" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["a folder"]
    done = workbench(home, "schedule", "install", "--crontab", "--print")
    assert done.stdout.count(f"{sys.executable} -m workbench.cli.main schedule run >/dev/null") == 2


def test_export_writes_a_file_for_every_scheduled_pipeline(home: Path, tmp_path: Path, broken: Path) -> None:
    for kind, names in (
        ("--kubernetes", ["workbench-prepare.yaml", "workbench-sum.yaml"]),
        ("--airflow", ["workbench_prepare.py", "workbench_sum.py"]),
    ):
        out = tmp_path / kind
        done = workbench(home, "schedule", "export", kind, "--out", str(out))
        assert done.returncode == 64  # one file is broken; the others are written
        assert str(broken) in done.stderr
        assert sorted(path.name for path in out.iterdir()) == names
    (job,) = (d for d in yaml.safe_load_all((tmp_path / "--kubernetes" / "workbench-sum.yaml").read_text()) if d)
    assert job["spec"]["schedule"] == "20 9 * * 1-5"
    for file in (tmp_path / "--airflow").iterdir():
        compile(file.read_text(), str(file), "exec")


def test_two_pipelines_that_a_cluster_cannot_tell_apart_are_refused(home: Path) -> None:
    files = [write_pipeline(home, name, {"only": ["1"]}, more='schedule = "open"') for name in ("a_b", "a-b")]
    done = workbench(home, "schedule", "export", "--kubernetes")
    for file in files:
        file.unlink()
    assert done.returncode == 64
    assert "another pipeline would have the same CronJob; rename one" in done.stderr


def test_the_schedule_commands_load_nothing_heavy_before_they_are_called() -> None:
    code = "import sys, workbench.cli.schedule; print([m for m in ('pandas', 'pydantic', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
