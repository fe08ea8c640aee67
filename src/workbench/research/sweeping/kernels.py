"""All compiled code of the sweep: the books of an account, any target weights, and crossovers order by order.

Nothing here makes an array, so its machine code is kept as it is and needs no numba: see :mod:`workbench.compiling`.

Arithmetic and tolerances follow vectorbt 1.0 (``portfolio/nb.py``, ``utils/math_.py``) operation by operation, so that
the two agree not only to rounding but also on whether an order of almost nothing is an order.
"""

# Compiled code: arrays are described in words, numba infers their types.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from workbench.compiling import bare, inlined, leading_zeros, set_bits, trailing_zeros, vectorised

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

# Combinations that go from order to order side by side, so that the processor works on several at once, and what is
# kept of each meanwhile: cash in USD, shares, and shares, cost and fees of what is open of the trade; where it is.
TOGETHER = 64
MOST_MOMENTS = 4_000_000  # of all of them, of 8 bytes: with a million bars they are fewer
CASH, HELD, SIZE, COST, FEES, PEAK = range(6)
ACCOUNT = 6
START, DECIDED, FLIP = range(3)

# Extremes of a price path are kept for 1, 2, 4, ... sessions, up to 2**(LEVELS - 1).
LEVELS = 7

# The bytes of a path for each session.
PATH_BYTES = 8 * (6 + 4 * LEVELS)

FloatArray = npt.NDArray[np.float64]


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


@inlined
def close_to(a: float, b: float) -> bool:
    """Whether two amounts are the same to within the tolerances; what is not finite is the same as nothing."""
    tolerance = max(REL_TOL * max(abs(a), abs(b)), ABS_TOL)
    return abs(a - b) <= tolerance and tolerance < np.inf


@inlined
def add(a: float, b: float) -> float:
    """The sum, or exactly zero where the two cancel to within the tolerances."""
    alike = (a > 0.0) == (b > 0.0) and (a < 0.0) == (b < 0.0)
    zero = close_to(a + b, 0.0) if alike else close_to(abs(a), abs(b))
    return 0.0 if zero else a + b


@inlined
def below_least(quantity: float) -> bool:
    """Whether an order is too small to be one."""
    return close_to(quantity, 0.0) or (quantity < LEAST_SHARES and not close_to(quantity, LEAST_SHARES))


@inlined
def fee_of(quantity: float, price: float, rules: Rules) -> float:
    """Commission of one order in USD, as :meth:`workbench.research.Assumptions.fee`."""
    value = quantity * price
    charged = max(rules.fee_min, value * rules.fee_rate + rules.fee_trade + rules.fee_share * quantity)
    return min(charged, rules.fee_cap * value) if np.isfinite(rules.fee_cap) else charged


@inlined
def affordable(cash: float, price: float, rules: Rules) -> float:
    """The largest quantity whose cost and fee the cash pays for; zero or less if there is none."""
    free = add(cash, -rules.fee_trade) if rules.fee_trade > 0.0 else cash
    quantity = free / (1.0 + rules.fee_rate + rules.fee_share / price) / price
    if rules.fee_min > 0.0:
        quantity = min(quantity, add(cash, -rules.fee_min) / price)
    if np.isfinite(rules.fee_cap):
        quantity = max(quantity, cash / (1.0 + rules.fee_cap) / price)
    return quantity


@inlined
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


@inlined
def bought(change: float, price: float, cash: float, rules: Rules):
    """Shares bought for an order, the price paid, the fee, and the cash left; no shares if there is no purchase."""
    if rules.within_cash > 0.0 and cash == 0.0:
        return 0.0, price, 0.0, cash
    paid = price * (1.0 + rules.slippage)
    quantity, fee = change, fee_of(change, paid, rules)
    cost = quantity * paid + fee
    left = add(cash, -cost)
    if rules.within_cash > 0.0 and not (cost < cash or close_to(cost, cash)):
        quantity = affordable(cash, paid, rules)
        if rules.lot > 0.0:
            quantity = np.floor(quantity / rules.lot + GUARD) * rules.lot
        fee = fee_of(quantity, paid, rules)
        left = 0.0 if rules.lot == 0.0 else add(cash, -(quantity * paid + fee))
    return (0.0, paid, 0.0, cash) if quantity <= 0.0 or below_least(quantity) else (quantity, paid, fee, left)


