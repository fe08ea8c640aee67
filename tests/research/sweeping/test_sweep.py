"""What a sweep refuses, what it flags, how it is interrupted and taken up again; numbers worked out by hand."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import Field, ValidationError, field_validator

from workbench.clock import ManualClock
from workbench.data.bars import FIELDS, Bars
from workbench.errors import ConfigError, DataError, ParameterError
from workbench.research import Assumptions, TrialLedger, sweep
from workbench.research.sweeping import jobs
from workbench.research.sweeping.grid import grid_of
from workbench.research.sweeping.running import chunks_of, compute, missing
from workbench.strategies.base import Strategy
from workbench.strategies.moving_average import MovingAverageCrossover

FREE = Assumptions(
    capital_usd=1000, commission_per_share_usd=0, commission_min_usd=0, slippage_bps=0, cash_buffer=0,
    min_trade_value_usd=0, tolerance=0, lot=None,
)  # fmt: skip


class Share(Strategy):
    """A constant share of equity in everything that has a price."""

    share: float = Field(0.5, ge=0)

    def weights(self, bars: Bars) -> pd.DataFrame:
        return bars.close.notna() * self.share


def bars_of(closes: dict[str, list[float]], opens: dict[str, list[float]] | None = None) -> Bars:
    days = pd.bdate_range("2013-01-02", periods=len(next(iter(closes.values()))), name="session")
    close, open_ = (pd.DataFrame(prices, index=days, dtype=float) for prices in (closes, opens or closes))
    return Bars(**{name: open_ if name == "open" else close for name in FIELDS}, adjustment="total", snapshot=5)


def changed(bars: Bars, rows: list[int]) -> Bars:
    """The same bars with their sessions in another order."""
    return Bars(**{name: getattr(bars, name).iloc[rows] for name in FIELDS}, adjustment="total", snapshot=5)


@pytest.fixture
def walk() -> Bars:
    rng = np.random.default_rng(4)
    return bars_of({name: list(50 * np.exp(np.cumsum(rng.normal(0, 0.02, 300)))) for name in ("A", "B")})


def row(strategy: Strategy, bars: Bars, **assumed: Any) -> dict[str, Any]:
    assumptions = Assumptions(**{**{name: getattr(FREE, name) for name in FREE.__slots__}, **assumed})
    share = next(iter(dict(strategy)))
    (found,) = sweep(strategy, {share: [getattr(strategy, share)]}, bars, assumptions=assumptions).table.to_dict(
        "records"
    )
    return {str(name): value for name, value in found.items()}


# ---- numbers by hand ---------------------------------------------------------------------------------


def test_metrics_of_half_a_position_bought_once() -> None:
    bars = bars_of({"A": [10, 10, 12, 9, 9]})
    found = row(Share(share=0.5), bars, rebalance="on_change")
    # 50 shares bought at 10 on the second day: equity 1000, 1000, 1100, 950, 950
    returns = np.array([0, 0, 0.1, 950 / 1100 - 1, 0])
    assert found["total_return"] == pytest.approx(-0.05)
    assert found["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * math.sqrt(252))
    assert found["sortino"] == pytest.approx(returns.mean() / math.sqrt((returns[3] ** 2) / 5) * math.sqrt(252))
    assert found["max_drawdown"] == pytest.approx(950 / 1100 - 1)
    assert found["exposure"] == pytest.approx((0 + 500 / 1000 + 600 / 1100 + 450 / 950 + 450 / 950) / 5)
    assert (found["trades"], found["flag"]) == (0, "")
    assert math.isnan(found["win_rate"])


def test_whole_shares_buffer_fees_and_a_minimum_by_hand() -> None:
    bars = bars_of({"A": [30, 30, 33, 33, 33]}, {"A": [30, 31, 33, 32, 33]})

    class Once(Strategy):
        """In on the first close, out on the third."""

        share: float

        def weights(self, bars: Bars) -> pd.DataFrame:
            return pd.DataFrame({"A": [self.share, self.share, 0, 0, 0]}, index=bars.sessions)

    assumed = {"lot": 1.0, "cash_buffer": 0.1, "commission_per_share_usd": 0.1, "commission_min_usd": 2.0}
    found = row(Once(share=1.0), bars, slippage_bps=100, rebalance="on_change", **assumed)
    # floor(900 / 30) = 30 shares at 31.31, fee 3; sold at 32 x 0.99 = 31.68, fee 3
    assert found["total_return"] == pytest.approx((30 * (31.68 - 31.31) - 6) / 1000)
    assert (found["trades"], found["win_rate"]) == (1, 1.0)
    dearer = row(Once(share=1.0), bars, slippage_bps=100, rebalance="on_change", **assumed | {"commission_min_usd": 9})
    assert dearer["total_return"] == pytest.approx((30 * (31.68 - 31.31) - 18) / 1000)
    assert dearer["win_rate"] == 0.0


def test_a_change_below_tolerance_or_minimum_is_not_traded() -> None:
    bars = bars_of({"A": [10, 10, 11, 11, 11, 11]})
    every = row(Share(share=0.5), bars)
    # after the rise: 550 of 1050 held, 525 wanted: 25 USD over, sold at 11
    assert every["trades"] == 1
    assert row(Share(share=0.5), bars, tolerance=0.03)["trades"] == 0
    assert row(Share(share=0.5), bars, min_trade_value_usd=30.0)["trades"] == 0
    assert row(Share(share=0.5), bars, min_trade_value_usd=20.0)["trades"] == 1


def test_gains_are_not_invested_again_without_compounding() -> None:
    bars = bars_of({"A": [10, 10, 20, 20, 40, 40]})
    # 100 shares at 10; the rise to 20 makes 2000, of which only 1000 stay invested: 50 shares, doubled once more
    assert row(Share(share=1.0), bars, compounding=False)["total_return"] == pytest.approx(2.0)
    assert row(Share(share=1.0), bars)["total_return"] == pytest.approx(3.0)


def test_rebalancing_at_the_end_of_months_only() -> None:
    days = pd.bdate_range("2013-01-24", "2013-03-06", name="session")
    bars = Bars(*[pd.DataFrame({"A": np.linspace(10, 20, len(days))}, index=days)] * 5, adjustment="total", snapshot=0)
    assumed = {"fill": "close", "commission_per_trade_usd": 1.0}
    # bought on 31 January, trimmed on 28 February; the last session is no end of a month
    free = row(Share(share=0.5), bars, fill="close", rebalance="month_end")
    paid = row(Share(share=0.5), bars, rebalance="month_end", **assumed)
    assert (free["trades"], paid["trades"]) == (1, 1)
    assert 1.9 / 1000 < free["total_return"] - paid["total_return"] < 2.2 / 1000
    assert row(Share(share=0.5), bars, fill="close", rebalance="month_start")["trades"] == 1  # 1 February, 1 March
    assert row(Share(share=0.5), bars, fill="close", rebalance="week_end")["trades"] == 5


def test_a_symbol_without_a_bar_keeps_its_shares_and_its_order_expires() -> None:
    nan = math.nan
    bars = bars_of({"A": [10, nan, 12, 12, 12, 15], "B": [10, 10, 10, 10, 10, 10]})
    found = row(Share(share=0.5), bars, rebalance="on_change")
    # the order of A of the first close met no bar, and its target changes no more
    assert found["total_return"] == pytest.approx(0.0)
    again = row(Share(share=0.5), bars)
    # decided again on the third close at 12, filled at 12 on the fourth: 500 / 12 shares rise by 3
    assert again["total_return"] == pytest.approx(500 / 12 * 3 / 1000)


CONVENTIONS: list[dict[str, Any]] = [
    {},
    {"rebalance": "on_change"},
    {"rebalance": "month_end"},
    {"lot": None, "tolerance": 0.0},
    {"fill": "close"},
    {"fill": "next_close", "rebalance": "on_change", "risk_free_rate": 0.05},
    {"buys": "within_cash", "cash_buffer": 0.0, "lot": None, "fill": "close", "rebalance": "on_change"},
    {"compounding": False, "rebalance": "on_change"},
    {"capital_usd": 300.0, "commission_min_usd": 40.0, "min_trade_value_usd": 0.0},  # fees ruin it
    {"capital_usd": 60.0, "min_trade_value_usd": 50.0},  # too little for most orders
    {"capital_usd": 200.0, "commission_per_trade_usd": 60.0, "buys": "within_cash", "min_trade_value_usd": 0.0},
]


@pytest.mark.parametrize("missing", [(), (40, 41, 120)], ids=["whole", "gaps"])
def test_crossovers_order_by_order_equal_the_strategy_session_by_session(
    walk: Bars, missing: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    bars, grid = walk.select(["A"]), {"fast": [1, 3, 5, 8, 20], "slow": [5, 21, 60]}
    frames = {name: getattr(bars, name).copy() for name in FIELDS}
    for frame in frames.values():
        frame.iloc[list(missing)] = np.nan
    bars = Bars(**frames, adjustment="total", snapshot=5)
    costs = {"commission_min_usd": 1.0, "commission_per_share_usd": 0.01, "slippage_bps": 3.0, "cash_buffer": 0.02}
    traded = []
    for assumed in CONVENTIONS:
        assumptions = Assumptions(**{**costs, **assumed})
        how = {"start": date(2013, 2, 11), "assumptions": assumptions, "progress": False}
        traded.append(same_in_three_ways(grid, bars, monkeypatch, **how)["trades"].sum())
    assert sorted(traded)[2] > 20


def test_a_price_that_explodes_costs_no_digit_of_what_did_not_hold_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(11)
    walk = 20.0 * np.exp(np.cumsum(rng.normal(0.001, 0.02, 900)))
    walk[450:453] *= 1e8  # squares of returns to 1e16: sums less sums of doubles would keep no digit of the rest
    frame = pd.DataFrame({"A": walk}, index=pd.bdate_range("2013-01-02", periods=900, name="session"))
    bars = Bars(**dict.fromkeys(FIELDS, frame), adjustment="total", snapshot=5)
    all_in = Assumptions(
        commission_min_usd=0, commission_per_share_usd=0, commission_bps=10, slippage_bps=0, cash_buffer=0, lot=None,
        min_trade_value_usd=0, tolerance=0, buys="within_cash", fill="close", rebalance="on_change",
    )  # fmt: skip
    grid = {"fast": range(1, 12), "slow": [*range(2, 10), 120, 300, 400]}
    table = same_in_three_ways(grid, bars, monkeypatch, assumptions=all_in, progress=False)
    assert len(table) > 64  # more than go side by side
    assert 0 < (table["flag"] == "").sum() < len(table)


def same_in_three_ways(grid: Any, bars: Bars, monkeypatch: pytest.MonkeyPatch, **how: Any) -> pd.DataFrame:
    """The table of the crossover's own loop, of its weights order by order, and of its weights session by session."""

    class Ordinary(MovingAverageCrossover):
        """The same strategy, for which there is no loop of its own."""

    fast, orders = sweep(MovingAverageCrossover, grid, bars, **how), sweep(Ordinary, grid, bars, **how)
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "_order_by_order", lambda *_: False)
        sessions = sweep(Ordinary, grid, bars, **how)
    for made in (fast, orders):
        pd.testing.assert_frame_equal(made.table, sessions.table, rtol=1e-9, atol=1e-12)
    return fast.table


