"""``workbench doctor``: what keeps the product from working, and what to do about it."""

from __future__ import annotations

import typer

from workbench.cli.output import Json, show


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(as_json: Json = False) -> None:
    """Check the installation. Exit code 1 if something fails."""
    from workbench.clock import SystemClock
    from workbench.ops.doctor import examine
    from workbench.settings import load_settings

    checks = examine(load_settings(), SystemClock())
    rows = [{"check": c.name, "state": c.state, "found": c.found, "fix": c.fix} for c in checks]
    show(rows, ["state", "check", "found", "fix"], as_json=as_json, empty="nothing to check")
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(1)
