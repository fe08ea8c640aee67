"""Published examples of other programs: the numbers that they give or print, and the same ones from the kernel."""

from __future__ import annotations

import importlib
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from research.conftest import SAMPLE, actions_of

from workbench.data.bars import FIELDS, Bars
from workbench.research import Assumptions, backtest
from workbench.research import metrics as formulas
from workbench.research.inputs import prepare
from workbench.strategies.base import Strategy

# What both examples set: PerShare(cost=0.0075, min_trade_cost=1.0) and VolumeShareSlippage() with its defaults.
ZIPLINE = Assumptions(
    capital_usd=100_000, commission_per_share_usd=0.0075, commission_min_usd=1.0, slippage_bps=0, cash_buffer=0,
    min_trade_value_usd=0, tolerance=0, fill="next_close", target="shares", max_volume_share=0.025, impact=0.1,
)  # fmt: skip


class BuyApple(Strategy):
    """zipline/examples/buyapple.py: ten more shares every session."""

    start: date

    def weights(self, bars: Bars) -> pd.DataFrame:
        counted = np.cumsum(bars.sessions >= pd.Timestamp(self.start)) * 10.0
        return pd.DataFrame({"AAPL": counted}, index=bars.sessions).reindex(columns=bars.close.columns)


class DualMovingAverage(Strategy):
    """zipline/examples/dual_moving_average.py: 100 shares while the mean of 100 sessions is above that of 300."""

    start: date

    def weights(self, bars: Bars) -> pd.DataFrame:
        close = bars.close["AAPL"]
        fast, slow = close.rolling(100).mean(), close.rolling(300).mean()
        wanted = pd.Series(np.nan, index=close.index).mask(fast > slow, 100.0).mask(fast < slow, 0.0)
        first = int(close.index.searchsorted(pd.Timestamp(self.start)))
        wanted.iloc[: first + 299] = 0.0  # the example skips its first 300 sessions
        return wanted.ffill().fillna(0.0).to_frame("AAPL")


@pytest.fixture(scope="module")
def apple(sample: Any) -> tuple[Bars, Bars, pd.DataFrame]:
    return sample.split.select(["AAPL"]), sample.raw.select(["AAPL"]), sample.actions.iloc[:0]


def by_zipline(
    apple: tuple[Bars, Bars, pd.DataFrame], example: Any, start: date, end: date
) -> tuple[list[float], list[Any]]:
    """Equity by session and all transactions of an example, run by zipline on the same bars."""
    from zipline.algorithm import TradingAlgorithm
    from zipline.data.data_portal import DataPortal
    from zipline.finance.trading import SimulationParameters
    from zipline.utils.calendar_utils import get_calendar

    from workbench.research.engines import _zipline_parts as parts

    inputs = prepare(BuyApple(start=start), *apple, start, end, ZIPLINE)
    exchange = get_calendar("XNYS")
    finder = parts.asset_finder(inputs, ZIPLINE, "XNYS")
    portal = DataPortal(
        finder, exchange, first_trading_day=inputs.sessions[0], equity_daily_reader=parts.SessionBars(inputs, exchange),
        adjustment_reader=parts.adjustment_reader(inputs),
    )  # fmt: skip
    equity: list[float] = []
    fills: list[Any] = []

    class Kept:
        def end_of_session(self, packet: Any, ledger: Any, *_: Any) -> None:
            equity.append(float(ledger.portfolio.portfolio_value))
            fills.extend(ledger.transactions())

    algorithm = TradingAlgorithm(
        sim_params=SimulationParameters(
            inputs.sessions[0], inputs.sessions[-1], exchange, capital_base=100_000, data_frequency="daily"
        ),
        data_portal=portal, initialize=example.initialize, handle_data=example.handle_data, metrics_set={Kept()},
        benchmark_returns=pd.Series(0.0, index=inputs.sessions),
    )  # fmt: skip
    for _ in algorithm.get_generator():
        pass
    return equity, fills


@pytest.mark.parametrize(
    ("module", "strategy", "start", "end"),
    [
        # Bought for ever on credit, so for two years; averages of 300 sessions cross seldom, so for seven.
        ("buyapple", BuyApple, date(2010, 1, 4), date(2011, 12, 30)),
        ("dual_moving_average", DualMovingAverage, date(2006, 1, 3), date(2012, 12, 31)),
    ],
)
def test_zipline_examples_give_the_same_equity_to_the_cent(
    apple: tuple[Bars, Bars, pd.DataFrame], module: str, strategy: Any, start: date, end: date
) -> None:
    equity, fills = by_zipline(apple, importlib.import_module(f"zipline.examples.{module}"), start, end)
    made = backtest(strategy(start=start), *apple, assumptions=ZIPLINE, start=start, end=end)
    assert len(fills) == len(made.fills) >= 3
    np.testing.assert_allclose(made.equity, equity, atol=0.004)
    np.testing.assert_allclose(made.fills["price"], [fill["price"] for fill in fills], rtol=1e-12)


