"""Compiled simulation of target weights: several symbols, one cash account, nothing kept but sums."""

# Compiled code: arrays are described in words, numba infers their types.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np

from workbench.indicators.compiling import compiled
from workbench.research.sweeping import books
from workbench.research.sweeping.books import Rules, change_of, fill, mark

_INSERTION = 24  # up to so many orders are sorted by insertion


@compiled
def simulate(weights, prices, marks, traded_on, due, lag: int, rules: Rules, sums) -> None:
    """Run one account through a window and leave its sums.

    Parameters
    ----------
    weights
        Sessions x symbols, fraction of equity, checked: finite and not negative, zero without a close.
    prices
        Sessions x symbols, what an order fills at in that session, before slippage; NaN: it expires.
    marks
        Sessions x symbols, last known close.
    traded_on
        Sessions x symbols, whether there is a close: without one a symbol is left alone.
    due
        By session, whether targets are acted on.
    lag
        Sessions from decision to fill: 1, or 0 to fill at the close decided on.
    sums
        Zeros, of length :data:`books.SUMS`.
    """
    sessions, symbols = weights.shape
    held, last = np.zeros(symbols), np.zeros(symbols)
    traded = np.zeros((3, symbols))
    orders, values = np.empty(symbols), np.empty(symbols)
    picked = np.empty(symbols, dtype=np.int64)
    cash = equity = rules.capital
    peak = -np.inf
    sums[books.LOWEST] = np.inf
    for now in range(sessions):
        decided = now - lag
        if decided >= 0 and due[decided]:
            worth = cash
            for at in range(symbols):
                if held[at] != 0.0:
                    worth += held[at] * marks[decided, at]
            count = _decide(
                weights[decided], marks[decided], traded_on[decided], prices[now], worth, held, last, rules,
                orders, values, picked,
            )  # fmt: skip
            _sort(values, picked, count)
            for place in range(count):
                at = picked[place]
                cash = fill(at, orders[at], prices[now, at], cash, held, traded, rules, sums)
        invested = 0.0
        for at in range(symbols):
            if held[at] != 0.0:
                invested += held[at] * marks[now, at]
        before, equity = equity, cash + invested
        peak = mark(now, equity, before, invested, peak, sums)
    sums[books.FINAL] = equity


@compiled
def _decide(weights, marks, traded_on, prices, equity, held, last, rules, orders, values, picked):
    """Write the orders of one close: shares by symbol, their value, and which symbols have one; return how many."""
    count = 0
    for at in range(len(weights)):
        if not traded_on[at]:
            continue
        weight = weights[at]
        if rules.on_change > 0.0:
            unchanged = weight == last[at]
            last[at] = weight
            if unchanged:
                continue
        elif weight == 0.0 and held[at] == 0.0:
            continue
        if np.isnan(prices[at]):
            continue
        change = change_of(weight * (1.0 - rules.buffer), marks[at], equity, held[at], rules)
        if change != 0.0:
            orders[at] = change
            values[count] = change * marks[at]
            picked[count] = at
            count += 1
    return count


@compiled
def _sort(values, picked, count) -> None:
    """Order by value, so that sales pay for purchases and small purchases come first; equal ones as they were."""
    if count > _INSERTION:
        ranks = np.argsort(values[:count], kind="mergesort")
        picked[:count] = picked[:count][ranks]
        return
    for place in range(1, count):
        value, at = values[place], picked[place]
        before = place - 1
        while before >= 0 and values[before] > value:
            values[before + 1] = values[before]
            picked[before + 1] = picked[before]
            before -= 1
        values[before + 1] = value
        picked[before + 1] = at


@compiled
def first_fault(weights, closes, limit: float):
    """The first weight that cannot be traded: what is wrong, its session and its symbol; (0, 0, 0) if none is.

    1: not a finite number; 2: negative; 3: at a session without a close; 4: the sum of the session is above ``limit``.
    """
    for now in range(weights.shape[0]):
        total = 0.0
        for at in range(weights.shape[1]):
            weight = weights[now, at]
            if not np.isfinite(weight):
                return 1, now, at
            if weight < 0.0:
                return 2, now, at
            if weight != 0.0 and np.isnan(closes[now, at]):
                return 3, now, at
            total += weight
        if total > limit:
            return 4, now, 0
    return 0, 0, 0
