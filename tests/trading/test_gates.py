from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.domain import OrderIntent, OrderType, Side, TradingState
from workbench.settings import RiskSettings
from workbench.trading import gates
from workbench.trading.gates import Exposure, RiskBook

SESSION = date(2013, 1, 2)
LIMITS = RiskSettings(
    max_order_value_usd=Decimal(30_000),
    market_order_buffer=Decimal("0.01"),
    max_gross_exposure=Decimal("1.0"),
    max_net_exposure=Decimal("1.0"),
    max_name_exposure=Decimal("0.40"),
    price_collar=Decimal("0.05"),
)


def book(cash: str = "100000", state: TradingState = TradingState.ACTIVE, **held: Exposure) -> RiskBook:
    """An account worth 100,000 USD in a market where everything costs 100 USD."""
    names = ("A", "B", "C", *held)
    return RiskBook(
        SESSION,
        state,
        Decimal(cash),
        Decimal(100_000),
        {n: Decimal(100) for n in names},
        set(names),
        dict(held),
    )


def order(
    quantity: str, side: Side = Side.BUY, symbol: str = "A", price: str = "100", limit: str | None = None
) -> OrderIntent:
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    bound = None if limit is None else Decimal(limit)
    return OrderIntent("c", symbol, side, Decimal(quantity), Decimal(price), "s", 0, kind, bound)


def verdict(intent: OrderIntent, on: RiskBook, decided_on: date = SESSION) -> str:
    decision = gates.decide(intent, decided_on, on, LIMITS)
    assert decision.approved == (decision.gate == "")
    assert decision.approved or decision.reason
    return decision.gate


def held(shares: int, buys: int = 0, sells: int = 0, sure: int = 0) -> Exposure:
    return Exposure(Decimal(shares), Decimal(buys), Decimal(sells), Decimal(sure))


def test_an_ordinary_order_passes() -> None:
    assert verdict(order("100"), book()) == ""


@pytest.mark.parametrize(
    "intent",
    [
        order("NaN"), order("Infinity"), order("-Infinity"), order("-5"), order("0"), order("1E-9"), order("0.5"),
        order("1", price="NaN"), order("1", price="0"), order("1", price="-100"), order("1", price="Infinity"),
        order("1", limit="NaN"), order("1", limit="0"),
        replace(order("1"), limit_price=Decimal(100)),
        order("1", symbol="UNKNOWN"),
    ],
)  # fmt: skip
def test_a_meaningless_order_is_denied_before_anything_is_compared(intent: OrderIntent) -> None:
    assert verdict(intent, book()) == "validity"


def test_an_order_decided_on_another_session_is_denied() -> None:
    assert verdict(order("1"), book(), decided_on=date(2012, 12, 31)) == "validity"


def test_a_symbol_with_a_price_but_no_bar_in_the_session_is_denied() -> None:
    stale = book()
    stale.traded.discard("A")
    assert verdict(order("1"), stale) == "validity"


def test_a_halt_stops_everything_even_exits() -> None:
    assert verdict(order("1", Side.SELL), book(state=TradingState.HALTED, A=held(10))) == "trading_state"


@pytest.mark.parametrize(
    ("intent", "gate"),
    [
        (order("10", Side.SELL), ""),
        (order("11", Side.SELL), "trading_state"),  # would turn the position
        (order("1", Side.BUY), "trading_state"),
        (order("1", Side.SELL, "B"), "trading_state"),  # nothing held
    ],
)
def test_reducing_lets_only_exits_pass(intent: OrderIntent, gate: str) -> None:
    assert verdict(intent, book(state=TradingState.REDUCING, A=held(10))) == gate


@pytest.mark.parametrize(
    ("price", "gate"), [("105", ""), ("105.01", "price_collar"), ("95", ""), ("94.99", "price_collar")]
)
def test_the_notebooks_price_must_be_near_the_markets(price: str, gate: str) -> None:
    assert verdict(order("1", price=price), book()) == gate


def test_a_limit_price_must_be_near_the_markets_too() -> None:
    assert verdict(order("1", limit="106"), book()) == "price_collar"


