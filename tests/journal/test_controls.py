from __future__ import annotations

import json
from datetime import date

import pytest
from support.journals import Desk

from workbench.domain import TradingState
from workbench.journal.controls import BY_HAND, EVERY_ACCOUNT, EVERY_SYMBOL, Command, Stop

ACTIVE, REDUCING, HALTED = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED
NOW = "2013-01-02T22:00:00.000000+00:00"


# ---- trading states -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "everyone", "stands"),
    [
        (None, None, ACTIVE),
        (HALTED, ACTIVE, HALTED),
        (ACTIVE, HALTED, HALTED),
        (REDUCING, None, REDUCING),
        (REDUCING, HALTED, HALTED),
        (HALTED, REDUCING, HALTED),
    ],
)
def test_the_stricter_trading_state_stands(
    desk: Desk, own: TradingState | None, everyone: TradingState | None, stands: TradingState
) -> None:
    for account, state in (("paper", own), (EVERY_ACCOUNT, everyone)):
        if state is not None:
            desk.controls.set_trading_state(account, state, "", "me")
    assert desk.controls.trading_state("paper") is stands


def test_a_trading_state_that_cannot_be_read_means_halted(desk: Desk) -> None:
    with desk.journal.transaction() as connection:
        connection.execute("INSERT INTO trading_states (account,state,reason,actor,at) VALUES ('paper','??','','','')")
    assert desk.controls.trading_state("paper") is HALTED
    assert desk.controls.trading_state("other") is ACTIVE
    assert [stop.state for stop in desk.controls.halted()] == [HALTED]


def test_each_cause_is_lifted_for_itself(desk: Desk) -> None:
    desk.controls.set_trading_state("paper", HALTED, "clock is off", "gateway", cause="clock")
    desk.controls.set_trading_state("paper", REDUCING, "winding down", "ada")
    desk.controls.set_trading_state("paper", ACTIVE, "over", "ada")
    assert desk.controls.trading_state("paper") is HALTED
    desk.controls.set_trading_state("paper", ACTIVE, "clock is right", "gateway", cause="clock")
    assert desk.controls.trading_state("paper") is ACTIVE


def test_every_standing_stop_is_told_oldest_first_with_what_was_said_last(desk: Desk) -> None:
    assert desk.controls.halted() == []
    desk.controls.set_trading_state("paper", REDUCING, "winding down", "ada")
    desk.controls.set_trading_state("gone", HALTED, "drill", "ada")
    desk.controls.set_trading_state(EVERY_ACCOUNT, HALTED, "fire", "bob")
    desk.controls.set_trading_state("gone", ACTIVE, "over", "ada")
    desk.controls.set_trading_state("paper", HALTED, "worse", "carl")
    desk.controls.trip("paper", "drawdown", REDUCING, "down 21 %")
    assert desk.controls.halted() == [
        Stop(EVERY_ACCOUNT, HALTED, BY_HAND, "fire", "bob", NOW),
        Stop("paper", HALTED, BY_HAND, "worse", "carl", NOW),
        Stop("paper", REDUCING, "breaker:drawdown", "down 21 %", "breaker:drawdown", NOW),
    ]


# ---- breakers -------------------------------------------------------------------------------------


def test_a_breaker_stays_latched_until_a_person_resets_it(desk: Desk) -> None:
    assert desk.controls.trip("paper", "drawdown", HALTED, "down 21 %") is True
    assert desk.controls.trip("paper", "drawdown", HALTED, "down 25 %") is False
    assert {name: stop.reason for name, stop in desk.controls.breakers("paper").items()} == {"drawdown": "down 21 %"}
    desk.controls.reset("paper", "drawdown", actor="ada", reason="understood", session=date(2013, 1, 4))
    assert desk.controls.breakers("paper") == {}
    assert desk.controls.trading_state("paper") is ACTIVE
    assert desk.controls.last_reset("paper", "drawdown") == date(2013, 1, 4)
    row = desk.journal.read("SELECT * FROM breaker_resets")[0]
    assert (row["reason"], row["actor"]) == ("understood", "ada")


def test_a_breaker_that_was_reset_can_latch_again(desk: Desk) -> None:
    for down in ("21 %", "22 %"):
        assert desk.controls.trip("paper", "drawdown", HALTED, down) is True
        assert desk.controls.breakers("paper")["drawdown"].reason == down
        desk.controls.reset("paper", "drawdown", actor="ada", reason="", session=None)


def test_resuming_by_hand_does_not_reset_a_breaker_nor_the_other_way_round(desk: Desk) -> None:
    desk.controls.trip("paper", "daily_loss", REDUCING, "lost 4 %")
    desk.controls.set_trading_state("paper", HALTED, "drill", "ada")
    desk.controls.set_trading_state("paper", ACTIVE, "over", "ada")
    desk.controls.set_trading_state(EVERY_ACCOUNT, ACTIVE, "over", "ada")
    assert desk.controls.trading_state("paper") is REDUCING
    desk.controls.set_trading_state("paper", HALTED, "drill", "ada")
    desk.controls.reset("paper", "daily_loss", actor="ada", reason="understood", session=None)
    assert desk.controls.trading_state("paper") is HALTED
    assert desk.controls.breakers("paper") == {}


