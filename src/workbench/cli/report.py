"""``workbench report`` and ``workbench reports rebuild``."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="The reports database.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    root.command("report")(report)
    root.add_typer(app, name="reports")


def report(
    account: Annotated[
        str | None, typer.Option(help="Account to report on; the one that ran last if left out.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    standalone: Annotated[
        bool, typer.Option("--standalone", help="Put everything into the one file, to send it by mail.")
    ] = False,
) -> None:
    """Bring the reports up to date and write the tear sheet; prints its path."""
    from workbench.app import open_workbench
    from workbench.reports.report import last_account, write_report

    workbench = open_workbench()
    try:
        made = write_report(
            workbench.journal,
            workbench.lake,
            workbench.settings,
            account=account or last_account(workbench.journal),
            standalone=standalone,
        )
    finally:
        workbench.close()
    typer.echo(made.file)
    if made.pending:
        typer.echo(f"note: the reports database is locked by {made.holder}; it is merged later", err=True)
    if show:
        typer.launch(made.file.as_uri())


@app.command()
def rebuild() -> None:
    """Make data/reports.duckdb again from the journal, the lake's prices and the ledger of trials."""
    from workbench.cli.show import journal
    from workbench.data.lake import Lake
    from workbench.reports.projection import rebuild as make_again
    from workbench.settings import load_settings

    settings = load_settings()
    file = settings.reports_file
    with journal() as book, Lake(settings.lake_dir) as lake:
        make_again(book, file, lake=lake, trials=settings.trials_dir)
    typer.echo(file)
