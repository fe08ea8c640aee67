"""``workbench data``: the lake. One file per group of commands; they are registered here."""

from __future__ import annotations

import typer

from workbench.cli.data.diff import diff
from workbench.cli.data.export import export
from workbench.cli.data.load import load
from workbench.cli.data.show import coverage
from workbench.cli.data.versions import compact, versions

app = typer.Typer(help="Market data: the lake.", no_args_is_help=True)
app.command("load")(load)
app.command("show")(coverage)
app.command("versions")(versions)
app.command("diff")(diff)
app.command("export")(export)
app.command("compact")(compact)
