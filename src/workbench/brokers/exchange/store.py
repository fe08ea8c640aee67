"""The exchange's database: what is read from it and written to it, and what its failures become."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from workbench.brokers.exchange.records import VenueEvent
from workbench.brokers.exchange.ticket import COLUMNS, Ticket, stamp_text
from workbench.domain import Activity, ActivityKind, Fill, Side
from workbench.errors import BrokerUnavailable
from workbench.sqlite import connect

IS_OPEN = "state IN ('accepted', 'partially_filled')"
_INSERT = f"INSERT INTO orders ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
_UPDATE = f"UPDATE orders SET {', '.join(f'{name}=?' for name in COLUMNS)} WHERE id=?"


class Store:
    """One exchange file. Use it in the thread that made it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        with self.errors():
            self.db = connect(file)

    def close(self) -> None:
        self.db.close()

    @contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise BrokerUnavailable(f"paper exchange {self.file}: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self.errors():
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise

    def version(self) -> int:
        """A number that changes when another connection has written to the file."""
        with self.errors():
            return int(self.db.execute("PRAGMA data_version").fetchone()[0])

    # ---- orders ----------------------------------------------------------------------------------

    def add(self, ticket: Ticket) -> None:
        self.db.execute(_INSERT, ticket.values())

    def save(self, ticket: Ticket) -> None:
        self.db.execute(_UPDATE, [*ticket.values(), ticket.id])

    def tickets(self, where: str, values: Sequence[object], tail: str = "ORDER BY id") -> list[Ticket]:
        with self.errors():
            rows = self.db.execute(f"SELECT * FROM orders WHERE {where} {tail}", values).fetchall()
        return [Ticket.from_row(row) for row in rows]

    def has_order(self, client_order_id: str) -> bool:
        row = self.db.execute("SELECT 1 FROM orders WHERE client_order_id=?", (client_order_id,)).fetchone()
        return row is not None

    def highest(self, table: str, column: str = "id") -> int:
        """The last number given in a table whose rows are never deleted."""
        return int(self.db.execute(f"SELECT coalesce(max({column}), 0) FROM {table}").fetchone()[0])

    def last_stamp(self) -> datetime | None:
        text = self.db.execute("SELECT max(created_at) FROM orders").fetchone()[0]
        return None if text is None else datetime.fromisoformat(text)

    # ---- executions and activities ---------------------------------------------------------------

    def add_fill(self, number: int, fill: Fill) -> None:
        self.db.execute(
            "INSERT INTO fills (id, client_order_id, symbol, side, quantity, price, fee, session, at)"
            " VALUES (?,?,?,?,?,?,?,?,?)",
            (
                number, fill.client_order_id, fill.symbol, fill.side.value, str(fill.quantity), str(fill.price),
                str(fill.fee), fill.session.isoformat(), fill.at.isoformat(),
            ),
        )  # fmt: skip

    def fills(self, after: int = 0, since: date | None = None) -> list[tuple[int, Fill]]:
        if since is None:
            return self._fills("id > ?", [after])
        return self._fills("session >= ? AND id > ?", [since.isoformat(), after])

    def fills_of(self, client_order_id: str) -> list[tuple[int, Fill]]:
        return self._fills("client_order_id = ?", [client_order_id])

    def fill(self, number: int) -> Fill | None:
        found = self._fills("id = ?", [number])
        return found[0][1] if found else None

    def filled_in(self, session: date) -> dict[str, Decimal]:
        """Shares that filled in a session, by client order id."""
        filled: dict[str, Decimal] = {}
        for _, fill in self._fills("session = ?", [session.isoformat()]):
            filled[fill.client_order_id] = filled.get(fill.client_order_id, Decimal(0)) + fill.quantity
        return filled

    def _fills(self, where: str, values: Sequence[object]) -> list[tuple[int, Fill]]:
        with self.errors():
            rows = self.db.execute(f"SELECT * FROM fills WHERE {where} AND NOT busted ORDER BY id", values).fetchall()
        return [
            (
                row["id"],
                Fill(
                    fill_id(row["id"]), row["client_order_id"], row["symbol"], Side(row["side"]),
                    Decimal(row["quantity"]), Decimal(row["price"]), Decimal(row["fee"]),
                    date.fromisoformat(row["session"]), datetime.fromisoformat(row["at"]),
                ),
            )
            for row in rows
        ]  # fmt: skip

    def add_activity(self, number: int, activity: Activity) -> None:
        self.db.execute(
            "INSERT INTO activities (id, kind, symbol, session, quantity_delta, cash_delta, at) VALUES (?,?,?,?,?,?,?)",
            (
                number, activity.kind.value, activity.symbol, activity.session.isoformat(),
                str(activity.quantity_delta), str(activity.cash_delta), activity.at.isoformat(),
            ),
        )  # fmt: skip

    def activities(self, after: int = 0) -> list[tuple[int, Activity]]:
        with self.errors():
            rows = self.db.execute("SELECT * FROM activities WHERE id > ? ORDER BY id", (after,)).fetchall()
        return [
            (
                row["id"],
                Activity(
                    activity_id(row["id"]), ActivityKind(row["kind"]), row["symbol"],
                    date.fromisoformat(row["session"]), Decimal(row["quantity_delta"]), Decimal(row["cash_delta"]),
                    datetime.fromisoformat(row["at"]),
                ),
            )
            for row in rows
        ]  # fmt: skip

    # ---- events ----------------------------------------------------------------------------------

    def add_event(
        self,
        number: int,
        kind: str,
        tickets: Sequence[Ticket],
        fill: Fill | None,
        position: Decimal | None,
        at: datetime,
    ) -> None:
        """Store an event with its order as it is now; ``tickets`` is the order and its exits."""
        orders = json.dumps([ticket.values() for ticket in tickets])
        self.db.execute(
            "INSERT INTO events (number, kind, orders, fill, position_quantity, at) VALUES (?,?,?,?,?,?)",
            (
                number, kind, orders, None if fill is None else _dump(fill),
                None if position is None else str(position), stamp_text(at),
            ),
        )  # fmt: skip

    def events(self, after: int, limit: int) -> list[VenueEvent]:
        with self.errors():
            rows = self.db.execute(
                "SELECT * FROM events WHERE number > ? ORDER BY number LIMIT ?", (after, limit)
            ).fetchall()
        return [_event(row) for row in rows]


def fill_id(number: int) -> str:
    """The text under which a numbered execution is known."""
    return f"f{number}"


def activity_id(number: int) -> str:
    """The text under which a numbered activity is known."""
    return f"a{number}"


def _event(row: sqlite3.Row) -> VenueEvent:
    first, *legs = (Ticket.from_row(dict(zip(COLUMNS, v, strict=True))) for v in json.loads(row["orders"]))
    position = row["position_quantity"]
    return VenueEvent(
        row["number"],
        row["kind"],
        first.record(legs),
        None if row["fill"] is None else _load(row["fill"]),
        None if position is None else Decimal(position),
        datetime.fromisoformat(row["at"]),
    )


def _dump(fill: Fill) -> str:
    return json.dumps(
        [
            fill.fill_id, fill.client_order_id, fill.symbol, fill.side.value, str(fill.quantity), str(fill.price),
            str(fill.fee), fill.session.isoformat(), fill.at.isoformat(),
        ]
    )  # fmt: skip


def _load(text: str) -> Fill:
    identifier, order, symbol, side, quantity, price, fee, session, at = json.loads(text)
    return Fill(
        identifier, order, symbol, Side(side), Decimal(quantity), Decimal(price), Decimal(fee),
        date.fromisoformat(session), datetime.fromisoformat(at),
    )  # fmt: skip
