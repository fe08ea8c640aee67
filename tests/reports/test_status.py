from __future__ import annotations

from datetime import date
from decimal import Decimal

from workbench.domain import TradingState
from workbench.journal.controls import EVERY_ACCOUNT, EVERY_SYMBOL
from workbench.reports.status import status


def test_an_account_at_a_glance(told):
    assert status(told.journal) == [
        {
            "account": "paper",
            "trading": "active",
            "reason": "",
            "stops": [],
            "locks": {},
            "session": date(2013, 1, 30),
            "equity": Decimal("10883.9910"),
            "cash": Decimal("3028.9910"),
            "positions": 2,
            "open_orders": 1,
            "last_run": "daily-20130130",
            "last_session": date(2013, 1, 30),
            "last_state": "succeeded",
        }
    ]


def test_the_stricter_of_two_trading_states_stands(told):
    told.controls.set_trading_state(EVERY_ACCOUNT, TradingState.HALTED, "fire drill", "someone")
    told.controls.set_trading_state("paper", TradingState.REDUCING, "winding down", "someone")
    (row,) = status(told.journal)
    assert (row["trading"], row["reason"]) == ("halted", "fire drill")


def test_a_halted_account_that_never_ran_is_listed(story):
    story.controls.set_trading_state("paper", TradingState.HALTED, "not yet", "someone")
    (row,) = status(story.journal)
    assert (row["trading"], row["equity"], row["last_run"], row["positions"]) == ("halted", None, None, 0)


def test_every_standing_stop_is_told_in_words(told):
    told.controls.set_trading_state(EVERY_ACCOUNT, TradingState.REDUCING, "fire drill", "ada")
    told.clock.advance(3600)
    told.controls.trip("paper", "drawdown", TradingState.HALTED, "down 21 % from the high, the limit is 20 %")
    told.controls.trip("other", "daily_loss", TradingState.HALTED, "not this account")
    told.controls.set_trading_state("paper", TradingState.HALTED, "clock is off", "gateway", cause="clock")
    told.controls.set_trading_state("paper", TradingState.ACTIVE, "over", "ada")
    row = next(row for row in status(told.journal) if row["account"] == "paper")
    # 20 days on from 2013-01-02T21:30 by the story: 4 s a run, 60 s for the one that was lost
    assert (row["trading"], row["reason"]) == ("halted", "down 21 % from the high, the limit is 20 %")
    assert row["stops"] == [
        "REDUCING: every account, by ada at 2013-01-22T21:32: fire drill",
        "HALTED: account paper, breaker drawdown latched at 2013-01-22T22:32:"
        " down 21 % from the high, the limit is 20 %",
        "HALTED: account paper, clock, by gateway at 2013-01-22T22:32: clock is off",
    ]


def test_locked_symbols_are_listed_with_the_reason_until_they_are_freed(story):
    story.controls.set_locks("paper", {"IBM": "10 here, 12 there", EVERY_SYMBOL: "cash differs"}, "me", release=True)
    (row,) = status(story.journal)
    assert row["locks"] == {"IBM": "10 here, 12 there", "*": "cash differs"}
    story.controls.set_locks("paper", {"IBM": "10 here, 12 there"}, "me", release=True)
    (row,) = status(story.journal)
    assert row["locks"] == {"IBM": "10 here, 12 there"}
