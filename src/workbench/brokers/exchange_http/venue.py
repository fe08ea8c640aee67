"""Everything the HTTP face shares: the engine, who may call, what is told wrongly, and who listens to the streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from hmac import compare_digest

from workbench.brokers.exchange import Exchange, OrderRecord, Phase, VenueEvent
from workbench.brokers.exchange_http import problems
from workbench.brokers.exchange_http.faults import Fault, FaultPlan, FaultPlayer, Kind
from workbench.brokers.exchange_http.history import equity_at
from workbench.brokers.exchange_http.ledger import Ledger
from workbench.brokers.exchange_http.limits import RateLimit
from workbench.brokers.exchange_http.shapes import ZERO, Funds, Quoted, asset_id
from workbench.brokers.exchange_http.updates import trade_messages
from workbench.brokers.exchange_http.wire import identifier
from workbench.brokers.market import Market
from workbench.calendars import Calendar
from workbench.clock import Clock
from workbench.domain import Side
from workbench.errors import ConfigError, OrderRejected, OrderUnknown

# Regulation T: what positions may come to, in multiples of equity; the engine's own margin check is the judge.
_MULTIPLIER = 2


@dataclass(frozen=True, slots=True)
class Credentials:
    """The two keys a client sends; shown by neither ``repr`` nor any message."""

    key: str
    secret: str = field(repr=False)


class Listeners:
    """Queues of the open streams: what is put to all of them is sent by each connection in its own time."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[object]] = set()
        # The connections that have signed in and asked for something.
        self.subscribed: set[object] = set()

    @contextmanager
    def listen(self) -> Iterator[asyncio.Queue[object]]:
        queue: asyncio.Queue[object] = asyncio.Queue()
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    def tell(self, message: object) -> None:
        for queue in self._queues:
            queue.put_nowait(message)


# Put to a listener, it ends the connection.
CUT = object()


