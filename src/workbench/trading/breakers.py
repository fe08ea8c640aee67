"""Circuit breakers: the loss of the last session and the fall from the highest close, free of money paid in or out.

They only measure and say what has tripped; the gateway latches it in the journal, where it stands until a named
person resets it. After a reset a breaker measures from the close of the session it was reset on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise

from workbench.journal import Controls, Journal, Ledger
from workbench.journal.ledger import Mark
from workbench.settings import RiskSettings

DAILY_LOSS = "daily_loss"
DRAWDOWN = "drawdown"
NAMES = (DAILY_LOSS, DRAWDOWN)


@dataclass(frozen=True, slots=True)
class Trip:
    """A breaker that has tripped: what was measured, and the limit it is over, as fractions."""

    name: str
    message: str
    value: Decimal
    limit: Decimal


def check(journal: Journal, account: str, limits: RiskSettings) -> list[Trip]:
    """The breakers that the marks of an account have tripped since each was last reset."""
    return tripped(Ledger(journal).curve(account), limits, resets(journal, account))


def resets(journal: Journal, account: str) -> dict[str, date]:
    """The session each breaker was last reset on; those never reset are left out."""
    controls = Controls(journal)
    found = {name: controls.last_reset(account, name) for name in NAMES}
    return {name: session for name, session in found.items() if session is not None}


def tripped(curve: Sequence[Mark], limits: RiskSettings, resets: Mapping[str, date] | None = None) -> list[Trip]:
    """The breakers that an account's closes, oldest first, have tripped; a value at its limit has not.

    >>> closes = [Mark(date(2013, 1, 2), Decimal(100), Decimal(100)), Mark(date(2013, 1, 3), Decimal(85), Decimal(0))]
    >>> [trip.message for trip in tripped(closes, RiskSettings())]
    ['daily loss of 15.00% on 2013-01-03, over 10.00%']
    """
    found = []
    resets = resets or {}
    for name, limit in ((DAILY_LOSS, limits.max_daily_loss), (DRAWDOWN, limits.max_drawdown)):
        value = measure(name, curve, resets.get(name))
        if value > limit:
            what = {DAILY_LOSS: "daily loss", DRAWDOWN: "drawdown"}[name]
            on = f"on {curve[-1].session}"
            found.append(Trip(name, f"{what} of {value:.2%} {on}, over {limit:.2%}", value, limit))
    return found


def measure(name: str, curve: Sequence[Mark], reset: date | None = None) -> Decimal:
    """What a breaker measures over the closes from the one it was reset on, as a fraction; zero without two closes."""
    marks = [mark for mark in curve if reset is None or mark.session >= reset]
    return daily_loss(marks) if name == DAILY_LOSS else drawdown(marks)


def daily_loss(curve: Sequence[Mark]) -> Decimal:
    """The loss of the last session as a share of the equity at the close before; a gain is negative.

    What came in or went out during the session is not profit or loss: (equity - flow) / equity before.

    >>> before = Mark(date(2013, 1, 2), Decimal(100), Decimal(0))
    >>> daily_loss([before, Mark(date(2013, 1, 3), Decimal(145), Decimal(50))])
    Decimal('0.05')
    """
    return 1 - _growth(curve[-2], curve[-1]) if len(curve) > 1 else Decimal(0)


def drawdown(curve: Sequence[Mark]) -> Decimal:
    """How far the last close lies below the highest one, as a share of that, on the time-weighted index.

    The index grows by (equity - flow) / equity before, from close to close: money paid in makes no new high, money
    taken out no drawdown. Source: time-weighted return, CFA Institute, GIPS Standards (2020), daily valuation.
    """
    index = high = Decimal(1)
    for before, after in pairwise(curve):
        index *= _growth(before, after)
        high = max(high, index)
    return 1 - index / high


def _growth(before: Mark, after: Mark) -> Decimal:
    """One session's growth factor; zero where more than everything is lost, one where nothing was there to lose."""
    if before.equity <= 0:
        return Decimal(1)
    return max((after.equity - after.flow) / before.equity, Decimal(0))
