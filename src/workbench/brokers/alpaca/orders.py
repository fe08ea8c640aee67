"""Looking orders up at Alpaca, and listing all of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from workbench.brokers.alpaca import wire
from workbench.brokers.alpaca.client import AlpacaClient
from workbench.domain import Order
from workbench.errors import BrokerError, BrokerUnavailable

Json = dict[str, Any]

# The most orders that one call lists.
PAGE = 500
_SIMPLE = ("", "simple", "mleg", None)
# Alpaca stamps a bracket and its exits within the same request.
_GROUP_WINDOW = timedelta(seconds=1)
_STEP = timedelta(microseconds=1)


class OrderBook:
    """The orders of an account as Alpaca states them. Remembers what never changes: ids, and who is whose exit."""

    def __init__(self, client: AlpacaClient) -> None:
        self._client = client
        self._names: dict[str, str] = {}  # Alpaca's id to ours
        self._parents: dict[str, str | None] = {}  # Alpaca's id to our id of the entry it is an exit of
        self._asked: dict[str, Decimal] = {}  # our id of a notional order to the quantity it was sized on

    def find(self, client_order_id: str) -> Order | None:
        """The order under our id; None if Alpaca never got it."""
        raw = self._client.find("/orders:by_client_order_id", {"client_order_id": client_order_id})
        return None if raw is None else self.order(raw)

    def note_size(self, client_order_id: str, quantity: Decimal) -> None:
        """Remember the quantity a notional order was sized on: Alpaca states none until it filled."""
        self._asked[client_order_id] = quantity

    def placed(self, raw: Json) -> Order:
        """The order that the answer to a POST or PATCH states."""
        self._remember(raw)
        return self._order(raw)

    def order(self, raw: Json) -> Order:
        """The order that the answer to a question states.

        Raises
        ------
        BrokerUnavailable
            If the answer is not an order.
        """
        with unreadable("an order"):
            self._remember(raw)
            return self._order(raw)

    def open(self) -> list[Order]:
        """Every order that may still fill, whoever sent it, by time of submission.

        The plain list has the exits whose entry is done; only the list by brackets is sure to have those that wait for
        their entry, and says whose they are.
        """
        with unreadable("a list of orders"):
            plain = list(self._pages({"status": "open", "nested": "false"}))
            found = {raw["id"]: raw for raw in plain}
            if any(raw.get("order_class") not in _SIMPLE for raw in plain):
                for raw in self._pages({"status": "open", "nested": "true"}):
                    self._remember(raw)
                    found |= {leg["id"]: leg for leg in (raw, *_legs(raw))}
            for raw in found.values():
                self._remember(raw)
            orders = [self._order(raw) for raw in found.values()]
        return [order for order in orders if not order.state.is_final]

    def name_of(self, venue_id: str) -> str:
        """Our id of an order; Alpaca's own where it has no such order, as for a trade booked by hand."""
        if venue_id not in self._names:
            raw = self._by_venue_id(venue_id)
            if raw is None:
                return venue_id
            with unreadable("an order"):
                self._remember(raw)
        return self._names[venue_id]

    def learn(self, venue_ids: Iterable[str]) -> None:
        """Get the ids of several orders with one call where that is fewer: fills come in bursts."""
        if len(set(venue_ids) - self._names.keys()) > 2:
            with unreadable("a list of orders"):
                for raw in self._list({"status": "all", "limit": PAGE, "direction": "desc", "nested": "false"}):
                    self._remember(raw)

    # ---- reading ---------------------------------------------------------------------------------

    def _order(self, raw: Json) -> Order:
        name, successor = raw["client_order_id"], raw.get("replaced_by")
        return wire.order(
            raw,
            parent_id=self._parent(raw),
            replaced_by=self.name_of(successor) if successor else None,
            asked=self._asked.get(name),
        )

    def _remember(self, raw: Json) -> None:
        self._names[raw["id"]] = raw["client_order_id"]
        for leg in _legs(raw):
            self._parents[raw["id"]] = None
            self._names[leg["id"]] = leg["client_order_id"]
            self._parents[leg["id"]] = raw["client_order_id"]

    def _parent(self, raw: Json) -> str | None:
        """Our id of the entry that ``raw`` is an exit of; None if it is no exit."""
        venue_id = raw["id"]
        if raw.get("order_class") in _SIMPLE or raw.get("group_role") == "entry":
            return None
        if venue_id not in self._parents:
            self._learn_group(raw)
        if venue_id not in self._parents and raw.get("replaces"):
            before = self._by_venue_id(raw["replaces"])
            self._parents[venue_id] = None if before is None else self._parent(before)
        return self._parents.setdefault(venue_id, None)

    def _learn_group(self, raw: Json) -> None:
        """A single order does not name its entry: list those of that moment by brackets."""
        at = wire.moment(raw["submitted_at"])
        window = {"after": _stamp(at - _GROUP_WINDOW), "until": _stamp(at + _GROUP_WINDOW)}
        query = {"status": "all", "nested": "true", "symbols": raw["symbol"], "limit": PAGE, "direction": "asc"}
        for group in self._list(query | window):
            self._remember(group)

    def _by_venue_id(self, venue_id: str) -> Json | None:
        try:
            uuid.UUID(venue_id)
        except ValueError:  # a trade booked by hand has no order, and Alpaca refuses such an id as malformed
            return None
        return self._client.find(f"/orders/{venue_id}")

    def _pages(self, query: Json) -> Iterator[Json]:
        """Every order the query has, in pages by time of submission.

        Each page begins just before the last order of the one before, because orders can share a time stamp.
        """
        seen: set[str] = set()
        after: Json = {}
        while True:
            page = self._list({**query, **after, "limit": PAGE, "direction": "asc"})
            yield from _first_time(page, seen)
            if not _is_full(page):
                return
            last = wire.moment(page[-1]["submitted_at"])
            if wire.moment(page[0]["submitted_at"]) == last:  # one stamp fills the page: the next would be the same
                yield from _first_time(self._instant({**query, **_around(last)}), seen)
                after = {"after": last.strftime("%Y-%m-%dT%H:%M:%S.%f999Z")}  # stamps have nanoseconds, ours have not
            else:
                after = {"after": _stamp(last - _STEP)}

    def _instant(self, query: Json) -> list[Json]:
        """The orders of one time stamp that are more than a page: listed from both ends, then each side by itself.

        Alpaca's ``after_order_id`` is documented to go on from an order, but not what it does among equal stamps.
        """
        oldest = self._list({**query, "limit": PAGE, "direction": "asc"})
        newest = self._list({**query, "limit": PAGE, "direction": "desc"})[::-1]
        if not _is_full(oldest) or _continues(oldest, newest):
            return oldest + newest
        if "side" in query:
            raise BrokerUnavailable(
                f"Alpaca's list of orders cannot be read to its end: too many just after {query['after']}"
            )
        return [raw for side in ("buy", "sell") for raw in self._instant({**query, "side": side})]

    def _list(self, query: Json) -> list[Json]:
        page = self._client.get("/orders", query)
        if not isinstance(page, list):
            raise ValueError("not a list")
        return page


