"""Returns of many parameter combinations side by side: what cross-validation and the tests for snooping work on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from workbench.data.bars import Bars
from workbench.errors import DataError
from workbench.research.costs import Assumptions
from workbench.research.engines import kernel
from workbench.research.honesty.parameter_sets import bounds
from workbench.research.inputs import prepare
from workbench.strategies.base import Strategy

Progress = Callable[[list[Any]], Iterable[Any]]
MEMORY_BYTES = 512 * 1024**2
_FACTORS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.45, 1.7, 2.0)


@dataclass(frozen=True)
class TrialReturns:
    """Simple returns per session of several combinations of a strategy's parameters, after costs.

    Attributes
    ----------
    returns
        Sessions x trials, float64; the first session of the window, which has no return, is left out.
    parameters
        Trials x parameters, indexed like the columns of ``returns``.
    strategies
        In the same order.
    """

    returns: pd.DataFrame
    parameters: pd.DataFrame
    strategies: tuple[Strategy, ...]

    @property
    def values(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        return self.returns.to_numpy(dtype=float)

    def position(self, strategy: Strategy) -> int:
        """Which trial a strategy is.

        Raises
        ------
        DataError
            If it is none of them.
        """
        for at, each in enumerate(self.strategies):
            if each == strategy:
                return at
        raise DataError(f"{strategy!r} is not one of the {len(self.strategies)} trials")


def trial_returns(
    strategies: Sequence[Strategy],
    bars_split: Bars,
    bars_raw: Bars,
    actions: pd.DataFrame,
    *,
    start: date | None = None,
    end: date | None = None,
    assumptions: Assumptions,
    max_bytes: int = MEMORY_BYTES,
    progress: Progress = list,
) -> TrialReturns:
    """Backtest every strategy in the kernel and keep its returns only, 8 bytes per session and trial.

    Raises
    ------
    DataError
        If there is no strategy, the table would be larger than ``max_bytes``, or a backtest is refused; the message
        names the parameters.
    """
    sessions = len(bars_raw.between(start, end))
    if not strategies or sessions < 2:
        raise DataError(f"{len(strategies)} trials on {sessions} sessions have no returns", hint="widen the window")
    need = 8 * sessions * len(strategies)
    if need > max_bytes:
        raise DataError(
            f"returns of {len(strategies)} trials x {sessions} sessions need {need / 1024**2:,.0f} MB, the limit is"
            f" {max_bytes / 1024**2:,.0f} MB",
            hint="give fewer combinations",
        )
    table = np.empty((sessions - 1, len(strategies)), order="F")
    index = bars_raw.between(start, end).sessions
    for column in progress(list(range(len(strategies)))):
        inputs = prepare(strategies[column], bars_split, bars_raw, actions, start, end, assumptions)
        equity = kernel.run(inputs, assumptions).equity
        if not (equity > 0).all():
            first = index[int(np.argmax(~(equity > 0)))]
            raise DataError(f"{strategies[column]!r} has no equity left on {first:%Y-%m-%d}", hint="leave it out")
        table[:, column] = equity[1:] / equity[:-1] - 1.0
    trials = pd.RangeIndex(len(strategies), name="trial")
    parameters = pd.DataFrame([each.model_dump() for each in strategies], index=trials)
    return TrialReturns(pd.DataFrame(table, index=index[1:], columns=trials), parameters, tuple(strategies))


def neighbourhood(strategy: Strategy, most: int = 60) -> list[Strategy]:
    """Strategies with similar parameters, the given one among them: from half to twice every number.

    As many values of each numeric parameter as make at most ``most`` combinations of all of them; what the strategy's
    own validation refuses is left out. Parameters that are not numbers keep their value.

    >>> from workbench.strategies import load
    >>> near = neighbourhood(load("momentum", {"lookback": 100, "top": 2}), most=9)
    >>> [(each.lookback, each.top) for each in near][:4]
    [(70, 1), (70, 2), (70, 3), (100, 1)]
    """
    model = type(strategy)
    numeric = {
        name: value
        for name, value in strategy.model_dump().items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    if not numeric:
        return [strategy]
    each = max(3, int(most ** (1.0 / len(numeric)) + 1e-9))
    values = {name: _around(model, name, value, each) for name, value in numeric.items()}
    if np.prod([len(v) for v in values.values()]) > most:  # too many parameters: one at a time
        moves = [{name: value} for name, choices in values.items() for value in choices]
    else:
        moves = [dict(zip(values, choice, strict=True)) for choice in itertools.product(*values.values())]
    found: list[Strategy] = []
    for move in moves[: 2 * most]:
        try:
            made = model(**{**strategy.model_dump(), **move})
        except ValidationError:
            continue
        if made not in found:
            found.append(made)
    return found if strategy in found else [*found, strategy]


def _around(model: type[Strategy], name: str, own: float, many: int) -> list[float]:
    """``many`` values around one's own, within the declared bounds, nearest factors spread evenly."""
    low, high = bounds(model, name)
    whole = isinstance(own, int)
    side = many // 2
    below = [factor for factor in _FACTORS if factor < 1]
    above = [factor for factor in _FACTORS if factor > 1]
    factors = [*_spread(below, side), 1.0, *_spread(above, side)]

    def allowed(value: float) -> bool:
        return (low is None or value >= low) and (high is None or value <= high)

    values = {v for v in (round(own * factor) if whole else own * factor for factor in factors) if allowed(v)}
    step = 1
    while whole and len(values) < 2 * side + 1 and step <= 2 * many:  # small whole numbers: the next ones
        values |= {v for v in (int(own) - step, int(own) + step) if allowed(v)}
        step += 1
    return sorted(sorted(values, key=lambda value: (abs(value - own), value))[: 2 * side + 1])


def _spread(values: list[float], many: int) -> list[float]:
    if many >= len(values):
        return values
    return [values[round((number + 0.5) * len(values) / many - 0.5)] for number in range(many)]
