"""How far results could have been others: confidence bands by the stationary bootstrap."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import ConfigError, DataError
from workbench.research.honesty.snooping import block_length

Array = npt.NDArray[np.float64]
_FEWEST = 50
_SPREADLESS = 1e-15
METRICS = ("sharpe", "cagr", "max_drawdown")


@dataclass(frozen=True)
class Bands:
    """See :func:`bootstrap_bands`.

    Attributes
    ----------
    table
        Indexed by ``sharpe`` (annualised), ``cagr`` (fraction per year) and ``max_drawdown`` (negative fraction):
        ``estimate``, ``low`` and ``high``.
    samples
        Repetitions x metrics.
    loss_probability
        Share of the samples that ended below where they began.
    """

    table: pd.DataFrame
    samples: pd.DataFrame = field(repr=False)
    confidence: float
    block: int
    loss_probability: float


def bootstrap_bands(
    returns: pd.Series[float] | Array,
    *,
    seed: int | np.random.Generator,
    repetitions: int = 2_000,
    confidence: float = 0.9,
    block: int | None = None,
    sessions_per_year: int = 252,
) -> Bands:
    """Percentile bands of Sharpe ratio, annual growth and deepest drawdown, from histories drawn in blocks.

    Blocks of random length keep what one session has to do with the next; their mean is ``block`` sessions, by default
    that of Politis and White (2004).

    Source: D. Politis and J. Romano, "The Stationary Bootstrap", Journal of the American Statistical Association 89
    (1994), by arch; bands are the percentiles of the samples.

    Raises
    ------
    DataError
        If there are fewer than 50 returns, or they do not vary.
    ConfigError
        If the confidence is not between 0 and 1, or there are fewer than 100 repetitions.
    """
    from arch.bootstrap import StationaryBootstrap

    values = np.asarray(returns, dtype=float)
    if len(values) < _FEWEST or not np.isfinite(values).all() or values.std() <= _SPREADLESS:
        raise DataError(f"{len(values)} returns that vary and are finite are needed for bands", hint="at least 50")
    if not 0 < confidence < 1 or repetitions < 100:
        raise ConfigError(f"bands of confidence {confidence:g} from {repetitions} repetitions", hint="at least 100")
    length = block or block_length(values)
    draw = StationaryBootstrap(length, values, seed=np.random.default_rng(seed))
    made = draw.apply(lambda drawn: measures(np.asarray(drawn), sessions_per_year), repetitions)
    samples = pd.DataFrame(made, columns=list(METRICS))
    tail = (1.0 - confidence) / 2.0
    table = pd.DataFrame(
        {
            "estimate": measures(values, sessions_per_year),
            "low": samples.quantile(tail).to_numpy(),
            "high": samples.quantile(1.0 - tail).to_numpy(),
        },
        index=pd.Index(METRICS, name="metric"),
    )
    return Bands(table, samples, confidence, length, float((samples["cagr"] < 0).mean()))


def equity_fan(
    returns: pd.Series[float], *, seed: int | np.random.Generator, repetitions: int = 400, block: int | None = None
) -> pd.DataFrame:
    """Equity (1 at the beginning) of drawn histories, by session: its quantiles 0.05, 0.25, 0.5, 0.75 and 0.95."""
    from arch.bootstrap import StationaryBootstrap

    values: Array = np.asarray(returns, dtype=np.float64)
    draw = StationaryBootstrap(block or block_length(values), values, seed=np.random.default_rng(seed))
    paths = np.empty((repetitions, len(values)), dtype=np.float32)
    for number, (drawn, _) in enumerate(draw.bootstrap(repetitions)):
        paths[number] = np.cumprod(1.0 + drawn[0])
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    return pd.DataFrame(np.quantile(paths, levels, axis=0).T, index=returns.index, columns=levels)


def measures(returns: Array, sessions_per_year: int) -> Array:
    """Sharpe ratio (annualised), annual growth and deepest drawdown of a series of simple returns."""
    equity = np.cumprod(1.0 + returns)
    peak = np.maximum(np.maximum.accumulate(equity), 1.0)
    spread = float(returns.std(ddof=1))
    sharpe = float(returns.mean()) / spread * math.sqrt(sessions_per_year) if spread > _SPREADLESS else 0.0
    growth = max(float(equity[-1]), 0.0) ** (sessions_per_year / len(returns)) - 1.0
    return np.array([sharpe, growth, float((equity / peak - 1.0).min())])