# ---- the grid ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"fsat": [5], "slow": [20]}, "no parameter 'fsat'; did you mean fast?"),
        ({}, "grid of MovingAverageCrossover is empty; its parameters: fast, slow"),
        ({"fast": []}, "no values for fast"),
        ({"fast": [5, 5]}, "fast=5 twice"),
        (
            {"fast": [30, 40], "slow": [20, 30]},
            "refuses all 4 combinations of the grid; fast=30 slow=20: slow: must be",
        ),
        (
            {"fast": ["many"]},
            "refuses all 1 combinations of the grid; fast=many: fast: input should be a valid integer",
        ),
    ],
)
def test_a_grid_that_cannot_be_meant_is_refused(walk: Bars, grid: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message.replace("(", r"\(").replace("?", r"\?")):
        sweep("moving_average", grid, walk)


def test_an_unknown_strategy_is_refused(walk: Bars) -> None:
    with pytest.raises(ConfigError, match="did you mean moving_average"):
        sweep("moving_averages", {"fast": [5]}, walk)


@pytest.mark.parametrize("values", [[0, 1, 2, 5, 50, 200], [-3, 2.5, 7.0, 7.5, "9", 200]])
def test_what_a_strategy_accepts_at_once_is_what_its_validators_accept(values: list[Any]) -> None:
    class Picky(MovingAverageCrossover):
        """It inherits the answer about arrays, and must be asked for each all the same."""

        @field_validator("slow")
        @classmethod
        def _not_fifty(cls, slow: int) -> int:
            if slow == 50:
                raise ValueError("not fifty")
            return slow

    grid = {"fast": values, "slow": values}
    for kind in (MovingAverageCrossover, Picky):
        made = grid_of(kind, grid)
        taken = []
        for chosen in made.parameters(np.arange(len(values) ** 2)):
            try:
                kind(**chosen)
            except ValidationError:
                continue
            taken.append(chosen)
        assert made.parameters(made.allowed) == taken
        assert taken
    held = grid_of(MovingAverageCrossover(fast=10, slow=30), {"slow": [5, 20]})
    assert held.parameters(held.allowed) == [{"fast": 10, "slow": 20}]