# The tables that zipline's beginner tutorial prints of buyapple, by edition: its closes and, from the second session
# on, the cash and the value of the portfolio. Volumes are not printed; at these sizes the impact is nothing.
# Source: docs/source/beginner-tutorial.rst of quantopian/zipline, the edition of 2015 (0.03 USD a share, only cash and
# the position's value are printed) and both tables of 2018 (0.0075 USD a share and at least 1 USD; 0.001 USD a share).
CLOSES_2000 = [3.738314, 3.423135, 3.473229, 3.172661, 3.322945]
CLOSES_2016 = [105.35, 102.71, 100.70, 96.45, 96.96]
PRINTED = {
    "2015, 0.03 USD a share": (
        CLOSES_2000, {"commission_per_share_usd": 0.03, "commission_min_usd": 0.0},
        [9999965.46865, 9999930.43636, 9999898.40975, 9999864.88030],
        [9999965.46865 + 34.23135, 9999930.43636 + 69.46458, 9999898.40975 + 95.17983, 9999864.88030 + 132.91780],
        {},
    ),
    "2018, at least 1 USD": (
        CLOSES_2016, {"commission_per_share_usd": 0.0075, "commission_min_usd": 1.0},
        [9998971.9, 9997963.9, 9996998.4, 9996027.8], [9999999.0, 9999977.9, 9999891.9, 9999906.2],
        {"sharpe": -7.511729, "sortino": -7.519659, "max_drawdown": -1.081e-05},
    ),
    "2018, 0.001 USD a share": (
        CLOSES_2016, {"commission_per_share_usd": 0.001, "commission_min_usd": 0.0},
        [9998972.89, 9997965.88, 9997001.37, 9996031.76], [9999999.99, 9999979.88, 9999894.87, 9999910.16],
        {"sharpe": -7.215497, "sortino": -7.301134, "max_drawdown": -1.0513e-05, "volatility": 6.275294e-05},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("closes", "fees", "cash", "equity", "metrics"), PRINTED.values(), ids=PRINTED)
def test_the_tables_of_ziplines_tutorial_are_reproduced(
    market: Any, closes: list[float], fees: dict[str, float], cash: list[float], equity: list[float],
    metrics: dict[str, float],
) -> None:  # fmt: skip
    made = market({"AAPL": closes}, {"AAPL": closes})
    assumptions = replace(ZIPLINE, capital_usd=1e7, max_volume_share=None, impact=0.0, **fees)
    strategy = BuyApple(start=made.raw.sessions[0].date())
    done = backtest(strategy, made.split, made.raw, made.actions, assumptions=assumptions)
    np.testing.assert_allclose(done.cash, [1e7, *cash], rtol=0, atol=1e-5)
    np.testing.assert_allclose(done.equity, [1e7, *equity], rtol=0, atol=1e-5)
    # zipline counts a return of zero for the first session, which has none.
    counted = pd.concat([pd.Series([1e7]), done.equity], ignore_index=True)
    for name, printed in metrics.items():
        assert getattr(formulas, name)(counted) == pytest.approx(printed, rel=2e-7)


class SmaCross(Strategy):
    """``up`` from each crossing upwards of two moving averages, ``down`` from each downwards, nothing before the first.

    The example on the first pages of backtesting.py (1 and -1 of equity) and of backtrader (100 shares and none).
    """

    fast: int
    slow: int
    up: float = 1.0
    down: float = -1.0

    def weights(self, bars: Bars) -> pd.DataFrame:
        close = bars.close.iloc[:, 0]
        above = close.rolling(self.fast).mean() - close.rolling(self.slow).mean()
        before = above.shift()
        side = pd.Series(np.nan, index=close.index).mask((before < 0) & (above > 0), self.up)
        return side.mask((before > 0) & (above < 0), self.down).ffill().fillna(0.0).to_frame(close.name)


@pytest.mark.parametrize(
    ("fast", "slow", "final_usd", "peak_usd", "max_drawdown", "closed", "won", "best", "worst"),
    [
        (10, 20, 83099.413, 83167.393, -0.3301690438738518, 93, 51, 0.5743354818089812, -0.1639663865546217),
        (20, 50, 14559.5624, 23415.9524, -0.5577132100744606, 39, 11, 0.48507997793712065, -0.13380940236334272),
    ],
)
def test_backtesting_py_gives_the_same_on_the_sample(
    sample: Any, fast: int, slow: int, final_usd: float, peak_usd: float, max_drawdown: float, closed: int, won: int,
    best: float, worst: float,
) -> None:  # fmt: skip
    """Said by backtesting.py 0.6.6, ``Backtest(GOOG, SmaCross, exclusive_orders=True)``, on the sample's own bars."""
    goog = sample.split.select(["GOOG"]), sample.raw.select(["GOOG"]), sample.actions.iloc[:0]
    assumptions = Assumptions(
        capital_usd=10_000, commission_per_share_usd=0, commission_min_usd=0, slippage_bps=0, cash_buffer=1e-4,
        min_trade_value_usd=0, tolerance=0, sizing="fill", rebalance="on_change", allow_short=True,
    )  # fmt: skip
    made = backtest(SmaCross(fast=fast, slow=slow), *goog, assumptions=assumptions)
    assert made.equity.iloc[-1] == pytest.approx(final_usd, abs=1e-6)
    assert made.equity.max() == pytest.approx(peak_usd, abs=1e-6)
    assert made.metrics["max_drawdown"] == pytest.approx(max_drawdown, rel=1e-9)
    trades = made.trades[made.trades["status"] == "closed"]
    assert (len(trades), int((trades["pnl"] > 0).sum())) == (closed, won)
    assert (trades["return"].max(), trades["return"].min()) == pytest.approx((best, worst), rel=1e-9)


@pytest.mark.parametrize(
    ("fast", "slow", "final_usd", "cash_usd", "max_drawdown", "closed", "won"),
    [
        (20, 50, 97717.941, 77426.941, -0.0927663021506512, 36, 14),
        (50, 200, 101045.434, 80754.434, -0.06819899747929176, 13, 4),
    ],
)
def test_backtrader_gives_the_same_on_the_sample(
    sample: Any, fast: int, slow: int, final_usd: float, cash_usd: float, max_drawdown: float, closed: int, won: int
) -> None:
    """Said by backtrader 1.9.78, ``CrossOver``, 100 shares, ``setcommission(0.001)``, on the sample's bars of IBM."""
    ibm = sample.split.select(["IBM"]), sample.raw.select(["IBM"]), sample.actions.iloc[:0]
    assumptions = Assumptions(
        capital_usd=100_000, commission_per_share_usd=0, commission_min_usd=0, commission_bps=10, slippage_bps=0,
        cash_buffer=0, min_trade_value_usd=0, tolerance=0, target="shares",
    )  # fmt: skip
    made = backtest(SmaCross(fast=fast, slow=slow, up=100, down=0), *ibm, assumptions=assumptions)
    assert made.equity.iloc[-1] == pytest.approx(final_usd, abs=1e-6)
    assert made.cash.iloc[-1] == pytest.approx(cash_usd, abs=1e-6)
    assert made.metrics["max_drawdown"] == pytest.approx(max_drawdown, rel=1e-9)
    trades = made.trades[made.trades["status"] == "closed"]
    assert (len(trades), int((trades["pnl"] > 0).sum())) == (closed, won)


class Equal(Strategy):
    """bt's ``WeighEqually``."""

    def weights(self, bars: Bars) -> pd.DataFrame:
        return pd.DataFrame(1 / len(bars.close.columns), index=bars.close.index, columns=bars.close.columns)


@pytest.mark.parametrize(
    ("lot", "final_usd", "max_drawdown"),
    [(1.0, 4066198.515460646, -0.4705072502934726), (None, 4066276.4830295173, -0.4705197831821478)],
)
def test_bt_gives_the_same_on_the_sample(lot: float | None, final_usd: float, max_drawdown: float) -> None:
    """Said by bt 1.4.1, ``RunMonthly, SelectAll, WeighEqually, Rebalance``, on the sample's adjusted closes.

    From 2005 to 2012, with ``integer_positions`` and without.
    """
    rows = pd.read_csv(SAMPLE, parse_dates=["Date"])
    adjusted = rows.pivot(index="Date", columns="Ticker", values="Adj Close")[["AAPL", "IBM", "MSFT"]]
    closes = dict.fromkeys(FIELDS, adjusted.loc["2004-12-31":"2012-12-31"].rename_axis("session"))
    assumptions = Assumptions(
        capital_usd=1_000_000, commission_per_share_usd=0, commission_min_usd=0, slippage_bps=0, cash_buffer=0,
        min_trade_value_usd=0, tolerance=0, fill="close", lot=lot, rebalance="month_start",
    )  # fmt: skip
    bars = [Bars(**closes, adjustment=adjustment, snapshot=0) for adjustment in ("split", "raw")]
    made = backtest(Equal(), *bars, actions_of([]), assumptions=assumptions, start=date(2005, 1, 3))
    # Weights have nine decimals here, a third too.
    assert made.equity.iloc[-1] == pytest.approx(final_usd, rel=1e-12 if lot else 2e-9)
    assert made.metrics["max_drawdown"] == pytest.approx(max_drawdown, rel=1e-8)
    assert made.fills["session"].nunique() == 96
