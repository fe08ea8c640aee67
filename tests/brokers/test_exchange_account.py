"""What an account may order and what it holds: refusals, margin, cost, corporate actions."""

from __future__ import annotations

from decimal import Decimal

import pytest
from brokers.contract_venue import (
    CLS,
    FRI,
    GTC,
    LIMIT,
    MON,
    OPG,
    SELL,
    STOP,
    THU,
    TRAILING,
    TUE,
    WED,
    intent,
)
from brokers.exchanges import Opener, held, state
from support.markets import StaticMarket, bar

from workbench.brokers.market import CorporateAction
from workbench.domain import Bracket, OrderIntent, OrderState
from workbench.errors import OrderRejected

DAYS = (MON, TUE, WED, THU, FRI)


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (intent("c", quantity="NaN"), "^quantity must be a positive number of shares"),
        (intent("c", quantity="1e13"), "^quantity 1E[+]13 is beyond"),
        (intent("c", quantity="0.1234567891"), "^quantity 0.1234567891 has more than 9 decimals"),
        (intent("c", notional_usd="-1"), "^quantity by value"),
        (intent("c", notional_usd="1e13"), "^quantity by value"),
        (intent("c", quantity="0.5", time_in_force=OPG), "^fractional "),
        (intent("c", notional_usd="10", time_in_force=GTC), "^fractional "),
        (intent("c", quantity="0.5", bracket=Bracket(Decimal(110), Decimal(90))), "^fractional "),
        (intent("c", type=LIMIT), "^limit price None: a limit order needs a positive limit price"),
        (intent("c", limit_price="5"), "^limit price 5: a market order has none"),
        (intent("c", type=STOP, stop_price="NaN"), "^stop price NaN"),
        (intent("c", type=LIMIT, limit_price="5", stop_price="5"), "^stop price 5: a limit order has none"),
        (intent("c", type=TRAILING), "^trail must be one"),
        (intent("c", type=TRAILING, trail_price="1", trail_percent="1"), "^trail must be one"),
        (intent("c", SELL, type=TRAILING, trail_percent="100"), "^trail 100 is not less"),
        (intent("c", trail_price="1"), "^trail 1: a market order has none"),
        (intent("c", type=TRAILING, trail_price="1", time_in_force=CLS), "^time in force cls"),
        (intent("c", symbol="NONE"), "^NONE is not listed here"),
        (intent("c", time_in_force=OPG, bracket=Bracket(Decimal(110), Decimal(90))), "^bracket orders"),
        (intent("c", bracket=Bracket(Decimal("NaN"), Decimal(90))), "^bracket prices"),
        (intent("c", bracket=Bracket(Decimal(110), Decimal(101))), "^bracket exits must enclose the entry at 100"),
        (intent("c", bracket=Bracket(Decimal(110), Decimal(90), Decimal(91))), "^bracket stop_loss_limit"),
        (intent("c", SELL), "^insufficient shares: 10 ABC to sell, 0 free"),
        (intent("c", quantity=2001), "^insufficient buying power for 2001 ABC"),
        (intent("c", quantity=2001, type=LIMIT, limit_price="100"), "^insufficient buying power"),
        (intent("c", quantity=1999, type=STOP, stop_price="101"), "^insufficient buying power"),
        (intent("c", notional_usd="200001"), "^insufficient buying power"),
    ],
)
def test_a_refusal_begins_with_what_is_wrong(start: Opener, refused: OrderIntent, message: str) -> None:
    exchange = start()
    with pytest.raises(OrderRejected, match=message):
        exchange.submit(refused)
    assert exchange.orders() == []
    assert exchange.events() == []


def test_whole_shares_only_where_fractions_are_off(start: Opener) -> None:
    exchange = start(fractional=False)
    with pytest.raises(OrderRejected, match=r"^quantity must be a positive whole number, not 0.5"):
        exchange.submit(intent("c1", quantity="0.5"))
    with pytest.raises(OrderRejected, match=r"^fractional "):
        exchange.submit(intent("c1", notional_usd="10"))


# ---- the account ---------------------------------------------------------------------------------


