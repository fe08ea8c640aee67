from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.domain import Order, OrderState, OrderType, Position, Side, Snapshot, TimeInForce
from workbench.errors import ConfigError, DataError
from workbench.settings import PlannerSettings, RiskSettings
from workbench.trading.planner import Plan, PlanKey, plan
from workbench.trading.sizing import Bounds

SESSION = date(2013, 1, 2)
KEY = PlanKey("paper", "daily", SESSION, 0, "momentum")
RULES = PlannerSettings(cash_buffer=Decimal("0.02"), min_trade_value_usd=Decimal(100), tolerance=Decimal("0.005"))


def account(cash: str, **held: tuple[str, str]) -> Snapshot:
    positions = {s: Position(s, Decimal(q), Decimal(p)) for s, (q, p) in held.items()}
    return Snapshot("paper", SESSION, Decimal(cash), positions)


def make(weights: dict[str, float], snapshot: Snapshot, **prices: str) -> Plan:
    return plan(KEY, weights, snapshot, {s: Decimal(p) for s, p in prices.items()}, RULES)


def orders(made: Plan) -> list[tuple[str, int, str]]:
    return [(i.side.value, int(i.quantity), i.symbol) for i in made.intents]


def test_targets_are_whole_shares_of_equity_less_the_cash_buffer() -> None:
    made = make({"IBM": 0.5, "MSFT": 0.25}, account("100000"), IBM="196.35", MSFT="27.62")
    # 100,000 x 0.98 x 0.5 / 196.35 = 249.55; x 0.25 / 27.62 = 887.04.
    assert orders(made) == [("buy", 249, "IBM"), ("buy", 887, "MSFT")]


def test_sells_come_before_buys() -> None:
    made = make({"AAPL": 0.5, "IBM": 0.0}, account("0", IBM=("500", "200")), AAPL="500", IBM="200")
    # Equity 100,000: sell all 500 IBM, buy 49,000 / 500 = 98 AAPL.
    assert orders(made) == [("sell", 500, "IBM"), ("buy", 98, "AAPL")]


def test_a_change_within_the_tolerance_is_not_traded() -> None:
    # Target 245 shares (49,000 / 200); 243 held: a change of 400 USD, under 0.5 % of 100,000.
    made = make({"IBM": 0.5}, account("51400", IBM=("243", "200")), IBM="200")
    assert orders(made) == []
    assert made.targets[0].quantity == Decimal(243)


def test_an_exit_is_traded_however_small() -> None:
    made = make({"IBM": 0.0}, account("99800", IBM=("1", "200")), IBM="200")
    assert orders(made) == [("sell", 1, "IBM")]


def test_a_symbol_that_did_not_trade_and_a_holding_outside_the_universe_are_left_alone() -> None:
    snapshot = account("50000", IBM=("100", "200"), ZEN=("1000", "30"))
    made = make({"IBM": 0.0, "AAPL": 0.4}, snapshot, AAPL="500")
    assert orders(made) == [("buy", 78, "AAPL")]
    assert made.untouched == ("IBM", "ZEN")


def test_the_same_rebalance_proposes_the_same_ids() -> None:
    first = make({"IBM": 0.5}, account("100000"), IBM="196.35")
    again = make({"IBM": 0.5}, account("100000"), IBM="196.35")
    other = plan(
        PlanKey("paper", "daily", SESSION, 1, "momentum"), {"IBM": 0.5}, account("100000"), {"IBM": Decimal("196.35")},
        RULES,
    )  # fmt: skip
    assert first.intents == again.intents
    assert first.intents[0].client_order_id != other.intents[0].client_order_id


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"IBM": float("nan")}, "momentum on 2013-01-02: the weight of IBM is nan"),
        ({"IBM": float("inf")}, "the weight of IBM is inf"),
        ({"IBM": -0.1}, "short positions are off"),
        ({"IBM": 0.6, "MSFT": 0.5}, "add up to 1.1"),
        ({"IBM": 1e300}, r"the weight of IBM is 1e\+300, more than the account"),
        ({"XYZ": 0.5}, "XYZ is wanted but did not trade"),
    ],
)
def test_bad_weights_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make(weights, account("100000"), IBM="196.35", MSFT="27.62")


