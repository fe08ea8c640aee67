from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from support.journals import EVENING, NEXT, SESSION, Desk, batch, fill, intent

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
from workbench.journal.controls import EVERY_ACCOUNT
from workbench.journal.leases import Lease
from workbench.journal.orders import FLATTEN, Answer

S = OrderState
# docs/architecture.md, "An order's life", and the way back when the venue is known not to have the order.
LIFE = {
    S.INTENDED: {S.DENIED, S.SUBMITTING},
    S.SUBMITTING: {S.ACCEPTED, S.REJECTED, S.UNKNOWN, S.PARTIALLY_FILLED, S.FILLED, S.CANCELED, S.EXPIRED}
    | {S.INTENDED, S.DENIED},
    S.UNKNOWN: {S.ACCEPTED, S.REJECTED, S.PARTIALLY_FILLED, S.FILLED, S.CANCELED, S.EXPIRED, S.INTENDED},
    S.ACCEPTED: {S.PARTIALLY_FILLED, S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED},
    S.PARTIALLY_FILLED: {S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED},
    S.DENIED: set(),
    S.REJECTED: set(),
    S.FILLED: set(),
    S.CANCELED: set(),
    S.EXPIRED: set(),
}


def in_state(desk: Desk, state: OrderState) -> None:
    """Order c1, put into a state from outside."""
    desk.proposed("c1")
    desk.journal._connection.execute("UPDATE intents SET state=? WHERE client_order_id='c1'", (state.value,))


# ---- proposals ------------------------------------------------------------------------------------


def test_a_batch_is_written_once_and_the_first_one_stands(desk: Desk) -> None:
    target = Target("IBM", Decimal("0.5"), Decimal("196.35"), Decimal(0), Decimal(249))
    assert desk.orders.propose(batch(), [target], [intent("c1", "249")]) is True
    assert desk.orders.propose(batch("again"), [target], [intent("c2", "7")]) is False
    assert [r.intent.client_order_id for r in desk.orders.intents(account="paper")] == ["c1"]
    assert desk.orders.batch_of("paper", "daily", SESSION, 0, "momentum") == "r1:momentum"
    assert desk.orders.targets("r1:momentum") == [target]


def test_a_batch_with_a_known_order_id_leaves_nothing_of_itself(desk: Desk) -> None:
    desk.proposed("c1")
    with pytest.raises(JournalError, match="UNIQUE"):
        desk.orders.propose(batch("r1:other", "other"), [], [intent("c9"), intent("c1")])
    assert desk.orders.batch_of("paper", "daily", SESSION, 0, "other") is None
    assert (desk.count("intents"), desk.count("order_events"), desk.count("batches")) == (1, 1, 1)


@pytest.mark.parametrize(
    "proposed",
    [
        intent("c1"),
        intent("c1", "0.000000001", Side.SELL, type=OrderType.LIMIT, limit_price=Decimal("0.0001")),
        intent("c1", type=OrderType.STOP, stop_price=Decimal("180.10"), time_in_force=TimeInForce.GTC),
        intent("c1", type=OrderType.STOP_LIMIT, stop_price=Decimal(180), limit_price=Decimal("179.50")),
        intent("c1", type=OrderType.TRAILING_STOP, trail_price=Decimal("2.5")),
        intent("c1", type=OrderType.TRAILING_STOP, trail_percent=Decimal("1.25"), replaces="c0"),
        intent("c1", "1.5278", notional_usd=Decimal("300"), time_in_force=TimeInForce.CLS),
        intent("c1", bracket=Bracket(Decimal(210), Decimal(190)), time_in_force=TimeInForce.OPG),
        intent("c1", bracket=Bracket(Decimal(210), Decimal(190), Decimal("189.5"))),
    ],
)
def test_an_order_of_any_type_is_read_back_as_it_was_proposed(desk: Desk, proposed: OrderIntent) -> None:
    desk.orders.propose(batch(), [], [proposed])
    record = desk.orders.intent("c1")
    assert record is not None
    assert record.intent == proposed
    assert (record.run_id, record.session, record.kind, record.state) == ("r1", SESSION, "plan", S.INTENDED)
    assert [found.intent for found in desk.orders.intents()] == [proposed]


