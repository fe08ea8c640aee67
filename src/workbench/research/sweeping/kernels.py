"""All compiled code of the sweep: the books of an account, any target weights, and crossovers side by side.

It is one file on purpose: numba keeps machine code until the file of a function changes, and does not notice when a
function it calls in another file does.

Arithmetic and tolerances follow vectorbt 1.0 (``portfolio/nb.py``, ``utils/math_.py``) operation by operation, so that
the two agree not only to rounding but also on whether an order of almost nothing is an order.
"""

# Compiled code: arrays are described in words, numba infers their types.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from workbench.compiling import compiled

# Two amounts are the same if they differ by less than this (vectorbt's relative and absolute tolerance).
REL_TOL = 1e-9
ABS_TOL = 1e-12
# An order of less is none (the default of vectorbt's portfolios): it is what rounding leaves of a target already met.
LEAST_SHARES = 1e-8
# Floats may land a hair below the whole share or the dollar that exact decimals reach.
GUARD = 1e-9

# What a simulation leaves of one combination, one column each.
FINAL, MEAN, M2, DOWNSIDE, DRAWDOWN, TRADES, WINS, EXPOSURE, LOWEST, JUMP, ORDERS = range(11)
SUMS = 11

# Crossovers are computed so many side by side: their state stays in the processor's nearest cache.
LANES = 64

# The state of a block is one array, a row of 64 lanes each. Constant offsets in one array are what lets the compiler
# see that the rows do not overlap; a dozen arrays would need more checks than it is willing to make.
_CASH, _HELD, _MEAN, _M2, _DOWNSIDE, _IDLE, _PEAK, _INVERSE, _TROUGH, _HEIGHT, _JUMP = range(0, 704, LANES)
_STATE = 704


class Rules(NamedTuple):
    """Assumptions as numbers that compiled code reads: USD, fractions, and 1.0 or 0.0 for yes and no.

    ``lot`` is 0.0 for fractions of a share, ``fee_cap`` infinite for no maximum; ``slippage`` includes half the spread;
    ``hurdle`` is the risk-free simple return of a session.
    """

    capital: float
    fee_share: float
    fee_trade: float
    fee_rate: float
    fee_min: float
    fee_cap: float
    slippage: float
    buffer: float
    lot: float
    min_value: float
    tolerance: float
    compounding: float
    within_cash: float
    on_change: float
    hurdle: float


@compiled
def close_to(a: float, b: float) -> bool:
    """Whether two amounts are the same to within the tolerances."""
    if np.isnan(a) or np.isnan(b) or np.isinf(a) or np.isinf(b):
        return False
    return a == b or abs(a - b) <= max(REL_TOL * max(abs(a), abs(b)), ABS_TOL)


@compiled
def add(a: float, b: float) -> float:
    """The sum, or exactly zero where the two cancel to within the tolerances."""
    zero = close_to(abs(a), abs(b)) if np.sign(a) != np.sign(b) else close_to(a + b, 0.0)
    return 0.0 if zero else a + b


@compiled
def below_least(quantity: float) -> bool:
    """Whether an order is too small to be one."""
    return close_to(quantity, 0.0) or (quantity < LEAST_SHARES and not close_to(quantity, LEAST_SHARES))


@compiled
def fee_of(quantity: float, price: float, rules: Rules) -> float:
    """Commission of one order in USD, as :meth:`workbench.research.Assumptions.fee`."""
    value = quantity * price
    charged = max(rules.fee_min, value * rules.fee_rate + rules.fee_trade + rules.fee_share * quantity)
    return min(charged, rules.fee_cap * value) if np.isfinite(rules.fee_cap) else charged


@compiled
def affordable(cash: float, price: float, rules: Rules) -> float:
    """The largest quantity whose cost and fee the cash pays for; zero or less if there is none."""
    quantity = add(cash, -rules.fee_trade) / (1.0 + rules.fee_rate + rules.fee_share / price) / price
    if rules.fee_min > 0.0:
        quantity = min(quantity, add(cash, -rules.fee_min) / price)
    if np.isfinite(rules.fee_cap):
        quantity = max(quantity, cash / (1.0 + rules.fee_cap) / price)
    return quantity


