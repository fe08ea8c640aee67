from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.domain import OrderType, Side, TradingState
from workbench.trading.exposures import ACCOUNT, Exposure, Sums, Working
from workbench.trading.riskbook import RiskBook

SESSION = date(2013, 1, 2)
BUY, SELL, MARKET = Side.BUY, Side.SELL, OrderType.MARKET


def empty(**prices: str) -> RiskBook:
    found = RiskBook(SESSION, TradingState.ACTIVE, Decimal(1000), Decimal(1000))
    for symbol, price in prices.items():
        found.quote(symbol, Decimal(price))
    return found


def working(name: str, side: Side, quantity: int, symbol: str = "A", **more: Any) -> Working:
    return Working(name, symbol, side, MARKET, Decimal(quantity), **more)


def test_the_worst_position_is_the_larger_of_all_bought_and_all_sold() -> None:
    exposure = Exposure(held=Decimal(10), buys=Decimal(5), sells=Decimal(40))
    assert (exposure.highest, exposure.lowest, exposure.most) == (15, -30, 30)
    sure = Exposure(held=Decimal(10), buys=Decimal(5), sure_sales=Decimal(10))
    assert (sure.highest, sure.lowest, sure.most) == (5, 0, 5)


def test_the_sums_are_worked_out_by_hand() -> None:
    on = empty(A="10", B="20")
    on.hold("A", Decimal(30))
    on.hold("B", Decimal(-4))
    on.place(working("1", BUY, 5, "A"))
    on.place(working("2", BUY, 7, "A", worst_price=Decimal(11)))
    on.place(working("3", SELL, 6, "B"))
    on.place(working("4", SELL, 8, "A", sure=True))
    # A: 30 - 8 = 22 to 34 shares of 10; B: -10 to -4 shares of 20.
    assert on.sums() == Sums(
        gross=Decimal(340 + 200), high=Decimal(340 - 80), low=Decimal(220 - 200), short=Decimal(200),
        buys=Decimal(50), sure=Decimal(80), priced=Decimal(77),
    )  # fmt: skip


def test_an_order_counted_again_under_its_id_takes_its_new_values() -> None:
    on = empty(A="10")
    on.place(working("1", SELL, 8))
    on.place(working("1", SELL, 8, sure=True))
    assert on.exposure("A") == Exposure(sure_sales=Decimal(8))
    on.place(working("1", SELL, 0))
    assert on.exposure("A") == Exposure()
    assert on.sums() == Sums()


def test_an_order_that_changes_its_strategy_leaves_the_old_sleeve() -> None:
    on = empty(A="10")
    on.place(working("1", BUY, 8, strategy="s"))
    on.place(working("1", BUY, 8, strategy="t"))
    assert on.exposure("A", "s") == Exposure()
    assert on.exposure("A", "t") == on.exposure("A") == Exposure(buys=Decimal(8))


def test_exclusive_orders_count_as_the_largest() -> None:
    on = empty(A="10")
    on.place(working("old", BUY, 8, worst_price=Decimal(12)))
    on.place(working("new", BUY, 9, worst_price=Decimal(10), exclusive=on.group("old")))
    assert on.exposure("A") == Exposure(buys=Decimal(9), priced=Decimal(9), priced_cost=Decimal(96))
    on.place(working("old", BUY, 0, worst_price=Decimal(12)))
    assert on.exposure("A") == Exposure(buys=Decimal(9), priced=Decimal(9), priced_cost=Decimal(90))


def test_exits_told_before_their_entry_and_without_its_strategy_count_right() -> None:
    on = empty(A="10")
    for name in ("profit", "loss"):
        on.place(working(name, SELL, 5, entry="entry"))
    assert on.exposure("A") == Exposure(sells=Decimal(5))
    on.place(working("entry", BUY, 5, strategy="s"))
    assert on.exposure("A") == on.exposure("A", "s") == Exposure(buys=Decimal(5))
    on.place(working("entry", BUY, 2, strategy="s"))
    assert on.exposure("A") == Exposure(buys=Decimal(2), sells=Decimal(3))
    assert on.exposure("A", "s") == Exposure(buys=Decimal(2))


def test_a_symbol_without_a_usable_price_is_named_until_it_has_one() -> None:
    on = empty(A="10")
    on.hold("B", Decimal(3))
    assert (on.unpriced(), on.sums()) == ({"B"}, Sums())
    on.quote("B", Decimal(0))
    assert on.unpriced() == {"B"}
    on.quote("B", Decimal(2))
    assert (on.unpriced(), on.sums().gross) == (set(), 6)
    on.hold("B", Decimal(0))
    on.quote("B", Decimal("NaN"))
    assert on.unpriced() == set()


