"""Account activities since a cursor: each once, late ones included.

Alpaca orders activities by a time in their id, not by when they appear: executions can arrive out of order, and a
fee or dividend carries the midnight of a day already read. "Everything after the last id" would lose both. So the
cursor is the id of an activity a while before the newest, with the (shortened) ids of what was read after it; and
activities that are no trades are asked for again by their creation over the last days.
Source: Alpaca's OpenAPI document, getAccountActivities (``page_token``, ``date`` and ``after``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from workbench.brokers.alpaca import wire
from workbench.brokers.alpaca.client import AlpacaClient
from workbench.brokers.alpaca.orders import unreadable
from workbench.clock import Clock
from workbench.errors import BrokerError, BrokerUnavailable

Json = dict[str, Any]

# The most activities that one call lists.
PAGE = 100
# How far back an execution may still appear before one that was read; the drop copy finds what is later still.
LATE_FILLS = timedelta(minutes=15)
LATE_ENTRIES = timedelta(days=7)
REREAD_FILLS_S = 30.0
REREAD_ENTRIES_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where reading goes on: after ``token``, without ``seen``; ``late`` are the entries known of the last days."""

    token: str | None = None
    seen: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    newest: str | None = None  # when the newest activity was created, UTC


class ActivityFeed:
    """The activities of an account, as Alpaca's JSON."""

    def __init__(self, client: AlpacaClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._cursor: str | None = None  # what the last call gave out
        self._last: str | None = None  # the id it ended at
        self._fills_due = self._entries_due = 0.0

    def read(self, cursor: str | None, *, announced: bool) -> tuple[list[Json], str]:
        """What is new since ``cursor``, oldest first, and the next cursor.

        Usually one call that goes on from the last id; now and then, and when something was ``announced`` that this
        call does not have, the last minutes are read again.
        """
        mark = _parse(cursor)
        with unreadable("a list of activities"):
            if cursor is None or cursor != self._cursor:  # another reader's, or what was read last got lost
                self._entries_due = self._clock.monotonic()
            elif self._clock.monotonic() < min(self._fills_due, self._entries_due):
                fresh = _unknown(self._pages({"direction": "asc"}, self._last), mark)
                if fresh:
                    return fresh, self._went_on(mark, fresh)
                if not announced:
                    return [], cursor
            return self._reread(mark)

    def here(self) -> str:
        """The cursor of this moment: nothing that is listed now will be read from it."""
        with unreadable("a list of activities"):
            recent: list[Json] = []
            token = None
            for raw in self._pages({"direction": "desc"}, None):
                recent.append(raw)
                if _is_settled(raw, recent[0]):
                    token = raw["id"]
                    break
            newest = _newest(None, recent)
            late = _digests(self._entries(newest))
            after_token = recent if token is None else recent[:-1]
            return _text(_Mark(token, tuple(sorted(_digests(after_token))), tuple(sorted(late)), newest))

    def fills(self, since: datetime) -> list[Json]:
        """Every execution after ``since``, as it is listed now.

        Who asks looks for what came late. An execution that did may have brought a fee as late, which the next read
        asks for.
        """
        self._entries_due = self._clock.monotonic()
        query = {"direction": "asc", "activity_types": "FILL", "after": _stamp(since)}
        with unreadable("a list of activities"):
            return [raw for raw in self._pages(query, None) if raw["activity_type"] == "FILL"]

    # ---- the cursor ------------------------------------------------------------------------------

    def _went_on(self, mark: _Mark, fresh: list[Json]) -> str:
        seen = (*mark.seen, *sorted(_digests(fresh)))
        late = (*mark.late, *sorted(_digests(_without_fills(fresh))))
        return self._give_out(_Mark(mark.token, seen, late, _newest(mark.newest, fresh)), fresh[-1]["id"])

    def _reread(self, mark: _Mark) -> tuple[list[Json], str]:
        """Everything after the token, and the entries of the last days; moves the token on."""
        found = list(self._pages({"direction": "asc"}, mark.token))
        fresh = _unknown(found, mark)
        newest = _newest(mark.newest, found)
        late = set(mark.late) | _digests(_without_fills(found))
        now = self._clock.monotonic()
        if now >= self._entries_due:
            entries = self._entries(newest)
            known = late | set(mark.seen)
            fresh = [raw for raw in entries if _digest(raw) not in known] + fresh
            late = _digests(entries) | _digests(_without_fills(found))
            self._entries_due = now + REREAD_ENTRIES_S
        self._fills_due = now + REREAD_FILLS_S
        settled = [number for number, raw in enumerate(found) if _is_settled(raw, found[-1])]
        rest, token = (found[settled[-1] + 1 :], found[settled[-1]]["id"]) if settled else (found, mark.token)
        last = found[-1]["id"] if found else mark.token
        return fresh, self._give_out(_Mark(token, tuple(sorted(_digests(rest))), tuple(sorted(late)), newest), last)

    def _give_out(self, mark: _Mark, last: str | None) -> str:
        self._cursor, self._last = _text(mark), last
        return self._cursor

    # ---- the calls -------------------------------------------------------------------------------

    def _entries(self, newest: str | None) -> list[Json]:
        """What was created in the days up to ``newest`` and is no trade."""
        if newest is None:
            return []
        since = datetime.fromisoformat(newest) - LATE_ENTRIES
        query = {"direction": "asc", "category": "non_trade_activity", "after": _stamp(since)}
        return _without_fills(self._pages(query, None))

    def _pages(self, query: Json, token: str | None) -> Iterator[Json]:
        """Every activity the query has after ``token``, each once."""
        seen: set[str] = set()
        while True:
            page = self._client.get("/account/activities", _query(query, token))
            fresh = [raw for raw in page if raw["id"] not in seen]
            for raw in fresh:
                if raw["id"] not in seen:
                    seen.add(raw["id"])
                    yield raw
            if len(page) < PAGE:
                return
            if not fresh:
                raise BrokerUnavailable(f"Alpaca lists no activities past {token}")
            token = page[-1]["id"]


def _query(query: Json, token: str | None) -> Json:
    return {**query, "page_size": PAGE} | ({} if token is None else {"page_token": token})


def _unknown(found: Iterable[Json], mark: _Mark) -> list[Json]:
    known = {*mark.seen, *mark.late}
    return [raw for raw in found if _digest(raw) not in known]


def _without_fills(found: Iterable[Json]) -> list[Json]:
    return [raw for raw in found if raw["activity_type"] != "FILL"]


def _is_settled(raw: Json, newest: Json) -> bool:
    """Whether nothing new is expected before ``raw`` any more, by the times in the ids."""
    at, end = _id_time(raw), _id_time(newest)
    return at is not None and end is not None and at < end - LATE_FILLS


def _id_time(raw: Json) -> datetime | None:
    """The time in an id, ``YYYYMMDDhhmmssmmm::...`` in New York; None where there is none."""
    try:
        return datetime.strptime(str(raw["id"]).split("::")[0], "%Y%m%d%H%M%S%f")
    except ValueError:
        return None


def _newest(before: str | None, found: Iterable[Json]) -> str | None:
    stamps = [wire.moment(raw.get("created_at") or raw.get("transaction_time") or raw["date"]) for raw in found]
    if before is not None:
        stamps.append(datetime.fromisoformat(before))
    return max(stamps).isoformat() if stamps else None


def _digest(raw: Json) -> str:
    return hashlib.blake2s(str(raw["id"]).encode(), digest_size=8).hexdigest()


def _digests(found: Iterable[Json]) -> set[str]:
    return {_digest(raw) for raw in found}


def _stamp(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _text(mark: _Mark) -> str:
    return json.dumps(asdict(mark), separators=(",", ":"))


def _parse(cursor: str | None) -> _Mark:
    if cursor is None:
        return _Mark()
    with unreadable("no cursor: the journal's", BrokerError):
        fields = json.loads(cursor)
        return _Mark(fields["token"], tuple(fields["seen"]), tuple(fields["late"]), fields["newest"])
