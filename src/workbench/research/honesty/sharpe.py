"""What a Sharpe ratio is worth: its length, the shape of its returns, and how many were tried before it.

Sharpe ratios here are per session, *not* annualised, unless a name says otherwise; kurtosis is not in excess (3 for
the normal distribution).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import DataError

Array = npt.NDArray[np.float64]
_NORMAL = NormalDist()
# sessions below which the third and fourth moment say nothing
_FEWEST = 20
_SPREADLESS = 1e-15


@dataclass(frozen=True, slots=True)
class ReturnShape:
    """Moments of simple returns per session.

    ``sharpe`` is mean over sample standard deviation (ddof 1), ``skew`` and ``kurtosis`` are the moments about the mean
    over powers of the population standard deviation, as in the papers.
    """

    sessions: int
    sharpe: float
    skew: float
    kurtosis: float


@dataclass(frozen=True, slots=True)
class DeflatedSharpe:
    """See :func:`deflated_sharpe`.

    ``probability`` is the deflated Sharpe ratio itself; ``threshold`` the Sharpe ratio per session that the best of
    ``trials`` strategies without any edge is expected to have; ``undeflated`` the probabilistic Sharpe ratio against
    zero.
    """

    probability: float
    threshold: float
    trials: float
    variance: float
    undeflated: float


def shape(returns: pd.Series[float] | Array) -> ReturnShape:
    """Moments of a series of returns.

    Raises
    ------
    DataError
        If there are fewer than 20 returns, or one is not finite.

    >>> made = shape(np.array([0.02, -0.01, -0.01] * 10))  # two thirds a step below the mean, one third two above
    >>> made.sessions, round(made.skew, 6), round(made.kurtosis, 6)
    (30, 0.707107, 1.5)
    """
    values = np.asarray(returns, dtype=float)
    if values.ndim != 1 or len(values) < _FEWEST:
        raise DataError(f"{values.size} returns are too few to judge a Sharpe ratio", hint=f"at least {_FEWEST}")
    if not np.isfinite(values).all():
        raise DataError("a return is not a finite number", hint="check the equity of the backtest")
    centred = values - values.mean()
    spread = float(np.sqrt(np.mean(centred**2)))
    if spread <= _SPREADLESS:
        return ReturnShape(len(values), math.nan, math.nan, math.nan)
    return ReturnShape(
        sessions=len(values),
        sharpe=float(values.mean() / values.std(ddof=1)),
        skew=float(np.mean(centred**3) / spread**3),
        kurtosis=float(np.mean(centred**4) / spread**4),
    )


def probabilistic_sharpe(
    sharpe: float, sessions: float, *, skew: float = 0.0, kurtosis: float = 3.0, threshold: float = 0.0
) -> float:
    """Probability that the true Sharpe ratio is above ``threshold``.

    Source: D. Bailey and M. Lopez de Prado, "The Sharpe Ratio Efficient Frontier", Journal of Risk 15 (2012), eq. 11.

    A hedge fund with 24 monthly returns, mean 0.036, deviation 0.079, skewness -2.448 and kurtosis 10.164; the paper
    has 0.913 (and 0.982 if the returns were normal):

    >>> round(probabilistic_sharpe(0.458, 24, skew=-2.448, kurtosis=10.164), 3)
    0.913
    >>> round(probabilistic_sharpe(0.458, 24), 3)
    0.982
    """
    variance = _variance(sharpe, skew, kurtosis)
    if not (variance > 0 and sessions > 1):
        return math.nan
    return _NORMAL.cdf((sharpe - threshold) * math.sqrt(sessions - 1.0) / math.sqrt(variance))


def minimum_track_record(
    sharpe: float, *, skew: float = 0.0, kurtosis: float = 3.0, threshold: float = 0.0, confidence: float = 0.95
) -> float:
    """Sessions after which a Sharpe ratio is above ``threshold`` with that confidence; infinite if it is not above.

    Source: Bailey and Lopez de Prado (2012), eq. 13. There, an annual Sharpe ratio of 2 from daily returns needs 2.73
    years to be above 1 with 95 % confidence:

    >>> round(minimum_track_record(2 / 252**0.5, threshold=1 / 252**0.5) / 252, 2)
    2.73
    """
    variance = _variance(sharpe, skew, kurtosis)
    if math.isnan(variance):
        return math.nan
    if sharpe <= threshold:
        return math.inf
    return 1.0 + max(variance, 0.0) * (_NORMAL.inv_cdf(confidence) / (sharpe - threshold)) ** 2


def expected_max_sharpe(trials: float, variance: float) -> float:
    """Expected maximum Sharpe ratio of independent trials that have no edge.

    Parameters
    ----------
    trials
        Number of independent trials, at least 1; may be a fraction.
    variance
        Of the Sharpe ratios across the trials, per session squared.

    Source: D. Bailey and M. Lopez de Prado, "The Deflated Sharpe Ratio", Journal of Portfolio Management 40 (2014),
    eq. 1. Their example: 100 trials with an annual variance of 1/2, 250 sessions a year:

    >>> round(expected_max_sharpe(100, 0.5 / 250), 4)
    0.1132
    """
    if not trials >= 1:
        raise DataError(f"{trials:g} trials: there was at least the one that is judged")
    if not (variance >= 0 and math.isfinite(variance)):
        raise DataError(f"the variance of the trials' Sharpe ratios is {variance:g}", hint="it needs two trials")
    if trials == 1:
        return 0.0
    gamma = float(np.euler_gamma)
    first = _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    second = _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    # below about 1.2 trials the approximation falls under zero, and with it one try would be rewarded
    return math.sqrt(variance) * max(0.0, (1.0 - gamma) * first + gamma * second)


def deflated_sharpe(returns: ReturnShape, *, trials: float, variance: float) -> DeflatedSharpe:
    """Probability that the true Sharpe ratio is above zero, given how many strategies were tried to find it.

    Source: Bailey and Lopez de Prado (2014), eq. 2. Their example, 5 years of daily returns with an annual Sharpe ratio
    of 2.5, skewness -3 and kurtosis 10, the best of 100 trials, has 0.9004; of 46 trials, 0.9505:

    >>> best = ReturnShape(1250, 2.5 / 250**0.5, -3.0, 10.0)
    >>> [round(deflated_sharpe(best, trials=n, variance=0.5 / 250).probability, 4) for n in (100, 46)]
    [0.9004, 0.9505]
    """
    threshold = expected_max_sharpe(trials, variance)
    return DeflatedSharpe(
        probability=_probability(returns, threshold),
        threshold=threshold,
        trials=float(trials),
        variance=variance,
        undeflated=_probability(returns, 0.0),
    )


def minimum_backtest_years(trials: float, sharpe_annual: float = 1.0) -> float:
    """Years of backtest below which the best of so many trials without any edge is expected to reach a Sharpe ratio.

    Source: D. Bailey, J. Borwein, M. Lopez de Prado and Q. Zhu, "Pseudo-Mathematics and Financial Charlatanism",
    Notices of the AMS 61 (2014), theorem 1: with 5 years of data, no more than 45 independent trials.

    >>> round(minimum_backtest_years(45), 1)
    5.0
    """
    if not sharpe_annual > 0:
        raise DataError(f"an annual Sharpe ratio of {sharpe_annual:g} needs no luck")
    return (expected_max_sharpe(trials, 1.0) / sharpe_annual) ** 2


def effective_trials(returns: Array, trials: float | None = None) -> float:
    """How many independent trials so many correlated ones amount to.

    Parameters
    ----------
    returns
        Sessions x trials: returns per session of the trials, or of some of them.
    trials
        How many there were in all; those in ``returns`` if left out.

    The mean correlation rho of the trials makes N = rho + (1 - rho) M of M trials: all of them if they have nothing in
    common, one if they are the same.

    Source: Bailey and Lopez de Prado (2014), appendix A.3.

    Raises
    ------
    DataError
        If there are fewer than two trials that vary.

    >>> alone = np.random.default_rng(1).normal(size=(500, 1))
    >>> round(effective_trials(np.hstack([alone, alone, alone])), 6)
    1.0
    """
    varying = returns[:, returns.std(axis=0) > _SPREADLESS]
    number = varying.shape[1]
    if number < 2:
        raise DataError(f"{number} trials with varying returns: no correlation between them", hint="at least two")
    # the mean of all correlations from the variance of the mean of the standardised returns: no matrix is made
    standard = (varying - varying.mean(axis=0)) / varying.std(axis=0)
    mean_of_all = float(np.mean(standard.mean(axis=1) ** 2))
    rho = (number * mean_of_all - 1.0) / (number - 1.0)
    total = float(number if trials is None else trials)
    return float(np.clip(rho + (1.0 - rho) * total, 1.0, total))


def sharpe_of(returns: Array) -> Array:
    """Sharpe ratio per session of every column of returns, sessions x trials; NaN where nothing varies."""
    spread = returns.std(axis=0, ddof=1)
    made: Array = np.full(returns.shape[1], np.nan)
    np.divide(returns.mean(axis=0), spread, out=made, where=spread > _SPREADLESS)
    return made


def _probability(returns: ReturnShape, threshold: float) -> float:
    return probabilistic_sharpe(
        returns.sharpe, returns.sessions, skew=returns.skew, kurtosis=returns.kurtosis, threshold=threshold
    )


def _variance(sharpe: float, skew: float, kurtosis: float) -> float:
    """Variance of a Sharpe ratio's estimate, times the sessions less one (Mertens 2002, as used by both papers)."""
    return 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