def test_an_account_without_equity_is_refused() -> None:
    with pytest.raises(DataError, match="equity is 0"):
        make({"IBM": 0.5}, account("0"), IBM="196.35")


PRICES = st.decimals("0.01", "250000", places=2)
SYMBOLS = ("A", "B", "C", "D")


@st.composite
def rebalances(draw: st.DrawFn) -> tuple[dict[str, float], Snapshot, dict[str, Decimal]]:
    prices = {s: draw(PRICES) for s in SYMBOLS}
    raw = [draw(st.floats(0, 1)) for _ in SYMBOLS]
    scale = max(1.0, sum(raw))
    positions = {s: Position(s, Decimal(draw(st.integers(0, 5000))), prices[s]) for s in SYMBOLS}
    cash = draw(st.decimals("1", "10000000", places=2))
    snapshot = Snapshot("paper", SESSION, cash, {s: p for s, p in positions.items() if p.quantity})
    return {s: w / scale for s, w in zip(SYMBOLS, raw, strict=True)}, snapshot, prices


@given(rebalances())
def test_a_plan_never_overspends_oversells_or_contradicts_itself(
    case: tuple[dict[str, float], Snapshot, dict[str, Decimal]],
) -> None:
    weights, snapshot, prices = case
    made = plan(KEY, weights, snapshot, prices, RULES)
    spent = sum((i.signed_quantity * prices[i.symbol] for i in made.intents), Decimal(0))
    kept = [t for t in made.targets if t.quantity == t.held and t.held]
    # What is kept inside the tolerance band may exceed its target by at most the band.
    slack = sum(
        (min(t.quantity * t.price, max(Decimal(100), snapshot.equity * Decimal("0.005"))) for t in kept),
        Decimal(0),
    )
    assert snapshot.cash - spent >= snapshot.equity * Decimal("0.02") - slack - Decimal("0.001")
    for intent in made.intents:
        assert intent.quantity > 0
        assert intent.quantity % 1 == 0
        if intent.side is Side.SELL:
            assert intent.quantity <= snapshot.quantity(intent.symbol)
    sides = [i.side for i in made.intents]
    assert sides == sorted(sides, key=lambda side: side is Side.BUY)
    assert len({i.client_order_id for i in made.intents}) == len(made.intents)
    for target in made.targets:
        change = sum((i.signed_quantity for i in made.intents if i.symbol == target.symbol), Decimal(0))
        assert target.held + change == target.quantity


def test_what_is_on_its_way_is_not_ordered_again() -> None:
    """245 shares wanted (49,000 / 200); 100 held and 145 bought but not filled yet, so nothing is left to buy."""
    waiting = Order(
        "o1", "c1", "IBM", Side.BUY, Decimal(200), OrderType.MARKET, None, TimeInForce.DAY,
        OrderState.PARTIALLY_FILLED, Decimal(55), None,
    )  # fmt: skip
    held = {"IBM": Position("IBM", Decimal(100), Decimal(200))}
    snapshot = Snapshot("paper", SESSION, Decimal(80_000), held, (waiting,))
    assert orders(make({"IBM": 0.5}, snapshot, IBM="200")) == []
    assert orders(make({"IBM": 0.5}, Snapshot("paper", SESSION, Decimal(80_000), held), IBM="200")) == [
        ("buy", 145, "IBM")
    ]


def waiting(
    symbol: str,
    side: Side,
    quantity: str,
    state: OrderState = OrderState.ACCEPTED,
    limit: str | None = None,
    parent: str | None = None,
    stop: str | None = None,
) -> Order:
    kind = OrderType.LIMIT if limit else OrderType.STOP if stop else OrderType.MARKET
    return Order(
        "o1", f"c-{symbol}-{side}-{quantity}", symbol, side, Decimal(quantity), kind,
        None if limit is None else Decimal(limit), TimeInForce.DAY, state, Decimal(0), None,
        stop_price=None if stop is None else Decimal(stop), parent_id=parent,
    )  # fmt: skip


def rules(**changes: object) -> PlannerSettings:
    return RULES.model_copy(update=changes)


def made_with(
    weights: dict[str, float],
    snapshot: Snapshot,
    settings: PlannerSettings = RULES,
    bounds: Bounds | None = None,
    **prices: str,
) -> Plan:
    return plan(KEY, weights, snapshot, {s: Decimal(p) for s, p in prices.items()}, settings, bounds)