@inlined
def sold(change: float, price: float, cash: float, held: float, rules: Rules):
    """Shares sold for an order, the price got, the fee, and the cash then; no shares if there is no sale."""
    quantity = min(held, -change)
    got = price * (1.0 - rules.slippage)
    if below_least(quantity):
        return 0.0, got, 0.0, cash
    fee = fee_of(quantity, got, rules)
    proceeds = add(quantity * got, -fee)
    if rules.within_cash > 0.0 and proceeds < 0.0:  # the fee is more than the sale brings
        return 0.0, got, 0.0, cash
    return quantity, got, fee, cash + proceeds


@inlined
def won(quantity: float, price: float, fee: float, size: float, cost: float, fees: float) -> float:
    """1.0 if a sale gained, 0.0 if not: against the average cost of what is held and its part of the fees so far."""
    part = quantity / size
    return 1.0 if add(quantity * price, -(quantity * (cost / size))) - part * fees - fee > 0.0 else 0.0


@bare
def fill(at: int, change: float, price: float, cash: float, held, traded, rules: Rules, sums):
    """Fill one order of symbol ``at`` at a price before slippage; update positions and trades, return the cash.

    ``held`` are the shares by symbol. ``traded`` has three rows by symbol: shares, cost and fees of what is still
    open of the present trade. Every sale closes a trade and leaves what is still open of it.
    """
    if close_to(cash, 0.0):
        cash = 0.0
    if close_to(held[at], 0.0):
        held[at] = 0.0
    if change > 0.0:
        quantity, paid, fee, cash = bought(change, price, cash, rules)
        if quantity == 0.0:
            return cash
        if held[at] == 0.0:
            traded[0, at] = traded[1, at] = traded[2, at] = 0.0
        held[at] = add(held[at], quantity)
        traded[0, at] += quantity
        traded[1, at] += quantity * paid
        traded[2, at] += fee
    else:
        quantity, got, fee, cash = sold(change, price, cash, held[at], rules)
        if quantity == 0.0:
            return cash
        size = traded[0, at]
        whole = close_to(quantity, size)
        sums[TRADES] += 1.0
        sums[WINS] += won(size if whole else quantity, got, fee, size, traded[1, at], traded[2, at])
        held[at] = add(held[at], -quantity)
        left = 0.0 if whole else (size - quantity) / size
        for row in range(3):
            traded[row, at] *= left
    sums[ORDERS] += 1.0
    return cash


@bare
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


class Books(NamedTuple):
    """What a simulation writes into while it runs, made by :func:`books_of`.

    Attributes
    ----------
    held, last
        Shares by symbol, and the last target.
    orders, values, picked
        The orders of one close: shares by symbol, their values, and the symbols that have one.
    traded
        See :func:`fill`.
    """

    held: FloatArray
    last: FloatArray
    orders: FloatArray
    values: FloatArray
    picked: npt.NDArray[np.int64]
    traded: FloatArray


def books_of(symbols: int) -> Books:
    """Room for a simulation of so many symbols."""
    held, last, orders, values = np.empty((4, symbols))
    return Books(held, last, orders, values, np.empty(symbols, dtype=np.int64), np.empty((3, symbols)))