def test_refused_combinations_are_counted_and_the_first_is_told(walk: Bars) -> None:
    swept = sweep("moving_average", {"slow": [10, 20], "fast": [5, 15, 0]}, walk)
    assert list(swept.table.index) == [(10, 5), (20, 5), (20, 15)]
    assert (len(swept), swept.refused) == (3, 3)
    assert swept.refusal == "slow=10 fast=15: slow: must be above fast, which is 15 (got 10)"
    assert "3 refused, e.g. slow=10 fast=15" in repr(swept)


def test_values_are_taken_as_the_parameter_keeps_them(walk: Bars) -> None:
    swept = sweep(Share, {"share": np.array([0, 1]) / 4}, walk)
    assert swept.table.index.tolist() == [0.0, 0.25]
    assert sweep("moving_average", {"fast": "5", "slow": 20}, walk).table.index.tolist() == [(5, 20)]


# ---- the data ----------------------------------------------------------------------------------------


def test_too_few_bars_for_the_lookback_are_named(walk: Bars) -> None:
    expected = r"too few bars: Momentum\(lookback=300, top=1\) needs 301 sessions, and A, B have 300 \(2013-01-02 to"
    with pytest.raises(DataError, match=expected):
        sweep("momentum", {"lookback": [5, 300], "top": [1]}, walk)
    with pytest.raises(DataError, match="MovingAverageCrossover slow=400 needs 400 sessions, and A have 300"):
        sweep("moving_average", {"fast": [5], "slow": [20, 400]}, walk.select(["A"]))


