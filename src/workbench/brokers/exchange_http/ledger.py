"""Account activities: every fill, its fee, and every dividend, split and deposit, in the order of their ids.

An id is ``yyyymmddHHMMSSmmm::uuid`` in New York's time, as Alpaca writes it. The first digits of our uuid count
fills and activities, so that ids sort as things happened even within one millisecond.

Alpaca's fills carry no fee. The exchange's commission appears as an activity FEE behind its fill, joined to it by
``group_id``, so that cash is always the sum of the activities, to the last digit.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_DOWN, Decimal
from operator import attrgetter

from workbench.brokers.exchange import Exchange
from workbench.brokers.exchange_http.faults import Fault, Kind
from workbench.brokers.exchange_http.wire import NEW_YORK, Json, identifier, midnight, stamp, text
from workbench.domain import Activity, ActivityKind, Fill

FILL = "FILL"
# Alpaca's own groups; everything that is neither cash, dividend nor fill is MISC.
_CASH = frozenset({"CSD", "CSW"})
# Source: ActivityType of the OpenAPI document. CIL (cash in lieu of a fractional share) is missing there and is
# in alpaca-py's enumeration and in the accounts' statements.
_TYPES = {
    ActivityKind.DIVIDEND: "DIV",
    ActivityKind.SPLIT: "SPLIT",
    ActivityKind.CASH_IN_LIEU: "CIL",
    ActivityKind.DEPOSIT: "CSD",
    ActivityKind.FEE: "FEE",
    ActivityKind.INTEREST: "INT",
    ActivityKind.OPENING: "JNLC",
    ActivityKind.OTHER: "JNLC",
}
KNOWN_TYPES = frozenset(
    [
        "FILL",
        "TRANS",
        "MISC",
        "ACATC",
        "ACATS",
        "CFEE",
        "CGD",
        "CIL",
        "CSD",
        "CSW",
        "DIV",
        "DIVCGL",
        "DIVCGS",
        "DIVFEE",
        "DIVFT",
        "DIVNRA",
        "DIVROC",
        "DIVTW",
        "DIVTXEX",
        "DIVWH",
        "EXTRD",
        "FEE",
        "FXTRD",
        "INT",
        "INTNRA",
        "INTPNL",
        "INTTW",
        "JNL",
        "JNLC",
        "JNLS",
        "MA",
        "MEM",
        "NC",
        "OPASN",
        "OPCA",
        "OPCSH",
        "OPEXC",
        "OPEXP",
        "OPTRD",
        "PTC",
        "PTR",
        "REO",
        "REORG",
        "SPIN",
        "SPLIT",
        "SWP",
        "VOF",
        "WH",
        "FOPT",
        "OCT",
    ]
)
_FEE_PLACE = 0xFFFF
_FRACTION = Decimal("0.000000001")


@dataclass(slots=True)
class Entry:
    """One activity as it is listed. ``withheld`` counts the requests that still go without it."""

    id: str
    type: str
    at: datetime
    order_id: str
    body: dict[str, Json]
    withheld: int = 0
    twice: bool = False
    swapped: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """One execution as it is told: a fill, or a part of it. ``total`` is what its order has then filled in all."""

    execution_id: str
    quantity: Decimal
    total: Decimal


@dataclass(frozen=True, slots=True)
class Telling:
    """How a fill is told: in pieces, late, twice, out of place."""

    pieces: tuple[Piece, ...]
    late: int = 0
    twice: bool = False
    swapped: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request for activities asks for; ``newest_first`` turns the order round."""

    types: frozenset[str] | None = None
    order_id: str | None = None
    after: datetime | None = None
    until: datetime | None = None
    on: date | None = None
    newest_first: bool = True
    token: str | None = None
    size: int = 100

    def takes(self, entry: Entry) -> bool:
        """Whether an entry is asked for, its place in the list apart."""
        return (
            (self.types is None or not self.types.isdisjoint(_names(entry.type)))
            and (self.order_id is None or entry.order_id == self.order_id)
            and (self.after is None or entry.at > self.after)
            and (self.until is None or entry.at < self.until)
            and (self.on is None or entry.at.astimezone(NEW_YORK).date() == self.on)
        )


