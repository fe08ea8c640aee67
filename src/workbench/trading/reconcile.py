"""Compares the books with the venue: orders, executions (the drop copy), positions and cash.

A difference locks its symbol (one of cash, the account), says what would put it right, and waits for a person:
``workbench reconcile --adopt`` applies the fix on record. What agrees again is unlocked by itself.

Source: SEC Rule 15c3-5(c)(1) asks for controls on what has been executed, RTS 6 Art. 17 for real-time
reconciliation of one's own logs with the records of venue, broker or drop copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from workbench.brokers.base import Broker, BrokerAccount
from workbench.domain import Fill, Order, OrderState
from workbench.journal import Controls, Journal, Ledger, OrderJournal
from workbench.journal.controls import EVERY_SYMBOL
from workbench.journal.leases import Lease
from workbench.journal.ledger import Booked, Books, Correction
from workbench.settings import ReconcileSettings
from workbench.trading.bookkeeping import Bookkeeper

# A difference must be seen so often in a row: an execution may arrive between two questions.
_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing on which books and venue disagree. ``symbol`` is ``EVERY_SYMBOL`` for cash.

    ``corrections`` are what adopting it would write; without any, the venue has to change.
    """

    kind: str
    symbol: str
    text: str
    fix: str
    corrections: tuple[Correction, ...] = ()
    order: str | None = None  # an order of ours that adopting ends here

    def as_row(self) -> dict[str, str]:
        return {"kind": self.kind, "symbol": self.symbol, "difference": self.text, "fix": self.fix}


