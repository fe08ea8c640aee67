"""``workbench data diff``: what changed between two snapshots."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from workbench.cli.data.choices import Symbols, parse_symbols
from workbench.cli.output import Json, show


def diff(
    old: Annotated[int, typer.Argument(metavar="A", help="A snapshot (see: workbench data versions).")],
    new: Annotated[int, typer.Argument(metavar="B", help="Another, usually a later one.")],
    symbols: Symbols = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many values.")] = 50,
    as_json: Json = False,
) -> None:
    """Values of bars, minutes and actions that are others at snapshot B than at A, and how many.

    A bar in only one of the two is one line, its close.
    """
    from workbench.app import open_workbench

    workbench = open_workbench()
    try:
        names = parse_symbols(symbols)
        counts = workbench.lake.diff_counts(old, new, names)
        frame = workbench.lake.diff(old, new, names, limit=limit)
    finally:
        workbench.close()
    rows = [
        {str(key): None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
        for row in frame.to_dict("records")
    ]
    columns = [str(column) for column in frame.columns]
    show(rows, columns, as_json=as_json, empty=f"snapshots {old} and {new} have the same bars and actions")
    if as_json or not rows:
        return
    for (table, change), found in counts.groupby(["table_name", "change"]):
        typer.echo(f"{found['rows'].sum():,} {table} {change}, of {len(found):,} symbols")
    if len(rows) == limit:
        typer.echo(f"the first {limit} values are shown; --limit shows more")
