from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workbench.domain import Bracket, OrderIntent, OrderType, Side, TimeInForce, TradingState
from workbench.settings import RiskSettings, StrategyLimits
from workbench.trading import gates
from workbench.trading.exposures import Exposure
from workbench.trading.riskbook import RiskBook, Sent
from workbench.trading.worst import buying_power_usd, worst_price

SESSION = date(2013, 1, 2)
NOW = datetime(2013, 1, 2, 21, 30, tzinfo=UTC)
BUY, SELL = Side.BUY, Side.SELL
NAN = float("nan")
LIMITS = RiskSettings(
    max_order_value_usd=Decimal(30_000),
    max_order_quantity=Decimal(5_000),
    max_volume_share=Decimal("0.05"),
    market_order_buffer=Decimal("0.01"),
    max_gross_exposure=Decimal("1.0"),
    max_net_exposure=Decimal("1.0"),
    max_name_exposure=Decimal("0.40"),
    price_collar=Decimal("0.05"),
)
SHORTS = LIMITS.model_copy(update={"allow_short": True})


def book(cash: str = "100000", state: TradingState = TradingState.ACTIVE, **held: Exposure) -> RiskBook:
    """An account worth 100,000 USD in a market where everything costs 100 USD and trades 100,000 shares a session."""
    names = ("A", "B", "C", *held)
    return RiskBook(
        SESSION,
        state,
        Decimal(cash),
        Decimal(100_000),
        {n: Decimal(100) for n in names},
        set(names),
        held,
        checked=set(names),
        volumes={n: Decimal(100_000) for n in names},
        now=NOW,
    )


def order(
    quantity: str,
    side: Side = BUY,
    symbol: str = "A",
    price: str = "100",
    limit: str | None = None,
    **more: Any,
) -> OrderIntent:
    if limit is not None:
        more = {"type": OrderType.LIMIT, "limit_price": Decimal(limit), **more}
    return OrderIntent("c", symbol, side, Decimal(quantity), Decimal(price), "s", 0, **more)


def stop(quantity: str, price: str, side: Side = SELL, **more: Any) -> OrderIntent:
    return order(quantity, side, **{"type": OrderType.STOP, "stop_price": Decimal(price), **more})


def verdict(intent: OrderIntent, on: RiskBook, decided_on: date = SESSION, limits: RiskSettings = LIMITS) -> str:
    decision = gates.decide(intent, decided_on, on, limits)
    assert decision.approved == (decision.gate == "")
    assert decision.approved or decision.reason
    return decision.gate


def held(shares: int, buys: int = 0, sells: int = 0, sure: int = 0) -> Exposure:
    return Exposure(Decimal(shares), Decimal(buys), Decimal(sells), Decimal(sure))


def send(on: RiskBook, intent: OrderIntent, *, accepted: bool = False, limits: RiskSettings = LIMITS) -> str:
    """Ask the gates and, if they let it pass, count it as the gateway does."""
    gate = verdict(intent, on, limits=limits)
    if not gate:
        gates.count(on, intent, limits, accepted=accepted)
        on.sent.append(
            Sent(on.now, intent.symbol, intent.side, intent.quantity, SESSION, intent.client_order_id, intent.sequence)
        )
    return gate


# ---- whether anything may be sent ----------------------------------------------------------------------------


def test_an_ordinary_order_passes() -> None:
    assert verdict(order("100"), book()) == ""


def test_gates_are_asked_in_the_order_of_the_design_with_meaning_first() -> None:
    assert list(gates.GATES) == [
        "validity", "trading_state", "locked", "unknown_order", "restricted", "clock_skew", "data_quality",
        "price_collar", "max_order_value", "max_quantity", "duplicate", "message_rate", "exposure",
        "strategy_limits", "buying_power",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "intent",
    [
        order("NaN"), order("Infinity"), order("-Infinity"), order("-5"), order("0"), order("1E-9"), order("0.5"),
        order("1", price="NaN"), order("1", price="0"), order("1", price="-100"), order("1", price="Infinity"),
        order("1", limit="NaN"), order("1", limit="0"), order("1E+30"),
        replace(order("1"), limit_price=Decimal(100)),
        order("1", symbol="UNKNOWN"),
    ],
)  # fmt: skip
def test_a_meaningless_order_is_denied_before_anything_is_compared(intent: OrderIntent) -> None:
    assert verdict(intent, book()) == "validity"
    assert verdict(intent, book(state=TradingState.HALTED)) == "validity"


