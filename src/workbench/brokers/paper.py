"""The paper exchange: a counterparty with a database of its own that trades on the lake's raw bars.

Everything a session does to the account (corporate actions, fills, expiries) is one transaction together
with the session it has reached, so a kill in the middle leaves the exchange before that session.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import ROUND_DOWN, Decimal
from pathlib import Path

from workbench.brokers.base import BrokerAccount
from workbench.brokers.market import CorporateAction, Market
from workbench.brokers.matching import Costs, fill_price
from workbench.calendars import Calendar
from workbench.domain import (
    Activity,
    ActivityKind,
    Fill,
    Order,
    OrderIntent,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
    is_positive,
)
from workbench.errors import BrokerError, BrokerUnavailable, ConfigError, OrderRejected, OrderUnknown
from workbench.sqlite import connect

_SCHEMA = """
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
_OPEN = (OrderState.ACCEPTED.value, OrderState.PARTIALLY_FILLED.value)
# Regulation T initial margin: what a new position may come to in all, in multiples of equity.
_MARGIN = Decimal(2)


class PaperExchange:
    """One paper account; implements ``Broker``.

    Parameters
    ----------
    file
        The exchange's database; made with a deposit of ``starting_cash`` (USD) if it is not there.
    market
        Raw bars and corporate actions.
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
    ) -> None:
        self._market = market
        self._calendar = calendar
        self._costs = costs
        self._file = file
        with self._errors():
            self._db = connect(file)
        self._create(account, starting_cash, opened)

    # ---- time ------------------------------------------------------------------------------------

    def advance(self, session: date) -> None:
        """Trade every session up to and including ``session``; nothing if it is there already.

        Raises
        ------
        ConfigError
            If the exchange is past that session: it does not go back.
        """
        current = self._session()
        if session < current:
            raise ConfigError(
                f"the paper account is at the close of {current}; it cannot go back to {session}",
                hint="use --account NAME for a fresh one",
            )
        if session > current:
            for day in self._calendar.sessions(self._calendar.next(current), session):
                self._trade(day)

    # ---- orders ----------------------------------------------------------------------------------

    def submit(self, intent: OrderIntent) -> Order:
        """Accept an order for the next session, or refuse it.

        Raises
        ------
        OrderUnknown
            An order with that id is here already: look it up and compare.
        OrderRejected
            Unknown symbol, bad quantity or price, more sold than held, beyond the margin.
        """
        try:
            self._accept(intent)
        except BrokerUnavailable as failure:  # it may have been on disk already when it failed
            raise OrderUnknown(failure.message) from failure
        order = self.order(intent.client_order_id)
        assert order is not None
        return order

    def _accept(self, intent: OrderIntent) -> None:
        with self._transaction() as db:
            if db.execute("SELECT 1 FROM orders WHERE client_order_id=?", (intent.client_order_id,)).fetchone():
                raise OrderUnknown(f"an order {intent.client_order_id} exists already")
            self._check(db, intent)
            db.execute(
                "INSERT INTO orders (client_order_id, symbol, side, quantity, type, limit_price, time_in_force,"
                " state, submitted) VALUES (?,?,?,?,?,?,?,?,?)",
                (
                    intent.client_order_id, intent.symbol, intent.side.value, str(intent.quantity),
                    intent.type.value, None if intent.limit_price is None else str(intent.limit_price),
                    intent.time_in_force.value, OrderState.ACCEPTED.value, self._session().isoformat(),
                ),
            )  # fmt: skip

    def order(self, client_order_id: str) -> Order | None:
        row = self._one("SELECT * FROM orders WHERE client_order_id=?", (client_order_id,))
        return _order(row) if row else None

    def open_orders(self) -> Sequence[Order]:
        return [_order(row) for row in self._all("SELECT * FROM orders WHERE state IN (?,?) ORDER BY id", _OPEN)]

    def cancel(self, client_order_id: str) -> Order | None:
        with self._transaction() as db:
            db.execute(
                "UPDATE orders SET state=? WHERE client_order_id=? AND state IN (?,?)",
                (OrderState.CANCELED.value, client_order_id, *_OPEN),
            )
        return self.order(client_order_id)

    # ---- what happened ---------------------------------------------------------------------------

    def fills(self, after: str | None = None) -> Sequence[Fill]:
        rows = self._all("SELECT * FROM fills WHERE id > ? ORDER BY id", (_number(after),))
        return [
            Fill(
                _fill_id(row["id"]), row["client_order_id"], row["symbol"], Side(row["side"]),
                Decimal(row["quantity"]), Decimal(row["price"]), Decimal(row["fee"]),
                date.fromisoformat(row["session"]), datetime.fromisoformat(row["at"]),
            )
            for row in rows
        ]  # fmt: skip

    def activities(self, after: str | None = None) -> Sequence[Activity]:
        rows = self._all("SELECT * FROM activities WHERE id > ? ORDER BY id", (_number(after),))
        return [
            Activity(
                f"a{row['id']}", ActivityKind(row["kind"]), row["symbol"], date.fromisoformat(row["session"]),
                Decimal(row["quantity_delta"]), Decimal(row["cash_delta"]), datetime.fromisoformat(row["at"]),
            )
            for row in rows
        ]  # fmt: skip

    def account(self) -> BrokerAccount:
        row = self._one("SELECT * FROM account", ())
        assert row is not None
        held = {r["symbol"]: Decimal(r["quantity"]) for r in self._all("SELECT * FROM holdings ORDER BY symbol", ())}
        return BrokerAccount(Decimal(row["cash"]), held, date.fromisoformat(row["session"]))

    def close(self) -> None:
        self._db.close()

    # ---- one session -----------------------------------------------------------------------------

    def _trade(self, session: date) -> None:
        with self._transaction() as db:
            for action in self._market.actions(self._session(), session):
                self._apply(db, action, session)
            rows = db.execute("SELECT * FROM orders WHERE state IN (?,?) ORDER BY side DESC, id", _OPEN).fetchall()
            for row in rows:  # sells before buys
                self._match(db, _order(row), session)
            db.execute("UPDATE account SET session=?", (session.isoformat(),))

    def _match(self, db: sqlite3.Connection, order: Order, session: date) -> None:
        bar = self._market.bar(order.symbol, session)
        price = None
        if bar is not None:
            price = fill_price(order.side, order.type, order.limit_price, order.time_in_force, bar, self._costs)
        if price is None:
            db.execute(
                "UPDATE orders SET state=? WHERE client_order_id=?",
                (OrderState.EXPIRED.value, order.client_order_id),
            )
            return
        fee = self._costs.fee(order.quantity)
        db.execute(
            "INSERT INTO fills (client_order_id, symbol, side, quantity, price, fee, session, at)"
            " VALUES (?,?,?,?,?,?,?,?)",
            (
                order.client_order_id, order.symbol, order.side.value, str(order.quantity), str(price), str(fee),
                session.isoformat(), self._calendar.open(session).isoformat(),
            ),
        )  # fmt: skip
        db.execute(
            "UPDATE orders SET state=?, filled_quantity=?, average_price=? WHERE client_order_id=?",
            (OrderState.FILLED.value, str(order.quantity), str(price), order.client_order_id),
        )
        signed = order.quantity * order.side.sign
        _add_cash(db, -signed * price - fee)
        _add_shares(db, order.symbol, signed)

    def _apply(self, db: sqlite3.Connection, action: CorporateAction, session: date) -> None:
        row = db.execute("SELECT quantity FROM holdings WHERE symbol=?", (action.symbol,)).fetchone()
        held = Decimal(row["quantity"]) if row else Decimal(0)
        if action.kind == "split":
            self._split(db, action, held, session)
        elif held:
            self._activity(db, ActivityKind.DIVIDEND, action.symbol, session, Decimal(0), held * action.value)

    def _split(self, db: sqlite3.Connection, action: CorporateAction, held: Decimal, session: date) -> None:
        """Multiply shares held and orders waiting; pay the fractional share out at the open."""
        for row in db.execute(
            "SELECT * FROM orders WHERE symbol=? AND state IN (?,?)", (action.symbol, *_OPEN)
        ).fetchall():
            quantity = (Decimal(row["quantity"]) * action.value).to_integral_value(ROUND_DOWN)
            limit = None if row["limit_price"] is None else str(Decimal(row["limit_price"]) / action.value)
            state = OrderState.EXPIRED.value if quantity == 0 else row["state"]
            db.execute(
                "UPDATE orders SET quantity=?, limit_price=?, state=? WHERE id=?",
                (str(quantity or row["quantity"]), limit, state, row["id"]),
            )
        if not held:
            return
        exact_quantity = held * action.value
        whole = exact_quantity.to_integral_value(ROUND_DOWN)
        self._activity(db, ActivityKind.SPLIT, action.symbol, session, whole - held, Decimal(0))
        if exact_quantity != whole:
            paid = (exact_quantity - whole) * self._opening_price(action.symbol, session)
            self._activity(db, ActivityKind.CASH_IN_LIEU, action.symbol, session, Decimal(0), paid)

    def _opening_price(self, symbol: str, session: date) -> Decimal:
        """The open, or the last close if the symbol does not trade, on today's shares."""
        bar = self._market.bar(symbol, session)
        last = self._market.last_close(symbol, session)
        assert last is not None  # it is held, so it once had a price
        return bar.open if bar is not None else last[1]

    def _activity(
        self,
        db: sqlite3.Connection,
        kind: ActivityKind,
        symbol: str,
        session: date,
        shares: Decimal,
        cash: Decimal,
    ) -> None:
        db.execute(
            "INSERT INTO activities (kind, symbol, session, quantity_delta, cash_delta, at) VALUES (?,?,?,?,?,?)",
            (
                kind.value, symbol, session.isoformat(), str(shares), str(cash),
                self._calendar.open(session).isoformat(),
            ),
        )  # fmt: skip
        _add_cash(db, cash)
        _add_shares(db, symbol, shares)

    # ---- checks ----------------------------------------------------------------------------------

    def _check(self, db: sqlite3.Connection, intent: OrderIntent) -> None:
        if not is_positive(intent.quantity) or intent.quantity != intent.quantity.to_integral_value():
            raise OrderRejected(f"quantity must be a positive whole number, not {intent.quantity}")
        if intent.type is OrderType.LIMIT and not is_positive(intent.limit_price):
            raise OrderRejected(f"a limit order needs a positive limit price, not {intent.limit_price}")
        last = self._market.last_close(intent.symbol, self._session())
        if last is None:
            raise OrderRejected(f"{intent.symbol} is not listed here")
        if intent.side is Side.SELL:
            self._check_sale(db, intent)
        else:
            self._check_margin(db, intent, last[1])

    def _check_sale(self, db: sqlite3.Connection, intent: OrderIntent) -> None:
        row = db.execute("SELECT quantity FROM holdings WHERE symbol=?", (intent.symbol,)).fetchone()
        held = Decimal(row["quantity"]) if row else Decimal(0)
        waiting = sum(
            Decimal(r["quantity"])
            for r in db.execute(
                "SELECT quantity FROM orders WHERE symbol=? AND side='sell' AND state IN (?,?)",
                (intent.symbol, *_OPEN),
            )
        )
        if intent.quantity > held - waiting:
            raise OrderRejected(
                f"insufficient shares: {intent.quantity} {intent.symbol} to sell, {held - waiting} free"
            )

    def _check_margin(self, db: sqlite3.Connection, intent: OrderIntent, price: Decimal) -> None:
        session = self._session()
        committed = intent.quantity * price
        value = Decimal(0)
        for row in db.execute("SELECT symbol, quantity FROM holdings").fetchall():
            last = self._market.last_close(row["symbol"], session)
            value += Decimal(row["quantity"]) * (last[1] if last else Decimal(0))
        for row in db.execute("SELECT * FROM orders WHERE side='buy' AND state IN (?,?)", _OPEN).fetchall():
            last = self._market.last_close(row["symbol"], session)
            committed += Decimal(row["quantity"]) * (last[1] if last else Decimal(0))
        for row in db.execute("SELECT * FROM orders WHERE side='sell' AND state IN (?,?)", _OPEN).fetchall():
            last = self._market.last_close(row["symbol"], session)
            committed -= Decimal(row["quantity"]) * (last[1] if last else Decimal(0))
        cash = Decimal(db.execute("SELECT cash FROM account").fetchone()["cash"])
        if value + committed > _MARGIN * (cash + value):
            raise OrderRejected(f"insufficient buying power for {intent.quantity} {intent.symbol}")

    # ---- storage ---------------------------------------------------------------------------------

    def _create(self, account: str, starting_cash: Decimal, opened: date) -> None:
        with self._transaction() as db:
            for statement in _SCHEMA.split(";\n"):
                db.execute(statement)
            row = db.execute("SELECT name FROM account").fetchone()
            if row is None:
                db.execute("INSERT INTO account VALUES (1, ?, '0', ?)", (account, opened.isoformat()))
                self._activity(db, ActivityKind.DEPOSIT, "", opened, Decimal(0), starting_cash)
            elif row["name"] != account:
                raise BrokerError(f"{self._file} belongs to account {row['name']}, not {account}")

    def _session(self) -> date:
        row = self._one("SELECT session FROM account", ())
        assert row is not None
        return date.fromisoformat(row["session"])

    def _one(self, sql: str, values: Sequence[object]) -> sqlite3.Row | None:
        with self._errors():
            row: sqlite3.Row | None = self._db.execute(sql, values).fetchone()
            return row

    def _all(self, sql: str, values: Sequence[object]) -> list[sqlite3.Row]:
        with self._errors():
            return self._db.execute(sql, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise BrokerUnavailable(f"paper exchange {self._file}: {error}") from error


def _add_cash(db: sqlite3.Connection, amount: Decimal) -> None:
    cash = Decimal(db.execute("SELECT cash FROM account").fetchone()["cash"])
    db.execute("UPDATE account SET cash=?", (str(cash + amount),))


def _add_shares(db: sqlite3.Connection, symbol: str, quantity: Decimal) -> None:
    if not quantity:
        return
    row = db.execute("SELECT quantity FROM holdings WHERE symbol=?", (symbol,)).fetchone()
    total = quantity + (Decimal(row["quantity"]) if row else Decimal(0))
    if total:
        db.execute("INSERT OR REPLACE INTO holdings VALUES (?,?)", (symbol, str(total)))
    else:
        db.execute("DELETE FROM holdings WHERE symbol=?", (symbol,))


def _order(row: sqlite3.Row) -> Order:
    return Order(
        broker_order_id=f"o{row['id']}",
        client_order_id=row["client_order_id"],
        symbol=row["symbol"],
        side=Side(row["side"]),
        quantity=Decimal(row["quantity"]),
        type=OrderType(row["type"]),
        limit_price=None if row["limit_price"] is None else Decimal(row["limit_price"]),
        time_in_force=TimeInForce(row["time_in_force"]),
        state=OrderState(row["state"]),
        filled_quantity=Decimal(row["filled_quantity"]),
        average_price=None if row["average_price"] is None else Decimal(row["average_price"]),
    )


def _fill_id(number: int) -> str:
    return f"f{number}"


def _number(identifier: str | None) -> int:
    return 0 if identifier is None else int(identifier[1:])
