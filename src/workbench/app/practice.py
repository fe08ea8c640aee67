"""A venue to practise on: made-up prices, a scratch folder, the real journal, gateway and paper exchange.

Orders are measured here, so that a measurement never touches an account.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.calendars import Calendar
from workbench.clock import Clock
from workbench.domain import OrderIntent, OrderState, Side, Snapshot, client_order_id
from workbench.errors import BrokerUnavailable
from workbench.journal import Journal, Owner, RunJournal, RunKey
from workbench.settings import AlpacaSettings, RiskSettings

if TYPE_CHECKING:
    from workbench.brokers.alpaca import AlpacaBroker
    from workbench.brokers.market import Bar, CorporateAction
    from workbench.brokers.matching import Costs
    from workbench.trading.orderlist import OrderList

ACCOUNT, PIPELINE = "practice", "practice"
_CASH = Decimal(1_000_000_000)
_PRICE, _VOLUME = Decimal(100), Decimal(1_000_000_000)
_START_S = 30.0


class FlatMarket:
    """Symbols that cost 100 USD in every session; implements ``Market``."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self._symbols = frozenset(symbols)

    def bar(self, symbol: str, session: date) -> Bar | None:
        from workbench.brokers.market import Bar

        return Bar(_PRICE, _PRICE, _PRICE, _PRICE, _VOLUME) if symbol in self._symbols else None

    def last_close(self, symbol: str, session: date) -> tuple[date, Decimal] | None:
        return (session, _PRICE) if symbol in self._symbols else None

    def average_volume(self, symbol: str, session: date, sessions: int) -> Decimal | None:
        return _VOLUME if symbol in self._symbols else None

    def actions(self, after: date, through: date) -> Sequence[CorporateAction]:
        return ()


def symbols(count: int) -> list[str]:
    return [f"P{number:03}" for number in range(count)]


def order_path(
    folder: Path, calendar: Calendar, clock: Clock, *, singles: int, batch: int
) -> tuple[list[float], float]:
    """Time orders through journal, gates and the embedded exchange, every commit durable in ``folder``.

    Returns
    -------
    Milliseconds of each single order from its proposal to the venue's answer, and seconds of one rebalance of ``batch``
    orders.

    Raises
    ------
    RuntimeError
        If an order was not accepted: its time would mean nothing.
    """
    from workbench.brokers.paper import PaperExchange
    from workbench.trading.gateway import Gateway, GatewayParts

    session, names = calendar.last_closed(clock.now()), symbols(batch)
    market = FlatMarket(names)
    broker = PaperExchange(
        folder / "exchange.sqlite", account=ACCOUNT, market=market, calendar=calendar, costs=_free(), clock=clock,
        starting_cash=_CASH, opened=session,
    )  # fmt: skip
    limits = RiskSettings(max_orders_per_minute=1_000_000, duplicate_window_s=0)
    parts = GatewayParts(
        ACCOUNT, broker, market, calendar, limits, Owner.current(), quality=lambda names, session: {}
    )  # fmt: skip
    with Journal(folder / "journal.sqlite", clock) as journal, Journal(folder / "journal.sqlite", clock) as notebook:
        gateway = Gateway(journal, parts)
        run = _claim(journal, session)
        gateway.open(session, run)
        try:
            times = []
            for number in range(singles):
                plan = _orders(session, f"single{number}", [names[number % batch]])
                times.append(_answered(gateway.step, notebook, run, plan, clock) * 1000)
            rebalance_s = _answered(gateway.step, notebook, run, _orders(session, "rebalance", names), clock)
        finally:
            gateway.close()
        done = journal.read("SELECT count(*) FROM intents WHERE state='accepted'")[0][0]
    if done != singles + batch:
        raise RuntimeError(f"only {done} of {singles + batch} practice orders were accepted")
    return times, rebalance_s


