"""Intents, decisions, fills and account marks: what was proposed, what was sent, what it did to the money."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from workbench.domain import (
    Activity,
    Decision,
    Fill,
    Order,
    OrderIntent,
    OrderState,
    OrderType,
    Side,
    Target,
    TimeInForce,
    TradingState,
)
from workbench.errors import JournalError
from workbench.journal.runs import Lease
from workbench.journal.states import check_move
from workbench.journal.store import Journal

# A halt without an account stops all of them.
EVERY_ACCOUNT = "*"


@dataclass(frozen=True, slots=True)
class Batch:
    """One rebalance as a notebook proposed it: durable as a whole before anything is sent."""

    batch_id: str
    run_id: str
    account: str
    pipeline: str
    session: date
    amendment: int
    strategy: str
    equity: Decimal
    cash: Decimal
    data_snapshot: int


@dataclass(frozen=True, slots=True)
class IntentRecord:
    """An intent with its life so far."""

    intent: OrderIntent
    account: str
    batch_id: str
    state: OrderState
    broker_order_id: str | None
    filled_quantity: Decimal

    @property
    def open_quantity(self) -> Decimal:
        """Shares that may still fill; zero unless the order may be at the venue."""
        return max(self.intent.quantity - self.filled_quantity, Decimal(0)) if self.state.may_fill else Decimal(0)


@dataclass(frozen=True, slots=True)
class Books:
    """What the journal says an account holds: the sum of all fills and activities."""

    cash: Decimal
    holdings: dict[str, Decimal]


class OrderJournal:
    """The order side of the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    # ---- proposals -------------------------------------------------------------------------------

    def propose(self, batch: Batch, targets: Sequence[Target], intents: Sequence[OrderIntent]) -> bool:
        """Write one batch in one durable transaction.

        Returns
        -------
        False if this session's batch of that strategy is in the journal already: the one that is there
        stands, whatever was proposed now.
        """
        with self._journal.transaction() as connection:
            if self._batch_id(connection, batch) is not None:
                return False
            connection.execute(
                "INSERT INTO batches VALUES (?,?,?,?,?,?,?,?,?,?,?)",
                (
                    batch.batch_id, batch.run_id, batch.account, batch.pipeline, batch.session.isoformat(),
                    batch.amendment, batch.strategy, str(batch.equity), str(batch.cash), batch.data_snapshot,
                    self._journal.now(),
                ),
            )  # fmt: skip
            connection.executemany(
                "INSERT INTO targets VALUES (?,?,?,?,?,?)",
                [
                    (batch.batch_id, t.symbol, str(t.weight), str(t.price), str(t.held), str(t.quantity))
                    for t in targets
                ],
            )
            connection.executemany(
                "INSERT INTO intents VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,NULL)",
                [_intent_row(batch, intent) for intent in intents],
            )
            connection.executemany(
                "INSERT INTO order_events (client_order_id, at, from_state, to_state, detail) VALUES (?,?,'',?,'')",
                [(i.client_order_id, self._journal.now(), OrderState.INTENDED.value) for i in intents],
            )
        return True

    def batch_of(self, account: str, pipeline: str, session: date, amendment: int, strategy: str) -> str | None:
        """The id of the batch already proposed under that key, if any."""
        rows = self._journal.read(
            "SELECT batch_id FROM batches WHERE account=? AND pipeline=? AND session=? AND amendment=? AND strategy=?",
            (account, pipeline, session.isoformat(), amendment, strategy),
        )
        return str(rows[0]["batch_id"]) if rows else None

    def targets(self, batch_id: str) -> list[Target]:
        rows = self._journal.read("SELECT * FROM targets WHERE batch_id=? ORDER BY symbol", (batch_id,))
        return [
            Target(
                r["symbol"],
                Decimal(r["weight"]),
                Decimal(r["price"]),
                Decimal(r["held"]),
                Decimal(r["quantity"]),
            )
            for r in rows
        ]

    # ---- the life of an order --------------------------------------------------------------------

    def intents(
        self,
        *,
        account: str | None = None,
        batch_id: str | None = None,
        states: Iterable[OrderState] | None = None,
    ) -> list[IntentRecord]:
        """Intents with what filled of them, in the order they were proposed."""
        where, values = ["1=1"], list[object]()
        if account is not None:
            where.append("i.account = ?")
            values.append(account)
        if batch_id is not None:
            where.append("i.batch_id = ?")
            values.append(batch_id)
        if states is not None:
            wanted = [state.value for state in states]
            where.append(f"i.state IN ({','.join('?' * len(wanted))})")
            values.extend(wanted)
        rows = self._journal.read(
            f"SELECT i.* FROM intents i WHERE {' AND '.join(where)} ORDER BY i.rowid",
            values,
        )
        filled = self._filled([str(row["client_order_id"]) for row in rows])
        return [_record(row, filled.get(str(row["client_order_id"]), Decimal(0))) for row in rows]

    def deny(self, client_order_id: str, decision: Decision) -> None:
        """Record that a gate refused the order; this ends it."""
        with self._journal.transaction() as connection:
            self._decided(connection, client_order_id, decision)
            self._move(connection, client_order_id, OrderState.DENIED, decision.gate)

    def authorize(self, client_order_id: str, lease: Lease, decided_in: TradingState) -> TradingState | None:
        """Commit the gates' approval and that the order is about to be sent, in one transaction.

        This is the last moment at which it can be stopped: trading state and lease are read in the same
        transaction, so nothing is sent after a halt was committed, nor by a process whose lease has passed on.

        Returns
        -------
        None if it may be sent now; the trading state if it is not the one that the gates decided in, and then
        nothing was recorded.

        Raises
        ------
        JournalError
            If this process does not hold the lease any more.
        """
        with self._journal.transaction() as connection:
            row = connection.execute("SELECT token FROM leases WHERE name=?", (lease.name,)).fetchone()
            if row is None or row["token"] != lease.token:
                raise JournalError(f"{lease.name} passed to another process; nothing was sent")
            record = connection.execute(
                "SELECT account FROM intents WHERE client_order_id=?", (client_order_id,)
            ).fetchone()
            if record is None:
                raise JournalError(f"order {client_order_id} was never proposed")
            state = _state_of(connection, str(record["account"]))
            if state is not decided_in or state is TradingState.HALTED:
                return state
            self._decided(connection, client_order_id, Decision(approved=True))
            self._move(connection, client_order_id, OrderState.SUBMITTING, "")
        return None

    def move(self, client_order_id: str, state: OrderState, detail: str = "") -> None:
        """Record a change of state.

        Raises
        ------
        JournalError
            If the order cannot make that move.
        """
        with self._journal.transaction() as connection:
            self._move(connection, client_order_id, state, detail)

    def acknowledge(self, order: Order, detail: str = "") -> None:
        """Record the venue's view of an order; nothing if it is the state we have."""
        with self._journal.transaction() as connection:
            row = connection.execute(
                "SELECT state, broker_order_id FROM intents WHERE client_order_id=?", (order.client_order_id,)
            ).fetchone()
            if row["broker_order_id"] is None:
                connection.execute(
                    "UPDATE intents SET broker_order_id=? WHERE client_order_id=?",
                    (order.broker_order_id, order.client_order_id),
                )
            if row["state"] != order.state.value:
                self._move(connection, order.client_order_id, order.state, detail)

    # ---- money -----------------------------------------------------------------------------------

    def record_fills(self, account: str, broker: str, fills: Sequence[Fill]) -> int:
        """Append executions; one that is known already (broker, fill id) is passed over. Returns how many were new."""
        with self._journal.transaction() as connection:
            before = connection.total_changes
            connection.executemany(
                "INSERT OR IGNORE INTO fills (account, broker, fill_id, client_order_id, symbol, side, quantity,"
                " price, fee, session, at) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
                [
                    (
                        account, broker, f.fill_id, f.client_order_id, f.symbol, f.side.value, str(f.quantity),
                        str(f.price), str(f.fee), f.session.isoformat(), f.at.isoformat(),
                    )
                    for f in fills
                ],
            )  # fmt: skip
            return connection.total_changes - before

    def record_activities(self, account: str, broker: str, activities: Sequence[Activity]) -> int:
        """Append dividends, splits and deposits, each once. Returns how many were new."""
        with self._journal.transaction() as connection:
            before = connection.total_changes
            connection.executemany(
                "INSERT OR IGNORE INTO activities (account, broker, activity_id, kind, symbol, session,"
                " quantity_delta, cash_delta, at) VALUES (?,?,?,?,?,?,?,?,?)",
                [
                    (
                        account, broker, a.activity_id, a.kind.value, a.symbol, a.session.isoformat(),
                        str(a.quantity_delta), str(a.cash_delta), a.at.isoformat(),
                    )
                    for a in activities
                ],
            )  # fmt: skip
            return connection.total_changes - before

    def last_fill_id(self, account: str, broker: str) -> str | None:
        rows = self._journal.read(
            "SELECT fill_id FROM fills WHERE account=? AND broker=? ORDER BY id DESC LIMIT 1",
            (account, broker),
        )
        return str(rows[0]["fill_id"]) if rows else None

    def last_activity_id(self, account: str, broker: str) -> str | None:
        rows = self._journal.read(
            "SELECT activity_id FROM activities WHERE account=? AND broker=? ORDER BY id DESC LIMIT 1",
            (account, broker),
        )
        return str(rows[0]["activity_id"]) if rows else None

    def books(self, account: str) -> Books:
        """Cash (USD) and shares by symbol: the sum of all fills and activities, never a stored balance."""
        cash, holdings = Decimal(0), dict[str, Decimal]()
        for row in self._journal.read(
            "SELECT symbol, side, quantity, price, fee FROM fills WHERE account=?", (account,)
        ):
            signed = Side(row["side"]).sign * Decimal(row["quantity"])
            cash -= signed * Decimal(row["price"]) + Decimal(row["fee"])
            holdings[row["symbol"]] = holdings.get(row["symbol"], Decimal(0)) + signed
        for row in self._journal.read(
            "SELECT symbol, quantity_delta, cash_delta FROM activities WHERE account=?", (account,)
        ):
            cash += Decimal(row["cash_delta"])
            if Decimal(row["quantity_delta"]):
                symbol = row["symbol"]
                holdings[symbol] = holdings.get(symbol, Decimal(0)) + Decimal(row["quantity_delta"])
        return Books(cash, {symbol: q for symbol, q in sorted(holdings.items()) if q})

    def mark(
        self, account: str, session: date, cash: Decimal, positions: Mapping[str, tuple[Decimal, Decimal]]
    ) -> None:
        """Write the account's value at the close of a session, once. ``positions``: symbol to (shares, raw close)."""
        equity = cash + sum((quantity * price for quantity, price in positions.values()), Decimal(0))
        held = {symbol: [str(quantity), str(price)] for symbol, (quantity, price) in sorted(positions.items())}
        with self._journal.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO marks (account, session, cash, equity, positions, at) VALUES (?,?,?,?,?,?)",
                (account, session.isoformat(), str(cash), str(equity), json.dumps(held), self._journal.now()),
            )

    def last_mark(self, account: str) -> sqlite3.Row | None:
        rows = self._journal.read("SELECT * FROM marks WHERE account=? ORDER BY session DESC LIMIT 1", (account,))
        return rows[0] if rows else None

    # ---- the kill switch -------------------------------------------------------------------------

    def trading_state(self, account: str) -> TradingState:
        """The state that stands for an account; an unreadable one means HALTED to every caller."""
        with self._journal.transaction() as connection:
            return _state_of(connection, account)

    def set_trading_state(self, account: str, state: TradingState, reason: str, actor: str) -> None:
        """Latch a trading state until somebody sets another; ``EVERY_ACCOUNT`` speaks for all of them."""
        with self._journal.transaction() as connection:
            connection.execute(
                "INSERT INTO trading_states (account, state, reason, actor, at) VALUES (?,?,?,?,?)",
                (account, state.value, reason, actor, self._journal.now()),
            )

    def halted(self) -> list[tuple[str, TradingState, str, str, str]]:
        """Scopes that are not ACTIVE: account (or ``EVERY_ACCOUNT``), state, reason, actor, since when."""
        rows = self._journal.read(
            "SELECT * FROM trading_states WHERE id IN (SELECT max(id) FROM trading_states GROUP BY account) ORDER BY id"
        )
        return [
            (r["account"], TradingState(r["state"]), r["reason"], r["actor"], r["at"])
            for r in rows
            if r["state"] != TradingState.ACTIVE.value
        ]

    # ---- private ---------------------------------------------------------------------------------

    def _batch_id(self, connection: sqlite3.Connection, batch: Batch) -> str | None:
        row = connection.execute(
            "SELECT batch_id FROM batches WHERE account=? AND pipeline=? AND session=? AND amendment=? AND strategy=?",
            (batch.account, batch.pipeline, batch.session.isoformat(), batch.amendment, batch.strategy),
        ).fetchone()
        return str(row["batch_id"]) if row else None

    def _decided(self, connection: sqlite3.Connection, client_order_id: str, decision: Decision) -> None:
        connection.execute(
            "INSERT INTO decisions (client_order_id, at, approved, gate, reason) VALUES (?,?,?,?,?)",
            (client_order_id, self._journal.now(), int(decision.approved), decision.gate, decision.reason),
        )

    def _move(self, connection: sqlite3.Connection, client_order_id: str, state: OrderState, detail: str) -> None:
        row = connection.execute("SELECT state FROM intents WHERE client_order_id=?", (client_order_id,)).fetchone()
        if row is None:
            raise JournalError(f"order {client_order_id} was never proposed")
        check_move(client_order_id, OrderState(row["state"]), state)
        connection.execute("UPDATE intents SET state=? WHERE client_order_id=?", (state.value, client_order_id))
        connection.execute(
            "INSERT INTO order_events (client_order_id, at, from_state, to_state, detail) VALUES (?,?,?,?,?)",
            (client_order_id, self._journal.now(), row["state"], state.value, detail),
        )

    def _filled(self, client_order_ids: list[str]) -> dict[str, Decimal]:
        filled: dict[str, Decimal] = {}
        for start in range(0, len(client_order_ids), 500):
            chunk = client_order_ids[start : start + 500]
            rows = self._journal.read(
                f"SELECT client_order_id, quantity FROM fills WHERE client_order_id IN ({','.join('?' * len(chunk))})",
                chunk,
            )
            for row in rows:
                key = str(row["client_order_id"])
                filled[key] = filled.get(key, Decimal(0)) + Decimal(row["quantity"])
        return filled