def test_sessions_in_disorder_are_named(walk: Bars) -> None:
    with pytest.raises(DataError, match="A are not ascending and unique: 2013-01-03 is there twice"):
        sweep(Share, {"share": [0.5]}, changed(walk, [0, 1, 1, 2]))
    with pytest.raises(DataError, match="2013-01-03 follows 2013-01-04"):
        sweep(Share, {"share": [0.5]}, changed(walk, [0, 2, 1, 3]))


def test_a_symbol_without_any_price_is_named() -> None:
    bars = bars_of({"A": [10, 11, 12], "B": [math.nan] * 3})
    with pytest.raises(DataError, match="B has no price from 2013-01-02 to 2013-01-04"):
        sweep(Share, {"share": [0.5]}, bars)


@pytest.mark.parametrize("price", [0.0, -1.0, math.inf])
def test_a_price_that_is_none_is_named(price: float) -> None:
    with pytest.raises(DataError, match="A on 2013-01-03: its open is not a positive number"):
        sweep(Share, {"share": [0.5]}, bars_of({"A": [10, price, 12]}))


def test_an_open_without_a_close_is_named() -> None:
    bars = bars_of({"A": [10, 11, 12]}, {"A": [10, math.nan, 12]})
    with pytest.raises(DataError, match="A on 2013-01-03: has only one of open and close"):
        sweep(Share, {"share": [0.5]}, bars)


