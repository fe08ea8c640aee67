from __future__ import annotations

from datetime import date
from decimal import Decimal

from workbench.domain import TradingState
from workbench.journal.orders import EVERY_ACCOUNT
from workbench.reports.status import status


def test_an_account_at_a_glance(told):
    assert status(told.journal) == [
        {
            "account": "paper",
            "trading": "active",
            "reason": "",
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
    told.orders.set_trading_state(EVERY_ACCOUNT, TradingState.HALTED, "fire drill", "someone")
    told.orders.set_trading_state("paper", TradingState.REDUCING, "winding down", "someone")
    (row,) = status(told.journal)
    assert (row["trading"], row["reason"]) == ("halted", "fire drill")


def test_a_halted_account_that_never_ran_is_listed(story):
    story.orders.set_trading_state("paper", TradingState.HALTED, "not yet", "someone")
    (row,) = status(story.journal)
    assert (row["trading"], row["equity"], row["last_run"], row["positions"]) == ("halted", None, None, 0)
