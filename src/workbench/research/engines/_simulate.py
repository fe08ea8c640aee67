"""The simulation in compiled code. Imports numba: load it only where a backtest runs.

It is compiled once for each machine; later processes load it from numba's cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from workbench.research.costs import Assumptions

# Floats may land a hair below the whole share or the dollar that exact decimals reach.
GUARD = 1e-9
# A change of a fractional position below this share of it is rounding noise.
NOISE = 1e-12
NEXT_OPEN, NEXT_CLOSE, SAME_CLOSE = 0, 1, 2
# Columns of the records of orders.
DECIDED, DUE, SYMBOL, ORDERED, FILLED, PRICE, FEE, KIND = range(8)
ORDER, PAYOUT = 0.0, 1.0
# Columns of the cash flows.
DIVIDENDS, FRACTIONS, BORROW, INTEREST = range(4)

Array = npt.NDArray[np.float64]


class Rules(NamedTuple):
    """The assumptions as plain numbers, fractions instead of basis points; infinity where there is no limit."""

    capital: float
    per_share: float
    per_trade: float
    of_value: float
    fee_min: float
    fee_max: float
    adverse: float
    volume_share: float
    impact: float
    lot: float
    buffer: float
    min_trade: float
    tolerance: float
    borrow: float
    debit: float
    fill: int
    compounding: bool
    in_shares: bool
    counts_again: bool
    within_cash: bool
    pays_delisted: bool


class Account(NamedTuple):
    """What moves from session to session: arrays of symbols, and the cash as an array of one."""

    purse: Array
    shares: Array
    waiting: Array  # signed shares ordered at the last close
    mark: Array  # last known close, in today's shares; NaN before the first
    income: Array  # sessions x symbols
    flows: Array  # sessions x 4


def rules_of(assumed: Assumptions) -> Rules:
    """The same assumptions for compiled code; a lot of 0 trades fractions."""
    return Rules(
        capital=float(assumed.capital_usd),
        per_share=float(assumed.commission_per_share_usd),
        per_trade=float(assumed.commission_per_trade_usd),
        of_value=assumed.commission_bps / 10_000.0,
        fee_min=float(assumed.commission_min_usd),
        fee_max=np.inf if assumed.commission_max_share is None else float(assumed.commission_max_share),
        adverse=(assumed.slippage_bps + assumed.half_spread_bps) / 10_000.0,
        volume_share=np.inf if assumed.max_volume_share is None else float(assumed.max_volume_share),
        impact=float(assumed.impact),
        lot=0.0 if assumed.lot is None else float(assumed.lot),
        buffer=float(assumed.cash_buffer),
        min_trade=float(assumed.min_trade_value_usd),
        tolerance=float(assumed.tolerance),
        borrow=float(assumed.borrow_rate),
        debit=float(assumed.debit_rate),
        fill=("next_open", "next_close", "close").index(assumed.fill),
        compounding=assumed.compounding,
        in_shares=assumed.target == "shares",
        counts_again=assumed.sizing == "fill",
        within_cash=assumed.buys == "within_cash",
        pays_delisted=assumed.delisting == "last_close",
    )


@njit(cache=True)
def whole(quantity: float, unit: float) -> float:
    """A quantity rounded toward zero to multiples of a unit; itself if the unit is 0."""
    if unit == 0.0:
        return quantity
    return float(np.sign(quantity) * np.floor(abs(quantity) / unit + GUARD) * unit)


@njit(cache=True)
def fee_of(rules: Rules, quantity: float, price: float) -> float:
    """See ``Assumptions.fee``."""
    value = quantity * price
    charged = max(rules.fee_min, rules.per_trade + rules.per_share * quantity + rules.of_value * value)
    return min(charged, rules.fee_max * value) if rules.fee_max < np.inf else charged


@njit(cache=True)
def affordable(rules: Rules, cash: float, price: float) -> float:
    """The most shares that ``cash`` pays for at ``price``, fee included: the fee is the only unknown part."""
    most = min(
        (cash - rules.per_trade) / (price * (1.0 + rules.of_value) + rules.per_share), (cash - rules.fee_min) / price
    )
    if rules.fee_max < np.inf:
        most = max(most, cash / (price * (1.0 + rules.fee_max)))
    return max(most, 0.0)


@njit(cache=True)
def filled_of(rules: Rules, wanted: float, sign: float, price: float, volume: float, cash: float) -> Any:
    """Quantity (positive) and price of a fill of an order that meets ``price`` and ``volume``."""
    quantity = wanted
    if rules.volume_share < np.inf:
        most = rules.volume_share * volume
        if most < quantity:
            quantity = whole(most, rules.lot)
        if quantity <= 0.0:
            return 0.0, price
    moved = price_of(rules, quantity, sign, price, volume)
    if rules.within_cash and sign > 0.0:
        most = affordable(rules, cash, moved)
        if most < quantity:
            quantity = whole(most, rules.lot)
            moved = price_of(rules, quantity, sign, price, volume)
    return quantity, moved


@njit(cache=True)
def price_of(rules: Rules, quantity: float, sign: float, price: float, volume: float) -> float:
    """The price moved against the order. Source of the impact: zipline, ``VolumeShareSlippage.process_order``."""
    share = quantity / volume if rules.impact > 0.0 else 0.0
    return price * (1.0 + sign * (rules.adverse + rules.impact * share * share))


@njit(cache=True)
def target_of(rules: Rules, base: float, weight: float, price: float) -> float:
    """Signed shares wanted, rounded toward zero; none once the account is ruined."""
    if base <= 0.0:
        return 0.0
    exact = weight if rules.in_shares else base * (1.0 - rules.buffer) * weight / price
    return whole(exact, rules.lot)


@njit(cache=True)
def _append(records: Array, count: int, decided: int, due: int, column: int, values: Any) -> Array:
    """Write one record, in a larger array if need be."""
    if count == len(records):
        grown = np.empty((2 * len(records), records.shape[1]))
        grown[:count] = records
        records = grown
    row = records[count]
    row[DECIDED], row[DUE], row[SYMBOL] = decided, due, column
    row[ORDERED], row[FILLED], row[PRICE], row[FEE], row[KIND] = values
    return records


@njit(cache=True)
def _charge(rules: Rules, account: Account, at: int, part: float) -> None:
    """Interest and borrowing since the close before, on the books of that close."""
    purse, shares, flows = account.purse, account.shares, account.flows
    if rules.debit > 0.0 and purse[0] < 0.0:
        flows[at, INTEREST] = purse[0] * rules.debit * part
    if rules.borrow > 0.0:
        for column in range(len(shares)):
            if shares[column] < 0.0:
                cost = shares[column] * account.mark[column] * rules.borrow * part
                account.income[at, column] += cost
                flows[at, BORROW] += cost
    purse[0] += flows[at, INTEREST] + flows[at, BORROW]


@njit(cache=True)
def _split(rules: Rules, account: Account, at: int, ratio: Array, opens: Array) -> None:
    """Multiply shares, orders and marks; pay out what is less than a share at the open."""
    shares, waiting, mark = account.shares, account.waiting, account.mark
    unit = min(rules.lot, 1.0)
    for column in range(len(shares)):
        if ratio[column] == 1.0:
            continue
        mark[column] /= ratio[column]
        exact = shares[column] * ratio[column]
        kept = whole(exact, unit)
        over = exact - kept
        if over != 0.0 and over * exact > 0.0:  # the guard may have rounded up: nothing is over then
            # A symbol that does not open on its ex-date pays fractions at its last known close.
            paid = over * (mark[column] if np.isnan(opens[column]) else opens[column])
            account.purse[0] += paid
            account.flows[at, FRACTIONS] += paid
            account.income[at, column] += paid
        shares[column] = kept
        waiting[column] = whole(waiting[column] * ratio[column], unit)


@njit(cache=True)
def _dividends(account: Account, at: int, amounts: Array) -> None:
    """Credit the shares held before the open; a short position pays."""
    for column in range(len(amounts)):
        paid = account.shares[column] * amounts[column]
        account.purse[0] += paid
        account.flows[at, DIVIDENDS] += paid
        account.income[at, column] += paid


@njit(cache=True)
def _pay_out(account: Account, at: int, delisted: Any, records: Array, count: int) -> Any:
    """Turn positions whose symbol had its last bar in the session before into cash, at that close."""
    for column in range(len(delisted)):
        if delisted[column] != at:
            continue
        account.waiting[column] = 0.0
        held, price = account.shares[column], account.mark[column]
        if held != 0.0:
            records = _append(records, count, at - 1, at, column, (-held, -held, price, 0.0, PAYOUT))
            count += 1
            account.purse[0] += held * price
            account.shares[column] = 0.0
    return records, count


@njit(cache=True)
def _fill(
    rules: Rules,
    account: Account,
    at: int,
    decided: int,
    prices: Array,
    volumes: Array,
    records: Array,
    count: int,
) -> Any:
    """Fill what waits, sells before buys; what meets no price or no volume expires."""
    purse, shares, waiting = account.purse, account.shares, account.waiting
    for sign in (-1.0, 1.0):
        for column in range(len(shares)):
            wanted = waiting[column] * sign
            if wanted <= 0.0:
                continue
            quantity, price, fee = 0.0, np.nan, 0.0
            if not np.isnan(prices[column]):
                quantity, price = filled_of(rules, wanted, sign, prices[column], volumes[column], purse[0])
            if quantity > 0.0:
                fee = fee_of(rules, quantity, price)
                purse[0] += -sign * quantity * price - fee
                shares[column] += sign * quantity
            values = (sign * wanted, sign * quantity, price, fee, ORDER)
            records = _append(records, count, decided, at, column, values)
            count += 1
            waiting[column] = 0.0
    return records, count


@njit(cache=True)
def _decide(rules: Rules, account: Account, equity: float, weights: Array, decide: Any, closes: Array) -> None:
    """Leave orders for the changes that are worth one."""
    shares, waiting = account.shares, account.waiting
    base = equity if rules.compounding or equity <= 0.0 else rules.capital
    smallest = max(rules.min_trade, rules.tolerance * base) - GUARD
    for column in range(len(shares)):
        waiting[column] = 0.0
        price = closes[column]
        if np.isnan(price) or not decide[column]:
            continue
        held = shares[column]
        target = target_of(rules, base, weights[column], price)
        change = target - held
        if abs(change) <= NOISE * max(abs(target), abs(held)):
            continue
        if abs(change) * price >= smallest or target == 0.0:
            waiting[column] = change


@njit(cache=True)
def _count_again(rules: Rules, account: Account, weights: Array, prices: Array) -> None:
    """Size the orders that wait by the equity and the prices that they meet."""
    shares, waiting = account.shares, account.waiting
    equity = float(account.purse[0])
    for column in range(len(shares)):
        if shares[column] != 0.0:
            equity += shares[column] * (account.mark[column] if np.isnan(prices[column]) else prices[column])
    base = equity if rules.compounding or equity <= 0.0 else rules.capital
    for column in range(len(shares)):
        if waiting[column] == 0.0 or np.isnan(prices[column]):
            continue
        target, held = target_of(rules, base, weights[column], prices[column]), shares[column]
        change = target - held
        waiting[column] = change if abs(change) > NOISE * max(abs(target), abs(held)) else 0.0


@njit(cache=True)
def _worth(account: Account) -> float:
    value, shares, mark = float(account.purse[0]), account.shares, account.mark
    for column in range(len(shares)):
        if shares[column] != 0.0:
            value += shares[column] * mark[column]
    return value


@njit(cache=True)
def simulate(
    rules: Rules,
    opens: Array,
    closes: Array,
    volumes: Array,
    weights: Array,
    decide: Any,
    split_row: Any,
    splits: Array,
    dividend_row: Any,
    dividends: Array,
    delisted: Any,
    year_fraction: Array,
) -> Any:
    """Run every session: charges, corporate actions, fills, marks, decisions.

    Parameters
    ----------
    opens, closes, volumes, weights, decide
        Sessions x symbols, as in :class:`workbench.research.inputs.Inputs`.
    split_row, dividend_row
        One integer per session: the row of ``splits`` or ``dividends`` that is effective, or -1.

    Returns
    -------
    Equity and cash (sessions), positions, marks and income (sessions x symbols), cash flows (sessions x 4) and
    the records of orders (orders x 8).
    """
    count_of_sessions, count_of_symbols = closes.shape
    shape = (count_of_sessions, count_of_symbols)
    equity, cash = np.empty(count_of_sessions), np.empty(count_of_sessions)
    positions, marks, income = np.empty(shape), np.empty(shape), np.zeros(shape)
    flows = np.zeros((count_of_sessions, 4))
    records, count = np.empty((1024, 8)), 0
    account = Account(
        purse=np.array([rules.capital]),
        shares=np.zeros(count_of_symbols),
        waiting=np.zeros(count_of_symbols),
        mark=np.full(count_of_symbols, np.nan),
        income=income,
        flows=flows,
    )
    for at in range(count_of_sessions):
        _charge(rules, account, at, year_fraction[at])
        if split_row[at] >= 0:
            _split(rules, account, at, splits[split_row[at]], opens[at])
        if dividend_row[at] >= 0:
            _dividends(account, at, dividends[dividend_row[at]])
        if rules.pays_delisted:
            records, count = _pay_out(account, at, delisted, records, count)
        if rules.fill != SAME_CLOSE:
            prices = opens[at] if rules.fill == NEXT_OPEN else closes[at]
            if rules.counts_again and at > 0:
                _count_again(rules, account, weights[at - 1], prices)
            records, count = _fill(rules, account, at, at - 1, prices, volumes[at], records, count)
        for column in range(count_of_symbols):
            if not np.isnan(closes[at, column]):
                account.mark[column] = closes[at, column]
        equity[at] = _worth(account)
        _decide(rules, account, equity[at], weights[at], decide[at], closes[at])
        if rules.fill == SAME_CLOSE:
            records, count = _fill(rules, account, at, at, closes[at], volumes[at], records, count)
            equity[at] = _worth(account)
        cash[at] = account.purse[0]
        positions[at] = account.shares
        marks[at] = account.mark
    waiting = account.waiting
    for column in range(count_of_symbols):  # decided on the last close, and still waiting
        if waiting[column] != 0.0:
            values = (waiting[column], 0.0, np.nan, 0.0, ORDER)
            records = _append(records, count, count_of_sessions - 1, -1, column, values)
            count += 1
    return equity, cash, positions, marks, income, flows, records[:count]
