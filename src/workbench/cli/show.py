"""``workbench status | orders | positions | runs``: what the journal says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.output import Account, Json, show

if TYPE_CHECKING:
    from workbench.journal import Journal

Session = Annotated[str | None, typer.Option(metavar="DATE", help="Only this session.")]


def register(app: typer.Typer) -> None:
    for command in (status, orders, positions, runs):
        app.command()(command)


def status(as_json: Json = False) -> None:
    """Every account: trading state and what stops it, locks, equity, open orders, last run; and what runs now."""
    from workbench.journal import Controls, RunJournal
    from workbench.reports.status import describe_lock, describe_run, describe_stop
    from workbench.reports.status import status as read_status

    columns = ["account", "trading", "session", "equity", "cash", "positions", "open_orders", "last_run", "last_state"]
    with journal() as book:
        rows = read_status(book)
        runs = RunJournal(book)
        runs.reap()
        lines = [describe_run(run, book.clock.now()) for run in runs.active()]
        lines += [describe_stop(stop) for stop in Controls(book).halted()]
        lines += [f"BROKEN: pipeline {name}: {why}" for name, why in runs.recall_all("broken:").items()]
    lines += [describe_lock(row["account"], symbol, why) for row in rows for symbol, why in row["locks"].items()]
    show(rows, columns, as_json=as_json, empty="no account yet; `workbench run daily` opens one")
    for line in () if as_json else lines:
        typer.echo(line)


def orders(account: Account = None, session: Session = None, as_json: Json = False) -> None:
    """Orders with the gates' decision and the fill price."""
    from workbench.cli.run import parse_date
    from workbench.reports import tables

    columns = ["session", "account", "side", "quantity", "symbol", "status", "decision", "gate", "fill_price",
               "fill_session", "client_order_id"]  # fmt: skip
    with journal() as book:
        rows = tables.orders(book, account=account, session=parse_date(session) if session is not None else None)
        show(rows, columns, as_json=as_json, empty="no orders yet")


def positions(account: Account = None, as_json: Json = False) -> None:
    """Shares held at the last close the account was marked at."""
    from workbench.reports import tables

    with journal() as book:
        rows = tables.positions(book, account=account)
        show(rows, ["account", "session", "symbol", "quantity", "price", "value", "weight"], as_json=as_json,
             empty="no positions")  # fmt: skip


def runs(
    run: Annotated[str | None, typer.Argument(help="A run id: shows its steps and cells.")] = None,
    account: Account = None,
    as_json: Json = False,
) -> None:
    """Runs of pipelines: state, attempts, exit code and reason; of one run, its steps and cells."""
    from workbench.journal import RunJournal
    from workbench.reports import tables

    columns = ["session", "account", "pipeline", "amendment", "trigger", "state", "doing", "attempt", "exit_code",
               "seconds", "reason", "run_id"]  # fmt: skip
    with journal() as book:
        RunJournal(book).reap()
        if run is not None:
            _show_run(book, run, as_json=as_json)
            return
        show(tables.runs(book, account=account), columns, as_json=as_json, empty="no runs yet")


def _show_run(book: Journal, run_id: str, *, as_json: bool) -> None:
    from workbench.errors import ConfigError
    from workbench.journal import RunJournal

    runs = RunJournal(book)
    found = runs.run(run_id)
    if found is None:
        raise ConfigError(f"no run {run_id!r}", hint="`workbench runs` lists them")
    cells = runs.cells(run_id, found.attempt)
    rows: list[dict[str, object]] = []
    for step in runs.steps(run_id):
        line = {"step": step.name, "state": step.state.value, "started_at": step.started_at, "ended_at": step.ended_at}
        rows.append({**line, "cell": None, "seconds": None, "detail": step.detail})
        rows += [
            {
                "step": step.name,
                "cell": c.number,
                "state": c.state.value,
                "seconds": round(c.seconds, 3),
                "detail": c.reason,
            }
            for c in cells.get(step.name, [])
        ]
    show(rows, ["step", "cell", "state", "seconds", "detail"], as_json=as_json, empty="it has no steps")
    if not as_json:
        typer.echo(f"{run_id}: {found.state.value}, attempt {found.attempt}; {found.folder}")


@contextmanager
def journal() -> Iterator[Journal]:
    """The journal of the installation one is in."""
    from workbench.clock import SystemClock
    from workbench.journal import Journal
    from workbench.settings import load_settings

    with Journal(load_settings().journal_file, SystemClock()) as opened:
        yield opened
