"""What a notebook does with a plan: write it to the journal as one batch and wait for the gateway."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from workbench.domain import Decision, Order, OrderState, Position, Snapshot
from workbench.errors import BrokerUnavailable, JournalError
from workbench.journal import Batch, IntentRecord, Journal, Ledger, OrderJournal
from workbench.trading.orderlist import OrderList
from workbench.trading.planner import Plan

if TYPE_CHECKING:
    import pandas as pd

_WAITING = (OrderState.INTENDED, OrderState.SUBMITTING)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch. ``sent`` is False for a dry run; ``adopted`` says an earlier batch stood."""

    batch_id: str
    sent: bool
    adopted: bool
    orders: tuple[IntentRecord, ...]
    decisions: Mapping[str, Decision]

    @property
    def settled(self) -> bool:
        """Whether the gateway has answered on every order and none is in doubt; a dry run is."""
        return not self.sent or not self.count(*_WAITING, OrderState.UNKNOWN)

    def count(self, *states: OrderState) -> int:
        """How many orders are in one of the states."""
        return sum(record.state in states for record in self.orders)

    def to_frame(self) -> pd.DataFrame:
        """One row per order: side, quantity, symbol, status, gate and reason of a denial, id."""
        import pandas as pd

        rows = [
            {
                "side": record.intent.side.value,
                "quantity": float(record.intent.quantity),
                "symbol": record.intent.symbol,
                "reference_price": float(record.intent.reference_price),
                "status": record.state.value if self.sent else "dry run",
                "gate": self._decision(record).gate,
                "reason": self._decision(record).reason,
                "client_order_id": record.intent.client_order_id,
            }
            for record in self.orders
        ]
        columns = [
            "side",
            "quantity",
            "symbol",
            "reference_price",
            "status",
            "gate",
            "reason",
            "client_order_id",
        ]
        return pd.DataFrame(rows, columns=columns)

    def _decision(self, record: IntentRecord) -> Decision:
        return self.decisions.get(record.intent.client_order_id, Decision(approved=True))


def propose(
    journal: Journal,
    run_id: str,
    plan: Plan | OrderList,
    data_snapshot: int,
    *,
    step: str = "",
    timeout_s: float = 60.0,
) -> Outcome:
    """Write the plan's intents as one durable batch and wait until the gateway has dealt with each.

    If this session's batch is in the journal already (the run was interrupted and resumed), that one stands
    and ``plan`` is not looked at: an order step is never executed twice.

    Raises
    ------
    BrokerUnavailable
        If the gateway has not dealt with all of them in ``timeout_s``; they stay in the journal, and the
        same run takes them up again.
    """
    orders = OrderJournal(journal)
    key = plan.key
    batch = Batch(
        batch_id=f"{run_id}:{key.strategy}",
        run_id=run_id,
        account=key.account,
        pipeline=key.pipeline,
        session=key.session,
        amendment=key.amendment,
        strategy=key.strategy,
        equity=plan.snapshot.equity,
        cash=plan.snapshot.cash,
        data_snapshot=data_snapshot,
        note=plan.note,
        step=step,
    )
    fresh = orders.propose(batch, plan.targets, plan.intents)
    batch_id = orders.batch_of(key.account, key.pipeline, key.session, key.amendment, key.strategy)
    if batch_id is None:
        raise JournalError(f"the batch of {key.strategy} for {key.session} is not in the journal")
    _wait(journal, orders, batch_id, timeout_s)
    return Outcome(batch_id, True, not fresh, tuple(orders.intents(batch_id=batch_id)), _decisions(journal, batch_id))


def dry_run(plan: Plan | OrderList) -> Outcome:
    """What :func:`propose` would write, written nowhere: for a notebook opened by hand."""
    records = tuple(
        IntentRecord(intent, plan.key.account, "", OrderState.INTENDED, None, Decimal(0)) for intent in plan.intents
    )
    return Outcome("", False, False, records, {})


def read_snapshot(
    journal: Journal,
    account: str,
    session: date,
    starting_cash: Decimal,
    price: Callable[[str], Decimal | None] = lambda symbol: None,
) -> Snapshot:
    """The account by its books, valued at the close of ``session``; an account without history is all cash.

    What has been filled or adopted since the close counts: only its prices are the close's.

    Parameters
    ----------
    price
        The close in USD of a symbol that was not held at the close; what was last paid stands in for None.

    Raises
    ------
    JournalError
        If the last mark is of another session.
    """
    ledger = Ledger(journal)
    mark = ledger.last_mark(account)
    if mark is None:
        return Snapshot(account, session, starting_cash)
    if mark["session"] != session.isoformat():
        raise JournalError(
            f"account {account} was last marked at {mark['session']}, not {session}",
            hint="run the notebook through `workbench run`, or open it for that session",
        )
    marked = {symbol: Decimal(value) for symbol, (_, value) in json.loads(mark["positions"]).items()}
    books = ledger.books(account)
    positions = {}
    for symbol, quantity in books.holdings.items():
        value = marked.get(symbol) or price(symbol) or ledger.last_price(account, symbol) or Decimal(0)
        positions[symbol] = Position(symbol, quantity, value)
    waiting = OrderJournal(journal).intents(account=account, states=[s for s in OrderState if not s.is_final])
    return Snapshot(account, session, books.cash, positions, tuple(_as_order(r) for r in waiting))


def _as_order(record: IntentRecord) -> Order:
    """An order that may still be sent or filled, as the planner counts it."""
    i = record.intent
    return Order(
        record.broker_order_id or "", i.client_order_id, i.symbol, i.side, record.quantity, i.type, i.limit_price,
        i.time_in_force, record.state, record.filled_quantity, None, i.stop_price, i.trail_price, i.trail_percent,
        i.notional_usd,
    )  # fmt: skip


def _wait(journal: Journal, orders: OrderJournal, batch_id: str, timeout_s: float) -> None:
    clock = journal.clock
    deadline = clock.monotonic() + timeout_s
    pause = 0.001
    while waiting := orders.undecided(batch_id):
        if clock.monotonic() > deadline:
            if not orders.intents(batch_id=batch_id, states=_WAITING):
                return  # only orders in doubt are left: the outcome says so
            raise BrokerUnavailable(
                f"{waiting} orders are still waiting for the gateway after {timeout_s:g} s",
                hint="they are kept in the journal; run the same command again",
            )
        clock.sleep(pause)
        pause = min(pause * 1.5, 0.01)


def _decisions(journal: Journal, batch_id: str) -> dict[str, Decision]:
    rows = journal.read(
        "SELECT d.* FROM decisions d JOIN intents i USING (client_order_id) WHERE i.batch_id=? ORDER BY d.id",
        (batch_id,),
    )
    return {r["client_order_id"]: Decision(bool(r["approved"]), r["gate"], r["reason"]) for r in rows}
