"""``/v2/orders``: submit, list, look up, replace, cancel."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request, Response

from workbench.brokers.exchange import Exchange, OrderRecord
from workbench.brokers.exchange_http import problems
from workbench.brokers.exchange_http.answers import Area, answer, nothing, query
from workbench.brokers.exchange_http.order_requests import read_body, read_order, read_replacement
from workbench.brokers.exchange_http.problems import Problem
from workbench.brokers.exchange_http.shapes import order_json
from workbench.brokers.exchange_http.venue import Venue
from workbench.brokers.exchange_http.wire import Json, decimals, is_identifier
from workbench.domain import OrderIntent, Side
from workbench.errors import OrderRejected

_MOST = 500
_DEFAULT = 50
_CLASSES = frozenset(
    [
        "us_equity",
        "us_option",
        "crypto",
        "crypto_perp",
        "treasury",
        "corporate",
        "global_equity",
        "us_index",
        "us_equity_chain",
        "ipo",
        "all",
    ]
)


class Orders(Area):
    def __init__(self, venue: Venue) -> None:
        super().__init__(venue)
        self.add("POST", "/v2/orders", self.submit)
        self.add("GET", "/v2/orders", self.listed)
        self.add("DELETE", "/v2/orders", self.cancel_all)
        self.add("GET", "/v2/orders:by_client_order_id", self.by_client_order_id)
        self.add("GET", "/v2/orders/{order_id}", self.one)
        self.add("PATCH", "/v2/orders/{order_id}", self.replace)
        self.add("DELETE", "/v2/orders/{order_id}", self.cancel)

    async def submit(self, request: Request) -> Response:
        venue = self.venue
        body = read_body(await request.body())
        intent, extra = read_order(
            body, symbol_of=venue.symbol_of, price_of=venue.exchange.price, new_id=venue.new_id
        )  # fmt: skip
        return answer(submit(venue, intent, extra))

    async def listed(self, request: Request) -> Response:
        wanted = query(request)
        state = wanted.choice("status", ("open", "closed", "all"), "open")
        limit = wanted.integer("limit", _DEFAULT, 1, _MOST)
        newest_first = wanted.choice("direction", ("asc", "desc"), "desc") == "desc"
        nested = wanted.flag("nested")
        side = wanted.optional_choice("side", ("buy", "sell"))
        after, until = wanted.moment("after"), wanted.moment("until")
        before_order, after_order = wanted.text("before_order_id"), wanted.text("after_order_id")
        if before_order and after_order:
            raise problems.malformed("before_order_id and after_order_id are mutually exclusive")
        if before_order:
            until = self._record(before_order).created_at
        if after_order:
            after = self._record(after_order).created_at
        classes = wanted.names("asset_class")
        if classes is not None and not _CLASSES.issuperset(classes):
            raise problems.malformed("invalid asset_class")
        if classes is not None and not {"us_equity", "all"}.intersection(classes):
            return answer([])
        records = self.venue.exchange.orders(
            open_only={"open": True, "closed": False, "all": None}[state],
            symbols=wanted.names("symbols"),
            side=Side(side) if side else None,
            after=after,
            until=until,
            newest_first=newest_first,
            limit=None if nested else limit,
        )
        if nested:
            # Exits are shown inside their entry; alone only where the entry is not in the list.
            ids = {record.order.client_order_id for record in records}
            records = [r for r in records if r.order.parent_id is None or r.order.parent_id not in ids][:limit]
        return answer([self._shape(record, nested=nested) for record in records])

    async def one(self, request: Request) -> Response:
        record = self._record(str(request.path_params["order_id"]))
        return answer(self._shape(record, nested=query(request).flag("nested", record.order.parent_id is None)))

    async def by_client_order_id(self, request: Request) -> Response:
        wanted = query(request).required("client_order_id")
        record = self.venue.exchange.order(wanted)
        if record is None:
            raise problems.not_found(f"order not found for {wanted}")
        return answer(self._shape(record, nested=True))

    async def replace(self, request: Request) -> Response:
        venue = self.venue
        record = self._record(str(request.path_params["order_id"]))
        wanted = read_replacement(read_body(await request.body()), venue.new_id)
        order = record.order
        if order.state.is_final:
            raise problems.unprocessable(f"cannot replace order in {order.venue_state} status")
        if order.notional_usd is not None or (wanted.quantity is not None and decimals(order.quantity)):
            raise problems.unprocessable("qty of fractional and notional orders cannot be replaced")

        def change(exchange: Exchange) -> OrderRecord:
            return exchange.replace(
                order.client_order_id, wanted.client_order_id, quantity=wanted.quantity,
                limit_price=wanted.limit_price, stop_price=wanted.stop_price, trail=wanted.trail,
                time_in_force=wanted.time_in_force,
            )  # fmt: skip

        return answer(self._shape(_changed(venue, change), nested=True))

    async def cancel(self, request: Request) -> Response:
        record = self._record(str(request.path_params["order_id"]))
        if record.order.state.is_final:
            raise problems.unprocessable(f'order is already in "{record.order.venue_state}" state')
        with self.venue.changing() as exchange:
            exchange.cancel(record.order.client_order_id)
        return nothing()

    async def cancel_all(self, request: Request) -> Response:
        return answer(cancel_all(self.venue), 207)

    def _record(self, order_id: str) -> OrderRecord:
        record = self.venue.exchange.order_by_venue_id(order_id.lower()) if is_identifier(order_id) else None
        if record is None:
            raise problems.not_found(f"order not found for {order_id}")
        return record

    def _shape(self, record: OrderRecord, *, nested: bool) -> Json:
        parent = record.order.parent_id
        entry = self.venue.exchange.order(parent) if parent else None
        return order_json(record, self.venue.exchange.phase, nested=nested, entry=entry)


def submit(venue: Venue, intent: OrderIntent, extra: dict[str, str]) -> Json:
    """Hand an order to the engine; its answer as Alpaca shows it."""
    if venue.configuration["suspend_trade"]:
        raise problems.forbidden("new orders are rejected by user request")
    if not venue.configuration["fractional_trading"] and (intent.notional_usd or decimals(intent.quantity)):
        raise problems.forbidden("fractional trading is disabled for this account")
    free = venue.exchange.free_shares(intent.symbol)
    if venue.shorting and venue.configuration["no_shorting"] and intent.side is Side.SELL and intent.quantity > free:
        raise problems.forbidden("account is not allowed to short")

    def change(exchange: Exchange) -> OrderRecord:
        try:
            return exchange.submit(intent, extra)
        except OrderRejected as error:
            raise refusal(venue, intent, error) from error

    return order_json(_changed(venue, change), venue.exchange.phase)


def cancel_all(venue: Venue) -> list[Json]:
    """Cancel whatever is open; what became of each order."""
    answers: list[Json] = []
    with venue.changing() as exchange:
        for record in exchange.orders(open_only=True):
            after = exchange.cancel(record.order.client_order_id)
            shape = order_json(after or record, exchange.phase, nested=False)
            answers.append({"id": record.venue_id, "status": 200, "body": shape})
    return answers


def refusal(venue: Venue, intent: OrderIntent, error: OrderRejected) -> Problem:
    """The engine's refusal with Alpaca's code and fields; the engine's messages begin in agreed words."""
    message = error.message
    if message.startswith("insufficient buying power"):
        cost = intent.notional_usd or intent.quantity * (intent.limit_price or intent.reference_price)
        return problems.insufficient_buying_power(venue.funds().buying_power, cost)
    if message.startswith("insufficient shares"):
        held = {h.symbol: h.quantity for h in venue.exchange.holdings()}.get(intent.symbol)
        waiting, orders = venue.waiting(intent.symbol)
        return problems.insufficient_quantity(
            intent.symbol, intent.quantity, held or intent.quantity * 0, waiting, orders
        )  # fmt: skip
    return problems.unprocessable(message)


def _changed(venue: Venue, change: Callable[[Exchange], OrderRecord]) -> OrderRecord:
    """Carry out a change, then the order as it stands: a fault of the plan may have touched it since."""
    with venue.changing() as exchange:
        record = change(exchange)
    return venue.exchange.order(record.order.client_order_id) or record
