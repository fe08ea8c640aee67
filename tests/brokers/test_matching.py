from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.markets import bar

from workbench.brokers.market import Bar
from workbench.brokers.matching import Costs, Terms, at_price, in_range
from workbench.domain import OrderType, Side

COSTS = Costs(Decimal("0.005"), Decimal("1.00"), Decimal(2))
FREE = Costs(Decimal(0), Decimal(0), Decimal(0))
SESSION = bar("100.00", "103.00", "98.00", "101.00")
BUY, SELL = Side.BUY, Side.SELL


def terms(side: Side, kind: OrderType, limit: str | None = None, stop: str | None = None) -> Terms:
    return Terms(
        side, kind, None if limit is None else Decimal(limit), None if stop is None else Decimal(stop)
    )  # fmt: skip


def trailing(side: Side, best: str, *, price: str | None = None, percent: str | None = None) -> Terms:
    return Terms(
        side, OrderType.TRAILING_STOP, best=Decimal(best),
        trail_price=None if price is None else Decimal(price),
        trail_percent=None if percent is None else Decimal(percent),
    )  # fmt: skip


def dec(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


@pytest.mark.parametrize(
    ("side", "expected"),
    # 2 basis points of 100.00 are 0.02: a buyer pays more, a seller gets less.
    [(BUY, "100.0200"), (SELL, "99.9800")],
)
def test_a_market_order_pays_the_auctions_price_and_the_slippage(side: Side, expected: str) -> None:
    assert at_price(terms(side, OrderType.MARKET), Decimal(100), COSTS).price == Decimal(expected)
    assert in_range(terms(side, OrderType.MARKET), SESSION, COSTS).price is None


@pytest.mark.parametrize(
    ("side", "limit", "at_open", "in_the_range"),
    [
        (BUY, "101.00", "100.00", "101.00"),  # the open is better than the limit
        (BUY, "100.00", "100.00", "100.00"),  # the open is the limit
        (BUY, "98.00", None, "98.00"),  # the low touches it
        (BUY, "97.99", None, None),  # the low does not
        (SELL, "99.00", "100.00", "99.00"),
        (SELL, "103.00", None, "103.00"),
        (SELL, "103.01", None, None),
    ],
)
def test_a_limit_order_never_does_worse_than_its_limit(
    side: Side, limit: str, at_open: str | None, in_the_range: str | None
) -> None:
    order = terms(side, OrderType.LIMIT, limit)
    assert at_price(order, SESSION.open, COSTS).price == dec(at_open)
    assert in_range(order, SESSION, COSTS).price == dec(in_the_range)


@pytest.mark.parametrize(
    ("side", "stop", "at_open", "in_the_range"),
    [
        (BUY, "99.00", "100.02", "99.0198"),  # triggered by the open, which is past it
        (BUY, "103.00", None, "103.0206"),
        (BUY, "103.01", None, None),
        (SELL, "100.00", "99.98", "99.98"),
        (SELL, "98.00", None, "97.9804"),
        (SELL, "97.99", None, None),
    ],
)
def test_a_stop_fills_at_the_open_or_at_its_stop_with_slippage(
    side: Side, stop: str, at_open: str | None, in_the_range: str | None
) -> None:
    order = terms(side, OrderType.STOP, stop=stop)
    assert at_price(order, SESSION.open, COSTS).price == dec(at_open)
    assert in_range(order, SESSION, COSTS).price == dec(in_the_range)


@pytest.mark.parametrize(
    ("side", "stop", "limit", "expected", "triggered"),
    [
        (BUY, "102.00", "102.50", "102.50", True),
        (BUY, "102.00", "105.00", "103.00", True),  # nobody traded at 105: the worst of the range
        (BUY, "102.00", "97.00", None, True),  # triggered, and a limit order from now on
        (BUY, "104.00", "105.00", None, False),
        (SELL, "99.00", "98.50", "98.50", True),
        (SELL, "99.00", "90.00", "98.00", True),
        (SELL, "99.00", "104.00", None, True),
        (SELL, "97.00", "96.00", None, False),
    ],
)
def test_a_stop_limit_order_needs_the_range_to_reach_both_prices(
    side: Side, stop: str, limit: str, expected: str | None, triggered: bool
) -> None:
    meeting = in_range(terms(side, OrderType.STOP_LIMIT, limit, stop), SESSION, COSTS)
    assert (meeting.price, meeting.terms.triggered) == (dec(expected), triggered)


def test_a_stop_limit_order_that_the_open_triggers_rests_at_its_limit() -> None:
    order = terms(BUY, OrderType.STOP_LIMIT, limit="98.50", stop="99.00")
    opened = at_price(order, SESSION.open, COSTS)
    assert (opened.price, opened.terms.triggered) == (None, True)
    assert in_range(opened.terms, SESSION, COSTS).price == Decimal("98.50")


@pytest.mark.parametrize(
    ("side", "best", "price", "expected", "left_at"),
    [
        # The low of 98 comes first: a stop one behind 100 is reached before the high of 103 lifts it.
        (SELL, "100.00", "1.00", "98.9802", "100.00"),
        # Three behind is 97; the high lifts it to 100, and the close of 101 does not reach that.
        (SELL, "100.00", "3.00", None, "103.00"),
        # 2.50 behind is 97.50; the high lifts it to 100.50, still under the close.
        (SELL, "100.00", "2.50", None, "103.00"),
        (BUY, "100.00", "2.00", "102.0204", "100.00"),
        # Four above is 104; the low of 98 brings it to 102, and the close of 101 stays under.
        (BUY, "100.00", "4.00", None, "98.00"),
    ],
)
def test_a_trailing_stop_stands_where_the_range_found_it(
    side: Side, best: str, price: str, expected: str | None, left_at: str
) -> None:
    meeting = in_range(trailing(side, best, price=price), SESSION, COSTS)
    assert (meeting.price, meeting.terms.best) == (dec(expected), Decimal(left_at))


def test_a_close_behind_the_lifted_stop_has_crossed_it() -> None:
    """The close comes after the high, so a stop that the high lifted above the close was reached on the way down."""
    falling = bar("100", "110", "99.50", "101")
    meeting = in_range(trailing(SELL, "100", price="5"), falling, FREE)
    assert meeting.price == Decimal(105)


def test_a_trailing_stop_follows_an_auction_and_can_trigger_in_it() -> None:
    order = trailing(SELL, "100", percent="5")
    lifted = at_price(order, Decimal(120), FREE)
    assert (lifted.price, lifted.terms.stop_level) == (None, Decimal(114))
    assert at_price(lifted.terms, Decimal(110), FREE).price == Decimal(110)
    assert at_price(lifted.terms, Decimal(115), FREE).terms.best == Decimal(120)


@pytest.mark.parametrize(("shares", "fee"), [("1", "1.00"), ("200", "1.00"), ("201", "1.005"), ("1000", "5.00")])
def test_the_fee_is_per_share_with_a_minimum(shares: str, fee: str) -> None:
    assert COSTS.fee(Decimal(shares)) == Decimal(fee)


prices = st.decimals(min_value="1", max_value="500", places=2)


@st.composite
def sessions(draw: st.DrawFn) -> Bar:
    low, *inside, high = sorted(draw(st.tuples(prices, prices, prices, prices)))
    open_, close = draw(st.permutations(inside))
    return Bar(open_, high, low, close, Decimal(1000))


@given(
    session=sessions(), side=st.sampled_from(Side), kind=st.sampled_from(OrderType), limit=prices, stop=prices,
    trail=prices,
)  # fmt: skip
def test_no_fill_is_outside_the_range_or_worse_than_a_limit(
    session: Bar, side: Side, kind: OrderType, limit: Decimal, stop: Decimal, trail: Decimal
) -> None:
    order = Terms(
        side, kind, limit if kind.has_limit else None, stop if kind.has_stop else None,
        trail if kind is OrderType.TRAILING_STOP else None, best=session.open,
    )  # fmt: skip
    opened = at_price(order, session.open, FREE)
    price = opened.price or in_range(opened.terms, session, FREE).price
    if price is not None:
        assert session.low <= price <= session.high
        if order.limit is not None:
            assert (price - order.limit) * side.sign <= 0
