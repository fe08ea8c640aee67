"""A small story told to a real journal: 20 sessions, three symbols, one refusal, a dividend and a split.

The account starts with 10,000 USD on 2013-01-02 (session 0). What can be checked by hand:

=======  ====================================================================  ===========
session  what happens                                                          cash after
=======  ====================================================================  ===========
1        buy 40 AAA at 100.02 and 80 BBB at 50.01, 1.00 fee each; CCC denied     1,996.40
7        BBB pays 1.00 on 80 shares                                              2,076.40
10       AAA splits 2 for 1: 40 become 80; the 5 ordered at 109 the day before
         fill as 10 at 54.5109, fee 1.00                                         1,530.291
13       sell 30 BBB at 49.99, fee 1.00                                          3,028.991
19       10 CCC ordered, not filled yet                                          3,028.991
=======  ====================================================================  ===========

AAA closes at 100 + session, halved from session 10; BBB at 50; CCC at 20. At the end 90 AAA at 59.50 and
50 BBB at 50.00 are worth 7,855.00, so equity is 10,883.991. Equal thirds held since session 0 would be
(119/100 + 1.02 + 1) / 3 = 1.07 times the start: the dividend of 1 on 50 is the 1.02.

``corrected`` goes on from there: the day after, reconciliation finds what ``CORRECTIONS`` says, and somebody
adopts it. The sale of session 13 was busted (30 x 49.99 - 1.00 = 1,498.70), the second purchase of AAA cost
0.50 less, 7 CCC were bought by hand at 20.50 in session 18 (144.00 with the fee), 3 AAA and -1.25 USD differ
without a trade. Session 18 then closes with 2,884.991 in cash, session 19 with 1,390.041.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from workbench.clock import ManualClock
from workbench.data.dataset import Dataset
from workbench.data.lake import Lake
from workbench.domain import (
    Activity,
    ActivityKind,
    Decision,
    Fill,
    OrderIntent,
    OrderState,
    Side,
    Target,
    TradingState,
    client_order_id,
)
from workbench.journal import Batch, Controls, Journal, Ledger, OrderJournal, Owner, RunJournal, RunKey
from workbench.journal.ledger import Correction
from workbench.journal.states import RunState

ACCOUNT, PIPELINE, STRATEGY, BROKER = "paper", "daily", "momentum", "paper"
SESSIONS = tuple(
    date(2013, 1, day) for day in (2, 3, 4, 7, 8, 9, 10, 11, 14, 15, 16, 17, 18, 22, 23, 24, 25, 28, 29, 30)
)
SYMBOLS = ("AAA", "BBB", "CCC")
REFUSAL = "order value 2,000.00 USD is above the limit of 1,500.00 USD"
# (session decided, side, symbol, quantity, reference price) and how it went the session after.
ORDERS = {
    0: [("buy", "AAA", 40, "100"), ("buy", "BBB", 80, "50"), ("buy", "CCC", 100, "20")],
    9: [("buy", "AAA", 5, "109")],
    12: [("sell", "BBB", 30, "50")],
    19: [("buy", "CCC", 10, "20")],
}
FILLS = {
    1: [("AAA", 40, "100.02"), ("BBB", 80, "50.01")],
    10: [("AAA", 10, "54.5109")],
    13: [("BBB", 30, "49.99")],
}
ACTIVITIES = {
    0: [(ActivityKind.DEPOSIT, "", "0", "10000")],
    7: [(ActivityKind.DIVIDEND, "BBB", "0", "80")],
    10: [(ActivityKind.SPLIT, "AAA", "40", "0")],
}

CORRECTIONS = (
    Correction("bust", "BBB", SESSIONS[19], Decimal(30), Decimal("-1498.70"), "gone at the venue", "F13-0"),
    Correction("correct", "AAA", SESSIONS[19], Decimal(0), Decimal(5), "now 10 at 54.0109", "F10-0"),
    Correction("external", "CCC", SESSIONS[18], Decimal(0), Decimal(0), "not ours", "H1"),
    Correction("position", "AAA", SESSIONS[19], Decimal(3), Decimal(0), "the books have 90, the venue 93"),
    Correction("cash", "", SESSIONS[19], Decimal(0), Decimal("-1.25"), "the venue has 1.25 USD less"),
)


def close(symbol: str, i: int) -> Decimal:
    """The raw close of session ``i``."""
    if symbol == "AAA":
        return Decimal(100 + i) / (2 if i >= 10 else 1)
    return Decimal(50) if symbol == "BBB" else Decimal(20)


class Story:
    """The same sessions played into a journal, one at a time or all at once."""

    def __init__(self, journal: Journal, clock: ManualClock) -> None:
        self.journal, self.clock = journal, clock
        self.orders, self.runs = OrderJournal(journal), RunJournal(journal)
        self.ledger, self.controls = Ledger(journal), Controls(journal)
        self.played = 0

    sessions = SESSIONS

    def play(self, sessions: int = len(SESSIONS), refusal: str = REFUSAL) -> None:
        """Play the next sessions, until ``sessions`` have been played."""
        for i in range(self.played, sessions):
            self._session(i, refusal)
        self.played = max(self.played, sessions)

    def stray(self, i: int = 18, fill_id: str = "H1") -> Fill:
        """7 CCC bought by hand at the venue in session ``i``."""
        quantity, price = Decimal(7), Decimal("20.50")
        return Fill(
            fill_id, "by-hand", "CCC", Side.BUY, quantity, price, Decimal("0.50"), SESSIONS[i], self.clock.now()
        )

    def adopt(self) -> None:
        """Somebody adopts what reconciliation found."""
        self.ledger.record(ACCOUNT, BROKER, [self.stray()], [])
        self.ledger.correct(ACCOUNT, BROKER, CORRECTIONS, "ada")

    def correct(self) -> None:
        """What reconciliation found the day after, with locks and a breaker, and how it was put right."""
        differences = [{"kind": c.kind, "symbol": c.symbol, "difference": c.reason} for c in CORRECTIONS]
        locked = {"BBB": "gone at the venue", "CCC": "not ours"}
        self.controls.record_reconciliation(ACCOUNT, "start", differences)
        self.controls.set_locks(ACCOUNT, locked, "reconciliation", release=True)
        self.controls.trip(ACCOUNT, "drawdown", TradingState.REDUCING, "down 12 %")
        self.clock.advance(60)
        self.adopt()
        self.controls.record_reconciliation(ACCOUNT, "asked", [])
        self.controls.set_locks(ACCOUNT, {}, "reconciliation", release=True)

    def order_id(self, i: int, side: str, symbol: str) -> str:
        sequence = [(order[0], order[1]) for order in ORDERS[i]].index((side, symbol))
        return client_order_id(ACCOUNT, PIPELINE, SESSIONS[i], 0, STRATEGY, symbol, Side(side), sequence)

    def _session(self, i: int, refusal: str) -> None:
        run_id = f"daily-{SESSIONS[i]:%Y%m%d}"
        key, owner = RunKey(ACCOUNT, PIPELINE, SESSIONS[i]), Owner("host", 1, 1.0)
        claim = {"run_id": run_id, "folder": f"data/runs/{run_id}", "parameters": {"top": 2}, "steps": []}
        self.runs.claim(key, owner, provenance={"data_snapshot": 1}, **claim)
        if i == 5:  # the first attempt is lost, the second one goes through
            self.clock.advance(60)
            self.runs.claim(key, Owner("host", 1, 1.0), provenance={}, **claim)
        self._exchange(i)
        self._propose(i, run_id, refusal)
        self.clock.advance(4)
        self.runs.set_state(run_id, RunState.SUCCEEDED, exit_code=0)
        self.clock.advance(timedelta(days=1).total_seconds())

    def _exchange(self, i: int) -> None:
        """What the venue did since the session before, and the account at the close."""
        happened = [
            Activity(f"A{i}-{n}", kind, symbol, SESSIONS[i], Decimal(shares), Decimal(cash), self.clock.now())
            for n, (kind, symbol, shares, cash) in enumerate(ACTIVITIES.get(i, []))
        ]
        self.ledger.record(ACCOUNT, BROKER, [], happened)
        for n, (symbol, quantity, price) in enumerate(FILLS.get(i, [])):
            decided = max(at for at in ORDERS if at < i)
            side = next(order[0] for order in ORDERS[decided] if order[1] == symbol)
            known = self.order_id(decided, side, symbol)
            fill = Fill(
                f"F{i}-{n}", known, symbol, Side(side), Decimal(quantity), Decimal(price), Decimal("1.00"), SESSIONS[i],
                self.clock.now(),
            )  # fmt: skip
            self.ledger.record(ACCOUNT, BROKER, [fill], [])
            self.orders.move(known, OrderState.FILLED)
        books = self.ledger.books(ACCOUNT)
        held = {symbol: (quantity, close(symbol, i)) for symbol, quantity in books.holdings.items()}
        self.ledger.mark(ACCOUNT, SESSIONS[i], books.cash, held)

    def _propose(self, i: int, run_id: str, refusal: str) -> None:
        books = self.ledger.books(ACCOUNT)
        targets = [
            Target(symbol, weight, close(symbol, i), books.holdings.get(symbol, Decimal(0)), Decimal(10))
            for symbol, weight in zip(SYMBOLS, (Decimal("0.5"), Decimal("0.25"), Decimal("0")), strict=True)
        ]
        intents = [
            OrderIntent(
                self.order_id(i, side, symbol), symbol, Side(side), Decimal(quantity), Decimal(reference), STRATEGY, n
            )
            for n, (side, symbol, quantity, reference) in enumerate(ORDERS.get(i, []))
        ]
        batch = Batch(
            f"B{i}", run_id, ACCOUNT, PIPELINE, SESSIONS[i], 0, STRATEGY, Decimal(10000), books.cash, data_snapshot=1
        )
        self.orders.propose(batch, targets, intents)
        lease = self.runs.acquire("gateway", Owner("host", 1, 1.0), 60)
        for intent in intents:
            if i == 0 and intent.symbol == "CCC":
                refused = Decision(False, gate="max_order_value", reason=refusal)
                self.orders.deny({intent.client_order_id: refused})
            else:
                self.orders.authorize([intent.client_order_id], lease, TradingState.ACTIVE)
                self.orders.move(intent.client_order_id, OrderState.ACCEPTED)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2013, 1, 2, 21, 30, tzinfo=UTC))


@pytest.fixture
def journal(tmp_path: Path, clock: ManualClock) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite", clock) as opened:
        yield opened


@pytest.fixture
def story(journal: Journal, clock: ManualClock) -> Story:
    """The story before its first session."""
    return Story(journal, clock)


@pytest.fixture
def told(story: Story) -> Story:
    """The story with all of its sessions played."""
    story.play()
    return story


@pytest.fixture
def corrected(told: Story) -> Story:
    """The story, and what was corrected afterwards."""
    told.correct()
    return told


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A real lake with the story's prices, split and dividend, in snapshots that never change."""
    bars = pd.DataFrame(
        [
            (symbol, pd.Timestamp(day), *4 * [float(close(symbol, i))], 1e6)
            for symbol in SYMBOLS
            for i, day in enumerate(SESSIONS)
        ],
        columns=["symbol", "session", "open", "high", "low", "close", "volume"],
    )
    actions = pd.DataFrame(
        [
            ("AAA", pd.Timestamp(SESSIONS[10]), "split", 2.0, "published"),
            ("BBB", pd.Timestamp(SESSIONS[7]), "dividend", 1.0, "published"),
        ],
        columns=["symbol", "ex_date", "kind", "value", "origin"],
    )
    with Lake(tmp_path_factory.mktemp("lake")) as made:
        made.load(Dataset(bars, actions, "story", "story-1"))
        yield made