@contextmanager
def unreadable(what: str, error: type[BrokerError] = BrokerUnavailable) -> Iterator[None]:
    """Map an answer that lacks what it must have to ``error``."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as reason:
        raise error(f"Alpaca sent {what} that cannot be read: {reason!r}") from reason


def _first_time(page: Iterable[Json], seen: set[str]) -> Iterator[Json]:
    for raw in page:
        if raw["id"] not in seen:
            seen.add(raw["id"])
            yield raw


def _is_full(page: list[Json]) -> bool:
    """Whether there may be more; exits shown inside their entry may count against the limit."""
    return len(page) + sum(len(_legs(raw)) for raw in page) >= PAGE


def _continues(oldest: list[Json], newest: list[Json]) -> bool:
    """Whether the second list begins inside the first and both agree on what they share, so that nothing is between."""
    first, second = [raw["id"] for raw in oldest], [raw["id"] for raw in newest]
    if second[0] not in first:
        return False
    shared = first[first.index(second[0]) :]
    return shared == second[: len(shared)] and set(first).isdisjoint(second[len(shared) :])


def _around(at: datetime) -> Json:
    return {"after": _stamp(at - _STEP), "until": _stamp(at + _STEP)}


def _legs(raw: Json) -> list[Json]:
    return raw.get("legs") or []


def _stamp(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