@compiled
def change_of(weight: float, price: float, equity: float, held: float, rules: Rules) -> float:
    """Shares to buy (positive) or sell for a target weight, sized on a close; zero if it is not worth an order."""
    base = equity if rules.compounding > 0.0 else rules.capital
    target = weight * base / price if base > 0.0 else 0.0
    if rules.lot > 0.0:
        target = np.floor(target / rules.lot + GUARD) * rules.lot
    change = target - held
    if target == 0.0 and held > 0.0:
        return change
    worth = max(rules.min_value, rules.tolerance * equity) - GUARD
    return change if change != 0.0 and abs(change) * price >= worth else 0.0


@compiled
def fill(at: int, change: float, price: float, cash: float, held, traded, rules: Rules, sums):
    """Fill one order of symbol ``at`` at a price before slippage; update positions and trades, return the cash.

    ``held`` are the shares by symbol. ``traded`` has three rows by symbol: shares, cost and fees of what is still
    open of the present trade. Every sale closes a trade: against the average cost of what is held, with its part of
    the fees paid so far; it wins if what is left is above zero.
    """
    if close_to(cash, 0.0):
        cash = 0.0
    if close_to(held[at], 0.0):
        held[at] = 0.0
    if change > 0.0:
        if rules.within_cash > 0.0 and cash == 0.0:
            return cash
        paid = price * (1.0 + rules.slippage)
        quantity, fee = change, fee_of(change, paid, rules)
        cost = quantity * paid + fee
        spent_all = False
        if rules.within_cash > 0.0 and not (cost < cash or close_to(cost, cash)):
            quantity = affordable(cash, paid, rules)
            spent_all = rules.lot == 0.0
            if rules.lot > 0.0:
                quantity = np.floor(quantity / rules.lot + GUARD) * rules.lot
            if quantity <= 0.0:
                return cash
            fee = fee_of(quantity, paid, rules)
            cost = quantity * paid + fee
        if below_least(quantity):
            return cash
        if held[at] == 0.0:
            traded[0, at] = traded[1, at] = traded[2, at] = 0.0
        held[at] = add(held[at], quantity)
        traded[0, at] += quantity
        traded[1, at] += quantity * paid
        traded[2, at] += fee
        sums[ORDERS] += 1.0
        return 0.0 if spent_all else add(cash, -cost)
    quantity = min(held[at], -change)
    if below_least(quantity):
        return cash
    got = price * (1.0 - rules.slippage)
    fee = fee_of(quantity, got, rules)
    proceeds = add(quantity * got, -fee)
    if rules.within_cash > 0.0 and proceeds < 0.0:  # the fee is more than the sale brings
        return cash
    close_trade(at, quantity, got, fee, traded, sums)
    held[at] = add(held[at], -quantity)
    sums[ORDERS] += 1.0
    return cash + proceeds


@compiled
def close_trade(at: int, sold: float, price: float, fee: float, traded, sums) -> None:
    """Count a trade, won or lost, and leave what is still open of it."""
    size, cost, fees = traded[0, at], traded[1, at], traded[2, at]
    whole = close_to(sold, size)
    quantity = size if whole else sold
    part = quantity / size
    pnl = add(quantity * price, -(quantity * (cost / size))) - part * fees - fee
    sums[TRADES] += 1.0
    if pnl > 0.0:
        sums[WINS] += 1.0
    left = 0.0 if whole else (size - sold) / size
    traded[0, at] = size * left
    traded[1, at] = cost * left
    traded[2, at] = fees * left