def test_a_window_without_sessions_is_refused(walk: Bars) -> None:
    with pytest.raises(DataError, match="no sessions from 2020-01-01 to None; the bars cover 2013-01-02 to"):
        sweep(Share, {"share": [0.5]}, walk, start=date(2020, 1, 1))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, r"A on 2013-01-04: weight given by Cheat\(at=2\) is not a finite number: nan"),
        (-0.1, r"A on 2013-01-04: weight given by Cheat\(at=2\) is negative"),
        (1.2, r"weights of Cheat\(at=2\) sum to 1.2 on 2013-01-04; a sweep does not borrow"),
    ],
)
def test_a_weight_that_cannot_be_traded_is_named(walk: Bars, value: float, message: str) -> None:
    class Cheat(Strategy):
        at: int

        def weights(self, bars: Bars) -> pd.DataFrame:
            table = bars.close * 0.0
            table.iloc[self.at, 0] = value
            return table

    with pytest.raises(DataError, match=message):
        sweep(Cheat, {"at": [2, 3]}, walk)


def test_a_weight_without_a_price_is_named() -> None:
    class Blind(Strategy):
        share: float

        def weights(self, bars: Bars) -> pd.DataFrame:
            return bars.close.fillna(0.0) * 0.0 + self.share

    bars = bars_of({"A": [10, 11, 12], "B": [10, math.nan, 12]})
    with pytest.raises(DataError, match=r"B on 2013-01-03: has no price, but its weight given by Blind\(share=0.3\)"):
        sweep(Blind, {"share": [0.3]}, bars)


def test_weights_of_other_sessions_are_refused(walk: Bars) -> None:
    class Short(Strategy):
        share: float

        def weights(self, bars: Bars) -> pd.DataFrame:
            return bars.close.iloc[1:] * 0.0

    with pytest.raises(DataError, match="returned other sessions or symbols"):
        sweep(Short, {"share": [0.3]}, walk)


def test_what_only_a_backtest_models_is_refused(walk: Bars) -> None:
    with pytest.raises(ConfigError, match=r"cannot express assumption max_volume_share = 0.1; leave it at its default"):
        sweep(Share, {"share": [0.5]}, walk, assumptions=Assumptions(max_volume_share=0.1))


# ---- flags -------------------------------------------------------------------------------------------


def test_what_never_traded_is_flagged_and_is_not_the_best(walk: Bars) -> None:
    swept = sweep(Share, {"share": [0.0, 0.5]}, walk, assumptions=FREE)
    assert swept.table["flag"].to_dict() == {0.0: "never invested", 0.5: ""}
    assert swept.best().index.tolist() == [0.5]
    assert np.isnan(swept.table.loc[0.0, ["sharpe", "sortino", "win_rate"]].astype(float)).all()


def test_a_price_that_jumps_is_flagged() -> None:
    assert row(Share(share=0.9), bars_of({"A": [10, 10, 11, 60, 60]}))["flag"] == "exploding equity"


def test_an_account_that_fees_ruin_is_flagged() -> None:
    bars = bars_of({"A": [10.0, 12.0] * 10})
    assert row(Share(share=0.5), bars, commission_per_trade_usd=120.0)["flag"] == "equity at or below zero"


# ---- progress, interruption, resuming ----------------------------------------------------------------


class Bar:
    """A progress bar that stops the sweep, as Ctrl-C does, when so many combinations are done."""

    def __init__(self, stop_at: int | None) -> None:
        self.stop_at, self.seen, self.closed, self.made = stop_at, 0, False, {}

    def __call__(self, **how: Any) -> Bar:
        self.made, self.seen = how, how["initial"]
        return self

    def update(self, count: int) -> None:
        self.seen += count
        if self.stop_at is not None and self.seen >= self.stop_at:
            raise KeyboardInterrupt

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def ledger(tmp_path: Path) -> TrialLedger:
    return TrialLedger(tmp_path / "trials")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2013, 3, 1, 22, 0, tzinfo=UTC))