def test_an_order_decided_on_another_session_is_denied() -> None:
    assert verdict(order("1"), book(), decided_on=date(2012, 12, 31)) == "validity"


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity", "1E+20"])
def test_a_market_price_that_is_no_price_denies(price: str) -> None:
    broken = book()
    broken.quote("A", Decimal(price))
    assert verdict(order("1"), broken) == "validity"


def test_a_halt_stops_everything_even_exits() -> None:
    assert verdict(order("1", SELL), book(state=TradingState.HALTED, A=held(10))) == "trading_state"


@pytest.mark.parametrize(
    ("intent", "gate"),
    [
        (order("10", SELL), ""),
        (order("11", SELL), "trading_state"),  # would turn the position
        (order("1", BUY), "trading_state"),
        (order("1", SELL, "B"), "trading_state"),  # nothing held
        (order("10", BUY, "C"), ""),  # covers a short position
        (order("11", BUY, "C"), "trading_state"),
    ],
)
def test_reducing_lets_only_exits_pass(intent: OrderIntent, gate: str) -> None:
    assert verdict(intent, book(state=TradingState.REDUCING, A=held(10), C=held(-10))) == gate


@pytest.mark.parametrize("scope", ["A", "*"])
def test_a_lock_stops_its_symbol_and_a_star_all_of_them_exits_included(scope: str) -> None:
    locked = book(A=held(10))
    locked.locks[scope] = "books say 10 shares, the venue 12"
    assert verdict(order("1"), locked) == "locked"
    assert verdict(order("1", SELL), locked) == "locked"
    assert verdict(order("1", symbol="B"), locked) == ("locked" if scope == "*" else "")


def test_an_order_in_doubt_blocks_its_symbol_until_it_is_looked_up() -> None:
    doubtful = book(A=held(10))
    doubtful.unknown.add("A")
    assert verdict(order("1"), doubtful) == "unknown_order"
    assert verdict(order("1", SELL), doubtful) == "unknown_order"
    assert verdict(order("1", symbol="B"), doubtful) == ""


@pytest.mark.parametrize("listed", ["A", "a"])
def test_a_restricted_symbol_is_not_traded_either_way_however_it_is_written(listed: str) -> None:
    limits = LIMITS.model_copy(update={"restricted": ("XYZ", listed)})
    assert verdict(order("1"), book(), limits=limits) == "restricted"
    assert verdict(order("1", SELL), book(A=held(10)), limits=limits) == "restricted"
    assert verdict(order("1", symbol="B"), book(), limits=limits) == ""


@pytest.mark.parametrize(
    ("skew", "gate"),
    [(None, ""), (0.0, ""), (2.0, ""), (-2.0, ""), (2.001, "clock_skew"), (-300.0, "clock_skew"), (NAN, "clock_skew")],
)
def test_a_clock_that_is_off_by_more_than_two_seconds_denies_everything(skew: float | None, gate: str) -> None:
    off = book(A=held(10))
    off.skew_s = skew
    assert verdict(order("1"), off) == gate
    assert verdict(order("1", SELL), off) == gate


def test_a_fault_in_the_data_denies_its_symbol_entries_and_exits() -> None:
    faulty = book(A=held(10))
    faulty.faults["A"] = "unapplied_split"
    assert verdict(order("1"), faulty) == "data_quality"
    assert verdict(order("1", SELL), faulty) == "data_quality"
    assert verdict(order("1", symbol="B"), faulty) == ""


def test_a_missing_verdict_denies_where_one_is_required() -> None:
    unchecked = book()
    unchecked.checked.clear()
    careless = LIMITS.model_copy(update={"require_quality": False})
    assert verdict(order("1"), unchecked) == "data_quality"
    assert verdict(order("1"), unchecked, limits=careless) == ""
    unchecked.faults["A"] = "stale"
    assert verdict(order("1"), unchecked, limits=careless) == "data_quality"


def test_when_only_exits_pass_they_do_not_wait_for_clean_data() -> None:
    faulty = book(state=TradingState.REDUCING, A=held(10))
    faulty.faults["A"] = "unapplied_split"
    assert verdict(order("10", SELL), faulty) == ""


# ---- prices --------------------------------------------------------------------------------------------------


def test_a_price_of_an_earlier_session_is_stale_and_denies() -> None:
    stale = book()
    stale.quote("A", Decimal(100), fresh=False)
    assert verdict(order("1"), stale) == "price_collar"


@pytest.mark.parametrize(
    ("price", "gate"), [("105", ""), ("105.01", "price_collar"), ("95", ""), ("94.99", "price_collar")]
)
def test_the_notebooks_price_must_be_near_the_markets(price: str, gate: str) -> None:
    assert verdict(order("1", price=price), book()) == gate


