"""``workbench reconcile``: compare the books with the venue, and adopt what differs."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.output import Account, Json, show, who


def register(app: typer.Typer) -> None:
    app.command()(reconcile)


def reconcile(
    account: Account = None,
    adopt: Annotated[bool, typer.Option("--adopt", help="Apply the fixes, on record.")] = False,
    symbol: Annotated[str | None, typer.Option(help="Only this symbol; * is cash.")] = None,
    by: Annotated[str | None, typer.Option(help="Who answers for it; the user if left out.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until no order is open any more.")] = False,
    as_json: Json = False,
) -> None:
    """Compare orders, executions, positions and cash with the venue. Exits with 1 while they differ."""
    from workbench.app import open_workbench

    wb = open_workbench()
    gateway = wb.gateway(account or wb.settings.account.name)
    try:
        gateway.attach()
        found = gateway.reconcile()
        wanted = [difference for difference in found if symbol in (None, difference.symbol)]
        if found and not wanted:
            typer.echo(f"nothing differs for {symbol}", err=True)
        if adopt and wanted:
            entries = gateway.adopt(wanted, by or who())
            typer.echo(f"{entries} entries adopted.", err=as_json)
            found = gateway.reconcile()
        if follow:
            waiting = len(gateway.broker.open_orders())
            if gateway.trades_by_itself:
                typer.echo(f"following {waiting} open orders; Ctrl-C ends it", err=True)
                gateway.follow()
                found = gateway.reconcile("end")
            elif waiting:
                typer.echo(f"{waiting} orders wait for the next session, which `workbench run` brings", err=True)
        columns = ["kind", "symbol", "difference", "fix"]
        show([d.as_row() for d in found], columns, as_json=as_json, empty="books and venue agree")
    finally:
        gateway.close()
        wb.close()
    raise typer.Exit(1 if found else 0)