GRID = {"fast": range(1, 60), "slow": range(2, 80)}


def test_an_interrupted_sweep_keeps_what_is_done_and_goes_on_from_there(
    walk: Bars, ledger: TrialLedger, clock: ManualClock
) -> None:
    bars = walk.select(["A"])
    how: dict[str, Any] = {"assumptions": FREE, "ledger": ledger, "clock": clock}
    whole = sweep("moving_average", GRID, bars, assumptions=FREE)
    first = Bar(stop_at=1000)
    with pytest.raises(KeyboardInterrupt, match=r"1,024 combinations are done, 1,867 are not; the same sweep goes on"):
        sweep("moving_average", GRID, bars, progress=first, **how)
    assert (first.made["total"], first.closed) == (2891, True)
    assert ledger.count("moving_average", ["A"]) == 1024
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sweep")]
    second = Bar(stop_at=None)
    resumed = sweep("moving_average", GRID, bars, progress=second, **how)
    assert (second.made["initial"], second.seen) == (1024, 2891)
    assert (resumed.resumed, resumed.trials) == (1024, 2891)
    pd.testing.assert_frame_equal(resumed.table, whole.table, rtol=1e-12)


def test_a_sweep_that_is_done_is_only_read(walk: Bars, ledger: TrialLedger, clock: ManualClock) -> None:
    how: dict[str, Any] = {"assumptions": FREE, "ledger": ledger, "clock": clock}
    first = sweep(Share, {"share": [0.0, 0.3]}, walk, **how)
    again = sweep(Share, {"share": [0.0, 0.3]}, walk, **how)
    assert again.resumed == 2
    pd.testing.assert_frame_equal(again.table, first.table, rtol=1e-12)
    assert len(ledger.parts()) == 1


def test_other_data_costs_or_windows_are_another_sweep(walk: Bars, ledger: TrialLedger, clock: ManualClock) -> None:
    def run(bars: Bars = walk, **how: Any) -> tuple[str, int]:
        made = sweep(Share, {"share": [0.3]}, bars, **{"assumptions": FREE, "ledger": ledger, "clock": clock, **how})
        return made.sweep_id, made.resumed

    revised = bars_of({"A": walk.close["A"].tolist(), "B": [*walk.close["B"].tolist()[:-1], 60.0]})
    runs = [
        run(),
        run(end=date(2013, 6, 3)),
        run(assumptions=Assumptions()),
        run(revised),
    ]
    assert len({identifier for identifier, _ in runs}) == 4
    assert all(resumed == 0 for _, resumed in runs)
    assert ledger.count("Share", ["A", "B"]) == 1  # one combination, whatever it was tried on
    assert run() == (runs[0][0], 1)


def test_another_thread_of_the_same_sweep_records_nothing_twice(
    walk: Bars, ledger: TrialLedger, clock: ManualClock
) -> None:
    bars = walk.select(["A"])

    def run() -> None:
        sweep("moving_average", GRID, bars, assumptions=FREE, ledger=ledger, clock=clock, progress=False)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.count("moving_average", ["A"]) == 2891


def test_an_error_keeps_the_trials_before_it(walk: Bars, ledger: TrialLedger, clock: ManualClock) -> None:
    class Late(Strategy):
        number: int

        def weights(self, bars: Bars) -> pd.DataFrame:
            return bars.close * (math.nan if self.number == 3999 else 0.0)

    with pytest.raises(DataError, match=r"Late\(number=3999\) is not a finite number"):
        sweep(Late, {"number": range(4000)}, walk, ledger=ledger, clock=clock)
    assert 0 < ledger.count("Late", ["A", "B"]) < 4000


# ---- seeing ------------------------------------------------------------------------------------------


