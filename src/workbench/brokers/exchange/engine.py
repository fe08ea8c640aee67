"""The exchange of one account: a counterparty with a database of its own that trades on raw bars.

Every call that changes something is one transaction; :meth:`Exchange.advance` is one per session, together with
the session reached, so a kill in the middle leaves the exchange before that session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from workbench.brokers.exchange import schema
from workbench.brokers.exchange.book import Book
from workbench.brokers.exchange.desk import Desk
from workbench.brokers.exchange.floor import Floor, House
from workbench.brokers.exchange.mishaps import Mishaps
from workbench.brokers.exchange.quotes import Quotes
from workbench.brokers.exchange.records import Holding, OrderRecord, Phase, VenueEvent
from workbench.brokers.exchange.store import IS_OPEN, Store
from workbench.brokers.exchange.ticket import ZERO, number_of, stamp_text
from workbench.brokers.market import Market
from workbench.brokers.matching import Costs
from workbench.calendars import Calendar
from workbench.clock import Clock
from workbench.domain import Activity, ActivityKind, Fill, OrderIntent, Side, TimeInForce
from workbench.errors import BrokerError, BrokerUnavailable, ConfigError, OrderUnknown


class Exchange:
    """One account at the exchange. All calls come from the thread that made it.

    Parameters
    ----------
    file
        Its database; made with a deposit of ``starting_cash`` (USD) after the close of ``opened`` if it is not there.
    market
        Raw bars and corporate actions.
    max_volume_share
        The most of a session's volume that fills one order; no bound if left out.
    fractional
        Whether fractions of a share and amounts of money can be ordered.
    shorting
        Whether more can be sold than is held.

    Raises
    ------
    BrokerUnavailable
        The file cannot be read or written; any call can raise it.
    BrokerError
        The file belongs to another account, or to a newer release.
    """

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
        clock: Clock,
        max_volume_share: Decimal | None = None,
        fractional: bool = True,
        shorting: bool = False,
    ) -> None:
        self._house = House(calendar, clock, costs, max_volume_share, fractional, shorting)
        self._market = market
        self._store = Store(file)
        self._floor: Floor | None = None
        self._version = -1
        try:
            self._create(account, starting_cash, opened)
        except BaseException:
            self._store.close()
            raise

    def close(self) -> None:
        self._store.close()

    # ---- time ------------------------------------------------------------------------------------

    @property
    def session(self) -> date:
        """The session going on, or the last that closed."""
        return self._book.session

    @property
    def phase(self) -> Phase:
        return self._book.phase

    def advance(self, session: date) -> None:
        """Trade up to and including ``session``; nothing if it has closed already.

        Raises
        ------
        ConfigError
            If the exchange is past that session: it does not go back.
        """
        current = self.session
        if session < current:
            raise ConfigError(
                f"the paper account is at the close of {current}; it cannot go back to {session}",
                hint="use --account NAME for a fresh one",
            )
        if self.phase is Phase.OPEN:
            self.close_market()
        if session > current:
            calendar = self._house.calendar
            for day in calendar.sessions(calendar.next(current), session):
                with self._change() as floor:
                    floor.open_market(day)
                    floor.close_market()

    def open_market(self) -> date:
        """Open the next session: corporate actions and the opening auction. The session.

        Raises
        ------
        ConfigError
            If the market is open.
        """
        if self.phase is Phase.OPEN:
            raise ConfigError(f"the market is open for {self.session} already", hint="close it first")
        session = self._house.calendar.next(self.session)
        with self._change() as floor:
            floor.open_market(session)
        return session

    def close_market(self) -> None:
        """Close the session: its range, the closing auction, the end of the day's orders.

        Raises
        ------
        ConfigError
            If the market is closed.
        """
        if self.phase is Phase.CLOSED:
            raise ConfigError(f"the market has closed for {self.session} already", hint="open the next session first")
        with self._change() as floor:
            floor.close_market()

    # ---- orders ----------------------------------------------------------------------------------

    def submit(self, intent: OrderIntent, extra: Mapping[str, str] | None = None) -> OrderRecord:
        """Take an order, or refuse it; ``extra`` is kept with it as it is.

        Raises
        ------
        OrderUnknown
            An order with that id is here already, or the store failed when it may have been on disk: look it up.
        OrderRejected
            It makes no sense, sells more than is held, or is beyond the margin.
        """
        with self._in_doubt(), self._change() as floor:
            return floor.book.record(Desk(floor, self._store).submit(intent, extra or {}))

    def replace(
        self,
        client_order_id: str,
        new_client_order_id: str,
        *,
        quantity: Decimal | None = None,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
        trail: Decimal | None = None,
        time_in_force: TimeInForce | None = None,
    ) -> OrderRecord:
        """Put a new order in the place of an open one; what is left out stays as it was.

        ``quantity`` is the new order's own and counts nothing that the old one filled; without it, the new order
        is for what the old one had left.

        Raises
        ------
        OrderUnknown
            An order with the new id is here already, or the store failed when it may have been on disk.
        OrderRejected
            The old order is unknown or not open, or the new one is refused; the old one stands.
        """
        with self._in_doubt(), self._change() as floor:
            ticket = Desk(floor, self._store).replace(
                floor.book.ticket(client_order_id),
                new_client_order_id,
                quantity=quantity,
                limit_price=limit_price,
                stop_price=stop_price,
                trail=trail,
                time_in_force=time_in_force,
            )
            return floor.book.record(ticket)

    def cancel(self, client_order_id: str) -> OrderRecord | None:
        """Cancel an order at once; as it then stands, unchanged if it was final. None if there is none."""
        with self._change() as floor:
            ticket = floor.book.ticket(client_order_id)
            if ticket is None:
                return None
            Desk(floor, self._store).cancel(ticket)
            return floor.book.record(ticket)

    def order(self, client_order_id: str) -> OrderRecord | None:
        ticket = self._book.ticket(client_order_id)
        return None if ticket is None else self._book.record(ticket)

    def order_by_venue_id(self, venue_id: str) -> OrderRecord | None:
        found = self._store.tickets("id=? AND venue_id=?", (number_of(venue_id), venue_id))
        return self._book.record(found[0]) if found else None

    def orders(
        self,
        *,
        open_only: bool | None = None,
        symbols: Sequence[str] | None = None,
        side: Side | None = None,
        after: datetime | None = None,
        until: datetime | None = None,
        newest_first: bool = True,
        limit: int | None = None,
    ) -> list[OrderRecord]:
        """Orders, exits included, by the time they were taken.

        ``open_only`` True gives open ones, False final ones; ``after`` and ``until`` are both exclusive.
        """
        where, values = ["1=1"], list[object]()
        if open_only is not None:
            where.append(IS_OPEN if open_only else f"NOT {IS_OPEN}")
        if symbols is not None:
            where.append(f"symbol IN ({', '.join('?' * len(symbols))})")
            values += symbols
        if side is not None:
            where.append("side = ?")
            values.append(side.value)
        for sign, moment in ((">", after), ("<", until)):
            if moment is not None:
                where.append(f"created_at {sign} ?")
                values.append(stamp_text(moment))
        tail = f"ORDER BY created_at {'DESC' if newest_first else 'ASC'}"
        if limit is not None:
            tail += f" LIMIT {int(limit)}"
        book = self._book
        return [book.record(ticket) for ticket in self._store.tickets(" AND ".join(where), values, tail)]

    # ---- the account -----------------------------------------------------------------------------

    @property
    def account_name(self) -> str:
        return self._book.account

    @property
    def created_at(self) -> datetime:
        return self._book.created_at

    @property
    def cash(self) -> Decimal:
        """USD; negative if borrowed."""
        return self._book.cash

    def holdings(self) -> list[Holding]:
        """What is held, by symbol."""
        return [Holding(symbol, lot.quantity, lot.cost) for symbol, lot in sorted(self._book.lots.items())]

    def price(self, symbol: str) -> Decimal | None:
        """What a share costs now, in USD: the open while the market is open, else the last close; None if unknown."""
        return self._book.quotes.price(symbol)

    def equity(self) -> Decimal:
        """Cash plus the value of all holdings at current prices, in USD."""
        return self._book.cash + self._book.margin.value()

    def buying_power(self) -> Decimal:
        """What can still be bought for, in USD, all open orders counted at their worst."""
        return self._book.margin.power(self._book.cash)

    def free_shares(self, symbol: str) -> Decimal:
        """Shares held that no open order is about to sell."""
        return self._book.margin.free(symbol)

    # ---- what happened ---------------------------------------------------------------------------

    def fills(self, after: int = 0, *, since: date | None = None) -> list[tuple[int, Fill]]:
        """Executions with a number above ``after``, of the sessions from ``since`` on, as they stand now.

        One that was busted is not among them; one that was corrected has its new values.
        """
        return self._store.fills(after, since)

    def activities(self, after: int = 0) -> list[tuple[int, Activity]]:
        """Dividends, splits, cash in lieu and deposits with a number above ``after``."""
        return self._store.activities(after)

    def events(self, after: int = 0, limit: int = 1000) -> list[VenueEvent]:
        """What a stream tells, after event number ``after``."""
        return self._store.events(after, limit)

    @property
    def last_numbers(self) -> tuple[int, int, int]:
        """The numbers of the last fill, activity and event; they change when anything happens."""
        book = self._book
        return book.last_fill, book.last_activity, book.last_event

    # ---- what a venue can do to one --------------------------------------------------------------

    def bust(self, fill_id: str) -> None:
        """Take a trade back: its shares, its cash and its part of the order, whose state stays.

        Raises
        ------
        ConfigError
            If there is no such fill.
        """
        with self._change() as floor:
            Mishaps(floor, self._store).bust(fill_id)

    def correct(self, fill_id: str, *, price: Decimal | None = None, quantity: Decimal | None = None) -> None:
        """Change price (USD) or quantity of a trade; its fee stays.

        Raises
        ------
        ConfigError
            If there is no such fill.
        """
        with self._change() as floor:
            Mishaps(floor, self._store).correct(fill_id, price, quantity)

    def overfill(self, client_order_id: str, quantity: Decimal) -> None:
        """Execute what is left of an order and ``quantity`` shares more, at its last price or the current one.

        Raises
        ------
        ConfigError
            If there is no such order.
        """
        with self._change() as floor:
            Mishaps(floor, self._store).overfill(client_order_id, quantity)

    def manual_trade(self, symbol: str, side: Side, quantity: Decimal, price: Decimal) -> Fill:
        """Trade on the account as somebody else with access to it would: at once, at ``price`` (USD).

        Raises
        ------
        OrderRejected
            If it sells more than is held and the account may not short.
        """
        with self._change() as floor:
            return Mishaps(floor, self._store).manual_trade(symbol, side, quantity, price)

    # ---- private ---------------------------------------------------------------------------------

    @property
    def _book(self) -> Book:
        return self._current().book

    def _current(self) -> Floor:
        """The account in memory, read again if another connection has written to the file."""
        version = self._store.version()
        if self._floor is None or version != self._version:
            with self._store.errors():
                book = Book(self._store, Quotes(self._market), self._house.clock)
            self._floor, self._version = Floor(book, self._house), version
        return self._floor

    @contextmanager
    def _change(self) -> Iterator[Floor]:
        """One transaction; if it fails, memory is read again from what is on disk."""
        touched = False
        try:
            with self._store.transaction():
                floor = self._current()
                try:
                    yield floor
                finally:
                    touched = floor.book.dirty
                floor.book.flush()
        except BaseException:
            if touched:
                self._floor = None
            raise

    @contextmanager
    def _in_doubt(self) -> Iterator[None]:
        """A failure of the store while an order is taken: it may have been on disk already."""
        try:
            yield
        except BrokerUnavailable as failure:
            raise OrderUnknown(failure.message) from failure

    def _create(self, account: str, starting_cash: Decimal, opened: date) -> None:
        with self._store.transaction():
            try:
                schema.migrate(self._store.db, self._house.calendar)
            except BrokerError as error:
                raise BrokerError(f"{self._store.file}: {error.message}") from error
            row = self._store.db.execute("SELECT name FROM account").fetchone()
            if row is None:
                self._store.db.execute(
                    "INSERT INTO account (id, name, cash, session, created_at) VALUES (1, ?, '0', ?, ?)",
                    (account, opened.isoformat(), stamp_text(self._house.clock.now())),
                )
                book = self._current().book
                at = self._house.calendar.open(opened)
                book.activity(ActivityKind.DEPOSIT, "", ZERO, starting_cash, at)
                book.flush()
            elif row["name"] != account:
                raise BrokerError(f"{self._store.file} belongs to account {row['name']}, not {account}")
