"""What the account is at this moment, in memory; changes are written out at the end of their transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from workbench.brokers.exchange.margin import Margin
from workbench.brokers.exchange.quotes import Quotes
from workbench.brokers.exchange.records import OrderRecord, Phase
from workbench.brokers.exchange.store import IS_OPEN, Store, activity_id, fill_id
from workbench.brokers.exchange.ticket import ZERO, Ticket
from workbench.clock import Clock
from workbench.domain import Activity, ActivityKind, Fill

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Lot:
    """Shares of one symbol (negative: sold short) and what they cost, at average cost, in USD."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO

    def traded(self, quantity: Decimal, price: Decimal) -> Lot:
        """The lot after a trade of a signed quantity.

        >>> Lot(Decimal(10), Decimal(1000)).traded(Decimal(-4), Decimal(120))
        Lot(quantity=Decimal('6'), cost=Decimal('600'))
        """
        after = self.quantity + quantity
        if not after:
            return Lot()
        if self.quantity * quantity >= 0:
            return Lot(after, self.cost + quantity * price)
        if self.quantity * after > 0:
            return Lot(after, self.cost + self.cost * quantity / self.quantity)
        return Lot(after, after * price)

    def untraded(self, quantity: Decimal, price: Decimal) -> Lot:
        """The lot after a trade of a signed quantity was taken back."""
        after, cost = self.quantity - quantity, self.cost - quantity * price
        if self.quantity * quantity > 0 and self.quantity * after > 0 and cost * after > 0:
            return Lot(after, cost)
        return self.traded(-quantity, price)

    def split_by(self, quantity: Decimal) -> Lot:
        """The lot after a split brought a signed quantity of shares; they cost what they did."""
        after = self.quantity + quantity
        return Lot(after, self.cost) if after else Lot()


