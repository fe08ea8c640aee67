"""What holds whatever is ordered: money and shares are never made or lost, and memory is what the disk says."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from brokers.contract_venue import FRI, MON, THU, TUE, WED, intent
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.markets import StaticMarket

from workbench.brokers.exchange import Exchange, Phase
from workbench.brokers.market import Bar, CorporateAction
from workbench.brokers.matching import Costs
from workbench.calendars import calendar
from workbench.clock import ManualClock
from workbench.domain import Bracket, OrderIntent, OrderType, Side, TimeInForce
from workbench.errors import OrderRejected

DAYS = (MON, TUE, WED, THU, FRI)
CASH = Decimal(10_000)
COSTS = Costs(Decimal("0.005"), Decimal("1.00"), Decimal(2))
FREE = Costs(Decimal(0), Decimal(0), Decimal(0))

prices = st.decimals(min_value="5", max_value="40", places=2)
shares = st.one_of(
    st.integers(1, 300).map(Decimal), st.decimals(min_value="0.001", max_value="50", places=3)
)  # fmt: skip


@st.composite
def bars(draw: st.DrawFn) -> Bar:
    low, *inside, high = sorted(draw(st.tuples(prices, prices, prices, prices)))
    open_, close = draw(st.permutations(inside))
    return Bar(open_, high, low, close, Decimal(draw(st.integers(0, 3000))))


@st.composite
def markets(draw: st.DrawFn) -> StaticMarket:
    """Two symbols, one of which may miss sessions, with a split and a dividend somewhere."""
    quoted = {"A": {day: draw(bars()) for day in DAYS}, "B": {MON: draw(bars())}}
    quoted["B"] |= {day: draw(bars()) for day in DAYS[1:] if draw(st.booleans())}
    ratio = Decimal(draw(st.sampled_from(["2", "1.5", "0.1", "7"])))
    actions = {
        draw(st.sampled_from(DAYS[1:3])): [CorporateAction("A", "split", ratio)],
        draw(st.sampled_from(DAYS[3:])): [CorporateAction("B", "dividend", Decimal("0.37"))],
    }
    return StaticMarket(quoted, actions)


@st.composite
def orders(draw: st.DrawFn, identifier: str) -> OrderIntent:
    side, kind = draw(st.sampled_from(Side)), draw(st.sampled_from(OrderType))
    terms: dict[str, Any] = {"type": kind, "time_in_force": draw(st.sampled_from(TimeInForce))}
    if kind.has_limit:
        terms["limit_price"] = draw(prices)
    if kind.has_stop:
        terms["stop_price"] = draw(prices)
    if kind is OrderType.TRAILING_STOP:
        terms[draw(st.sampled_from(["trail_price", "trail_percent"]))] = draw(prices) / 4
    if draw(st.integers(0, 3)) == 0:
        low, middle, high = sorted(draw(st.tuples(prices, prices, prices)))
        loss, profit = (low, high) if side is Side.BUY else (high, low)
        terms |= {"bracket": Bracket(profit, loss), "type": OrderType.LIMIT, "limit_price": middle}
        terms = {name: terms[name] for name in ("bracket", "type", "limit_price", "time_in_force")}
    if draw(st.integers(0, 5)) == 0:
        terms["notional_usd"] = draw(prices) * 10
    symbol = draw(st.sampled_from(["A", "B"]))
    return intent(identifier, side, draw(shares), symbol, **terms)


class AnyExchange(RuleBasedStateMachine):
    """An account that is ordered at random, opened by two connections of which one only looks."""

    shorting = False

    @initialize(market=markets(), share=st.sampled_from([None, Decimal("0.1")]))
    def open(self, market: StaticMarket, share: Decimal | None) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.market, self.share = market, share
        self.clock = ManualClock(datetime(2026, 1, 5, 22, tzinfo=UTC))
        self.exchange = self.opened()
        self.sent: list[str] = []

    def opened(self) -> Exchange:
        return Exchange(
            Path(self.folder.name) / "x.sqlite", account="paper", market=self.market, calendar=calendar("XNYS"),
            costs=COSTS, starting_cash=CASH, opened=MON, clock=self.clock, max_volume_share=self.share,
            shorting=self.shorting,
        )  # fmt: skip

    @rule(data=st.data())
    def submit(self, data: st.DataObject) -> None:
        identifier = f"c{len(self.sent)}"
        try:
            self.exchange.submit(data.draw(orders(identifier)))
        except OrderRejected:
            assert self.exchange.order(identifier) is None
        else:
            self.sent.append(identifier)

    @precondition(lambda self: self.exchange.orders(open_only=True))
    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        old = data.draw(st.sampled_from(self.exchange.orders(open_only=True))).order
        identifier = f"c{len(self.sent)}"
        try:
            self.exchange.replace(
                old.client_order_id, identifier,
                quantity=None if old.is_exit else data.draw(st.none() | shares),
                limit_price=data.draw(prices) if old.type.has_limit else None,
            )  # fmt: skip
        except OrderRejected:
            assert self.exchange.order(identifier) is None
        else:
            self.sent.append(identifier)

    @precondition(lambda self: self.exchange.orders(open_only=True))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        record = data.draw(st.sampled_from(self.exchange.orders(open_only=True)))
        after = self.exchange.cancel(record.order.client_order_id)
        assert after is not None
        assert after.order.state.is_final

    @precondition(lambda self: self.exchange.session < FRI or self.exchange.phase is Phase.OPEN)
    @rule()
    def go_on(self) -> None:
        if self.exchange.phase is Phase.OPEN:
            self.exchange.close_market()
        else:
            self.exchange.open_market()

    @precondition(lambda self: self.exchange.fills())
    @rule(data=st.data(), price=prices)
    def mishap(self, data: st.DataObject, price: Decimal) -> None:
        fill = data.draw(st.sampled_from([fill for _, fill in self.exchange.fills()]))
        self.exchange.correct(fill.fill_id, price=price)

    @rule()
    def restart(self) -> None:
        self.exchange.close()
        self.exchange = self.opened()

    @invariant()
    def cash_and_shares_are_the_sum_of_what_happened(self) -> None:
        cash, held = Decimal(0), dict[str, Decimal]()
        for _, fill in self.exchange.fills():
            cash += fill.cash_delta
            held[fill.symbol] = held.get(fill.symbol, Decimal(0)) + fill.side.sign * fill.quantity
        for _, activity in self.exchange.activities():
            cash += activity.cash_delta
            held[activity.symbol] = held.get(activity.symbol, Decimal(0)) + activity.quantity_delta
        assert abs(self.exchange.cash - cash) < Decimal("1e-15")  # prices after a split can have 28 digits
        assert {h.symbol: h.quantity for h in self.exchange.holdings()} == {s: q for s, q in held.items() if q}
        if not self.shorting:
            assert all(h.quantity > 0 for h in self.exchange.holdings())

    @invariant()
    def no_order_fills_beyond_its_quantity(self) -> None:
        filled: dict[str, Decimal] = {}
        for _, fill in self.exchange.fills():
            filled[fill.client_order_id] = filled.get(fill.client_order_id, Decimal(0)) + fill.quantity
        for record in self.exchange.orders():
            order = record.order
            assert order.filled_quantity == filled.get(order.client_order_id, Decimal(0))
            assert 0 <= order.filled_quantity <= order.quantity
            assert (order.open_quantity > 0) is not order.state.is_final

    @invariant()
    def memory_is_what_the_disk_says(self) -> None:
        other = self.opened()
        try:
            for symbol in ("A", "B"):
                assert other.free_shares(symbol) == self.exchange.free_shares(symbol)
                assert self.shorting or other.free_shares(symbol) >= 0
            assert abs(other.buying_power() - self.exchange.buying_power()) < Decimal("1e-15")
            assert other.holdings() == self.exchange.holdings()
            assert other.orders() == self.exchange.orders()
            for record in other.orders():
                assert self.exchange.order(record.order.client_order_id) == record
        finally:
            other.close()

    def teardown(self) -> None:
        if hasattr(self, "exchange"):
            self.exchange.close()
            self.folder.cleanup()


class AnyShortingExchange(AnyExchange):
    shorting = True


TestAnyExchange = AnyExchange.TestCase
TestAnyExchange.settings = hypothesis_settings(max_examples=40, stateful_step_count=20, deadline=None)
TestAnyShortingExchange = AnyShortingExchange.TestCase
TestAnyShortingExchange.settings = hypothesis_settings(max_examples=20, stateful_step_count=20, deadline=None)


@given(
    market=markets(),
    wanted=st.lists(st.tuples(st.sampled_from(["A", "B"]), shares, prices, st.sampled_from(DAYS[:3])), max_size=6),
)
@hypothesis_settings(max_examples=40, deadline=None)
def test_limit_buys_within_the_cash_never_make_it_negative(
    market: StaticMarket, wanted: list[tuple[str, Decimal, Decimal, Any]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        exchange = Exchange(
            Path(folder) / "x.sqlite", account="paper", market=market, calendar=calendar("XNYS"), costs=COSTS,
            starting_cash=CASH, opened=MON, clock=ManualClock(datetime(2026, 1, 5, 22, tzinfo=UTC)),
        )  # fmt: skip
        left = CASH
        for number, (symbol, quantity, limit, day) in enumerate(sorted(wanted, key=lambda w: w[3])):
            exchange.advance(day)
            worst = quantity * limit + COSTS.fee(quantity * 7)  # a split may multiply the shares by 7
            if worst <= left:
                exchange.submit(
                    intent(f"c{number}", quantity=quantity, symbol=symbol, type=OrderType.LIMIT, limit_price=limit)
                )
                left -= worst
        for day in DAYS:
            if day > exchange.session:
                exchange.advance(day)
            assert exchange.cash >= 0
        exchange.close()


@given(
    held=shares, ratio=st.sampled_from(["2", "1.5", "3", "0.1", "0.05", "1.0625"]).map(Decimal), after=prices,
)  # fmt: skip
@hypothesis_settings(max_examples=40, deadline=None)
def test_a_split_changes_nobodys_wealth(held: Decimal, ratio: Decimal, after: Decimal) -> None:
    """The price falls by the ratio, the shares rise by it, and what is not a share is paid out."""
    before = after * ratio
    day, later = Bar(before, before, before, before, Decimal(1)), Bar(after, after, after, after, Decimal(1))
    market = StaticMarket(
        {"A": {MON: day, TUE: day, WED: later}}, {WED: [CorporateAction("A", "split", ratio)]}
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        exchange = Exchange(
            Path(folder) / "x.sqlite", account="paper", market=market, calendar=calendar("XNYS"), costs=FREE,
            starting_cash=Decimal(100_000), opened=MON, clock=ManualClock(datetime(2026, 1, 5, 22, tzinfo=UTC)),
        )  # fmt: skip
        exchange.submit(intent("c1", quantity=held, symbol="A"))
        exchange.advance(WED)
        assert exchange.equity() == Decimal(100_000)
        exchange.close()