class Ledger:
    """The activities of one exchange. ``told_wrongly`` draws the faults of a new fill from the plan."""

    def __init__(self, exchange: Exchange, account_id: str, told_wrongly: Callable[[str, str], list[Fault]]) -> None:
        self._exchange = exchange
        self._account_id = account_id
        self._told_wrongly = told_wrongly
        self._faults: dict[str, list[Fault]] = {}
        self._forget()

    def page(self, wanted: Wanted) -> list[Json]:
        """One page of activities; each call brings late fills one request nearer."""
        self._refresh()
        entries = self._entries
        if wanted.token is not None:
            ids = attrgetter("id")
            if wanted.newest_first:
                entries = entries[: bisect_left(entries, wanted.token, key=ids)]
            else:
                entries = entries[bisect_right(entries, wanted.token, key=ids) :]
        page: list[Entry] = []
        for entry in reversed(entries) if wanted.newest_first else entries:
            if len(page) == wanted.size:
                break
            if not wanted.takes(entry):
                continue
            if entry.withheld:
                entry.withheld -= 1
            else:
                page.append(entry)
        return [entry.body for entry in _misplaced(page)]

    def telling(self, fill: Fill) -> Telling:
        """How a fill is told, the same whenever it is asked for; the faults are drawn when it is new."""
        self._refresh()
        return self._telling(fill)

    def execution_id(self, fill: Fill) -> str:
        """The id of a fill's first execution, which stays when the trade is corrected or taken back."""
        return _execution_id(fill_number(fill.fill_id), 0, "fill")

    def catch_up(self) -> None:
        """Take in what has happened; what is known by now is told rightly whatever plan comes later."""
        self._refresh()

    def revise(self) -> None:
        """Read everything again: a trade was taken back or corrected."""
        late = {entry.id: entry.withheld for entry in self._entries}
        self._forget()
        self._refresh()
        for entry in self._entries:
            entry.withheld = late.get(entry.id, entry.withheld)

    def _forget(self) -> None:
        self._entries: list[Entry] = []
        self._last_fill = 0
        self._last_activity = 0
        self._totals: dict[str, Decimal] = {}
        self._running: dict[str, Decimal] = {}

    def _refresh(self) -> None:
        new: list[Entry] = []
        fills = self._exchange.fills(self._last_fill)
        for number, fill in fills:
            total = self._totals.get(fill.client_order_id, Decimal(0)) + fill.quantity
            self._totals[fill.client_order_id] = total
            self._running[fill.fill_id] = total
            self._last_fill = number
        for _, fill in fills:
            new += self._fill_entries(fill)
        for number, activity in self._exchange.activities(self._last_activity):
            new.append(self._activity_entry(number, activity))
            self._last_activity = number
        if new:
            self._entries = sorted(self._entries + new, key=attrgetter("id"))

    def _telling(self, fill: Fill) -> Telling:
        if fill.fill_id not in self._faults:
            self._faults[fill.fill_id] = self._told_wrongly(fill.fill_id, fill.symbol)
        faults = {fault.kind: fault for fault in self._faults[fill.fill_id]}
        number, total = fill_number(fill.fill_id), self._running.get(fill.fill_id, fill.quantity)
        parts = faults[Kind.PARTIAL_FILLS].pieces if Kind.PARTIAL_FILLS in faults else 1
        late = faults[Kind.LATE_FILLS].polls if Kind.LATE_FILLS in faults else 0
        return Telling(
            _pieces(fill, number, total, parts), late, Kind.DUPLICATE_FILLS in faults, Kind.REORDER_FILLS in faults
        )

    def _fill_entries(self, fill: Fill) -> list[Entry]:
        telling = self._telling(fill)
        number = fill_number(fill.fill_id)
        record = self._exchange.order(fill.client_order_id)
        order_id = record.venue_id if record else str(identifier("order", fill.client_order_id))
        wanted = record.order.quantity if record else fill.quantity
        found = []
        for piece in telling.pieces:
            leaves = max(wanted - piece.total, Decimal(0))
            body = {
                "activity_type": FILL,
                "id": _id(fill.at, piece.execution_id),
                "account_id": self._account_id,
                "cum_qty": text(piece.total),
                "leaves_qty": text(leaves),
                "order_id": order_id,
                "order_status": "partially_filled" if leaves else "filled",
                "price": text(fill.price),
                "qty": text(piece.quantity),
                "side": fill.side.value,
                "symbol": fill.symbol,
                "transaction_time": stamp(fill.at),
                "type": "partial_fill" if leaves else "fill",
            }
            found.append(Entry(str(body["id"]), FILL, fill.at, order_id, body))
        if fill.fee:
            found.append(self._fee_entry(fill, number, order_id, found[0].id))
        for entry in found:
            entry.withheld = telling.late
        for entry in found[:1]:
            entry.twice, entry.swapped = telling.twice, telling.swapped
        return found

    def _fee_entry(self, fill: Fill, number: int, order_id: str, group: str) -> Entry:
        body = {
            "activity_type": "FEE",
            "id": _id(fill.at, _execution_id(number, _FEE_PLACE, "fee")),
            "account_id": self._account_id,
            "date": fill.session.isoformat(),
            "created_at": stamp(fill.at),
            "net_amount": text(-fill.fee),
            "currency": "USD",
            "description": f"Commission of {fill.symbol}",
            "group_id": group,
            "status": "executed",
        }
        return Entry(str(body["id"]), "FEE", fill.at, order_id, body)

    def _activity_entry(self, number: int, activity: Activity) -> Entry:
        at = midnight(activity.session)
        body: dict[str, Json] = {
            "activity_type": _TYPES[activity.kind],
            "id": _id(at, _execution_id(number, 0, "activity")),
            "account_id": self._account_id,
            "date": activity.session.isoformat(),
            "created_at": stamp(activity.at),
            "net_amount": text(activity.cash_delta),
            "currency": "USD",
            "description": activity.kind.value.replace("_", " "),
            "status": "executed",
        }
        if activity.symbol:
            body["symbol"] = activity.symbol
        if activity.quantity_delta:
            body["qty"] = text(activity.quantity_delta)
        return Entry(str(body["id"]), str(body["activity_type"]), at, "", body)


