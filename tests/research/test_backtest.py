"""The reference engine against books kept by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench.errors import ConfigError, DataError
from workbench.research import Assumptions, backtest
from workbench.research.inputs import decisions
from workbench.settings import Settings
from workbench.strategies import load

NAN = float("nan")
COSTS = Assumptions(
    capital_usd=10_000.0,
    commission_per_share_usd=0.01,
    commission_min_usd=1.0,
    slippage_bps=10.0,
    cash_buffer=0.02,
    min_trade_value_usd=100.0,
    tolerance=0.0,
)


def run(made: Any, scripted: Any, weights: dict[str, list[float]], costs: Assumptions = COSTS, **window: Any) -> Any:
    table = pd.DataFrame(weights, index=made.raw.sessions)
    return backtest(scripted(table), made.split, made.raw, made.actions, assumptions=costs, **window)


def test_a_purchase_and_its_exit_give_the_books_worked_out_by_hand(market: Any, scripted: Any) -> None:
    made = market({"A": [49, 51, 53]}, {"A": [50, 52, 54]})
    done = run(made, scripted, {"A": [0.5, 0.0, 0.0]})
    # 10000 x 0.98 x 0.5 / 50 = 98 shares at 51 x 1.001 = 51.051, fee max(1, 0.98) = 1:
    # cash 10000 - 5002.998 - 1 = 4996.002, equity 4996.002 + 98 x 52.
    # Out at 53 x 0.999 = 52.947: cash 4996.002 + 5188.806 - 1.
    assert done.cash.tolist() == pytest.approx([10_000.0, 4_996.002, 10_183.808], abs=1e-9)
    assert done.equity.tolist() == pytest.approx([10_000.0, 10_092.002, 10_183.808], abs=1e-9)
    assert done.positions["A"].tolist() == [0, 98, 0]
    days = list(made.raw.sessions)
    assert done.fills.drop(columns=["price"]).to_numpy().tolist() == [
        [days[0], days[1], "A", "buy", 98.0, 1.0],
        [days[1], days[2], "A", "sell", 98.0, 1.0],
    ]
    assert done.fills["price"].tolist() == pytest.approx([51.051, 52.947], abs=1e-12)
    assert done.engine == "kernel"


def test_the_fee_is_per_share_above_the_minimum(market: Any, scripted: Any) -> None:
    done = run(market({"A": [1, 1]}, {"A": [1, 1]}), scripted, {"A": [1, 1]})
    assert done.fills[["quantity", "fee"]].to_numpy().tolist() == [[9800.0, 98.0]]


def test_a_target_that_is_exactly_whole_is_not_rounded_down(market: Any, scripted: Any) -> None:
    # 0.1 has no exact float: 10000 x 0.98 x 0.1 / 0.98 = 1000 shares, which floats may miss by a hair.
    done = run(market({"A": [0.98, 0.98]}, {"A": [0.98, 0.98]}), scripted, {"A": [0.1, 0.1]})
    assert done.positions["A"].tolist() == [0, 1000]


def test_weights_are_rounded_to_nine_decimals(market: Any, scripted: Any) -> None:
    costs = Assumptions(capital_usd=1e9, cash_buffer=0.0, min_trade_value_usd=0.0, tolerance=0.0)
    # 1/3 becomes 0.333333333: 3,333,333,330 shares of 0.10 USD, where a third would be 3,333,333,333.
    # 0.0000000004 becomes 0: nothing is bought.
    made = market({"A": [0.1, 0.1], "B": [1e-3, 1e-3]}, {"A": [0.1, 0.1], "B": [1e-3, 1e-3]})
    done = run(made, scripted, {"A": [1 / 3, 1 / 3], "B": [4e-10, 4e-10]}, costs)
    assert done.positions.iloc[1].to_dict() == {"A": 3_333_333_330, "B": 0}


def test_small_changes_are_not_traded_but_exits_always_are(market: Any, scripted: Any) -> None:
    made = market({"A": [10] * 4}, {"A": [10] * 4})
    costs = Assumptions(
        capital_usd=1000,
        commission_per_share_usd=0,
        commission_min_usd=0,
        slippage_bps=0,
        cash_buffer=0,
        tolerance=0,
    )
    # 9 shares are worth 90, below 100: not bought. 10 are. 10 -> 1 is not sold, 10 -> 0 is.
    done = run(made, scripted, {"A": [0.09, 0.10, 0.01, 0]}, costs)
    assert done.positions["A"].tolist() == [0, 0, 10, 10]
    done = run(made, scripted, {"A": [0.10, 0.10, 0.0, 0]}, costs)
    assert done.fills[["side", "quantity"]].to_numpy().tolist() == [["buy", 10.0], ["sell", 10.0]]


def test_an_exit_below_the_minimum_value_is_traded(market: Any, scripted: Any) -> None:
    made = market({"A": [10, 10, 1, 1]}, {"A": [10, 10, 1, 1]})
    costs = Assumptions(capital_usd=1000, cash_buffer=0, slippage_bps=0)
    done = run(made, scripted, {"A": [0.5, 0.5, 0.0, 0.0]}, costs)
    assert done.positions["A"].tolist() == [0, 50, 50, 0]  # 50 x 1 USD is below 100 USD


def test_the_tolerance_is_a_share_of_equity(market: Any, scripted: Any) -> None:
    made = market({"A": [10] * 3}, {"A": [10] * 3})
    costs = Assumptions(
        capital_usd=100_000,
        cash_buffer=0,
        slippage_bps=0,
        commission_min_usd=0,
        commission_per_share_usd=0,
        tolerance=0.01,
    )
    # 0.5 -> 0.5099 is 990 USD, below 1000; 0.5 -> 0.51 is 1000.
    assert run(made, scripted, {"A": [0.5, 0.5099, 0]}, costs).positions["A"].tolist() == [0, 5000, 5000]
    assert run(made, scripted, {"A": [0.5, 0.51, 0]}, costs).positions["A"].tolist() == [0, 5000, 5100]


def test_sells_fill_before_buys(market: Any, scripted: Any) -> None:
    made = market({"A": [10] * 3, "B": [10] * 3}, {"A": [10] * 3, "B": [10] * 3})
    done = run(made, scripted, {"A": [0, 1, 1], "B": [1, 0, 0]})
    assert done.fills[["symbol", "side"]].to_numpy().tolist() == [["B", "buy"], ["B", "sell"], ["A", "buy"]]


def test_a_symbol_without_a_bar_is_left_alone_and_marked_at_its_last_close(market: Any, scripted: Any) -> None:
    made = market({"A": [10, 10, NAN, 20]}, {"A": [10, 12, NAN, 20]})
    done = run(made, scripted, {"A": [0.5, 0.5, 0.0, 0.0]})
    # The decision of the third session finds no bar, so nothing is sold at the fourth open.
    assert done.positions["A"].tolist()[1] == 490
    assert done.fills["side"].tolist()[0] == "buy"
    assert done.equity.iloc[2] == pytest.approx(done.cash.iloc[2] + done.positions["A"].iloc[2] * 12)
    assert done.positions["A"].iloc[3] == done.positions["A"].iloc[2]


def test_an_order_that_meets_no_bar_expires(market: Any, scripted: Any) -> None:
    made = market({"A": [10, NAN, 10]}, {"A": [10, NAN, 10]})
    done = run(made, scripted, {"A": [0.5, 0, 0.0]})
    assert done.fills.empty
    assert done.equity.tolist() == [10_000.0] * 3


def test_a_split_multiplies_shares_and_pays_the_fraction_at_the_open(market: Any, scripted: Any) -> None:
    made = market({"A": [49, 51, 36, 36]}, {"A": [50, 52, 36, 36]}, [("A", "2013-01-04", "split", 1.5)])
    costs = Assumptions(capital_usd=10_000, cash_buffer=0.0, slippage_bps=0, tolerance=0.4)
    done = run(made, scripted, {"A": [0.505, 0.505, 0.505, 0]}, costs)
    # 101 shares x 1.5 = 151.5: half a share is paid out at 36.
    assert done.positions["A"].tolist() == [0, 101, 151, 151]
    assert done.cash.diff().iloc[2] == pytest.approx(18.0, abs=1e-9)


def test_a_split_multiplies_the_order_that_waits(market: Any, scripted: Any) -> None:
    made = market({"A": [50, 25, 25]}, {"A": [50, 25, 25]}, [("A", "2013-01-03", "split", 2.0)])
    assert run(made, scripted, {"A": [0.5, 0.5, 0]}).fills["quantity"].tolist()[0] == 196.0


def test_an_exit_that_waits_through_a_split_leaves_nothing_behind(market: Any, scripted: Any) -> None:
    made = market({"A": [50, 50, 33, 33]}, {"A": [50, 50, 33, 33]}, [("A", "2013-01-04", "split", 1.5)])
    done = run(made, scripted, {"A": [0.505, 0.0, 0, 0]})
    bought, sold = done.fills["quantity"]
    assert (bought, sold) == (98.0, 147.0)  # floor(10000 x 0.98 x 0.505 / 50) = 98, x 1.5
    assert done.positions["A"].iloc[-1] == 0


def test_a_reverse_split_pays_out_what_is_less_than_a_share(market: Any, scripted: Any) -> None:
    made = market({"A": [1, 1, 10, 10]}, {"A": [1, 1, 10, 10]}, [("A", "2013-01-04", "split", 0.1)])
    costs = Assumptions(capital_usd=1005, cash_buffer=0, slippage_bps=0, tolerance=0.4)
    done = run(made, scripted, {"A": [1, 1, 1, 1]}, costs)
    # 1005 shares become 100, and half a share of 10 USD is 5 USD.
    assert done.positions["A"].tolist() == [0, 1005, 100, 100]
    assert done.cash.diff().iloc[2] == pytest.approx(5.0, abs=1e-9)


def test_a_dividend_credits_the_shares_held_before_the_open(market: Any, scripted: Any) -> None:
    made = market({"A": [50] * 4}, {"A": [50] * 4}, [("A", "2013-01-04", "dividend", 0.5)])
    # 98 shares were bought on the 3rd; the exit fills on the 4th after the credit.
    assert run(made, scripted, {"A": [0.5, 0.5, 0.5, 0]}).cash.diff().iloc[2] == pytest.approx(49.0)
    # Bought at the open of the ex-date: nothing is owed.
    done = run(made, scripted, {"A": [0, 0.5, 0.5, 0]})
    assert done.cash.iloc[2] == pytest.approx(10_000 - 98 * 50.05 - 1)


def test_an_action_on_a_day_without_a_session_applies_before_the_next_open(market: Any, scripted: Any) -> None:
    # 2013-01-05 is a Saturday, between the third and the fourth session.
    made = market({"A": [50] * 4}, {"A": [50] * 4}, [("A", "2013-01-05", "dividend", 1.0)])
    assert run(made, scripted, {"A": [0.5] * 4}).cash.diff().iloc[3] == pytest.approx(98.0)


def test_a_split_while_a_symbol_does_not_trade_keeps_its_value(market: Any, scripted: Any) -> None:
    made = market({"A": [50, 50, NAN, 25]}, {"A": [50, 50, NAN, 25]}, [("A", "2013-01-04", "split", 2.0)])
    done = run(made, scripted, {"A": [0.5, 0.5, 0, 0.5]})
    assert done.positions["A"].tolist() == [0, 98, 196, 196]
    assert done.equity.iloc[2] == pytest.approx(done.equity.iloc[1])


def test_the_first_decision_falls_on_the_first_session_of_the_window(market: Any, scripted: Any) -> None:
    made = market({"A": [10] * 5}, {"A": [10] * 5})
    done = run(made, scripted, {"A": [0.5] * 5}, start=date(2013, 1, 4), end=date(2013, 1, 7))
    assert [stamp.date() for stamp in done.equity.index] == [date(2013, 1, 4), date(2013, 1, 7)]
    assert done.equity.iloc[0] == 10_000.0
    assert done.fills["session"].tolist() == [pd.Timestamp("2013-01-07")]


def test_the_strategy_sees_the_warm_up_but_nothing_after_the_end(market: Any) -> None:
    from workbench.strategies.base import Strategy

    seen = []

    class Watcher(Strategy):
        def weights(self, bars: Any) -> pd.DataFrame:
            seen.append((bars.sessions[0].date(), bars.sessions[-1].date()))
            return bars.close * 0.0

    made = market({"A": [10] * 5}, {"A": [10] * 5})
    backtest(
        Watcher(),
        made.split,
        made.raw,
        made.actions,
        start=date(2013, 1, 4),
        end=date(2013, 1, 7),
        assumptions=COSTS,
    )
    assert seen == [(date(2013, 1, 2), date(2013, 1, 7))]


def test_cash_positions_and_fills_add_up_over_thirteen_years(sample: Any, holder: Any) -> None:
    done = backtest(holder, sample.split, sample.raw, sample.actions, assumptions=Assumptions())
    sign = (done.fills["side"] == "buy") * 2 - 1
    paid = (sign * done.fills["quantity"] * done.fills["price"] + done.fills["fee"]).sum()
    # Dividends of 2013 on the shares of the evening before their ex-dates.
    before = done.positions.shift(1)
    received = sum(
        before.loc[day, symbol] * value
        for symbol, day, value in (
            ("AAPL", "2013-02-07", 2.65),
            ("MSFT", "2013-02-19", 0.23),
            ("IBM", "2013-02-06", 0.85),
        )
    )
    assert received > 100
    assert done.cash.iloc[-1] == pytest.approx(100_000 - paid + received, abs=1e-6)
    values = done.positions * sample.raw.close.ffill()
    assert (done.cash + values.sum(axis=1) - done.equity).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (NAN, "A on 2013-01-03: weight given by Scripted is not a finite number: nan"),
        (float("inf"), "A on 2013-01-03: .*not a finite number: inf"),
        (-0.1, "A on 2013-01-03: .*negative .*: -0.1"),
        (1.5, "weights of Scripted sum to 1.5 on 2013-01-03"),
    ],
)
def test_impossible_weights_name_symbol_and_session(market: Any, scripted: Any, weight: float, message: str) -> None:
    made = market({"A": [10] * 3}, {"A": [10] * 3})
    with pytest.raises(DataError, match=message):
        run(made, scripted, {"A": [0.5, weight, 0.5]})


def test_a_weight_on_a_symbol_without_a_price_is_refused(market: Any, scripted: Any) -> None:
    made = market({"A": [10, NAN]}, {"A": [10, NAN]})
    with pytest.raises(DataError, match="A on 2013-01-03: has no price, but its weight given by Scripted is 0"):
        run(made, scripted, {"A": [0.5, 0.5]})


def test_weights_of_other_sessions_are_refused(market: Any) -> None:
    from workbench.strategies.base import Strategy

    class Short(Strategy):
        def weights(self, bars: Any) -> pd.DataFrame:
            return bars.close.iloc[1:] * 0.0

    made = market({"A": [10] * 3}, {"A": [10] * 3})
    with pytest.raises(DataError, match=r"Short\.weights returned other sessions or symbols"):
        backtest(Short(), made.split, made.raw, made.actions, assumptions=COSTS)


def test_an_empty_window_names_what_there_is(market: Any, scripted: Any) -> None:
    made = market({"A": [10] * 3}, {"A": [10] * 3})
    with pytest.raises(DataError, match="no sessions from 2014-01-01 to None; the bars cover 2013-01-02 to 2013-01-04"):
        run(made, scripted, {"A": [0.5] * 3}, start=date(2014, 1, 1))


def test_unsorted_and_repeated_sessions_are_refused(market: Any, holder: Any) -> None:
    made = market({"A": [10] * 3}, {"A": [10] * 3})
    for rows, message in (
        ([0, 2, 1], "2013-01-03 follows 2013-01-04"),
        ([0, 1, 1], "2013-01-03 follows 2013-01-03"),
    ):
        frame = made.raw.close.iloc[rows]
        wrong = type(made.raw)(frame, frame, frame, frame, frame, "raw", 0)
        with pytest.raises(DataError, match=message):
            backtest(holder, made.split, wrong, made.actions, assumptions=COSTS)


def test_bars_in_the_wrong_roles_are_refused(market: Any, holder: Any) -> None:
    made = market({"A": [10] * 3}, {"A": [10] * 3})
    with pytest.raises(DataError, match="fills need raw bars, not bars adjusted for split"):
        backtest(holder, made.split, made.split, made.actions, assumptions=COSTS)
    with pytest.raises(DataError, match="signals need bars adjusted for splits"):
        backtest(holder, made.raw, made.raw, made.actions, assumptions=COSTS)
    other = market({"B": [10] * 3}, {"B": [10] * 3})
    with pytest.raises(DataError, match="A is in only one"):
        backtest(holder, other.split, made.raw, made.actions, assumptions=COSTS)
    longer = market({"A": [10] * 4}, {"A": [10] * 4})
    with pytest.raises(DataError, match="session 2013-01-07 is in the raw bars but not"):
        backtest(holder, made.split, longer.raw, made.actions, assumptions=COSTS)


def test_impossible_prices_and_actions_are_refused(market: Any, scripted: Any) -> None:
    with pytest.raises(DataError, match="A on 2013-01-03: has a raw open of 0"):
        run(market({"A": [10, 0]}, {"A": [10, 10]}), scripted, {"A": [0.5, 0.5]})
    with pytest.raises(DataError, match="A on 2013-01-03: has only one of open and close"):
        run(market({"A": [10, NAN]}, {"A": [10, 10]}), scripted, {"A": [0.5, 0.5]})
    for kind, value in (("split", 0.0), ("merger", 1.0), ("dividend", NAN)):
        made = market({"A": [10, 10]}, {"A": [10, 10]}, [("A", "2013-01-03", kind, value)])
        with pytest.raises(DataError, match=f"A: cannot apply action '{kind}' of .* with ex-date 2013-01-03"):
            run(made, scripted, {"A": [0.5, 0.5]})


def test_assumptions_come_from_the_settings_and_refuse_nonsense(tmp_path: Any) -> None:
    assert Assumptions.from_settings(Settings(home=tmp_path, config_file=tmp_path / "workbench.toml")) == Assumptions()
    for wrong in ({"capital_usd": 0.0}, {"slippage_bps": -1.0}, {"cash_buffer": 1.5}, {"tolerance": NAN}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Assumptions(**wrong)


# ---- conventions other than the default, each by hand ---------------------------------------------

FREE = Assumptions(
    capital_usd=10_000, commission_per_share_usd=0, commission_min_usd=0, slippage_bps=0, cash_buffer=0,
    min_trade_value_usd=0, tolerance=0,
)  # fmt: skip
RISING = ({"A": [10, 11, 12, 13, 14]}, {"A": [10.5, 11.5, 12.5, 13.5, 14.5]})


def test_orders_fill_at_the_next_close_or_the_same_close_if_told(market: Any, scripted: Any) -> None:
    made, weights = market(*RISING), {"A": [1.0, 1.0, 0, 0, 0]}
    held = replace(FREE, tolerance=0.5)  # 10000 / 10.5 = 952 shares
    at_close = run(made, scripted, weights, replace(held, fill="next_close"))
    assert at_close.fills["price"].tolist() == [11.5, 13.5]
    assert at_close.equity.tolist() == pytest.approx([10_000, 10_000, 10_952, 11_904, 11_904])
    same = run(made, scripted, weights, replace(held, fill="close"))
    assert same.fills["price"].tolist() == [10.5, 12.5]
    assert (same.fills["decided"] == same.fills["session"]).all()
    assert same.equity.tolist() == pytest.approx([10_000, 10_952, 11_904, 11_904, 11_904])
    assert any("optimistic" in flag for flag in same.flags)
    assert same.metrics["total_return"] == pytest.approx(0.1904)


def test_a_fee_at_the_first_close_is_part_of_the_return(market: Any, scripted: Any) -> None:
    costs = replace(FREE, fill="close", commission_per_trade_usd=100)
    done = run(market({"A": [10, 10]}, {"A": [10, 10]}), scripted, {"A": [0.5, 0.5]}, replace(costs, tolerance=0.1))
    assert done.equity.tolist() == [9_900, 9_900]
    assert done.metrics["total_return"] == pytest.approx(-0.01)
    assert done.returns.tolist() == pytest.approx([-0.01, 0.0])


def test_fractions_of_a_share_are_traded_and_split_whole(market: Any, scripted: Any) -> None:
    made = market({"A": [30, 30, 20, 20]}, {"A": [30, 30, 20, 20]}, [("A", "2013-01-04", "split", 1.5)])
    done = run(made, scripted, {"A": [1, 1, 1, 0]}, replace(FREE, lot=None))
    assert done.positions["A"].tolist() == pytest.approx([0, 10_000 / 30, 500, 500], rel=1e-15)
    assert (done.cashflows["fractions"] == 0).all()
    assert len(done.fills) == 1  # a constant weight of a constant price is rounding noise afterwards


def test_orders_are_whole_multiples_of_the_lot(market: Any, scripted: Any) -> None:
    done = run(market(*RISING), scripted, {"A": [1, 0.5, 0, 0, 0]}, replace(FREE, lot=100))
    # 10000 / 10.5 = 952 -> 900; (9900 paid, 900 x 11.5 = 10350 and 100 in cash) x 0.5 / 11.5 = 454 -> 400.
    assert done.positions["A"].tolist() == [0, 900, 400, 0, 0]


def test_rows_may_be_numbers_of_shares(market: Any, scripted: Any) -> None:
    done = run(
        market(*RISING), scripted, {"A": [100, 100, -50, 0, 0]}, replace(FREE, target="shares", allow_short=True)
    )
    assert done.positions["A"].tolist() == [0, 100, 100, -50, 0]
    assert done.fills[["side", "quantity"]].to_numpy().tolist() == [["buy", 100], ["sell", 150], ["buy", 50]]
    # Long 100 from 11 to 13, short 50 from 13 to 14.
    assert done.trades[["side", "quantity", "pnl", "status"]].to_numpy().tolist() == [
        ["long", 100, 200, "closed"],
        ["short", 50, -50, "closed"],
    ]


def test_on_change_leaves_a_position_alone_until_its_target_moves(market: Any, scripted: Any) -> None:
    prices = {"A": [10, 20, 10, 20, 10], "B": [10, 10, 10, 10, 10]}
    weights = {"A": [0.5, 0.5, 0.5, 0.25, 0.25], "B": [0.5, 0.5, 0.5, 0.5, 0.0]}
    done = run(market(prices, prices), scripted, weights, replace(FREE, rebalance="on_change"))
    # 500 of each, A at 20 and on credit, so the equity is still 10000. A is cut only when its target changes, after
    # the next close at 20: 10000 x 0.25 / 20 = 125 are left.
    assert done.orders[["symbol", "side", "quantity", "status"]].to_numpy().tolist() == [
        ["A", "buy", 500, "filled"],
        ["B", "buy", 500, "filled"],
        ["A", "sell", 375, "filled"],
        ["B", "sell", 500, "waiting"],
    ]


def test_targets_are_acted_on_at_the_turns_of_months_and_weeks() -> None:
    sessions = pd.bdate_range("2013-01-28", "2013-02-11")
    weights = np.ones((len(sessions), 1))

    def days(rebalance: str) -> list[str]:
        acts = decisions(weights, sessions, sessions, rebalance)[:, 0]
        return [f"{day:%m-%d}" for day in sessions[acts]]

    assert days("month_end") == ["01-31"]
    assert days("month_start") == ["02-01"]
    assert days("week_end") == ["02-01", "02-08"]  # Fridays; the 11th is the last one known, and ends nothing
    assert days("on_change") == ["01-28"]


def test_without_compounding_weights_are_fractions_of_the_capital(market: Any, scripted: Any) -> None:
    prices = {"A": [10, 10, 20, 40, 40]}
    done = run(market(prices, prices), scripted, {"A": [1, 1, 1, 1, 1]}, replace(FREE, compounding=False))
    assert done.positions["A"].tolist() == [0, 1000, 1000, 500, 250]


def test_shares_counted_at_the_fill_are_those_of_its_price_and_equity(market: Any, scripted: Any) -> None:
    # 10000 buys 1000 at the close of 10, and 800 at the open of 12.5. Worth 25 each at the second order's open:
    # half of 20000 is 400. At the closes of decision it would have been half of 800 x 20, 400 too, of 16000 / 20.
    made = market({"A": [10, 12.5, 25, 25]}, {"A": [10, 20, 25, 25]})
    weights = {"A": [1, 0.5, 0.5, 0.5]}
    done = run(made, scripted, weights, replace(FREE, sizing="fill"))
    assert done.fills[["quantity", "price"]].to_numpy().tolist() == [[800.0, 12.5], [400.0, 25.0]]
    assert done.cash.tolist() == [10_000.0, 0.0, 10_000.0, 10_000.0]
    assert any("counted at the price and equity of the fill" in flag for flag in done.flags)
    usual = run(made, scripted, weights, FREE)
    assert not any("counted" in flag for flag in usual.flags)
    assert usual.fills["quantity"].iloc[0] == 1000.0


def test_an_order_that_meets_no_price_expires_however_it_is_counted(market: Any, scripted: Any) -> None:
    made = market({"A": [10, NAN, 12]}, {"A": [10, NAN, 12]})
    done = run(made, scripted, {"A": [1, 0, 0]}, replace(FREE, sizing="fill"))
    assert done.positions["A"].tolist() == [0, 0, 0]
    assert done.orders["status"].tolist()[0] == "expired"


def test_a_buy_is_cut_to_the_cash_there_is_if_told(market: Any, scripted: Any) -> None:
    # Decided on 10, opened at 12.5: 1000 shares would cost 12500, and 10000 pays for 799 of them and the fee of 7.99.
    made = market({"A": [10, 12.5, 12.5]}, {"A": [10, 12.5, 12.5]})
    costs = replace(FREE, commission_per_share_usd=0.01)
    done = run(made, scripted, {"A": [1, 1, 0]}, replace(costs, buys="within_cash"))
    assert done.fills["quantity"].tolist() == [799]
    assert done.cash.iloc[1] == pytest.approx(10_000 - 799 * 12.5 - 7.99)
    assert done.orders["status"].iloc[0] == "partially_filled"
    over = run(made, scripted, {"A": [1, 1, 0]}, costs)
    assert over.cash.iloc[1] == pytest.approx(10_000 - 12_500 - 10)
    assert any("cash was -2,510.00 USD on 2013-01-03" in flag for flag in over.flags)


def test_commissions_add_up_between_their_minimum_and_maximum() -> None:
    tariff = Assumptions(
        commission_per_share_usd=0.005, commission_per_trade_usd=0.1, commission_bps=1.0, commission_min_usd=1.0,
        commission_max_share=0.01,
    )  # fmt: skip
    # Interactive Brokers' fixed tariff has the first, fourth and fifth: its own examples are 100 shares at 25 USD for
    # 1.00, 1000 at 25 for 5.00 and 1000 at 0.25 for 2.50.
    fixed = replace(tariff, commission_per_trade_usd=0, commission_bps=0)
    assert [fixed.fee(100, 25), fixed.fee(1000, 25), fixed.fee(1000, 0.25)] == [1.0, 5.0, 2.5]
    assert tariff.fee(1000, 25) == pytest.approx(5 + 0.1 + 2.5)


def test_impact_follows_the_square_of_the_share_of_volume(market: Any, scripted: Any) -> None:
    made = market({"A": [10] * 3}, {"A": [10] * 3})
    volume = pd.DataFrame(5000.0, index=made.raw.sessions, columns=["A"])
    raw = replace(made.raw, volume=volume)
    costs = replace(FREE, max_volume_share=0.1, impact=0.1)
    table = pd.DataFrame({"A": [1.0, 0.0, 0.0]}, index=made.raw.sessions)
    done = backtest(scripted(table), made.split, raw, made.actions, assumptions=costs)
    # 1000 shares ordered, 500 fill: 10 x (1 + 0.1 x 0.1^2) = 10.01 USD.
    assert done.fills[["quantity", "price"]].iloc[0].tolist() == [500, pytest.approx(10.01)]
    assert done.orders["status"].tolist() == ["partially_filled", "filled"]
    wrong = replace(made.raw, volume=volume * NAN)
    with pytest.raises(DataError, match="A on 2013-01-02: max_volume_share needs a volume, not nan"):
        backtest(scripted(table), made.split, wrong, made.actions, assumptions=costs)


def test_a_benchmark_is_a_symbol_or_a_series_of_the_window(market: Any, scripted: Any) -> None:
    made = market({"A": [10, 11, 12], "B": [20, 20, 30]}, {"A": [10, 11, 12], "B": [20, 20, 30]})
    table = pd.DataFrame({"A": [1.0, 1, 1]}, index=made.raw.sessions)
    how = {"assumptions": FREE}
    given = (scripted(table), made.split, made.raw, made.actions)
    by_symbol = backtest(*given, benchmark="B", **how)
    assert by_symbol.benchmark is not None
    assert by_symbol.benchmark.tolist() == [10_000, 10_000, 15_000]
    by_series = backtest(*given, benchmark=made.raw.close["B"] / 7, **how)
    assert by_series.metrics == pytest.approx(by_symbol.metrics, nan_ok=True)
    with pytest.raises(DataError, match="no bars of C"):
        backtest(*given, benchmark="C", **how)
    with pytest.raises(DataError, match="benchmark index has no value on 2013-01-04"):
        backtest(*given, benchmark=made.raw.close["B"].iloc[:2].rename("index"), **how)


# ---- what is refused, and what is flagged ---------------------------------------------------------


def test_absurd_equity_is_flagged_in_words(market: Any, scripted: Any) -> None:
    short = replace(FREE, allow_short=True, tolerance=0.5)
    ruined = run(market({"A": [10, 10, 25, 25]}, {"A": [10, 10, 25, 25]}), scripted, {"A": [-1, -1, -1, -1]}, short)
    assert ruined.flags[0] == "equity is -5,000.00 USD on 2013-01-04: the account was ruined"
    assert ruined.orders["side"].iloc[-1] == "buy"  # nothing but the way out is ordered afterwards
    leap = run(market({"A": [1, 1, 3]}, {"A": [1, 1, 3]}), scripted, {"A": [1, 1, 1]}, FREE)
    assert leap.flags[0] == "equity rose by 200% on 2013-01-04 alone: look for a wrong price or split"
    flat = run(market({"A": [1, 1, 3]}, {"A": [1, 1, 3]}), scripted, {"A": [0, 0, 0]}, FREE)
    assert flat.flags == ("equity never changes: nothing was held",)


def test_an_exploding_equity_is_flagged(market: Any, scripted: Any) -> None:
    prices = {"A": [float(1.5**at) for at in range(10)]}
    done = run(market(prices, prices), scripted, {"A": [1.0] * 10}, replace(FREE, lot=None))
    assert any("% a year: look for look-ahead" in flag for flag in done.flags)


def test_leverage_beyond_its_limit_is_refused_in_weights_and_flagged_in_books(market: Any, scripted: Any) -> None:
    made = market({"A": [10, 10, 5, 5]}, {"A": [10, 10, 5, 5]})
    with pytest.raises(DataError, match=r"weights of Scripted sum to 2 on 2013-01-02, and max_leverage is 1\.5"):
        run(made, scripted, {"A": [2, 0, 0, 0]}, replace(FREE, max_leverage=1.5))
    done = run(made, scripted, {"A": [1.5] * 4}, replace(FREE, max_leverage=1.5, tolerance=0.99))
    # 1500 shares on credit of 5000: at 5 they are worth 7500 and the account 2500.
    assert any("positions were worth 3.00 times the equity on 2013-01-04" in flag for flag in done.flags)


def test_a_window_without_a_price_is_refused(market: Any, scripted: Any) -> None:
    made = market({"A": [10, NAN, NAN]}, {"A": [10, NAN, NAN]})
    with pytest.raises(DataError, match="no price of A from 2013-01-03 to 2013-01-04"):
        run(made, scripted, {"A": [0, 0, 0]}, start=date(2013, 1, 3))


def test_too_few_bars_for_the_lookback_are_refused_or_flagged(market: Any) -> None:
    prices = {"A": [10, 11, 12, 13, 14, 15]}
    made = market(prices, prices)
    with pytest.raises(DataError, match="Momentum needs 7 sessions of bars to decide, and there are 6, 2013-01-02 to"):
        backtest(load("momentum", {"lookback": 6}), made.split, made.raw, made.actions)
    done = backtest(load("momentum", {"lookback": 3, "top": 1}), made.split, made.raw, made.actions)
    assert "the strategy had too few bars to decide until 2013-01-04: the account waited in cash" in done.flags
    assert done.fills["decided"].iloc[0] == pd.Timestamp("2013-01-07")


def test_a_symbol_with_two_columns_is_refused(market: Any, holder: Any) -> None:
    made = market({"A": [10, 10]}, {"A": [10, 10]})
    frame = pd.concat([made.raw.close, made.raw.close], axis=1)
    twice = type(made.raw)(frame, frame, frame, frame, frame, "raw", 0)
    with pytest.raises(DataError, match="A has two columns in the bars"):
        backtest(holder, made.split, twice, made.actions, assumptions=FREE)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fill": "clsoe"}, "assumption fill: 'clsoe' is not known; did you mean close?"),
        ({"lot": 0.0}, "assumption lot: must be above 0"),
        ({"max_volume_share": 1.5}, "assumption max_volume_share: is at most 1"),
        ({"impact": 0.1}, "assumption impact: needs max_volume_share"),
        (
            {"sizing": "fill", "target": "shares"},
            "assumption sizing: 'fill' counts weights again, and shares are counted",
        ),
        ({"compounding": "yes"}, "assumption compounding: must be true or false"),
        ({"borrow_rate": -0.1}, "assumption borrow_rate: must be a number of at least 0"),
        ({"slippage_bps": 9_000.0, "half_spread_bps": 2_000.0}, "slippage_bps and half_spread_bps below 10000"),
    ],
)
def test_impossible_conventions_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Assumptions(**changed)
