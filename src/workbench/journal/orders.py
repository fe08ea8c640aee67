"""Intents, decisions and the life of orders: what was proposed, what the gates said, what the venue answered."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from workbench.domain import (
    Bracket,
    Decision,
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
from workbench.journal.controls import standing_state
from workbench.journal.leases import Lease, require_held
from workbench.journal.states import can_move, check_move
from workbench.journal.store import Journal, timestamp

PLAN, FLATTEN = "plan", "flatten"


@dataclass(frozen=True, slots=True)
class Batch:
    """One rebalance as a notebook proposed it: durable as a whole before anything is sent.

    A batch of kind ``FLATTEN`` is the kill switch's own: its orders pass while trading is halted. ``note`` says why a
    batch without orders has none.
    """

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
    kind: str = PLAN
    note: str = ""
    step: str = ""


@dataclass(frozen=True, slots=True)
class IntentRecord:
    """An intent with its life so far, the run that proposed it and the session it was decided on."""

    intent: OrderIntent
    account: str
    batch_id: str
    state: OrderState
    broker_order_id: str | None
    filled_quantity: Decimal
    run_id: str = ""
    session: date | None = None
    kind: str = PLAN
    venue_quantity: Decimal | None = None  # the order's size at the venue, where a split has changed it

    @property
    def quantity(self) -> Decimal:
        """Shares the order is for, as it stands at the venue."""
        return self.intent.quantity if self.venue_quantity is None else self.venue_quantity

    @property
    def open_quantity(self) -> Decimal:
        """Shares that may still fill; zero unless the order may be at the venue."""
        return max(self.quantity - self.filled_quantity, Decimal(0)) if self.state.may_fill else Decimal(0)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the venue (or we ourselves) said of an order: its new state, and the venue's id once it is known.

    ``filled`` are the shares that the venue says have filled of it, ``quantity`` those it is for there.
    """

    client_order_id: str
    state: OrderState
    detail: str = ""
    broker_order_id: str | None = None
    filled: Decimal = Decimal(0)
    quantity: Decimal | None = None

    @classmethod
    def of(cls, order: Order, detail: str = "") -> Answer:
        return cls(
            order.client_order_id, order.state, detail, order.broker_order_id, order.filled_quantity, order.quantity
        )