@pytest.mark.parametrize(
    ("limit", "gate"), [("105", ""), ("105.01", "price_collar"), ("95", ""), ("94.99", "price_collar")]
)
def test_a_limit_price_must_be_near_the_markets_too(limit: str, gate: str) -> None:
    assert verdict(order("1", limit=limit), book()) == gate


# The collar is 5 %, so a stop may be 25 % away: 75 to 125 USD.
@pytest.mark.parametrize(
    ("intent", "gate"),
    [
        (stop("1", "75"), ""),
        (stop("1", "74.99"), "price_collar"),
        (stop("1", "99.99"), ""),
        (stop("1", "100"), "price_collar"),  # a sell stop at the market triggers at once
        (stop("1", "125", BUY), ""),
        (stop("1", "125.01", BUY), "price_collar"),
        (stop("1", "99", BUY), "price_collar"),  # a buy stop below it too
        (stop("1", "80", type=OrderType.STOP_LIMIT, limit_price=Decimal(76)), ""),  # 5 % under its stop
        (stop("1", "80", type=OrderType.STOP_LIMIT, limit_price=Decimal("75.99")), "price_collar"),
        (order("1", SELL, type=OrderType.TRAILING_STOP, trail_percent=Decimal(25)), ""),
        (order("1", SELL, type=OrderType.TRAILING_STOP, trail_percent=Decimal("25.1")), "price_collar"),
        (order("1", SELL, type=OrderType.TRAILING_STOP, trail_price=Decimal(25)), ""),
        (order("1", SELL, type=OrderType.TRAILING_STOP, trail_price=Decimal("25.01")), "price_collar"),
    ],
)
def test_stops_may_be_five_collars_away_on_the_side_where_they_wait(intent: OrderIntent, gate: str) -> None:
    assert verdict(intent, book(A=held(10))) == gate


@pytest.mark.parametrize(
    ("profit", "loss", "limit", "gate"),
    [
        ("125", "75", None, ""),
        ("125.01", "75", None, "price_collar"),
        ("125", "74.99", None, "price_collar"),
        ("120", "80", "76", ""),
        ("120", "80", "75.99", "price_collar"),
    ],
)
def test_a_brackets_exits_are_collared_like_stops(profit: str, loss: str, limit: str | None, gate: str) -> None:
    bracket = Bracket(Decimal(profit), Decimal(loss), None if limit is None else Decimal(limit))
    assert verdict(order("1", bracket=bracket), book()) == gate


# ---- size ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("quantity", "gate"), [("297", ""), ("298", "max_order_value")])
def test_a_market_order_counts_at_its_price_with_the_buffer(quantity: str, gate: str) -> None:
    # 297 x 100 x 1.01 = 29,997; 298 x 101 = 30,098 is over 30,000.
    assert verdict(order(quantity), book()) == gate


def test_a_limit_order_counts_at_its_limit() -> None:
    assert verdict(order("300", limit="100"), book()) == ""
    assert verdict(order("301", limit="100"), book()) == "max_order_value"


def test_a_stop_order_counts_at_its_stop_with_the_buffer() -> None:
    # 270 x 110 x 1.01 = 29,997; 271 x 111.10 = 30,108.10.
    assert verdict(stop("270", "110", BUY), book()) == ""
    assert verdict(stop("271", "110", BUY), book()) == "max_order_value"


@pytest.mark.parametrize(
    ("intent", "usd"),
    [
        (order("1"), "101"),
        (order("1", SELL), "101"),
        (order("1", limit="98"), "98"),
        (order("1", SELL, limit="98"), "100"),
        (order("1", SELL, limit="104"), "104"),
        (stop("1", "110", BUY), "111.1"),
        (stop("1", "90", BUY), "101"),  # triggers at once, at the market
        (stop("1", "90"), "101"),
        (stop("1", "110", BUY, type=OrderType.STOP_LIMIT, limit_price=Decimal(112)), "112"),
        (order("1", type=OrderType.TRAILING_STOP, trail_price=Decimal(10)), "111.1"),
        (order("1", type=OrderType.TRAILING_STOP, trail_percent=Decimal(10)), "111.1"),
        (order("1", SELL, type=OrderType.TRAILING_STOP, trail_price=Decimal(10)), "101"),
    ],
)
def test_the_worst_price_of_every_type(intent: OrderIntent, usd: str) -> None:
    assert worst_price(intent, book(), LIMITS) == Decimal(usd)


