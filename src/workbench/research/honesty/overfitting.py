"""How often the best of the past is none of the best afterwards: cross-validation of a choice of parameters."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import ConfigError, DataError
from workbench.research.honesty.folds import combinatorial_folds
from workbench.research.honesty.sharpe import sharpe_of

Array = npt.NDArray[np.float64]
_SPREADLESS = 1e-15
_CHUNK_VALUES = 4_000_000
_FEWEST_PER_BLOCK = 5


@dataclass(frozen=True)
class BacktestOverfitting:
    """See :func:`backtest_overfitting`.

    Attributes
    ----------
    probability
        Of backtest overfitting (PBO): how often the best in sample is below the median out of sample.
    logits
        Per split: logit of the relative rank out of sample of the best in sample.
    in_sample, out_of_sample
        Per split: Sharpe ratio per session of the best in sample, there and out of sample.
    slope
        Of the regression of ``out_of_sample`` on ``in_sample``: below zero, better backtests did worse.
    loss_probability
        How often the best in sample lost out of sample.
    sessions, blocks, trials
        What was used: the latest sessions that divide into equal blocks, trials whose returns vary.
    """

    probability: float
    logits: Array = field(repr=False)
    in_sample: Array = field(repr=False)
    out_of_sample: Array = field(repr=False)
    slope: float
    loss_probability: float
    sessions: int
    blocks: int
    trials: int

    @property
    def splits(self) -> int:
        return len(self.logits)


@dataclass(frozen=True)
class CombinatorialPaths:
    """Whole histories out of sample, joined from combinatorial purged cross-validation.

    ``returns`` has sessions x paths; ``chosen`` the number of the trial chosen on the training rows of every split.
    """

    returns: pd.DataFrame = field(repr=False)
    chosen: npt.NDArray[np.int64] = field(repr=False)

    @property
    def sharpe(self) -> pd.Series[float]:
        """Sharpe ratio per session of every path."""
        return pd.Series(sharpe_of(self.returns.to_numpy(dtype=float)), index=self.returns.columns)


def backtest_overfitting(returns: Array | pd.DataFrame, *, blocks: int = 16) -> BacktestOverfitting:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation (CSCV).

    The history is cut into ``blocks`` equal blocks; for every choice of half of them, the trial with the highest Sharpe
    ratio there is ranked by its Sharpe ratio in the other half. Without any edge the probability is near one half (and
    above it, if trials take each other's returns away), with one that lasts near zero.

    Parameters
    ----------
    returns
        Sessions x trials, simple returns per session.
    blocks
        Even; 16 as in the paper make 12,870 splits.

    Source: D. Bailey, J. Borwein, M. Lopez de Prado and Q. Zhu, "The Probability of Backtest Overfitting", Journal of
    Computational Finance 20 (2017), section 3. A trial that held nothing in a half has the Sharpe ratio zero there.

    Raises
    ------
    ConfigError
        If the number of blocks is not even, below 4 or above 20.
    DataError
        If there are fewer than two trials that vary, or too few sessions.

    >>> noise = np.random.default_rng(1).normal(0, 0.01, (800, 20))
    >>> noise[:, 7] += 0.004
    >>> backtest_overfitting(noise, blocks=8).probability
    0.0
    """
    values = np.asarray(returns, dtype=float)
    if blocks % 2 or not 4 <= blocks <= 20:
        raise ConfigError(f"{blocks} blocks: an even number from 4 to 20 is needed")
    if values.ndim != 2 or not np.isfinite(values).all():
        raise DataError("overfitting is judged on finite returns, sessions x trials")
    varying = values[:, values.std(axis=0) > _SPREADLESS] if len(values) else values
    size = len(values) // blocks
    if varying.shape[1] < 2:
        raise DataError(f"{varying.shape[1]} trials with varying returns: nothing was chosen", hint="at least two")
    if size < _FEWEST_PER_BLOCK:
        raise DataError(f"{len(values)} sessions are too few for {blocks} blocks", hint="fewer blocks or more data")
    used = varying[len(varying) - size * blocks :]
    inside, outside, logits = _splits(used.reshape(blocks, size, -1))
    slope = float(np.polyfit(inside, outside, 1)[0]) if np.ptp(inside) > _SPREADLESS else math.nan
    return BacktestOverfitting(
        probability=float(np.mean(logits <= 0)),
        logits=logits,
        in_sample=inside,
        out_of_sample=outside,
        slope=slope,
        loss_probability=float(np.mean(outside < 0)),
        sessions=len(used),
        blocks=blocks,
        trials=varying.shape[1],
    )


