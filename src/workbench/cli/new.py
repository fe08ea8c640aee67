"""``workbench new notebook | strategy | pipeline``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from workbench.jobs.scaffold import Scaffold

app = typer.Typer(help="Begin a notebook, a strategy or a pipeline that passes every check.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="new")


@app.command()
def notebook(name: Annotated[str, typer.Argument(help="For example 07_earnings.")]) -> None:
    """A research notebook on the installation's prices, in notebooks/."""
    from workbench.jobs.scaffold import new_notebook
    from workbench.settings import load_settings

    _say(new_notebook(name, load_settings()))


@app.command()
def strategy(name: Annotated[str, typer.Argument(help="For example mean_reversion.")]) -> None:
    """A strategy and its tests, in src/workbench/strategies/ and tests/strategies/."""
    from workbench.jobs.scaffold import new_strategy
    from workbench.settings import load_settings

    _say(new_strategy(name, load_settings()))


@app.command()
def pipeline(
    name: Annotated[str, typer.Argument(help="For example weekly.")],
    orders: Annotated[bool, typer.Option("--orders", help="Let its notebook place orders.")] = False,
) -> None:
    """A production job of one notebook, in pipelines/."""
    from workbench.jobs.scaffold import new_pipeline
    from workbench.settings import load_settings

    _say(new_pipeline(name, load_settings(), orders=orders))


def _say(made: Scaffold) -> None:
    for file in made.files:
        typer.echo(file)
    for line in made.then:
        typer.echo(f"  next     {line}")