def test_a_short_sale_with_a_limit_under_the_market_counts_at_the_market() -> None:
    # It fetches at least 96, but the market pays 100: 301 x 100 = 30,100.
    assert verdict(order("300", SELL, limit="96"), book(), limits=SHORTS) == ""
    assert verdict(order("301", SELL, limit="96"), book(), limits=SHORTS) == "max_order_value"


def test_a_holding_that_has_grown_over_the_order_limit_can_be_sold() -> None:
    assert verdict(order("400", SELL), book(A=held(400))) == ""
    assert verdict(order("401", SELL), book(A=held(400))) == "max_order_value"


def test_an_order_is_limited_in_shares() -> None:
    penny = book()
    penny.quote("A", Decimal("0.10"))
    assert verdict(order("5000", price="0.10"), penny) == ""
    assert verdict(order("5001", price="0.10"), penny) == "max_quantity"


def test_an_order_is_limited_to_a_share_of_what_is_traded() -> None:
    thin = book(B=held(300))
    thin.volumes.update(A=Decimal(4_000), B=Decimal(4_000))
    assert verdict(order("200"), thin) == ""  # 5 % of 4,000
    assert verdict(order("201"), thin) == "max_quantity"
    assert verdict(order("300", SELL, "B"), thin) == ""  # an exit is not trapped by it


def test_a_volume_that_is_not_known_denies() -> None:
    unknown = book(B=held(10))
    unknown.volumes.clear()
    assert verdict(order("1"), unknown) == "max_quantity"
    assert verdict(order("1", SELL, "B"), unknown) == ""


# ---- how often -----------------------------------------------------------------------------------------------


def sent(seconds_ago: float, symbol: str = "A", side: Side = BUY, quantity: str = "10", **more: Any) -> Sent:
    at = NOW - timedelta(seconds=seconds_ago)
    return Sent(**{"at": at, "symbol": symbol, "side": side, "quantity": Decimal(quantity), "decided_on": SESSION,
                   "client_order_id": "other", **more})  # fmt: skip


@pytest.mark.parametrize(
    ("earlier", "gate"),
    [
        (sent(59.9), "duplicate"),
        (sent(60), ""),
        (sent(1, client_order_id="c"), ""),  # its own earlier attempt
        (sent(1, symbol="B"), ""),
        (sent(1, side=SELL), ""),
        (sent(1, quantity="11"), ""),
        (sent(1, quantity="10.0"), "duplicate"),  # the same number, written otherwise
        (sent(1, decided_on=date(2012, 12, 31)), ""),
        (sent(1, sequence=1), ""),  # another slice of the same order
        (sent(-5), "duplicate"),  # a clock that went back makes nothing older
    ],
)
def test_the_same_order_under_another_id_within_a_minute_is_a_duplicate(earlier: Sent, gate: str) -> None:
    on = book()
    on.sent.append(earlier)
    assert verdict(order("10"), on) == gate


def test_an_own_attempt_does_not_hide_a_duplicate_before_it() -> None:
    on = book()
    on.sent += [sent(30), sent(1, client_order_id="c")]
    assert verdict(order("10"), on) == "duplicate"


def test_the_duplicate_window_can_be_closed() -> None:
    on = book()
    on.sent.append(sent(0))
    assert verdict(order("10"), on, limits=LIMITS.model_copy(update={"duplicate_window_s": 0.0})) == ""


def test_more_messages_than_the_limit_in_a_minute_are_held_back_exits_too() -> None:
    limits = LIMITS.model_copy(update={"max_orders_per_minute": 3})
    on = book(A=held(10))
    on.sent += [sent(61, "B"), sent(59, "B"), sent(30, "B"), sent(1, "B")]
    assert verdict(order("1"), on, limits=limits) == "message_rate"
    assert verdict(order("1", SELL), on, limits=limits) == "message_rate"
    on.now += timedelta(seconds=1)  # the one of 59 s ago is a minute old now
    assert verdict(order("1"), on, limits=limits) == ""
    on.sent.append(sent(-1, "B"))
    assert verdict(order("1"), on, limits=limits) == "message_rate"


# ---- the account ---------------------------------------------------------------------------------------------


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
    assert verdict(order("11", SELL), book(A=held(10))) == "exposure"
    assert verdict(order("5", SELL), book(A=held(10, sells=6))) == "exposure"


def test_a_sale_passes_even_when_exposure_is_over_its_limit() -> None:
    assert verdict(order("100", SELL), book(A=held(2000))) == ""