@bare
def simulate(weights, prices, marks, traded_on, due, lag: int, rules: Rules, books: Books, sums) -> None:
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
    books
        Of these symbols; whatever is in them is written over.
    sums
        Zeros, of length :data:`SUMS`.
    """
    sessions, symbols = weights.shape
    held, last, orders, values, picked, traded = books
    held[:] = 0.0
    last[:] = 0.0
    traded[:] = 0.0
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


@bare
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


@bare
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


@bare
def first_fault(weights, closes, limit: float, place) -> int:
    """What is wrong with the first weight that cannot be traded; its session and its symbol are written; 0 if none is.

    1: not a finite number; 2: negative; 3: at a session without a close; 4: the sum of the session is above ``limit``.
    """
    for now in range(weights.shape[0]):
        place[0], total = now, 0.0
        for at in range(weights.shape[1]):
            weight, place[1] = weights[now, at], at
            if not np.isfinite(weight):
                return 1
            if weight < 0.0:
                return 2
            if weight != 0.0 and np.isnan(closes[now, at]):
                return 3
            total += weight
        if total > limit:
            return 4
    return 0


class Path(NamedTuple):
    """What there is to know about the stretches of one price path, so that none is gone through twice.

    Made by :func:`follow`. Of all combinations that hold everything they have in it, a stretch of sessions leaves the
    same returns: the difference of two rows of ``totals``, exact although they are sums of many.

    Attributes
    ----------
    totals
        Sessions + 1 x 6: sums over the sessions before of returns, of their squares and of those of their shortfalls,
        each followed by what its own rounding has lost.
    extremes
        :data:`LEVELS` x sessions x 4: of 2**level sessions from each on, the lowest and the highest mark, the highest
        return, and the lowest mark as a fraction of the highest before it.
    """

    totals: FloatArray
    extremes: FloatArray


@bare
def follow(marks, hurdle: float, path: Path) -> None:
    """Write the tables of a path. The first session has no return.

    Source: T. J. Dekker, "A Floating-Point Technique for Extending the Available Precision", Numerische Mathematik 18
    (1971), and D. E. Knuth, "The Art of Computer Programming", vol. 2, 4.2.2, for what rounding has lost; M. A. Bender
    and M. Farach-Colton, "The LCA Problem Revisited", LATIN 2000, for extremes by powers of two.
    """
    totals, extremes = path
    sessions = len(marks)
    totals[0] = 0.0
    for now in range(sessions):
        change = marks[now] / marks[now - 1] - 1.0 if now > 0 else 0.0
        short = min(change - hurdle, 0.0) if now > 0 else 0.0
        for place, term in enumerate((change, change * change, short * short)):
            before = totals[now, 2 * place]
            total = before + term
            most = total - before
            totals[now + 1, 2 * place] = total
            totals[now + 1, 2 * place + 1] = totals[now, 2 * place + 1] + ((before - (total - most)) + (term - most))
        extremes[0, now, 0] = extremes[0, now, 1] = marks[now]
        extremes[0, now, 2], extremes[0, now, 3] = change, 1.0
    for level in range(1, LEVELS):
        for now in range(sessions):
            other = min(now + (1 << (level - 1)), sessions - 1)
            one, two = extremes[level - 1, now], extremes[level - 1, other]
            extremes[level, now, 0] = min(one[0], two[0])
            extremes[level, now, 1] = max(one[1], two[1])
            extremes[level, now, 2] = max(one[2], two[2])
            extremes[level, now, 3] = min(min(one[3], two[3]), two[0] / one[1])


@inlined
def _sums(totals, start: int, end: int):
    """The sums of returns, of their squares and of those of their shortfalls from ``start`` to before ``end``."""
    return (
        (totals[end, 0] - totals[start, 0]) + (totals[end, 1] - totals[start, 1]),
        (totals[end, 2] - totals[start, 2]) + (totals[end, 3] - totals[start, 3]),
        (totals[end, 4] - totals[start, 4]) + (totals[end, 5] - totals[start, 5]),
    )


@inlined
def _extremes(extremes, start: int, end: int):
    """Lowest and highest mark and highest return from ``start`` to before ``end``."""
    level = min(np.int64(63) - leading_zeros(np.uint64(end - start)), LEVELS - 1)
    last = end - (1 << level)
    low = min(extremes[level, start, 0], extremes[level, last, 0])
    high = max(extremes[level, start, 1], extremes[level, last, 1])
    jump = max(extremes[level, start, 2], extremes[level, last, 2])
    for now in range(start + (1 << level), last, 1 << level):
        low, high = min(low, extremes[level, now, 0]), max(high, extremes[level, now, 1])
        jump = max(jump, extremes[level, now, 2])
    return low, high, jump


@bare
def _fallen(extremes, start: int, end: int, peak: float, deepest: float) -> float:
    """The lowest mark from ``start`` to before ``end`` as a fraction of the highest before it or of ``peak``."""
    while start < end:
        level = min(np.int64(63) - leading_zeros(np.uint64(end - start)), LEVELS - 1)
        deepest = min(deepest, min(extremes[level, start, 3], extremes[level, start, 0] / peak))
        peak = max(peak, extremes[level, start, 1])
        start += 1 << level
    return deepest


class Room(NamedTuple):
    """What accounts that go from order to order side by side write into, made by :func:`room_of`.

    Attributes
    ----------
    leads
        By session, up to a multiple of 64: whether there is a target.
    moments, counts
        By account, the sessions after which the target is the other one, and how many there are.
    wanted
        By account, the fraction of equity held while there is a target.
    open_
        The accounts that still have orders.
    accounts, places
        By account, see :data:`CASH` and :data:`START`.
    """

    leads: npt.NDArray[np.uint8]
    moments: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    wanted: FloatArray
    open_: npt.NDArray[np.int64]
    accounts: FloatArray
    places: npt.NDArray[np.int64]


def room_of(sessions: int, together: int = TOGETHER) -> Room:
    """Room for as many accounts side by side, or for fewer if there are very many sessions."""
    room = (sessions + 63) // 64 * 64
    together = max(1, min(together, MOST_MOMENTS // room))
    counts, open_ = np.empty((2, together), dtype=np.int64)
    return Room(
        leads=np.empty(room, dtype=np.uint8),
        moments=np.empty((together, room + 8), dtype=np.int64),
        counts=counts,
        wanted=np.empty(together),
        open_=open_,
        accounts=np.empty((together, ACCOUNT)),
        places=np.empty((together, 3), dtype=np.int64),
    )


@bare
def crossovers(
    averages, fast, slow, noise: float, weight: float, prices, marks, lowest: float, lag: int, path: Path, rules: Rules,
    room: Room, sums, done,
) -> None:  # fmt: skip
    """Simulate combinations that hold the symbol while their fast average is above their slow one, order by order.

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
    prices, marks
        By session, as in :func:`simulate`: there is a close in every session, and targets are acted on in all.
    lowest
        The lowest of ``marks``.
    path
        The path of ``marks``.
    sums
        Combinations x :data:`SUMS`.
    done
        By combination, written: False if it has to be simulated session by session, and its sums are of no use.
    """
    sessions, together = len(marks), len(room.counts)
    room.wanted[:] = weight * (1.0 - rules.buffer)
    for first in range(0, len(fast), together):
        many = min(together, len(fast) - first)
        for row in range(many):
            _compare(averages[fast[first + row]], averages[slow[first + row]], 1.0 + noise, room.leads)
            room.counts[row], room.open_[row] = _moments(room.leads, room.moments[row]), row
            _open(room.accounts[row], room.places[row], rules.capital, sums[first + row])
        _go(room, many, first, prices, marks, path, lowest, lag, rules, sums)
        for row in range(many):
            done[first + row] = room.places[row, START] == sessions
            if done[first + row]:
                _close(sums[first + row], sessions)


@bare
def in_and_out(
    weights, prices, marks, lowest: float, limit: float, lag: int, path: Path, rules: Rules, room: Room, sums, done
) -> None:
    """Simulate weights of one symbol that are nothing or one number, order by order.

    Parameters
    ----------
    weights
        Combinations x sessions, not checked; as many combinations as there is room for.
    limit
        The highest weight that can be traded.
    prices, marks, lowest, path, sums, done
        As in :func:`crossovers`.
    """
    sessions, many = len(marks), 0
    for row in range(len(weights)):
        weight = _first(weights[row])
        done[row] = 0.0 <= weight <= limit and _others(weights[row], weight, room.leads) == 0
        if done[row]:
            room.counts[row], room.open_[many] = _moments(room.leads, room.moments[row]), row
            room.wanted[row] = weight * (1.0 - rules.buffer)
            _open(room.accounts[row], room.places[row], rules.capital, sums[row])
            many += 1
    _go(room, many, 0, prices, marks, path, lowest, lag, rules, sums)
    for row in range(len(weights)):
        if done[row]:
            done[row] = room.places[row, START] == sessions
            _close(sums[row], sessions)


@inlined
def _first(weights) -> float:
    """The first weight that is not zero; zero if there is none."""
    for now in range(len(weights)):
        if weights[now] != 0.0:
            return float(weights[now])
    return 0.0


@bare
def _others(weights, weight: float, leads) -> int:
    """Write whether there is a weight, by session; return how many are neither zero nor ``weight``."""
    others = 0
    for now in range(len(weights)):
        value = weights[now]
        leads[now] = value != 0.0
        others += (value != 0.0) & (value != weight)
    leads[len(weights) :] = leads[len(weights) - 1]
    return others


@bare
def _compare(fast, slow, scale: float, leads) -> None:
    """Write whether one average leads, by session, a loop that vectorises; it stays so after the last."""
    for now in range(len(fast)):
        leads[now] = fast[now] > slow[now] * scale
    leads[len(fast) :] = leads[len(fast) - 1]


@bare
def _moments(leads, moments) -> int:
    """Write the sessions with a change of ``leads``, which is 0 before the first; return how many there are.

    Sixty-four sessions become the bits of a word, eight by each multiplication, which moves byte i to bit 56 + i. Four
    places are written whether they are needed or not, so that the processor seldom has to guess how many there are.
    """
    count, before, words = 0, np.uint64(0), leads.view(np.uint64)
    one, seven = np.uint64(1), np.uint64(56)
    for block in range(len(words) // 8):
        bits = np.uint64(0)
        for part in range(8):
            bits |= (words[8 * block + part] * np.uint64(0x0102040810204080) >> seven) << np.uint64(8 * part)
        flips = bits ^ (bits << one | before)
        before = bits >> np.uint64(63)
        some = set_bits(flips)
        for place in range(4):
            moments[count + place] = 64 * block + trailing_zeros(flips)
            flips &= flips - one
        for place in range(4, some):
            moments[count + place] = 64 * block + trailing_zeros(flips)
            flips &= flips - one
        count += some
    return count


@bare
def _open(account, places, capital: float, sums) -> None:
    """An account of nothing but cash; until it is closed, the mean is a sum and the drawdown a fraction of the peak."""
    account[:] = 0.0
    account[CASH] = account[PEAK] = capital
    places[:] = 0
    sums[:] = 0.0
    sums[FINAL] = sums[LOWEST] = capital
    sums[DRAWDOWN] = 1.0


@bare
def _close(sums, sessions: int) -> None:
    """Make of an account's sums what :func:`simulate` leaves."""
    total = sums[MEAN]
    sums[MEAN] = total / sessions
    sums[M2] = max(sums[M2] - total * total / sessions, 0.0)
    sums[DRAWDOWN] -= 1.0
    sums[EXPOSURE] += sessions