def combinatorial_paths(
    returns: pd.DataFrame, *, folds: int = 10, tested: int = 2, purge: int = 0, embargo: int = 0
) -> CombinatorialPaths:
    """Choose the trial with the highest Sharpe ratio on every combinatorial training set and join what it made of the
    test folds to whole histories.

    Parameters
    ----------
    returns
        Sessions x trials, simple returns per session.
    folds, tested, purge, embargo
        See :func:`workbench.research.honesty.folds.combinatorial_folds`.

    Source: Lopez de Prado, "Advances in Financial Machine Learning" (2018), ch. 12.

    Raises
    ------
    ConfigError, DataError
        If folds, sessions or trials are too few.
    """
    values = returns.to_numpy(dtype=float)
    if values.shape[1] < 2:
        raise DataError(f"{values.shape[1]} trials: nothing to choose from", hint="at least two")
    made = combinatorial_folds(len(values), folds=folds, tested=tested, purge=purge, embargo=embargo)
    paths = np.full((len(values), made.number_of_paths), np.nan)
    chosen = np.empty(len(made.splits), dtype=np.int64)
    for number, (train, tests) in enumerate(made.splits):
        best = int(np.argmax(np.nan_to_num(sharpe_of(values[train]), nan=-np.inf)))
        chosen[number] = best
        for at, rows in enumerate(tests):
            paths[rows, made.paths[number, at]] = values[rows, best]
    columns = pd.RangeIndex(made.number_of_paths, name="path")
    return CombinatorialPaths(pd.DataFrame(paths, index=returns.index, columns=columns), chosen)


def _splits(blocks: npt.NDArray[np.float64]) -> tuple[Array, Array, Array]:
    """For every half of the blocks: Sharpe ratio of the best trial in it, there and in the other half, and its logit.

    Sums and sums of squares of each block are enough; halves are worked through in chunks of bounded size.
    """
    number, size, trials = blocks.shape
    sums, squares = blocks.sum(axis=1), (blocks**2).sum(axis=1)
    halves = list(itertools.combinations(range(number), number // 2))
    rows = size * number // 2
    inside, outside, logits = (np.empty(len(halves)) for _ in range(3))
    step = max(1, _CHUNK_VALUES // trials)
    for start in range(0, len(halves), step):
        part = halves[start : start + step]
        mask = np.zeros((len(part), number))
        mask[np.arange(len(part))[:, None], np.asarray(part)] = 1.0
        within = _sharpe(mask @ sums, mask @ squares, rows)
        beyond = _sharpe((1 - mask) @ sums, (1 - mask) @ squares, rows)
        best = within.argmax(axis=1)
        each, where = np.arange(len(part)), slice(start, start + len(part))
        # ties share their mean rank, so that trials that did the same are neither better nor worse
        own = beyond[each, best][:, None]
        rank = ((beyond < own).sum(axis=1) + ((beyond == own).sum(axis=1) + 1) / 2) / (trials + 1.0)
        inside[where], outside[where] = within[each, best], beyond[each, best]
        logits[where] = np.log(rank / (1.0 - rank))
    return inside, outside, logits


def _sharpe(sums: Array, squares: Array, rows: int) -> Array:
    mean = sums / rows
    variance = np.maximum(squares - rows * mean**2, 0.0) / (rows - 1)
    # what cancels to less than the rounding of the squares is no spread
    spread = np.sqrt(np.where(variance > 1e-14 * squares / rows, variance, 0.0))
    return np.divide(mean, spread, out=np.zeros_like(mean), where=spread > 0)