class Venue:
    """One paper account behind Alpaca's interface. All of it belongs to the event loop that serves it.

    Parameters
    ----------
    exchange
        The engine, made in this thread.
    symbols
        What is listed; a symbol without a close yet is not.
    until
        The last session there is data of; the exchange does not go on after it.
    new_id
        Makes the id of an order whose client gave none.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        market: Market,
        symbols: Sequence[str],
        calendar: Calendar,
        clock: Clock,
        credentials: Credentials,
        new_id: Callable[[], str],
        per_minute: int = 200,
        fractional: bool = True,
        shorting: bool = False,
        until: date | None = None,
    ) -> None:
        self.exchange = exchange
        self.until = until
        self.market = market
        self.calendar = calendar
        self.clock = clock
        self.credentials = credentials
        self.new_id = new_id
        self.fractional = fractional
        self.shorting = shorting
        self.faults = FaultPlayer()
        self.limit = RateLimit(per_minute, self.now)
        self.released = asyncio.Event()
        self.stopping = False
        self.trade_listeners = Listeners()
        self.bar_listeners = Listeners()
        self.configuration: dict[str, object] = {
            "disable_overnight_trading": True,
            "fractional_trading": fractional,
            "max_margin_multiplier": str(_MULTIPLIER),
            "max_options_trading_level": 0,
            "no_shorting": not shorting,
            "ptp_no_exception_entry": False,
            "suspend_trade": False,
            "trade_confirm_email": "none",
        }
        self.account_id = str(identifier("account", exchange.account_name))
        self.ledger = Ledger(exchange, self.account_id, lambda fill, symbol: self.faults.for_telling(fill, symbol))
        self._symbols = {symbol: asset_id(symbol) for symbol in sorted(symbols)}
        self.ledger.catch_up()
        self._by_id = {found: symbol for symbol, found in self._symbols.items()}
        self._last_event = exchange.last_numbers[2]
        self._barred = self.last_session
        self._last_equity: tuple[date, Decimal] | None = None

    def admits(self, key: str, secret: str) -> bool:
        """Whether these are the two keys; the time it takes says nothing about them."""
        ours = self.credentials
        right = compare_digest(key.encode(), ours.key.encode())
        return compare_digest(secret.encode(), ours.secret.encode()) and right

    # ---- time ------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The venue's clock, skewed if the plan says so."""
        return self.clock.now() + timedelta(seconds=self.faults.skew_s)

    @property
    def last_session(self) -> date:
        """The last session that has closed; no data later than it is served."""
        session = self.exchange.session
        return self.calendar.previous(session) if self.exchange.phase is Phase.OPEN else session

    @property
    def today(self) -> date:
        """The session that is open, or the one that closed last."""
        return self.exchange.session

    def require_data(self, session: date) -> None:
        """Refuse to go where there are no prices.

        Raises
        ------
        ConfigError
            If the data ends before ``session``.
        """
        if self.until is not None and session > self.until:
            raise ConfigError(f"the data ends at {self.until}; {session} cannot be traded", hint="load more data")

    # ---- symbols and prices ----------------------------------------------------------------------

    def listed(self) -> list[str]:
        """Symbols that have traded by now, sorted."""
        return [symbol for symbol in self._symbols if self.market.last_close(symbol, self.last_session)]

    def symbol_of(self, written: str) -> str | None:
        """The listed symbol behind a symbol or asset id; None if there is none."""
        symbol = self._by_id.get(written.lower(), written)
        known = symbol in self._symbols and self.market.last_close(symbol, self.last_session) is not None
        return symbol if known else None

    def quoted(self, symbol: str) -> Quoted:
        """Its price now and at the close before. A position was bought at a price, so there is one."""
        price = self.exchange.price(symbol) or ZERO
        before = self.market.last_close(symbol, self.calendar.previous(self.today))
        return Quoted(price, before[1] if before else price)

    # ---- the account -----------------------------------------------------------------------------

    def funds(self) -> Funds:
        """Cash, values and buying power (USD) of this moment."""
        values = [h.quantity * self.quoted(h.symbol).price for h in self.exchange.holdings()]
        long_value = sum((v for v in values if v > 0), ZERO)
        short_value = sum((v for v in values if v < 0), ZERO)
        cash = self.exchange.cash
        free = _MULTIPLIER * (cash + long_value + short_value) - long_value + short_value - self._committed()
        before = self.calendar.previous(self.today)
        return Funds(cash, long_value, short_value, max(free, ZERO), self._equity_at(before), before)

    def waiting(self, symbol: str) -> tuple[Decimal, list[str]]:
        """Shares that open sells may still take, and their ids; of a bracket's two exits only one can."""
        alone, exits, ids = ZERO, dict[str, Decimal](), list[str]()
        for record in self.exchange.orders(open_only=True, symbols=[symbol], side=Side.SELL):
            ids.append(record.venue_id)
            parent = record.order.parent_id
            if record.order.venue_state == "held":
                continue
            if parent is None:
                alone += record.order.open_quantity
            else:
                exits[parent] = max(exits.get(parent, ZERO), record.order.open_quantity)
        return alone + sum(exits.values(), ZERO), ids

    def _committed(self) -> Decimal:
        """What open buys would cost, in USD, at their limit or else the price now."""
        cost = ZERO
        for record in self.exchange.orders(open_only=True, side=Side.BUY):
            if record.order.parent_id is None:
                price = record.order.limit_price or self.exchange.price(record.order.symbol) or ZERO
                cost += record.order.open_quantity * price
        return cost

    def _equity_at(self, session: date) -> Decimal:
        if self._last_equity is None or self._last_equity[0] != session:
            self._last_equity = (session, equity_at(self.exchange, self.market, session))
        return self._last_equity[1]

    # ---- changes ---------------------------------------------------------------------------------

    @contextmanager
    def changing(self) -> Iterator[Exchange]:
        """The engine for a call that changes it: refusals become Alpaca's, and the streams are told."""
        try:
            yield self.exchange
        except OrderUnknown as error:
            known = "exists already" in error.message
            problem = problems.malformed("client_order_id must be unique") if known else problems.internal()
            raise problem from error
        except OrderRejected as error:
            raise problems.unprocessable(error.message) from error
        finally:
            self.publish()

    def publish(self) -> None:
        """Tell the streams what happened since the last time, and play what the plan does to new trades."""
        events = self._events(self._last_event)
        told = trade_messages(events, self.ledger, self.exchange.phase)
        for event in events:
            self._play(event)
        revised = self._events(events[-1].number) if events else []
        if any(event.kind in {"trade_bust", "trade_correct"} for event in events + revised):
            self.ledger.revise()
            self._last_equity = None
        told += trade_messages(revised, self.ledger, self.exchange.phase)
        for message in told:
            self.trade_listeners.tell(message)
        for session in self._newly_closed():
            self.bar_listeners.tell(session)

    def replay_faults(self, plan: FaultPlan) -> None:
        """Take a new plan; requests that hang are let go."""
        self.faults = FaultPlayer(plan)
        self.release()

    def release(self) -> None:
        """Let go of every request that hangs."""
        self.released.set()
        self.released = asyncio.Event()

    def _events(self, after: int) -> list[VenueEvent]:
        found: list[VenueEvent] = []
        while True:
            batch = self.exchange.events(after=found[-1].number if found else after)
            if not batch:
                break
            found += batch
        if found:
            self._last_event = found[-1].number
        return found

    def _play(self, event: VenueEvent) -> None:
        """Overfills, busts and corrections of the plan, right after the trade they concern."""
        fill = event.fill
        if fill is None or event.kind not in {"fill", "partial_fill"}:
            return
        faults = self.faults.for_trade(fill.fill_id, fill.symbol)
        busts = [fault for fault in faults if fault.kind is Kind.BUST]
        for fault in [fault for fault in faults if fault.kind is not Kind.BUST] + busts[:1]:
            self._play_one(fault, event.record, fill.fill_id)

    def _play_one(self, fault: Fault, record: OrderRecord, fill_id: str) -> None:
        if fault.kind is Kind.BUST:
            self.exchange.bust(fill_id)
        elif fault.kind is Kind.CORRECT:
            self.exchange.correct(fill_id, price=fault.price, quantity=fault.quantity)
        else:
            self.exchange.overfill(record.order.client_order_id, fault.quantity or Decimal(1))

    def _newly_closed(self) -> list[date]:
        closed, before = self.last_session, self._barred
        self._barred = closed
        return self.calendar.sessions(self.calendar.next(before), closed) if closed > before else []