@compiled
def mark(session: int, equity: float, before: float, invested: float, peak: float, hurdle: float, sums) -> float:
    """Add a session to the sums of an account, from its equity and the one before; return the highest equity so far.

    Mean and squared deviations are updated by B. P. Welford, "Note on a Method for Calculating Corrected Sums of
    Squares and Products", Technometrics 4 (1962), which loses no digits to cancellation.
    """
    change = equity / before - 1.0
    off = change - sums[MEAN]
    sums[MEAN] += off / (session + 1.0)
    sums[M2] += off * (change - sums[MEAN])
    short = min(change - hurdle, 0.0)
    sums[DOWNSIDE] += short * short
    peak = max(peak, equity)
    sums[DRAWDOWN] = min(sums[DRAWDOWN], equity / peak - 1.0)
    sums[EXPOSURE] += invested / equity if equity != 0.0 else 0.0
    sums[LOWEST] = min(sums[LOWEST], equity)
    sums[JUMP] = max(sums[JUMP], change)
    return peak


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
        Zeros, of length :data:`SUMS`.
    """
    sessions, symbols = weights.shape
    held, last = np.zeros(symbols), np.zeros(symbols)
    traded = np.zeros((3, symbols))
    orders, values = np.empty(symbols), np.empty(symbols)
    picked = np.empty(symbols, dtype=np.int64)
    cash = equity = rules.capital
    peak = -np.inf
    sums[LOWEST] = np.inf
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
        peak = mark(now, equity, before, invested, peak, rules.hurdle, sums)
    sums[FINAL] = equity


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
        weight *= 1.0 - rules.buffer
        change = change_of(weight, marks[at], equity, held[at], rules)
        if change != 0.0:
            orders[at] = change
            values[count] = weight * equity - held[at] * marks[at]  # equal ones are equal to the last bit
            picked[count] = at
            count += 1
    return count


@compiled
def _sort(values, picked, count) -> None:
    """Order by value, so that sales pay for purchases and small purchases come first; equal ones by symbol.

    Source: D. L. Shell, "A High-Speed Sorting Procedure", Communications of the ACM 2 (1959).
    """
    gap = count // 2
    while gap > 0:
        for place in range(gap, count):
            value, at, before = values[place], picked[place], place - gap
            while before >= 0 and (
                values[before] > value or (values[before] == value and picked[before] > at)
            ):  # fmt: skip
                values[before + gap], picked[before + gap] = values[before], picked[before]
                before -= gap
            values[before + gap], picked[before + gap] = value, at
        gap //= 2


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
        By session, as in :func:`simulate`.
    sums
        Zeros, combinations x :data:`SUMS`.
    """
    columns = np.empty((2, LANES), dtype=np.uint64)
    for first in range(0, len(fast), LANES):
        for lane in range(LANES):  # the last block is filled up with its first combination
            at = first + lane if first + lane < len(fast) else first
            columns[0, lane] = fast[at]
            columns[1, lane] = slow[at]
        made = _block(averages, columns, noise, weight, prices, closes, marks, due, lag, rules)
        for lane in range(min(LANES, len(fast) - first)):
            for column in range(SUMS):
                sums[first + lane, column] = made[lane, column]


@compiled
def _block(averages, columns, noise, weight, prices, closes, marks, due, lag, rules):
    """The sums of 64 combinations."""
    sums, state = np.zeros((LANES, SUMS)), np.zeros(_STATE)
    for lane in range(LANES):
        state[_CASH + lane] = rules.capital
        state[_INVERSE + lane] = 1.0 / rules.capital
        state[_PEAK + lane] = -np.inf
        state[_TROUGH + lane] = state[_HEIGHT + lane] = 1.0
    held, trades = state[_HELD : _HELD + LANES], np.zeros((3, LANES))
    leads, last = np.zeros(LANES, dtype=np.bool_), np.zeros(LANES, dtype=np.bool_)
    price = 0.0
    for now in range(len(marks)):
        decided = now - lag
        if decided >= 0 and due[decided] and not np.isnan(closes[decided]):
            for lane in range(LANES):
                ahead = averages[decided, columns[0, lane]]
                leads[lane] = ahead > averages[decided, columns[1, lane]] * (1.0 + noise)
            _trade(leads, last, weight, prices[now], marks[decided], state, held, trades, rules, sums)
        price = marks[now] if not np.isnan(marks[now]) else 0.0
        _mark(price, 1.0 / (now + 1.0), rules.hurdle, 0.0 * rules.capital, state)
    for lane in range(LANES):
        sums[lane, FINAL] = state[_CASH + lane] + state[_HELD + lane] * price
        sums[lane, MEAN] = state[_MEAN + lane]
        sums[lane, M2] = state[_M2 + lane]
        sums[lane, DOWNSIDE] = state[_DOWNSIDE + lane]
        sums[lane, DRAWDOWN] = state[_TROUGH + lane] / state[_HEIGHT + lane] - 1.0
        sums[lane, EXPOSURE] = len(marks) - state[_IDLE + lane]
        sums[lane, LOWEST] = state[_TROUGH + lane]  # at the deepest drawdown, so above zero if every close was
        sums[lane, JUMP] = state[_JUMP + lane]
    return sums


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
def _mark(price, share, hurdle, nil, state) -> None:
    """What :func:`mark` does, for all lanes at once.

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
        short = change - hurdle
        short = short if short < 0.0 else 0.0
        state[_DOWNSIDE + lane] += short * short
        jump = state[_JUMP + lane]
        state[_JUMP + lane] = (change if change > jump else jump) + nil
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
