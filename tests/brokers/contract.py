"""What every broker must do, as one test class. A venue supplies the fixture ``venue`` and nothing else.

    class TestMyBroker(BrokerContract):
        @pytest.fixture
        def venue(self, tmp_path) -> Iterator[Venue]: ...

The venue trades ``MARKET`` on the calendar ``CALENDAR`` with ``COSTS`` and ``MAX_VOLUME_SHARE``; its account was
opened with ``CASH`` after the close of ``MON``, takes fractions, may not short, and has no rate limit in the way.
All of these are in :mod:`brokers.contract_venue`; every expected number follows from its bars by hand.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from brokers.contract_venue import (
    ACCEPTED,
    BUY,
    BUYS,
    CALENDAR,
    CANCELED,
    CASH,
    COSTS,
    DAY,
    EXPIRED,
    FILLED,
    FRI,
    GTC,
    LIMIT,
    MARKET,
    MARKET_ORDER,
    MAX_VOLUME_SHARE,
    MON,
    OPG,
    PARTIAL,
    SALES,
    SELL,
    STOP,
    THU,
    TUE,
    WED,
    Told,
    Venue,
    buy,
    found,
    go_to,
    intent,
)

from workbench.domain import (
    ActivityKind,
    Bracket,
    Order,
    OrderIntent,
    OrderState,
)
from workbench.errors import OrderRejected, OrderUnknown

__all__ = ["CALENDAR", "CASH", "COSTS", "MARKET", "MAX_VOLUME_SHARE", "MON", "BrokerContract", "Venue"]


def _name(terms: object) -> str:
    if not isinstance(terms, dict):
        return str(terms)
    return "-".join(str(getattr(value, "value", value)) for value in terms.values()) or "market"


class BrokerContract:
    """Sentences that are true of every broker."""

    @pytest.fixture
    def venue(self) -> Venue:
        raise NotImplementedError("the subclass says which venue")

    # ---- one order -------------------------------------------------------------------------------

    def test_an_order_is_accepted_and_fills_at_the_next_open(self, venue: Venue) -> None:
        taken = venue.broker.submit(intent("c1", quantity=100))
        assert (taken.client_order_id, taken.symbol, taken.side, taken.quantity) == ("c1", "ABC", BUY, Decimal(100))
        assert taken.state is ACCEPTED
        assert taken.broker_order_id
        assert [order.client_order_id for order in venue.broker.open_orders()] == ["c1"]
        assert venue.broker.account().cash == CASH
        go_to(venue, TUE)
        filled = found(venue, "c1")
        assert (filled.state, filled.filled_quantity, filled.open_quantity) == (FILLED, Decimal(100), Decimal(0))
        assert filled.average_price == Decimal("100.02")
        assert filled.broker_order_id == taken.broker_order_id
        assert list(venue.broker.open_orders()) == []
        account = venue.broker.account()
        # 100 x 100.02 and a fee of 1.
        assert (account.cash, dict(account.holdings)) == (Decimal("89997"), {"ABC": Decimal(100)})
        assert account.session == TUE

    def test_an_unknown_order_is_none(self, venue: Venue) -> None:
        assert venue.broker.order("never-sent") is None
        assert venue.broker.cancel("never-sent") is None

    def test_an_id_is_taken_once_and_the_first_order_stands(self, venue: Venue) -> None:
        venue.broker.submit(intent("c1", quantity=5))
        for again in (intent("c1", quantity=5), intent("c1", quantity=7, symbol="FLAT")):
            with pytest.raises(OrderUnknown):
                venue.broker.submit(again)
        assert (found(venue, "c1").symbol, found(venue, "c1").quantity) == ("ABC", Decimal(5))
        assert len(venue.broker.open_orders()) == 1
        go_to(venue, TUE)
        with pytest.raises(OrderUnknown):  # nor after it is over
            venue.broker.submit(intent("c1", quantity=5))

    @pytest.mark.parametrize(
        "refused",
        [
            intent("c", symbol="NONE"),
            intent("c", quantity=0),
            intent("c", quantity=-1),
            intent("c", quantity="NaN"),
            intent("c", quantity="Infinity"),
            intent("c", quantity=5000),  # 500,000 USD on 100,000
            intent("c", SELL),  # none are held
            intent("c", type=LIMIT, limit_price="0"),
            intent("c", type=LIMIT, limit_price="-5"),
            intent("c", type=STOP, time_in_force=OPG, stop_price="105"),
            intent("c", bracket=Bracket(Decimal(90), Decimal(95))),  # the profit below the loss
            intent("c", quantity="0.5", time_in_force=GTC),
        ],
        ids=[
            "unknown-symbol", "zero", "negative", "nan", "infinite", "beyond-buying-power", "short-sale", "free",
            "negative-limit", "stop-in-auction", "bracket-upside-down", "fraction-until-cancelled",
        ],
    )  # fmt: skip
    def test_a_bad_order_is_refused_for_good_and_leaves_nothing(self, venue: Venue, refused: OrderIntent) -> None:
        with pytest.raises(OrderRejected) as refusal:
            venue.broker.submit(refused)
        assert refusal.value.message
        assert venue.broker.order("c") is None
        assert list(venue.broker.open_orders()) == []

    def test_shares_are_sold_once(self, venue: Venue) -> None:
        buy(venue)
        venue.broker.submit(intent("s1", SELL, 6, type=LIMIT, limit_price="150", time_in_force=GTC))
        with pytest.raises(OrderRejected):
            venue.broker.submit(intent("s2", SELL, 5))
        venue.broker.submit(intent("s3", SELL, 4))
        go_to(venue, WED)
        assert dict(venue.broker.account().holdings) == {"ABC": Decimal(6)}

    @pytest.mark.parametrize(("terms", "state", "price"), BUYS, ids=_name)
    def test_a_buy_of_every_type_and_time_in_force(
        self, venue: Venue, terms: dict[str, Any], state: OrderState, price: str | None
    ) -> None:
        taken = venue.broker.submit(intent("c1", **terms))
        assert taken.type is terms.get("type", MARKET_ORDER)
        assert taken.time_in_force is terms.get("time_in_force", DAY)
        for name in ("limit_price", "stop_price"):
            assert getattr(taken, name) == (Decimal(terms[name]) if name in terms else None)
        go_to(venue, TUE)
        order = found(venue, "c1")
        assert (order.state, order.average_price) == (state, None if price is None else Decimal(price))

    @pytest.mark.parametrize(("terms", "session", "state", "price"), SALES, ids=_name)
    def test_a_sale_of_every_type(
        self, venue: Venue, terms: dict[str, Any], session: date, state: OrderState, price: str | None
    ) -> None:
        buy(venue)
        venue.broker.submit(intent("c1", SELL, **terms))
        go_to(venue, session)
        order = found(venue, "c1")
        assert (order.state, order.average_price) == (state, None if price is None else Decimal(price))
        assert dict(venue.broker.account().holdings) == ({} if state is FILLED else {"ABC": Decimal(10)})

    def test_an_order_sent_while_the_market_is_open_meets_its_price(self, venue: Venue) -> None:
        venue.open_market()
        assert venue.broker.submit(intent("far", type=LIMIT, limit_price="95")).state is ACCEPTED
        venue.broker.submit(intent("now"))
        venue.broker.submit(intent("better", type=LIMIT, limit_price="101"))
        assert found(venue, "now").average_price == Decimal("100.02")
        assert found(venue, "better").average_price == Decimal(100)
        venue.close_market()
        assert found(venue, "far").average_price == Decimal(95)

    def test_an_order_larger_than_the_market_fills_in_parts(self, venue: Venue) -> None:
        venue.broker.submit(intent("c1", quantity=250, symbol="THIN", time_in_force=GTC))
        seen = []
        for session in (TUE, WED, THU):
            go_to(venue, session)
            order = found(venue, "c1")
            seen.append((order.state, order.filled_quantity, order.open_quantity))
        assert seen == [
            (PARTIAL, Decimal(100), Decimal(150)),
            (PARTIAL, Decimal(200), Decimal(50)),
            (FILLED, Decimal(250), Decimal(0)),
        ]
        # 250 x 20.004, and 250 x 0.005 = 1.25: the least fee is charged once.
        assert venue.broker.account().cash == CASH - Decimal("5001") - Decimal("1.25")

    def test_what_the_market_left_of_a_day_order_expires(self, venue: Venue) -> None:
        venue.broker.submit(intent("c1", quantity=250, symbol="THIN"))
        go_to(venue, TUE)
        order = found(venue, "c1")
        assert (order.state, order.filled_quantity, order.open_quantity) == (EXPIRED, Decimal(100), Decimal(0))
        assert order.average_price == Decimal("20.004")

    # ---- cancel and replace ----------------------------------------------------------------------

    def test_a_cancelled_order_does_not_fill(self, venue: Venue) -> None:
        venue.broker.submit(intent("c1"))
        assert venue.broker.cancel("c1") is not None
        assert found(venue, "c1").state is CANCELED
        go_to(venue, TUE)
        assert found(venue, "c1").filled_quantity == 0
        assert dict(venue.broker.account().holdings) == {}

    def test_cancelling_what_is_over_changes_nothing(self, venue: Venue) -> None:
        buy(venue)
        after = venue.broker.cancel("bought")
        assert after is not None
        assert after.state is FILLED
        assert found(venue, "bought").filled_quantity == Decimal(10)

    def test_a_replacement_takes_the_place_of_the_order(self, venue: Venue) -> None:
        venue.broker.submit(intent("c1", type=LIMIT, limit_price="90", time_in_force=GTC))
        after = venue.broker.submit(
            intent("c2", quantity=4, type=LIMIT, limit_price="95", time_in_force=GTC, replaces="c1")
        )  # fmt: skip
        assert (after.client_order_id, after.quantity, after.limit_price) == ("c2", Decimal(4), Decimal(95))
        assert [order.client_order_id for order in venue.broker.open_orders()] == ["c2"]
        assert (found(venue, "c1").state, found(venue, "c1").replaced_by) == (CANCELED, "c2")
        go_to(venue, THU)  # Thursday's low is 90
        assert found(venue, "c1").filled_quantity == 0
        assert (found(venue, "c2").state, found(venue, "c2").average_price) == (FILLED, Decimal(95))
        assert dict(venue.broker.account().holdings) == {"ABC": Decimal(4)}

    def test_what_is_over_or_unknown_cannot_be_replaced(self, venue: Venue) -> None:
        buy(venue)
        for old in ("bought", "never-sent"):
            with pytest.raises(OrderRejected):
                venue.broker.submit(intent("c2", quantity=4, replaces=old))
            assert venue.broker.order("c2") is None

    def test_a_refused_replacement_leaves_the_order_as_it_was(self, venue: Venue) -> None:
        venue.broker.submit(intent("c1", type=LIMIT, limit_price="95"))
        with pytest.raises(OrderRejected):
            venue.broker.submit(intent("c2", quantity=5000, type=LIMIT, limit_price="95", replaces="c1"))
        with pytest.raises(OrderRejected):  # a replacement is of the same symbol, side and type
            venue.broker.submit(intent("c2", type=LIMIT, limit_price="50", symbol="FLAT", replaces="c1"))
        order = found(venue, "c1")
        assert (order.state, order.quantity, order.limit_price) == (ACCEPTED, Decimal(10), Decimal(95))

    # ---- brackets --------------------------------------------------------------------------------

    def exits(self, venue: Venue) -> dict[str, Order]:
        """The open exits of the entry c1 by type."""
        return {order.type.value: order for order in venue.broker.open_orders() if order.parent_id == "c1"}

    def test_the_exits_of_a_bracket_are_listed_with_their_entry(self, venue: Venue) -> None:
        venue.broker.submit(intent("c1", bracket=Bracket(Decimal(120), Decimal(80)), time_in_force=GTC))
        go_to(venue, TUE)
        assert found(venue, "c1").state is FILLED
        exits = self.exits(venue)
        assert {kind: (o.side, o.quantity, o.is_exit) for kind, o in exits.items()} == {
            "limit": (SELL, Decimal(10), True),
            "stop": (SELL, Decimal(10), True),
        }
        assert exits["limit"].limit_price == Decimal(120)
        assert exits["stop"].stop_price == Decimal(80)
        for leg in exits.values():
            assert found(venue, leg.client_order_id).parent_id == "c1"
        with pytest.raises(OrderRejected):  # the exits hold the shares
            venue.broker.submit(intent("c2", SELL, 1))

    @pytest.mark.parametrize(
        ("bracket", "session", "filled", "price"),
        [
            # Tuesday: open 100, high 106, low 94.
            (Bracket(Decimal(105), Decimal(80)), TUE, "limit", "105"),
            (Bracket(Decimal(120), Decimal(95)), TUE, "stop", "94.981"),
            (Bracket(Decimal(105), Decimal(95)), TUE, "stop", "94.981"),  # both in reach: the worse
            (Bracket(Decimal(120), Decimal(95), Decimal("94.50")), TUE, "stop_limit", "94.5"),
            (Bracket(Decimal(107), Decimal(80)), WED, "limit", "107"),
        ],
        ids=["profit", "loss", "both", "loss-with-limit", "next-session"],
    )
    def test_one_exit_fills_and_the_other_is_cancelled(
        self, venue: Venue, bracket: Bracket, session: date, filled: str, price: str
    ) -> None:
        venue.broker.submit(intent("c1", bracket=bracket, time_in_force=GTC))
        exits = {kind: order.client_order_id for kind, order in self.exits(venue).items()}
        assert len(exits) == 2
        go_to(venue, session)
        for kind, identifier in exits.items():
            order = found(venue, identifier)
            expected = (FILLED, Decimal(price)) if kind == filled else (CANCELED, None)
            assert (order.state, order.average_price) == expected, kind
        assert dict(venue.broker.account().holdings) == {}
        assert list(venue.broker.open_orders()) == []

    def test_the_exits_end_with_an_entry_that_never_fills(self, venue: Venue) -> None:
        terms: dict[str, Any] = {"type": LIMIT, "limit_price": "93", "bracket": Bracket(Decimal(120), Decimal(80))}
        venue.broker.submit(intent("c1", **terms))
        exits = [order.client_order_id for order in self.exits(venue).values()]
        go_to(venue, TUE)
        assert found(venue, "c1").state is EXPIRED
        assert all(found(venue, identifier).state.is_final for identifier in exits)
        assert list(venue.broker.open_orders()) == []

    def test_cancelling_the_entry_cancels_its_exits(self, venue: Venue) -> None:
        venue.broker.submit(intent("c1", bracket=Bracket(Decimal(120), Decimal(80))))
        venue.broker.cancel("c1")
        assert list(venue.broker.open_orders()) == []

    # ---- fractions -------------------------------------------------------------------------------

    def test_a_fraction_of_a_share_is_traded(self, venue: Venue) -> None:
        venue.broker.submit(intent("c1", quantity="0.5"))
        go_to(venue, TUE)
        assert found(venue, "c1").filled_quantity == Decimal("0.5")
        account = venue.broker.account()
        assert (account.cash, dict(account.holdings)) == (CASH - Decimal("51.01"), {"ABC": Decimal("0.5")})

    def test_an_amount_of_money_buys_what_it_can_at_the_execution_price(self, venue: Venue) -> None:
        taken = venue.broker.submit(intent("c1", notional_usd="1000"))
        assert taken.notional_usd == Decimal(1000)
        go_to(venue, TUE)
        order = found(venue, "c1")
        # 1000 / 100.02 = 9.99800039992..., down to nine decimals.
        assert (order.state, order.filled_quantity) == (FILLED, Decimal("9.998000399"))
        assert (order.quantity, order.average_price) == (Decimal("9.998000399"), Decimal("100.02"))
        # 9.998000399 x 100.02 = 999.99999990798
        assert venue.broker.account().cash == CASH - Decimal("999.99999990798") - Decimal(1)

    # ---- what happened ---------------------------------------------------------------------------

    def test_the_feed_tells_everything_once_across_restarts(self, venue: Venue) -> None:
        told = Told(venue.broker)
        venue.broker.submit(intent("c1", quantity=101, symbol="SPL"))
        venue.broker.submit(intent("c2", quantity=250, symbol="THIN", time_in_force=GTC))
        for session in (TUE, WED, THU, FRI):
            go_to(venue, session)
            told.listen(venue.broker)
            told.listen(venue.reopen())
        assert [(fill.client_order_id, fill.quantity, fill.session) for fill in told.fills] == [
            ("c1", Decimal(101), TUE),
            ("c2", Decimal(100), TUE),
            ("c2", Decimal(100), WED),
            ("c2", Decimal(50), THU),
        ]
        for kind in (ActivityKind.SPLIT, ActivityKind.CASH_IN_LIEU, ActivityKind.DIVIDEND):
            assert told.kinds.count(kind) == 1, kind
        # 101 x 1.5 = 151.5: half a share paid out at 60; 151 x 0.50 of dividend.
        assert told.shares == {"SPL": Decimal(151), "THIN": Decimal(250)}
        assert told.agrees_with(venue.broker)
        assert [fill.fill_id for fill in venue.broker.drop_copy(MON)] == [fill.fill_id for fill in told.fills]

    def test_without_a_cursor_the_feed_tells_all_there_is(self, venue: Venue) -> None:
        buy(venue)
        everything = venue.broker.feed(None)
        assert [fill.client_order_id for fill in everything.fills] == ["bought"]
        assert sum(a.cash_delta for a in everything.activities if a.kind is ActivityKind.DEPOSIT) == CASH

    def test_positions_and_cash_are_the_sum_of_what_was_told(self, venue: Venue) -> None:
        told = Told(venue.broker)
        venue.broker.submit(intent("c1", quantity=37))
        venue.broker.submit(intent("c2", quantity=101, symbol="SPL"))
        go_to(venue, TUE)
        venue.broker.submit(intent("c3", SELL, 12))
        venue.broker.submit(intent("c4", quantity="1.25", symbol="FLAT"))
        go_to(venue, WED)
        venue.broker.submit(intent("c5", SELL, 151, symbol="SPL"))
        go_to(venue, FRI)
        told.listen(venue.broker)
        assert told.agrees_with(venue.broker)
        assert told.shares["ABC"] == Decimal(25)
        assert told.shares["SPL"] == 0

    def test_the_drop_copy_tells_busts_and_corrections_and_the_feed_does_not(self, venue: Venue) -> None:
        told = Told(venue.broker)
        venue.broker.submit(intent("c1", quantity=10))
        venue.broker.submit(intent("c2", quantity=20, symbol="FLAT"))
        go_to(venue, TUE)
        told.listen(venue.broker)
        first, second = sorted(venue.broker.drop_copy(MON), key=lambda fill: fill.client_order_id)
        venue.bust(first)
        venue.correct(second, Decimal(49))
        told.listen(venue.broker)
        assert len(told.fills) == 2
        (left,) = venue.broker.drop_copy(MON)
        assert (left.fill_id, left.quantity, left.price) == (second.fill_id, Decimal(20), Decimal(49))
        assert list(venue.broker.drop_copy(WED)) == []
        account = venue.broker.account()
        # Only 20 at 49 and one fee are left.
        assert (account.cash, dict(account.holdings)) == (CASH - Decimal(981), {"FLAT": Decimal(20)})
        assert found(venue, "c1").filled_quantity == 0

    def test_somebody_elses_trade_is_told_like_any_other(self, venue: Venue) -> None:
        told = Told(venue.broker)
        buy(venue)
        venue.manual_trade("FLAT", BUY, Decimal(5), Decimal(50))
        told.listen(venue.broker)
        assert [fill.symbol for fill in told.fills] == ["ABC", "FLAT"]
        assert told.fills[1].client_order_id != "bought"
        assert told.agrees_with(venue.broker)
        assert len(venue.broker.drop_copy(TUE)) == 2

    # ---- many, and again -------------------------------------------------------------------------

    def test_more_orders_than_a_page_holds_are_all_listed(self, venue: Venue) -> None:
        wanted = [f"c{number}" for number in range(520)]
        for identifier in wanted:
            venue.broker.submit(
                intent(identifier, quantity=1, type=LIMIT, limit_price="10", time_in_force=GTC)
            )  # fmt: skip
        listed = [order.client_order_id for order in venue.broker.open_orders()]
        assert sorted(listed) == sorted(wanted)

    def test_an_open_order_is_there_after_a_restart(self, venue: Venue) -> None:
        taken = venue.broker.submit(intent("c1", type=LIMIT, limit_price="95"))
        again = venue.reopen().order("c1")
        assert again is not None
        assert (again.broker_order_id, again.state) == (taken.broker_order_id, ACCEPTED)
        go_to(venue, TUE)
        assert found(venue, "c1").average_price == Decimal(95)

    def test_advancing_twice_changes_nothing(self, venue: Venue) -> None:
        buy(venue)
        before = venue.broker.account()
        venue.broker.advance(TUE)
        assert venue.broker.account() == before
