"""Listings: a table for people, ``--json`` for programs."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Cleaned = Annotated[
    bool, typer.Option("--cleaned", help="Read bars with the repairs of `workbench data clean`; the trial says so.")
]
Account = Annotated[str | None, typer.Option(help="Only this account.")]


def show(rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    """Print rows. JSON has every key of every row; the table has ``columns``, numbers to the right."""
    if as_json:
        typer.echo(json.dumps([dict(row) for row in rows], default=_plain, indent=2))
        return
    if not rows:
        typer.echo(empty)
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        numeric = all(isinstance(row.get(column), int | float | Decimal | None) for row in rows)
        table.add_column(column.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console().print(table)


def who() -> str:
    """The person at the keyboard; a user without a name is known by number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal; a pipe gets lines that are not cut."""
    from rich.console import Console as Plain

    class Console(Plain):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would exit with 1, which here means that a notebook failed

    found = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    return found if found.is_terminal else Console(stderr=stderr, width=200, highlight=False, markup=False, emoji=False)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Decimal | float):
        size = abs(float(value))
        number = f"{value:,.4f}".rstrip("0").rstrip(".")
        return number if "." not in number else f"{value:,.2f}" if size >= 1000 else number
    return str(value)


def _plain(value: object) -> object:
    """What JSON can hold: decimals as numbers, moments as ISO 8601."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
