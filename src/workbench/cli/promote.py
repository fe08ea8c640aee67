"""``workbench promote``."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from workbench.cli.output import who
from workbench.cli.progress import cancelling


def register(root: typer.Typer) -> None:
    root.command("promote")(promote)


def promote(
    target: Annotated[str, typer.Argument(metavar="NOTEBOOK|PIPELINE", help="A notebook's path or a pipeline's name.")],
    schedule: Annotated[
        str | None, typer.Option(metavar="WHEN", help='When the new pipeline runs, for example "close + 30min".')
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the new pipeline; the notebook's own if left out.")] = None,
    orders: Annotated[bool, typer.Option("--orders", help="Let the new pipeline place orders.")] = False,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, max=32, help="Notebooks tested at a time.")] = None,
) -> None:
    """Test a notebook or pipeline and pin it: production runs what was promoted, and nothing else.

    Rules, notebook tests and the look-ahead check of its strategies have to pass, or nothing is written.
    """
    from workbench.cli.test import default_workers, watching
    from workbench.clock import SystemClock
    from workbench.jobs.promotion.promoting import promote as pin
    from workbench.settings import load_settings

    settings = load_settings()
    cancel = threading.Event()
    with cancelling(cancel), watching("testing", None, settings.home) as on_result:
        made = pin(
            target, settings, clock=SystemClock(), who=who(), name=name, schedule=schedule, orders=orders,
            workers=jobs or default_workers(), cancel=cancel, on_result=on_result,
        )  # fmt: skip
    if made.unchanged:
        typer.echo(f"{made.pipeline} is promoted as it stands ({made.digest[:12]}); nothing was written")
        return
    typer.echo(f"{made.pipeline} is promoted as {made.digest[:12]}")
    for sentence in made.changed:
        typer.echo(f"  changed  {sentence}")
    for test in made.tests:
        typer.echo(
            f"  tested   {test.notebook.name}: {test.cells} cells, {test.compared} compared, {test.seconds:.1f} s"
        )
    for strategy, look in made.lookahead.items():
        typer.echo(
            f"  no look-ahead in {strategy}: {look.cuts} cuts of {look.sessions} sessions, {look.futures} futures,"
            f" {len(look.parameters)} parameter sets; {look.paths}"
        )
        for caution in look.cautions:
            typer.echo(f"  caution  {strategy}: {caution}")
    for file in made.written:
        typer.echo(f"  wrote    {file}")
    typer.echo("  next     commit these files with git")
