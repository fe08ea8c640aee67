"""Looking up, listing, replacing and cancelling orders, at a venue that lists by Alpaca's documented rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from brokers.alpaca.examples import BRACKET, equity, venue_id
from brokers.alpaca.venue import Request, Venue, refusal, reply

from workbench.brokers.alpaca import AlpacaBroker
from workbench.domain import Bracket, OrderIntent, OrderState, OrderType, Side, TimeInForce
from workbench.errors import BrokerUnavailable, OrderRejected, OrderUnknown

Serve = Callable[[Callable[[Request], object]], Venue]
Connect = Callable[..., AlpacaBroker]
Raw = dict[str, Any]

D = Decimal
NINE = datetime(2025, 6, 24, 13, 0, tzinfo=UTC)
LIMIT = OrderIntent("c2", "AAPL", Side.BUY, D(3), D(150), "s", 0, OrderType.LIMIT, D(155), TimeInForce.GTC)


class Orders:
    """``/v2/orders`` of a venue: open and closed orders in the order they were submitted.

    Stamps are compared as text with nanoseconds. ``muddled`` lists orders of one stamp alike from both ends, as a
    database does that sorts by the stamp alone.
    """

    def __init__(self, *orders: Raw, muddled: bool = False) -> None:
        self.orders = list(orders)
        self.muddled = muddled

    def __call__(self, request: Request) -> object:
        name = request.path.removeprefix("/v2/orders")
        if name == ":by_client_order_id":
            return self._one("client_order_id", request.query["client_order_id"])
        if name:
            return self._one("id", name.removeprefix("/"))
        return reply(self.listed(request.query))

    def listed(self, query: dict[str, str]) -> list[Raw]:
        nested = query.get("nested") == "true"
        found = [raw for raw in self.orders if self._asked_for(raw, query)]
        # An exit is shown alone where its entry is not in the list.
        ids = {raw["id"] for raw in found}
        if nested:
            found = [raw for raw in found if raw.get("_entry") not in ids]
        found.sort(key=lambda raw: _nanoseconds(raw["submitted_at"]))
        if query["direction"] == "desc":
            if self.muddled:
                found.sort(key=lambda raw: _nanoseconds(raw["submitted_at"]), reverse=True)
            else:
                found.reverse()
        return [self._shape(raw, nested) for raw in found[: int(query["limit"])]]

    def _asked_for(self, raw: Raw, query: dict[str, str]) -> bool:
        stamp = _nanoseconds(raw["submitted_at"])
        is_open = raw["status"] not in ("filled", "canceled", "expired", "rejected", "replaced")
        return (
            {"open": is_open, "closed": not is_open, "all": True}[query["status"]]
            and ("after" not in query or stamp > _nanoseconds(query["after"]))
            and ("until" not in query or stamp < _nanoseconds(query["until"]))
            and query.get("side") in (None, raw["side"])
            and ("symbols" not in query or raw["symbol"] in query["symbols"].split(","))
        )

    def _shape(self, raw: Raw, nested: bool) -> Raw:
        legs = [leg for leg in self.orders if leg.get("_entry") == raw["id"]] if nested else []
        return {**raw, "legs": legs or None}

    def _one(self, name: str, value: str) -> bytes:
        for raw in self.orders:
            if raw[name] == value:
                return reply({**raw, "legs": None})
        return refusal(404, 40410000, f"order not found for {value}")


def _nanoseconds(stamp: str) -> str:
    """A stamp in UTC as text that sorts by time."""
    assert stamp.endswith("Z"), stamp
    whole, _, fraction = stamp[:-1].partition(".")
    return f"{whole}.{fraction:0<9}"


def at(number: int, step: timedelta) -> str:
    return (NINE + number * step).isoformat().replace("+00:00", "Z")


def bracket(first: int, entry: str = "new", submitted: str = "2025-06-24T13:00:00.402119Z") -> list[Raw]:
    """An entry and its two exits, as ``c<first>`` and the two numbers after it, without the newer group fields."""
    documented = {**BRACKET, "status": entry}
    exits = "new" if entry == "filled" else "held"
    raws = [documented, *({**leg, "status": exits} for leg in BRACKET["legs"])]
    changes = {"legs": None, "submitted_at": submitted}
    found = [
        {**raw, **changes, "id": venue_id(first + n), "client_order_id": f"c{first + n}"} for n, raw in enumerate(raws)
    ]
    for raw in found:
        del raw["group_id"], raw["group_role"]
    for raw in found[1:]:
        raw["_entry"] = found[0]["id"]
    return found


STAMPS = [
    pytest.param(lambda n: at(n, timedelta(microseconds=1)), id="all different"),
    pytest.param(lambda n: at(n // 7, timedelta(seconds=1)), id="seven at a time"),
    pytest.param(lambda n: at(n // 450, timedelta(microseconds=1)), id="nearly a page at a time"),
    pytest.param(lambda n: f"2025-06-24T13:00:00.{n:09d}Z", id="by nanoseconds"),
    pytest.param(lambda n: f"2025-06-24T13:00:00.{n // 100:09d}Z", id="a hundred in a nanosecond"),
]


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 999, 1000, 1001, 1750])
@pytest.mark.parametrize("stamp", STAMPS)
def test_every_open_order_is_listed_once_however_many_there_are(
    serve: Serve, connect: Connect, stamp: Callable[[int], str], count: int
) -> None:
    sides = ("buy", "sell")
    venue = serve(Orders(*(equity(n, submitted_at=stamp(n), side=sides[n % 2]) for n in range(count))))
    found = [order.client_order_id for order in connect(venue).open_orders()]
    assert len(found) == count
    assert set(found) == {f"c{n}" for n in range(count)}


@pytest.mark.parametrize("count", [499, 500, 501, 999])
def test_orders_of_one_instant_are_listed_from_both_ends(serve: Serve, connect: Connect, count: int) -> None:
    broker = connect(serve(Orders(*one_instant(count))))
    found = [order.client_order_id for order in broker.open_orders()]
    assert len(found) == count + 1
    assert set(found) == {f"c{n}" for n in range(count + 1)}


@pytest.mark.parametrize(("count", "muddled"), [(1000, False), (2500, False), (501, True), (1000, True)])
def test_a_list_that_may_have_a_gap_is_refused(serve: Serve, connect: Connect, count: int, muddled: bool) -> None:
    broker = connect(serve(Orders(*one_instant(count), muddled=muddled)))
    with pytest.raises(BrokerUnavailable, match="cannot be read to its end"):
        broker.open_orders()


def test_both_sides_of_one_instant_are_listed_apart(serve: Serve, connect: Connect) -> None:
    orders = one_instant(1500)
    for raw in orders[::2]:
        raw["side"] = "sell"
    found = [order.client_order_id for order in connect(serve(Orders(*orders))).open_orders()]
    assert len(found) == 1501
    assert set(found) == {f"c{n}" for n in range(1501)}


def one_instant(count: int) -> list[Raw]:
    """So many orders of one stamp, and a later one."""
    orders = [equity(n, submitted_at="2025-06-24T13:00:00Z") for n in range(count)]
    return [*orders, equity(count, submitted_at="2025-06-24T13:00:00.000001Z")]


def test_what_closes_while_pages_are_read_leaves_no_gap(serve: Serve, connect: Connect) -> None:
    orders = Orders(*(equity(n, submitted_at=at(n, timedelta(seconds=1))) for n in range(700)))

    def answer(request: Request) -> object:
        said = orders(request)
        for raw in orders.orders[:300]:  # after the first page
            raw["status"] = "canceled"
        return said

    found = {order.client_order_id for order in connect(serve(answer)).open_orders()}
    assert found >= {f"c{n}" for n in range(300, 700)}


def test_the_exits_of_a_bracket_name_their_entry_while_it_waits(serve: Serve, connect: Connect) -> None:
    broker = connect(serve(Orders(*bracket(1))))
    found = {order.client_order_id: order for order in broker.open_orders()}
    assert {name: order.parent_id for name, order in found.items()} == {"c1": None, "c2": "c1", "c3": "c1"}
    assert [found[name].venue_state for name in ("c2", "c3")] == ["held", "held"]


def test_the_exits_of_a_bracket_name_their_entry_when_it_is_done(serve: Serve, connect: Connect) -> None:
    venue = serve(Orders(*bracket(1, "filled"), *bracket(4, "filled"), equity(9)))
    broker = connect(venue)
    parents = {order.client_order_id: order.parent_id for order in broker.open_orders()}
    assert parents == {"c2": "c1", "c3": "c1", "c5": "c4", "c6": "c4", "c9": None}
    calls = len(venue.requests)
    assert {order.parent_id for order in broker.open_orders()} == {"c1", "c4", None}
    assert len(venue.requests) == calls + 2  # who belongs to whom is not asked again


def test_exits_that_the_plain_list_leaves_out_are_found_under_their_entry(serve: Serve, connect: Connect) -> None:
    orders = Orders(*bracket(1))

    def answer(request: Request) -> object:
        if request.query.get("nested") == "true":
            return orders(request)
        return reply([raw for raw in orders.listed(request.query) if raw["status"] != "held"])

    found = {order.client_order_id: order.parent_id for order in connect(serve(answer)).open_orders()}
    assert found == {"c1": None, "c2": "c1", "c3": "c1"}


def test_an_exit_looked_up_alone_names_its_entry(serve: Serve, connect: Connect) -> None:
    broker = connect(serve(Orders(*bracket(1, "filled"), equity(9))))
    exit_order, entry, plain = (broker.order(name) for name in ("c3", "c1", "c9"))
    assert exit_order is not None
    assert exit_order.parent_id == "c1"
    assert entry is not None
    assert entry.parent_id is None
    assert plain is not None
    assert plain.parent_id is None


def test_an_exit_whose_price_was_changed_still_names_its_entry(serve: Serve, connect: Connect) -> None:
    entry, profit, stop = bracket(1, "filled")
    moved = {**stop, "id": venue_id(7), "client_order_id": "c7", "replaces": stop["id"], "stop_price": "141"}
    moved = {**moved, "submitted_at": "2025-06-24T15:00:00Z", "_entry": None}
    replaced = {**stop, "status": "replaced", "replaced_by": venue_id(7)}
    broker = connect(serve(Orders(entry, profit, replaced, moved)))
    found = broker.order("c7")
    assert found is not None
    assert found.parent_id == "c1"
    before = broker.order("c3")
    assert before is not None
    assert (before.state, before.replaced_by, before.venue_state) == (OrderState.CANCELED, "c7", "replaced")


def test_a_bracket_is_answered_with_exits_that_are_known_from_then_on(serve: Serve, connect: Connect) -> None:
    venue = serve(lambda _: reply({**BRACKET, "client_order_id": "c2"}))
    broker = connect(venue)
    intent = replace(LIMIT, quantity=D(10), limit_price=D(150), bracket=Bracket(D(170), D(140)))
    assert broker.submit(intent).parent_id is None
    stop = BRACKET["legs"][1]
    venue.answer = lambda _: reply({key: value for key, value in stop.items() if not key.startswith("group")})
    found = broker.order(stop["client_order_id"])
    assert found is not None
    assert found.parent_id == "c2"
    assert len(venue.requests) == 2


def test_an_amount_keeps_the_quantity_it_was_sized_on(serve: Serve, connect: Connect) -> None:
    raw = equity(2, qty=None, notional="465", type="market", limit_price=None)
    venue = serve(lambda _: reply(raw))
    broker = connect(venue)
    intent = replace(LIMIT, type=OrderType.MARKET, limit_price=None, notional_usd=D(465), time_in_force=TimeInForce.DAY)
    assert broker.submit(intent).quantity == 3
    assert venue.requests[0].body["notional"] == "465"
    assert "qty" not in venue.requests[0].body
    again = broker.order("c2")
    assert again is not None
    assert (again.quantity, again.notional_usd) == (3, 465)


def test_a_replacement_is_one_patch_of_the_old_order(serve: Serve, connect: Connect) -> None:
    orders = Orders(equity(1))

    def answer(request: Request) -> object:
        return reply(equity(2, qty="3", limit_price="155")) if request.method == "PATCH" else orders(request)

    venue = serve(answer)
    order = connect(venue).submit(replace(LIMIT, replaces="c1"))
    assert (order.client_order_id, order.quantity, order.limit_price) == ("c2", 3, 155)
    assert venue.lines() == ["GET /v2/orders:by_client_order_id", f"PATCH /v2/orders/{venue_id(1)}"]
    assert venue.requests[1].body == {"client_order_id": "c2", "qty": "3", "limit_price": "155"}


def test_there_is_no_replacement_of_nothing(serve: Serve, connect: Connect) -> None:
    venue = serve(Orders())
    with pytest.raises(OrderRejected, match="no order c1 to replace"):
        connect(venue).submit(replace(LIMIT, replaces="c1"))
    assert venue.lines("PATCH") == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(422, 42210000, "cannot replace order in filled status"), OrderRejected),
        (refusal(422, 40010001, "client_order_id must be unique"), OrderUnknown),
        (reply({"message": "gateway timeout"}, 504), OrderUnknown),
    ],
)
def test_a_replacement_fails_as_an_order_does(
    serve: Serve, connect: Connect, answer: bytes, error: type[Exception]
) -> None:
    orders = Orders(equity(1))
    venue = serve(lambda request: answer if request.method == "PATCH" else orders(request))
    with pytest.raises(error):
        connect(venue).submit(replace(LIMIT, replaces="c1"))
    assert len(venue.lines("PATCH")) == 1


@pytest.mark.parametrize(
    "answer",
    [reply("", 204), refusal(422, 42210000, 'order is already in "filled" state'), refusal(404, 40410000, "gone")],
)
def test_a_cancel_answers_with_the_order_as_it_then_stands(serve: Serve, connect: Connect, answer: bytes) -> None:
    orders = Orders(equity(1))

    def respond(request: Request) -> object:
        if request.method == "DELETE":
            orders.orders[0]["status"] = "pending_cancel"
            return answer
        return orders(request)

    venue = serve(respond)
    order = connect(venue).cancel("c1")
    assert order is not None
    assert (order.state, order.venue_state) == (OrderState.ACCEPTED, "pending_cancel")
    assert venue.lines("DELETE") == [f"DELETE /v2/orders/{venue_id(1)}"]


def test_what_is_over_or_unknown_is_not_cancelled(serve: Serve, connect: Connect) -> None:
    venue = serve(Orders(equity(1, status="filled", filled_qty="2", filled_avg_price="150")))
    broker = connect(venue)
    order = broker.cancel("c1")
    assert order is not None
    assert order.state is OrderState.FILLED
    assert broker.cancel("c9") is None
    assert venue.lines("DELETE") == []


def test_a_cancel_without_an_answer_may_be_repeated(serve: Serve, connect: Connect) -> None:
    orders = Orders(equity(1))
    broker = connect(serve(lambda request: reply("", 500) if request.method == "DELETE" else orders(request)))
    with pytest.raises(BrokerUnavailable):
        broker.cancel("c1")