def test_an_order_that_nobody_proposed_is_not_there(desk: Desk) -> None:
    assert desk.orders.intent("c1") is None
    with pytest.raises(JournalError, match="order c1 was never proposed"):
        desk.orders.move("c1", S.ACCEPTED)


def test_orders_are_found_by_account_batch_and_state_in_the_order_of_proposal(desk: Desk) -> None:
    desk.sent("c2", "c1")
    desk.proposed("c3", strategy="other")
    desk.orders.move("c1", S.UNKNOWN)

    def found(**filters: object) -> list[str]:
        return [r.intent.client_order_id for r in desk.orders.intents(**filters)]  # type: ignore[arg-type]

    assert found() == ["c2", "c1", "c3"]
    assert found(account="other") == []
    assert found(batch_id="r1:other") == ["c3"]
    assert found(account="paper", states=[S.UNKNOWN, S.INTENDED]) == ["c1", "c3"]
    assert found(states=[]) == []


def test_what_filled_is_summed_for_a_thousand_orders_at_once(desk: Desk) -> None:
    names = [f"c{n}" for n in range(1001)]
    desk.sent(*names)
    desk.orders.answer([Answer(name, S.PARTIALLY_FILLED) for name in names])
    desk.record(*(fill(f"f{n}", "10", "200", order=f"c{n}") for n in range(1001)), fill("g", "5", "201", order="c1000"))
    records = desk.orders.intents()
    assert {record.filled_quantity for record in records[:-1]} == {Decimal(10)}
    assert (records[-1].filled_quantity, records[-1].open_quantity) == (Decimal(15), Decimal(85))


def test_only_an_order_that_may_be_at_the_venue_has_shares_open(desk: Desk) -> None:
    desk.proposed("c1")
    opened = {}
    for state in OrderState:
        desk.journal._connection.execute("UPDATE intents SET state=?", (state.value,))
        opened[state] = desk.orders.intents()[0].open_quantity
    assert {state for state, quantity in opened.items() if quantity} == {
        S.SUBMITTING, S.UNKNOWN, S.ACCEPTED, S.PARTIALLY_FILLED,
    }  # fmt: skip


def test_an_order_filled_beyond_its_size_has_nothing_open(desk: Desk) -> None:
    desk.sent("c1")
    desk.orders.move("c1", S.PARTIALLY_FILLED)
    desk.record(fill("f1", "120", "200"))
    assert desk.orders.intents()[0].open_quantity == 0


def test_waiting_and_undecided_say_what_is_left_to_do(desk: Desk) -> None:
    assert desk.orders.waiting("paper") is False
    desk.proposed("c1", "c2", "c3")
    assert desk.orders.waiting("paper") is True
    assert desk.orders.waiting("other") is False
    assert desk.orders.undecided("r1:momentum") == 3
    desk.orders.authorize(["c1", "c2"], desk.lease(), TradingState.ACTIVE)
    desk.orders.deny({"c3": Decision(approved=False, gate="g", reason="r")})
    assert desk.orders.waiting("paper") is False
    assert desk.orders.undecided("r1:momentum") == 2
    desk.orders.answer([Answer("c1", S.ACCEPTED), Answer("c2", S.REJECTED)])
    assert desk.orders.undecided("r1:momentum") == 0


