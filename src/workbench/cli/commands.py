"""Every command of ``workbench``, and the module of each: what is typed is all that is imported."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

import workbench

# Modules of this package in the order of the help, and the names that each registers.
MODULES = {
    "run": ("run", "replay"),
    "stop": ("stop",),
    "show": ("status", "orders", "positions", "runs"),
    "report": ("report", "reports"),
    "backtest": ("backtest",),
    "halt": ("halt", "resume", "cancel"),
    "reconcile": ("reconcile",),
    "new": ("new",),
    "test": ("test",),
    "promote": ("promote",),
    "doctor": ("doctor",),
    "profile": ("profile",),
    "latency": ("latency",),
    "lab": ("lab",),
    "demo": ("demo",),
    "sweep": ("sweep",),
    "data": ("data",),
    "exchange": ("exchange",),
    "pipelines": ("pipelines",),
    "research": ("research",),
    "risk": ("risk",),
    "schedule": ("schedule",),
}


def command_line(arguments: Sequence[str] = ()) -> typer.Typer:
    """The program with the command that ``arguments`` begin with; with all of them if that is none."""
    app = typer.Typer(
        name="workbench",
        help=root.__doc__,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(root)
    asked = [module for module, names in MODULES.items() if arguments and arguments[0] in names]
    for module in asked or MODULES:
        import_module(f"workbench.cli.{module}").register(app)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(workbench.__version__)
        raise typer.Exit


def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Research-to-production workbench for algorithmic traders. Paper trading only; no default can spend money."""