def sizes(made: Plan) -> list[tuple[str, str, str]]:
    return [(i.side.value, str(i.quantity), i.symbol) for i in made.intents]


# ---- lots, limits, ticks -----------------------------------------------------------------------------


def test_fractions_are_bought_to_the_lot_below() -> None:
    # 100,000 x 0.98 x 0.5 / 196.35 = 249.554...
    made = made_with({"IBM": 0.5}, account("100000"), rules(lot=Decimal("0.001")), IBM="196.35")
    assert sizes(made) == [("buy", "249.554", "IBM")]
    assert made.to_frame().loc["IBM", "order"] == 249.554
    # 100,000 x 0.98 x 0.5 / 200 = 245: written as one would.
    assert sizes(made_with({"IBM": 0.5}, account("100000"), rules(lot=Decimal("0.001")), IBM="200")) == [
        ("buy", "245", "IBM")
    ]


def test_an_odd_lot_stays_until_the_whole_position_is_sold() -> None:
    # 49,000 / 200 = 245 wanted of 300.5: selling 56 leaves 244.5, the most that is not more than wanted.
    snapshot = account("39900", IBM=("300.5", "200"))
    assert sizes(made_with({"IBM": 0.5}, snapshot, IBM="200")) == [("sell", "56", "IBM")]
    assert sizes(made_with({"IBM": 0.0}, snapshot, IBM="200")) == [("sell", "300.5", "IBM")]


def test_fractions_in_the_opening_auction_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"planner.lot is 0.5"):
        made_with({}, account("100000"), rules(lot=Decimal("0.5"), time_in_force="opg"))


@pytest.mark.parametrize(
    ("price", "bps", "buy", "sell"),
    [
        # 196.35 x 1.001 = 196.54635 and x 0.999 = 196.15365: on the cent that is no worse.
        ("196.35", 10, "196.54", "196.16"),
        ("428.4299", 0, "428.42", "428.43"),
        # 0.8 x 1.001 = 0.8008 and x 0.999 = 0.7992: below a dollar in hundredths of a cent.
        ("0.8", 10, "0.8008", "0.7992"),
        # 0.9999 x 1.001 = 1.0008999 is a price in cents again, and 1.0009 x 0.999 = 0.9998991 one in hundredths.
        ("0.9999", 10, "1.00", "0.9990"),
        ("1.0009", 10, "1.00", "0.9999"),
    ],
)
def test_limits_lie_on_the_tick_that_is_no_worse(price: str, bps: int, buy: str, sell: str) -> None:
    settings = rules(limit_bps=Decimal(bps), time_in_force="opg")
    bought = made_with({"IBM": 0.5}, account("100000"), settings, IBM=price)
    sold = made_with({"IBM": 0.0}, account("100", IBM=("1000", price)), settings, IBM=price)
    for made, limit in ((bought, buy), (sold, sell)):
        (intent,) = made.intents
        assert intent.type is OrderType.LIMIT
        assert intent.limit_price == Decimal(limit)
        assert intent.reference_price == Decimal(price)
        assert intent.time_in_force is TimeInForce.OPG


def test_orders_without_limit_are_market_orders_for_the_day() -> None:
    (intent,) = made_with({"IBM": 0.5}, account("100000"), IBM="196.35").intents
    assert (intent.type, intent.limit_price, intent.time_in_force) == (OrderType.MARKET, None, TimeInForce.DAY)


# ---- cash --------------------------------------------------------------------------------------------


def test_buys_shrink_together_where_an_untouched_holding_has_the_cash() -> None:
    # Equity 100,000; 40,000 in ZEN, which the weights do not name, and 60,000 in cash. Wanted: 0.6 x 98,000 = 58,800
    # and 0.3 x 98,000 = 29,400, together 88,200. 60,000 / 88,200 of 588 and 294 shares at 100 is 400 and 200.
    snapshot = account("60000", ZEN=("400", "100"))
    made = made_with({"A": 0.6, "B": 0.3}, snapshot, A="100", B="100")
    assert sizes(made) == [("buy", "400", "A"), ("buy", "200", "B")]
    assert made.short_of_cash == ("A", "B")
    assert made.untouched == ("ZEN",)
    assert [t.quantity for t in made.targets] == [Decimal(400), Decimal(200)]


