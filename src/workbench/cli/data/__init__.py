"""``workbench data``: the lake. One file per group of commands; they are registered here."""

from __future__ import annotations

import typer

from workbench.cli.data.check import accept, accepted, check, revoke
from workbench.cli.data.clean import clean, repairs
from workbench.cli.data.diff import diff
from workbench.cli.data.export import export
from workbench.cli.data.load import load, quarantine
from workbench.cli.data.show import coverage
from workbench.cli.data.versions import compact, versions

app = typer.Typer(help="Market data: the lake.", no_args_is_help=True)
app.command("load")(load)
app.command("quarantine")(quarantine)
app.command("check")(check)
app.command("accept")(accept)
app.command("accepted")(accepted)
app.command("revoke")(revoke)
app.command("clean")(clean)
app.command("repairs")(repairs)
app.command("show")(coverage)
app.command("versions")(versions)
app.command("diff")(diff)
app.command("export")(export)
app.command("compact")(compact)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="data")
