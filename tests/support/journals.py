"""Journals to write to: an account with a run of its own, orders and executions in few words, a second process."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from workbench.clock import Clock, ManualClock, SystemClock
from workbench.domain import Activity, ActivityKind, Fill, OrderIntent, Side, TradingState
from workbench.errors import RunOverlap
from workbench.journal import Batch, Controls, Journal, Ledger, OrderJournal, Owner, RunJournal, RunKey
from workbench.journal.leases import Lease
from workbench.journal.orders import PLAN

SESSION, NEXT = date(2013, 1, 2), date(2013, 1, 3)
EVENING = datetime(2013, 1, 2, 22, tzinfo=UTC)
AT = datetime(2013, 1, 3, 14, 30, tzinfo=UTC)
ACCOUNT = BROKER = "paper"


class Desk:
    """A journal with one run of account ``paper`` in it, and every side of it."""

    def __init__(self, file: Path, clock: Clock | None = None) -> None:
        self.clock = clock or ManualClock(EVENING)
        self.journal = Journal(file, self.clock)
        self.orders, self.ledger = OrderJournal(self.journal), Ledger(self.journal)
        self.controls, self.runs = Controls(self.journal), RunJournal(self.journal)
        self.runs.claim(
            RunKey(ACCOUNT, "daily", SESSION), Owner.current(), run_id="r1", folder="runs/r1", parameters={},
            provenance={}, steps=[("rebalance", "rebalance.ipynb")],
        )  # fmt: skip

    def close(self) -> None:
        self.journal.close()

    def lease(self) -> Lease:
        return self.runs.acquire(f"gateway:{ACCOUNT}", Owner.current(), 30)

    def proposed(self, *identifiers: str, strategy: str = "momentum", kind: str = PLAN, symbol: str = "IBM") -> None:
        """One batch with an order of 100 shares under each of the ids."""
        intents = [intent(identifier, strategy=strategy, symbol=symbol) for identifier in identifiers]
        assert self.orders.propose(batch(f"r1:{strategy}", strategy, kind), [], intents)

    def sent(self, *identifiers: str, strategy: str = "momentum", kind: str = PLAN) -> None:
        """The same, on their way to the venue."""
        self.proposed(*identifiers, strategy=strategy, kind=kind)
        assert self.orders.authorize(list(identifiers), self.lease(), self.controls.trading_state(ACCOUNT)) is None

    def record(self, *fills: Fill, activities: Sequence[Activity] = (), cursor: str | None = None) -> tuple[int, int]:
        return self.ledger.record(ACCOUNT, BROKER, list(fills), list(activities), cursor)

    def states(self) -> dict[str, str]:
        """The state of every order by id."""
        return {r.intent.client_order_id: r.state.value for r in self.orders.intents()}

    def count(self, table: str) -> int:
        return int(self.journal.read(f"SELECT count(*) FROM {table}")[0][0])


def intent(
    identifier: str,
    quantity: str = "100",
    side: Side = Side.BUY,
    *,
    strategy: str = "momentum",
    symbol: str = "IBM",
    **more: Any,
) -> OrderIntent:
    return OrderIntent(identifier, symbol, side, Decimal(quantity), Decimal("196.35"), strategy, 0, **more)


def batch(batch_id: str = "r1:momentum", strategy: str = "momentum", kind: str = PLAN) -> Batch:
    return Batch(batch_id, "r1", ACCOUNT, "daily", SESSION, 0, strategy, Decimal(100_000), Decimal(100_000), 3, kind)


def fill(
    identifier: str,
    quantity: str,
    price: str,
    side: Side = Side.BUY,
    *,
    order: str = "c1",
    symbol: str = "IBM",
    session: date = NEXT,
    fee: str = "1",
) -> Fill:
    return Fill(identifier, order, symbol, side, Decimal(quantity), Decimal(price), Decimal(fee), session, AT)


def activity(
    identifier: str, kind: ActivityKind, symbol: str = "", shares: str = "0", cash: str = "0", session: date = NEXT
) -> Activity:
    return Activity(identifier, kind, symbol, session, Decimal(shares), Decimal(cash), AT)


def write_beside(file: Path, number: int, rounds: int, barrier: Any, results: Any) -> None:
    """What one of two processes does at the same time as the other; what it was told goes into ``results``."""
    told: dict[str, list[Any]] = {"proposed": [], "tripped": [], "new": [], "tokens": [], "asked": []}
    try:
        with Journal(file, SystemClock()) as journal:
            barrier.wait(60)
            for n in range(rounds):
                _write_round(journal, number, n, told)
    finally:
        results.put((number, told))


def _write_round(journal: Journal, number: int, n: int, told: dict[str, list[Any]]) -> None:
    controls, strategy = Controls(journal), f"shared-{n}"
    order = intent(f"{number}-{n}", strategy=strategy)
    told["proposed"].append(OrderJournal(journal).propose(batch(f"{number}:{n}", strategy), [], [order]))
    told["tripped"].append(controls.trip(ACCOUNT, f"breaker-{n}", TradingState.REDUCING, "both saw it"))
    feed = [fill(f"f{k}", "1", "10", order="shared", fee="0") for k in range(max(0, n - 5), n + 1)]
    told["new"].append(Ledger(journal).record(ACCOUNT, BROKER, feed, [], cursor=f"{number}:{n}")[0])
    with contextlib.suppress(RunOverlap):  # the other process has just taken it
        lease = RunJournal(journal).acquire("gateway:paper", Owner("host", number, 1.0), ttl_s=0)
        told["tokens"].append(lease.token)
    told["asked"].append(controls.ask(ACCOUNT, "cancel", f"process {number}", str(n)))


def die_in_the_middle(file: Path, after: int) -> None:
    """Record ten executions, ten dividends and a cursor, and die by SIGKILL when so many executions are written."""
    import os
    import signal

    from workbench.journal import ledger

    insert, written = ledger._insert_fill, [0]

    def counted(*arguments: Any) -> int:
        if written[0] == after:
            os.kill(os.getpid(), signal.SIGKILL)
        written[0] += 1
        return insert(*arguments)

    ledger._insert_fill = counted
    with Journal(file, SystemClock()) as journal:
        fills = [fill(f"x{n}", "1", "10", order="c1" if n % 2 else "by-hand") for n in range(10)]
        paid = [activity(f"y{n}", ActivityKind.DIVIDEND, cash="1") for n in range(10)]
        Ledger(journal).record(ACCOUNT, BROKER, fills, paid, "beyond")
