"""The life of an order under whatever is asked of it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.journals import Desk

from workbench.domain import Decision, OrderState, TradingState
from workbench.errors import JournalError
from workbench.journal.orders import Answer
from workbench.journal.states import can_move, check_move

FINAL = {"denied", "rejected", "filled", "canceled", "expired"}
ASKED = st.lists(
    st.tuples(st.sampled_from(["deny", "authorize", "move", "answer"]), st.sampled_from(list(OrderState))), max_size=14
)


@pytest.mark.parametrize("state", list(OrderState))
def test_a_final_state_is_one_that_nothing_leads_out_of(state: OrderState) -> None:
    assert any(can_move(state, after) for after in OrderState) is (state.value not in FINAL)
    assert state.is_final is (state.value in FINAL)


def test_no_state_leads_to_itself() -> None:
    assert [state for state in OrderState if can_move(state, state)] == []


def test_a_refusal_names_the_order_and_both_states() -> None:
    with pytest.raises(JournalError, match=r"^order c1 cannot go from filled to canceled$"):
        check_move("c1", OrderState.FILLED, OrderState.CANCELED)


@settings(max_examples=60, deadline=None)
@given(asked=ASKED)
def test_whatever_is_asked_no_order_leaves_a_final_state(
    tmp_path_factory: pytest.TempPathFactory, asked: Sequence[tuple[str, OrderState]]
) -> None:
    desk = Desk(tmp_path_factory.mktemp("states") / "journal.sqlite")
    desk.proposed("c1")
    lease = desk.lease()
    seen = [desk.states()["c1"]]
    for what, state in asked:
        with contextlib.suppress(JournalError):
            if what == "deny":
                desk.orders.deny({"c1": Decision(approved=False, gate="g", reason="")})
            elif what == "authorize":
                desk.orders.authorize(["c1"], lease, TradingState.ACTIVE)
            elif what == "move":
                desk.orders.move("c1", state)
            else:
                desk.orders.answer([Answer("c1", state)])
        seen.append(desk.states()["c1"])
    ended = [n for n, state in enumerate(seen) if state in FINAL]
    if ended:
        assert set(seen[ended[0] :]) == {seen[ended[0]]}
    # The events, one after the other, are the life that was seen; an approval goes with every sending.
    events = [tuple(row) for row in desk.journal.read("SELECT from_state, to_state FROM order_events ORDER BY id")]
    assert [after for _, after in events[:-1]] == [before for before, _ in events[1:]]
    assert events[-1][1] == seen[-1]
    changes = [after for before, after in itertools.pairwise(seen) if before != after]
    assert [after for _, after in events] == ["intended", *changes]
    approvals = desk.journal.read("SELECT count(*) FROM decisions WHERE approved")[0][0]
    assert approvals <= [after for _, after in events].count("submitting")
    desk.close()
