"""A journal and an exchange on disk between which gateways come and go: the order path without a runner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from support.markets import StaticMarket, bar

from workbench.brokers.matching import Costs
from workbench.brokers.paper import PaperExchange
from workbench.calendars import calendar
from workbench.clock import ManualClock
from workbench.domain import Order, OrderIntent, Side, client_order_id
from workbench.errors import BrokerUnavailable, OrderRejected, OrderUnknown, RateLimited
from workbench.journal import Batch, Controls, Journal, Ledger, OrderJournal, Owner, RunJournal, RunKey
from workbench.journal.orders import PLAN
from workbench.settings import RiskSettings
from workbench.trading.gateway import Gateway, GatewayParts

SESSIONS = calendar("XNYS").sessions(date(2013, 1, 7), date(2013, 3, 1))
MON, TUE, WED = SESSIONS[:3]
RUN = f"daily-{MON}"
FLAT = bar("100", "100", "100", "100")
MARKET = StaticMarket({symbol: dict.fromkeys(SESSIONS, FLAT) for symbol in ("A", "B", "C")})
LIMITS = RiskSettings(
    max_order_value_usd=Decimal(50_000), max_gross_exposure=Decimal(1), max_name_exposure=Decimal(1),
    require_quality=False,
)  # fmt: skip


class Crash(BaseException):
    """The process dies here."""


class FaultyExchange(PaperExchange):
    """The real exchange behind a connection that can fail at chosen calls of ``submit``."""

    faults: list[str]

    def submit(self, intent: OrderIntent) -> Order:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "crash before":
            raise Crash
        if fault == "unavailable":
            raise BrokerUnavailable("no route to the exchange")
        if fault == "refused":
            raise OrderRejected("not today")
        if fault == "busy":
            raise RateLimited("too many requests", retry_after_s=1.0)
        if fault == "lost":
            raise OrderUnknown("timed out on the way")
        order = super().submit(intent)
        if fault == "crash after":
            raise Crash
        if fault == "answer lost":
            raise OrderUnknown("timed out")
        return order


class House:
    """A journal and an exchange on disk; gateways come and go."""

    def __init__(self, folder: Path, market: StaticMarket = MARKET, clock: Any = None) -> None:
        self.folder = folder
        self.market = market
        self.clock = clock or ManualClock(datetime(2013, 1, 7, 22, tzinfo=UTC))
        self.journal = Journal(folder / "journal.sqlite", self.clock)
        self.orders = OrderJournal(self.journal)
        self.controls = Controls(self.journal)
        self.ledger = Ledger(self.journal)
        self.generation = 0

    def exchange(self, faults: list[str] | None = None) -> FaultyExchange:
        found = FaultyExchange(
            self.folder / "exchange.sqlite", account="paper", market=self.market, calendar=calendar("XNYS"),
            costs=Costs(Decimal("0.005"), Decimal(1), Decimal(2)), starting_cash=Decimal(100_000), opened=MON,
            clock=self.clock,
        )  # fmt: skip
        found.faults = faults or []
        return found

    def gateway(self, faults: list[str] | None = None, owner: Owner | None = None, **parts: Any) -> Gateway:
        """A gateway of a new process: the one before is dead, whatever its lease says."""
        self.generation += 1
        me = Owner.current()
        made = GatewayParts(
            "paper", self.exchange(faults), self.market, calendar("XNYS"), LIMITS,
            owner or Owner(me.host, 2**22 + self.generation, 1.0),
        )  # fmt: skip
        return Gateway(self.journal, replace(made, **parts))

    def propose(
        self,
        session: date,
        wanted: Sequence[tuple[str, Side, int]],
        strategy: str = "s",
        reference_price: Decimal = Decimal(100),
        kind: str = PLAN,
        **fields: Any,
    ) -> list[str]:
        """Write a batch as a notebook would; ``fields`` go to every intent. Returns the ids."""
        run_id = f"daily-{session}"
        RunJournal(self.journal).claim(
            RunKey("paper", "daily", session), Owner.current(), run_id=run_id, folder="", parameters={},
            provenance={}, steps=[],
        )  # fmt: skip
        batch = Batch(
            f"{run_id}:{strategy}", run_id, "paper", "daily", session, 0, strategy, Decimal(0), Decimal(0), 1, kind
        )
        intents = [
            OrderIntent(
                client_order_id("paper", "daily", session, 0, strategy, symbol, side, number), symbol, side,
                Decimal(quantity), reference_price, strategy, number, **fields,
            )
            for number, (symbol, side, quantity) in enumerate(wanted)
        ]  # fmt: skip
        self.orders.propose(batch, [], intents)
        return [intent.client_order_id for intent in intents]

    def trade(self, wanted: Sequence[tuple[str, Side, int]], through: date = TUE) -> Gateway:
        """Place orders on Monday and carry the account to ``through``; the gateway that stands there."""
        gateway = self.gateway()
        gateway.open(MON, RUN)
        self.propose(MON, wanted)
        gateway.pump()
        gateway.close()
        later = self.gateway()
        later.open(through, f"daily-{through}")
        return later

    def decisions(self) -> list[tuple[str, str]]:
        """Gate and reason of every refusal, in order."""
        rows = self.journal.read("SELECT gate, reason FROM decisions WHERE approved = 0 ORDER BY id")
        return [(row["gate"], row["reason"]) for row in rows]

    def states(self) -> list[str]:
        return [record.state.value for record in self.orders.intents()]

    def close(self) -> None:
        self.journal.close()