class Book:
    """Cash, holdings and open orders of one account. ``dirty`` says whether anything is still to be written out."""

    def __init__(self, store: Store, quotes: Quotes, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.quotes = quotes
        row = store.db.execute("SELECT * FROM account").fetchone()
        self.account = str(row["name"])
        self.created_at = datetime.fromisoformat(row["created_at"])
        self.session = date.fromisoformat(row["session"])
        self.phase = Phase(row["phase"])
        self.cash = Decimal(row["cash"])
        self._stored = (row["cash"], row["session"], row["phase"])
        self.dirty = False
        self.lots = {
            str(row["symbol"]): Lot(Decimal(row["quantity"]), Decimal(row["cost"]))
            for row in store.db.execute("SELECT * FROM holdings ORDER BY symbol")
        }
        self.last_order, self.last_fill = store.highest("orders"), store.highest("fills")
        self.last_activity, self.last_event = store.highest("activities"), store.highest("events", "number")
        self._last_stamp = store.last_stamp()
        self._changed: dict[str, Ticket] = {}
        self._moved: set[str] = set()
        quotes.move_to(self.session, self.phase)
        self.margin = Margin(self.held, quotes.price)
        for symbol in self.lots:
            self.margin.touch(symbol)
        self.tickets = {ticket.client_order_id: ticket for ticket in store.tickets(IS_OPEN, ())}
        filled_now = store.filled_in(self.session) if self.phase is Phase.OPEN else {}
        for ticket in self.tickets.values():
            ticket.filled_now = filled_now.get(ticket.client_order_id, ZERO)
            self.margin.settle(ticket)

    # ---- reading ---------------------------------------------------------------------------------

    def held(self, symbol: str) -> Decimal:
        lot = self.lots.get(symbol)
        return lot.quantity if lot else ZERO

    def ticket(self, client_order_id: str) -> Ticket | None:
        """An order, open or final, as it stands now."""
        found = self.tickets.get(client_order_id) or self._changed.get(client_order_id)
        if found is None:
            stored = self._store.tickets("client_order_id=?", (client_order_id,))
            found = stored[0] if stored else None
        return found

    def exits(self, entry: Ticket) -> list[Ticket]:
        """The exits of a bracket's entry as they stand now, the take-profit first."""
        if entry.bracket is None:
            return []
        stored = self._store.tickets("parent_id=? AND replaced_by IS NULL", (entry.client_order_id,))
        current = [
            self._changed.get(t.client_order_id) or self.tickets.get(t.client_order_id) or t for t in stored
        ]  # fmt: skip
        return sorted((t for t in current if t.replaced_by is None), key=lambda t: t.type.has_stop)

    def record(self, ticket: Ticket) -> OrderRecord:
        return ticket.record(self.exits(ticket))

    # ---- changing --------------------------------------------------------------------------------

    def stamp(self) -> datetime:
        """The time of a new order; later than that of any other, so that time orders them."""
        now = self._clock.now()
        if self._last_stamp is not None and now <= self._last_stamp:
            now = self._last_stamp + _TICK
        self._last_stamp = now
        return now

    def move_to(self, session: date, phase: Phase) -> None:
        self.session, self.phase, self.dirty = session, phase, True
        self.quotes.move_to(session, phase)
        self.margin.reprice()

    def add(self, ticket: Ticket) -> None:
        """Take an order in."""
        self.dirty = True
        self._store.add(ticket)
        self.last_order = ticket.id
        if ticket.is_open:
            self.tickets[ticket.client_order_id] = ticket
        else:
            self._changed[ticket.client_order_id] = ticket
        self.margin.settle(ticket)

    def changed(self, ticket: Ticket) -> None:
        """Note that an order is not what it was."""
        self.dirty = True
        ticket.updated_at = self._clock.now()
        self._changed[ticket.client_order_id] = ticket
        if not ticket.is_open:
            self.tickets.pop(ticket.client_order_id, None)
        self.margin.settle(ticket)

    def reparent(self, exits: list[Ticket], entry: Ticket) -> None:
        """Give a bracket's exits to the entry that replaced theirs."""
        for leg in exits:
            leg.parent_id, leg.quantity = entry.client_order_id, entry.quantity
            self.changed(leg)
            self._store.save(leg)

    def set_lot(self, symbol: str, lot: Lot) -> None:
        self.dirty = True
        if lot.quantity:
            self.lots[symbol] = lot
        else:
            self.lots.pop(symbol, None)
        self._moved.add(symbol)
        self.margin.touch(symbol)

    def pay(self, amount: Decimal) -> None:
        """Add to cash, in USD; negative takes away."""
        self.dirty = True
        self.cash += amount

    def execute(self, fill: Fill) -> Fill:
        """Book an execution under the next number; the fill with its id."""
        self.last_fill += 1
        fill = replace(fill, fill_id=fill_id(self.last_fill))
        self._store.add_fill(self.last_fill, fill)
        self.reexecute(fill)
        return fill

    def reexecute(self, fill: Fill) -> None:
        """Put an execution into cash and holdings."""
        lot = self.lots.get(fill.symbol, Lot())
        self.set_lot(fill.symbol, lot.traded(fill.side.sign * fill.quantity, fill.price))
        self.pay(fill.cash_delta)

    def unexecute(self, fill: Fill) -> None:
        """Take an execution out of cash and holdings."""
        lot = self.lots.get(fill.symbol, Lot())
        self.set_lot(fill.symbol, lot.untraded(fill.side.sign * fill.quantity, fill.price))
        self.pay(-fill.cash_delta)

    def activity(self, kind: ActivityKind, symbol: str, shares: Decimal, cash: Decimal, at: datetime) -> None:
        """Book what changes shares or cash without a trade."""
        self.last_activity += 1
        number = self.last_activity
        self._store.add_activity(
            number, Activity(activity_id(number), kind, symbol, self.session, shares, cash, at)
        )  # fmt: skip
        self.pay(cash)
        if shares:
            self.set_lot(symbol, self.lots.get(symbol, Lot()).split_by(shares))

    def tell(self, kind: str, ticket: Ticket, at: datetime, fill: Fill | None = None) -> None:
        """Add an event to the stream."""
        self.dirty = True
        self.last_event += 1
        position = None if fill is None else self.held(fill.symbol)
        self._store.add_event(self.last_event, kind, [ticket, *self.exits(ticket)], fill, position, at)

    def flush(self) -> None:
        """Write out what has changed; the caller's transaction commits it."""
        if not self.dirty:
            return
        db = self._store.db
        for ticket in self._changed.values():
            self._store.save(ticket)
        for symbol in self._moved:
            lot = self.lots.get(symbol)
            if lot is None:
                db.execute("DELETE FROM holdings WHERE symbol=?", (symbol,))
            else:
                db.execute(
                    "INSERT OR REPLACE INTO holdings (symbol, quantity, cost) VALUES (?,?,?)",
                    (symbol, str(lot.quantity), str(lot.cost)),
                )
        state = (str(self.cash), self.session.isoformat(), self.phase.value)
        if state != self._stored:
            db.execute("UPDATE account SET cash=?, session=?, phase=?", state)
            self._stored = state
        self._changed, self._moved, self.dirty = {}, set(), False