@dataclass(frozen=True, slots=True)
class Sent:
    """An order that went out: when, and what two equal orders would share."""

    at: datetime
    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    session: date
    sequence: int


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
                "INSERT INTO batches (batch_id, run_id, account, pipeline, session, amendment, strategy, equity, cash,"
                " data_snapshot, created_at, kind, note, step) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    batch.batch_id, batch.run_id, batch.account, batch.pipeline, batch.session.isoformat(),
                    batch.amendment, batch.strategy, str(batch.equity), str(batch.cash), batch.data_snapshot,
                    self._journal.now(), batch.kind, batch.note, batch.step,
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
                "INSERT INTO intents (client_order_id, batch_id, account, symbol, side, quantity, type, limit_price,"
                " time_in_force, reference_price, strategy, sequence, state, stop_price, trail_price, trail_percent,"
                " notional_usd, bracket, replaces) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
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
            "SELECT i.*, b.run_id, b.session, b.kind FROM intents i JOIN batches b USING (batch_id)"
            f" WHERE {' AND '.join(where)} ORDER BY i.rowid",
            values,
        )
        filled = self._filled([str(row["client_order_id"]) for row in rows])
        return [_record(row, filled.get(str(row["client_order_id"]), Decimal(0))) for row in rows]

    def intent(self, client_order_id: str) -> IntentRecord | None:
        """One intent by its id."""
        rows = self._journal.read(
            "SELECT i.*, b.run_id, b.session, b.kind FROM intents i JOIN batches b USING (batch_id)"
            " WHERE i.client_order_id=?",
            (client_order_id,),
        )
        filled = self._filled([client_order_id])
        return _record(rows[0], filled.get(client_order_id, Decimal(0))) if rows else None

    def waiting(self, account: str) -> bool:
        """Whether anything is proposed and not decided; cheap enough to ask all the time."""
        sql = "SELECT 1 FROM intents WHERE account=? AND state=? LIMIT 1"
        return bool(self._journal.read(sql, (account, OrderState.INTENDED.value)))

    def undecided(self, batch_id: str) -> int:
        """How many orders of a batch are still waiting, on their way or in doubt."""
        rows = self._journal.read(
            "SELECT count(*) AS n FROM intents WHERE batch_id=? AND state IN (?,?,?)",
            (batch_id, OrderState.INTENDED.value, OrderState.SUBMITTING.value, OrderState.UNKNOWN.value),
        )
        return int(rows[0]["n"])

    def sent_since(self, account: str, moment: datetime) -> list[Sent]:
        """Orders of an account that went out at or after a moment, oldest first."""
        rows = self._journal.read(
            "SELECT e.at, i.client_order_id, i.symbol, i.side, i.quantity, i.sequence, b.session FROM order_events e"
            " JOIN intents i USING (client_order_id) JOIN batches b USING (batch_id)"
            " WHERE e.to_state=? AND e.at>=? AND i.account=? ORDER BY e.id",
            (OrderState.SUBMITTING.value, timestamp(moment), account),
        )
        return [
            Sent(
                datetime.fromisoformat(r["at"]), r["client_order_id"], r["symbol"], Side(r["side"]),
                Decimal(r["quantity"]), date.fromisoformat(r["session"]), r["sequence"],
            )
            for r in rows
        ]  # fmt: skip

    def deny(self, decisions: Mapping[str, Decision]) -> None:
        """Record the gates' refusals by client order id, in one transaction; this ends those orders."""
        with self._journal.transaction() as connection:
            for identifier, decision in decisions.items():
                self._decided(connection, identifier, decision)
                self._move(connection, identifier, OrderState.DENIED, decision.gate)

    def authorize(self, client_order_ids: Sequence[str], lease: Lease, decided_in: TradingState) -> TradingState | None:
        """Commit the gates' approval of some orders and that they are about to be sent, in one transaction.

        Trading state and lease are read in the same transaction, so nothing that was decided before a halt is
        sent after it, nor by a process whose lease has passed on.

        Returns
        -------
        None if they may be sent now; the trading state if it is not the one that the gates decided in (or is
        HALTED, which only the kill switch's own orders pass), and then nothing was recorded.

        Raises
        ------
        JournalError
            If this process does not hold the lease any more.
        """
        with self._journal.transaction() as connection:
            require_held(connection, lease, "nothing was sent")
            for identifier in client_order_ids:
                record = connection.execute(
                    "SELECT i.account, b.kind FROM intents i JOIN batches b USING (batch_id) WHERE client_order_id=?",
                    (identifier,),
                ).fetchone()
                if record is None:
                    raise JournalError(f"order {identifier} was never proposed")
                state = standing_state(connection, str(record["account"]))
                if state is not decided_in or (state is TradingState.HALTED and record["kind"] != FLATTEN):
                    return state
            for identifier in client_order_ids:
                self._decided(connection, identifier, Decision(approved=True))
                self._move(connection, identifier, OrderState.SUBMITTING, "")
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

    def answer(self, answers: Sequence[Answer], lease: Lease | None = None) -> list[Answer]:
        """Record what the venue said of some orders, in one transaction; nothing where it is the state we have.

        An order that has ended with executions that are not booked yet stays open here, ACCEPTED at least, until
        they are: else it would count neither as open nor as held.

        Returns
        -------
        Answers that contradict what is on record: an order that has ended being open again or ended otherwise,
        one rejected that has filled in part. They change nothing: reconciliation deals with them.

        Raises
        ------
        JournalError
            If ``lease`` is given and has passed to another process, which may have sent these orders again meanwhile.
        """
        refused = []
        with self._journal.transaction() as connection:
            if lease is not None:
                require_held(connection, lease, "what the venue said is left to it")
            for answer in answers:
                row = connection.execute(
                    "SELECT state, broker_order_id, quantity, venue_quantity FROM intents WHERE client_order_id=?",
                    (answer.client_order_id,),
                ).fetchone()
                if row is None:
                    raise JournalError(f"order {answer.client_order_id} was never proposed")
                size = Decimal(row["venue_quantity"] or row["quantity"])
                if answer.quantity is not None and answer.quantity != size and not answer.state.is_final:
                    connection.execute(
                        "UPDATE intents SET venue_quantity=? WHERE client_order_id=?",
                        (str(answer.quantity), answer.client_order_id),
                    )
                if row["broker_order_id"] is None and answer.broker_order_id is not None:
                    connection.execute(
                        "UPDATE intents SET broker_order_id=? WHERE client_order_id=?",
                        (answer.broker_order_id, answer.client_order_id),
                    )
                before, after = OrderState(row["state"]), answer.state
                if after.is_final and answer.filled > _booked(connection, answer.client_order_id):
                    after = OrderState.ACCEPTED
                if before is after or (before, after) in _STALE:
                    continue
                if not can_move(before, after):
                    refused.append(answer)
                else:
                    self._move(connection, answer.client_order_id, after, answer.detail)
        return refused

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