@bare
def _go(
    room: Room, many: int, first: int, prices, marks, path: Path, lowest: float, lag: int, rules: Rules, sums
) -> None:
    """Take the first ``many`` open accounts from order to order, one order each by turns, until all are done."""
    open_ = room.open_
    while many > 0:
        kept = 0
        for at in range(many):
            row = open_[at]
            goes_on = _turn(
                room.moments, room.counts[row], room.wanted[row], prices, marks, path, lowest, lag, rules,
                room.accounts, room.places, row, sums, first + row,
            )  # fmt: skip
            open_[kept] = row
            kept += goes_on
        many = kept


@inlined
def _turn(
    moments, count: int, wanted: float, prices, marks, path: Path, lowest: float, lag: int, rules: Rules,
    accounts, places, row: int, sums, at: int,
) -> bool:  # fmt: skip
    """Take an account to its next order and through it: between orders it is cash + shares x price.

    ``moments`` are the sessions after which the target is the other one. False if that was the last: all sessions are
    done, or equity could come down to zero before the next order, and the sums are of no use.
    """
    sessions, start, flip = len(marks), places[row, START], places[row, FLIP]
    cash, held = accounts[row, CASH], accounts[row, HELD]
    turn = moments[row, flip] if flip < count else sessions
    now = turn
    if rules.on_change == 0.0 and (flip % 2 or held != 0.0):
        target = wanted if flip % 2 else 0.0
        now = _next_order(marks, places[row, DECIDED], turn, cash, held, target, rules)
    end = min(now + lag, sessions)
    if held == 0.0:
        sums[at, EXPOSURE] -= end - start
        sums[at, DOWNSIDE] += (end - start) * min(-rules.hurdle, 0.0) ** 2
    elif end > start:
        if cash + held * lowest <= 0.0:
            return False
        _stay(marks, path, start, end, cash, held, rules.hurdle, accounts, row, sums, at)
    places[row, START] = end
    if end == sessions:
        return False
    if now == turn:
        flip += 1
    _order(wanted if flip % 2 else 0.0, marks[now], prices[end], rules, accounts, row, sums, at)
    if not _pass(marks[end], rules.hurdle, accounts, row, sums, at):
        return False
    places[row, START], places[row, DECIDED], places[row, FLIP] = end + 1, now + 1, flip
    return True


