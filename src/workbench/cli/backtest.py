"""``workbench backtest``: one strategy on the lake, by one engine or by two that are compared."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.output import Cleaned, Json, show
from workbench.errors import ConfigError

if TYPE_CHECKING:
    from workbench.research.comparison import Comparison
    from workbench.research.result import BacktestResult

_SHOWN = (
    *("total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "calmar", "longest_drawdown_sessions"),
    *("exposure", "turnover", "trades", "win_rate", "profit_factor", "fills", "fees_usd", "final_equity_usd"),
    *("alpha", "beta", "excess_return", "tracking_error", "information_ratio"),
)


def register(app: typer.Typer) -> None:
    app.command()(backtest)


def backtest(
    strategy: Annotated[str, typer.Argument(help="A file of workbench.strategies, such as momentum.")],
    parameters: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", metavar="KEY=VALUE", help="Set a parameter of it.")
    ] = None,
    symbols: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Symbols, separated by commas; all of the lake if left out.")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", metavar="DATE", help="First session decided on.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Last session.")] = None,
    engine: Annotated[str, typer.Option(help="kernel, vectorbt or zipline.")] = "kernel",
    against: Annotated[
        str | None, typer.Option("--compare", metavar="ENGINE", help="Run this engine too; name what differs.")
    ] = None,
    assume: Annotated[
        list[str] | None,
        typer.Option("-a", "--assume", metavar="KEY=VALUE", help="Change an assumption, such as fill=next_close."),
    ] = None,
    benchmark: Annotated[str | None, typer.Option(metavar="SYMBOL", help="Measure against a symbol.")] = None,
    cleaned: Cleaned = False,
    as_json: Json = False,
) -> None:
    """Run a strategy on the lake's bars; the trial is put on record.

    Exit codes: 0, 1 if two compared engines differ by a cent that cannot be attributed, 64 a bad argument, 65 bad data.
    """
    from workbench.app import open_workbench
    from workbench.cli.run import parse_date, parse_parameters

    engines = [engine] if against is None else [engine, against]
    if len(set(engines)) != len(engines):
        raise ConfigError(f"--compare {against} is the engine itself", hint="name another one")
    workbench = open_workbench()
    given: dict[str, Any] = {
        "symbols": _names(symbols),
        "start": parse_date(start) if start is not None else None,
        "end": parse_date(end) if end is not None else None,
        "benchmark": benchmark,
        "assumptions": workbench.assumptions.assuming(parse_parameters(assume)),
        "progress": _bar,
        "cleaned": cleaned,
    }
    try:
        chosen = workbench.strategy(strategy, **parse_parameters(parameters))
        made = [workbench.backtest(chosen, **given | {"engine": name}) for name in engines]
    finally:
        workbench.close()
    comparison = None
    if len(made) == 2:
        from workbench.research import compare

        comparison = compare(*made)
    if as_json:
        typer.echo(json.dumps(_document(strategy, chosen.model_dump(), made, comparison), indent=2))
    else:
        _print(strategy, chosen.model_dump(), made, comparison)
    if comparison is not None and not comparison.explained_to_the_cent:
        raise typer.Exit(1)


def _names(symbols: str | None) -> list[str] | None:
    if symbols is None:
        return None
    names = [name.strip() for name in symbols.split(",") if name.strip()]
    if not names:
        raise ConfigError(f"--symbols {symbols!r} names none", hint="write them as AAPL,IBM")
    return names


def _bar(events: Any, **how: Any) -> Any:
    """A progress bar on the error stream of a terminal; silent in a pipe."""
    from tqdm import tqdm

    return tqdm(events, disable=None, leave=False, **how)


def _print(
    strategy: str, parameters: dict[str, object], made: list[BacktestResult], comparison: Comparison | None
) -> None:
    index = made[0].equity.index
    settings = ", ".join(f"{name}={value}" for name, value in parameters.items())
    names = ", ".join(str(name) for name in made[0].positions.columns)
    typer.echo(f"{strategy}({settings}) on {names}, {index[0]:%Y-%m-%d} to {index[-1]:%Y-%m-%d}")
    changed = made[0].assumptions.changed()
    if changed:
        typer.echo("assuming " + ", ".join(f"{name}={value}" for name, value in changed.items()))
    rows = [
        {"metric": name.replace("_", " ")} | {one.engine: _finite(one.metrics[name]) for one in made}
        for name in _SHOWN
        if name in made[0].metrics
    ]
    show(rows, ["metric", *(one.engine for one in made)], as_json=False, empty="")
    for one in made:
        for flag in one.flags:
            typer.echo(f"note ({one.engine}): {flag}")
    if comparison is not None:
        _print_comparison(comparison)


def _print_comparison(comparison: Comparison) -> None:
    if comparison.equal_to_the_cent:
        typer.echo(f"the engines agree to the cent on {len(comparison.equity)} closes")
        return
    said = comparison.summary
    typer.echo(
        f"the engines differ from {said['first_difference']} on, by {said['final_difference_usd']:,.2f} USD in the end "
        f"({said['differing_fills']} fills differ), because of"
    )
    rows = [{"part": name, "usd": value} for name, value in comparison.parts.items()]
    show(rows, ["part", "usd"], as_json=False, empty="nothing that remains in the end")


def _document(
    strategy: str, parameters: dict[str, object], made: list[BacktestResult], comparison: Comparison | None
) -> dict[str, object]:
    index = made[0].equity.index
    document: dict[str, object] = {
        "strategy": strategy,
        "parameters": parameters,
        "symbols": [str(name) for name in made[0].positions.columns],
        "first_session": f"{index[0]:%Y-%m-%d}",
        "last_session": f"{index[-1]:%Y-%m-%d}",
        "assumptions": made[0].assumptions.changed(),
        "engines": {
            one.engine: {
                "metrics": {name: _finite(value) for name, value in one.metrics.items()},
                "flags": list(one.flags),
            }
            for one in made
        },
    }
    if comparison is not None:
        document["comparison"] = {
            **{
                name: str(value) if hasattr(value, "isoformat") else value for name, value in comparison.summary.items()
            },
            "equal_to_the_cent": comparison.equal_to_the_cent,
            "parts_usd": {str(name): float(value) for name, value in comparison.parts.items()},
        }
    return document


def _finite(value: float) -> float | None:
    """JSON and the table have no NaN: a ratio that is not defined is left out."""
    return value if math.isfinite(value) else None
