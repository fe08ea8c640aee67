"""``workbench schedule run``: the daemon that runs every pipeline at its moments."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.errors import ConfigError

if TYPE_CHECKING:
    from workbench.jobs.schedule.daemon import Daemon
    from workbench.jobs.schedule.dispatcher import Limits
    from workbench.settings import Settings

_REHEARSAL_ACCOUNT = "rehearsal"


def run(
    standby: Annotated[
        bool, typer.Option("--standby", help="Wait while another scheduler is at work, and take over when it ends.")
    ] = False,
    drain: Annotated[
        bool, typer.Option("--drain", help="On SIGTERM or Ctrl-C, let running jobs finish instead of stopping them.")
    ] = False,
    rehearse: Annotated[
        str | None,
        typer.Option(metavar="MOMENT", help="Run as if it were then (2013-03-01T20:59, UTC), on a paper account."),
    ] = None,
    account: Annotated[
        str | None, typer.Option(help=f"Account of a rehearsal, {_REHEARSAL_ACCOUNT!r} if left out.")
    ] = None,
    allow_dirty: Annotated[
        bool, typer.Option("--allow-dirty", help="Run notebooks that were not promoted; paper accounts only.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per event instead of text.")] = False,
) -> None:
    """Run every pipeline at its moments, until stopped.

    SIGTERM or Ctrl-C stops running jobs cleanly (a second one kills them) and exits with 143 if that cut a job short,
    else with 0. Exits with 75 if another scheduler is at work.
    """
    from workbench.clock import SystemClock
    from workbench.jobs.schedule.daemon import Daemon
    from workbench.jobs.schedule.dispatcher import Post
    from workbench.jobs.schedule.events import EventLog
    from workbench.jobs.schedule.worker import ShiftedClock
    from workbench.settings import account_name, load_settings

    settings = load_settings()
    machine_clock = SystemClock()
    post = Post(settings, settings.account.name, "scheduler", machine_clock, machine_clock, allow_dirty)
    if rehearse is not None:
        name = account_name(account or _REHEARSAL_ACCOUNT)
        clock = ShiftedClock(machine_clock, _offset_s(rehearse, settings))
        post = replace(post, account=name, name=f"rehearsal:{name}", clock=clock)
    elif account is not None:
        raise ConfigError("--account is for rehearsals", hint="the configured account is traded; see --rehearse")
    log = EventLog(settings.runs_dir / "scheduler.log", post.clock, sys.stdout, as_json=as_json)
    command = [sys.executable, "-P", "-m", "workbench.cli.schedule_worker"]
    limits = limits_of(settings)
    daemon = Daemon(post, log, command=command, env=_environment(settings), drain=drain, limits=limits)
    with _signals_to(daemon):
        raise typer.Exit(daemon.run(standby=standby))


def limits_of(settings: Settings) -> Limits:
    """The scheduler's limits; how many jobs run side by side is the machine's budget where nobody set it."""
    from workbench.hardware.budget import defaults_here
    from workbench.jobs.schedule.dispatcher import Limits

    given = settings.schedule
    side_by_side = given.side_by_side or defaults_here().side_by_side
    return Limits(look_s=given.look_s, warm_s=given.warm_s, stop_s=given.stop_s, side_by_side=side_by_side)


def _offset_s(moment: str, settings: Settings) -> float:
    """How far back (or ahead) a rehearsal is; refused where it could spend money."""
    if settings.account.broker != "paper":
        raise ConfigError(
            f"a rehearsal is for paper accounts, and {settings.config_file} trades with {settings.account.broker}",
            hint='set broker = "paper" in [account]',
        )
    try:
        at = datetime.fromisoformat(moment)
    except ValueError as error:
        raise ConfigError(f"{moment!r} is not a moment", hint="write it as 2013-03-01T20:59, in UTC") from error
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return (at - datetime.now(UTC)).total_seconds()


def _environment(settings: Settings) -> dict[str, str]:
    """What workers get: this process's environment and the one configuration it was started with."""
    return {**os.environ, "WORKBENCH_CONFIG": str(settings.config_file)}


@contextmanager
def _signals_to(daemon: Daemon) -> Iterator[None]:
    def handler(number: int, _frame: FrameType | None) -> None:
        daemon.stop()

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
