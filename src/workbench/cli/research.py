"""``workbench research lookahead | verdict | trials``: whether a strategy can be believed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.output import Cleaned, Json, console, show
from workbench.cli.run import parse_date, parse_parameters
from workbench.errors import ConfigError

if TYPE_CHECKING:
    from workbench.app import Workbench
    from workbench.app.research_desk import Progress

app = typer.Typer(help="Whether a strategy can be believed.", no_args_is_help=True)

_ARGUMENTS = {"strategy", "symbols", "start", "end", "cuts", "grid", "seed", "progress", "cleaned"}
FOUND = 1  # a fault was found, or the verdict is "undermined"
TRIALS = ["strategy", "symbols", "trials", "sweeps", "first", "last", "best_sharpe", "deviation"]

Name = Annotated[str, typer.Argument(metavar="STRATEGY", help="A file in workbench.strategies, for example momentum.")]
Parameter = Annotated[
    list[str] | None, typer.Option("-p", "--parameter", metavar="KEY=VALUE", help="Set a parameter of the strategy.")
]
Symbols = Annotated[str | None, typer.Option(metavar="A,B,C", help="Symbols; all of the lake if left out.")]
First = Annotated[str | None, typer.Option("--from", metavar="DATE", help="First session; earlier ones warm up.")]
Last = Annotated[str | None, typer.Option("--to", metavar="DATE", help="Last session; nothing later is read.")]
Seed = Annotated[int, typer.Option(min=0, help="For everything that is drawn.")]


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="research")


@app.command()
def lookahead(
    strategy: Name,
    parameter: Parameter = None,
    symbols: Symbols = None,
    start: First = None,
    end: Last = None,
    cuts: Annotated[
        int, typer.Option(min=0, help="Sessions that are decided with nothing later known; 0 is every session.")
    ] = 100,
    seed: Seed = 0,
    cleaned: Cleaned = False,
    as_json: Json = False,
) -> None:
    """Look for a use of the future; exit 0 if none was found, 1 if there is one.

    Says what was looked at, and what not: sessions, parameters, lines and branches of the strategy's code.
    """
    values, names = _values(parameter), _names(symbols)
    first, last = _dates(start, end)
    with _opened() as workbench, _bar("looking", as_json) as progress:
        look = workbench.lookahead(
            strategy,
            symbols=names,
            start=first,
            end=last,
            cuts=cuts or None,
            seed=seed,
            progress=progress,
            cleaned=cleaned,
            **values,
        )
    if as_json:
        typer.echo(json.dumps({"strategy": strategy, **look.to_dict()}, indent=2))
    else:
        typer.echo(f"{strategy}: {look.fault or 'no look-ahead found'}")
        for checked, row in look.table.iterrows():
            of = f" of {row['of']}" if row["of"] != "" else ""
            typer.echo(f"  {checked:<30} {row['checked']}{of}")
        for sets in look.parameters:
            typer.echo(f"  checked        {sets}")
        for line in (*look.paths.missed, *filter(None, [look.paths.note])):
            typer.echo(f"  not exercised  {line}")
        for caution in look.cautions:
            typer.echo(f"  caution        {caution}")
    if look.fault:
        raise typer.Exit(FOUND)


@app.command()
def verdict(
    strategy: Name,
    parameter: Parameter = None,
    symbols: Symbols = None,
    start: First = None,
    end: Last = None,
    seed: Seed = 0,
    cleaned: Cleaned = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the page as HTML too.")] = None,
    as_json: Json = False,
) -> None:
    """Say what supports and what undermines a strategy; exit 0 if supported or open, 1 if undermined.

    Every combination that was ever tried on it and these symbols counts. The neighbours of its parameters that the
    verdict tries are put on record too.
    """
    values, names = _values(parameter), _names(symbols)
    first, last = _dates(start, end)
    if html is not None and not html.absolute().parent.is_dir():
        raise ConfigError(f"--html {html}: there is no folder {html.parent}")
    with _opened() as workbench, _bar("judging", as_json) as progress:
        made = workbench.verdict(
            strategy, symbols=names, start=first, end=last, seed=seed, progress=progress, cleaned=cleaned, **values
        )
    if html is not None:
        from workbench.research.honesty.page import html_document

        html.write_text(html_document(made), encoding="utf-8")
    typer.echo(json.dumps(made.to_dict(), indent=2) if as_json else str(made))
    if made.word == "undermined":
        raise typer.Exit(FOUND)


@app.command()
def trials(
    strategy: Annotated[str | None, typer.Option(help="Only this strategy.")] = None,
    as_json: Json = False,
) -> None:
    """List how many combinations were ever tried, by strategy and symbols; nothing is ever forgotten."""
    with _opened() as workbench:
        summary = workbench.trials.summary().reset_index()
    rows = [
        {
            "strategy": row["strategy"],
            "symbols": row["symbols"],
            "trials": int(row["trials"]),
            "sweeps": int(row["sweeps"]),
            "first": row["first_at"].to_pydatetime().date(),
            "last": row["last_at"].to_pydatetime().date(),
            "best_sharpe": _number(row["best_sharpe_per_session"]),
            "deviation": _number(row["variance_sharpe_per_session"], 0.5),
        }
        for row in summary.to_dict("records")
        if strategy is None or row["strategy"] == strategy
    ]
    show(rows, TRIALS, as_json=as_json, empty="nothing was tried yet")
    if rows and not as_json:
        typer.echo("\nSharpe ratios per session, not annualised; deviation is that of the combinations'.")


def _number(value: float, power: float = 1.0) -> float | None:
    return float(value) ** power if value == value else None  # NaN is unlike itself


def _values(parameter: list[str] | None) -> dict[str, Any]:
    """Parameters of the strategy as text; its model says what they are."""
    values: dict[str, Any] = dict(parse_parameters(parameter))
    taken = sorted(values.keys() & _ARGUMENTS)
    if taken:
        raise ConfigError(f"-p {taken[0]}: a strategy's parameter of that name cannot be given here")
    return values


def _names(symbols: str | None) -> list[str] | None:
    if symbols is None:
        return None
    names = [name.strip() for name in symbols.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise ConfigError(f"--symbols {symbols!r}: names separated by commas, each once")
    return names


def _dates(start: str | None, end: str | None) -> tuple[date | None, date | None]:
    first = parse_date(start) if start is not None else None
    last = parse_date(end) if end is not None else None
    if first is not None and last is not None and first > last:
        raise ConfigError(f"--from {first} is after --to {last}")
    return first, last


@contextmanager
def _opened() -> Iterator[Workbench]:
    from workbench.app import open_workbench

    workbench = open_workbench()
    try:
        yield workbench
    finally:
        workbench.close()


@contextmanager
def _bar(what: str, quiet: bool) -> Iterator[Progress]:
    """A progress bar on the error stream, if that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    screen = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal) as bar:

        def wrapped(stages: list[Any]) -> Iterable[Any]:
            return bar.track(stages, description=what)

        yield wrapped
