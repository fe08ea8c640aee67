"""The ``workbench`` command. Only this file turns errors into messages and exit codes."""

from __future__ import annotations

import gc
import os
import sys

from workbench.cli.early import started_early
from workbench.errors import RunCancelled, WorkbenchError

USAGE, STORAGE = 64, 74


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0, or the code of the error (see ``workbench.errors``)."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        with started_early(given):
            code = _run(given)
    except WorkbenchError as error:
        _complain(str(error))
        code = error.exit_code
    except BrokenPipeError:
        _forget_output()
        code = 0
    except OSError as error:
        _complain(f"{error.filename or 'a file'}: {error.strerror or error}")
        code = STORAGE
    except KeyboardInterrupt:
        _complain("interrupted")
        code = RunCancelled.exit_code
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    """Run a command; returns its exit code, Typer's own errors told."""
    gc.disable()  # of what imports make nothing is garbage: looking for it takes a fifth of their time
    try:
        import typer.main
        from typer.exceptions import TyperException

        from workbench.cli.commands import command_line

        command = typer.main.get_command(command_line(arguments))
    finally:
        gc.enable()
    try:
        code = command(args=arguments, standalone_mode=False)
        sys.stdout.flush()
    except TyperException as error:
        message = error.format_message()
        if "\n" in message:  # a command without arguments: its help
            typer.echo(message, err=True)
        elif message:
            _complain(message)
        return USAGE if error.exit_code == 2 else error.exit_code
    except SystemExit:
        # Typer turns a closed pipe into exit code 1, which here would mean that a notebook failed.
        if type(sys.stdout).__name__ == "PacifyFlushWrapper":
            return 0
        raise
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    return code if isinstance(code, int) else 0


def _forget_output() -> None:
    """The reader of a pipe has gone: what is left to print goes nowhere, and the exit is not an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def _complain(message: str) -> None:
    import typer

    typer.echo(f"workbench: {' '.join(message.split())}", err=True)


if __name__ == "__main__":
    main()