def test_orders_that_went_out_since_a_moment_are_told_with_that_moment(desk: Desk) -> None:
    desk.proposed("c1", "c2", "c3")
    lease = desk.lease()
    for name in ("c1", "c2"):
        desk.clock.sleep(10)
        desk.orders.authorize([name], lease, TradingState.ACTIVE)
    desk.orders.answer([Answer("c1", S.ACCEPTED)])
    told = desk.orders.sent_since("paper", EVENING)
    assert [(sent.at - EVENING, sent.client_order_id, sent.session) for sent in told] == [
        (timedelta(seconds=10), "c1", SESSION), (timedelta(seconds=20), "c2", SESSION),
    ]  # fmt: skip
    assert (told[0].symbol, told[0].side, told[0].quantity) == ("IBM", Side.BUY, Decimal(100))
    since = EVENING + timedelta(seconds=20)
    assert [sent.client_order_id for sent in desk.orders.sent_since("paper", since)] == ["c2"]
    assert desk.orders.sent_since("other", EVENING) == []


# ---- the life of an order -------------------------------------------------------------------------


def test_an_order_walks_its_states_and_every_step_is_on_record(desk: Desk) -> None:
    desk.sent("c1")
    desk.orders.move("c1", S.UNKNOWN, "timed out")
    desk.orders.move("c1", S.ACCEPTED)
    desk.orders.move("c1", S.FILLED)
    events = desk.journal.read("SELECT from_state, to_state, detail FROM order_events ORDER BY id")
    assert [tuple(row) for row in events] == [
        ("", "intended", ""), ("intended", "submitting", ""), ("submitting", "unknown", "timed out"),
        ("unknown", "accepted", ""), ("accepted", "filled", ""),
    ]  # fmt: skip
    assert [bool(r["approved"]) for r in desk.journal.read("SELECT approved FROM decisions")] == [True]


@pytest.mark.parametrize("before", list(OrderState))
def test_every_move_that_is_not_in_an_orders_life_is_refused(desk: Desk, before: OrderState) -> None:
    in_state(desk, before)
    for after in OrderState:
        if after in LIFE[before]:
            continue
        with pytest.raises(JournalError, match=f"order c1 cannot go from {before} to {after}"):
            desk.orders.move("c1", after)
    assert desk.states() == {"c1": before.value}
    assert desk.count("order_events") == 1


@pytest.mark.parametrize(("before", "after"), [(b, a) for b in LIFE for a in sorted(LIFE[b])])
def test_every_move_of_an_orders_life_is_possible(desk: Desk, before: OrderState, after: OrderState) -> None:
    in_state(desk, before)
    desk.orders.move("c1", after)
    assert desk.states() == {"c1": after.value}


def test_a_denial_is_final_and_says_which_gate(desk: Desk) -> None:
    desk.proposed("c1")
    desk.orders.deny({"c1": Decision(approved=False, gate="max_order_value", reason="too large")})
    assert desk.states() == {"c1": "denied"}
    row = desk.journal.read("SELECT * FROM decisions")[0]
    assert (row["approved"], row["gate"], row["reason"]) == (0, "max_order_value", "too large")
    with pytest.raises(JournalError):
        desk.orders.authorize(["c1"], desk.lease(), TradingState.ACTIVE)


def test_several_denials_stand_together_or_not_at_all(desk: Desk) -> None:
    desk.proposed("c1", "c2", "c3")
    refusals = {name: Decision(approved=False, gate="g", reason=name) for name in ("c1", "c2")}
    desk.orders.deny(refusals)
    assert desk.states() == {"c1": "denied", "c2": "denied", "c3": "intended"}
    with pytest.raises(JournalError, match="c2 cannot go from denied"):
        desk.orders.deny({name: Decision(approved=False, gate="g", reason="") for name in ("c3", "c2")})
    assert desk.states()["c3"] == "intended"
    assert [row["reason"] for row in desk.journal.read("SELECT reason FROM decisions ORDER BY id")] == ["c1", "c2"]


# ---- authorization --------------------------------------------------------------------------------


def test_several_orders_are_authorized_in_one_transaction(desk: Desk) -> None:
    desk.proposed("c1", "c2", "c3")
    assert desk.orders.authorize(["c1", "c3"], desk.lease(), TradingState.ACTIVE) is None
    assert desk.states() == {"c1": "submitting", "c2": "intended", "c3": "submitting"}
    assert [row["client_order_id"] for row in desk.journal.read("SELECT * FROM decisions ORDER BY id")] == ["c1", "c3"]


