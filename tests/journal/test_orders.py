from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from workbench.clock import ManualClock
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
)
from workbench.errors import JournalError
from workbench.journal import Batch, Journal, OrderJournal, Owner, RunJournal, RunKey
from workbench.journal.orders import EVERY_ACCOUNT
from workbench.journal.runs import Lease

SESSION = date(2013, 1, 2)
AT = datetime(2013, 1, 3, 14, 30, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite", ManualClock(datetime(2013, 1, 2, 22, tzinfo=UTC))) as opened:
        RunJournal(opened).claim(
            RunKey("paper", "daily", SESSION), Owner.current(), run_id="r1", folder="runs/r1", parameters={},
            provenance={}, steps=[("rebalance", "rebalance.ipynb")],
        )  # fmt: skip
        yield opened


def intent(identifier: str, quantity: str = "100", side: Side = Side.BUY) -> OrderIntent:
    return OrderIntent(identifier, "IBM", side, Decimal(quantity), Decimal("196.35"), "momentum", 0)


def batch(batch_id: str = "r1:momentum", strategy: str = "momentum") -> Batch:
    return Batch(batch_id, "r1", "paper", "daily", SESSION, 0, strategy, Decimal(100_000), Decimal(100_000), 3)


def lease(journal: Journal) -> Lease:
    return RunJournal(journal).acquire("gateway:paper", Owner.current(), 30)


def fill(identifier: str, quantity: str, price: str, side: Side = Side.BUY) -> Fill:
    return Fill(identifier, "c1", "IBM", side, Decimal(quantity), Decimal(price), Decimal("1"), date(2013, 1, 3), AT)


def test_a_batch_is_written_once_and_the_first_one_stands(journal: Journal) -> None:
    orders = OrderJournal(journal)
    target = Target("IBM", Decimal("0.5"), Decimal("196.35"), Decimal(0), Decimal(249))
    assert orders.propose(batch(), [target], [intent("c1", "249")]) is True
    assert orders.propose(batch("again"), [target], [intent("c2", "7")]) is False
    assert [r.intent.client_order_id for r in orders.intents(account="paper")] == ["c1"]
    assert orders.batch_of("paper", "daily", SESSION, 0, "momentum") == "r1:momentum"
    assert orders.targets("r1:momentum") == [target]


def test_a_batch_with_a_known_order_id_leaves_nothing_of_itself(journal: Journal) -> None:
    orders = OrderJournal(journal)
    orders.propose(batch(), [], [intent("c1")])
    with pytest.raises(JournalError, match="UNIQUE"):
        orders.propose(batch("r1:other", "other"), [], [intent("c9"), intent("c1")])
    assert orders.batch_of("paper", "daily", SESSION, 0, "other") is None
    assert len(orders.intents()) == 1


def test_an_order_walks_its_states_and_every_step_is_on_record(journal: Journal) -> None:
    orders = OrderJournal(journal)
    orders.propose(batch(), [], [intent("c1")])
    assert orders.authorize("c1", lease(journal), TradingState.ACTIVE) is None
    orders.move("c1", OrderState.UNKNOWN, "timed out")
    orders.move("c1", OrderState.ACCEPTED)
    orders.move("c1", OrderState.FILLED)
    events = journal.read("SELECT from_state, to_state FROM order_events ORDER BY id")
    assert [tuple(row) for row in events] == [
        ("", "intended"), ("intended", "submitting"), ("submitting", "unknown"), ("unknown", "accepted"),
        ("accepted", "filled"),
    ]  # fmt: skip
    assert [bool(r["approved"]) for r in journal.read("SELECT approved FROM decisions")] == [True]


@pytest.mark.parametrize(
    ("path", "impossible"),
    [
        ([], OrderState.FILLED),
        ([OrderState.ACCEPTED, OrderState.FILLED], OrderState.CANCELED),
        ([OrderState.REJECTED], OrderState.ACCEPTED),
        ([OrderState.ACCEPTED], OrderState.SUBMITTING),
        ([OrderState.ACCEPTED], OrderState.INTENDED),
    ],
)
def test_an_impossible_move_is_refused(journal: Journal, path: list[OrderState], impossible: OrderState) -> None:
    orders = OrderJournal(journal)
    orders.propose(batch(), [], [intent("c1")])
    if path:
        orders.authorize("c1", lease(journal), TradingState.ACTIVE)
    for state in path:
        orders.move("c1", state)
    with pytest.raises(JournalError, match="order c1 cannot go from"):
        orders.move("c1", impossible)


def test_a_denial_is_final_and_says_which_gate(journal: Journal) -> None:
    orders = OrderJournal(journal)
    orders.propose(batch(), [], [intent("c1")])
    orders.deny("c1", Decision(approved=False, gate="max_order_value", reason="too large"))
    assert orders.intents()[0].state is OrderState.DENIED
    row = journal.read("SELECT * FROM decisions")[0]
    assert (row["approved"], row["gate"], row["reason"]) == (0, "max_order_value", "too large")
    with pytest.raises(JournalError):
        orders.authorize("c1", lease(journal), TradingState.ACTIVE)


def test_nothing_is_authorized_after_a_halt_was_committed(journal: Journal) -> None:
    orders = OrderJournal(journal)
    orders.propose(batch(), [], [intent("c1")])
    held = lease(journal)
    orders.set_trading_state(EVERY_ACCOUNT, TradingState.HALTED, "drill", "me")
    assert orders.authorize("c1", held, TradingState.ACTIVE) is TradingState.HALTED
    assert orders.intents()[0].state is OrderState.INTENDED
    assert journal.read("SELECT count(*) FROM decisions")[0][0] == 0


def test_a_stale_lease_authorizes_nothing(journal: Journal) -> None:
    orders = OrderJournal(journal)
    orders.propose(batch(), [], [intent("c1")])
    stale = lease(journal)
    lease(journal)  # the next holder's token is higher
    with pytest.raises(JournalError, match="passed to another process; nothing was sent"):
        orders.authorize("c1", stale, TradingState.ACTIVE)
    assert orders.intents()[0].state is OrderState.INTENDED


@pytest.mark.parametrize(
    ("own", "everyone", "stands"),
    [
        (None, None, TradingState.ACTIVE),
        (TradingState.HALTED, TradingState.ACTIVE, TradingState.HALTED),
        (TradingState.ACTIVE, TradingState.HALTED, TradingState.HALTED),
        (TradingState.REDUCING, None, TradingState.REDUCING),
    ],
)
def test_the_stricter_trading_state_stands(
    journal: Journal, own: TradingState | None, everyone: TradingState | None, stands: TradingState
) -> None:
    orders = OrderJournal(journal)
    for account, state in (("paper", own), (EVERY_ACCOUNT, everyone)):
        if state is not None:
            orders.set_trading_state(account, state, "", "me")
    assert orders.trading_state("paper") is stands


def test_a_fill_counts_once_however_often_the_venue_tells_it(journal: Journal) -> None:
    orders = OrderJournal(journal)
    orders.propose(batch(), [], [intent("c1")])
    first, second = fill("f1", "60", "200"), fill("f2", "40", "201")
    assert orders.record_fills("paper", "paper", [first]) == 1
    assert orders.record_fills("paper", "paper", [first, second]) == 1
    books = orders.books("paper")
    # 60 x 200 + 40 x 201 = 20,040, and two fees of 1.
    assert books.cash == Decimal(-20_042)
    assert books.holdings == {"IBM": Decimal(100)}
    assert orders.last_fill_id("paper", "paper") == "f2"


def test_books_are_the_sum_of_fills_and_activities(journal: Journal) -> None:
    orders = OrderJournal(journal)
    orders.record_activities(
        "paper",
        "paper",
        [
            Activity("a1", ActivityKind.DEPOSIT, "", SESSION, Decimal(0), Decimal(100_000), AT),
            Activity("a2", ActivityKind.SPLIT, "IBM", SESSION, Decimal(100), Decimal(0), AT),
            Activity("a3", ActivityKind.DIVIDEND, "IBM", SESSION, Decimal(0), Decimal("85"), AT),
        ],
    )
    orders.record_fills("paper", "paper", [fill("f1", "100", "200"), fill("f2", "200", "101", Side.SELL)])
    books = orders.books("paper")
    # 100,000 + 85 - (20,000 + 1) + (20,200 - 1); 100 bought, doubled by the split, 200 sold.
    assert books.cash == Decimal(100_283)
    assert books.holdings == {}


def test_a_session_is_marked_once(journal: Journal) -> None:
    orders = OrderJournal(journal)
    orders.mark("paper", SESSION, Decimal(1000), {"IBM": (Decimal(2), Decimal(200))})
    orders.mark("paper", SESSION, Decimal(9999), {})
    mark = orders.last_mark("paper")
    assert mark is not None
    assert (mark["cash"], mark["equity"]) == ("1000", "1400")


def test_a_trading_state_that_cannot_be_read_means_halted(journal: Journal) -> None:
    with journal.transaction() as connection:
        connection.execute("INSERT INTO trading_states (account,state,reason,actor,at) VALUES ('paper','??','','','')")
    assert OrderJournal(journal).trading_state("paper") is TradingState.HALTED


def test_a_trading_state_that_changed_since_the_decision_is_told(journal: Journal) -> None:
    orders = OrderJournal(journal)
    orders.propose(batch(), [], [intent("c1")])
    orders.set_trading_state("paper", TradingState.REDUCING, "", "me")
    assert orders.authorize("c1", lease(journal), TradingState.ACTIVE) is TradingState.REDUCING
    assert orders.intents()[0].state is OrderState.INTENDED
