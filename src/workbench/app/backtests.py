"""A backtest on the installation's own data, and its place in the ledger of trials."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from workbench.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

    from workbench.app.research_desk import ResearchDesk
    from workbench.research.costs import Assumptions
    from workbench.research.engines import Engine
    from workbench.research.result import BacktestResult
    from workbench.strategies.base import Strategy


def backtest(
    workbench: ResearchDesk,
    strategy: Strategy,
    symbols: Sequence[str] | None,
    start: date | None,
    end: date | None,
    *,
    engine: Engine,
    benchmark: str | pd.Series[float] | None,
    assumptions: Assumptions,
    progress: Callable[..., Iterable[Any]] | None,
    cleaned: bool = False,
) -> BacktestResult:
    """Read the bars, run the strategy, and put the trial on record; see :meth:`ResearchDesk.backtest`."""
    from workbench.app.reading import choose
    from workbench.data.adjust import adjust
    from workbench.research.engines import backtest as run

    lake = workbench.lake
    chosen = choose(workbench, symbols, end, cleaned=cleaned)
    snapshot = chosen.snapshot
    known = lake.symbols(snapshot)
    if not known:
        raise DataError("the lake has no bars", hint="`workbench data load` loads the sample")
    names = list(symbols) if symbols else known
    read = [*names, benchmark] if isinstance(benchmark, str) and benchmark not in names else names
    raw = lake.bars(read, end=end, adjustment="raw", snapshot=snapshot, cleaned=cleaned)
    actions = lake.actions(read, end=end, snapshot=raw.snapshot, cleaned=cleaned)
    total = adjust(raw, actions, "total")
    against = total.close[benchmark] if isinstance(benchmark, str) else benchmark
    made = run(
        strategy,
        total.select(names),
        raw.select(names),
        actions,
        start=start,
        end=end,
        assumptions=replace(assumptions, data=chosen.data),
        engine=engine,
        benchmark=against,
        calendar=workbench.calendar.name,
        progress=progress,
    )
    _record(workbench, strategy, made, raw.snapshot)
    return made


def _record(workbench: ResearchDesk, strategy: Strategy, made: BacktestResult, snapshot: int) -> None:
    """One trial of one combination: trying again with the same parameters, on any day, is no new one."""
    import pandas as pd

    from workbench.research.trials import METRICS, Study, strategy_name, study_id

    what: dict[str, Any] = {
        "strategy": strategy_name(strategy),
        "symbols": tuple(str(name) for name in made.positions.columns),
        "first_session": made.equity.index[0].date(),
        "last_session": made.equity.index[-1].date(),
        "snapshot": snapshot,
        "engine": made.engine,
        "assumptions": asdict(made.assumptions),
    }
    parameters = strategy.model_dump()
    study = Study(sweep_id=study_id(parameters=parameters, **what), sessions=len(made.equity), held=parameters, **what)
    change = made.returns
    spread = float(change.std(ddof=1)) if len(change) > 1 else 0.0
    values = {name: made.metrics.get(name, float("nan")) for name in METRICS}
    values["sharpe_per_session"] = float(change.mean()) / spread if spread > 0 else float("nan")
    workbench.trials.add(pd.DataFrame([values]), study, at=workbench.clock.now())


def resolve(value: str | Strategy, parameters: dict[str, object]) -> Strategy:
    """The strategy itself, or the one of that name with those parameters.

    Raises
    ------
    ConfigError
        If parameters are given beside a strategy that has its own.
    """
    from workbench.strategies import load

    if isinstance(value, str):
        return load(value, parameters)
    if parameters:
        raise ConfigError(f"{type(value).__name__} has its parameters already", hint="pass the strategy's name instead")
    return value