@contextmanager
def served_exchange(folder: Path, calendar: Calendar, clock: Clock) -> Iterator[tuple[AlpacaBroker, str]]:
    """The paper exchange behind Alpaca's interface on a loopback port: a client of it and its address.

    Raises
    ------
    BrokerUnavailable
        If it does not start.
    """
    from workbench.brokers.alpaca import AlpacaBroker
    from workbench.brokers.exchange import Exchange
    from workbench.brokers.exchange_http import Credentials, Service, Venue, bind

    session, names = calendar.last_closed(clock.now()), symbols(4)
    keys = Credentials(secrets.token_hex(9), secrets.token_urlsafe(30))
    market, listening = FlatMarket(names), bind("127.0.0.1", 0)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"

    def make() -> Venue:
        exchange = Exchange(
            folder / "served.sqlite", account=ACCOUNT, market=market, calendar=calendar, costs=_free(), clock=clock,
            starting_cash=_CASH, opened=session,
        )  # fmt: skip
        return Venue(
            exchange, market=market, symbols=names, calendar=calendar, clock=clock, credentials=keys,
            new_id=lambda: secrets.token_hex(8), per_minute=1_000_000,
        )  # fmt: skip

    ready = threading.Event()
    service = Service(listening, make, lambda venue: ready.set())
    thread = threading.Thread(target=service.run, name="practice exchange", daemon=True)
    thread.start()
    try:
        if not ready.wait(_START_S):
            raise BrokerUnavailable("the practice exchange did not start")
        settings = AlpacaSettings(base_url=address, stream=False)
        broker = AlpacaBroker(
            settings, account=ACCOUNT, key=keys.key, secret=keys.secret, calendar=calendar, clock=clock
        )  # fmt: skip
        try:
            yield broker, address
        finally:
            broker.close()
    finally:
        service.stop()
        thread.join(_START_S)


def order_round_trips(
    broker: AlpacaBroker, calendar: Calendar, clock: Clock, tries: int, *, first: int = 0
) -> list[float]:
    """Milliseconds of some orders from the call to the venue's answer, numbered from ``first``; each is cancelled."""
    session, times = calendar.last_closed(clock.now()), []
    for number in range(first, first + tries):
        [intent] = _orders(session, "round_trip", [symbols(1)[0]], first=number).intents
        start = clock.monotonic()
        order = broker.submit(intent)
        times.append((clock.monotonic() - start) * 1000)
        if order.state is not OrderState.ACCEPTED:
            raise RuntimeError(f"a practice order was answered with {order.state.value}")
        broker.cancel(intent.client_order_id)
    return times


def _answered(
    step: Callable[[], None], notebook: Journal, run: str, plan: OrderList, clock: Clock
) -> float:  # fmt: skip
    """Seconds from the proposal until every order of the plan has its answer."""
    from workbench.journal import Batch, OrderJournal

    key = plan.key
    batch = Batch(f"{run}:{key.strategy}", run, ACCOUNT, PIPELINE, key.session, 0, key.strategy, _CASH, _CASH, 1)
    start = clock.monotonic()
    OrderJournal(notebook).propose(batch, plan.targets, plan.intents)
    waiting = "SELECT 1 FROM intents WHERE state IN ('intended', 'submitting') LIMIT 1"
    while notebook.read(waiting):
        step()
    return clock.monotonic() - start


def _orders(session: date, strategy: str, names: Sequence[str], first: int = 0) -> OrderList:
    from workbench.trading.orderlist import OrderList
    from workbench.trading.planner import PlanKey

    intents = []
    for number, name in enumerate(names, first):
        identifier = client_order_id(ACCOUNT, PIPELINE, session, 0, strategy, name, Side.BUY, number)
        intents.append(OrderIntent(identifier, name, Side.BUY, Decimal(1), _PRICE, strategy, number))
    key = PlanKey(ACCOUNT, PIPELINE, session, 0, strategy)
    return OrderList(key, Snapshot(ACCOUNT, session, _CASH), tuple(intents))


def _claim(journal: Journal, session: date) -> str:
    run = f"{PIPELINE}-{session}"
    RunJournal(journal).claim(
        RunKey(ACCOUNT, PIPELINE, session), Owner.current(), run_id=run, folder="", parameters={}, provenance={},
        steps=[],
    )  # fmt: skip
    return run


def _free() -> Costs:
    from workbench.brokers.matching import Costs

    return Costs(Decimal(0), Decimal(0), Decimal(0))
