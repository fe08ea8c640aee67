"""``workbench data load``: bring data into the lake."""

from __future__ import annotations

import typer


def load() -> None:
    """Load the sample data; loading it again changes nothing."""
    from workbench.app import open_workbench

    workbench = open_workbench()
    try:
        for result in workbench.load_sample():
            typer.echo(
                f"{result.source}: {result.rows_read} rows read, {result.rows_added} added, {result.rows_restated}"
                f" restated, {result.actions_added} corporate actions, snapshot {result.snapshot}"
            )
    finally:
        workbench.close()