# An older view of the same order, overtaken on the way.
_STALE = frozenset({(OrderState.PARTIALLY_FILLED, OrderState.ACCEPTED)})


def _booked(connection: sqlite3.Connection, client_order_id: str) -> Decimal:
    """Shares of an order's executions as the books count them, corrections included."""
    rows = connection.execute(
        "SELECT CASE side WHEN 'buy' THEN '' ELSE '-' END || quantity AS delta FROM fills WHERE client_order_id=?"
        " UNION ALL SELECT c.quantity_delta FROM corrections c JOIN fills f USING (account, fill_id)"
        " WHERE f.client_order_id=?",
        (client_order_id, client_order_id),
    )
    return abs(sum((Decimal(row["delta"]) for row in rows), Decimal(0)))


def _intent_row(batch: Batch, intent: OrderIntent) -> tuple[object, ...]:
    bracket = intent.bracket
    exits = None
    if bracket is not None:
        exits = json.dumps([str(bracket.take_profit), str(bracket.stop_loss), _text(bracket.stop_loss_limit)])
    return (
        intent.client_order_id, batch.batch_id, batch.account, intent.symbol, intent.side.value,
        str(intent.quantity), intent.type.value, _text(intent.limit_price), intent.time_in_force.value,
        str(intent.reference_price), intent.strategy, intent.sequence, OrderState.INTENDED.value,
        _text(intent.stop_price), _text(intent.trail_price), _text(intent.trail_percent),
        _text(intent.notional_usd), exits, intent.replaces,
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
        limit_price=_number(row["limit_price"]),
        time_in_force=TimeInForce(row["time_in_force"]),
        stop_price=_number(row["stop_price"]),
        trail_price=_number(row["trail_price"]),
        trail_percent=_number(row["trail_percent"]),
        notional_usd=_number(row["notional_usd"]),
        bracket=_bracket(row["bracket"]),
        replaces=row["replaces"],
    )
    return IntentRecord(
        intent, row["account"], row["batch_id"], OrderState(row["state"]), row["broker_order_id"], filled,
        row["run_id"], date.fromisoformat(row["session"]), row["kind"], _number(row["venue_quantity"]),
    )  # fmt: skip


def _bracket(text: str | None) -> Bracket | None:
    if text is None:
        return None
    take_profit, stop_loss, stop_loss_limit = json.loads(text)
    return Bracket(Decimal(take_profit), Decimal(stop_loss), _number(stop_loss_limit))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
