"""zipline and vectorbt against the reference, on real prices with real splits and dividends.

The three share the weights and nothing else: cash, positions, fees and marking are each engine's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench import strategies
from workbench.data.bars import Bars
from workbench.errors import DataError
from workbench.research import Assumptions, backtest, metrics
from workbench.research.comparison import compare, distributions
from workbench.research.engines import vectorbt_engine, zipline_engine
from workbench.strategies.base import Strategy
from workbench.strategies.moving_average import MovingAverageCrossover

WINDOWS = {
    "dividends of three symbols": (date(2013, 1, 2), date(2013, 3, 1)),
    "split of AAPL in 2005": (date(2005, 2, 1), date(2005, 3, 31)),
    "split of MSFT in 2003": (date(2003, 1, 15), date(2003, 3, 31)),
    "two years with listings": (date(2011, 6, 1), date(2013, 3, 1)),
}
STRATEGIES = [
    ("momentum", {"lookback": 20, "top": 3}),
    ("momentum", {}),
    ("moving_average", {"fast": 5, "slow": 20}),
    ("moving_average", {}),
]


class Constant(Strategy):
    weight: float

    def weights(self, bars: Bars) -> pd.DataFrame:
        return bars.close.notna() * self.weight


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS.keys())
@pytest.mark.parametrize(("name", "parameters"), STRATEGIES)
def test_zipline_equals_the_reference_to_the_cent(
    sample: Any, name: str, parameters: dict[str, object], window: tuple[date, date]
) -> None:
    how = {"start": window[0], "end": window[1], "assumptions": Assumptions()}
    strategy = strategies.load(name, parameters)
    ours = backtest(strategy, sample.split, sample.raw, sample.actions, **how)
    theirs = zipline_engine.backtest(strategy, sample.split, sample.raw, sample.actions, **how)
    made = compare(ours, theirs)
    assert made.equal_to_the_cent, made.summary
    assert made.max_difference_usd < 1e-6
    assert made.fills.empty
    assert ours.fills["decided"].equals(theirs.fills["decided"])
    pd.testing.assert_frame_equal(ours.positions, theirs.positions)


def test_the_engines_agree_on_thirteen_years_of_every_split_and_dividend(sample: Any, holder: Any) -> None:
    how = {"assumptions": Assumptions()}
    ours = backtest(holder, sample.split, sample.raw, sample.actions, **how)
    theirs = zipline_engine.backtest(holder, sample.split, sample.raw, sample.actions, **how)
    assert compare(ours, theirs).equal_to_the_cent
    for symbol, day in (("AAPL", "2000-06-21"), ("AAPL", "2005-02-28"), ("MSFT", "2003-02-18")):
        before, after = theirs.positions[symbol].loc[:day].iloc[-2:]
        assert before > 100
        assert 1.8 * before < after < 2.2 * before
    assert (distributions(ours, sample.raw, sample.actions) > 0).sum() == 3


def test_an_order_waiting_through_a_split_is_doubled_in_zipline_too(sample: Any, scripted: Any) -> None:
    # In on the close before AAPL's split of 2005-02-28, out on the close before MSFT's rise of nothing.
    days = sample.raw.between(date(2005, 2, 24), date(2005, 3, 4)).sessions
    table = pd.DataFrame({"AAPL": [0.0, 0.6, 0.6, 0.0, 0.0, 0.0, 0.0]}, index=days)
    how = {"start": days[0].date(), "end": days[-1].date(), "assumptions": Assumptions()}
    ours = backtest(scripted(table), sample.split, sample.raw, sample.actions, **how)
    theirs = zipline_engine.backtest(scripted(table), sample.split, sample.raw, sample.actions, **how)
    # 100000 x 0.98 x 0.6 / 88.99, the raw close of 2005-02-25, is 660 shares, and 1320 after the split.
    assert ours.fills["quantity"].iloc[0] == 2 * (98_000 * 0.6 // sample.raw.close.loc["2005-02-25", "AAPL"])
    assert compare(ours, theirs).equal_to_the_cent
    assert compare(ours, theirs).fills.empty


def test_zipline_pays_the_fraction_of_a_split_share_at_cost(market: Any, scripted: Any) -> None:
    made = market({"A": [49, 51, 36, 36]}, {"A": [50, 52, 36, 36]}, [("A", "2013-01-04", "split", 1.5)])
    costs = Assumptions(capital_usd=10_000, cash_buffer=0.0, slippage_bps=0, tolerance=0.4)
    strategy = scripted(pd.DataFrame({"A": [0.505, 0.505, 0.505, 0.505]}, index=made.raw.sessions))
    ours = backtest(strategy, made.split, made.raw, made.actions, assumptions=costs)
    theirs = zipline_engine.backtest(strategy, made.split, made.raw, made.actions, assumptions=costs)
    # 101 shares cost 51 each and 1 of fee: (5151 + 1) / 101 / 1.5 = 34.0066 -> 34.01 a share after the
    # split; half of it is 17.005, which floats round to 17.00. The open is 36, half of it 18.00.
    assert compare(ours, theirs).equity["difference"].tolist() == pytest.approx([0, 0, -1.00, -1.00], abs=0.006)
    pd.testing.assert_frame_equal(ours.positions, theirs.positions)


def test_zipline_pays_a_dividend_of_the_split_day_on_the_shares_before(market: Any, scripted: Any) -> None:
    actions = [("A", "2013-01-04", "split", 2.0), ("A", "2013-01-04", "dividend", 0.25)]
    made = market({"A": [50, 50, 25, 25]}, {"A": [50, 50, 25, 25]}, actions)
    costs = Assumptions(capital_usd=10_000, slippage_bps=0, tolerance=0.4)
    strategy = scripted(pd.DataFrame({"A": [0.5] * 4}, index=made.raw.sessions))
    ours = backtest(strategy, made.split, made.raw, made.actions, assumptions=costs)
    theirs = zipline_engine.backtest(strategy, made.split, made.raw, made.actions, assumptions=costs)
    # 98 shares are 196 after the split: 49.00 by the convention, 24.50 in zipline.
    assert compare(ours, theirs).equity["difference"].tolist() == pytest.approx([0, 0, -24.5, -24.5], abs=1e-9)


def test_zipline_expires_an_order_that_meets_no_bar(market: Any, scripted: Any) -> None:
    nan = float("nan")
    prices = {"A": [10, nan, 11, 12], "B": [10, 10, 10, 10]}
    made = market(prices, prices)
    strategy = scripted(pd.DataFrame({"A": [0.5, 0, 0, 0], "B": [0.4] * 4}, index=made.raw.sessions))
    theirs = zipline_engine.backtest(strategy, made.split, made.raw, made.actions, assumptions=Assumptions())
    assert theirs.fills["symbol"].tolist() == ["B"]


def test_zipline_marks_a_symbol_without_a_bar_at_its_last_close(market: Any, scripted: Any) -> None:
    nan = float("nan")
    prices = {"A": [50, 50, nan, 25, 26], "B": [10.0, 10, 10, 10, 10]}
    made = market(prices, prices, [("A", "2013-01-04", "split", 2.0)])
    strategy = scripted(pd.DataFrame({"A": [0.5, 0.5, 0, 0.5, 0.5]}, index=made.raw.sessions))
    how = {"assumptions": Assumptions()}
    ours = backtest(strategy, made.split, made.raw, made.actions, **how)
    theirs = zipline_engine.backtest(strategy, made.split, made.raw, made.actions, **how)
    assert compare(ours, theirs).equal_to_the_cent
    assert theirs.equity.iloc[2] == pytest.approx(theirs.equity.iloc[1])


def test_zipline_refuses_bars_that_skip_a_session(market: Any, holder: Any) -> None:
    made = market({"A": [10] * 14}, {"A": [10] * 14})  # business days: one is Martin Luther King's day
    with pytest.raises(DataError, match="2013-01-21 is not a session of XNYS"):
        zipline_engine.backtest(holder, made.split, made.raw, made.actions, assumptions=Assumptions())
    rows = [0, 1, 3, 4]
    gapped = [type(b)(*[b.close.iloc[rows]] * 5, b.adjustment, 0) for b in (made.split, made.raw)]
    with pytest.raises(DataError, match="2013-01-04 is missing from the bars"):
        zipline_engine.backtest(holder, *gapped, made.actions, assumptions=Assumptions())


@pytest.mark.parametrize(("name", "parameters"), STRATEGIES)
def test_vectorbt_keeps_the_same_books_of_the_same_orders(
    sample: Any, name: str, parameters: dict[str, object]
) -> None:
    strategy = strategies.load(name, parameters)
    ours = backtest(strategy, sample.split, sample.raw, sample.actions, assumptions=Assumptions())
    theirs = vectorbt_engine.replay(ours, sample.raw, sample.actions)
    made = compare(ours, theirs)
    paid = distributions(ours, sample.raw, sample.actions).cumsum()
    assert (made.equity["difference"] + paid).abs().max() < 1e-6
    assert made.fills.empty
    assert np.abs(ours.positions - theirs.positions).max(axis=None) < 1e-9


def test_what_vectorbt_lacks_is_exactly_the_dividends(sample: Any, holder: Any) -> None:
    how = {"start": date(2013, 1, 2), "end": date(2013, 3, 1), "assumptions": Assumptions()}
    ours = backtest(holder, sample.split, sample.raw, sample.actions, **how)
    theirs = vectorbt_engine.replay(ours, sample.raw, sample.actions)
    made = compare(ours, theirs)
    assert made.first_difference == pd.Timestamp("2013-02-06")  # IBM goes ex
    held = ours.positions.shift(1)
    expected = (
        held.loc["2013-02-06", "IBM"] * 0.85
        + held.loc["2013-02-07", "AAPL"] * 2.65
        + held.loc["2013-02-19", "MSFT"] * 0.23
    )
    assert expected > 100
    assert made.equity["difference"].iloc[-1] == pytest.approx(-expected, abs=1e-6)


def test_vectorbt_lacks_the_fraction_of_a_split_share_too(market: Any, scripted: Any) -> None:
    made = market({"A": [49, 51, 36, 36]}, {"A": [50, 52, 36, 36]}, [("A", "2013-01-04", "split", 1.5)])
    costs = Assumptions(capital_usd=10_000, cash_buffer=0.0, slippage_bps=0, tolerance=0.4)
    strategy = scripted(pd.DataFrame({"A": [0.505, 0.505, 0.505, 0.505]}, index=made.raw.sessions))
    ours = backtest(strategy, made.split, made.raw, made.actions, assumptions=costs)
    assert distributions(ours, made.raw, made.actions).tolist() == pytest.approx([0, 0, 18.0, 0])


def test_a_sweep_of_one_is_close_to_its_backtest(sample: Any) -> None:
    strategy = MovingAverageCrossover(fast=50, slow=200)
    ours = backtest(strategy, sample.split, sample.raw, sample.actions, assumptions=Assumptions())
    swept = vectorbt_engine.sweep([strategy], sample.split, assumptions=Assumptions())
    # The sweep trades fractions of a share every day; both drifts stay far below the costs of a year.
    assert swept["total_return"].iloc[0] == pytest.approx(ours.metrics["total_return"], rel=0.02)
    assert swept["sharpe"].iloc[0] == pytest.approx(ours.metrics["sharpe"], abs=0.01)
    assert swept["max_drawdown"].iloc[0] == pytest.approx(ours.metrics["max_drawdown"], abs=0.005)


def test_a_sweep_has_one_row_per_strategy_in_order(sample: Any) -> None:
    pairs = [(20, 50), (10, 100), (20, 100)]
    grid = [MovingAverageCrossover(fast=fast, slow=slow) for fast, slow in pairs]
    swept = vectorbt_engine.sweep(grid, sample.split, start=date(2010, 1, 4), assumptions=Assumptions())
    assert list(swept.index) == pairs
    assert swept.index.names == ["fast", "slow"]
    alone = vectorbt_engine.sweep(grid[1:2], sample.split, start=date(2010, 1, 4), assumptions=Assumptions())
    pd.testing.assert_frame_equal(swept.iloc[1:2], alone)
    assert np.isfinite(swept.to_numpy()).all()


def test_the_books_of_a_sweep_by_hand(market: Any) -> None:
    made = market({"A": [49, 51, 53]}, {"A": [50, 52, 54]})
    costs = Assumptions(capital_usd=10_000, commission_per_share_usd=0, slippage_bps=0, cash_buffer=0)
    swept = vectorbt_engine.sweep([Constant(weight=0.5)], made.split, assumptions=costs)
    # 100 shares at 51, closing at 52: 10100. Then 5050 / 52 = 97.115 shares are wanted: 2.885 are sold
    # at 53, and 97.115 close at 54: 10100 + 100 x (53 - 52) + 97.115 x (54 - 53) = 10297.115.
    assert swept["total_return"].iloc[0] == pytest.approx(0.0297115385, abs=1e-9)
    assert swept["orders"].iloc[0] == 2


def test_a_sweep_refuses_nothing_and_mixtures(sample: Any, holder: Any) -> None:
    for wrong in ([], [holder], [Constant(weight=0.1), MovingAverageCrossover()]):
        with pytest.raises(DataError, match="at least one strategy, and all of one class"):
            vectorbt_engine.sweep(wrong, sample.split, assumptions=Assumptions())


def test_metrics_of_the_engines_are_computed_alike(sample: Any) -> None:
    how = {"start": date(2013, 1, 2), "end": date(2013, 3, 1), "assumptions": Assumptions()}
    strategy = strategies.load("momentum", {})
    theirs = zipline_engine.backtest(strategy, sample.split, sample.raw, sample.actions, **how)
    assert theirs.metrics == metrics.summary(theirs.equity, theirs.cash, theirs.fills)
    assert theirs.engine == "zipline"


def test_a_sweep_in_chunks_shows_each_and_gives_the_same_numbers(sample: Any) -> None:
    how = {"start": date(2012, 6, 1), "end": date(2013, 3, 1), "assumptions": Assumptions()}
    grid = [MovingAverageCrossover(fast=fast, slow=40) for fast in range(2, 38)]
    seen: list[int] = []

    def watch(chunks: list[Any]) -> Iterator[Any]:
        for chunk in chunks:
            seen.append(len(chunk))
            yield chunk

    swept = vectorbt_engine.sweep(grid, sample.split, progress=watch, **how)
    assert seen == [16, 16, 4]
    alone = vectorbt_engine.sweep(grid[30:], sample.split, **how)
    pd.testing.assert_frame_equal(swept.iloc[30:], alone)


def test_zipline_shows_every_session_it_goes_through(sample: Any) -> None:
    how = {"start": date(2013, 1, 2), "end": date(2013, 3, 1), "assumptions": Assumptions()}
    strategy = strategies.load("momentum", {})
    seen: list[int] = []

    def watch(events: Iterable[Any], *, total: int, unit: str) -> Iterator[Any]:
        assert (total, unit) == (41, "session")
        for event in events:
            seen.append(1)
            yield event

    watched = zipline_engine.backtest(strategy, sample.split, sample.raw, sample.actions, progress=watch, **how)
    alone = zipline_engine.backtest(strategy, sample.split, sample.raw, sample.actions, **how)
    assert len(seen) == 41
    pd.testing.assert_series_equal(watched.equity, alone.equity)