def test_short_sales_count_in_gross_and_net_exposure_like_long_ones() -> None:
    # 250 short of B, 300 short of C: 400 more would be 95,000 gross and net; the name's limit is 40,000.
    on = book(cash="300000", B=held(-250), C=held(-300))
    assert verdict(order("290", SELL), on, limits=SHORTS) == ""
    # 700 held of B offset by nothing: 700 + 290 = 99,000 gross; with 301 it is 100,100, though net falls.
    mixed = book(cash="300000", B=held(700))
    assert verdict(order("290", SELL), mixed, limits=SHORTS) == ""
    wide = SHORTS.model_copy(update={"max_order_value_usd": Decimal(90_000)})
    assert verdict(order("301", SELL), mixed, limits=wide) == "exposure"


def test_net_exposure_is_bounded_on_the_short_side_too() -> None:
    limits = SHORTS.model_copy(update={"max_net_exposure": Decimal("0.5"), "max_gross_exposure": Decimal(2)})
    on = book(cash="300000", B=held(-250))
    assert verdict(order("250", SELL), on, limits=limits) == ""
    assert verdict(order("251", SELL), on, limits=limits) == "exposure"


def test_a_holding_without_a_price_leaves_only_exits() -> None:
    on = book(A=held(10), B=held(5))
    on.quote("B", Decimal(0))
    assert verdict(order("1"), on) == "exposure"
    assert verdict(order("1", SELL), on) == ""


def test_an_account_without_equity_buys_nothing() -> None:
    broke = book()
    broke.equity = Decimal(0)
    assert verdict(order("1"), broke) == "exposure"


def test_buying_power_is_cash_and_sure_proceeds_less_what_is_on_its_way() -> None:
    # 100 shares cost at most 10,100.
    assert verdict(order("100"), book(cash="10100")) == ""
    assert verdict(order("100"), book(cash="10099.99")) == "buying_power"
    # 100 sold for sure bring at least 9,900.
    assert verdict(order("100"), book(cash="200", B=held(100, sure=100))) == ""
    assert verdict(order("100"), book(cash="200", B=held(100, sells=100))) == "buying_power"
    assert verdict(order("100"), book(cash="20000", B=held(0, buys=100))) == "buying_power"


@pytest.mark.parametrize(
    ("accepted", "tif", "sure"),
    [
        (True, TimeInForce.DAY, True),
        (True, TimeInForce.OPG, True),
        (True, TimeInForce.CLS, False),
        (False, TimeInForce.DAY, False),
    ],
)
def test_only_an_accepted_market_sell_of_the_next_auction_counts_as_done(
    accepted: bool, tif: TimeInForce, sure: bool
) -> None:
    on = book(A=held(100))
    gates.count(on, order("60", SELL, time_in_force=tif), LIMITS, accepted=accepted)
    assert on.exposure("A") == (held(100, sure=60) if sure else held(100, sells=60))


def test_an_open_limit_buy_holds_back_its_limit_and_no_more() -> None:
    on = book(cash="19700")
    assert send(on, replace(order("100", limit="96"), client_order_id="resting", sequence=1)) == ""  # 9,600
    assert verdict(order("100"), on) == ""  # 10,100
    assert verdict(order("101"), on) == "buying_power"


def test_the_proceeds_of_a_short_sale_are_not_spent() -> None:
    # 100 shares short brought 10,000 into cash; 10,100 of it are needed to buy them back.
    on = book(cash="20200", B=held(-100))
    assert verdict(order("100"), on, limits=SHORTS) == ""
    on.cash -= Decimal("0.01")
    assert verdict(order("100"), on, limits=SHORTS) == "buying_power"
    assert verdict(order("100", BUY, "B"), on, limits=SHORTS) == ""  # covering always passes


# ---- brackets, replacements, amounts -------------------------------------------------------------------------

BRACKET = Bracket(Decimal(110), Decimal(90))


def exits(quantity: int, of: str = "c", symbol: str = "A") -> list[Any]:
    """The two exits of a bracket as the venue lists them."""
    from workbench.domain import Order, OrderState

    size = Decimal(quantity)
    return [
        Order(f"v-{kind}", f"{of}-{kind}", symbol, SELL, size, kind, limit, TimeInForce.GTC, OrderState.ACCEPTED,
              Decimal(0), None, stop_price=at, parent_id=of)
        for kind, limit, at in (
            (OrderType.LIMIT, Decimal(110), None), (OrderType.STOP, None, Decimal(90)),
        )
    ]  # fmt: skip