def test_market_orders_must_be_payable_with_the_buffer_of_the_gates() -> None:
    # 980 shares at 100 may cost 98,980 with 1 %: with 96,000 in cash 96,000 / 98,980 x 980 = 950.49 can be bought.
    snapshot = account("96000", ZEN=("40", "100"))
    made = made_with({"A": 1.0}, snapshot, bounds=Bounds(market_order_buffer=Decimal("0.01")), A="100")
    assert sizes(made) == [("buy", "950", "A")]
    assert sizes(made_with({"A": 1.0}, snapshot, A="100")) == [("buy", "960", "A")]


def test_fees_are_paid_before_shares() -> None:
    # 10,000 in cash and nothing else, no buffer: 100 shares of 100 and 5 USD of fee are 5 USD too much.
    made = made_with(
        {"A": 1.0}, account("10000"), rules(cash_buffer=Decimal(0)), Bounds(fee=lambda quantity: Decimal(5)), A="100"
    )
    assert sizes(made) == [("buy", "99", "A")]


def test_what_waiting_buys_may_cost_is_kept() -> None:
    # Equity 100,000, all cash. A buy of 500 B with the limit 110 waits: 55,000. That leaves 45,000 for A.
    snapshot = Snapshot("paper", SESSION, Decimal(100_000), {}, (waiting("B", Side.BUY, "500", limit="110"),))
    assert sizes(made_with({"A": 1.0}, snapshot, A="100")) == [("buy", "450", "A")]
    # Without a limit it costs the market's price, or its stop if that is higher: 60,000.
    for order, left in (
        (waiting("B", Side.BUY, "500"), "500"),
        (waiting("B", Side.BUY, "500", stop="120"), "400"),
        (waiting("B", Side.BUY, "500", OrderState.UNKNOWN), "500"),
    ):
        snapshot = Snapshot("paper", SESSION, Decimal(100_000), {}, (order,))
        assert sizes(made_with({"A": 1.0}, snapshot, A="100", B="100")) == [("buy", left, "A")]


def test_a_waiting_buy_without_any_price_is_refused() -> None:
    snapshot = Snapshot("paper", SESSION, Decimal(100_000), {}, (waiting("ZEN", Side.BUY, "5"),))
    with pytest.raises(DataError, match="a buy of 5 ZEN is waiting"):
        made_with({"A": 1.0}, snapshot, A="100")


def test_only_sales_that_are_sure_pay_for_buys() -> None:
    # 1,000 in cash, 99,000 in B. Out of B and into A: with market orders 980 A, with limits only what cash pays for.
    snapshot = account("1000", B=("990", "100"))
    assert sizes(made_with({"A": 1.0, "B": 0.0}, snapshot, A="100", B="100")) == [
        ("sell", "990", "B"), ("buy", "980", "A"),
    ]  # fmt: skip
    limited = made_with({"A": 1.0, "B": 0.0}, snapshot, rules(limit_bps=Decimal(0)), A="100", B="100")
    assert sizes(limited) == [("sell", "990", "B"), ("buy", "10", "A")]
    assert limited.short_of_cash == ("A",)


def test_a_waiting_market_sale_pays_for_buys_once_the_venue_has_it() -> None:
    held = {"B": Position("B", Decimal(990), Decimal(100))}
    for order, bought in (
        (waiting("B", Side.SELL, "990"), "980"),
        (waiting("B", Side.SELL, "990", OrderState.SUBMITTING), "10"),
        (waiting("B", Side.SELL, "990", limit="100"), "10"),
        (replace(waiting("B", Side.SELL, "990"), time_in_force=TimeInForce.CLS), "10"),
    ):
        snapshot = Snapshot("paper", SESSION, Decimal(1000), held, (order,))
        assert sizes(made_with({"A": 1.0}, snapshot, A="100")) == [("buy", bought, "A")]


# ---- orders on their way -----------------------------------------------------------------------------


def test_a_symbol_with_an_order_in_doubt_is_left_alone_and_named() -> None:
    held = {"B": Position("B", Decimal(100), Decimal(100))}
    order = waiting("B", Side.SELL, "100", OrderState.UNKNOWN)
    made = made_with(
        {"A": 0.5, "B": 0.0}, Snapshot("paper", SESSION, Decimal(90_000), held, (order,)), A="100", B="100"
    )
    assert sizes(made) == [("buy", "490", "A")]
    assert made.blocked == ("B",)
    assert made.untouched == ()
    assert [t.symbol for t in made.targets] == ["A"]


