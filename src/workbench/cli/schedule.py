"""``workbench schedule next | due | install | export | run``."""

from __future__ import annotations

import os
import re
import shlex
import sys
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli import schedule_run
from workbench.cli.output import Json, show, who
from workbench.errors import ConfigError

if TYPE_CHECKING:
    from workbench.jobs.pipelines import Loaded
    from workbench.jobs.schedule.agenda import Agenda
    from workbench.jobs.schedule.when import Due
    from workbench.settings import Settings

app = typer.Typer(help="What runs when.", no_args_is_help=True)
app.command("run")(schedule_run.run)

_SPAN = re.compile(r"(\d{1,4})\s*(min|h|d|w)")
_UNIT = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_YEAR = timedelta(days=365)
Out = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write files there instead of printing them.")]


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="schedule")


@app.command("next")
def next_runs(
    span: Annotated[str, typer.Argument(metavar="SPAN", help="How far to look: 12h, 10d, 4w.")] = "10d",
    as_json: Json = False,
) -> None:
    """What will run, and when: there, and here."""
    from workbench.clock import SystemClock

    length = parse_span(span)
    now = SystemClock().now()
    settings, loaded, agenda = _load()
    rows = [_row(agenda, loaded, due) for due in agenda.upcoming(now, now + length)]
    columns = ["exchange_time", "local_time", "pipeline", "session", "slot", "after", "deadline", "note"]
    if not any(row["note"] for row in rows):
        columns.remove("note")
    show(rows, columns, as_json=as_json, empty=f"nothing is scheduled for the next {span} in {settings.pipelines_dir}")
    _refuse_broken(loaded)


@app.command()
def due(
    pipeline: Annotated[str, typer.Argument(help="Name of a file in pipelines/, for example daily.")],
) -> None:
    """Run what is due of a pipeline now, or nothing: for Kubernetes, Airflow, or any other trigger.

    Waits for the pipelines named in `after`, until the deadline. Exits with 75 if that was in vain.
    """
    from workbench.clock import SystemClock
    from workbench.jobs.pipelines import load_pipeline
    from workbench.jobs.schedule.gate import what_is_due
    from workbench.journal import Journal

    settings, loaded, agenda = _load()
    if pipeline in loaded.broken:
        raise loaded.broken[pipeline]
    found = load_pipeline(pipeline, settings.pipelines_dir)
    if found.schedule is None or not found.enabled:
        what = "has no schedule" if found.enabled else "is switched off"
        raise ConfigError(f"{pipeline} {what}", hint=f"`workbench run {pipeline}` runs it")
    clock = SystemClock()
    with Journal(settings.journal_file, clock) as journal:
        answer = what_is_due(agenda, pipeline, journal, settings.account.name, clock)
    if answer.due is None:
        typer.echo(f"{pipeline}: nothing is due: {answer.reason}")
        return
    sys.stdout.flush()
    # The run takes this process over, signals included.
    os.execve(sys.executable, _run_command(answer.due), {**os.environ, "WORKBENCH_CONFIG": str(settings.config_file)})


@app.command()
def install(
    systemd: Annotated[bool, typer.Option("--systemd", help="A systemd unit (the default).")] = False,
    crontab: Annotated[bool, typer.Option("--crontab", help="Lines for a crontab.")] = False,
    system: Annotated[
        bool, typer.Option("--system/--user", help="For the whole machine, or for one user; only for systemd.")
    ] = False,
    printed: Annotated[bool, typer.Option("--print", help="Print it, and write nothing.")] = False,
    out: Out = None,
) -> None:
    """Print or write what keeps the scheduler running on this machine. Nothing is enabled or started."""
    from workbench.jobs.schedule import units
    from workbench.settings import load_settings

    if systemd and crontab:
        raise ConfigError("--systemd and --crontab are one or the other")
    if printed and out:
        raise ConfigError("--print and --out are one or the other")
    settings = load_settings()
    home, config = settings.home.resolve(), settings.config_file.resolve()
    command = [*_interpreter(), "schedule", "run"]
    if crontab:
        text = units.crontab(command, home, config, settings.data_dir.resolve() / "scheduler.err")
        _emit(text, out, "workbench-scheduler.crontab", "(crontab -l; cat FILE) | crontab -")
        return
    # Whoever has no name is known to systemd by number.
    user = who().removeprefix("uid ") if system else None
    text = units.systemd_unit([*command, "--standby"], home, config, user=user)
    manage = "systemctl" if system else "systemctl --user"
    into = "/etc/systemd/system" if system else "~/.config/systemd/user"
    steps = f"cp FILE {into}/ && {manage} daemon-reload && {manage} enable --now {units.UNIT}"
    _emit(text, out, units.UNIT, steps if system else f"{steps}; loginctl enable-linger keeps it without a login")


