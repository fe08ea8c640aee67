"""All compiled code of the sweep: the books of an account, any target weights, and crossovers order by order.

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

from workbench.compiling import compiled, vectorised

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
    """Whether two amounts are the same to within the tolerances; what is not finite is the same as nothing."""
    tolerance = max(REL_TOL * max(abs(a), abs(b)), ABS_TOL)
    return abs(a - b) <= tolerance and tolerance < np.inf


@compiled
def add(a: float, b: float) -> float:
    """The sum, or exactly zero where the two cancel to within the tolerances."""
    alike = (a > 0.0) == (b > 0.0) and (a < 0.0) == (b < 0.0)
    zero = close_to(a + b, 0.0) if alike else close_to(abs(a), abs(b))
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
        Windows x sessions; NaN compares as not above.
    fast, slow
        By combination, the row of its averages.
    noise
        A lead below this fraction of the slow average is none.
    weight
        Fraction of equity held.
    prices, closes, marks, due
        By session, as in :func:`simulate`.
    sums
        Zeros, combinations x :data:`SUMS`.
    """
    sessions = len(marks)
    leads, flips = np.zeros(sessions + 8, dtype=np.uint8), np.zeros(sessions // 8 * 8 + 8, dtype=np.uint8)
    moments = np.empty(sessions, dtype=np.int64)
    traded_on = ~np.isnan(closes)
    whole, lowest = due.all() and traded_on.all(), marks.min()
    for at in range(len(fast)):
        _compare(averages[fast[at]], averages[slow[at]], 1.0 + noise, leads, flips)
        if whole and _switch(moments, _moments(flips, moments), weight, prices, marks, lowest, lag, rules, sums[at]):
            continue
        weights = np.empty((sessions, 1))
        for now in range(sessions):
            weights[now, 0] = weight * leads[now]
        sums[at] = 0.0
        simulate(
            weights, prices.reshape(-1, 1), marks.reshape(-1, 1), traded_on.reshape(-1, 1), due, lag, rules, sums[at]
        )  # fmt: skip


@compiled
def _compare(fast, slow, scale: float, leads, flips) -> None:
    """Write whether one average leads, and where that has changed, by session; two loops that both vectorise."""
    for now in range(len(fast)):
        leads[now] = fast[now] > slow[now] * scale
    flips[0] = leads[0]
    for now in range(1, len(fast)):
        flips[now] = leads[now] ^ leads[now - 1]


@compiled
def _moments(flips, moments) -> int:
    """Write the sessions with a flip, eight sessions a look; return how many there are."""
    count, words = 0, flips.view(np.uint64)
    for word in range(len(words)):
        if words[word] != 0:
            for now in range(8 * word, 8 * word + 8):
                if flips[now] != 0:
                    moments[count] = now
                    count += 1
    return count


@compiled
def _switch(moments, count: int, weight: float, prices, marks, lowest: float, lag: int, rules: Rules, sums) -> bool:
    """Simulate one symbol that is held or not, order by order: between orders an account is cash + shares x price.

    ``moments`` are the sessions after which the target is the other one. False, and sums of no use, if equity could
    come down to zero between two orders.
    """
    sessions, wanted = len(marks), weight * (1.0 - rules.buffer)
    held, traded = np.zeros(1), np.zeros((3, 1))
    cash = before = peak = low = rules.capital
    first = second = downside = idle = jump = 0.0
    trough = height = 1.0
    target, flip, start, decided = 0.0, 0, 0, 0
    while True:
        turn = moments[flip] if flip < count else sessions
        at = turn
        if rules.on_change == 0.0 and (target != 0.0 or held[0] != 0.0):
            at = _next_order(marks, decided, turn, cash, held[0], target, rules)
        end = min(at + lag, sessions)
        if held[0] == 0.0:
            idle += end - start
            downside += (end - start) * min(-rules.hurdle, 0.0) ** 2
        elif end > start:
            if cash + held[0] * lowest <= 0.0:
                return False
            made = _hold(marks, start, end, cash, held[0], rules.hurdle)
            first, second, downside = first + made[0], second + made[1], downside + made[2]
            last = cash + held[0] * marks[end - 1]
            idle += cash * (made[3] + 1.0 / last - 1.0 / before)
            before, low, jump = last, min(low, made[4]), max(jump, made[6])
            if made[4] * height < trough * max(peak, made[5]):
                peak, trough, height = _deepest(marks, start, end, cash, held[0], peak, trough, height)
            peak = max(peak, made[5])
        if end == sessions:
            break
        if at == turn:
            flip += 1
            target = wanted if flip % 2 else 0.0
        change = change_of(target, marks[at], cash + held[0] * marks[at], held[0], rules)
        if change != 0.0:
            cash = fill(0, change, prices[end], cash, held, traded, rules, sums)
        value = cash + held[0] * marks[end]
        if value <= 0.0:
            return False
        change = value / before - 1.0
        first, second, downside = (
            first + change,
            second + change * change,
            downside + min(change - rules.hurdle, 0.0) ** 2,
        )
        idle += cash / value
        before, low, jump, peak = value, min(low, value), max(jump, change), max(peak, value)
        if value * height < trough * peak:
            trough, height = value, peak
        start, decided = end + 1, at + 1
    sums[FINAL] = before
    sums[MEAN] = first / sessions
    sums[M2] = max(second - first * first / sessions, 0.0)
    sums[DOWNSIDE] = downside
    sums[DRAWDOWN] = trough / height - 1.0
    sums[EXPOSURE] = sessions - idle
    sums[LOWEST] = low
    sums[JUMP] = jump
    return True


@compiled
def _next_order(marks, decided: int, turn: int, cash: float, held: float, target: float, rules: Rules) -> int:
    """The first session from ``decided`` on whose close asks for an order; ``turn`` if none does before it."""
    for at in range(decided, turn):
        if change_of(target, marks[at], cash + held * marks[at], held, rules) != 0.0:
            return at
    return turn


@vectorised
def _hold(marks, start: int, end: int, cash: float, held: float, hurdle: float):
    """Of the sessions in which nothing is traded, from ``start`` to before ``end``, which is not the first of all.

    The sums of returns, of their squares and of those of their shortfalls; that of 1 / equity one session before each;
    the lowest and the highest equity; the highest return. Every equity is above zero.
    """
    first = second = downside = inverses = 0.0
    low, high, jump = np.inf, -np.inf, -np.inf
    for now in range(start, end):
        value = cash + held * marks[now]
        inverse = 1.0 / (cash + held * marks[now - 1])
        change = value * inverse - 1.0
        short = min(change - hurdle, 0.0)
        first += change
        second += change * change
        downside += short * short
        inverses += inverse
        low, high, jump = min(low, value), max(high, value), max(jump, change)
    return first, second, downside, inverses, low, high, jump


@compiled
def _deepest(marks, start: int, end: int, cash: float, held: float, peak: float, trough: float, height: float):
    """The peak after some sessions, and the pair of equity and peak that is the deepest drawdown so far."""
    for now in range(start, end):
        value = cash + held * marks[now]
        peak = max(peak, value)
        if value * height < trough * peak:
            trough, height = value, peak
    return peak, trough, height
