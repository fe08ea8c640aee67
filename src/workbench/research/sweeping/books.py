"""Compiled bookkeeping of one account: orders, cash, positions, trades and the sums that metrics are made of.

Arithmetic and tolerances follow vectorbt 1.0 (``portfolio/nb.py``, ``utils/math_.py``) operation by operation, so that
the two agree not only to rounding but also on whether an order of almost nothing is an order.
"""

# Compiled code: arrays are described in words, numba infers their types.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from workbench.indicators.compiling import compiled

# Two amounts are the same if they differ by less than this (vectorbt's relative and absolute tolerance).
REL_TOL = 1e-9
ABS_TOL = 1e-12
# Floats may land a hair below the whole share or the dollar that exact decimals reach.
GUARD = 1e-9

# What a simulation leaves of one combination, one column each.
FINAL, MEAN, M2, DOWNSIDE, DRAWDOWN, TRADES, WINS, EXPOSURE, LOWEST, JUMP, ORDERS = range(11)
SUMS = 11


class Rules(NamedTuple):
    """Assumptions as numbers that compiled code reads: USD, fractions, and 1.0 or 0.0 for yes and no.

    ``lot`` is 0.0 for fractions of a share, ``fee_cap`` infinite for no maximum; ``slippage`` includes half the spread.
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
    if change > 0.0:
        paid = price * (1.0 + rules.slippage)
        quantity, fee = change, fee_of(change, paid, rules)
        cost = quantity * paid + fee
        spent_all = False
        if rules.within_cash > 0.0 and not (cost < cash or close_to(cost, cash)):
            quantity = affordable(cash, paid, rules)
            spent_all = rules.lot == 0.0
            if rules.lot > 0.0:
                quantity = np.floor(quantity / rules.lot + GUARD) * rules.lot
            if quantity <= 0.0 or cash <= 0.0:
                return cash
            fee = fee_of(quantity, paid, rules)
            cost = quantity * paid + fee
        if close_to(quantity, 0.0):
            return cash
        if held[at] == 0.0:
            traded[:, at] = 0.0
        held[at] = add(held[at], quantity)
        traded[0, at] += quantity
        traded[1, at] += quantity * paid
        traded[2, at] += fee
        sums[ORDERS] += 1.0
        return 0.0 if spent_all else add(cash, -cost)
    quantity = min(held[at], -change)
    if close_to(quantity, 0.0):
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
def mark(session: int, equity: float, before: float, invested: float, peak: float, sums) -> float:
    """Add a session to the sums of an account, from its equity and the one before; return the highest equity so far.

    Mean and squared deviations are updated by B. P. Welford, "Note on a Method for Calculating Corrected Sums of
    Squares and Products", Technometrics 4 (1962), which loses no digits to cancellation.
    """
    change = equity / before - 1.0
    off = change - sums[MEAN]
    sums[MEAN] += off / (session + 1.0)
    sums[M2] += off * (change - sums[MEAN])
    if change < 0.0:
        sums[DOWNSIDE] += change * change
    peak = max(peak, equity)
    sums[DRAWDOWN] = min(sums[DRAWDOWN], equity / peak - 1.0)
    sums[EXPOSURE] += invested / equity if equity != 0.0 else 0.0
    sums[LOWEST] = min(sums[LOWEST], equity)
    sums[JUMP] = max(sums[JUMP], change)
    return peak
