"""Orders that were sent, with everything the journal knows of their way: answers, executions, corrections."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from workbench.domain import OrderState
from workbench.journal import Journal
from workbench.reports import corrected

# The plus keeps SQLite from looking through every order that was ever sent, for each one.
_WAS_SENT = (
    "EXISTS (SELECT 1 FROM order_events WHERE client_order_id = i.client_order_id"
    f" AND +to_state = '{OrderState.SUBMITTING.value}')"
)


@dataclass(frozen=True, slots=True)
class Part:
    """One execution: shares as first told and as they count now, their value at the price paid and the fee, USD."""

    session: date
    at: datetime
    broker: str
    told: Decimal
    quantity: Decimal
    value: Decimal
    fee: Decimal


@dataclass(slots=True)
class Sent:
    """An order that was sent, as the journal has it."""

    row: sqlite3.Row
    broker: str | None
    replaced: bool
    events: list[tuple[OrderState, datetime]] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    close_session: date | None = None  # the first one valued after the order had ended

    @property
    def symbol(self) -> str:
        return str(self.row["symbol"])

    @property
    def decided(self) -> date:
        return date.fromisoformat(self.row["session"])

    @property
    def state(self) -> OrderState:
        return OrderState(self.row["state"])

    @property
    def fills(self) -> list[Part]:
        """Executions that count."""
        return [part for part in self.parts if part.quantity]

    @property
    def fill_session(self) -> date | None:
        return max((part.session for part in self.fills), default=None)


def sent_orders(journal: Journal, where: str, values: Sequence[object]) -> list[Sent]:
    """Orders that were sent, in the order of proposal, by a condition on ``i`` (intents) and ``b`` (batches)."""
    where = f"{_WAS_SENT} AND ({where})"
    rows = journal.read(
        "SELECT i.*, b.run_id, b.pipeline, b.session FROM intents i JOIN batches b USING (batch_id)"
        f" WHERE {where} ORDER BY b.session, i.rowid",
        values,
    )
    if not rows:
        return []
    venues, replaced = _venues(journal), _replaced(journal)
    orders = {
        row["client_order_id"]: Sent(row, venues.get(row["account"]), row["client_order_id"] in replaced)
        for row in rows
    }
    for event in journal.read(
        "SELECT e.client_order_id, e.at, e.to_state FROM order_events e JOIN intents i USING (client_order_id)"
        f" JOIN batches b USING (batch_id) WHERE {where} ORDER BY e.id",
        values,
    ):
        told = (OrderState(event["to_state"]), datetime.fromisoformat(event["at"]))
        orders[event["client_order_id"]].events.append(told)
    _add_parts(journal, orders, where, values)
    _add_close_sessions(journal, list(orders.values()))
    return list(orders.values())


def _add_parts(journal: Journal, orders: Mapping[str, Sent], where: str, values: Sequence[object]) -> None:
    changed = corrected.corrections_of(journal)
    for fill in journal.read(
        "SELECT f.* FROM fills f JOIN intents i ON i.client_order_id = f.client_order_id AND i.account = f.account"
        f" JOIN batches b USING (batch_id) WHERE {where} ORDER BY f.id",
        values,
    ):
        counts = corrected.executed(fill, changed.get((fill["account"], fill["fill_id"]), []))
        orders[fill["client_order_id"]].parts.append(
            Part(
                date.fromisoformat(fill["session"]), datetime.fromisoformat(fill["at"]), fill["broker"],
                Decimal(fill["quantity"]), counts.quantity, counts.value, counts.fee,
            )
        )  # fmt: skip


def _add_close_sessions(journal: Journal, orders: Sequence[Sent]) -> None:
    """Find the first session that was valued after an order without any fill had ended."""
    ended = [order for order in orders if order.state.is_final and order.fill_session is None]
    accounts = sorted({order.row["account"] for order in ended})
    marks: dict[str, list[tuple[datetime, date]]] = {account: [] for account in accounts}
    for row in journal.read(
        f"SELECT account, session, at FROM marks WHERE account IN ({','.join('?' * len(accounts))}) ORDER BY id",
        accounts,
    ):
        marks[row["account"]].append((datetime.fromisoformat(row["at"]), date.fromisoformat(row["session"])))
    for order in ended:
        valued = marks[order.row["account"]]
        later = valued[bisect_left(valued, (order.events[-1][1], date.min)) :]
        order.close_session = next((session for _, session in later if session > order.decided), None)


def _venues(journal: Journal) -> dict[str, str]:
    """Account to its venue, where it has one."""
    found: dict[str, list[str]] = {}
    for row in journal.read("SELECT account, broker FROM cursors"):
        found.setdefault(row["account"], []).append(row["broker"])
    return {account: brokers[0] for account, brokers in found.items() if len(brokers) == 1}


def _replaced(journal: Journal) -> set[str]:
    """Orders whose place another one has taken: what did not fill of them went over to it."""
    never = (OrderState.INTENDED.value, OrderState.DENIED.value, OrderState.REJECTED.value)
    rows = journal.read("SELECT replaces FROM intents WHERE replaces IS NOT NULL AND state NOT IN (?,?,?)", never)
    return {row["replaces"] for row in rows}
