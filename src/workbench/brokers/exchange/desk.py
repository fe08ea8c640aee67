"""The order desk: takes, replaces and cancels orders."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from workbench.brokers.exchange import rules
from workbench.brokers.exchange.floor import Floor
from workbench.brokers.exchange.store import Store
from workbench.brokers.exchange.ticket import Ticket, shares_for, venue_id_of
from workbench.domain import OrderIntent, OrderState, OrderType, Side, TimeInForce
from workbench.errors import OrderRejected, OrderUnknown


class Desk:
    """What stands between an order and the floor."""

    def __init__(self, floor: Floor, store: Store) -> None:
        self._floor = floor
        self._book = floor.book
        self._store = store

    def submit(self, intent: OrderIntent, extra: Mapping[str, str]) -> Ticket:
        """Take an order; while the market is open it meets the price of the moment.

        Raises
        ------
        OrderUnknown
            An order with that id is here already.
        OrderRejected
            It is refused.
        """
        self._require_new(intent.client_order_id)
        self._check(intent)
        ticket = self._ticket(intent, extra)
        self._check_account(ticket)
        return self._enter(ticket)

    def replace(
        self,
        old: Ticket | None,
        client_order_id: str,
        *,
        quantity: Decimal | None,
        limit_price: Decimal | None,
        stop_price: Decimal | None,
        trail: Decimal | None,
        time_in_force: TimeInForce | None,
    ) -> Ticket:
        """Put a new order in the place of an open one; what is not given stays.

        Without ``quantity`` it is for what is left of the old one. A bracket's exits stay with the new entry.

        Raises
        ------
        OrderUnknown
            An order with the new id is here already.
        OrderRejected
            The old order is not open, or the new one is refused.
        """
        self._require_new(client_order_id)
        if old is None:
            raise OrderRejected("order to be replaced is not known here")
        _check_replaceable(old, quantity)
        trails = old.trail_price is not None, old.trail_percent is not None
        if trail is not None and not any(trails):
            raise OrderRejected(f"trail {trail}: a {old.type.value.replace('_', '-')} order has none")
        intent = OrderIntent(
            client_order_id, old.symbol, old.side, old.open_quantity if quantity is None else quantity,
            Decimal(0), "", 0, old.type,
            limit_price=old.limit_price if limit_price is None else limit_price,
            time_in_force=old.time_in_force if time_in_force is None else time_in_force,
            stop_price=old.stop_price if stop_price is None else stop_price,
            trail_price=trail if trail is not None and trails[0] else old.trail_price,
            trail_percent=trail if trail is not None and trails[1] else old.trail_percent,
            notional_usd=old.notional,
            bracket=old.bracket,
        )  # fmt: skip
        self._check(intent)
        ticket = self._ticket(intent, old.extra)
        ticket.parent_id, ticket.held, ticket.replaces = old.parent_id, old.held, old.venue_id
        ticket.triggered = old.triggered and ticket.stop_price == old.stop_price
        ticket.best = old.best
        if old.parent_id is None:
            self._check_account(ticket, instead_of=old)
        exits = self._book.exits(old)
        old.state, old.replaced_by, old.replaced_at = OrderState.CANCELED, ticket.venue_id, ticket.created_at
        self._book.changed(old)
        self._book.tell("replaced", old, ticket.created_at)
        return self._enter(ticket, exits)

    def cancel(self, ticket: Ticket) -> None:
        """Cancel an order that is still open."""
        self._floor.end(ticket, OrderState.CANCELED, self._floor.house.clock.now())

    # ---- private ---------------------------------------------------------------------------------

    def _require_new(self, client_order_id: str) -> None:
        if self._store.has_order(client_order_id):
            raise OrderUnknown(f"an order {client_order_id} exists already")

    def _check(self, intent: OrderIntent) -> None:
        price = self._book.quotes.price(intent.symbol)
        rules.check(intent, price=price, phase=self._book.phase, fractional=self._floor.house.fractional)

    def _check_account(self, ticket: Ticket, instead_of: Ticket | None = None) -> None:
        """Refuse a sale beyond what is free, unless the account may short, and what the margin does not carry."""
        margin = self._book.margin
        if ticket.side is Side.SELL and not self._floor.house.shorting:
            free = margin.free(ticket.symbol, instead_of)
            if ticket.quantity > free:
                raise OrderRejected(f"insufficient shares: {ticket.quantity} {ticket.symbol} to sell, {free} free")
        elif not margin.allows(ticket, self._book.cash, instead_of):
            raise OrderRejected(f"insufficient buying power for {ticket.quantity} {ticket.symbol}")

    def _ticket(self, intent: OrderIntent, extra: Mapping[str, str]) -> Ticket:
        price = self._book.quotes.price(intent.symbol)
        assert price is not None  # checked
        quantity = intent.quantity
        if intent.notional_usd is not None:  # until it executes, what the amount buys now
            quantity = shares_for(intent.notional_usd, price)
        stamp = self._book.stamp()
        return Ticket(
            id=self._book.last_order + 1,
            client_order_id=intent.client_order_id,
            venue_id=venue_id_of(self._book.account, self._book.last_order + 1),
            symbol=intent.symbol,
            side=intent.side,
            quantity=quantity,
            type=intent.type,
            time_in_force=intent.time_in_force,
            submitted=self._book.session,
            created_at=stamp,
            updated_at=stamp,
            limit_price=intent.limit_price,
            stop_price=intent.stop_price,
            trail_price=intent.trail_price,
            trail_percent=intent.trail_percent,
            notional=intent.notional_usd,
            bracket=intent.bracket,
            best=price if intent.type is OrderType.TRAILING_STOP else None,
            extra=dict(extra),
        )

    def _enter(self, ticket: Ticket, exits: list[Ticket] | None = None) -> Ticket:
        """Put an order on the floor, with its exits, new or taken over."""
        self._book.add(ticket)
        if ticket.bracket is not None:
            if exits:
                self._book.reparent(exits, ticket)
            else:
                self._add_exits(ticket)
        if not ticket.held:
            self._book.tell("new", ticket, ticket.created_at)
        self._floor.arrive(ticket)
        return ticket

    def _add_exits(self, entry: Ticket) -> None:
        assert entry.bracket is not None
        side = Side.SELL if entry.side is Side.BUY else Side.BUY
        profit, stop, limit = entry.bracket.take_profit, entry.bracket.stop_loss, entry.bracket.stop_loss_limit
        stop_type = OrderType.STOP if limit is None else OrderType.STOP_LIMIT
        for name, kind, stop_price, limit_price in (
            ("tp", OrderType.LIMIT, None, profit),
            ("sl", stop_type, stop, limit),
        ):
            intent = OrderIntent(
                f"{entry.venue_id}-{name}", entry.symbol, side, entry.quantity, Decimal(0), "", 0, kind,
                limit_price=limit_price, time_in_force=entry.time_in_force, stop_price=stop_price,
            )  # fmt: skip
            leg = self._ticket(intent, {})
            leg.parent_id, leg.held = entry.client_order_id, True
            self._book.add(leg)


def _check_replaceable(old: Ticket, quantity: Decimal | None) -> None:
    if not old.is_open:
        raise OrderRejected(f"order {old.client_order_id} is {old.state.value} and cannot be replaced")
    if quantity is not None and (old.notional is not None or old.parent_id is not None):
        what = "an order by value" if old.notional is not None else "a bracket's exit"
        raise OrderRejected(f"quantity of {what} cannot be replaced")
    if old.bracket is not None and old.filled_quantity:
        raise OrderRejected("bracket entry has filled in part and cannot be replaced")
