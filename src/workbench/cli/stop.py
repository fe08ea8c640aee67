"""``workbench stop``: end a run that is going on, cleanly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.show import journal

if TYPE_CHECKING:
    from workbench.journal import Journal, RunRecord

PATIENCE_S = 60.0
_LOOK_S = 0.1


def register(app: typer.Typer) -> None:
    app.command()(stop)


def stop(
    run: Annotated[str, typer.Argument(help="Its run id, as `workbench runs` lists it.")],
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for its end.")] = PATIENCE_S,
) -> None:
    """Interrupt a run: its cell may clean up, its output is saved, its kernel and all it started are gone."""
    import os
    import signal

    from workbench.errors import ConfigError
    from workbench.journal import RunJournal
    from workbench.journal.process import this_host

    with journal() as book:
        runs = RunJournal(book)
        runs.reap()
        found = runs.run(run)
        if found is None:
            raise ConfigError(f"no run {run!r}", hint="`workbench runs` lists them")
        if not found.state.is_active:
            raise ConfigError(f"run {run} is not going on: {found.state.value}")
        owner = found.owner
        if owner.host != this_host():
            raise ConfigError(f"run {run} is on {owner.host}", hint="stop it there")
        if owner.is_alive():
            os.kill(owner.pid, signal.SIGTERM)
        ended = _wait_for_end(book, run, patience)
    typer.echo(f"{run}: {ended.state.value}{f', {ended.reason}' if ended.reason else ''}")


def _wait_for_end(book: Journal, run_id: str, patience_s: float) -> RunRecord:
    from workbench.errors import JobError
    from workbench.journal import RunJournal

    runs, deadline = RunJournal(book), book.clock.monotonic() + patience_s
    while True:
        runs.reap()
        found = runs.run(run_id)
        assert found is not None
        if not found.state.is_active:
            return found
        if book.clock.monotonic() >= deadline:
            raise JobError(f"run {run_id} has not ended in {patience_s:g} s; it is {found.state.value}")
        book.clock.sleep(_LOOK_S)