def _state_of(connection: sqlite3.Connection, account: str) -> TradingState:
    """The stricter of the account's own latest state and the latest one for every account."""
    order = [TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED]
    states = [TradingState.ACTIVE]
    for name in (account, EVERY_ACCOUNT):
        row = connection.execute(
            "SELECT state FROM trading_states WHERE account=? ORDER BY id DESC LIMIT 1", (name,)
        ).fetchone()
        if row is not None:
            known = row["state"] in {state.value for state in TradingState}
            states.append(TradingState(row["state"]) if known else TradingState.HALTED)
    return max(states, key=order.index)


def _intent_row(batch: Batch, intent: OrderIntent) -> tuple[object, ...]:
    return (
        intent.client_order_id, batch.batch_id, batch.account, intent.symbol, intent.side.value,
        str(intent.quantity), intent.type.value, None if intent.limit_price is None else str(intent.limit_price),
        intent.time_in_force.value, str(intent.reference_price), intent.strategy, intent.sequence,
        OrderState.INTENDED.value,
    )  # fmt: skip


def _record(row: sqlite3.Row, filled: Decimal) -> IntentRecord:
    intent = OrderIntent(
        client_order_id=row["client_order_id"],
        symbol=row["symbol"],
        side=Side(row["side"]),
        quantity=Decimal(row["quantity"]),
        reference_price=Decimal(row["reference_price"]),
        strategy=row["strategy"],
        sequence=row["sequence"],
        type=OrderType(row["type"]),
        limit_price=None if row["limit_price"] is None else Decimal(row["limit_price"]),
        time_in_force=TimeInForce(row["time_in_force"]),
    )
    return IntentRecord(
        intent, row["account"], row["batch_id"], OrderState(row["state"]), row["broker_order_id"], filled
    )