@inlined
def _stay(
    marks, path: Path, start: int, end: int, cash: float, held: float, hurdle: float, accounts, row, sums, at
) -> None:
    """Add the sessions from ``start`` to before ``end``, in which the shares held stay what they are."""
    before, peak, last = sums[at, FINAL], accounts[row, PEAK], cash + held * marks[end - 1]
    if cash == 0.0:
        returns, squares, shortfalls = _sums(path.totals, start, end)
        lowest, highest, rise = _extremes(path.extremes, start, end)
        bottom, top = held * lowest, held * highest
    else:
        returns, squares, shortfalls, inverses, bottom, top, rise = _hold(marks, start, end, cash, held, hurdle)
        sums[at, EXPOSURE] -= cash * (inverses + 1.0 / last - 1.0 / before)
    sums[at, FINAL] = last
    sums[at, MEAN] += returns
    sums[at, M2] += squares
    sums[at, DOWNSIDE] += shortfalls
    sums[at, LOWEST] = min(sums[at, LOWEST], bottom)
    sums[at, JUMP] = max(sums[at, JUMP], rise)
    accounts[row, PEAK] = max(peak, top)
    if bottom < sums[at, DRAWDOWN] * accounts[row, PEAK]:
        if cash == 0.0:
            sums[at, DRAWDOWN] = _fallen(path.extremes, start, end, peak / held, sums[at, DRAWDOWN])
        else:
            sums[at, DRAWDOWN] = _deepest(marks, start, end, cash, held, peak, sums[at, DRAWDOWN])


