"""``AlpacaBroker``: one account at Alpaca behind the ``Broker`` protocol."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from workbench.brokers.alpaca import wire
from workbench.brokers.alpaca.access import require_allowed
from workbench.brokers.alpaca.client import AlpacaClient
from workbench.brokers.alpaca.feed import ActivityFeed
from workbench.brokers.alpaca.orders import OrderBook, unreadable
from workbench.brokers.alpaca.stream import TradeUpdates
from workbench.brokers.base import BrokerAccount, Feed, Pace
from workbench.calendars import Calendar
from workbench.clock import Clock
from workbench.domain import Fill, Order, OrderIntent
from workbench.errors import BrokerUnavailable, ConfigError, OrderRejected, OrderUnknown, RateLimited
from workbench.settings import AlpacaSettings

Json = dict[str, Any]

# How often fills are asked for although the stream is up, in seconds: it may have lost one without a word.
SAFETY_POLL_S = 30.0
_OPENING_ATTEMPTS = 5
_CLOCK_ATTEMPTS = 3
_FAST_ANSWER_S = 1.0  # a round trip that leaves half a second of doubt, a quarter of what the skew gate allows


class AlpacaBroker:
    """One account at Alpaca; implements ``Broker``. Use it in one thread.

    Parameters
    ----------
    account
        Our name of the account; a live address is refused unless the settings arm this name.

    Raises
    ------
    ConfigError
        If the address or the keys cannot be used; nothing is sent.
    """

    name = "alpaca"

    def __init__(
        self, settings: AlpacaSettings, *, account: str, key: str, secret: str, calendar: Calendar, clock: Clock
    ) -> None:
        require_allowed(settings, account)
        self._calendar = calendar
        self._clock = clock
        self._poll_s = settings.poll_s
        self._client = AlpacaClient(settings, key=key, secret=secret, clock=clock)
        self._orders = OrderBook(self._client)
        self._activities = ActivityFeed(self._client, clock)
        timeout_s = settings.connect_timeout_s + settings.read_timeout_s
        self._updates = TradeUpdates(settings.base_url, key=key, secret=secret, timeout_s=timeout_s)
        self._streams = settings.stream
        self._asked_at: float | None = None  # when the feed was read last
        self._ask_again_at: float | None = None
        self._quiet_until = 0.0

    # ---- time ------------------------------------------------------------------------------------

    def advance(self, session: date) -> None:
        """Check that the account is at ``session``: the last one that closed or, while the market is open, today's.

        Raises
        ------
        ConfigError
            If it is past that session, or has not reached it.
        """
        closed, current = self._sessions()
        if session > current:
            raise ConfigError(f"the session of {session} has not come yet: Alpaca is at {current}")
        if session < closed:
            raise ConfigError(f"Alpaca is past the session of {session}: it is at {current}, and does not go back")

    def clock(self) -> datetime:
        """Alpaca's clock (UTC) at the moment of return: its time stamp, half the round trip, and what has passed since.

        Half a slow round trip says little, and seconds of doubt would deny orders for a skew that is not there. So a
        slow answer is asked for again, up to three times in all, and the fastest counts.

        Source: F. Cristian, "Probabilistic clock synchronization", Distributed Computing 3 (1989).
        """
        fastest: tuple[float, float, datetime] | None = None  # the round trip (s), when it ended, Alpaca's time then
        for _ in range(_CLOCK_ATTEMPTS):
            before = self._clock.monotonic()
            raw = self._client.get("/clock")
            after = self._clock.monotonic()
            with unreadable("a clock"):
                stamp = wire.moment(raw["timestamp"]) + timedelta(seconds=(after - before) / 2)
            if fastest is None or after - before < fastest[0]:
                fastest = (after - before, after, stamp)
            if fastest[0] <= _FAST_ANSWER_S:
                break
        assert fastest is not None
        return fastest[2] + timedelta(seconds=self._clock.monotonic() - fastest[1])

    # ---- orders ----------------------------------------------------------------------------------

    def submit(self, intent: OrderIntent) -> Order:
        """Send one order, once; one that ``replaces`` another as a replacement of it.

        Raises
        ------
        OrderRejected
            Alpaca refused it (400, 401, 403, 404, 422), a number is not finite, or there is nothing to replace.
        OrderUnknown
            No answer, one that cannot be read, or an id that Alpaca has already: look it up.
        BrokerUnavailable
            It was certainly not accepted: no connection, or (``RateLimited``) too many calls.
        """
        if intent.replaces is None:
            raw = self._client.change("POST", "/orders", wire.order_body(intent))
        else:
            old = self._orders.find(intent.replaces)
            if old is None:
                raise OrderRejected(f"Alpaca has no order {intent.replaces} to replace")
            raw = self._client.change("PATCH", f"/orders/{old.broker_order_id}", wire.replace_body(intent, old))
        if intent.notional_usd is not None:
            self._orders.note_size(intent.client_order_id, intent.quantity)
        with unreadable("an answer to an order", OrderUnknown):
            order = self._orders.placed(raw)
        if order.client_order_id != intent.client_order_id:
            raise OrderUnknown(f"Alpaca answered {intent.client_order_id} with order {order.client_order_id}")
        return order

    def order(self, client_order_id: str) -> Order | None:
        return self._orders.find(client_order_id)

    def open_orders(self) -> Sequence[Order]:
        return self._orders.open()

    def cancel(self, client_order_id: str) -> Order | None:
        """Ask to cancel an order; the order as it then stands, which can still be open. None if there is none."""
        order = self._orders.find(client_order_id)
        if order is None or order.state.is_final:
            return order
        self._client.delete(f"/orders/{order.broker_order_id}")
        return self._orders.find(client_order_id)

    # ---- what happened ---------------------------------------------------------------------------

    def opening(self) -> tuple[BrokerAccount, str]:
        """What the account holds and the cursor of that moment, read until nothing happened in between.

        Raises
        ------
        BrokerUnavailable
            If the account did not keep still; it may be tried again.
        """
        for _ in range(_OPENING_ATTEMPTS):
            before, account = self._activities.here(), self.account()
            if self.account() == account and self._activities.here() == before:
                return account, before
        raise BrokerUnavailable("the account at Alpaca changed each time it was read")

    def feed(self, cursor: str | None) -> Feed:
        announced = self._updates.heard.is_set()
        self._updates.heard.clear()
        self._asked_at = now = self._clock.monotonic()
        # The announcement can be ahead of the list, so it is asked for twice; and again if it does not come at all.
        self._ask_again_at = now + self._poll_s
        try:
            raws, after = self._activities.read(cursor, announced=announced)
            fills = self._fills([raw for raw in raws if raw.get("activity_type") == "FILL"])
        except RateLimited as limit:
            self._quiet_until = now + limit.retry_after_s
            raise
        with unreadable("an activity"):
            rest = [wire.activity(raw) for raw in raws if raw["activity_type"] != "FILL"]
        if not announced:
            self._ask_again_at = None
        return Feed(fills, rest, after)

    def drop_copy(self, since: date) -> Sequence[Fill]:
        day_before = datetime.combine(since, datetime.min.time(), wire.NEW_YORK) - timedelta(days=1)
        fills = self._fills(self._activities.fills(day_before))
        return [fill for fill in fills if fill.session >= since]

    def account(self) -> BrokerAccount:
        account, positions = self._client.get("/account"), self._client.get("/positions")
        with unreadable("an account"):
            holdings = dict(wire.holding(raw) for raw in positions)
            return BrokerAccount(wire.cash(account), holdings, self._sessions()[1])

    def changed(self) -> bool:
        """Whether to read the feed: the stream announced something, or it is time to ask anyway."""
        if self._streams:
            self._updates.start()
        now = self._clock.monotonic()
        if now < self._quiet_until:
            return False
        if self._asked_at is None or self._updates.heard.is_set():
            return True
        if self._ask_again_at is not None and now >= self._ask_again_at:
            return True
        return now - self._asked_at >= (SAFETY_POLL_S if self._updates.up else self._poll_s)

    # ---- the connection --------------------------------------------------------------------------

    def pace(self) -> Pace | None:
        return self._client.pace()

    def close(self) -> None:
        self._updates.close()
        self._client.close()

    def _fills(self, raws: list[Json]) -> list[Fill]:
        with unreadable("an execution"):
            self._orders.learn([raw["order_id"] for raw in raws])
            return [wire.fill(raw, self._orders.name_of(raw["order_id"])) for raw in raws]

    def _sessions(self) -> tuple[date, date]:
        """The last session that closed, and today's while the market is open or else the same."""
        raw = self._client.get("/clock")
        with unreadable("a clock"):
            if raw["is_open"]:
                today = wire.moment(raw["next_close"]).astimezone(wire.NEW_YORK).date()
                return self._calendar.previous(today), today
            upcoming = wire.moment(raw["next_open"]).astimezone(wire.NEW_YORK).date()
            return self._calendar.previous(upcoming), self._calendar.previous(upcoming)