class Reconciler:
    """Finds, locks and adopts differences of one account."""

    def __init__(
        self, journal: Journal, broker: Broker, books: Bookkeeper, settings: ReconcileSettings, session: date
    ) -> None:
        self._controls = Controls(journal)
        self._ledger = Ledger(journal)
        self._orders = OrderJournal(journal)
        self._broker = broker
        self._books = books
        self._settings = settings
        self._session = session
        self._recorded: list[dict[str, str]] | None = None
        self.strangers: Sequence[Fill] = ()  # executions that are not ours and not adopted, as they stand now

    @property
    def account(self) -> str:
        return self._books.account

    def run(self, moment: str, since: date) -> list[Difference]:
        """Compare, put the result on record and lock what differs; unlock what agrees again.

        Parameters
        ----------
        moment
            ``start``, ``open`` (while orders are open), ``end`` or ``asked``.
        since
            The first session whose executions are compared with the drop copy.
        """
        found = self._look(since)
        for _ in range(_LOOKS - 1):
            if not found:
                break
            before = {(difference.kind, difference.symbol) for difference in found}
            found = [d for d in self._look(since) if (d.kind, d.symbol) in before]
        rows = [difference.as_row() for difference in found]
        if moment != "open" or rows != self._recorded:
            self._controls.record_reconciliation(self.account, moment, rows)
        self._recorded = rows
        reasons: dict[str, str] = {}
        for difference in found:
            reasons.setdefault(difference.symbol, f"{difference.text}; {difference.fix}")
        self._controls.set_locks(self.account, reasons, "reconciliation", release=True)
        return found

    def adopt(self, differences: Iterable[Difference], actor: str, since: date, lease: Lease) -> int:
        """Write the corrections of those differences that still stand, on a person's word.

        Returns
        -------
        How many entries that made.

        Raises
        ------
        JournalError
            If the account has passed to another process; nothing is adopted then.
        """
        standing = self._look(since)
        agreed = [difference for difference in differences if difference in standing]
        corrections = [correction for difference in agreed for correction in difference.corrections]
        self._ledger.correct(self.account, self._broker.name, corrections, actor, lease)
        for difference in agreed:
            if difference.order is not None:
                detail = f"{difference.text}; ended by {actor}"
                self._orders.move(difference.order, OrderState.CANCELED, detail)
                self._books.mismatched.pop(difference.order, None)
        return len(corrections) + sum(difference.order is not None for difference in agreed)

    def _look(self, since: date) -> list[Difference]:
        self._books.pull()
        since = min([since, *(fill.session for fill in self._ledger.external_fills(self.account))])
        copy = {fill.fill_id: fill for fill in self._broker.drop_copy(since)}
        self._take_in(copy.values(), since)
        theirs = self._broker.account()
        strangers = {f: copy[f.fill_id] for f in self._ledger.external_fills(self.account) if f.fill_id in copy}
        found = compare_fills(self._ledger.booked(self.account, self._broker.name, since), copy, self._session)
        proposed = [correction for difference in found for correction in difference.corrections]
        self.strangers = list(strangers.values())
        explained = _with(self._ledger.books(self.account), proposed, self.strangers)
        found += [_external(fill, now) for fill, now in strangers.items()]
        found += self._orders_apart({fill.client_order_id for fill in copy.values()})
        untold = self._books.untold()
        return found + [
            difference
            for difference in compare_account(explained, theirs, self._session, self._settings.cash_tolerance_usd)
            if difference.symbol not in untold and not (untold and difference.symbol == EVERY_SYMBOL)
        ]

    def _take_in(self, copy: Iterable[Fill], since: date) -> None:
        """Book executions that the feed did not tell: of our orders as fills, of others aside."""
        booked = self._ledger.booked(self.account, self._broker.name, since)
        aside = {fill.fill_id for fill in self._ledger.external_fills(self.account)}
        missed = [fill for fill in copy if fill.fill_id not in booked and fill.fill_id not in aside]
        if missed:
            self._books.book(missed)
            self._books.follow()

    def _orders_apart(self, executed: Iterable[str]) -> list[Difference]:
        """Open orders that are not ours or have ended here, orders the venue lost, orders filled beyond their size."""
        found = []
        legs = self._ledger.legs(self.account)
        for order in self._broker.open_orders():
            record = self._orders.intent(order.client_order_id)
            is_leg = order.client_order_id in legs or (
                order.parent_id is not None and self._orders.intent(order.parent_id) is not None
            )
            if record is None and not is_leg:
                found.append(_external_order(order))
            elif record is not None and record.state.is_final:
                found.append(_undead(order, record.state))
        for identifier, symbol in self._books.lost.items():
            text = f"the venue took order {identifier} and does not know it any more"
            found.append(Difference("order_lost", symbol, text, "ask the venue; adopting ends it here", (), identifier))
        for identifier, symbol in self._books.mismatched.items():
            text = f"the venue knows {identifier} as another order"
            found.append(Difference("order_id", symbol, text, "cancel it there; adopting ends ours", (), identifier))
        for symbol in sorted(self._books.unpriced):
            text = f"{symbol} is held, but the lake has no price of it"
            found.append(Difference("no_price", symbol, text, "load its data"))
        acknowledged = self._ledger.acknowledged(self.account)
        for identifier in sorted(set(executed) - acknowledged):
            beyond = self._filled_beyond(identifier)
            if beyond is not None:
                found.append(_overfill(identifier, *beyond, self._session))
        return found

    def _filled_beyond(self, client_order_id: str) -> tuple[str, Decimal] | None:
        """Symbol and shares that filled beyond an order's size, at the venue's own size of it: a split changes that."""
        record = self._orders.intent(client_order_id)
        if record is None or record.intent.notional_usd is not None:
            return None
        if record.filled_quantity <= record.intent.quantity:
            return None
        order = self._broker.order(client_order_id)
        beyond = record.filled_quantity - (order.quantity if order else record.intent.quantity)
        return (record.intent.symbol, beyond) if beyond > 0 else None


def compare_fills(booked: Mapping[str, Booked], copy: Mapping[str, Fill], session: date) -> list[Difference]:
    """Executions that the venue's copy states otherwise than the books, or not at all any more."""
    found = []
    for identifier, mine in booked.items():
        theirs = copy.get(identifier)
        quantity = theirs.side.sign * theirs.quantity if theirs else Decimal(0)
        cash = theirs.cash_delta if theirs else Decimal(0)
        if (quantity, cash) == (mine.quantity, mine.cash):
            continue
        kind = "correct" if theirs else "bust"
        now = f"{theirs.quantity} at {theirs.price}" if theirs else "nothing"
        text = f"execution {identifier} ({mine.fill.side} {mine.fill.quantity} at {mine.fill.price}) is now {now}"
        symbol, shares, amount = mine.fill.symbol, quantity - mine.quantity, cash - mine.cash
        correction = Correction(kind, symbol, session, shares, amount, text, identifier)
        found.append(Difference(kind, symbol, text, "adopt the venue's word", (correction,)))
    return found


