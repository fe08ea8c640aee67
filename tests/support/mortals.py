"""The two processes of a crash campaign: a venue over HTTP and a worker, forked from one that has imported everything.

A worker does what a job of the day does: it takes the account, proposes a batch for the session if there is none, and
serves it. Whenever it has got further it writes a letter to its pipe, so that whoever kills it can choose the moment.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import NoReturn

from support.markets import StaticMarket

from workbench.brokers.alpaca import AlpacaBroker
from workbench.brokers.exchange import Exchange
from workbench.brokers.exchange_http import Credentials, Service, Venue, bind
from workbench.brokers.market import Bar
from workbench.brokers.matching import Costs
from workbench.calendars import calendar
from workbench.clock import SystemClock
from workbench.domain import (
    Bracket,
    OrderIntent,
    OrderState,
    OrderType,
    Side,
    Snapshot,
    TimeInForce,
    client_order_id,
)
from workbench.errors import BrokerUnavailable, ConfigError, JournalError
from workbench.journal import Batch, Journal, OrderJournal, Owner, RunJournal, RunKey
from workbench.settings import AlpacaSettings, ReconcileSettings, RiskSettings
from workbench.trading.gateway import Gateway, GatewayParts

ACCOUNT, PIPELINE = "paper", "daily"
KEY, SECRET = "key-of-the-campaign", "secret-of-the-campaign"
CALENDAR = calendar("XNYS")
CASH = Decimal(1_000_000)
LIMITS = RiskSettings(
    max_order_value_usd=Decimal(100_000), max_volume_share=Decimal(1), max_daily_loss=Decimal(1),
    max_drawdown=Decimal(1), require_quality=False, max_orders_per_minute=1_000_000,
)  # fmt: skip
LEASE_S, DOUBT_S, ANSWER_S = 1.0, 0.6, 0.3
_LOOK_S = 0.003
# What a worker tells, and how it ends.
OPENED, PROPOSED, DECIDED, AGREES = b"o", b"p", b"d", b"a"
UNREACHABLE, PASSED_ON, PAST, FAILED = 10, 11, 12, 13
_CENT = Decimal("0.01")
_UNDECIDED = (OrderState.INTENDED, OrderState.SUBMITTING, OrderState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class House:
    """A folder with a journal and an exchange, the market they trade and where the exchange listens."""

    folder: Path
    seed: int
    sessions: Sequence[date]
    market: StaticMarket
    port: int

    @property
    def journal(self) -> Path:
        return self.folder / "journal.sqlite"

    @property
    def exchange(self) -> Path:
        return self.folder / "exchange.sqlite"


def random_market(seed: int, symbols: Sequence[str], sessions: Sequence[date]) -> StaticMarket:
    """Prices around 100 USD that move up to 2% a session."""
    chance = random.Random(seed)
    bars: dict[str, dict[date, Bar]] = {}
    for symbol in symbols:
        close, bars[symbol] = Decimal(100), {}
        for session in sessions:
            opened = (close * Decimal(chance.randint(985, 1015)) / 1000).quantize(_CENT)
            close = (opened * Decimal(chance.randint(985, 1015)) / 1000).quantize(_CENT)
            spread = Decimal(chance.randint(1000, 1010)) / 1000
            high, low = max(opened, close) * spread, min(opened, close) / spread
            bars[symbol][session] = Bar(
                opened, high.quantize(_CENT), low.quantize(_CENT), close, Decimal(chance.randint(1_000, 50_000))
            )
    return StaticMarket(bars)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def fork(work: Callable[[], int], log: Path) -> int:
    """Run ``work`` in a process of its own that ends with its exit code; its number."""
    pid = os.fork()
    if pid:
        return pid
    _child(work, log)


def _child(work: Callable[[], int], log: Path) -> NoReturn:
    code = FAILED
    try:
        with log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = work()
    except BaseException:  # whatever it was, the campaign reads of it in the log
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


# ---- the venue -----------------------------------------------------------------------------------


def serve_exchange(house: House, ready: int, *, max_volume_share: Decimal | None) -> int:
    """Serve the account until killed; writes a letter to ``ready`` once it answers."""
    numbers = count(1)
    clock = SystemClock()

    def made() -> Venue:
        exchange = Exchange(
            house.exchange, account=ACCOUNT, market=house.market, calendar=CALENDAR,
            costs=Costs(Decimal("0.005"), Decimal(1), Decimal(2)), starting_cash=CASH, opened=house.sessions[0],
            clock=clock, max_volume_share=max_volume_share,
        )  # fmt: skip
        return Venue(
            exchange, market=house.market, symbols=sorted(house.market._bars), calendar=CALENDAR, clock=clock,
            credentials=Credentials(KEY, SECRET), new_id=lambda: f"venue-{next(numbers)}", per_minute=10_000_000,
        )  # fmt: skip

    Service(bind("127.0.0.1", house.port), made, lambda _: os.write(ready, b"r") and None).run()
    return 0


# ---- the worker ----------------------------------------------------------------------------------


def work(house: House, session: date, batch: int, tell: int, *, claim: bool, stream: bool) -> int:
    """One life of a job of the session that proposes its batch of that number, if nobody has.

    It ends when told to (SIGTERM) or when something fails.
    """
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        _work(house, session, batch, tell, stop, claim=claim, stream=stream)
    except BrokerUnavailable as failure:
        print(f"{session} {os.getpid()}: {failure}")
        return UNREACHABLE
    except JournalError as failure:
        print(f"{session} {os.getpid()}: {failure}")
        return PASSED_ON
    except ConfigError as failure:  # the market has closed while it was opening
        print(f"{session} {os.getpid()}: {failure}")
        return PAST
    return 0


def _work(
    house: House, session: date, batch: int, tell: int, stop: threading.Event, *, claim: bool, stream: bool
) -> None:
    run_id, clock = f"{PIPELINE}-{session}", SystemClock()
    with Journal(house.journal, clock) as journal:
        if claim:
            RunJournal(journal).claim(
                RunKey(ACCOUNT, PIPELINE, session), Owner.current(), run_id=run_id, folder="", parameters={},
                provenance={}, steps=[],
            )  # fmt: skip
        gateway = Gateway(journal, _parts(house, clock, stream))
        snapshot = gateway.open(session, run_id)
        os.write(tell, OPENED)
        # A notebook is another process, so it has a journal of its own.
        with Journal(house.journal, clock) as notebook:
            _propose(OrderJournal(notebook), house, session, batch, run_id, snapshot)
        os.write(tell, PROPOSED)
        orders, decided = OrderJournal(journal), False
        while not stop.is_set():
            gateway.step()
            if not decided and not orders.intents(account=ACCOUNT, states=_UNDECIDED):
                decided = True
                os.write(tell, DECIDED)
                if not gateway.reconcile():
                    os.write(tell, AGREES)
            clock.sleep(_LOOK_S)
        with suppress(BrokerUnavailable):
            gateway.close()


def _parts(house: House, clock: SystemClock, stream: bool) -> GatewayParts:
    settings = AlpacaSettings(
        base_url=f"http://127.0.0.1:{house.port}", connect_timeout_s=ANSWER_S, read_timeout_s=ANSWER_S,
        stream=stream, poll_s=0.05,
    )  # fmt: skip
    broker = AlpacaBroker(settings, account=ACCOUNT, key=KEY, secret=SECRET, calendar=CALENDAR, clock=clock)
    return GatewayParts(
        ACCOUNT, broker, house.market, CALENDAR, LIMITS, Owner.current(), reconcile=ReconcileSettings(every_s=0.5),
        replays=False, unknown_wait_s=DOUBT_S, patience_s=20.0, lease_s=LEASE_S, lease_wait_s=20.0, sure_sales=False,
    )  # fmt: skip


def _propose(orders: OrderJournal, house: House, session: date, number: int, run_id: str, snapshot: Snapshot) -> None:
    """A batch of the session: the first life that gets here decides, and every later one finds it there."""
    strategy = f"s{number}"
    chance = random.Random(f"{house.seed} {session} {strategy}")
    intents: list[OrderIntent] = []
    for symbol in sorted(house.market._bars):
        held, close = snapshot.quantity(symbol), house.market.last_close(symbol, session)
        if close is None or chance.random() < 0.3:
            continue
        side = Side.SELL if held >= 2 and chance.random() < 0.5 else Side.BUY
        quantity = held // 2 if side is Side.SELL else Decimal(chance.randint(5, 60))
        intents.append(_intent(chance, session, strategy, len(intents), symbol, side, quantity, close[1]))
    intents.sort(key=lambda intent: intent.side is Side.BUY)  # as the planner does
    batch = Batch(
        f"{run_id}:{strategy}", run_id, ACCOUNT, PIPELINE, session, 0, strategy, snapshot.equity, snapshot.cash, 1
    )
    orders.propose(batch, [], intents)


def _intent(
    chance: random.Random, session: date, strategy: str, number: int, symbol: str, side: Side, quantity: Decimal,
    close: Decimal,
) -> OrderIntent:  # fmt: skip
    identifier = client_order_id(ACCOUNT, PIPELINE, session, 0, strategy, symbol, side, number)
    tif = chance.choice([TimeInForce.DAY, TimeInForce.DAY, TimeInForce.GTC])
    kind = chance.choice(["market", "market", "market", "limit", "limit", "stop", "opg", "bracket"])
    off = Decimal(chance.randint(-15, 15)) / 1000
    if kind == "limit":
        price = (close * (1 + off)).quantize(_CENT)
        return OrderIntent(identifier, symbol, side, quantity, close, strategy, number, OrderType.LIMIT, price, tif)
    if kind == "stop":
        stop = (close * (1 + side.sign * (abs(off) + Decimal("0.005")))).quantize(_CENT)
        return OrderIntent(identifier, symbol, side, quantity, close, strategy, number, OrderType.STOP, None, tif, stop)
    if kind == "bracket" and side is Side.BUY:
        bracket = Bracket((close * Decimal("1.03")).quantize(_CENT), (close * Decimal("0.97")).quantize(_CENT))
        return OrderIntent(
            identifier, symbol, side, quantity, close, strategy, number, time_in_force=tif, bracket=bracket
        )
    tif = TimeInForce.OPG if kind == "opg" else tif
    return OrderIntent(identifier, symbol, side, quantity, close, strategy, number, time_in_force=tif)
