"""The fastest loop: one symbol, held or not held by the order of two averages, many combinations side by side.

Combinations are lanes. The outer loop goes through the sessions, the inner ones over the 64 lanes of a block, whose
state stays in the processor's nearest cache; averages lie by session, so that a block reads one short row. Marking an
account has neither branches nor calls and becomes vector instructions. Orders are rare, and go through the same code as
everything else (:mod:`workbench.research.sweeping.books`).
"""

# Compiled code: arrays are described in words, numba infers their types.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np

from workbench.indicators.compiling import compiled
from workbench.research.sweeping import books
from workbench.research.sweeping.books import Rules, change_of, fill

LANES = 64

# The state of a block is one array, a row of 64 lanes each. Constant offsets in one array are what lets the compiler
# see that the rows do not overlap; a dozen arrays would need more checks than it is willing to make.
_CASH, _HELD, _MEAN, _M2, _DOWNSIDE, _IDLE, _PEAK, _VALUE, _INVERSE, _TROUGH, _HEIGHT, _LOWEST, _JUMP = range(
    0, 832, 64
)
_STATE = 832


@compiled
def crossovers(
    averages, fast, slow, noise: float, weight: float, prices, closes, marks, due, lag: int, rules: Rules, sums
) -> None:
    """Simulate combinations that hold the symbol while their fast average is above their slow one.

    Parameters
    ----------
    averages
        Sessions x windows; NaN compares as not above.
    fast, slow
        By combination, the column of its averages (uint64: a signed index would be checked for being negative).
    noise
        A lead below this fraction of the slow average is none.
    weight
        Fraction of equity held.
    prices, closes, marks, due
        By session, as in :func:`workbench.research.sweeping.simulate.simulate`.
    sums
        Zeros, combinations x :data:`books.SUMS`.
    """
    columns = np.empty((2, LANES), dtype=np.uint64)
    scratch = np.empty((LANES, books.SUMS))
    for first in range(0, len(fast), LANES):
        count = min(LANES, len(fast) - first)
        for lane in range(LANES):  # the last block is filled up with its first combination
            from_ = first + lane if lane < count else first
            columns[0, lane] = fast[from_]
            columns[1, lane] = slow[from_]
        scratch[:] = 0.0
        _block(averages, columns, noise, weight, prices, closes, marks, due, lag, rules, scratch)
        sums[first : first + count] = scratch[:count]


@compiled
def _block(averages, columns, noise, weight, prices, closes, marks, due, lag, rules, sums) -> None:
    state = np.zeros(_STATE)
    state[_CASH : _CASH + LANES] = rules.capital
    state[_VALUE : _VALUE + LANES] = rules.capital
    state[_INVERSE : _INVERSE + LANES] = 1.0 / rules.capital
    state[_PEAK : _PEAK + LANES] = -np.inf
    state[_LOWEST : _LOWEST + LANES] = np.inf
    state[_TROUGH : _TROUGH + 2 * LANES] = 1.0
    held, trades = state[_HELD : _HELD + LANES], np.zeros((3, LANES))
    leads, last = np.zeros(LANES, dtype=np.bool_), np.zeros(LANES, dtype=np.bool_)
    for now in range(len(marks)):
        decided = now - lag
        if decided >= 0 and due[decided] and not np.isnan(closes[decided]):
            row = averages[decided]
            for lane in range(LANES):
                leads[lane] = row[columns[0, lane]] > row[columns[1, lane]] * (1.0 + noise)
            _trade(leads, last, weight, prices[now], marks[decided], state, held, trades, rules, sums)
        _mark(marks[now] if not np.isnan(marks[now]) else 0.0, 1.0 / (now + 1.0), 0.0 * rules.capital, state)
    for lane in range(LANES):
        sums[lane, books.FINAL] = state[_VALUE + lane]
        sums[lane, books.MEAN] = state[_MEAN + lane]
        sums[lane, books.M2] = state[_M2 + lane]
        sums[lane, books.DOWNSIDE] = state[_DOWNSIDE + lane]
        sums[lane, books.DRAWDOWN] = state[_TROUGH + lane] / state[_HEIGHT + lane] - 1.0
        sums[lane, books.EXPOSURE] = len(marks) - state[_IDLE + lane]
        sums[lane, books.LOWEST] = state[_LOWEST + lane]
        sums[lane, books.JUMP] = state[_JUMP + lane]


@compiled
def _trade(leads, last, weight, price, close, state, held, trades, rules, sums) -> None:
    """Fill the orders of the lanes whose target is not what they hold."""
    for lane in range(LANES):
        if rules.on_change > 0.0:
            if leads[lane] == last[lane]:
                continue
            last[lane] = leads[lane]
        elif not leads[lane] and held[lane] == 0.0:
            continue
        if np.isnan(price):
            continue
        target = weight * (1.0 - rules.buffer) if leads[lane] else 0.0
        cash = state[_CASH + lane]
        change = change_of(target, close, cash + held[lane] * close, held[lane], rules)
        if change != 0.0:
            state[_CASH + lane] = fill(lane, change, price, cash, held, trades, rules, sums[lane])


@compiled
def _mark(price, share, nil, state) -> None:
    """What :func:`books.mark` does, for all lanes at once.

    The deepest drawdown is kept as a pair of equity and peak: to compare pairs needs no division. ``nil`` is zero, and
    keeps the compiler from storing the result of a choice under a mask, which takes tens of cycles on some processors.
    """
    for lane in range(LANES):
        cash = state[_CASH + lane]
        value = cash + state[_HELD + lane] * price
        change = value * state[_INVERSE + lane] - 1.0
        mean = state[_MEAN + lane]
        off = change - mean
        centre = mean + off * share
        state[_MEAN + lane] = centre
        state[_M2 + lane] += off * (change - centre)
        loss = change if change < 0.0 else 0.0
        state[_DOWNSIDE + lane] += loss * loss
        jump = state[_JUMP + lane]
        state[_JUMP + lane] = (change if change > jump else jump) + nil
        lowest = state[_LOWEST + lane]
        state[_LOWEST + lane] = (value if value < lowest else lowest) + nil
        peak = state[_PEAK + lane]
        peak = value if value > peak else peak
        state[_PEAK + lane] = peak + nil
        trough = state[_TROUGH + lane]
        height = state[_HEIGHT + lane]
        deeper = value * height < trough * peak
        state[_TROUGH + lane] = (value if deeper else trough) + nil
        state[_HEIGHT + lane] = (peak if deeper else height) + nil
        inverse = 1.0 / value
        state[_INVERSE + lane] = inverse
        state[_IDLE + lane] += cash * inverse
        state[_VALUE + lane] = value
