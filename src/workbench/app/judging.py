"""Look-ahead checks and verdicts on the lake's data; what a verdict tries goes into the trial ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from workbench.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

    from workbench.app.research_desk import ResearchDesk
    from workbench.data.bars import Bars
    from workbench.research.costs import Assumptions
    from workbench.research.honesty.lookahead import Lookahead
    from workbench.research.honesty.trial_returns import TrialReturns
    from workbench.research.honesty.verdict import Verdict
    from workbench.strategies.base import Strategy

Progress = Callable[[list[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Question:
    """A strategy, and the data it is asked about."""

    strategy: Strategy
    total: Bars
    raw: Bars
    actions: pd.DataFrame
    first: date
    last: date
    data: str = "raw"


def ask(
    workbench: ResearchDesk,
    strategy: str | Strategy,
    parameters: Mapping[str, object],
    symbols: Sequence[str] | None,
    start: date | str | None,
    end: date | str | None,
    *,
    cleaned: bool = False,
) -> Question:
    """Read what a strategy is to be judged on, from one snapshot of the lake.

    Raises
    ------
    DataError
        If a symbol is unknown, there are no bars in the window, or none was cleaned that should be.
    ConfigError
        If the strategy or a parameter is wrong, or a date is none.
    """
    from workbench.app.installation import as_date
    from workbench.app.reading import choose

    made = workbench.strategy(strategy, **parameters) if isinstance(strategy, str) else strategy
    first, last = as_date(start), as_date(end)
    if first is not None and last is not None and first > last:
        raise DataError(f"no sessions from {first} to {last}: the window ends before it begins")
    until = min((day for day in (last, workbench.visible_until) if day is not None), default=None)
    lake = workbench.lake
    names = list(symbols) if symbols else None
    chosen = choose(workbench, names, until, cleaned=cleaned)
    snapshot = chosen.snapshot or lake.snapshot()
    total = lake.bars(names, end=until, adjustment="total", snapshot=snapshot, cleaned=cleaned)
    raw = lake.bars(names, end=until, adjustment="raw", snapshot=snapshot, cleaned=cleaned)
    begin = first or raw.sessions[0].date()
    if not len(raw.between(begin, None)):
        raise DataError(
            f"no sessions from {begin} to {until or 'the last'}",
            hint=f"the bars cover {raw.sessions[0]:%Y-%m-%d} to {raw.sessions[-1]:%Y-%m-%d}",
        )
    final = raw.sessions[-1].date()
    actions = lake.actions(raw.symbols, start=begin, end=final, snapshot=snapshot, cleaned=cleaned)
    return Question(made, total, raw, actions, begin, final, chosen.data)


def lookahead(question: Question, *, cuts: int | None, seed: int, progress: Progress) -> Lookahead:
    """Check a strategy for look-ahead on the window that was asked about."""
    from workbench.research.honesty.lookahead import check_lookahead

    bars = question.total.between(question.first, question.last)
    return check_lookahead(question.strategy, bars, cuts=cuts, seed=seed, progress=progress)


def trial_returns(
    workbench: ResearchDesk, question: Question, strategies: Sequence[Strategy], progress: Progress
) -> TrialReturns:
    """Simulate several strategies of one kind on the window, and put all of them on record."""
    from workbench.research.honesty.trial_returns import trial_returns as simulate

    kinds = {type(strategy) for strategy in strategies}
    if len(kinds) > 1:
        raise ConfigError(f"{len(kinds)} strategies at once", hint="trials differ in parameters only")
    made = simulate(
        strategies, question.total, question.raw, question.actions, start=question.first, end=question.last,
        assumptions=_assumptions(workbench, question), progress=progress,
    )  # fmt: skip
    _record(workbench, made, question)
    return made


def verdict(
    workbench: ResearchDesk, question: Question, *, grid: Sequence[Strategy], seed: int, progress: Progress
) -> Verdict:
    """Judge a strategy with every trial that the ledger has, and put those of the verdict on record."""
    from workbench.research.honesty.verdict import verdict as judge

    made = judge(
        question.strategy, question.total, question.raw, question.actions, start=question.first, end=question.last,
        assumptions=_assumptions(workbench, question), grid=grid, ledger=workbench.trials, seed=seed, progress=progress,
    )  # fmt: skip
    _record(workbench, made.trials, question)
    return made


def _assumptions(workbench: ResearchDesk, question: Question) -> Assumptions:
    """Those of the workbench, which say what was read."""
    return replace(workbench.assumptions, data=question.data)


def _record(workbench: ResearchDesk, trials: TrialReturns, question: Question) -> None:
    from workbench.research.honesty.counting import trial_table
    from workbench.research.trials import Study, strategy_name, study_id

    window = question.raw.between(question.first, question.last)
    common: dict[str, Any] = {
        "strategy": strategy_name(question.strategy),
        "symbols": tuple(question.raw.symbols),
        "first_session": window.sessions[0].date(),
        "last_session": window.sessions[-1].date(),
        "snapshot": question.raw.snapshot,
        "assumptions": asdict(_assumptions(workbench, question)),
    }
    sweep_id = study_id(kind="returns", parameters=trials.parameters.to_dict("list"), **common)
    study = Study(sweep_id=sweep_id, sessions=len(window), engine="kernel", **common)
    workbench.trials.add(trial_table(trials), study, at=workbench.clock.now())
