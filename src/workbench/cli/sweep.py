"""``workbench sweep``: every combination of some parameters on the lake, and what they are worth together."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.output import Cleaned, Json, show
from workbench.errors import ConfigError, RunCancelled

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

    from workbench.research.sweeping import SweepResult

_MOST_VALUES = 1_000_000


def register(app: typer.Typer) -> None:
    app.command()(sweep)


def sweep(
    strategy: Annotated[str, typer.Argument(help="A file of workbench.strategies, such as momentum.")],
    parameters: Annotated[
        list[str],
        typer.Option(
            "-p",
            "--parameter",
            metavar="KEY=VALUES",
            help="Values of a parameter: 5,10,20, or 5:100, or 20:300:5 in steps; the last value is included.",
        ),
    ],
    symbols: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Symbols, separated by commas; all of the lake if left out.")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", metavar="DATE", help="First session decided on.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Last session.")] = None,
    assume: Annotated[
        list[str] | None,
        typer.Option("-a", "--assume", metavar="KEY=VALUE", help="Change an assumption, such as fill=next_close."),
    ] = None,
    by: Annotated[str, typer.Option(help="Metric that the best are chosen by.")] = "sharpe",
    top: Annotated[int, typer.Option(min=1, help="How many of the best to show.")] = 10,
    cluster: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Compute on the workers of this dask scheduler.")
    ] = None,
    cleaned: Cleaned = False,
    as_json: Json = False,
) -> None:
    """Simulate every combination of some parameters; every one is counted as a trial.

    An interrupted sweep goes on where it was when it is started again.
    Exit codes: 0, 64 a bad argument, 65 bad data, 143 interrupted.
    """  # fmt: skip
    from workbench.app import open_workbench
    from workbench.cli.backtest import _names
    from workbench.cli.run import parse_date, parse_parameters
    from workbench.research.sweeping.result import metric_name

    grid, by = parse_grid(parameters), metric_name(by)
    workbench = open_workbench()
    client = _client(cluster) if cluster is not None else None
    try:
        made = workbench.sweep(
            strategy,
            grid,
            symbols=_names(symbols),
            start=parse_date(start) if start is not None else None,
            end=parse_date(end) if end is not None else None,
            assumptions=workbench.assumptions.assuming(parse_parameters(assume)),
            client=client,
            cleaned=cleaned,
        )
        best, plateau = made.best(top, by), made.plateau(by)
    except KeyboardInterrupt as stop:
        raise RunCancelled(f"interrupted: {stop}") from stop
    finally:
        workbench.close()
        if client is not None:
            client.close()  # type: ignore[no-untyped-call]  # no types
    if as_json:
        typer.echo(json.dumps(_document(made, best, plateau, by), indent=2))
    else:
        _print(made, best, plateau, by)


def parse_grid(given: Sequence[str]) -> dict[str, list[Any]]:
    """Read ``KEY=VALUES``: values separated by commas, each one a value, FIRST:LAST or FIRST:LAST:STEP.

    Raises
    ------
    ConfigError
        If an argument is not of that form, a parameter is given twice, or a range has no values or far too many.

    >>> parse_grid(["fast=5:7", "share=0.1:0.3:0.1,0.5", "side=long,short"])
    {'fast': [5, 6, 7], 'share': [0.1, 0.2, 0.3, 0.5], 'side': ['long', 'short']}
    """
    grid: dict[str, list[Any]] = {}
    for text in given:
        name, equals, listed = text.partition("=")
        if not (name and equals and listed):
            raise ConfigError(f"-p {text!r} is not KEY=VALUES", hint="write -p fast=5:100 or -p fast=5,10,20")
        if name in grid:
            raise ConfigError(f"parameter {name!r} is given twice", hint=f"list its values: -p {name}=5,10:20")
        grid[name] = [value for part in listed.split(",") for value in _values(name, part.strip())]
    return grid


def _values(name: str, part: str) -> list[Any]:
    if ":" not in part:
        try:
            return [_plain(Decimal(part))]
        except InvalidOperation:
            return [part]
    try:
        first, last, step = [Decimal(number) for number in [*part.split(":"), "1"][:3]]
        wrong = len(part.split(":")) > 3 or not all(number.is_finite() for number in (first, last, step))
    except (InvalidOperation, ValueError):
        wrong = True
    if wrong:
        raise ConfigError(
            f"-p {name}: {part!r} is no range", hint="write FIRST:LAST or FIRST:LAST:STEP, such as 20:300:5"
        )
    if step <= 0 or last < first:
        raise ConfigError(f"-p {name}: the range {part} has no values", hint="first <= last, and a step above 0")
    count = int((last - first) / step) + 1
    if count > _MOST_VALUES:
        raise ConfigError(f"-p {name}: the range {part} has {count:,} values", hint="take a larger step")
    return [_plain(first + number * step) for number in range(count)]


def _plain(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() and number.as_tuple().exponent == 0 else float(number)


def _client(address: str) -> Client:
    from distributed import Client

    try:
        return Client(address, timeout=10, set_as_default=False)  # type: ignore[no-untyped-call]  # no types
    except (OSError, ValueError) as error:
        raise ConfigError(f"no dask scheduler at {address}", hint="start one: dask scheduler") from error


def _print(made: SweepResult, best: pd.DataFrame, plateau: pd.DataFrame, by: str) -> None:
    typer.echo(
        f"{len(made):,} combinations of {made.strategy} on {', '.join(made.symbols)},"
        f" {made.first_session} to {made.last_session}, in {made.seconds:.2f} s"
        + (f" ({made.resumed:,} from before)" if made.resumed else "")
    )
    changed = made.assumptions.changed()
    if changed:
        typer.echo("assuming " + ", ".join(f"{name}={value}" for name, value in changed.items()))
    columns = [*map(str, best.index.names), *[str(name) for name in best.columns if name != "flag"]]
    show(_rows(best), columns, as_json=False, empty="no combination has that metric")
    if len(plateau):
        chosen = " ".join(f"{name}={value}" for name, value in _chosen(plateau).items())
        own, middle, lowest = (plateau[name].iloc[0] for name in (by, "neighbours", "lowest"))
        typer.echo(f"\nmost stable: {chosen}: {by} {own:.2f}; with its neighbours {middle:.2f}, at least {lowest:.2f}")
    if made.refused:
        typer.echo(f"refused: {made.refused:,} combinations, the first {made.refusal}")
    for flag, count in _flags(made).items():
        typer.echo(f"flagged: {count:,} {flag}")
    typer.echo(
        f"trials of {made.strategy} on these symbols so far: {made.trials:,}; the best of many looks good by chance"
    )


def _document(made: SweepResult, best: pd.DataFrame, plateau: pd.DataFrame, by: str) -> dict[str, object]:
    return {
        "sweep_id": made.sweep_id,
        "strategy": made.strategy,
        "symbols": made.symbols,
        "first_session": made.first_session.isoformat(),
        "last_session": made.last_session.isoformat(),
        "sessions": made.sessions,
        "snapshot": made.snapshot,
        "assumptions": made.assumptions.changed(),
        "held": made.held,
        "combinations": len(made),
        "resumed": made.resumed,
        "refused": made.refused,
        "refusal": made.refusal,
        "flags": _flags(made),
        "trials": made.trials,
        "seconds": made.seconds,
        "compile_s": made.compile_s,
        "by": by,
        "best": _rows(best),
        "plateau": _rows(plateau.head(1))[0] if len(plateau) else None,
    }


def _rows(table: pd.DataFrame) -> list[dict[str, object]]:
    """Rows with their parameters; a value that is not defined is left empty."""
    rows = table.reset_index().to_dict("records")
    return [{str(name): _finite(value) for name, value in row.items() if name != "flag"} for row in rows]


def _chosen(plateau: pd.DataFrame) -> Mapping[str, object]:
    (row,) = plateau.head(1).index.to_frame(index=False).to_dict("records")
    return {str(name): value for name, value in row.items()}


def _flags(made: SweepResult) -> dict[str, int]:
    counts = made.table["flag"].value_counts()
    return {str(flag): int(count) for flag, count in counts.items() if flag}


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
