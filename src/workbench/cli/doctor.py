"""``workbench doctor``: what keeps the product from working, and what to do about it."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.output import Json, show


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Only this examination; may be repeated.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Without importing every engine, which takes 10 s.")] = False,
    as_json: Json = False,
) -> None:
    """Check the installation and the machine. Exit code 1 if something fails; a warning is no failure."""
    from workbench.clock import SystemClock
    from workbench.ops.doctor import examine
    from workbench.settings import load_settings

    checks = examine(load_settings(), SystemClock(), only=only, quick=quick)
    rows = [{"check": c.name, "state": c.state, "found": c.found, "fix": c.fix} for c in checks]
    show(rows, ["state", "check", "found", "fix"], as_json=as_json, empty="nothing to check")
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(1)