@inlined
def _order(target: float, mark: float, price: float, rules: Rules, accounts, row, sums, at) -> None:
    """Trade towards a target weight decided at a mark, as :func:`fill` does for one of many symbols."""
    cash, held, size = accounts[row, CASH], accounts[row, HELD], accounts[row, SIZE]
    change = change_of(target, mark, cash + held * mark, held, rules)
    if close_to(cash, 0.0):
        cash = 0.0
    if change > 0.0:
        quantity, paid, fee, cash = bought(change, price, cash, rules)
        if quantity > 0.0:
            if held == 0.0:
                accounts[row, SIZE] = accounts[row, COST] = accounts[row, FEES] = 0.0
            accounts[row, HELD] = add(held, quantity)
            accounts[row, SIZE] += quantity
            accounts[row, COST] += quantity * paid
            accounts[row, FEES] += fee
            sums[at, ORDERS] += 1.0
    elif change < 0.0:
        quantity, got, fee, cash = sold(change, price, cash, held, rules)
        if quantity > 0.0:
            whole = close_to(quantity, size)
            sums[at, TRADES] += 1.0
            sums[at, WINS] += won(size if whole else quantity, got, fee, size, accounts[row, COST], accounts[row, FEES])
            left = 0.0 if whole else (size - quantity) / size
            accounts[row, HELD] = add(held, -quantity)
            accounts[row, SIZE] *= left
            accounts[row, COST] *= left
            accounts[row, FEES] *= left
            sums[at, ORDERS] += 1.0
    accounts[row, CASH] = cash


@inlined
def _pass(price: float, hurdle: float, accounts, row, sums, at) -> bool:
    """Add one session that ends at a mark; False, and of no use, if equity is not above zero then."""
    value = accounts[row, CASH] + accounts[row, HELD] * price
    if value <= 0.0:
        return False
    change = value / sums[at, FINAL] - 1.0
    sums[at, MEAN] += change
    sums[at, M2] += change * change
    sums[at, DOWNSIDE] += min(change - hurdle, 0.0) ** 2
    sums[at, EXPOSURE] -= accounts[row, CASH] / value
    sums[at, FINAL], sums[at, LOWEST], sums[at, JUMP] = value, min(sums[at, LOWEST], value), max(sums[at, JUMP], change)
    accounts[row, PEAK] = max(accounts[row, PEAK], value)
    if value < sums[at, DRAWDOWN] * accounts[row, PEAK]:
        sums[at, DRAWDOWN] = value / accounts[row, PEAK]
    return True


@bare
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


@bare
def _deepest(marks, start: int, end: int, cash: float, held: float, peak: float, deepest: float) -> float:
    """The lowest equity so far as a fraction of the highest before it, after some sessions."""
    for now in range(start, end):
        value = cash + held * marks[now]
        peak = max(peak, value)
        if value < deepest * peak:
            deepest = value / peak
    return deepest