def test_exits_of_a_bracket_do_not_count_as_on_their_way() -> None:
    held = {"A": Position("A", Decimal(490), Decimal(100))}
    exits = tuple(
        waiting("A", Side.SELL, "490", limit=limit, stop=stop, parent="c1")
        for limit, stop in (("120", None), (None, "80"))
    )
    snapshot = Snapshot("paper", SESSION, Decimal(51_000), held, exits)
    assert sizes(made_with({"A": 0.5}, snapshot, A="100")) == []
    assert sizes(made_with({"A": 0.0}, snapshot, A="100")) == [("sell", "490", "A")]
    # Nor do they keep cash: all of it and of the proceeds goes into B.
    assert sizes(made_with({"A": 0.0, "B": 1.0}, snapshot, A="100", B="100"))[1:] == [("buy", "980", "B")]
    covers = (waiting("A", Side.BUY, "490", limit="80", parent="c1"),)
    short = {"A": Position("A", Decimal(-490), Decimal(100))}
    snapshot = Snapshot("paper", SESSION, Decimal(149_000), short, covers)
    assert sizes(made_with({"A": -0.5, "B": 0.9}, snapshot, bounds=SHORT, A="100", B="100")) == [("buy", "882", "B")]


def test_no_more_is_sold_than_is_there_and_not_being_sold() -> None:
    """100 held and 100 bought but not there yet: only the 100 can be sold, the rest when it has come."""
    held = {"A": Position("A", Decimal(100), Decimal(100))}
    snapshot = Snapshot("paper", SESSION, Decimal(90_000), held, (waiting("A", Side.BUY, "100"),))
    made = made_with({"A": 0.0}, snapshot, A="100")
    assert sizes(made) == [("sell", "100", "A")]
    assert (made.targets[0].held, made.targets[0].quantity) == (Decimal(200), Decimal(100))


# ---- slices ------------------------------------------------------------------------------------------


def test_an_order_over_the_largest_value_is_cut_into_equal_slices() -> None:
    # 980 shares at 100, each counted at 101: 50,000 / 101 = 495 a slice, so two; 98,980 / 30,000 needs four of 245.
    for largest, slices in ((50_000, ["490", "490"]), (30_000, ["245"] * 4), (98_980, ["980"])):
        bounds = Bounds(max_order_value_usd=Decimal(largest), market_order_buffer=Decimal("0.01"))
        made = made_with({"A": 1.0}, account("100000"), bounds=bounds, A="100")
        assert [str(i.quantity) for i in made.intents] == slices
        assert [i.sequence for i in made.intents] == list(range(len(slices)))
        assert len({i.client_order_id for i in made.intents}) == len(slices)


def test_slices_that_do_not_come_out_even_differ_by_one_lot() -> None:
    # 98,000 / 300 = 326 shares; 20,000 / 300 = 66 a slice at most, so five: 66, 65, 65, 65, 65.
    made = made_with({"A": 1.0}, account("100000"), bounds=Bounds(max_order_value_usd=Decimal(20_000)), A="300")
    assert [int(i.quantity) for i in made.intents] == [66, 65, 65, 65, 65]


def test_the_first_slice_has_the_id_of_the_whole_order() -> None:
    whole = made_with({"A": 1.0}, account("100000"), A="100")
    cut = made_with({"A": 1.0}, account("100000"), bounds=Bounds(max_order_value_usd=Decimal(50_000)), A="100")
    assert cut.intents[0].client_order_id == whole.intents[0].client_order_id


@pytest.mark.parametrize("largest", ["9799", "99"])
def test_what_would_take_more_than_ten_slices_is_left_whole_for_the_gate_to_deny(largest: str) -> None:
    made = made_with({"A": 1.0}, account("100000"), bounds=Bounds(max_order_value_usd=Decimal(largest)), A="100")
    assert sizes(made) == [("buy", "980", "A")]


def test_what_only_shrinks_a_position_is_not_sliced() -> None:
    bounds = Bounds(max_order_value_usd=Decimal(20_000))
    assert sizes(made_with({"A": 0.0}, account("0", A=("1000", "100")), bounds=bounds, A="100")) == [
        ("sell", "1000", "A")
    ]