@pytest.mark.parametrize("bad", ["c9", "gone"])
def test_one_order_that_cannot_go_keeps_all_of_them(desk: Desk, bad: str) -> None:
    desk.proposed("c1", "gone", "c2")
    desk.orders.deny({"gone": Decision(approved=False, gate="g", reason="")})
    with pytest.raises(JournalError, match=bad):
        desk.orders.authorize(["c1", bad, "c2"], desk.lease(), TradingState.ACTIVE)
    assert desk.states() == {"c1": "intended", "gone": "denied", "c2": "intended"}
    assert desk.count("decisions") == 1


def test_nothing_is_authorized_after_a_halt_was_committed(desk: Desk) -> None:
    desk.proposed("c1", "c2")
    held = desk.lease()
    desk.controls.set_trading_state(EVERY_ACCOUNT, TradingState.HALTED, "drill", "me")
    assert desk.orders.authorize(["c1", "c2"], held, TradingState.ACTIVE) is TradingState.HALTED
    assert desk.orders.authorize(["c1", "c2"], held, TradingState.HALTED) is TradingState.HALTED
    assert set(desk.states().values()) == {"intended"}
    assert desk.count("decisions") == 0


def test_nothing_is_authorized_after_a_breaker_latched(desk: Desk) -> None:
    desk.proposed("c1")
    desk.controls.trip("paper", "drawdown", TradingState.HALTED, "down 21 %")
    assert desk.orders.authorize(["c1"], desk.lease(), TradingState.ACTIVE) is TradingState.HALTED


def test_a_trading_state_that_changed_since_the_decision_is_told(desk: Desk) -> None:
    desk.proposed("c1")
    desk.controls.set_trading_state("paper", TradingState.REDUCING, "", "me")
    assert desk.orders.authorize(["c1"], desk.lease(), TradingState.ACTIVE) is TradingState.REDUCING
    assert desk.states() == {"c1": "intended"}
    assert desk.orders.authorize(["c1"], desk.lease(), TradingState.REDUCING) is None


def test_a_state_that_got_laxer_since_the_decision_is_told_too(desk: Desk) -> None:
    desk.proposed("c1")
    assert desk.orders.authorize(["c1"], desk.lease(), TradingState.REDUCING) is TradingState.ACTIVE
    assert desk.states() == {"c1": "intended"}


def test_a_stale_lease_authorizes_nothing(desk: Desk) -> None:
    desk.proposed("c1", "c2")
    stale = desk.lease()
    desk.lease()  # the next holder's token is higher
    with pytest.raises(JournalError, match="passed to another process; nothing was sent"):
        desk.orders.authorize(["c1", "c2"], stale, TradingState.ACTIVE)
    with pytest.raises(JournalError, match="passed to another process"):
        desk.orders.authorize(["c1"], Lease("gateway:nobody", 1), TradingState.ACTIVE)
    assert set(desk.states().values()) == {"intended"}


def test_the_kill_switchs_own_orders_pass_while_trading_is_halted_and_nothing_else_does(desk: Desk) -> None:
    desk.proposed("c1")
    desk.proposed("flat", strategy="kill switch", kind=FLATTEN)
    held = desk.lease()
    desk.controls.set_trading_state("paper", TradingState.HALTED, "drill", "me")
    assert desk.orders.authorize(["flat", "c1"], held, TradingState.HALTED) is TradingState.HALTED
    assert desk.orders.authorize(["c1"], held, TradingState.HALTED) is TradingState.HALTED
    assert set(desk.states().values()) == {"intended"}
    assert desk.orders.authorize(["flat"], held, TradingState.HALTED) is None
    assert desk.states() == {"c1": "intended", "flat": "submitting"}