def test_breakers_are_apart_by_name_and_account(desk: Desk) -> None:
    desk.controls.trip("paper", "daily_loss", REDUCING, "lost 4 %")
    desk.controls.trip("paper", "drawdown", HALTED, "down 21 %")
    desk.controls.trip("other", "drawdown", HALTED, "down 30 %")
    desk.controls.reset("paper", "drawdown", actor="ada", reason="", session=date(2013, 1, 4))
    assert set(desk.controls.breakers("paper")) == {"daily_loss"}
    assert set(desk.controls.breakers("other")) == {"drawdown"}
    assert desk.controls.trading_state("paper") is REDUCING
    assert desk.controls.trading_state("other") is HALTED
    assert desk.controls.last_reset("paper", "daily_loss") is None
    assert desk.controls.last_reset("other", "drawdown") is None


def test_the_last_reset_counts(desk: Desk) -> None:
    for day in (date(2013, 1, 4), date(2013, 1, 9)):
        desk.controls.reset("paper", "drawdown", actor="ada", reason="", session=day)
    assert desk.controls.last_reset("paper", "drawdown") == date(2013, 1, 9)
    desk.controls.reset("paper", "drawdown", actor="ada", reason="before any mark", session=None)
    assert desk.controls.last_reset("paper", "drawdown") is None


# ---- locks ----------------------------------------------------------------------------------------


def test_what_differs_is_locked_and_what_agrees_again_is_freed(desk: Desk) -> None:
    desk.controls.set_locks("paper", {"IBM": "10 here, 12 there", EVERY_SYMBOL: "cash"}, "me", release=True)
    assert desk.controls.locks("paper") == {EVERY_SYMBOL: "cash", "IBM": "10 here, 12 there"}
    desk.controls.set_locks("paper", {"IBM": "10 here, 12 there", "GE": "an order"}, "me", release=True)
    assert desk.controls.locks("paper") == {"GE": "an order", "IBM": "10 here, 12 there"}
    assert desk.controls.locks("other") == {}
    desk.controls.set_locks("paper", {}, "me", release=True)
    assert desk.controls.locks("paper") == {}


def test_a_lock_can_be_added_without_freeing_the_others(desk: Desk) -> None:
    desk.controls.set_locks("paper", {"IBM": "a"}, "me", release=False)
    desk.controls.set_locks("paper", {"GE": "b"}, "me", release=False)
    assert desk.controls.locks("paper") == {"GE": "b", "IBM": "a"}


def test_a_lock_that_stands_is_not_written_again_unless_its_reason_changes(desk: Desk) -> None:
    for reason in ("a", "a", "b", "a"):
        desk.controls.set_locks("paper", {"IBM": reason}, "me", release=True)
    desk.controls.set_locks("paper", {}, "me", release=True)
    desk.controls.set_locks("paper", {}, "me", release=True)
    rows = desk.journal.read("SELECT locked, reason, actor FROM locks ORDER BY id")
    assert [tuple(row) for row in rows] == [
        (1, "a", "me"), (1, "b", "me"), (1, "a", "me"), (0, "agrees again", "me"),
    ]  # fmt: skip


def test_a_reconciliation_is_on_record_with_what_it_found(desk: Desk) -> None:
    found = [{"kind": "cash", "symbol": "*", "difference": "10 here, 9 there", "fix": "adopt -1 USD"}]
    desk.controls.record_reconciliation("paper", "start", found)
    desk.controls.record_reconciliation("paper", "end", [])
    rows = desk.journal.read("SELECT * FROM reconciliations ORDER BY id")
    assert [(row["moment"], row["agrees"], json.loads(row["differences"]), row["at"]) for row in rows] == [
        ("start", 0, found, NOW), ("end", 1, [], NOW),
    ]  # fmt: skip


# ---- commands -------------------------------------------------------------------------------------


def test_a_command_is_asked_carried_out_and_answered(desk: Desk) -> None:
    first = desk.controls.ask("paper", "cancel", "ada", "c1")
    second = desk.controls.ask("paper", "flatten", "bob")
    other = desk.controls.ask("other", "cancel", "ada")
    assert desk.controls.asked("paper") == [
        Command(first, "paper", "cancel", "c1", "ada"), Command(second, "paper", "flatten", EVERY_SYMBOL, "bob"),
    ]  # fmt: skip
    assert desk.controls.answer(first) is None
    desk.controls.finish(first, "1 order cancelled")
    assert desk.controls.answer(first) == "1 order cancelled"
    assert [command.number for command in desk.controls.asked("paper")] == [second]
    assert [command.number for command in desk.controls.asked("other")] == [other]


def test_the_first_answer_stands(desk: Desk) -> None:
    number = desk.controls.ask("paper", "cancel", "ada")
    desk.controls.finish(number, "done")
    desk.controls.finish(number, "done again")
    assert desk.controls.answer(number) == "done"
    assert desk.controls.answer(999) is None


def test_an_empty_answer_is_an_answer(desk: Desk) -> None:
    number = desk.controls.ask("paper", "cancel", "ada")
    desk.controls.finish(number, "")
    assert desk.controls.answer(number) == ""
    assert desk.controls.asked("paper") == []
