from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.domain import Order, OrderState, OrderType, Position, Side, Snapshot, TimeInForce
from workbench.errors import DataError
from workbench.settings import PlannerSettings
from workbench.trading.planner import Plan, PlanKey, plan

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
        ({"IBM": -0.1}, "short positions are not supported"),
        ({"IBM": 0.6, "MSFT": 0.5}, "add up to 1.1"),
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
