"""Splits and dividends: what they do to shares held, to cash and to orders waiting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import ROUND_DOWN, Decimal

from workbench.brokers.exchange.book import Book
from workbench.brokers.exchange.ticket import FRACTION, ZERO, Ticket, unit_of
from workbench.brokers.market import CorporateAction
from workbench.domain import ActivityKind


def apply(book: Book, action: CorporateAction, at: datetime, expire: Callable[[Ticket], None]) -> None:
    """Book one action before the opening auction; ``expire`` ends an order that a split leaves nothing of."""
    held = book.held(action.symbol)
    if action.kind == "split":
        for ticket in [t for t in book.tickets.values() if t.symbol == action.symbol]:
            _split_order(book, ticket, action.value, expire)
        if held:
            _split_holding(book, action, held, at)
    elif held:
        book.activity(ActivityKind.DIVIDEND, action.symbol, ZERO, held * action.value, at)


def _split_order(book: Book, ticket: Ticket, ratio: Decimal, expire: Callable[[Ticket], None]) -> None:
    """Multiply what is left of an order, rounded down, and divide its prices."""
    if ticket.notional is None:
        left = (ticket.open_quantity * ratio).quantize(unit_of(ticket.quantity), ROUND_DOWN)
        if not left:
            expire(ticket)
            return
        ticket.quantity = ticket.filled_quantity + left
    ticket.limit_price = _divided(ticket.limit_price, ratio)
    ticket.stop_price = _divided(ticket.stop_price, ratio)
    ticket.trail_price = _divided(ticket.trail_price, ratio)
    ticket.best = _divided(ticket.best, ratio)
    if ticket.bracket is not None:
        exits = ticket.bracket
        ticket.bracket = replace(
            exits,
            take_profit=_divide(exits.take_profit, ratio),
            stop_loss=_divide(exits.stop_loss, ratio),
            stop_loss_limit=_divided(exits.stop_loss_limit, ratio),
        )
    book.changed(ticket)


def _split_holding(book: Book, action: CorporateAction, held: Decimal, at: datetime) -> None:
    """Multiply shares held; whole shares stay whole, and what is over is paid out at the opening price."""
    exact = held * action.value
    kept = exact.quantize(unit_of(held), ROUND_DOWN)
    book.activity(ActivityKind.SPLIT, action.symbol, kept - held, ZERO, at)
    if exact != kept:
        price = book.quotes.price(action.symbol)
        assert price is not None  # it is held, so it once had a price
        book.activity(ActivityKind.CASH_IN_LIEU, action.symbol, ZERO, (exact - kept) * price, at)


def _divided(price: Decimal | None, ratio: Decimal) -> Decimal | None:
    return None if price is None else _divide(price, ratio)


def _divide(price: Decimal, ratio: Decimal) -> Decimal:
    """An adjusted price in USD, of nine decimals at most."""
    exact = price / ratio
    rounded = exact.quantize(FRACTION)
    return exact if exact == rounded else rounded
