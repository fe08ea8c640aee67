"""Reads an account from journal and market into the risk book that the gates look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from workbench.brokers.market import Market
from workbench.domain import Fill, Order, Side
from workbench.journal import Controls, Journal, Ledger, OrderJournal
from workbench.journal.ledger import Books
from workbench.settings import RiskSettings
from workbench.trading import gates
from workbench.trading.bookkeeping import IN_FLIGHT, WORKING
from workbench.trading.exposures import Working
from workbench.trading.riskbook import ACCOUNT, MINUTE, RiskBook, Sent

VOLUME_SESSIONS = 20
# What a venue calls an order that it was asked to take out of its book.
_LEAVING = frozenset({"pending_cancel", "pending_replace"})


def read_book(
    journal: Journal,
    account: str,
    market: Market,
    limits: RiskSettings,
    session: date,
    *,
    lot: Decimal = Decimal(1),
    open_orders: Sequence[Order] | None = None,
    strangers: Sequence[Fill] | None = None,
    sure_sales: bool = True,
    ledger: Ledger | None = None,
) -> RiskBook:
    """The account at the close of ``session``, with everything that may still fill.

    Parameters
    ----------
    open_orders
        What is open at the venue, whoever sent it; the journal's own record of it if left out. Orders in flight
        are counted from the journal either way, in full.
    strangers
        Executions that are not ours and not adopted, as the venue states them: they have happened, so they count.
        The journal's own record of them if left out.
    sure_sales
        Whether an accepted market sell pays for buys; not where only a part of it may fill.
    ledger
        One that has added up this account's entries before; a new one if left out.
    """
    ledger, orders, controls = ledger or Ledger(journal), OrderJournal(journal), Controls(journal)
    others = ledger.external_fills(account) if strangers is None else strangers
    books = with_fills(ledger.books(account), others)
    book = RiskBook(
        session=session,
        state=controls.trading_state(account),
        cash=books.cash,
        equity=books.cash,
        locks=controls.locks(account),
        sent=recent(orders, account, journal.clock.now(), limits),
        now=journal.clock.now(),
        lot=lot,
    )
    for symbol, quantity in books.holdings.items():
        quote(book, market, symbol)
        book.hold(symbol, quantity)
        book.equity += quantity * book.prices.get(symbol, Decimal(0))
    for strategy, sleeve in ledger.sleeves(account).items():
        for symbol, quantity in sleeve.items() if strategy != ACCOUNT else ():
            book.hold(symbol, quantity, strategy)
    in_flight = orders.intents(account=account, states=IN_FLIGHT)
    for record in in_flight:
        quote(book, market, record.intent.symbol)
        gates.count(book, record.intent, limits, accepted=False, open_quantity=record.open_quantity)
        book.unknown.add(record.intent.symbol)
    working = {r.intent.client_order_id: r for r in orders.intents(account=account, states=WORKING)}
    listed = {order.client_order_id for order in open_orders or ()}
    for identifier, record in working.items():
        if identifier not in listed:  # without a list: open; else: ended there, with executions not told yet
            quote(book, market, record.intent.symbol)
            accepted = sure_sales and open_orders is None
            gates.count(book, record.intent, limits, accepted=accepted, open_quantity=record.open_quantity)
    doubtful = {record.intent.client_order_id for record in in_flight}
    for order in open_orders or ():
        if order.client_order_id not in doubtful:
            quote(book, market, order.symbol)
            identifier = order.parent_id or order.client_order_id
            owner = working.get(identifier) or orders.intent(identifier)
            strategy = owner.intent.strategy if owner else ACCOUNT
            sure = sure_sales and order.venue_state not in _LEAVING
            gates.count(book, order, limits, accepted=sure, strategy=strategy)
            if owner and not order.is_exit:
                _count_untold(book, order, strategy, order.filled_quantity - owner.filled_quantity)
    return book


def _count_untold(book: RiskBook, order: Order, strategy: str, quantity: Decimal) -> None:
    """Count what has filled and was not told yet, so is not held yet; a replacement adds to it, it excludes nothing."""
    if quantity > 0:
        identifier = f"filled of {order.client_order_id}"
        sold = order.side is Side.SELL
        book.place(Working(identifier, order.symbol, order.side, order.type, quantity, strategy, sure=sold))


def with_fills(books: Books, fills: Iterable[Fill]) -> Books:
    """The books with some more executions in them."""
    cash, holdings = books.cash, dict(books.holdings)
    for fill in fills:
        cash += fill.cash_delta
        holdings[fill.symbol] = holdings.get(fill.symbol, Decimal(0)) + fill.side.sign * fill.quantity
    return Books(cash, {symbol: quantity for symbol, quantity in holdings.items() if quantity})


def quote(book: RiskBook, market: Market, symbol: str) -> None:
    """Read the market's own price and volume of a symbol into the book, once."""
    if symbol in book.prices:
        return
    last = market.last_close(symbol, book.session)
    if last is not None:
        book.quote(symbol, last[1], fresh=last[0] == book.session)
    volume = market.average_volume(symbol, book.session, VOLUME_SESSIONS)
    if volume is not None:
        book.volumes[symbol] = volume


def recent(orders: OrderJournal, account: str, now: datetime, limits: RiskSettings) -> list[Sent]:
    """What the account has sent within the time that any gate looks back."""
    span = max(MINUTE, timedelta(seconds=limits.duplicate_window_s))
    return [
        Sent(s.at, s.symbol, s.side, s.quantity, s.session, s.client_order_id, s.sequence)
        for s in orders.sent_since(account, now - span)
    ]
