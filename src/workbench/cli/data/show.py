"""``workbench data show | versions``: what is in the lake."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.output import Json, show


def coverage(
    snapshot: Annotated[int | None, typer.Option(help="As known in this snapshot.")] = None,
    as_json: Json = False,
) -> None:
    """Symbols with their first and last session."""
    from workbench.app import open_workbench

    workbench = open_workbench()
    try:
        frame = workbench.lake.coverage(snapshot=snapshot).reset_index()
        rows = [
            {"symbol": row["symbol"], "first": row["first"].date(), "last": row["last"].date(), "rows": row["rows"]}
            for row in frame.to_dict("records")
        ]
        show(rows, ["symbol", "first", "last", "rows"], as_json=as_json, empty="the lake is empty")
    finally:
        workbench.close()


def versions(as_json: Json = False) -> None:
    """Snapshots of the lake; every read can name one."""
    from workbench.app import open_workbench

    workbench = open_workbench()
    try:
        frame = workbench.lake.snapshots()
        rows = [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
        show(rows, [str(column) for column in frame.columns], as_json=as_json, empty="the lake is empty")
    finally:
        workbench.close()