def test_a_plateau_is_the_median_of_a_combination_and_its_neighbours(walk: Bars) -> None:
    swept = sweep("moving_average", {"fast": [2, 4, 6], "slow": [6, 9, 12]}, walk.select(["A"]), assumptions=FREE)
    sharpe = swept.table["sharpe"]
    plateau = swept.plateau()
    around = [sharpe[2, 6], sharpe[2, 9], sharpe[4, 6], sharpe[4, 9]]
    assert plateau.loc[(2, 6), "neighbours"] == pytest.approx(float(np.median(around)))
    middle = sharpe.tolist()  # (4, 9) touches all eight that are allowed
    assert plateau.loc[(4, 9), "neighbours"] == pytest.approx(float(np.median(middle)))
    assert plateau.loc[(4, 9), "lowest"] == pytest.approx(min(middle))
    assert plateau["neighbours"].is_monotonic_decreasing


def test_a_surface_has_the_first_parameter_down_and_the_last_across(walk: Bars) -> None:
    swept = sweep("moving_average", {"fast": [6, 2], "slow": [6, 9]}, walk.select(["A"]), assumptions=FREE)
    surface = swept.surface("total_return")
    assert (surface.index.tolist(), surface.columns.tolist()) == ([2, 6], [6, 9])
    assert np.isnan(surface.loc[6, 6])
    assert surface.loc[2, 9] == swept.table.loc[(2, 9), "total_return"]
    figure = swept.heatmap()
    assert np.array_equal(figure.data[0].z, swept.surface().to_numpy(), equal_nan=True)
    assert (figure.data[1].y[0], figure.data[1].x[0]) == swept.plateau().index[0]
    with pytest.raises(ParameterError, match="'shrape' is no metric of a sweep; did you mean sharpe"):
        swept.best(by="shrape")


@pytest.mark.parametrize(
    ("done", "left"),
    [([], [(0, 4)]), ([0, 1, 2, 3], []), ([1], [(0, 1), (2, 4)]), ([0, 3], [(1, 3)])],
)
def test_what_is_missing_is_what_is_not_done(done: list[int], left: list[tuple[int, int]]) -> None:
    assert missing(np.array(done, dtype=np.int64), 4) == left
    covered = [number for first, last in chunks_of(left, 2) for number in range(first, last)]
    assert sorted(covered + done) == [0, 1, 2, 3]


class Numbers:
    """A job in Python whose sums are the numbers themselves."""

    chunk = 16
    in_python = True

    def run(self, numbers: Any) -> Any:
        return numbers.reshape(-1, 1).astype(float)


@pytest.mark.parametrize(
    ("moments", "threads"),
    [
        # Alone 2 combinations take 1 s: 4 on two threads in 1.5 s are quicker, in 2 s or in 3 s they are not.
        ([0.0, 1.0, 2.5], 2),
        ([0.0, 1.0, 3.0], 1),
        ([0.0, 1.0, 4.0], 1),
    ],
)
def test_python_goes_on_as_many_threads_as_are_quickest(
    monkeypatch: pytest.MonkeyPatch, moments: list[float], threads: int
) -> None:
    monkeypatch.setattr("workbench.research.sweeping.running.cores", lambda: 2)
    made: list[int] = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, workers: int, **more: Any) -> None:
            made.append(workers)
            super().__init__(workers, **more)

    monkeypatch.setattr("workbench.research.sweeping.running.ThreadPoolExecutor", Pool)
    ticks, ranges = iter(moments), [(0, 3), (5, 120)]
    job: Any = Numbers()
    found = dict(compute(job, np.arange(120), ranges, None, timer=lambda: next(ticks)))
    assert made == [1, 1, 2, threads]
    assert sorted(number for first, last in found for number in range(first, last)) == [*range(3), *range(5, 120)]
    assert all(sums[:, 0].tolist() == list(range(*part)) for part, sums in found.items())


def test_a_job_too_small_to_try_threads_on_uses_them_all() -> None:
    job, never = Numbers(), None  # no clock is looked at
    found = list(compute(job, np.arange(5), [(0, 5)], None, timer=never))  # type: ignore[arg-type]
    assert [part for part, _ in found] == [(0, 5)]
