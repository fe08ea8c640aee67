"""The sweep against vectorbt 1.0 itself, on the sample and on random prices: the same numbers to 1e-9.

vectorbt is told what our convention means in its terms: the size decided on the close before, valued at that close,
filled at the open, sales first.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench import indicators
from workbench.data.bars import FIELDS, Bars
from workbench.research import Assumptions, sweep
from workbench.research.sweeping import METRICS
from workbench.strategies import load
from workbench.strategies.base import Strategy
from workbench.strategies.momentum import Momentum
from workbench.strategies.moving_average import MovingAverageCrossover

CAPITAL = 100_000.0
# vectorbt trades every change, fractions of a share, and never more than the cash pays for.
PLAIN: dict[str, Any] = {
    "capital_usd": CAPITAL,
    "commission_per_share_usd": 0.0,
    "commission_min_usd": 0.0,
    "slippage_bps": 0.0,
    "cash_buffer": 0.0,
    "min_trade_value_usd": 0.0,
    "tolerance": 0.0,
    "lot": None,
    "buys": "within_cash",
}


class Noise(Strategy):
    """Random weights, the same for the same seed; ``style`` says how they are made."""

    seed: int
    style: str = "any"

    def weights(self, bars: Bars) -> pd.DataFrame:
        rng = np.random.default_rng(self.seed)
        shape, symbols = bars.close.shape, bars.close.shape[1]
        drawn = rng.random(shape) * (rng.random(shape) < 0.7) / symbols
        if self.style == "all in, all out":
            drawn = (np.cumsum(rng.normal(0, 1, shape), axis=0) > 0) / symbols
        if self.style == "never":
            drawn = np.zeros(shape)
        if self.style == "always":
            drawn = np.full(shape, 1.0 / symbols)
        return pd.DataFrame(drawn, index=bars.close.index, columns=bars.close.columns).where(bars.close.notna(), 0.0)


def random_bars(seed: int, symbols: int, *, gaps: float = 0.0, sessions: int = 250) -> Bars:
    rng = np.random.default_rng(seed)
    index = pd.bdate_range("2010-01-04", periods=sessions, name="session")
    close = 40.0 * np.exp(np.cumsum(rng.normal(0, 0.02, (sessions, symbols)), axis=0))
    opens = close * np.exp(rng.normal(0, 0.005, close.shape))
    missing = rng.random(close.shape) < gaps
    missing[:, 0] &= ~missing.all(axis=1)
    columns = [f"S{number}" for number in range(symbols)]
    frames = {
        name: pd.DataFrame(np.where(missing, np.nan, opens if name == "open" else close), index, columns)
        for name in FIELDS
    }
    return Bars(**frames, adjustment="total", snapshot=0)


def vectorbt_of(
    weights: pd.DataFrame, bars: Bars, *, fill: str = "next_open", buffer: float = 0.0, **costs: Any
) -> dict[str, float]:
    """The same targets through ``Portfolio.from_orders``."""
    import vectorbt as vbt

    lag = 0 if fill == "close" else 1
    marks = bars.close.ffill().bfill()
    price = (bars.open if fill == "next_open" else bars.close).to_numpy()
    size = (weights * (1.0 - buffer)).shift(lag).to_numpy()
    known = bars.close.notna().shift(lag, fill_value=False).to_numpy()
    portfolio = vbt.Portfolio.from_orders(
        marks,
        size=np.where(known & ~np.isnan(price), size, np.nan),
        size_type="targetpercent",
        price=price,
        val_price=marks.shift(lag).bfill().to_numpy(),
        direction="longonly",
        group_by=True,
        cash_sharing=True,
        call_seq="auto",
        init_cash=CAPITAL,
        freq="1D",
        **costs,
    )
    return metrics_of(portfolio)


def metrics_of(portfolio: Any) -> dict[str, float]:
    closed = portfolio.trades.closed
    return {
        "total_return": float(portfolio.total_return()),
        "sharpe": float(portfolio.sharpe_ratio(year_freq="252 days")),
        "sortino": float(portfolio.sortino_ratio(year_freq="252 days")),
        "max_drawdown": float(portfolio.max_drawdown()),
        "trades": float(closed.count()),
        "win_rate": float(closed.win_rate()),
        "exposure": float(portfolio.gross_exposure().mean()),
    }


def same(ours: Mapping[str, Any], theirs: Mapping[str, float]) -> None:
    assert ours["flag"] in ("", "never invested")
    for name in METRICS:
        expected = theirs[name] if np.isfinite(theirs[name]) else np.nan  # where it says infinite, we say nothing
        assert float(ours[name]) == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True), name


COSTS = {
    "free": ({}, {}),
    "basis points": ({"commission_bps": 10.0}, {"fees": 0.001}),
    "fixed": ({"commission_per_trade_usd": 3.0}, {"fixed_fees": 3.0}),
    "all": (
        {"commission_bps": 5.0, "commission_per_trade_usd": 1.0, "slippage_bps": 4.0, "half_spread_bps": 3.0},
        {"fees": 0.0005, "fixed_fees": 1.0, "slippage": 0.0007},
    ),
    "buffer": ({"cash_buffer": 0.1, "commission_bps": 10.0}, {"buffer": 0.1, "fees": 0.001}),
}
STYLES = ("any", "all in, all out", "never", "always")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("symbols", "gaps"), [(1, 0.0), (4, 0.0), (4, 0.1)])
def test_target_weights_on_random_prices(symbols: int, gaps: float, style: str) -> None:
    fills = itertools.cycle(("next_open", "next_close", "close"))
    # Every style and shape meets two of the costs, and every cost meets every fill.
    first = STYLES.index(style) + 2 * symbols
    for at, fill in zip(range(first, first + 2), fills, strict=False):
        assumed, told = list(COSTS.values())[at % len(COSTS)]
        bars = random_bars(at, symbols, gaps=gaps)
        assumptions = Assumptions(**{**PLAIN, **assumed, "fill": fill})
        strategy = Noise(seed=at, style=style)
        (row,) = sweep(strategy, {"seed": [at]}, bars, assumptions=assumptions).table.to_dict("records")
        same(row, vectorbt_of(strategy.weights(bars), bars, fill=fill, **told))


@pytest.mark.parametrize("parts", [(0.0, 0.4), (0.0, 1.0), (0.2, 0.7)])
@pytest.mark.parametrize("fill", ["next_open", "close"])
def test_one_symbol_in_and_out_or_more_and_less_of_it(fill: str, parts: tuple[float, float]) -> None:
    bars = random_bars(5, 1, sessions=400)

    class Switched(Strategy):
        """One part of equity or the other, for some sessions each."""

        seed: int

        def weights(self, bars: Bars) -> pd.DataFrame:
            drawn = np.cumsum(np.random.default_rng(self.seed).normal(0, 1, bars.close.shape), axis=0) > 0
            return pd.DataFrame(np.where(drawn, *reversed(parts)), index=bars.close.index, columns=bars.close.columns)

    assumptions = Assumptions(**{**PLAIN, "commission_bps": 10.0, "fill": fill, "rebalance": "on_change"})
    swept = sweep(Switched, {"seed": range(3)}, bars, assumptions=assumptions)
    assert swept.table["trades"].min() > 3
    for seed, row in swept.table.iterrows():
        weights = Switched(seed=seed).weights(bars)
        changed = weights.where(weights != weights.shift(fill_value=0.0))  # NaN leaves the position alone
        same(row, vectorbt_of(changed, bars, fill=fill, fees=0.001))


def test_whole_shares_of_positions_entered_and_left(sample: Any) -> None:
    bars = sample.split
    strategy = Noise(seed=3, style="all in, all out")
    assumptions = Assumptions(**{**PLAIN, "lot": 1.0, "commission_bps": 10.0, "rebalance": "on_change"})
    (row,) = sweep(strategy, {"seed": [3]}, bars, assumptions=assumptions).table.to_dict("records")
    weights = strategy.weights(bars)
    changed = weights.where(weights != weights.shift(fill_value=0.0))  # NaN leaves the position alone
    same(row, vectorbt_of(changed, bars, size_granularity=1.0, fees=0.001))


@pytest.mark.parametrize("name", ["momentum", "moving_average"])
def test_the_strategies_on_the_sample(sample: Any, name: str) -> None:
    grid = {"momentum": {"lookback": [20, 126], "top": [1, 3]}, "moving_average": {"fast": [5, 50], "slow": [20, 200]}}
    swept = sweep(name, grid[name], sample.split, assumptions=Assumptions(**PLAIN, commission_bps=10.0))
    for chosen, row in swept.table.iterrows():
        strategy = load(name, dict(zip(grid[name], chosen, strict=True)))
        same(row, vectorbt_of(strategy.weights(sample.split), sample.split, fees=0.001))


@pytest.mark.parametrize("rebalance", ["on_change", "every_session"])
@pytest.mark.parametrize("fill", ["next_open", "close"])
def test_crossovers_side_by_side_on_one_symbol(sample: Any, fill: str, rebalance: str) -> None:
    bars = sample.split.select(["IBM"])
    grid = {"fast": range(2, 80, 6), "slow": range(5, 200, 11)}
    assumptions = Assumptions(**{**PLAIN, "commission_bps": 10.0, "fill": fill, "rebalance": rebalance})
    swept = sweep("moving_average", grid, bars, assumptions=assumptions)
    assert len(swept) == sum(f < s for f, s in itertools.product(*grid.values()))
    for chosen in ((2, 5), (38, 49), (74, 192)):
        weights = MovingAverageCrossover(fast=chosen[0], slow=chosen[1]).weights(bars)
        if rebalance == "on_change":
            weights = weights.where(weights != weights.shift(fill_value=0.0))
        same(swept.table.loc[chosen], vectorbt_of(weights, bars, fill=fill, fees=0.001))


@pytest.mark.parametrize("engine", ["numba", "rust"])
def test_entries_and_exits_at_the_close_are_from_signals(engine: str) -> None:
    import vectorbt as vbt

    bars = random_bars(7, 1, sessions=600)
    rng = np.random.default_rng(2)
    entries, exits = (pd.DataFrame(rng.random((600, 1)) < 0.1, bars.sessions, ["S0"]) for _ in range(2))

    class Signals(Strategy):
        """In from an entry to an exit, and with all there is."""

        share: float = 1.0

        def weights(self, bars: Bars) -> pd.DataFrame:
            return indicators.held(entries, exits) * self.share

    assumptions = Assumptions(
        **{**PLAIN, "fill": "close", "rebalance": "on_change", "commission_bps": 10.0, "slippage_bps": 5.0}
    )
    (row,) = sweep(Signals, {"share": [1.0]}, bars, assumptions=assumptions).table.to_dict("records")
    portfolio = vbt.Portfolio.from_signals(
        bars.close["S0"], entries["S0"], exits["S0"], fees=0.001, slippage=0.0005, init_cash=CAPITAL, freq="1D",
        engine=engine,
    )  # fmt: skip
    assert portfolio.trades.closed.count() > 15
    same(row, metrics_of(portfolio))


def test_momentum_is_swept_as_momentum_decides(sample: Any) -> None:
    swept = sweep(Momentum(lookback=60, top=2), {"lookback": [60]}, sample.split, assumptions=Assumptions(**PLAIN))
    assert swept.held == {"top": 2}
    theirs = vectorbt_of(Momentum(lookback=60, top=2).weights(sample.split), sample.split)
    same(swept.table.loc[60], theirs)
