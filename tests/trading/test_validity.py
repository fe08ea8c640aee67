"""What makes an order meaningless: anything a notebook can put into an intent is answered, never raised."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workbench.domain import Bracket, OrderIntent, OrderType, Side, TimeInForce, TradingState
from workbench.settings import RiskSettings, StrategyLimits
from workbench.trading import gates
from workbench.trading.exposures import Exposure
from workbench.trading.riskbook import RiskBook
from workbench.trading.validity import fault

SESSION = date(2013, 1, 2)
GOOD = OrderIntent("id", "A", Side.BUY, Decimal(10), Decimal(100), "s", 0)
LIMIT, STOP, STOP_LIMIT, TRAILING = OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP
BRACKET = Bracket(Decimal(110), Decimal(90))


def book(lot: str = "1", held: str = "0") -> RiskBook:
    """Everything costs 100 USD, but P, which costs half a dollar."""
    return RiskBook(
        SESSION, TradingState.ACTIVE, Decimal(100_000), Decimal(100_000), {"A": Decimal(100), "P": Decimal("0.5")},
        {"A", "P"}, {"A": Exposure(Decimal(held))}, checked={"A", "P"},
        volumes={"A": Decimal(10**6), "P": Decimal(10**6)}, now=datetime(2013, 1, 2, 22, tzinfo=UTC),
        lot=Decimal(lot),
    )  # fmt: skip


def intent(**changes: Any) -> OrderIntent:
    for name in ("quantity", "limit_price", "stop_price", "trail_price", "trail_percent", "notional_usd"):
        if isinstance(changes.get(name), str):
            changes[name] = Decimal(changes[name])
    return replace(GOOD, **changes)


def test_a_plain_order_means_something() -> None:
    assert fault(GOOD, book()) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"quantity": 10}, "quantity is of the type int, not a Decimal"),
        ({"quantity": True}, "quantity is of the type bool"),
        ({"quantity": 10.0}, "quantity is of the type float"),
        ({"quantity": float("nan")}, "quantity is of the type float"),
        ({"quantity": np.float64(10)}, "quantity is of the type float64"),
        ({"quantity": np.int64(10)}, "quantity is of the type int64"),
        ({"quantity": np.array([10.0])}, "quantity is of the type ndarray"),
        ({"quantity": None}, "quantity is empty"),
        ({"reference_price": None}, "reference price is empty"),
        ({"reference_price": "100"}, "reference price is of the type str"),
        ({"quantity": "NaN"}, "quantity NaN is not a positive number"),
        ({"quantity": "sNaN"}, "quantity sNaN is not a positive number"),
        ({"quantity": "-Infinity"}, "quantity -Infinity is not a positive number"),
        ({"quantity": "-0"}, "quantity -0 is not a positive number"),
        ({"quantity": "1E+999999"}, "quantity 1E+999999 is larger than any order"),
        ({"quantity": "1E-999999"}, "quantity 1E-999999 is next to nothing"),
        ({"quantity": "1" * 5000}, "quantity 111111111111... is larger than any order"),
        ({"type": LIMIT, "limit_price": np.float64(100)}, "limit price is of the type float64"),
        ({"side": "buy"}, "side is of the type str, not one of buy, sell"),
        ({"type": "market"}, "type is of the type str"),
        ({"time_in_force": None}, "time in force is empty, not one of day"),
        ({"symbol": ""}, "symbol is empty"),
        ({"symbol": ["A"]}, "symbol is of the type list"),
        ({"symbol": "ZZZ"}, "'ZZZ' is not known"),
        ({"strategy": None}, "strategy is empty"),
        ({"client_order_id": "x" * 49}, "49 characters"),
        ({"client_order_id": ""}, "client order id is empty"),
        ({"sequence": -1}, "sequence"),
        ({"sequence": True}, "sequence"),
        ({"bracket": (110, 90)}, "bracket is of the type tuple"),
        ({"bracket": Bracket(Decimal(110), None)}, "stop loss is empty"),  # type: ignore[arg-type]
        ({"bracket": Bracket(110.0, Decimal(90))}, "take profit is of the type float"),  # type: ignore[arg-type]
        ({"replaces": 7}, "replaces is of the type int"),
    ],
)  # fmt: skip
def test_a_field_of_the_wrong_kind_is_named(changes: dict[str, Any], words: str) -> None:
    found = fault(intent(**changes), book())
    assert found is not None
    assert words in found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"limit_price": "100"}, "a market order has no price, this one a limit price"),
        ({"type": LIMIT}, "a limit order has a limit price, this one none"),
        ({"type": LIMIT, "limit_price": "100", "stop_price": "101"}, "this one a limit price and a stop price"),
        ({"type": STOP, "limit_price": "100"}, "a stop order has a stop price, this one a limit price"),
        ({"type": STOP_LIMIT, "stop_price": "101"}, "a stop limit order has a limit price and a stop price"),
        ({"type": TRAILING}, "either a trail price or a trail percent"),
        ({"type": TRAILING, "trail_price": "1", "trail_percent": "1"}, "either a trail price or a trail percent"),
        ({"type": TRAILING, "trail_price": "1", "limit_price": "100"}, "no other price"),
        ({"type": TRAILING, "trail_percent": "100"}, "never triggers"),
        ({"type": STOP, "stop_price": "101", "time_in_force": TimeInForce.OPG}, "for an auction alone (opg)"),
        ({"type": TRAILING, "trail_price": "1", "time_in_force": TimeInForce.CLS}, "for an auction alone (cls)"),
    ],
)
def test_prices_must_be_those_of_the_type(changes: dict[str, Any], words: str) -> None:
    found = fault(intent(**changes), book())
    assert found is not None
    assert words in found


@pytest.mark.parametrize(
    "changes",
    [
        {"type": LIMIT, "limit_price": "100.01"},
        {"type": STOP, "stop_price": "101"},
        {"type": STOP_LIMIT, "stop_price": "101", "limit_price": "102.5"},
        {"type": TRAILING, "trail_price": "1.5", "time_in_force": TimeInForce.GTC},
        {"type": TRAILING, "trail_percent": "1.125"},
        {"time_in_force": TimeInForce.CLS},
        {"time_in_force": TimeInForce.OPG, "type": LIMIT, "limit_price": "99"},
        {"bracket": BRACKET, "time_in_force": TimeInForce.GTC},
        {"bracket": Bracket(Decimal(110), Decimal(90), Decimal("89.5")), "type": LIMIT, "limit_price": "100"},
    ],
)
def test_every_type_with_its_own_prices_is_sound(changes: dict[str, Any]) -> None:
    assert fault(intent(**changes), book()) is None


@pytest.mark.parametrize(
    ("symbol", "price", "sound"),
    [
        ("A", "100.01", True),
        ("A", "100.010", True),
        ("A", "100.001", False),
        ("A", "1.00", True),
        ("A", "1.0001", False),
        ("P", "0.5001", True),
        ("P", "0.50001", False),
        ("P", "0.9999", True),
    ],
)
def test_prices_keep_to_the_tick_of_rule_612(symbol: str, price: str, sound: bool) -> None:
    found = fault(intent(symbol=symbol, type=LIMIT, limit_price=price), book())
    assert (found is None) is sound
    assert sound or "off the tick" in str(found)


def test_stops_trails_and_exits_keep_to_the_tick_too() -> None:
    off = Decimal("101.005")
    for changes in (
        {"type": STOP, "stop_price": off},
        {"type": TRAILING, "trail_price": Decimal("0.005")},
        {"bracket": Bracket(off, Decimal(90))},
        {"bracket": Bracket(Decimal(110), Decimal("90.005"))},
        {"bracket": Bracket(Decimal(110), Decimal(90), Decimal("89.005"))},
    ):
        assert "off the tick" in str(fault(intent(**changes), book()))
    assert fault(intent(symbol="P", type=TRAILING, trail_price="0.0005"), book()) is None


@pytest.mark.parametrize(
    ("quantity", "lot", "words"),
    [
        ("0.5", "1", "not whole, and fractions are off"),
        ("1.5", "0.5", None),
        ("1.25", "0.5", "not in steps of 0.5"),
        ("0.001", "0.001", None),
        ("1E-9", "0.001", "not in steps of 0.001"),
        ("1E-9", "1E-9", "worth less than a cent"),
        ("0.0001", "1E-9", None),  # worth exactly a cent
        ("0.0000999", "1E-9", "worth less than a cent"),
        ("1.0000000001", "1E-9", "more than 9 decimals"),
        ("50", "100", "not in steps of 100"),
        ("200.0", "100", None),
    ],
)
def test_quantities_keep_to_the_lot(quantity: str, lot: str, words: str | None) -> None:
    found = fault(intent(quantity=quantity), book(lot))
    assert (found is None) if words is None else (words in str(found))


def test_all_that_is_held_can_be_sold_whatever_the_fraction() -> None:
    assert fault(intent(quantity="3.141592653", side=Side.SELL), book(held="3.141592653")) is None
    assert fault(intent(quantity="3.14", side=Side.SELL), book(held="3.141592653")) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"time_in_force": TimeInForce.GTC},
        {"time_in_force": TimeInForce.OPG},
        {"type": STOP_LIMIT, "stop_price": "101", "limit_price": "102"},
        {"type": TRAILING, "trail_price": "1"},
        {"bracket": BRACKET},
    ],
)
def test_a_fraction_is_for_plain_day_orders_only(changes: dict[str, Any]) -> None:
    assert fault(intent(**changes), book("0.1")) is None
    assert "is a fraction" in str(fault(intent(quantity="1.5", **changes), book("0.1")))
    for kind in ({}, {"type": LIMIT, "limit_price": "100"}, {"type": STOP, "stop_price": "101"}):
        assert fault(intent(quantity="1.5", **kind), book("0.1")) is None


@pytest.mark.parametrize(
    ("changes", "lot", "words"),
    [
        ({}, "0.001", None),
        ({}, "1", "fractions are off"),
        ({"notional_usd": "-1"}, "0.001", "not a positive number"),
        ({"notional_usd": "1000.001"}, "0.001", "more than two decimals"),
        ({"notional_usd": "1020"}, "0.001", "are not worth 1020 USD"),
        ({"time_in_force": TimeInForce.GTC}, "0.001", "a plain market day order"),
        ({"type": LIMIT, "limit_price": "100"}, "0.001", "a plain market day order"),
        ({"bracket": BRACKET}, "0.001", "a plain market day order"),
    ],
)
def test_an_order_for_an_amount_is_a_market_day_order_for_the_shares_it_says(
    changes: dict[str, Any], lot: str, words: str | None
) -> None:
    found = fault(intent(**{"notional_usd": "1000", **changes}), book(lot))
    assert (found is None) if words is None else (words in str(found))


@pytest.mark.parametrize(
    ("changes", "bracket", "words"),
    [
        ({}, ("99", "90", None), "stop loss below and its take profit above 100"),
        ({}, ("110", "100", None), "stop loss below"),
        ({"type": LIMIT, "limit_price": "95"}, ("99", "90", None), None),  # around the limit, not the market
        ({"side": Side.SELL}, ("110", "90", None), "take profit below and its stop loss above 100"),
        ({"side": Side.SELL}, ("90", "110", "111"), None),
        ({"side": Side.SELL}, ("90", "110", "109"), "would not fill"),
        ({}, ("110", "90", "90.01"), "would not fill"),
        ({"type": STOP, "stop_price": "101"}, ("110", "90", None), "market or limit order"),
        ({"time_in_force": TimeInForce.OPG}, ("110", "90", None), "market or limit order"),
    ],
)
def test_a_brackets_exits_lie_on_both_sides_of_its_entry(
    changes: dict[str, Any], bracket: tuple[str, str, str | None], words: str | None
) -> None:
    profit, loss, limit = bracket
    made = Bracket(Decimal(profit), Decimal(loss), None if limit is None else Decimal(limit))
    found = fault(intent(bracket=made, **changes), book())
    assert (found is None) if words is None else (words in str(found))


def test_a_replacement_names_an_open_order_of_the_same_kind() -> None:
    on, limits = book(), RiskSettings()
    old = intent(client_order_id="old", type=LIMIT, limit_price="100")
    gates.count(on, old, limits, accepted=True)
    new = replace(old, client_order_id="new", replaces="old", limit_price=Decimal(101), quantity=Decimal(12))
    assert fault(new, on) is None
    assert "cannot replace itself" in str(fault(replace(new, replaces="new"), on))
    assert "not an open order" in str(fault(replace(new, replaces="gone"), on))
    assert "a limit buy of A" in str(fault(replace(new, side=Side.SELL), on))
    assert "a limit buy of A" in str(fault(replace(new, symbol="P", limit_price=Decimal("0.5")), on))
    gates.count(on, old, limits, accepted=True, open_quantity=Decimal(0))
    assert "not an open order" in str(fault(new, on))


# ---- anything at all -----------------------------------------------------------------------------------------

LIMITS = RiskSettings(
    restricted=("XYZ",),
    strategies={"s": StrategyLimits(max_order_value_usd=Decimal(1), max_net_exposure=Decimal("0.1"))},
)
NUMBERS = st.one_of(
    st.decimals(),
    st.sampled_from([Decimal(t) for t in ("sNaN", "-sNaN123", "Infinity", "-Infinity", "1E+999999", "-1E+999999",
                                          "1E-999999", "9.99999999999E+999999", "1E-9", "0", "-0", "1E+14", "1E-9")]),
    st.decimals(min_value="0.01", max_value="1E+15", places=2),
    st.integers(1, 10_000).map(Decimal),
)  # fmt: skip
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text("aZ9 \0\u00e9", max_size=50), st.binary(max_size=3),
    st.lists(st.integers(), max_size=2), st.floats().map(np.float64), st.integers(-9, 9).map(np.int64),
    st.just(np.array([1.0, 2.0])), st.just(object()), NUMBERS, st.sampled_from(list(Side)),
    st.sampled_from(list(OrderType)), st.sampled_from(list(TimeInForce)),
    st.builds(Bracket, NUMBERS, NUMBERS, st.none() | NUMBERS),
)  # fmt: skip
SOUND: dict[str, st.SearchStrategy[Any]] = {
    "client_order_id": st.sampled_from(["id", "x" * 48]), "symbol": st.sampled_from(["A", "P", "XYZ"]),
    "side": st.sampled_from(list(Side)), "quantity": NUMBERS, "reference_price": NUMBERS,
    "strategy": st.sampled_from(["s", "t", ""]), "sequence": st.integers(0, 3),
    "type": st.sampled_from(list(OrderType)), "limit_price": st.none() | NUMBERS,
    "time_in_force": st.sampled_from(list(TimeInForce)), "stop_price": st.none() | NUMBERS,
    "trail_price": st.none() | NUMBERS, "trail_percent": st.none() | NUMBERS, "notional_usd": st.none() | NUMBERS,
    "bracket": st.none() | st.builds(Bracket, NUMBERS, NUMBERS, st.none() | NUMBERS),
    "replaces": st.none() | st.sampled_from(["id", "old", "gone"]),
}  # fmt: skip


def test_the_sound_fields_are_all_fields() -> None:
    assert set(SOUND) == {field.name for field in fields(OrderIntent)}


@given(
    made=st.fixed_dictionaries(SOUND),
    spoilt=st.dictionaries(st.sampled_from(sorted(SOUND)), ANYTHING, max_size=2),
    lot=st.sampled_from(["1", "0.001", "1E-9", "1E-20"]),
    state=st.sampled_from(list(TradingState)),
)
@example(made={}, spoilt={"quantity": Decimal("9.99999999999E+999999")}, lot="1", state=TradingState.ACTIVE)
@example(made={}, spoilt={"quantity": Decimal("1" * 1000 + ".1")}, lot="1", state=TradingState.ACTIVE)
@example(made={}, spoilt={"limit_price": Decimal("0." + "1" * 1000)}, lot="1", state=TradingState.ACTIVE)
def test_no_gate_raises_whatever_an_intent_is_made_of(
    made: dict[str, Any], spoilt: dict[str, Any], lot: str, state: TradingState
) -> None:
    on = book(lot, held="30.5")
    on.quote("XYZ", Decimal("12.345678901234567890123456789"))
    on.state = state
    asked = replace(GOOD, **{**made, **spoilt})
    decision = gates.decide(asked, SESSION, on, LIMITS)
    assert decision.approved or (decision.gate and decision.reason and len(decision.reason) < 300)
    gates.review(asked, SESSION, on, LIMITS)
    if decision.approved:
        gates.count(on, asked, LIMITS, accepted=True)
