"""The ``workbench`` command. Only this file turns errors into messages and exit codes."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

import workbench
from workbench.cli import (
    backtest,
    data,
    demo,
    doctor,
    exchange,
    halt,
    lab,
    latency,
    new,
    pipelines,
    profile,
    promote,
    reconcile,
    report,
    research,
    risk,
    run,
    schedule,
    show,
    stop,
    test,
)
from workbench.errors import RunCancelled, WorkbenchError

USAGE, STORAGE = 64, 74

app = typer.Typer(
    name="workbench",
    help="Research-to-production workbench for algorithmic traders. Paper trading only; no default can spend money.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for module in (
    run, stop, show, report, backtest, halt, reconcile, new, test, promote, doctor, profile, latency, lab, demo,
):  # fmt: skip
    module.register(app)
app.add_typer(data.app, name="data")
app.add_typer(exchange.app, name="exchange")
app.add_typer(pipelines.app, name="pipelines")
app.add_typer(report.app, name="reports")
app.add_typer(research.app, name="research")
app.add_typer(risk.app, name="risk")
app.add_typer(schedule.app, name="schedule")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(workbench.__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Research-to-production workbench for algorithmic traders. Paper trading only; no default can spend money."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0, or the code of the error (see ``workbench.errors``)."""
    try:
        code = app(args=arguments, standalone_mode=False)
        sys.stdout.flush()
    except TyperException as error:
        message = error.format_message()
        if "\n" in message:  # a command without arguments: its help
            typer.echo(message, err=True)
        elif message:
            _complain(message)
        sys.exit(USAGE if error.exit_code == 2 else error.exit_code)
    except WorkbenchError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except SystemExit:
        # Typer turns a closed pipe into exit code 1, which here would mean that a notebook failed.
        if type(sys.stdout).__name__ == "PacifyFlushWrapper":
            sys.exit(0)
        raise
    except BrokenPipeError:
        _forget_output()
        sys.exit(0)
    except OSError as error:
        _complain(f"{error.filename or 'a file'}: {error.strerror or error}")
        sys.exit(STORAGE)
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted")
        sys.exit(RunCancelled.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _forget_output() -> None:
    """The reader of a pipe has gone: what is left to print goes nowhere, and the exit is not an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def _complain(message: str) -> None:
    typer.echo(f"workbench: {' '.join(message.split())}", err=True)


if __name__ == "__main__":
    main()
