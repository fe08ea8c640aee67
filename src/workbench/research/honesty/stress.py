"""What is left when trading costs more than assumed, or comes later than decided."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import date

import numpy as np
import pandas as pd

from workbench.data.bars import Bars
from workbench.errors import ConfigError
from workbench.research.costs import Assumptions
from workbench.research.engines import backtest
from workbench.research.honesty.walk_forward import Given
from workbench.research.result import BacktestResult
from workbench.strategies.base import Strategy

MULTIPLES = (0.0, 1.0, 2.0, 3.0, 5.0)
DELAYS = (0, 1, 2, 3, 5)
METRICS = ("sharpe", "cagr", "max_drawdown", "final_equity_usd")
_COSTS = (
    "commission_per_share_usd",
    "commission_per_trade_usd",
    "commission_bps",
    "commission_min_usd",
    "slippage_bps",
    "half_spread_bps",
    "impact",
    "borrow_rate",
    "debit_rate",
)


def cost_stress(
    strategy: Strategy,
    bars_split: Bars,
    bars_raw: Bars,
    actions: pd.DataFrame,
    *,
    start: date | None = None,
    end: date | None = None,
    assumptions: Assumptions,
    multiples: Sequence[float] = MULTIPLES,
) -> pd.DataFrame:
    """The same backtest with every cost multiplied: commissions, slippage, spread, impact, borrowing.

    Returns
    -------
    Indexed by ``costs`` (the multiple), columns :data:`METRICS`.

    Raises
    ------
    ConfigError
        If a multiple is negative or makes a cost impossible.
    """
    books = {}
    for multiple in multiples:
        if not multiple >= 0:
            raise ConfigError(f"costs times {multiple:g}: a multiple is at least 0")
        books[multiple] = backtest(
            strategy, bars_split, bars_raw, actions, start=start, end=end, assumptions=costlier(assumptions, multiple)
        )
    return _table(books, "costs")


def delay_stress(
    strategy: Strategy,
    bars_split: Bars,
    bars_raw: Bars,
    actions: pd.DataFrame,
    *,
    start: date | None = None,
    end: date | None = None,
    assumptions: Assumptions,
    delays: Sequence[int] = DELAYS,
) -> pd.DataFrame:
    """The same backtest with every decision acted on some sessions later than it was made.

    Returns
    -------
    Indexed by ``delay`` in sessions, columns :data:`METRICS`.

    Raises
    ------
    ConfigError
        If a delay is negative: that would be look-ahead.
    """
    seen = bars_split.between(None, end)
    decided = strategy.weights(seen)
    books = {}
    for delay in delays:
        if delay < 0:
            raise ConfigError(f"a delay of {delay} sessions would be look-ahead", hint="delays are at least 0")
        later = decided.shift(delay).fillna(0.0)
        # a symbol that does not trade cannot be told to be held; it is left alone that day
        books[delay] = backtest(
            Given.of(later.where(seen.close.notna(), 0.0)), bars_split, bars_raw, actions,
            start=start, end=end, assumptions=assumptions,
        )  # fmt: skip
    return _table(books, "delay")


def costlier(assumptions: Assumptions, multiple: float) -> Assumptions:
    """The assumptions with every cost multiplied.

    >>> costlier(Assumptions(slippage_bps=2.0), 3).slippage_bps
    6.0
    """
    known = {field.name for field in fields(assumptions)}
    return replace(assumptions, **{name: getattr(assumptions, name) * multiple for name in _COSTS if name in known})


def break_even(costs: pd.DataFrame) -> float:
    """The multiple of costs at which the annual growth reaches zero, linear between the multiples tried.

    Infinite if it never does; zero if it is not above zero even without costs.

    >>> break_even(pd.DataFrame({"cagr": [0.06, 0.02, -0.02]}, index=[0.0, 1.0, 2.0]))
    1.5
    """
    multiples, growth = costs.index.to_numpy(dtype=float), costs["cagr"].to_numpy(dtype=float)
    if growth[0] <= 0:
        return 0.0
    below = np.flatnonzero(growth <= 0)
    if not len(below):
        return math.inf
    at = int(below[0])
    share = growth[at - 1] / (growth[at - 1] - growth[at])
    return float(multiples[at - 1] + share * (multiples[at] - multiples[at - 1]))


def _table(books: dict[float, BacktestResult] | dict[int, BacktestResult], name: str) -> pd.DataFrame:
    rows = {key: [made.metrics[metric] for metric in METRICS] for key, made in books.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(METRICS)).rename_axis(name).sort_index()