def test_prices_and_exposures_cannot_be_changed_past_the_sums() -> None:
    on = empty(A="10")
    with pytest.raises(TypeError):
        on.prices["A"] = Decimal(11)  # type: ignore[index]
    with pytest.raises(TypeError):
        on.exposures["A"] = Exposure()  # type: ignore[index]
    with pytest.raises(AttributeError):
        on.exposure("A").held = Decimal(1)  # type: ignore[misc]


def test_what_would_be_after_an_order_is_what_is_after_it() -> None:
    on = empty(A="10", B="20")
    on.hold("A", Decimal(3), "s")
    order = working("1", BUY, 8, strategy="s")
    foreseen = {scope: on.after(order, scope) for scope in (ACCOUNT, "s")}
    on.place(order)
    for scope, (exposure, sums) in foreseen.items():
        assert (exposure, sums) == (on.exposure("A", scope), on.sums(scope))


SYMBOLS, SCOPES = "ABC", ["s", "t", ACCOUNT]
# Symbol, strategy, exclusive group and bracket entry of every order there can be.
KNOWN = {
    "plain": ("A", "s", "", ""),
    "entry": ("A", "s", "", ""),
    "profit": ("A", "s", "", "entry"),
    "loss": ("A", ACCOUNT, "", "entry"),
    "old": ("B", "s", "g", ""),
    "new": ("B", "t", "g", ""),
    "newer": ("B", "s", "g", ""),
    "other": ("B", "t", "", ""),
    "foreign": ("C", ACCOUNT, "", ""),
    "last": ("C", "t", "", ""),
}
QUANTITIES = st.decimals(0, 1000, places=3)
PRICES = st.decimals("0.01", 1000, places=4)
POSITIONS = st.decimals(-1000, 1000, places=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("quote"), st.sampled_from(SYMBOLS), PRICES | st.just(Decimal(0))),
        st.tuples(st.just("hold"), st.sampled_from(SYMBOLS), POSITIONS, st.sampled_from(SCOPES)),
        st.tuples(
            st.just("place"), st.sampled_from(sorted(KNOWN)), st.sampled_from(list(Side)), QUANTITIES,
            st.none() | PRICES, st.booleans(),
        ),
    ),
    max_size=60,
)  # fmt: skip


@given(STEPS)
def test_the_kept_sums_equal_the_recomputed_ones(steps: list[tuple[Any, ...]]) -> None:
    """In whatever order things happen: the sums a second, slow way, from nothing but the list of what stands."""
    on = empty()
    held: dict[tuple[str, str], Decimal] = {}
    orders: dict[str, Working] = {}
    prices: dict[str, Decimal] = {}
    for kind, name, *values in steps:
        if kind == "quote":
            on.quote(name, values[0])
            prices[name] = values[0]
        elif kind == "hold":
            on.hold(name, values[0], values[1])
            held[name, values[1]] = values[0]
        else:
            side, quantity, price, sure = values
            symbol, strategy, exclusive, entry = KNOWN[name]
            sure = sure and side is SELL
            orders[name] = Working(name, symbol, side, MARKET, quantity, strategy, price, sure, exclusive, entry)
            on.place(orders[name])
    for scope in SCOPES:
        assert on.sums(scope) == slow_sums(scope, held, orders, prices)


def slow_sums(
    scope: str, held: dict[tuple[str, str], Decimal], orders: dict[str, Working], prices: dict[str, Decimal]
) -> Sums:
    total = [Decimal(0)] * 7
    for symbol in SYMBOLS:
        groups: dict[tuple[str, str], list[Working]] = {}
        for order in orders.values():
            if order.symbol == symbol and scope in (ACCOUNT, order.strategy):
                groups.setdefault((order.exclusive or order.entry or order.client_order_id, order.entry), []).append(
                    order
                )
        buys = sells = sure = priced = cost = Decimal(0)
        for members in groups.values():
            waiting = orders["entry"].quantity if members[0].entry and "entry" in orders else Decimal(0)
            sizes = [(max(o.quantity - waiting, Decimal(0)), o) for o in members]
            bought = [(size, o) for size, o in sizes if o.side is BUY]
            buys += max((size for size, _ in bought), default=Decimal(0))
            if bought and all(o.worst_price is not None for _, o in bought):
                priced += max(size for size, _ in bought)
                cost += max(size * (o.worst_price or 0) for size, o in bought)
            sold = max((size for size, o in sizes if o.side is SELL), default=Decimal(0))
            if len(members) == 1 and members[0].sure:
                sure += sold
            else:
                sells += sold
        position, price = held.get((symbol, scope), Decimal(0)), prices.get(symbol, Decimal(0))
        high, low = position - sure + buys, position - sure - sells
        parts = (max(high, -low, Decimal(0)) * price, high * price, low * price, max(-low, Decimal(0)) * price,
                 (buys - priced) * price, sure * price, cost)  # fmt: skip
        total = [t + p for t, p in zip(total, parts, strict=True)]
    return Sums(*total)
