"""``workbench demo``: the main job, end to end, on the sample data."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from workbench.cli.progress import TerminalWatcher
    from workbench.jobs.runner import Runner

ACCOUNT = "demo"
FIRST, LAST = date(2013, 2, 1), date(2013, 3, 1)


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo() -> None:
    """Sample data, a research notebook, 20 sessions of paper orders, and a report."""
    from workbench.cli import run

    with run.opened_runner("daily") as (workbench, runner, watcher):
        typer.echo("1/4 data      Quandl WIKI sample, public domain")
        for result in workbench.load_sample():
            typer.echo(f"              {result.source}: {result.rows_read} rows, snapshot {result.snapshot}")
        typer.echo("2/4 research  notebooks/03_backtest.ipynb: one strategy, three engines")
        page = _research(workbench.settings.notebooks_dir, workbench.settings.data_dir, watcher, runner)
        typer.echo(f"              {page}")
        typer.echo(f"3/4 orders    daily pipeline, {FIRST} to {LAST}, account {ACCOUNT}, paper exchange")
        outcomes = run.replay_sessions(workbench, runner, watcher, "daily", FIRST, LAST, {}, ACCOUNT)
        typer.echo("4/4 report")
        run.describe_replay(workbench, outcomes)
        run.merge(workbench, runner)
        typer.echo("next: source .venv/bin/activate; then `workbench report --open`, `orders`, `lab`")


def _research(notebooks: Path, data: Path, watcher: TerminalWatcher, runner: Runner) -> Path:
    """Run the research notebook as it stands and keep its page."""
    output = data / "demo" / "03_backtest.ipynb"
    with watcher:
        return runner.notebook(notebooks / "03_backtest.ipynb", output)