def test_a_strategys_own_largest_order_counts_if_it_is_the_smaller() -> None:
    risk = RiskSettings.model_validate(
        {"max_order_value_usd": 75_000, "strategies": {"small": {"max_order_value_usd": 5_000}, "big": {}}}
    )
    assert Bounds.of(risk, "small", lambda q: q).max_order_value_usd == Decimal(5_000)
    assert Bounds.of(risk, "big", lambda q: q).max_order_value_usd == Decimal(75_000)
    assert Bounds.of(risk, "other", lambda q: q).max_order_value_usd == Decimal(75_000)


# ---- short -------------------------------------------------------------------------------------------

SHORT = Bounds(allow_short=True)


def test_a_negative_weight_sells_short_toward_zero_where_that_is_allowed() -> None:
    # 98,000 x 0.3 / 196.35 = 149.7 shares.
    made = made_with({"IBM": -0.3}, account("100000"), bounds=SHORT, IBM="196.35")
    assert sizes(made) == [("sell", "149", "IBM")]


def test_turning_a_position_takes_two_orders() -> None:
    made = made_with({"A": -0.5}, account("90000", A=("100", "100")), bounds=SHORT, A="100")
    assert sizes(made) == [("sell", "100", "A"), ("sell", "490", "A")]
    assert [i.sequence for i in made.intents] == [0, 1]
    assert len({i.client_order_id for i in made.intents}) == 2
    back = made_with({"A": 0.5}, account("110000", A=("-100", "100")), bounds=SHORT, A="100")
    assert sizes(back) == [("buy", "100", "A"), ("buy", "490", "A")]


def test_the_way_out_is_sent_alone_if_the_way_in_is_too_small() -> None:
    made = made_with({"A": -0.004}, account("90000", A=("100", "100")), bounds=SHORT, A="100")
    assert sizes(made) == [("sell", "100", "A")]


def test_the_way_out_is_sent_however_small() -> None:
    made = made_with({"A": -0.5}, account("99900", A=("1", "100")), bounds=SHORT, A="100")
    assert sizes(made) == [("sell", "1", "A"), ("sell", "490", "A")]


def test_what_is_bought_back_is_paid_for_before_anything_else() -> None:
    # 110,000 in cash, 100 A short at 100. 10,000 are kept for them and 10,000 buy them back: 90,000 are left for B,
    # where 98,000 are wanted.
    made = made_with({"A": 0.0, "B": 1.0}, account("110000", A=("-100", "100")), bounds=SHORT, A="100", B="100")
    assert sizes(made) == [("buy", "100", "A"), ("buy", "900", "B")]


def test_a_cover_is_an_exit_however_small() -> None:
    made = made_with({"A": 0.0}, account("100100", A=("-1", "100")), bounds=SHORT, A="100")
    assert sizes(made) == [("buy", "1", "A")]


def test_what_a_short_sale_brings_is_not_spent() -> None:
    # Equity 100,000: 50,000 in ZEN, 50,000 cash. Short 30,000 of B brings cash that is not there for A.
    snapshot = account("50000", ZEN=("500", "100"))
    made = made_with({"A": 0.6, "B": -0.3}, snapshot, bounds=SHORT, A="100", B="100")
    assert sizes(made) == [("sell", "294", "B"), ("buy", "500", "A")]


@pytest.mark.parametrize("weights", [{"A": 0.6, "B": 0.5}, {"A": -0.6, "B": -0.5}])
def test_neither_side_may_exceed_the_account(weights: dict[str, float]) -> None:
    with pytest.raises(DataError, match=r"add up to 1\.1"):
        made_with(weights, account("100000"), bounds=SHORT, A="100", B="100")


# ---- properties --------------------------------------------------------------------------------------

LOTS = ("1", "0.001", "10")