def test_the_exits_of_a_bracket_sell_its_shares_once() -> None:
    on = book(A=held(100))
    for leg in exits(100):
        gates.count(on, leg, LIMITS, accepted=True)
    assert on.exposure("A") == held(100, sells=100)
    probe = replace(order("1", SELL), client_order_id="probe")
    assert verdict(probe, on) == "exposure"  # all of it is on sale
    assert verdict(replace(probe, side=BUY), on) == ""


def test_exits_have_nothing_to_sell_until_their_entry_has_filled() -> None:
    on = book(A=held(50))
    entry = order("100", bracket=BRACKET)
    assert send(on, entry, accepted=True) == ""
    for leg in exits(100):
        gates.count(on, leg, LIMITS, accepted=True, strategy="s")
    assert on.exposure("A") == held(50, buys=100)
    probe = replace(order("50", SELL), client_order_id="probe")
    assert verdict(probe, on) == ""  # what was held before is free
    assert verdict(replace(probe, quantity=Decimal(51)), on) == "exposure"
    on.hold("A", Decimal(80))  # 30 have filled
    gates.count(on, entry, LIMITS, accepted=True, open_quantity=Decimal(70))
    assert on.exposure("A") == held(80, buys=70, sells=30)
    on.hold("A", Decimal(150))
    gates.count(on, entry, LIMITS, accepted=True, open_quantity=Decimal(0))
    assert on.exposure("A") == held(150, sells=100)
    assert on.exposure("A", "s").sells == 100


def test_a_bracket_on_an_exit_means_nothing() -> None:
    short_entry = order("10", SELL, bracket=Bracket(Decimal(90), Decimal(110)))
    assert verdict(short_entry, book(A=held(100))) == "validity"
    assert verdict(short_entry, book(), limits=SHORTS) == ""


def test_a_replacement_counts_as_the_larger_of_the_two_orders() -> None:
    on = book()
    assert send(on, replace(order("250", limit="100"), client_order_id="old")) == ""
    # 250 + 300 would be over 40,000 of one name; the larger of both, 300, is not.
    bigger = order("300", limit="100", replaces="old")
    assert verdict(order("300", limit="100"), on) == "exposure"
    assert send(on, bigger) == ""
    assert on.exposure("A").buys == 300
    # A smaller one frees nothing before the venue has confirmed it.
    assert send(on, replace(order("10", limit="100", replaces="c"), client_order_id="new")) == ""
    assert on.exposure("A").buys == 300


def test_a_replacement_needs_power_only_for_what_it_adds() -> None:
    on = book(cash="10500")
    assert send(on, replace(order("100", limit="100"), client_order_id="old")) == ""
    assert verdict(order("105", limit="100", replaces="old"), on) == ""
    assert verdict(order("106", limit="100", replaces="old"), on) == "buying_power"
    assert verdict(order("100", limit="105", replaces="old"), on) == ""
    assert verdict(order("90", limit="100", replaces="old"), on) == ""
    on.cash = Decimal(5_000)  # money was taken out: nothing new passes, but what makes an order no larger does
    assert verdict(order("101", limit="100", replaces="old"), on) == "buying_power"
    assert verdict(order("90", limit="100", replaces="old"), on) == ""


def test_a_replacement_is_not_a_duplicate_of_what_it_replaces() -> None:
    on = book()
    assert send(on, replace(order("10", limit="100"), client_order_id="old")) == ""
    assert verdict(order("10", limit="101"), on) == "duplicate"
    assert verdict(order("10", limit="101", replaces="old"), on) == ""


def test_an_order_for_an_amount_counts_as_many_shares_as_the_market_gives_for_it() -> None:
    on = book(cash="40000")
    on.lot = Decimal("0.001")
    # 29,800 USD were 283.8 shares at the notebook's 105, but are 298 at the market's 100: 298 x 101 > 30,000.
    amount = Decimal(29_800)
    shares = (amount / 105).quantize(Decimal("1e-9"))
    intent = replace(order("1", price="105"), quantity=shares, notional_usd=amount)
    assert verdict(intent, on) == "max_order_value"
    amount = Decimal(29_700)
    shares = (amount / 105).quantize(Decimal("1e-9"))
    intent = replace(order("1", price="105"), quantity=shares, notional_usd=amount)
    assert send(on, intent) == ""
    assert on.exposure("A").buys == 297


# ---- strategies ----------------------------------------------------------------------------------------------

_OF_S = StrategyLimits(
    max_order_value_usd=Decimal(20_000), max_name_exposure=Decimal("0.20"), max_gross_exposure=Decimal("0.25")
)
OWN = LIMITS.model_copy(update={"strategies": {"s": _OF_S}})


