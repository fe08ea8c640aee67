"""Walk-forward: choose parameters on the past, trade them for a while, choose again, and keep honest books of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from pydantic import PrivateAttr

from workbench.data.bars import Bars
from workbench.errors import DataError
from workbench.research.costs import Assumptions
from workbench.research.engines import backtest
from workbench.research.honesty.folds import walk_forward_folds
from workbench.research.honesty.sharpe import sharpe_of
from workbench.research.honesty.trial_returns import TrialReturns
from workbench.research.result import BacktestResult
from workbench.strategies.base import Strategy


@dataclass(frozen=True)
class WalkForward:
    """What became of choosing the best parameters again and again.

    Attributes
    ----------
    folds
        One row per window: ``train_from``, ``train_to``, ``test_from``, ``test_to``, the chosen parameters, and
        ``in_sample`` and ``out_of_sample``: annualised Sharpe ratios of the chosen trial there.
    result
        One backtest of the chosen strategies one after the other, the cost of changing over included.
    anchored
        Whether training always began at the first session.
    """

    folds: pd.DataFrame
    result: BacktestResult = field(repr=False)
    anchored: bool

    @property
    def sharpe(self) -> float:
        """Annualised Sharpe ratio out of sample, after the cost of changing over."""
        return float(self.result.metrics["sharpe"])

    @property
    def in_sample(self) -> float:
        """Mean over the windows of the annualised Sharpe ratio where the choice was made."""
        return float(self.folds["in_sample"].mean())

    @property
    def summary(self) -> dict[str, float]:
        """``choices``, ``in_sample``, ``out_of_sample`` and ``efficiency``."""
        return {
            "choices": float(len(self.folds)),
            "in_sample": self.in_sample,
            "out_of_sample": self.sharpe,
            "efficiency": self.efficiency,
        }

    @property
    def efficiency(self) -> float:
        """Sharpe ratio out of sample over the mean one in sample; NaN if that is not positive.

        Source: Pardo (2008), ch. 11, walk-forward efficiency, here of Sharpe ratios instead of profits.
        """
        return self.sharpe / self.in_sample if self.in_sample > 0 else math.nan


def walk_forward(
    trials: TrialReturns,
    bars_split: Bars,
    bars_raw: Bars,
    actions: pd.DataFrame,
    *,
    train: int = 756,
    test: int = 126,
    anchored: bool = False,
    embargo: int = 1,
    assumptions: Assumptions,
) -> WalkForward:
    """Choose the trial with the highest Sharpe ratio in each training window and trade it in the test window after it.

    Parameters
    ----------
    trials
        What there is to choose from, over the whole window.
    train, test, embargo
        Sessions; see :func:`workbench.research.honesty.folds.walk_forward_folds`.
    assumptions
        Of the backtest of the choices.

    Raises
    ------
    DataError
        If there are fewer than two trials, or too few sessions for one window.
    """
    values = trials.values
    if values.shape[1] < 2:
        raise DataError(f"{values.shape[1]} trials: nothing to choose from", hint="give a grid of parameters")
    folds = walk_forward_folds(len(values), train=train, test=test, anchored=anchored, embargo=embargo)
    sessions = pd.DatetimeIndex(trials.returns.index)
    yearly = math.sqrt(assumptions.sessions_per_year)
    rows: list[dict[str, Any]] = []
    pieces: list[tuple[pd.Timestamp, Strategy]] = []
    for fold in folds:
        inside = sharpe_of(values[fold.train_start : fold.train_end])
        best = int(np.argmax(np.nan_to_num(inside, nan=-np.inf)))
        outside = sharpe_of(values[fold.test_start : fold.test_end, [best]])[0]
        # what is decided on the close before the test window earns its first return
        pieces.append((sessions[fold.test_start - 1], trials.strategies[best]))
        rows.append(
            {
                "train_from": sessions[fold.train_start],
                "train_to": sessions[fold.train_end - 1],
                "test_from": sessions[fold.test_start],
                "test_to": sessions[fold.test_end - 1],
                **trials.strategies[best].model_dump(),
                "in_sample": inside[best] * yearly,
                "out_of_sample": outside * yearly,
            }
        )
    last = sessions[folds[-1].test_end - 1]
    made = backtest(
        spliced(pieces, bars_split.between(None, last.date())), bars_split, bars_raw, actions,
        start=pieces[0][0].date(), end=last.date(), assumptions=assumptions,
    )  # fmt: skip
    table = pd.DataFrame(rows).rename_axis("fold")
    return WalkForward(table, replace(made), anchored)


class Given(Strategy):
    """A table of weights, decided elsewhere; zero where it has nothing."""

    _table: pd.DataFrame = PrivateAttr()

    @classmethod
    def of(cls, table: pd.DataFrame) -> Given:
        made = cls()
        made._table = table
        return made

    def weights(self, bars: Bars) -> pd.DataFrame:
        """See :meth:`Strategy.weights`."""
        return self._table.reindex(index=bars.close.index, columns=bars.close.columns).fillna(0.0)


def spliced(pieces: list[tuple[pd.Timestamp, Strategy]], bars: Bars) -> Strategy:
    """One strategy made of several: each decides from its session on until the next one takes over."""
    table = pd.DataFrame(0.0, index=bars.close.index, columns=bars.close.columns)
    decided: dict[Strategy, pd.DataFrame] = {}
    for number, (first, strategy) in enumerate(pieces):
        if strategy not in decided:
            decided[strategy] = strategy.weights(bars)
        until = pieces[number + 1][0] if number + 1 < len(pieces) else None
        mine = (table.index >= first) & (table.index < until if until is not None else True)
        table.loc[mine] = decided[strategy].loc[mine]
    return Given.of(table)
