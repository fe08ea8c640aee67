"""``workbench test notebooks``."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.output import Json, show
from workbench.cli.progress import cancelling

if TYPE_CHECKING:
    from workbench.jobs.nbtest import NotebookTest

app = typer.Typer(help="Tests of what is yours.", no_args_is_help=True)
_DETAIL_LINES = 30

Workers = Annotated[
    int | None, typer.Option("--jobs", min=1, max=32, help="Notebooks at a time; the cores, at most 4.")
]


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="test")


@app.command()
def notebooks(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]...", help="Notebooks or folders; all, if none is named.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Compare every cell but those tagged nbval-ignore-output.")
    ] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="For a cell, and for a run.")] = 600.0,
    jobs: Workers = None,
    as_json: Json = False,
) -> None:
    """Run notebooks under nbval and through the runner, in a scratch home: nothing of yours is touched.

    The stored output of cells tagged nbval-check-output is compared. No network; each notebook has processes of its
    own and ends at its first failing cell.
    """
    from workbench.jobs.nbtest import all_notebooks, find_notebooks, run_tests
    from workbench.settings import load_settings

    settings = load_settings()
    named = [file for name in files or [] for file in find_notebooks(name, settings)]
    chosen = list(dict.fromkeys(named if files else all_notebooks(settings)))
    cancel = threading.Event()
    with cancelling(cancel), watching("notebooks", len(chosen), settings.home) as on_result:
        results = run_tests(
            chosen, settings, strict=strict, workers=jobs or default_workers(), timeout_s=timeout,
            cancel=cancel, on_result=on_result,
        )  # fmt: skip
    show_tests(results, settings.home, as_json=as_json)
    raise typer.Exit(0 if all(result.passed for result in results) else 1)


def default_workers() -> int:
    """As many notebooks at a time as there are cores for, at most four."""
    return max(1, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


@contextmanager
def watching(what: str, total: int | None, home: Path) -> Iterator[Callable[[NotebookTest], None]]:
    """A progress bar on the terminal's error stream; silent when that is not a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from workbench.cli.output import console

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=console(stderr=True), transient=True)
    progress.disable = not progress.console.is_terminal
    with progress:
        task = progress.add_task(what, total=total)
        yield lambda result: progress.update(task, advance=1, description=name_of(result, home))


def show_tests(results: Sequence[NotebookTest], home: Path, *, as_json: bool) -> None:
    """A row for each notebook; what a failed cell said below it."""
    rows = [
        {
            "notebook": name_of(result, home),
            "result": "passed" if result.passed else "failed",
            "cells": result.cells,
            "compared": result.compared,
            "seconds": result.seconds,
            "stage": result.stage,
            "cell": result.cell,
            "reason": result.reason,
            **({"detail": result.detail} if as_json else {}),
        }
        for result in results
    ]
    columns = ["notebook", "result", "cells", "compared", "seconds"]
    if not all(result.passed for result in results):
        columns += ["stage", "cell", "reason"]
    show(rows, columns, as_json=as_json, empty="there are no notebooks")
    for result in () if as_json else results:
        if result.detail:
            where = f"{name_of(result, home)}, cell [{result.cell}]"
            lines = result.detail.splitlines()[-_DETAIL_LINES:]
            typer.echo("\n".join(["", f"{where}:", *(f"  {line}" for line in lines)]))


def name_of(result: NotebookTest, home: Path) -> str:
    """The notebook as a person names it: relative to the home, if it is there."""
    file, home = result.notebook.resolve(), home.resolve()
    return file.relative_to(home).as_posix() if file.is_relative_to(home) else file.name