def sleeved(**own: Exposure) -> RiskBook:
    on = book(A=held(250), B=held(100))
    return replace(on, sleeves={"s": own})


def test_a_strategy_is_limited_on_what_it_bought_itself() -> None:
    # The account holds 250 of A, but none of it is this strategy's.
    assert verdict(order("150"), sleeved(), limits=OWN) == ""
    assert verdict(order("150"), sleeved(A=held(60)), limits=OWN) == "strategy_limits"  # 21,000 of one name
    assert verdict(order("150"), sleeved(B=held(100)), limits=OWN) == ""  # 25,000 gross
    assert verdict(order("150"), sleeved(B=held(101)), limits=OWN) == "strategy_limits"
    assert verdict(replace(order("150"), strategy="t"), sleeved(B=held(101)), limits=OWN) == ""


def test_a_strategys_orders_have_a_limit_of_their_own() -> None:
    wide = OWN.model_copy(update={"strategies": {"s": StrategyLimits(max_order_value_usd=Decimal(10_000))}})
    assert verdict(order("99"), book(), limits=wide) == ""  # 9,999
    assert verdict(order("100"), book(), limits=wide) == "strategy_limits"
    assert verdict(replace(order("100"), strategy="t"), book(), limits=wide) == ""


def test_orders_count_in_the_account_and_in_the_strategys_own_sleeve() -> None:
    on = book()
    assert send(on, replace(order("150"), client_order_id="1", sequence=1), limits=OWN) == ""
    assert on.exposure("A").buys == on.exposure("A", "s").buys == 150
    assert verdict(order("51"), on, limits=OWN) == "strategy_limits"  # 20,100 of one name
    other = replace(order("100"), client_order_id="2", strategy="t")
    assert send(on, other, limits=OWN) == ""
    assert (on.exposure("A").buys, on.exposure("A", "s").buys, on.exposure("A", "t").buys) == (250, 150, 100)


def test_a_strategys_exit_passes_over_its_limit_and_selling_anothers_shares_counts_as_short() -> None:
    assert verdict(order("200", SELL), sleeved(A=held(220)), limits=OWN) == ""
    assert verdict(order("200", SELL), sleeved(), limits=OWN) == "strategy_limits"  # order value 20,200
    assert verdict(order("190", SELL), sleeved(A=held(20), B=held(90)), limits=OWN) == "strategy_limits"  # 26,000 gross


def test_two_strategies_racing_for_one_limit_never_exceed_it() -> None:
    on = book()
    first = replace(order("297"), client_order_id="1", strategy="s")
    second = replace(order("296"), client_order_id="2", strategy="t")
    assert send(on, first) == ""
    assert send(on, second) == "exposure"


# ---- explaining ----------------------------------------------------------------------------------------------


def test_a_review_asks_every_gate() -> None:
    on = book(cash="1000", state=TradingState.HALTED)
    answers = {
        name: decision.approved for name, decision in gates.review(order("350"), SESSION, on, LIMITS) if decision
    }
    assert list(answers) == list(gates.GATES)
    assert [name for name, passed in answers.items() if not passed] == [
        "trading_state",
        "max_order_value",
        "buying_power",
    ]


def test_a_review_of_a_meaningless_order_stops_at_what_is_wrong_with_it() -> None:
    answers = gates.review(order("NaN"), SESSION, book(), LIMITS)
    assert [decision is None for _, decision in answers] == [False] + [True] * (len(gates.GATES) - 1)


# ---- properties ----------------------------------------------------------------------------------------------

ANSWERS = st.sampled_from(["accepted", "unknown", "rejected", "filled"])
KINDS = st.sampled_from(["market", "limit", "stop", "bracket", "replace"])
ASKED = st.lists(
    st.tuples(
        st.sampled_from("ABC"), st.sampled_from(list(Side)), st.integers(1, 400), KINDS, ANSWERS,
        st.sampled_from("st"), st.integers(0, 30),
    ),
    max_size=40,
)  # fmt: skip
ALL = RiskSettings(
    max_order_value_usd=Decimal(30_000), max_gross_exposure=Decimal("1.0"), max_net_exposure=Decimal("1.0"),
    max_name_exposure=Decimal("0.40"),
    strategies={"s": StrategyLimits(max_gross_exposure=Decimal("0.3"), max_name_exposure=Decimal("0.2"))},
)  # fmt: skip