def test_the_kill_switchs_orders_go_no_other_way_than_decided(desk: Desk) -> None:
    desk.proposed("flat", strategy="kill switch", kind=FLATTEN)
    held = desk.lease()
    assert desk.orders.authorize(["flat"], held, TradingState.HALTED) is TradingState.ACTIVE  # resumed in between
    desk.controls.set_trading_state("paper", TradingState.HALTED, "drill", "me")
    desk.lease()
    with pytest.raises(JournalError, match="passed to another process"):
        desk.orders.authorize(["flat"], held, TradingState.HALTED)


def test_a_batch_is_a_plan_or_flattens(desk: Desk) -> None:
    with pytest.raises(JournalError, match="CHECK"):
        desk.orders.propose(batch(kind="panic"), [], [])


# ---- answers --------------------------------------------------------------------------------------


def test_answers_are_recorded_with_the_venues_id_and_its_words(desk: Desk) -> None:
    desk.sent("c1", "c2")
    order = Order(
        "v1", "c1", "IBM", Side.BUY, Decimal(100), OrderType.MARKET, None, TimeInForce.DAY, S.ACCEPTED, Decimal(0), None
    )
    assert desk.orders.answer([Answer.of(order, "new"), Answer("c2", S.REJECTED, "no such symbol")]) == []
    assert desk.states() == {"c1": "accepted", "c2": "rejected"}
    assert [r.broker_order_id for r in desk.orders.intents()] == ["v1", None]
    last = desk.journal.read("SELECT detail FROM order_events ORDER BY id DESC LIMIT 2")
    assert [row["detail"] for row in last] == ["no such symbol", "new"]


def test_an_answer_that_is_known_already_leaves_no_trace(desk: Desk) -> None:
    desk.sent("c1")
    desk.orders.answer([Answer("c1", S.PARTIALLY_FILLED, broker_order_id="v1")])
    events = desk.count("order_events")
    # the same again, and an older view of the order
    assert desk.orders.answer([Answer("c1", S.PARTIALLY_FILLED), Answer("c1", S.ACCEPTED)]) == []
    assert (desk.states(), desk.count("order_events")) == ({"c1": "partially_filled"}, events)


def test_the_venues_first_id_of_an_order_stands(desk: Desk) -> None:
    desk.sent("c1")
    desk.orders.answer([Answer("c1", S.ACCEPTED)])
    desk.orders.answer([Answer("c1", S.ACCEPTED, broker_order_id="v1")])
    desk.orders.answer([Answer("c1", S.FILLED, broker_order_id="v2")])
    assert desk.orders.intents()[0].broker_order_id == "v1"


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (S.FILLED, S.ACCEPTED),
        (S.FILLED, S.CANCELED),
        (S.CANCELED, S.FILLED),
        (S.EXPIRED, S.PARTIALLY_FILLED),
        (S.REJECTED, S.ACCEPTED),
        (S.DENIED, S.ACCEPTED),
    ],
)
def test_an_answer_that_contradicts_the_record_changes_nothing_and_is_handed_back(
    desk: Desk, known: OrderState, told: OrderState
) -> None:
    in_state(desk, known)
    desk.sent("c2", strategy="other")
    contradiction = Answer("c1", told, "so says the venue")
    assert desk.orders.answer([contradiction, Answer("c2", S.FILLED)]) == [contradiction]
    assert desk.states() == {"c1": known.value, "c2": "filled"}


def test_an_answer_about_an_order_that_is_not_ours_is_an_error_and_nothing_is_recorded(desk: Desk) -> None:
    desk.sent("c1")
    with pytest.raises(JournalError, match="order c9 was never proposed"):
        desk.orders.answer([Answer("c1", S.ACCEPTED), Answer("c9", S.ACCEPTED)])
    assert desk.states() == {"c1": "submitting"}


def test_an_execution_does_not_move_its_order(desk: Desk) -> None:
    desk.sent("c1")
    desk.record(fill("f1", "100", "200", session=NEXT))
    record = desk.orders.intent("c1")
    assert record is not None
    assert (record.state, record.filled_quantity, record.open_quantity) == (S.SUBMITTING, Decimal(100), Decimal(0))
