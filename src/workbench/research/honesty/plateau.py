"""Whether good parameters have good neighbours: a plateau can be found again, a peak is luck."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import DataError
from workbench.research.honesty.sharpe import sharpe_of
from workbench.research.honesty.trial_returns import TrialReturns
from workbench.strategies.base import Strategy


@dataclass(frozen=True)
class Plateau:
    """The chosen parameters and those around them.

    Attributes
    ----------
    table
        One row per trial: its parameters, annualised ``sharpe``, and whether it is ``chosen`` or a ``neighbour``, that
        is at most one step of the grid away in every parameter.
    chosen, neighbours
        Sharpe ratio of the chosen trial, median of its neighbours'; annualised.
    ratio
        The second over the first: near one on a plateau, near zero on a peak; NaN if the chosen one is not positive.
    profitable
        Share of all trials with a positive Sharpe ratio.
    rank
        Share of the trials with a lower Sharpe ratio than the chosen one.
    """

    table: pd.DataFrame
    chosen: float
    neighbours: float
    ratio: float
    profitable: float
    rank: float

    @property
    def varying(self) -> list[str]:
        """Names of the parameters that differ between trials."""
        names = [str(name) for name in self.table.columns if name not in ("sharpe", "chosen", "neighbour")]
        return [name for name in names if self.table[name].nunique() > 1]


def plateau(trials: TrialReturns, chosen: Strategy, *, sessions_per_year: int = 252) -> Plateau:
    """Hold the chosen parameters against their neighbours in the grid of trials.

    A trial without any return has the Sharpe ratio zero here. The measure is the workbench's own.

    Raises
    ------
    DataError
        If the chosen strategy is not among the trials, or has no neighbour.
    """
    at = trials.position(chosen)
    sharpe = np.nan_to_num(sharpe_of(trials.values)) * np.sqrt(sessions_per_year)
    steps = trials.parameters.apply(lambda column: column.rank(method="dense") if _ordered(column) else column)
    near = pd.Series(True, index=steps.index)
    for name in steps:
        same = steps[name] == steps[name].iloc[at]
        near &= (steps[name] - steps[name].iloc[at]).abs() <= 1 if _ordered(trials.parameters[name]) else same
    near.iloc[at] = False
    if not near.any():
        raise DataError("the chosen parameters have no neighbour among the trials", hint="give a grid around them")
    table = trials.parameters.assign(sharpe=sharpe, chosen=steps.index == steps.index[at], neighbour=near)
    own, others = float(sharpe[at]), float(np.median(sharpe[near.to_numpy()]))
    return Plateau(
        table=table,
        chosen=own,
        neighbours=others,
        ratio=others / own if own > 0 else float("nan"),
        profitable=float(np.mean(sharpe > 0)),
        rank=float(np.mean(np.delete(sharpe, at) < own)),
    )


def _ordered(column: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column)) and not bool(pd.api.types.is_bool_dtype(column))
