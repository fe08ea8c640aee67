"""What makes the numbers of a backtest hard to believe, said in words."""

from __future__ import annotations

import numpy as np
import pandas as pd

from workbench.research.costs import Assumptions
from workbench.research.inputs import Array, Inputs, day

# An unleveraged account that doubles within a session, or grows this much in a year, holds a wrong price or split.
_LEAP = 1.0
_GROWTH_PER_YEAR = 10.0
_OVERDRAFT = 0.01


def flags_of(
    equity: Array,
    cash: Array,
    positions: Array,
    marks: Array,
    orders: pd.DataFrame,
    inputs: Inputs,
    assumed: Assumptions,
) -> tuple[str, ...]:
    """Sentences about an absurd equity, and about what the assumptions leave open; each names its session."""
    said = [*_of_equity(equity, inputs, assumed), *_of_books(equity, cash, positions, marks, inputs, assumed)]
    said += _of_orders(orders)
    said += _of_delisted(positions, marks, inputs, assumed)
    if inputs.warm_up_lacking:
        last = inputs.sessions[min(inputs.warm_up_lacking, len(inputs.sessions)) - 1]
        said.append(f"the strategy had too few bars to decide until {day(last)}: the account waited in cash")
    if assumed.fill == "close":
        said.append("fills are at the close that was decided on: optimistic, because it is not known in time")
    elif assumed.sizing == "fill":
        said.append("shares are counted at the price and equity of the fill: an order sent before it cannot know them")
    return tuple(said)


def _of_equity(equity: Array, inputs: Inputs, assumed: Assumptions) -> list[str]:
    sessions = inputs.sessions
    broken = np.flatnonzero(~np.isfinite(equity))
    if broken.size:
        return [f"equity is not a number from {day(sessions[broken[0]])} on"]
    said = []
    ruined = np.flatnonzero(equity <= 0)
    if ruined.size:
        said.append(f"equity is {equity[ruined[0]]:,.2f} USD on {day(sessions[ruined[0]])}: the account was ruined")
        return said
    change = equity[1:] / equity[:-1] - 1.0
    leap = np.flatnonzero(change > _LEAP)
    if leap.size:
        at = int(leap[0]) + 1
        said.append(
            f"equity rose by {change[leap[0]]:.0%} on {day(sessions[at])} alone: look for a wrong price or split"
        )
    years = max((len(equity) - 1) / assumed.sessions_per_year, 1.0)
    growth = (equity[-1] / equity[0]) ** (1.0 / years) - 1.0
    if growth > _GROWTH_PER_YEAR:
        said.append(f"equity grew by {growth:.0%} a year: look for look-ahead, a wrong price or missing costs")
    if np.ptp(equity) == 0.0:
        said.append("equity never changes: nothing was held")
    return said


def _of_books(
    equity: Array, cash: Array, positions: Array, marks: Array, inputs: Inputs, assumed: Assumptions
) -> list[str]:
    said = []
    value = np.abs(positions * np.where(positions != 0.0, marks, 0.0)).sum(axis=1)
    gross = np.divide(value, equity, out=np.zeros(len(equity)), where=equity > 0)
    most = int(np.argmax(gross))
    limit = assumed.max_leverage * (1.0 + 10 * _OVERDRAFT)
    if gross[most] > limit:
        said.append(
            f"positions were worth {gross[most]:.2f} times the equity on {day(inputs.sessions[most])}, "
            f"and max_leverage is {assumed.max_leverage:g}: it limits decisions, not what prices do afterwards"
        )
    least = int(np.argmin(cash))
    if assumed.max_leverage <= 1.0 and cash[least] < -_OVERDRAFT * assumed.capital_usd:
        said.append(
            f"cash was {cash[least]:,.2f} USD on {day(inputs.sessions[least])}: a buy always fills in full "
            f"(cash_buffer and buys='within_cash' prevent it)"
        )
    return said


def _of_orders(orders: pd.DataFrame) -> list[str]:
    counts = orders["status"].value_counts()
    words = {"expired": "found no bar, volume or cash and expired", "partially_filled": "were filled in part"}
    return [f"{counts[status]} of {len(orders)} orders {what}" for status, what in words.items() if status in counts]


def _of_delisted(positions: Array, marks: Array, inputs: Inputs, assumed: Assumptions) -> list[str]:
    said = []
    for column in np.flatnonzero(inputs.delisted >= 0):
        last = int(inputs.delisted[column]) - 1
        held = positions[last, column]
        if held == 0.0:
            continue
        what = "is kept at" if assumed.delisting == "hold" else "was paid out at"
        said.append(
            f"{inputs.symbols[column]} has no bars after {day(inputs.sessions[last])}: the position of {held:g} shares "
            f"{what} its last close of {marks[last, column]:g} USD (delisting={assumed.delisting!r})"
        )
    return said
