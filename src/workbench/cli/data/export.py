"""``workbench data export``: what the lake has, as a file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.data.choices import First, Last, Moment, Snapshot, Symbols, parse_moment, parse_symbols
from workbench.cli.run import parse_date


class Table(StrEnum):
    BARS = "bars"
    MINUTES = "minutes"
    ACTIONS = "actions"
    LISTINGS = "listings"
    FUNDAMENTALS = "fundamentals"
    DOCUMENTS = "documents"
    QUOTES = "quotes"


class Adjusted(StrEnum):
    RAW = "raw"
    SPLIT = "split"
    TOTAL = "total"


def export(
    file: Annotated[Path, typer.Argument(help="Ends in .parquet, .csv or .csv.gz.")],
    symbols: Symbols = None,
    table: Annotated[Table, typer.Option(help="What is written.")] = Table.BARS,
    start: First = None,
    end: Last = None,
    adjustment: Annotated[Adjusted, typer.Option(help="Prices as traded, or comparable with the last.")] = Adjusted.RAW,
    cleaned: Annotated[bool, typer.Option("--cleaned", help="With the repairs applied.")] = False,
    snapshot: Snapshot = None,
    moment: Moment = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the file if it is there.")] = False,
) -> None:
    """Write bars, actions or other tables to a file, whole or not at all.

    Raw bars are those of the tickers as traded; loading the file gives the same bars again.
    """
    from workbench.app import open_workbench

    workbench = open_workbench()
    try:
        count = workbench.lake.export(
            file,
            parse_symbols(symbols),
            table=table.value,
            start=None if start is None else parse_date(start),
            end=None if end is None else parse_date(end),
            adjustment=adjustment.value,
            snapshot=snapshot,
            at=parse_moment(moment),
            cleaned=cleaned,
            replace=replace,
        )
    finally:
        workbench.close()
    typer.echo(f"{file}: {count:,} rows of {table.value}")