def test_buying_power_counts_open_orders_and_frees_what_a_market_sale_brings(start: Opener) -> None:
    exchange = start()
    exchange.submit(intent("c1", quantity=1000))
    exchange.submit(intent("c2", quantity=2000, symbol="FLAT", type=LIMIT, limit_price="50", time_in_force=GTC))
    with pytest.raises(OrderRejected, match=r"^insufficient buying power"):  # 100,000 and 100,000 are taken
        exchange.submit(intent("c3", quantity=1, symbol="FLAT"))
    exchange.cancel("c2")
    exchange.submit(intent("c4", quantity=2000, symbol="FLAT"))
    exchange.advance(TUE)
    # 1,000 ABC at 102 and 2,000 FLAT at 50 on an equity of 102,000 leave 2,000.
    assert (exchange.cash, exchange.equity()) == (Decimal(-100_000), Decimal(102_000))
    with pytest.raises(OrderRejected):
        exchange.submit(intent("c5", quantity=41, symbol="FLAT"))
    exchange.submit(intent("c6", SELL, 10, type=LIMIT, limit_price="103"))  # may not fill
    with pytest.raises(OrderRejected):
        exchange.submit(intent("c5", quantity=41, symbol="FLAT"))
    exchange.submit(intent("c7", SELL, 10))
    exchange.submit(intent("c5", quantity=41, symbol="FLAT"))


def test_selling_short_is_for_accounts_that_may(start: Opener) -> None:
    exchange = start(shorting=True)
    exchange.submit(intent("c1", SELL, 1000))
    with pytest.raises(OrderRejected, match=r"^insufficient buying power"):  # short positions take margin too
        exchange.submit(intent("c2", SELL, 1001))
    exchange.advance(TUE)
    (short,) = exchange.holdings()
    assert (short.quantity, short.cost, exchange.cash) == (Decimal(-1000), Decimal(-100_000), Decimal(200_000))
    assert exchange.equity() == Decimal(98_000)
    exchange.submit(intent("c3", quantity=1000))
    exchange.advance(WED)
    # Covered at 103: 3 USD a share lost.
    assert (held(exchange), exchange.cash) == ({}, Decimal(97_000))


def test_a_holding_costs_what_was_paid_for_what_is_left_of_it(start: Opener) -> None:
    exchange = start()
    exchange.submit(intent("c1", quantity=10))
    exchange.advance(TUE)
    exchange.submit(intent("c2", quantity=10))
    exchange.advance(WED)
    exchange.submit(intent("c3", SELL, 5))
    exchange.advance(THU)
    (holding,) = exchange.holdings()
    # 10 at 100 and 10 at 103 are 2,030; a quarter of it went.
    assert (holding.quantity, holding.cost) == (Decimal(15), Decimal("1522.5"))


# ---- corporate actions ---------------------------------------------------------------------------


def split_market(ratio: str, before: str, after: str) -> StaticMarket:
    day, later = bar(before, before, before, before), bar(after, after, after, after)
    return StaticMarket(
        {"ABC": {MON: day, TUE: day, **dict.fromkeys((WED, THU, FRI), later)}},
        {WED: [CorporateAction("ABC", "split", Decimal(ratio))]},
    )


def test_a_split_adjusts_every_price_of_an_order_that_waits(start: Opener) -> None:
    exchange = start(split_market("4", "100", "25"))
    exchange.submit(intent("c0"))
    exchange.advance(TUE)
    exchange.submit(
        intent("c1", type=LIMIT, limit_price="60", time_in_force=GTC, bracket=Bracket(Decimal(90), Decimal(50)))
    )
    exchange.submit(intent("c2", SELL, 10, type=TRAILING, trail_price="20", time_in_force=GTC))
    exchange.advance(WED)
    entry, trail = exchange.order("c1"), exchange.order("c2")
    assert entry is not None
    assert trail is not None
    profit, loss = (leg.order for leg in entry.legs)
    assert (entry.order.quantity, entry.order.limit_price) == (Decimal(40), Decimal(15))
    assert entry.bracket == Bracket(Decimal("22.5"), Decimal("12.5"))
    assert (profit.quantity, profit.limit_price, loss.stop_price) == (Decimal(40), Decimal("22.5"), Decimal("12.5"))
    # The best price of 100 is 25 now and the trail 5: at 25 the stop stands at 20.
    assert (trail.order.quantity, trail.order.trail_price, trail.order.state) == (
        Decimal(40), Decimal(5), OrderState.ACCEPTED,
    )  # fmt: skip
    assert held(exchange) == {"ABC": Decimal(40)}


def test_a_split_that_leaves_nothing_of_an_order_ends_it(start: Opener) -> None:
    exchange = start(split_market("0.05", "5", "100"))
    exchange.submit(intent("c1", quantity=19, type=LIMIT, limit_price="1", time_in_force=GTC))
    exchange.advance(WED)
    assert state(exchange, "c1") is OrderState.EXPIRED


def test_a_split_of_a_position_with_fractions_keeps_them(start: Opener) -> None:
    exchange = start(split_market("3", "90", "30"))
    exchange.submit(intent("c1", quantity="0.5"))
    exchange.advance(WED)
    assert held(exchange) == {"ABC": Decimal("1.5")}
    assert exchange.cash == Decimal(99_955)