@pytest.mark.parametrize(("quantity", "gate"), [("297", ""), ("298", "max_order_value")])
def test_a_market_order_counts_at_its_price_with_the_buffer(quantity: str, gate: str) -> None:
    # 297 x 100 x 1.01 = 29,997; 298 x 101 = 30,098 is over 30,000.
    assert verdict(order(quantity), book()) == gate


def test_a_limit_order_counts_at_its_limit() -> None:
    assert verdict(order("300", limit="100"), book()) == ""
    assert verdict(order("301", limit="100"), book()) == "max_order_value"


@pytest.mark.parametrize(
    ("exposure", "gate"),
    [
        (held(200), ""),  # 200 + 200 = 400 shares of 100 USD: exactly 0.40 of equity
        (held(201), "exposure"),
        (held(100, buys=101), "exposure"),  # what is on its way counts
        (held(300, sells=200), "exposure"),  # a sell that may not fill frees nothing
        (held(300, sure=200), ""),  # an accepted market sell does
    ],
)
def test_one_name_is_limited_on_the_worst_case(exposure: Exposure, gate: str) -> None:
    assert verdict(order("200"), book(A=exposure)) == gate


def test_gross_exposure_counts_every_name() -> None:
    assert verdict(order("100"), book(B=held(400), C=held(500))) == ""
    assert verdict(order("101"), book(B=held(400), C=held(500))) == "exposure"


def test_a_sale_beyond_what_is_held_is_a_short_sale() -> None:
    assert verdict(order("11", Side.SELL), book(A=held(10))) == "exposure"
    assert verdict(order("5", Side.SELL), book(A=held(10, sells=6))) == "exposure"


def test_a_sale_passes_even_when_exposure_is_over_its_limit() -> None:
    assert verdict(order("100", Side.SELL), book(A=held(2000))) == ""


def test_buying_power_is_cash_and_sure_proceeds_less_what_is_on_its_way() -> None:
    # 100 shares cost at most 10,100.
    assert verdict(order("100"), book(cash="10100")) == ""
    assert verdict(order("100"), book(cash="10099.99")) == "buying_power"
    # 100 sold for sure bring at least 9,900.
    assert verdict(order("100"), book(cash="200", B=held(100, sure=100))) == ""
    assert verdict(order("100"), book(cash="200", B=held(100, sells=100))) == "buying_power"
    assert verdict(order("100"), book(cash="20000", B=held(0, buys=100))) == "buying_power"


def test_an_account_without_equity_buys_nothing() -> None:
    broke = book()
    broke.equity = Decimal(0)
    assert verdict(order("1"), broke) == "exposure"


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from(list(Side)), st.integers(1, 400)), max_size=40))
def test_whatever_is_asked_for_the_worst_case_stays_within_the_limits(
    asked: list[tuple[str, Side, int]],
) -> None:
    on = book(A=held(50), B=held(0), C=held(20))
    for symbol, side, quantity in asked:
        intent = order(str(quantity), side, symbol)
        if gates.decide(intent, SESSION, on, LIMITS).approved:
            gates.count(on, symbol, side, intent.type, intent.quantity, accepted=True)
    worst = sum((e.most * 100 for e in on.exposures.values()), Decimal(0))
    assert worst <= on.equity
    committed = sum((e.buys * 101 - e.sure_sales * 99 for e in on.exposures.values()), Decimal(0))
    assert committed <= on.cash
    for exposure in on.exposures.values():
        assert exposure.most * 100 <= Decimal("0.4") * on.equity
        assert exposure.held - exposure.sells - exposure.sure_sales >= 0


def test_a_holding_that_has_grown_over_the_order_limit_can_be_sold() -> None:
    assert verdict(order("400", Side.SELL), book(A=held(400))) == ""
    assert verdict(order("401", Side.SELL), book(A=held(400))) == "max_order_value"


def test_an_absurd_quantity_is_denied_and_not_an_error() -> None:
    assert verdict(order("1E+30"), book()) == "max_order_value"
