"""What the order path costs: a large rebalance, a single order, and how soon a halt stops a burst.

The gateway runs in a process of its own, as it does beside a kernel, over a journal and a paper exchange on disk. The
limit it is held against is the disk's: a durable commit for every order at the exchange, and two for every group.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from statistics import median

from measurement import Measurement

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.homes import environment, make_home
from support.markets import StaticMarket, bar

from workbench.brokers.matching import Costs
from workbench.brokers.paper import PaperExchange
from workbench.calendars import calendar
from workbench.clock import SystemClock
from workbench.domain import (
    Order,
    OrderIntent,
    OrderState,
    Side,
    Snapshot,
    TimeInForce,
    TradingState,
    client_order_id,
)
from workbench.journal import Controls, Journal, Owner, RunJournal, RunKey
from workbench.journal.controls import EVERY_ACCOUNT
from workbench.settings import RiskSettings
from workbench.sqlite import connect
from workbench.trading.gateway import Gateway, GatewayParts
from workbench.trading.orderlist import OrderList
from workbench.trading.planner import PlanKey
from workbench.trading.proposal import propose
from workbench.trading.sending import GROUP

ACCOUNT = "paper"
ORDERS, BURST, SINGLES, REPEATS = 500, 2000, 200, 5
SESSIONS = calendar("XNYS").sessions(date(2013, 1, 7), date(2013, 2, 8))
LAST = SESSIONS[-1]
MARKET = StaticMarket(
    {f"S{n:03}": dict.fromkeys(SESSIONS, bar("100", "101", "99", "100")) for n in range(ORDERS)}
)  # fmt: skip
LIMITS = RiskSettings(max_orders_per_minute=1_000_000)


def run() -> list[Measurement]:
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as scratch:
        folder = Path(scratch)
        rebalances = [rebalance(folder / f"rebalance{n}") for n in range(REPEATS)]
        bare = [commits(folder / f"bare{n}") for n in range(REPEATS)]
        overheads = single(folder / "single")
        served = served_single(folder / "served")
        halts = [halt(folder / f"halt{n}") for n in range(REPEATS)]
        command = [halt(folder / f"command{n}", command=True) for n in range(REPEATS)]
    groups = 2 * -(-ORDERS // GROUP)
    return [
        Measurement.at_most(f"{ORDERS} intents from proposal to the last answer", median(rebalances), "s", 0.5),
        Measurement.shown(f"{ORDERS + groups + 1} bare SQLite commits on the same disk", median(bare), "s"),
        Measurement.shown("the rebalance against its bare commits", median(rebalances) / median(bare), "x"),
        Measurement.at_most("a single order's own overhead, median", median(overheads) * 1e3, "ms", 5.0),
        Measurement.shown("a single order with the gateway in its own process, median", median(served) * 1e3, "ms"),
        Measurement.at_most(
            "last order of a burst after a halt is committed, worst", max(h[0] for h in halts) * 1e3, "ms", 100.0
        ),
        Measurement.shown("orders sent after a halt is committed, worst", max(h[1] for h in halts), "orders"),
        Measurement.shown("workbench halt, from start to the last order", max(h[0] for h in command), "s"),
    ]


# ---- what is measured ----------------------------------------------------------------------------


def rebalance(folder: Path) -> float:
    """Seconds from the proposal of 500 intents to the answer to the last of them."""
    with serving(folder), Journal(folder / "data" / "journal.sqlite", SystemClock()) as journal:
        plan = orders(ORDERS, "rebalance")
        start = time.perf_counter()
        outcome = propose(journal, run_id(), plan, 1)
        seconds = time.perf_counter() - start
    if outcome.count(OrderState.ACCEPTED) != ORDERS:
        raise RuntimeError(f"not all orders were accepted: {outcome.decisions}")
    return seconds


def single(folder: Path) -> list[float]:
    """Seconds of each order from proposal to answer, at a venue that answers at once; one thread, no waits."""
    times = []
    with Journal(folder / "data" / "journal.sqlite", SystemClock()) as journal:
        gateway = Gateway(journal, parts(folder, Instant))
        claim(journal)
        gateway.open(LAST, run_id())
        with Journal(journal.file, SystemClock()) as notebook:
            for number in range(SINGLES):
                plan = orders(1, f"single{number}", number)
                start = time.perf_counter()
                _propose_only(notebook, plan)
                gateway.step()
                times.append(time.perf_counter() - start)
        gateway.close()
        if journal.read("SELECT count(*) FROM intents WHERE state='accepted'")[0][0] != SINGLES:
            raise RuntimeError("not all orders were accepted")
    return times


def served_single(folder: Path) -> list[float]:
    """The same as a notebook sees it: the gateway in another process, both looking now and then, a real exchange."""
    times = []
    with serving(folder), Journal(folder / "data" / "journal.sqlite", SystemClock()) as journal:
        for number in range(SINGLES // 4):
            plan = orders(1, f"single{number}", number)
            start = time.perf_counter()
            propose(journal, run_id(), plan, 1)
            times.append(time.perf_counter() - start)
    return times


def halt(folder: Path, *, command: bool = False) -> tuple[float, int]:
    """Seconds from a halt in the middle of a burst to the last order that left, and how many left after it.

    The halt counts from its commit; the whole ``command`` from its start.
    """
    with serving(folder), Journal(folder / "data" / "journal.sqlite", SystemClock()) as journal:
        _propose_only(journal, orders(BURST, "burst"))
        clock = SystemClock()
        exchange = folder / "data" / "exchange" / f"{ACCOUNT}.sqlite"
        while len(sent(exchange)) < BURST // 10:
            clock.sleep(0.001)
        began = clock.now()
        if command:
            workbench = [str(Path(sys.executable).with_name("workbench")), "halt"]
            subprocess.run(workbench, cwd=folder, env=environment(), check=True, capture_output=True)
        else:
            Controls(journal).set_trading_state(EVERY_ACCOUNT, TradingState.HALTED, "drill", "bench")
            began = clock.now()
        while journal.read("SELECT 1 FROM intents WHERE state IN ('intended', 'submitting') LIMIT 1"):
            clock.sleep(0.01)
    times = sent(exchange)
    if len(times) == BURST:
        raise RuntimeError("the burst was over before the halt")
    after = [(at - began).total_seconds() for at in times if at > began]
    return max(after, default=0.0), len(after)


def commits(folder: Path) -> float:
    """Seconds of as many durable commits of one small row as the rebalance needs, alternating as it does."""
    folder.mkdir()
    with closing(connect(folder / "a.sqlite")) as journal, closing(connect(folder / "b.sqlite")) as exchange:
        for database in (journal, exchange):
            database.execute("CREATE TABLE rows (text TEXT)")
        start = time.perf_counter()
        commit(journal)
        for first in range(0, ORDERS, GROUP):
            commit(journal)
            for _ in range(min(GROUP, ORDERS - first)):
                commit(exchange)
            commit(journal)
        return time.perf_counter() - start


def commit(database: sqlite3.Connection) -> None:
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO rows VALUES (?)", ("x" * 100,))
    database.execute("COMMIT")


# ---- what it is measured on ----------------------------------------------------------------------


class Instant(PaperExchange):
    """A venue that takes every order at once and writes nothing down."""

    def submit(self, intent: OrderIntent) -> Order:
        return Order(
            intent.client_order_id, intent.client_order_id, intent.symbol, intent.side, intent.quantity, intent.type,
            None, TimeInForce.DAY, OrderState.ACCEPTED, Decimal(0), None,
        )  # fmt: skip


def run_id() -> str:
    return f"daily-{LAST}"


def claim(journal: Journal) -> None:
    RunJournal(journal).claim(
        RunKey(ACCOUNT, "daily", LAST), Owner.current(), run_id=run_id(), folder="", parameters={}, provenance={},
        steps=[],
    )  # fmt: skip


def orders(count: int, strategy: str, first: int = 0) -> OrderList:
    """So many market orders of one share each; of a symbol that comes again, the number tells them apart."""
    key = PlanKey(ACCOUNT, "daily", LAST, 0, strategy)
    intents = []
    for number in range(count):
        symbol = f"S{(first + number) % ORDERS:03}"
        identifier = client_order_id(ACCOUNT, "daily", LAST, 0, strategy, symbol, Side.BUY, number)
        intents.append(OrderIntent(identifier, symbol, Side.BUY, Decimal(1), Decimal(100), strategy, number))
    return OrderList(key, Snapshot(ACCOUNT, LAST, Decimal(10_000_000)), tuple(intents))


def parts(folder: Path, venue: type[PaperExchange] = PaperExchange) -> GatewayParts:
    broker = venue(
        folder / "data" / "exchange" / f"{ACCOUNT}.sqlite", account=ACCOUNT, market=MARKET, calendar=calendar("XNYS"),
        costs=Costs(Decimal("0.005"), Decimal(1), Decimal(2)), starting_cash=Decimal(10_000_000), opened=LAST,
    )  # fmt: skip
    return GatewayParts(
        ACCOUNT, broker, MARKET, calendar("XNYS"), LIMITS, Owner.current(), quality=lambda symbols, session: {}
    )


@contextmanager
def serving(folder: Path) -> Iterator[None]:
    """A gateway in a process of its own that serves until the block ends."""
    make_home(folder, cold=True)
    command = [sys.executable, str(Path(__file__).resolve()), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("the gateway did not start")
            yield
        finally:
            process.stdin.close()


def sent(exchange: Path) -> list[datetime]:
    """When each order arrived at the exchange."""
    with closing(sqlite3.connect(f"file:{exchange}?mode=ro", uri=True, timeout=10)) as database:
        return [datetime.fromisoformat(row[0]) for row in database.execute("SELECT created_at FROM orders ORDER BY id")]


def _propose_only(journal: Journal, plan: OrderList) -> None:
    from workbench.journal import Batch, OrderJournal

    key = plan.key
    batch = Batch(
        f"{run_id()}:{key.strategy}", run_id(), ACCOUNT, key.pipeline, LAST, 0, key.strategy, Decimal(0), Decimal(0), 1
    )
    OrderJournal(journal).propose(batch, plan.targets, plan.intents)


def serve(folder: Path) -> None:
    """The process of the gateway: ends with its standard input."""
    import threading

    stop = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        stop.set()

    with Journal(folder / "data" / "journal.sqlite", SystemClock()) as journal:
        gateway = Gateway(journal, parts(folder))
        claim(journal)
        gateway.open(LAST, run_id())
        threading.Thread(target=listen, daemon=True).start()
        print("ready", flush=True)
        gateway.serve(stop)
        gateway.close()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