def compare_account(booked: Books, theirs: BrokerAccount, session: date, tolerance: Decimal) -> list[Difference]:
    """Positions, and cash beyond ``tolerance`` (USD), that all known executions do not explain."""
    found = []
    for symbol in sorted({*booked.holdings, *theirs.holdings}):
        mine, other = booked.holdings.get(symbol, Decimal(0)), theirs.holdings.get(symbol, Decimal(0))
        if mine != other:
            text = f"the books have {mine} {symbol}, the venue {other}"
            found.append(
                Difference(
                    "position", symbol, text, _position_fix(mine, other),
                    (Correction("position", symbol, session, other - mine, Decimal(0), text),),
                )
            )  # fmt: skip
    apart = theirs.cash - booked.cash
    if abs(apart) > tolerance:
        text = f"the books have {booked.cash} USD, the venue {theirs.cash} USD"
        found.append(
            Difference(
                "cash", EVERY_SYMBOL, text, f"adopt {apart.normalize():f} USD",
                (Correction("cash", "", session, Decimal(0), apart, text),),
            )
        )  # fmt: skip
    return found


def _position_fix(mine: Decimal, theirs: Decimal) -> str:
    if mine and theirs:
        ratio = theirs / mine
        for up, down in ((ratio, Decimal(1)), (Decimal(1), 1 / ratio)):
            if max(up, down) >= 2 and up == up.to_integral_value() and down == down.to_integral_value():
                return f"it looks like a split of {up:.0f} for {down:.0f} not reported yet; wait, or adopt"
    return f"adopt {(theirs - mine).normalize():f} shares"


def _with(books: Books, corrections: Sequence[Correction], externals: Iterable[Fill]) -> Books:
    """The books as they would be once everything proposed so far is adopted."""
    cash, holdings = books.cash, dict(books.holdings)
    changes = [(c.symbol, c.quantity_delta, c.cash_delta) for c in corrections]
    changes += [(f.symbol, f.side.sign * f.quantity, f.cash_delta) for f in externals]
    for symbol, quantity, amount in changes:
        cash += amount
        if quantity:
            holdings[symbol] = holdings.get(symbol, Decimal(0)) + quantity
    return Books(cash, {symbol: quantity for symbol, quantity in holdings.items() if quantity})


def _external(fill: Fill, now: Fill) -> Difference:
    """Somebody else's execution as it was first told, and as it stands ``now``: a correction is adopted with it."""
    text = f"{now.side} {now.quantity} {now.symbol} at {now.price} was not ours (order {now.client_order_id})"
    zero = Decimal(0)
    corrections = [Correction("external", fill.symbol, fill.session, zero, zero, text, fill.fill_id)]
    shares, amount = now.side.sign * (now.quantity - fill.quantity), now.cash_delta - fill.cash_delta
    if shares or amount:
        corrections.append(Correction("correct", fill.symbol, fill.session, shares, amount, text, fill.fill_id))
    fix = "adopt it, if you or somebody you trust made that trade"
    return Difference("external", fill.symbol, text, fix, tuple(corrections))


def _external_order(order: Order) -> Difference:
    what = f"{order.side} {order.quantity} {order.symbol} ({order.client_order_id})"
    text = f"the venue has an order that is not ours: {what}"
    return Difference("external_order", order.symbol, text, "cancel it there, or let it end")


def _undead(order: Order, state: OrderState) -> Difference:
    return Difference(
        "order_state", order.symbol, f"order {order.client_order_id} is {state} here, but open at the venue",
        "cancel it there, or let it end",
    )  # fmt: skip


def _overfill(identifier: str, symbol: str, beyond: Decimal, session: date) -> Difference:
    text = f"order {identifier} was filled by {beyond} more than it asked for"
    zero = Decimal(0)
    return Difference(
        "overfill", symbol, text, "adopt it to go on with what the account now holds",
        (Correction("overfill", symbol, session, zero, zero, text, identifier),),
    )  # fmt: skip