def fill_number(fill_id: str) -> int:
    """The number of a fill by the engine's id.

    >>> fill_number("f12")
    12
    """
    return int(fill_id[1:])


def _names(kind: str) -> frozenset[str]:
    """A type and the group it belongs to."""
    if kind in _CASH:
        return frozenset({kind, "TRANS"})
    if kind == FILL or kind.startswith("DIV"):
        return frozenset({kind})
    return frozenset({kind, "MISC"})


def _pieces(fill: Fill, number: int, total: Decimal, parts: int) -> tuple[Piece, ...]:
    """A fill cut into nearly equal executions, whole shares where they suffice."""
    whole = fill.quantity == fill.quantity.to_integral_value() and fill.quantity >= parts
    each = (fill.quantity / parts).quantize(Decimal(1) if whole else _FRACTION, ROUND_DOWN)
    sizes = [each] * (parts - 1) if each else []
    sizes.append(fill.quantity - each * len(sizes))
    before, found = total - fill.quantity, []
    for place, size in enumerate(sizes):
        before += size
        found.append(Piece(_execution_id(number, place, "fill"), size, before))
    return tuple(found)


def _execution_id(number: int, place: int, what: str) -> str:
    """A uuid whose first digits are the number of the fill or activity, and the place within it."""
    tail = identifier(what, str(number), str(place)).hex[12:]
    digits = f"{number:08x}{place:04x}{tail}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _id(at: datetime, execution_id: str) -> str:
    return f"{at.astimezone(NEW_YORK):%Y%m%d%H%M%S}{at.microsecond // 1000:03d}::{execution_id}"


def _misplaced(page: Sequence[Entry]) -> list[Entry]:
    """The page with fills told twice or out of place, as the plan had it."""
    found: list[Entry] = []
    for entry in page:
        found += [entry, entry] if entry.twice else [entry]
    place = 0
    while place < len(found) - 1:
        if found[place].swapped:
            found[place], found[place + 1] = found[place + 1], found[place]
            place += 1  # it moves by one place, not to the end of the page
        place += 1
    return found
