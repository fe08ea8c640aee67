"""Curves worked out by hand: what is a loss, and what is only money that came in or went out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.clock import ManualClock
from workbench.domain import Activity, ActivityKind
from workbench.journal import Controls, Journal, Ledger
from workbench.journal.ledger import Mark
from workbench.settings import RiskSettings
from workbench.trading import breakers

DAYS = [date(2013, 1, 2) + timedelta(days=n) for n in range(30)]
LIMITS = RiskSettings(max_daily_loss=Decimal("0.10"), max_drawdown=Decimal("0.30"))


def curve(*closes: str) -> list[Mark]:
    """Closes as ``"equity"`` or ``"equity flow"``."""
    marks = []
    for day, close in zip(DAYS, closes, strict=False):
        equity, _, flow = close.partition(" ")
        marks.append(Mark(day, Decimal(equity), Decimal(flow or 0)))
    return marks


@pytest.mark.parametrize(
    ("closes", "loss"),
    [
        (curve("100 100", "95"), "0.05"),
        (curve("100 100", "110"), "-0.1"),
        (curve("100 100", "150 60"), "0.1"),  # 150 of which 60 were paid in: 90 are left of 100
        (curve("100 100", "50 -50"), "0"),  # half was taken out
        (curve("100 100", "45 -50"), "0.05"),
        (curve("100 100", "50", "60"), "-0.2"),  # only the last session
        (curve("100 100", "-20"), "1"),  # more than everything is everything
        (curve("100 100"), "0"),
        (curve("0", "50 50"), "0"),
        ([], "0"),
    ],
)
def test_the_daily_loss_is_against_the_close_before_less_what_was_paid_in(closes: list[Mark], loss: str) -> None:
    assert breakers.daily_loss(closes) == Decimal(loss)


@pytest.mark.parametrize(
    ("closes", "fall"),
    [
        (curve("100 100", "120", "90"), "0.25"),  # 90 / 120
        (curve("100 100", "120", "90", "120"), "0"),
        (curve("100 100", "120", "90", "150"), "0"),
        (curve("100 100", "200 100", "150"), "0.25"),  # doubled by a deposit: no new high, then 150 / 200
        (curve("100 100", "50 -50", "50"), "0"),  # halved by a withdrawal: no drawdown
        (curve("100 100", "80", "180 100", "135"), "0.4"),  # 0.8 x 1 x 0.75
        (curve("100 100", "80", "40 -40", "30"), "0.4"),  # the same with money taken out
        (curve("100 100", "0", "100 100", "200"), "1"),  # nothing is left of what was there
        (curve("100 100"), "0"),
        ([], "0"),
    ],
)
def test_the_drawdown_is_from_the_highest_close_of_the_time_weighted_index(closes: list[Mark], fall: str) -> None:
    assert breakers.drawdown(closes) == Decimal(fall)


def test_a_value_over_its_limit_trips_and_one_at_it_does_not() -> None:
    assert breakers.tripped(curve("100 100", "90"), LIMITS) == []
    (trip,) = breakers.tripped(curve("100 100", "89.99"), LIMITS)
    assert (trip.name, trip.value, trip.limit) == ("daily_loss", Decimal("0.1001"), Decimal("0.10"))
    assert trip.message == "daily loss of 10.01% on 2013-01-03, over 10.00%"


def test_a_slow_fall_trips_the_drawdown_alone_and_a_crash_both() -> None:
    slow = curve("100 100", "92", "85", "78", "72", "69")
    assert [trip.name for trip in breakers.tripped(slow, LIMITS)] == ["drawdown"]
    assert [trip.name for trip in breakers.tripped(curve("100 100", "60"), LIMITS)] == ["daily_loss", "drawdown"]


def test_a_deposit_does_not_hide_a_loss_and_a_withdrawal_is_none() -> None:
    assert [t.name for t in breakers.tripped(curve("100 100", "180 100"), LIMITS)] == ["daily_loss"]  # 80 of 100
    assert breakers.tripped(curve("100 100", "40 -60"), LIMITS) == []


def test_after_a_reset_a_breaker_measures_from_that_close() -> None:
    crash = curve("100 100", "60", "57", "42")
    both = {"daily_loss": DAYS[1], "drawdown": DAYS[1]}
    assert breakers.tripped(crash[:2], LIMITS, both) == []
    assert breakers.tripped(crash[:3], LIMITS, both) == []  # 5 % under the close of the reset
    assert breakers.measure("drawdown", crash, DAYS[1]) == Decimal("0.3")
    # 42 / 57 is a loss of 26 %, 42 / 60 a drawdown of 30 % exactly.
    assert [trip.name for trip in breakers.tripped(crash, LIMITS, both)] == ["daily_loss"]
    # One breaker's reset is not the other's.
    only = {"daily_loss": DAYS[1]}
    assert [trip.name for trip in breakers.tripped(crash[:2], LIMITS, only)] == ["drawdown"]


@given(
    st.lists(st.tuples(st.decimals("0.5", "1.5", places=2), st.integers(-40, 80)), min_size=1, max_size=20),
)
def test_money_paid_in_or_out_never_changes_what_is_measured(steps: list[tuple[Decimal, int]]) -> None:
    still = [Mark(DAYS[0], Decimal(100), Decimal(100))]
    moved = [Mark(DAYS[0], Decimal(1000), Decimal(1000))]
    for day, (growth, percent) in zip(DAYS[1:], steps, strict=False):
        still.append(Mark(day, still[-1].equity * growth, Decimal(0)))
        grown = moved[-1].equity * growth
        flow = grown * percent / 100
        moved.append(Mark(day, grown + flow, flow))
    assert abs(breakers.drawdown(still) - breakers.drawdown(moved)) < Decimal("1e-20")
    assert abs(breakers.daily_loss(still) - breakers.daily_loss(moved)) < Decimal("1e-20")


def test_an_accounts_own_marks_and_resets_are_read_from_the_journal(tmp_path: Path) -> None:
    clock = ManualClock(datetime(2013, 1, 2, 22, tzinfo=UTC))
    with Journal(tmp_path / "journal.sqlite", clock) as journal:
        ledger, controls = Ledger(journal), Controls(journal)

        def deposit(name: str, day: date, usd: int) -> None:
            activity = Activity(name, ActivityKind.DEPOSIT, "", day, Decimal(0), Decimal(usd), clock.now())
            ledger.record("paper", "paper", [], [activity])

        deposit("1", DAYS[0], 1000)
        ledger.mark("paper", DAYS[0], Decimal(1000), {})
        deposit("2", DAYS[1], 500)
        ledger.mark("paper", DAYS[1], Decimal(1350), {})  # 850 of 1,000, and 500 more
        (trip,) = breakers.check(journal, "paper", LIMITS)
        assert (trip.name, trip.value) == ("daily_loss", Decimal("0.15"))
        assert breakers.check(journal, "other", LIMITS) == []
        controls.reset("paper", "daily_loss", actor="Ann", reason="a known event", session=DAYS[1])
        assert breakers.resets(journal, "paper") == {"daily_loss": DAYS[1]}
        assert breakers.check(journal, "paper", LIMITS) == []