@app.command()
def export(
    airflow: Annotated[bool, typer.Option("--airflow", help="A DAG per pipeline, for Airflow 2.4 or later.")] = False,
    kubernetes: Annotated[bool, typer.Option("--kubernetes", help="CronJobs per pipeline.")] = False,
    out: Out = None,
    image: Annotated[str, typer.Option(help="Container image with the workbench; for Kubernetes.")] = "workbench",
) -> None:
    """Schedules for a cluster: what it starts decides by calendar and ledger whether something is due."""
    from workbench.clock import SystemClock

    if airflow == kubernetes:
        raise ConfigError("export needs --airflow or --kubernetes")
    now = SystemClock().now()
    settings, loaded, agenda = _load()
    files = _exported(settings, loaded, agenda, now, None if airflow else image)
    for name, text in files.items():
        _emit(text, out, name)
    if not files:
        typer.echo(f"nothing is scheduled in {settings.pipelines_dir}")
    _refuse_broken(loaded)


def parse_span(text: str) -> timedelta:
    """A length of time from the command line.

    >>> parse_span("10d")
    datetime.timedelta(days=10)

    Raises
    ------
    ConfigError
        If it is not one, or more than a year, which is as far as calendars reach.
    """
    found = _SPAN.fullmatch(text.strip())
    if not found:
        raise ConfigError(f"{text!r} is not a span of time", hint="write it as 12h, 10d or 4w")
    span = int(found[1]) * _UNIT[found[2]]
    if not timedelta(0) < span <= _YEAR:
        raise ConfigError(f"{text} is not between a minute and a year")
    return span


def _load() -> tuple[Settings, Loaded, Agenda]:
    from workbench.calendars import calendar
    from workbench.jobs.pipelines import load_pipelines
    from workbench.jobs.schedule.agenda import Agenda
    from workbench.settings import load_settings

    settings = load_settings()
    calendars = partial(calendar, cache=settings.cache_dir)
    loaded = load_pipelines(settings.pipelines_dir, calendars=calendars)
    return settings, loaded, Agenda(loaded.good.values(), calendars)


def _row(agenda: Agenda, loaded: Loaded, due: Due) -> dict[str, object]:
    pipeline = loaded.good[due.pipeline]
    return {
        "at": due.at,
        "start": due.start,
        "exchange_time": _clock(due.at.astimezone(agenda.zone(due))),
        "local_time": _clock(due.at.astimezone()),
        "pipeline": due.pipeline,
        "session": due.session,
        "slot": due.slot,
        "after": ", ".join(pipeline.after),
        "deadline": None if due.deadline is None else _clock(due.deadline.astimezone(agenda.zone(due))),
        "note": f"skipped: {reason}" if (reason := agenda.closed(due)) else "",
    }


def _clock(moment: datetime) -> str:
    return f"{moment:%a %Y-%m-%d %H:%M %Z}"


def _exported(settings: Settings, loaded: Loaded, agenda: Agenda, now: datetime, image: str | None) -> dict[str, str]:
    """The files to write, by name: DAGs, or CronJobs if there is an image."""
    from workbench.jobs.schedule import export as exports

    files: dict[str, str] = {}
    end = now + _YEAR - timedelta(days=2)
    everything = agenda.upcoming(now, end)
    for name, pipeline in loaded.good.items():
        dues = [due for due in everything if due.pipeline == name]
        if not dues:
            typer.echo(f"workbench: {name} has no moment in the coming year; left out", err=True)
        elif image is None:
            home, config = settings.home.resolve(), settings.config_file.resolve()
            files[f"workbench_{name}.py"] = exports.airflow_dag(pipeline, dues, _interpreter(), home, config)
        else:
            file = f"{exports.cron_job_name(name)}.yaml"
            if file in files:
                raise ConfigError(f"{pipeline.file}: another pipeline would have the same CronJob", hint="rename one")
            files[file] = exports.cron_jobs(pipeline, dues, agenda.zone(dues[0]), image=image)
    return files


def _run_command(due: Due) -> list[str]:
    return [
        *_interpreter(), "run", due.pipeline, "--session", due.session.isoformat(), "--slot", str(due.slot),
        "--trigger", "schedule", "--scheduled-at", due.at.isoformat(),
    ]  # fmt: skip


def _interpreter() -> list[str]:
    """How the workbench is called, by absolute path; the way through a virtual environment's link is kept."""
    return [os.path.abspath(sys.executable), "-m", "workbench.cli.main"]


def _emit(text: str, out: Path | None, name: str, how: str = "") -> None:
    """Write a file, or print it; ``how`` is what a person does with it next."""
    if out is None:
        typer.echo(text, nl=False)
        return
    from workbench.jobs.files import write_atomically

    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / name, text)
    typer.echo(f"wrote {out / name}")
    if how:
        typer.echo(f"  to enable it: {how.replace('FILE', shlex.quote(str(out / name)))}")


def _refuse_broken(loaded: Loaded) -> None:
    """Name every broken file, after the others have been shown.

    Raises
    ------
    ConfigError
        The last of them.
    """
    errors = list(loaded.broken.values())
    for error in errors[:-1]:
        typer.echo(f"workbench: {error}", err=True)
    if errors:
        raise errors[-1]
