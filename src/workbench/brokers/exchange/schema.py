"""The tables of an exchange file, one step per version; all steps that are missing run in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import date
from decimal import Decimal

from workbench.brokers.exchange.book import Lot
from workbench.brokers.exchange.ticket import stamp_text, venue_id_of
from workbench.calendars import Calendar
from workbench.domain import Side
from workbench.errors import BrokerError

VERSION = 2

_FIRST = """
CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY CHECK (id = 1), name TEXT NOT NULL, cash TEXT NOT NULL,
    session TEXT) STRICT;
CREATE TABLE IF NOT EXISTS holdings (symbol TEXT PRIMARY KEY, quantity TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY AUTOINCREMENT, client_order_id TEXT NOT NULL UNIQUE,
    symbol TEXT NOT NULL, side TEXT NOT NULL, quantity TEXT NOT NULL, type TEXT NOT NULL, limit_price TEXT,
    time_in_force TEXT NOT NULL, state TEXT NOT NULL, filled_quantity TEXT NOT NULL DEFAULT '0',
    average_price TEXT, submitted TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS fills (id INTEGER PRIMARY KEY AUTOINCREMENT, client_order_id TEXT NOT NULL,
    symbol TEXT NOT NULL, side TEXT NOT NULL, quantity TEXT NOT NULL, price TEXT NOT NULL, fee TEXT NOT NULL,
    session TEXT NOT NULL, at TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS activities (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, symbol TEXT NOT NULL,
    session TEXT NOT NULL, quantity_delta TEXT NOT NULL, cash_delta TEXT NOT NULL, at TEXT NOT NULL) STRICT;
"""

_SECOND = """
ALTER TABLE account ADD COLUMN phase TEXT NOT NULL DEFAULT 'closed';
ALTER TABLE account ADD COLUMN created_at TEXT;
ALTER TABLE holdings ADD COLUMN cost TEXT NOT NULL DEFAULT '0';
ALTER TABLE orders ADD COLUMN venue_id TEXT;
ALTER TABLE orders ADD COLUMN created_at TEXT;
ALTER TABLE orders ADD COLUMN updated_at TEXT;
ALTER TABLE orders ADD COLUMN stop_price TEXT;
ALTER TABLE orders ADD COLUMN trail_price TEXT;
ALTER TABLE orders ADD COLUMN trail_percent TEXT;
ALTER TABLE orders ADD COLUMN notional TEXT;
ALTER TABLE orders ADD COLUMN bracket TEXT;
ALTER TABLE orders ADD COLUMN parent_id TEXT;
ALTER TABLE orders ADD COLUMN replaces TEXT;
ALTER TABLE orders ADD COLUMN replaced_by TEXT;
ALTER TABLE orders ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
ALTER TABLE orders ADD COLUMN triggered INTEGER NOT NULL DEFAULT 0;
ALTER TABLE orders ADD COLUMN best TEXT;
ALTER TABLE orders ADD COLUMN filled_value TEXT NOT NULL DEFAULT '0';
ALTER TABLE orders ADD COLUMN fees TEXT NOT NULL DEFAULT '0';
ALTER TABLE orders ADD COLUMN filled_at TEXT;
ALTER TABLE orders ADD COLUMN canceled_at TEXT;
ALTER TABLE orders ADD COLUMN expired_at TEXT;
ALTER TABLE orders ADD COLUMN replaced_at TEXT;
ALTER TABLE orders ADD COLUMN extra TEXT NOT NULL DEFAULT '{}';
ALTER TABLE fills ADD COLUMN busted INTEGER NOT NULL DEFAULT 0;
CREATE TABLE events (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, orders TEXT NOT NULL, fill TEXT,
    position_quantity TEXT, at TEXT NOT NULL) STRICT;
CREATE INDEX orders_by_time ON orders (created_at);
CREATE INDEX orders_open ON orders (id) WHERE state IN ('accepted', 'partially_filled');
CREATE INDEX orders_by_parent ON orders (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX fills_by_order ON fills (client_order_id);
CREATE INDEX fills_by_session ON fills (session);
"""


def migrate(db: sqlite3.Connection, calendar: Calendar) -> None:
    """Bring the tables to the present version, inside the caller's transaction.

    Raises
    ------
    BrokerError
        If a newer release made the file.
    """
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise BrokerError(f"it was made by a newer release (schema {version}, this one knows {VERSION})")
    steps: list[tuple[str, Callable[[sqlite3.Connection, Calendar], None] | None]] = [
        (_FIRST, None),
        (_SECOND, _complete_old_rows),
    ]
    for statements, complete in steps[version:]:
        for statement in statements.split(";\n"):
            db.execute(statement)
        if complete is not None:
            complete(db, calendar)
    if version < VERSION:
        db.execute(f"PRAGMA user_version = {VERSION}")


def _complete_old_rows(db: sqlite3.Connection, calendar: Calendar) -> None:
    """Fill the second version's columns for an account of the first, in which an order filled at once or never."""
    row = db.execute("SELECT name FROM account").fetchone()
    if row is None:
        return
    db.execute("UPDATE account SET created_at = (SELECT at FROM activities ORDER BY id LIMIT 1)")
    last = None
    for order in db.execute("SELECT * FROM orders ORDER BY id").fetchall():
        stamp = calendar.close(date.fromisoformat(order["submitted"]))
        last = stamp if last is None or stamp > last else last + stamp.resolution
        db.execute(
            "UPDATE orders SET venue_id=?, created_at=?, updated_at=? WHERE id=?",
            (venue_id_of(row["name"], order["id"]), stamp_text(last), stamp_text(last), order["id"]),
        )
    for fill in db.execute("SELECT * FROM fills").fetchall():
        db.execute(
            "UPDATE orders SET filled_value=?, fees=?, filled_at=? WHERE client_order_id=?",
            (
                str(Decimal(fill["quantity"]) * Decimal(fill["price"])), fill["fee"], fill["at"],
                fill["client_order_id"],
            ),
        )  # fmt: skip
    for symbol, lot in _lots(db).items():
        db.execute("UPDATE holdings SET cost=? WHERE symbol=?", (str(lot.cost), symbol))


def _lots(db: sqlite3.Connection) -> dict[str, Lot]:
    """What each holding cost: all trades and splits again; a session's splits came before its trades."""
    rows = db.execute(
        "SELECT session, 0 AS trade, id, symbol, 'buy' AS side, quantity_delta AS quantity, '0' AS price"
        " FROM activities WHERE kind = 'split' UNION ALL"
        " SELECT session, 1, id, symbol, side, quantity, price FROM fills ORDER BY session, trade, id"
    ).fetchall()
    lots: dict[str, Lot] = {}
    for row in rows:
        lot, quantity = lots.get(row["symbol"], Lot()), Side(row["side"]).sign * Decimal(row["quantity"])
        lots[row["symbol"]] = lot.traded(quantity, Decimal(row["price"])) if row["trade"] else lot.split_by(quantity)
    return lots