def make(number: int, row: tuple[str, Side, int, str, str, str, int]) -> OrderIntent:
    symbol, side, quantity, kind, _, strategy, _ = row
    more: dict[str, Any] = {}
    if kind == "limit":
        more = {"type": OrderType.LIMIT, "limit_price": Decimal(103)}
    elif kind == "stop":
        more = {"type": OrderType.STOP, "stop_price": Decimal(100 + 10 * side.sign)}
    elif kind == "bracket":
        sign = side.sign
        more = {"bracket": Bracket(Decimal(100 + 10 * sign), Decimal(100 - 10 * sign))}
    elif kind == "replace":
        more = {"replaces": f"id-{row[-1]}", "type": OrderType.LIMIT, "limit_price": Decimal(104)}
    made = order(str(quantity), side, symbol, **more)
    return replace(made, client_order_id=f"id-{number}", sequence=number, strategy=strategy)


@pytest.mark.parametrize("limits", [ALL, ALL.model_copy(update={"allow_short": True})], ids=["long only", "shorts"])
@given(asked=ASKED)
@example(asked=[("A", SELL, 168, "limit", "accepted", "s", 0), ("A", SELL, 133, "replace", "filled", "s", 0)])
@example(asked=[("A", SELL, 168, "limit", "unknown", "s", 0), ("A", SELL, 133, "replace", "unknown", "s", 0)])
def test_no_approved_orders_however_answered_ever_exceed_a_limit(limits: RiskSettings, asked: list[Any]) -> None:
    on = book(A=held(50), B=held(0), C=held(20))
    alive: list[tuple[OrderIntent, str]] = []
    for number, row in enumerate(asked):
        intent = make(number, row)
        if not gates.decide(intent, SESSION, on, limits).approved:
            continue
        answer = row[4]
        if answer == "rejected":
            continue
        gates.count(on, intent, limits, accepted=answer == "accepted")
        if answer == "filled":
            signed = intent.signed_quantity
            # At the price it was reserved at, the worst there is.
            on.cash -= signed * (worst_price(intent, on, limits) if signed > 0 else Decimal(99))
            on.hold(intent.symbol, on.exposure(intent.symbol).held + signed)
            on.hold(intent.symbol, on.exposure(intent.symbol, intent.strategy).held + signed, intent.strategy)
            for ended in [intent, *replaced_by(intent, alive)]:  # what a replacement that fills has replaced is gone
                gates.count(on, ended, limits, accepted=True, open_quantity=Decimal(0))
                alive = [(one, said) for one, said in alive if one is not ended]
        else:
            alive.append((intent, answer))
        within_limits(on, alive, limits)


def replaced_by(intent: OrderIntent, alive: list[tuple[OrderIntent, str]]) -> list[OrderIntent]:
    """The live orders of which one at most fills, and it is not them if it is ``intent``."""
    root: dict[str, str] = {}
    for one, _ in alive:
        root[one.client_order_id] = root.get(one.replaces or "", one.client_order_id)
    name = root.get(intent.replaces or "")
    return [one for one, _ in alive if name is not None and root[one.client_order_id] == name]


def within_limits(on: RiskBook, alive: list[tuple[OrderIntent, str]], limits: RiskSettings) -> None:
    """The limits, computed anew from the list of live orders: the larger of an order and its replacement."""
    groups: dict[str, list[OrderIntent]] = {}
    root: dict[str, str] = {}
    for intent, _ in alive:
        name = root.get(intent.replaces or "", intent.client_order_id)
        root[intent.client_order_id] = name
        groups.setdefault(name, []).append(intent)
    sure = {i.client_order_id for i, answer in alive
            if answer == "accepted" and i.side is SELL and i.type is OrderType.MARKET}  # fmt: skip
    gross = net_high = net_low = Decimal(0)
    for symbol in "ABC":
        position = on.exposure(symbol).held
        high = low = position
        for members in groups.values():
            if members[0].symbol != symbol:
                continue
            most = max(member.quantity for member in members)
            if members[0].side is BUY:
                high += most
            else:
                low -= most
                high -= most if members[0].client_order_id in sure else 0
        assert limits.allow_short or low >= 0
        worst = max(high, -low, Decimal(0)) * 100
        assert worst <= Decimal("0.4") * on.equity
        gross += worst
        net_high += high * 100
        net_low += low * 100
    assert gross <= on.equity
    assert max(net_high, -net_low) <= on.equity
    assert buying_power_usd(on.cash, on.sums(), limits) >= 0
    own = on.sums("s")
    assert own.gross <= Decimal("0.3") * on.equity