@st.composite
def anything(draw: st.DrawFn) -> tuple[dict[str, float], Snapshot, dict[str, Decimal], PlannerSettings, Bounds]:
    """An account with holdings either way, orders waiting, and any rules."""
    weights, snapshot, prices = draw(rebalances())
    short = draw(st.booleans())
    settings = rules(
        lot=Decimal(draw(st.sampled_from(LOTS))),
        limit_bps=draw(st.none() | st.sampled_from([Decimal(0), Decimal(25)])),
    )
    bounds = Bounds(
        max_order_value_usd=draw(st.none() | st.decimals("1000", "1000000", places=2)),
        market_order_buffer=draw(st.sampled_from([Decimal(0), Decimal("0.01")])),
        allow_short=short,
        fee=draw(st.sampled_from([lambda q: Decimal(0), lambda q: max(Decimal(1), q * Decimal("0.005"))])),
    )
    if short:
        weights = {s: -w if draw(st.booleans()) else w for s, w in weights.items()}
    orders = []
    for symbol in draw(st.lists(st.sampled_from(SYMBOLS), max_size=3)):
        orders.append(
            waiting(
                symbol, draw(st.sampled_from(Side)), str(draw(st.integers(1, 50))),
                draw(st.sampled_from([OrderState.ACCEPTED, OrderState.SUBMITTING, OrderState.UNKNOWN])),
                parent=draw(st.sampled_from([None, "entry"])),
            )
        )  # fmt: skip
    names = draw(st.permutations(SYMBOLS))
    held = {s: snapshot.positions[s] for s in names if s in snapshot.positions}
    cash = snapshot.cash
    for symbol in sorted(held) if short else []:
        if draw(st.booleans()):  # sold short before, so that the cash is there
            cash += 2 * held[symbol].value
            held[symbol] = replace(held[symbol], quantity=-held[symbol].quantity)
    return (
        {s: weights[s] for s in draw(st.permutations(SYMBOLS))},
        Snapshot("paper", SESSION, cash, held, tuple(orders)),
        {s: prices[s] for s in names},
        settings,
        bounds,
    )


def fill(snapshot: Snapshot, made: Plan, bounds: Bounds, *, fees: bool = True) -> Snapshot:
    """The account after every order of a plan has filled at its reference price."""
    cash = snapshot.cash
    shares = {symbol: position.quantity for symbol, position in snapshot.positions.items()}
    prices = {symbol: position.price for symbol, position in snapshot.positions.items()}
    for intent in made.intents:
        cash -= intent.signed_quantity * intent.reference_price + (bounds.fee(intent.quantity) if fees else 0)
        shares[intent.symbol] = shares.get(intent.symbol, Decimal(0)) + intent.signed_quantity
        prices[intent.symbol] = intent.reference_price
    positions = {s: Position(s, q, prices[s]) for s, q in shares.items() if q}
    return Snapshot(snapshot.account, snapshot.session, cash, positions, snapshot.open_orders)


@given(anything(), st.randoms(use_true_random=False))
def test_the_order_of_inputs_does_not_matter(
    case: tuple[dict[str, float], Snapshot, dict[str, Decimal], PlannerSettings, Bounds], random: Random
) -> None:
    weights, snapshot, prices, settings, bounds = case

    def shuffled(items: Mapping[str, Any]) -> dict[str, Any]:
        pairs = list(items.items())
        random.shuffle(pairs)
        return dict(pairs)

    first = plan(KEY, weights, snapshot, prices, settings, bounds)
    again = plan(
        KEY, shuffled(weights), replace(snapshot, positions=shuffled(snapshot.positions)), shuffled(prices), settings,
        bounds,
    )  # fmt: skip
    assert (again.intents, again.targets, again.blocked, again.short_of_cash) == (
        first.intents, first.targets, first.blocked, first.short_of_cash,
    )  # fmt: skip


@given(anything())
def test_sells_come_first_and_every_order_has_its_own_id(
    case: tuple[dict[str, float], Snapshot, dict[str, Decimal], PlannerSettings, Bounds],
) -> None:
    made = plan(KEY, *case)
    sides = [i.side for i in made.intents]
    assert sides == sorted(sides, key=lambda side: side is Side.BUY)
    assert len({i.client_order_id for i in made.intents}) == len(made.intents)
    assert all(i.quantity > 0 for i in made.intents)
    assert not {i.symbol for i in made.intents} & set(made.blocked)


