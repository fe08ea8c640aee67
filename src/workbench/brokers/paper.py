"""The paper exchange embedded in the process that trades: a ``Broker`` with no wire in between."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from workbench.brokers.base import BrokerAccount, Feed, Pace
from workbench.brokers.exchange import Exchange
from workbench.brokers.market import Market
from workbench.brokers.matching import Costs
from workbench.calendars import Calendar
from workbench.clock import Clock, SystemClock
from workbench.domain import Fill, Order, OrderIntent
from workbench.errors import BrokerError, OrderRejected

_CURSOR = re.compile(r"f(\d+)\.a(\d+)")


class PaperExchange:
    """One paper account; implements ``Broker``. ``exchange`` is what it is a face of.

    Parameters
    ----------
    file
        The exchange's database; made with a deposit of ``starting_cash`` (USD) if it is not there.
    market
        Raw bars and corporate actions.
    max_volume_share
        The most of a session's volume that fills one order; no bound if left out.
    """

    name = "paper"

    def __init__(
        self,
        file: Path,
        *,
        account: str,
        market: Market,
        calendar: Calendar,
        costs: Costs,
        starting_cash: Decimal,
        opened: date,
        clock: Clock | None = None,
        max_volume_share: Decimal | None = None,
        fractional: bool = True,
        shorting: bool = False,
    ) -> None:
        self.exchange = Exchange(
            file,
            account=account,
            market=market,
            calendar=calendar,
            costs=costs,
            starting_cash=starting_cash,
            opened=opened,
            clock=clock or SystemClock(),
            max_volume_share=max_volume_share,
            fractional=fractional,
            shorting=shorting,
        )
        self._told: tuple[int, int, int] | None = None

    def advance(self, session: date) -> None:
        """Trade every session up to and including ``session``; nothing if it is there already.

        Raises
        ------
        ConfigError
            If the exchange is past that session: it does not go back.
        """
        self.exchange.advance(session)

    def submit(self, intent: OrderIntent) -> Order:
        """Hand in an order, or a replacement.

        Raises
        ------
        OrderUnknown
            An order with that id is here already, or the store failed when it may have been on disk: look it up.
        OrderRejected
            Unknown symbol, bad quantity or price, more sold than held, beyond the margin, nothing to replace.
        """
        if intent.replaces is None:
            return self.exchange.submit(intent).order
        old = self.order(intent.replaces)
        if old is not None and (old.symbol, old.side, old.type) != (intent.symbol, intent.side, intent.type):
            raise OrderRejected(
                f"order {intent.replaces} is a {old.type} order to {old.side} {old.symbol}; only its quantity, prices"
                " and time in force can be replaced"
            )
        return self.exchange.replace(
            intent.replaces,
            intent.client_order_id,
            quantity=None if old is not None and old.is_exit else intent.quantity,
            limit_price=intent.limit_price,
            stop_price=intent.stop_price,
            trail=intent.trail_price if intent.trail_price is not None else intent.trail_percent,
            time_in_force=intent.time_in_force,
        ).order

    def order(self, client_order_id: str) -> Order | None:
        """The order as it stands; ``replaced_by`` is a client order id, as everywhere outside a venue."""
        record = self.exchange.order(client_order_id)
        if record is None:
            return None
        order = record.order
        if order.replaced_by is not None:
            successor = self.exchange.order_by_venue_id(order.replaced_by)
            assert successor is not None
            order = replace(order, replaced_by=successor.order.client_order_id)
        return order

    def open_orders(self) -> Sequence[Order]:
        return [record.order for record in self.exchange.orders(open_only=True, newest_first=False)]

    def cancel(self, client_order_id: str) -> Order | None:
        """Cancel an order at once; the order as it then stands. None if there is none."""
        record = self.exchange.cancel(client_order_id)
        return record.order if record else None

    def opening(self) -> tuple[BrokerAccount, str] | None:
        """None: the feed tells the whole history."""
        return None

    def feed(self, cursor: str | None) -> Feed:
        """Executions and activities since ``cursor``, each once; a bust or a correction is not among them.

        Raises
        ------
        BrokerError
            If the cursor is not one of this venue.
        """
        fill, activity = _numbers(cursor)
        self._told = self.exchange.last_numbers
        fills, activities = self.exchange.fills(fill), self.exchange.activities(activity)
        last_fill = max((number for number, _ in fills), default=fill)
        last_activity = max((number for number, _ in activities), default=activity)
        return Feed([f for _, f in fills], [a for _, a in activities], f"f{last_fill}.a{last_activity}")

    def drop_copy(self, since: date) -> Sequence[Fill]:
        """Every execution of the sessions from ``since`` on: corrected, or gone if busted."""
        return [fill for _, fill in self.exchange.fills(since=since)]

    def account(self) -> BrokerAccount:
        held = {holding.symbol: holding.quantity for holding in self.exchange.holdings()}
        return BrokerAccount(self.exchange.cash, held, self.exchange.session)

    def clock(self) -> datetime | None:
        """None: it goes by the caller's clock."""
        return None

    def pace(self) -> Pace | None:
        """None: it has no rate limit."""
        return None

    def changed(self) -> bool:
        """Whether anything happened that the last :meth:`feed` did not see."""
        return self._told != self.exchange.last_numbers

    def close(self) -> None:
        self.exchange.close()


def _numbers(cursor: str | None) -> tuple[int, int]:
    """The last fill and the last activity that a cursor has seen."""
    if cursor is None:
        return 0, 0
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise BrokerError(f"{cursor!r} is not a cursor of the paper exchange")
    return int(match[1]), int(match[2])
