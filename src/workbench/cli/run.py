"""``workbench run`` and ``workbench replay``."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.early import undecided_pool
from workbench.cli.progress import TerminalWatcher, cancelling
from workbench.errors import BrokerError, ConfigError, DataError, JobError, ParameterError, WorkbenchError

if TYPE_CHECKING:
    from workbench.app import Workbench
    from workbench.jobs.pipelines import Pipeline as PipelineFile
    from workbench.jobs.runner import Runner, RunOutcome
    from workbench.journal import Origin

Pipeline = Annotated[str, typer.Argument(help="Name of a file in pipelines/, for example daily.")]
Job = Annotated[str, typer.Argument(metavar="PIPELINE|NOTEBOOK", help="A name in pipelines/, or a notebook file.")]
Parameter = Annotated[
    list[str] | None,
    typer.Option("-p", "--parameter", metavar="KEY=VALUE", help="Set a parameter of the notebooks or the strategy."),
]
AccountName = Annotated[str | None, typer.Option(help="Account to trade; the configured one if left out.")]


def register(app: typer.Typer) -> None:
    app.command("run")(run)
    app.command("replay")(replay)


def run(
    job: Job,
    session: Annotated[str | None, typer.Option(metavar="DATE", help="Session whose close is decided on.")] = None,
    parameter: Parameter = None,
    account: AccountName = None,
    amend: Annotated[bool, typer.Option("--amend", help="Deliberately run that session once more.")] = False,
    allow_dirty: Annotated[
        bool, typer.Option("--allow-dirty", help="Run what is not promoted; on a paper account only.")
    ] = False,
    slot: Annotated[int, typer.Option(hidden=True, min=0, max=999_999)] = 0,
    trigger: Annotated[str, typer.Option(hidden=True)] = "manual",
    scheduled_at: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run a pipeline, or one notebook, for one session: notebooks, orders, report."""
    asked = parse_date(session) if session is not None else None
    parameters = parse_parameters(parameter)
    origin = parse_origin(trigger, scheduled_at)
    target = parse_job(job)
    with opened_runner(target) as (workbench, runner, watcher):
        from workbench.jobs.runner import RunRequest  # loaded by now, while the kernels were warming up

        request = RunRequest(target, asked, parameters, account, amend, slot, origin, allow_dirty)
        with watcher, failure_reported(runner):
            outcome = runner.run(request)
        describe(workbench, outcome)
        merge(workbench, runner)
        closed = workbench.calendar.last_closed(workbench.clock.now())
        if asked is None and outcome.run.key.session < closed:
            typer.echo(f"  note     the data ends there; the exchange last closed on {closed}")


def replay(
    pipeline: Pipeline,
    start: Annotated[str, typer.Option("--from", metavar="DATE", help="First session.")],
    end: Annotated[str, typer.Option("--to", metavar="DATE", help="Last session.")],
    parameter: Parameter = None,
    account: AccountName = None,
    allow_dirty: Annotated[
        bool, typer.Option("--allow-dirty", help="Run what is not promoted; on a paper account only.")
    ] = False,
) -> None:
    """Run a pipeline session by session, as if each were today."""
    first, last = parse_date(start), parse_date(end)
    if first > last:
        raise ConfigError(f"--from {first} is after --to {last}")
    parameters = parse_parameters(parameter)
    with opened_runner(pipeline) as (workbench, runner, watcher):
        outcomes = replay_sessions(
            workbench, runner, watcher, pipeline, first, last, parameters, account, allow_dirty=allow_dirty
        )
        describe_replay(workbench, outcomes)
        merge(workbench, runner)


def replay_sessions(
    workbench: Workbench,
    runner: Runner,
    watcher: TerminalWatcher,
    pipeline: str,
    first: date,
    last: date,
    parameters: Mapping[str, str],
    account: str | None,
    *,
    allow_dirty: bool = False,
) -> list[RunOutcome]:
    """Run every session from ``first`` to ``last``; an interrupted replay goes on where it stopped."""
    from workbench.jobs.runner import RunRequest

    sessions = workbench.calendar.sessions(first, last)
    if not sessions:
        workbench.calendar.require_session(first)
    outcomes = []
    with watcher, failure_reported(runner):
        watcher.sessions(len(sessions))
        requests = [RunRequest(pipeline, day, parameters, account, allow_dirty=allow_dirty) for day in sessions]
        for session, outcome in zip(sessions, runner.run_each(requests), strict=True):
            outcomes.append(outcome)
            watcher.session_done(session)
    return outcomes


def parse_date(text: str) -> date:
    """A session from the command line.

    Raises
    ------
    ConfigError
        If it is not an ISO date.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is not a date", hint="write it as 2013-03-01") from error


def parse_origin(trigger: str, scheduled_at: str | None) -> Origin:
    """Who asks for a run, and for which moment.

    Raises
    ------
    ConfigError
        If the trigger is unknown, or the moment is no ISO date and time with a zone.
    """
    from workbench.journal import Origin

    triggers = ("manual", "schedule", "jupyter")
    if trigger not in triggers:
        raise ConfigError(f"--trigger {trigger!r} is none of {', '.join(triggers)}")
    try:
        moment = None if scheduled_at is None else datetime.fromisoformat(scheduled_at)
    except ValueError as error:
        raise ConfigError(f"--scheduled-at {scheduled_at!r} is not a moment") from error
    if moment is not None and moment.tzinfo is None:
        raise ConfigError(f"--scheduled-at {scheduled_at!r} has no time zone")
    return Origin(trigger, moment)


def parse_job(text: str) -> str | Path:
    """A pipeline's name, or a notebook file."""
    return Path(text) if text.endswith(".ipynb") else text