@given(anything())
def test_cash_is_never_negative_when_fills_happen_at_the_reference_price(
    case: tuple[dict[str, float], Snapshot, dict[str, Decimal], PlannerSettings, Bounds],
) -> None:
    weights, snapshot, prices, settings, bounds = case
    made = plan(KEY, weights, snapshot, prices, settings, bounds)
    entered = any(i.side is Side.BUY and snapshot.expected(i.symbol) + i.signed_quantity > 0 for i in made.intents)
    after = fill(snapshot, made, bounds).cash
    reserved = sum(
        (o.open_quantity * prices[o.symbol] for o in snapshot.open_orders if o.side is Side.BUY and not o.is_exit),
        Decimal(0),
    )
    proceeds = sum(
        (
            o.open_quantity * prices[o.symbol]
            for o in snapshot.open_orders
            if o.side is Side.SELL and not o.is_exit and o.state is OrderState.ACCEPTED
        ),
        Decimal(0),
    )
    # Only buys that add to a long position are the planner's choice; a fee of an exit is owed in any case.
    if entered:
        assert after - reserved + proceeds >= 0


@given(anything())
def test_orders_lead_to_within_a_lot_of_the_target_unless_too_small_or_too_dear(
    case: tuple[dict[str, float], Snapshot, dict[str, Decimal], PlannerSettings, Bounds],
) -> None:
    weights, snapshot, prices, settings, bounds = case
    snapshot = replace(snapshot, open_orders=())
    made = plan(KEY, weights, snapshot, prices, settings, bounds)
    smallest = max(settings.min_trade_value_usd, settings.tolerance * snapshot.equity)
    for target in made.targets:
        exact = snapshot.equity * (1 - settings.cash_buffer) * target.weight / target.price
        change = sum((i.signed_quantity for i in made.intents if i.symbol == target.symbol), Decimal(0))
        assert target.held + change == target.quantity
        if target.symbol in made.short_of_cash:
            assert target.held <= target.quantity <= exact
        elif abs(target.quantity - exact) >= settings.lot:
            assert abs(exact - target.quantity) * target.price < smallest + settings.lot * target.price


@given(anything())
def test_nothing_below_the_minimum_is_traded_but_exits(
    case: tuple[dict[str, float], Snapshot, dict[str, Decimal], PlannerSettings, Bounds],
) -> None:
    weights, snapshot, prices, settings, bounds = case
    snapshot = replace(snapshot, open_orders=())
    made = plan(KEY, weights, snapshot, prices, settings, bounds)
    smallest = max(settings.min_trade_value_usd, settings.tolerance * snapshot.equity)
    for symbol in {i.symbol for i in made.intents}:
        parts = [i for i in made.intents if i.symbol == symbol]
        held = snapshot.quantity(symbol)
        if parts[0].quantity == abs(held) and parts[0].signed_quantity * held < 0:
            parts = parts[1:]  # the way out
        if parts:
            assert sum(i.quantity for i in parts) * prices[symbol] >= smallest


@given(anything())
def test_a_plan_that_has_been_carried_out_leaves_nothing_to_do(
    case: tuple[dict[str, float], Snapshot, dict[str, Decimal], PlannerSettings, Bounds],
) -> None:
    weights, snapshot, prices, settings, bounds = case
    snapshot = replace(snapshot, open_orders=())
    made = plan(KEY, weights, snapshot, prices, settings, bounds)
    if not made.short_of_cash:
        after = fill(snapshot, made, bounds, fees=False)
        assert plan(KEY, weights, after, prices, settings, bounds).intents == ()


@given(anything())
def test_slices_stay_within_the_largest_order_value_and_differ_by_at_most_a_lot(
    case: tuple[dict[str, float], Snapshot, dict[str, Decimal], PlannerSettings, Bounds],
) -> None:
    weights, snapshot, prices, settings, bounds = case
    made = plan(KEY, weights, snapshot, prices, settings, bounds)
    for symbol, side in {(i.symbol, i.side) for i in made.intents}:
        parts = [i for i in made.intents if (i.symbol, i.side) == (symbol, side)]
        assert [i.sequence for i in parts] == list(range(len(parts)))
        assert len(parts) <= 11  # the way out and ten slices
        if len(parts) > 2:
            slices = [i.quantity for i in parts[1:]]
            assert max(slices) - min(slices) <= settings.lot
            assert bounds.max_order_value_usd is not None
            unit = parts[0].limit_price or prices[symbol] * (1 + bounds.market_order_buffer)
            assert max(slices) * unit <= bounds.max_order_value_usd
