"""``workbench data versions``: the snapshots of the lake."""

from __future__ import annotations

import typer

from workbench.cli.output import Json, show


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


def compact() -> None:
    """Merge the small files that daily loads leave behind; every snapshot reads as before."""
    from workbench.app import open_workbench

    workbench = open_workbench()
    try:
        fewer = workbench.lake.compact()
        typer.echo(f"{fewer} files fewer" if fewer else "there is nothing to merge")
    finally:
        workbench.close()