def parse_parameters(given: list[str] | None) -> dict[str, str]:
    """``-p key=value`` pairs as text; the notebook's declaration says what type they are."""
    parsed: dict[str, str] = {}
    for item in given or []:
        name, separator, value = item.partition("=")
        if not separator or not name.strip():
            raise ParameterError(f"-p {item!r} is not KEY=VALUE")
        if name.strip() in parsed:
            raise ParameterError(f"parameter {name.strip()!r} is given twice")
        if not value.isascii() and value != value.encode(errors="replace").decode():
            raise ParameterError(f"-p {name.strip()}: {value!r} is not text in UTF-8")
        parsed[name.strip()] = value
    return parsed


@contextmanager
def opened_runner(job: str | Path | PipelineFile) -> Iterator[tuple[Workbench, Runner, TerminalWatcher]]:
    """A workbench, a runner with warm kernels, and a progress display; signals cancel the run."""
    cancel = threading.Event()
    with undecided_pool() as pool, cancelling(cancel):
        # Its helper imports in the background from here on, while this process finds out what else it should.
        gc.disable()  # of what imports make nothing is garbage: looking for it takes a fifth of their time
        from workbench.jobs.pipelines import load_pipeline
        from workbench.jobs.preload import PRELOAD, preload_for
        from workbench.settings import load_settings

        settings = load_settings()
        if isinstance(job, str):
            job = load_pipeline(job, settings.pipelines_dir)
        preload = preload_for([job] if isinstance(job, Path) else job.notebooks)
        pool.prepare(preload, (settings.calendar,) if preload == PRELOAD else (), cache=settings.cache_dir)
        pool.prestart(1)
        from workbench.app import open_workbench
        from workbench.jobs.engine import warm_up
        from workbench.jobs.pages import HtmlWriter
        from workbench.jobs.runner import Runner

        warm_up()
        if preload == PRELOAD:  # the helper takes longer than this process then, which can import what its end needs
            import duckdb  # noqa: F401

            from workbench.reports import projection  # noqa: F401
        gc.freeze()
        gc.enable()
        workbench = open_workbench()
        watcher = TerminalWatcher()
        try:
            with HtmlWriter(pool) as html:
                yield workbench, Runner(workbench, pool, html, watcher, cancel), watcher
        finally:
            workbench.close()
        for failure in html.failures:
            typer.echo(f"workbench: a page was not written: {failure}", err=True)


@contextmanager
def failure_reported(runner: Runner) -> Iterator[None]:
    """Merge a run that failed, and what ran before it, into the reports; why it failed is told in any case."""
    try:
        yield
    except (JobError, BrokerError, DataError):
        try:
            runner.merge()
        except WorkbenchError as error:
            typer.echo(f"workbench: the reports could not be brought up to date: {error}", err=True)
        raise


def describe(workbench: Workbench, outcome: RunOutcome) -> None:
    """Say what a run did, where its report is, and what stands against it."""
    from workbench.journal.states import RunState
    from workbench.reports import tables

    run = outcome.run
    if run.state is RunState.SKIPPED:
        typer.echo(f"{run.key.pipeline} for {run.key.session}: skipped, {run.reason}")
        return
    if outcome.already_done:
        typer.echo(
            f"{run.key.pipeline} for {run.key.session} has already run as {run.run_id} ({run.state.value});"
            " nothing new was ordered (--amend runs it once more)"
        )
        if outcome.others:
            typer.echo("  note     it ran with other parameters than the ones given now: see `workbench runs --json`")
    else:
        resumed = f", attempt {run.attempt}" if outcome.resumed else ""
        typer.echo(f"{run.key.pipeline} for {run.key.session}: {run.state.value} ({run.run_id}{resumed})")
    orders = tables.orders(workbench.journal, run_id=run.run_id)
    denied = [row for row in orders if row["decision"] == "denied"]
    typer.echo(f"  orders   {len(orders)} proposed, {len(denied)} denied")
    for row in denied:
        typer.echo(
            f"           denied: {row['side']} {row['quantity']} {row['symbol']} by {row['gate']}: {row['reason']}"
        )
    _say_where(workbench, outcome)


def describe_replay(workbench: Workbench, outcomes: list[RunOutcome]) -> None:
    """Sum up a replay: sessions, equity at its end, where the report is."""
    from workbench.reports import tables

    last = outcomes[-1].run
    done = sum(outcome.already_done for outcome in outcomes)
    earlier = f" ({done} had run before)" if done else ""
    typer.echo(f"{last.key.pipeline}: {len(outcomes)} sessions to {last.key.session}{earlier}")
    runs = {outcome.run.run_id for outcome in outcomes}
    denied = sum(
        row["decision"] == "denied" and row["run_id"] in runs
        for row in tables.orders(workbench.journal, account=last.key.account, until=last.key.session)
    )
    if denied:
        typer.echo(f"  denied   {denied} orders, see `workbench orders --account {last.key.account}`")
    marks = tables.equity(workbench.journal, account=last.key.account)
    if marks:
        typer.echo(f"  equity   {marks[-1]['equity']:,.2f} USD at the close of {marks[-1]['session']}")
    _say_where(workbench, outcomes[-1])


def merge(workbench: Workbench, runner: Runner) -> None:
    """At the end of all runs, bring the reports database up to date; say so if somebody else holds it."""
    runner.rest()
    holder = runner.merge()
    if holder:
        typer.echo(
            f"  note     {workbench.settings.reports_file.name} is locked by {holder};"
            " this run will be merged into it by the next one"
        )


def _say_where(workbench: Workbench, outcome: RunOutcome) -> None:
    settings = workbench.settings
    run = outcome.run
    page = settings.tearsheets_dir / run.key.account / f"{run.key.session}.html"
    typer.echo(f"  run      {settings.home / run.folder}")
    if page.is_file():
        typer.echo(f"  report   {page}")
