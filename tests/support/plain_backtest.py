"""The convention of docs/architecture.md written as plainly as possible: what the engines are held against.

It shares no code with them: dictionaries instead of arrays, one order at a time, and a search instead of a formula
for what cash pays for. It is slow, and meant to be read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from workbench.research.costs import Assumptions
from workbench.research.inputs import Inputs

GUARD = 1e-9


@dataclass
class Account:
    cash: float
    shares: dict[str, float] = field(default_factory=dict)
    waiting: dict[str, float] = field(default_factory=dict)
    mark: dict[str, float] = field(default_factory=dict)

    def equity(self) -> float:
        return self.cash + sum(held * self.mark[name] for name, held in self.shares.items() if held)


@dataclass
class Kept:
    equity: list[float] = field(default_factory=list)
    cash: list[float] = field(default_factory=list)
    shares: list[dict[str, float]] = field(default_factory=list)
    # session, symbol, signed quantity, price, fee
    fills: list[tuple[int, str, float, float, float]] = field(default_factory=list)


def backtest(inputs: Inputs, assumed: Assumptions) -> Kept:
    kept, account = Kept(), Account(assumed.capital_usd)
    for at in range(len(inputs.sessions)):
        if at:
            charge(account, at, inputs, assumed)
            corporate_actions(account, at, inputs, assumed, kept)
        if assumed.fill == "next_open":
            fill(account, at, prices(inputs, "open", at), inputs, assumed, kept)
        if assumed.fill == "next_close":
            fill(account, at, prices(inputs, "close", at), inputs, assumed, kept)
        account.mark |= prices(inputs, "close", at)
        decide(account, at, inputs, assumed)
        if assumed.fill == "close":
            fill(account, at, prices(inputs, "close", at), inputs, assumed, kept)
        kept.equity.append(account.equity())
        kept.cash.append(account.cash)
        kept.shares.append(dict(account.shares))
    return kept


def prices(inputs: Inputs, name: str, at: int) -> dict[str, float]:
    row = getattr(inputs, name)[at]
    return {symbol: float(price) for symbol, price in zip(inputs.symbols, row, strict=True) if not math.isnan(price)}


def charge(account: Account, at: int, inputs: Inputs, assumed: Assumptions) -> None:
    days = (inputs.sessions[at] - inputs.sessions[at - 1]).days
    year = {"actual/360": days / 360, "actual/365": days / 365, "sessions/252": 1 / 252}[assumed.day_count]
    owed = max(-account.cash, 0.0) * assumed.debit_rate * year
    for name, held in account.shares.items():
        if held < 0:
            owed += -held * account.mark[name] * assumed.borrow_rate * year
    account.cash -= owed


def corporate_actions(account: Account, at: int, inputs: Inputs, assumed: Assumptions, kept: Kept) -> None:
    opens = prices(inputs, "open", at)
    for column, name in enumerate(inputs.symbols):
        ratio = inputs.splits[at][column] if at in inputs.splits else 1.0
        if ratio != 1.0:
            if name in account.mark:
                account.mark[name] /= ratio
            exact = account.shares.get(name, 0.0) * ratio
            account.shares[name] = whole(exact, assumed.lot and min(assumed.lot, 1.0))
            left = exact - account.shares[name]
            if abs(left) > 1e-6:
                account.cash += left * opens.get(name, account.mark.get(name, 0.0))
            if name in account.waiting:
                account.waiting[name] = whole(account.waiting[name] * ratio, assumed.lot and min(assumed.lot, 1.0))
        if at in inputs.dividends:
            account.cash += account.shares.get(name, 0.0) * inputs.dividends[at][column]
        if assumed.delisting == "last_close" and inputs.delisted[column] == at:
            held = account.shares.pop(name, 0.0)
            account.waiting.pop(name, None)
            if held:
                account.cash += held * account.mark[name]
                kept.fills.append((at, name, -held, account.mark[name], 0.0))


def decide(account: Account, at: int, inputs: Inputs, assumed: Assumptions) -> None:
    equity = account.equity()
    base = equity if assumed.compounding or equity <= 0 else assumed.capital_usd
    account.waiting = {}
    closes = prices(inputs, "close", at)
    for column, name in enumerate(inputs.symbols):
        if name not in closes or not inputs.decide[at][column]:
            continue
        weight, held = inputs.weights[at][column], account.shares.get(name, 0.0)
        if assumed.target == "weights":
            weight = base * (1 - assumed.cash_buffer) * weight / closes[name]
        target = whole(weight, assumed.lot) if base > 0 else 0.0
        change = target - held
        if abs(change) <= 1e-12 * max(abs(target), abs(held)):
            continue
        worth = abs(change) * closes[name]
        leaves = target == 0
        enough = worth >= assumed.min_trade_value_usd - GUARD and worth >= assumed.tolerance * base - GUARD
        if leaves or enough:
            account.waiting[name] = change


def count_again(account: Account, at: int, met: dict[str, float], inputs: Inputs, assumed: Assumptions) -> None:
    """Orders decided at the close before, in shares of the equity and at the prices of now."""
    now = account.mark | met
    equity = account.cash + sum(held * now[name] for name, held in account.shares.items() if held)
    base = equity if assumed.compounding or equity <= 0 else assumed.capital_usd
    for name in [name for name in account.waiting if name in met]:
        weight, held = inputs.weights[at - 1][inputs.symbols.index(name)], account.shares.get(name, 0.0)
        value = base * (1 - assumed.cash_buffer) * weight if base > 0 else 0.0
        target = whole(value / met[name], assumed.lot)
        same = abs(target - held) <= 1e-12 * max(abs(target), abs(held))
        account.waiting[name] = 0.0 if same else target - held


def fill(account: Account, at: int, met: dict[str, float], inputs: Inputs, assumed: Assumptions, kept: Kept) -> None:
    if assumed.sizing == "fill" and assumed.fill != "close":
        count_again(account, at, met, inputs, assumed)
    sells = {name: size for name, size in account.waiting.items() if size < 0}
    buys = {name: size for name, size in account.waiting.items() if size > 0}
    account.waiting = {}
    for name, size in [*sells.items(), *buys.items()]:
        if name not in met:
            continue
        volume = float(inputs.volume[at][inputs.symbols.index(name)])
        amount = abs(size)
        if assumed.max_volume_share is not None and amount > assumed.max_volume_share * volume:
            amount = whole(assumed.max_volume_share * volume, assumed.lot)
        if amount and size > 0 and assumed.buys == "within_cash":
            amount = most_for(account.cash, amount, met[name], volume, assumed)
        if amount <= 0:
            continue
        paid = price_of(amount, math.copysign(1, size), met[name], volume, assumed)
        signed = math.copysign(amount, size)
        cost = fee(amount, paid, assumed)
        account.cash -= signed * paid + cost
        account.shares[name] = account.shares.get(name, 0.0) + signed
        kept.fills.append((at, name, signed, paid, cost))


def price_of(amount: float, sign: float, met: float, volume: float, assumed: Assumptions) -> float:
    moved = (assumed.slippage_bps + assumed.half_spread_bps) / 10_000
    if assumed.impact:
        moved += assumed.impact * (amount / volume) ** 2
    return met * (1 + sign * moved)


def fee(amount: float, price: float, assumed: Assumptions) -> float:
    parts = [
        assumed.commission_per_trade_usd,
        assumed.commission_per_share_usd * amount,
        assumed.commission_bps / 10_000 * amount * price,
    ]
    charged = max(sum(parts), assumed.commission_min_usd)
    limit = math.inf if assumed.commission_max_share is None else assumed.commission_max_share * amount * price
    return min(charged, limit)


def most_for(cash: float, wanted: float, met: float, volume: float, assumed: Assumptions) -> float:
    """By search: priced at the impact of the whole order, cut, and rounded to the lot."""
    paid = price_of(wanted, 1.0, met, volume, assumed)
    if wanted * paid + fee(wanted, paid, assumed) <= cash:
        return wanted
    low, high = 0.0, wanted
    for _ in range(200):
        middle = (low + high) / 2
        if middle * paid + fee(middle, paid, assumed) <= cash:
            low = middle
        else:
            high = middle
    return whole(low, assumed.lot)


def whole(quantity: float, unit: float | None) -> float:
    if unit is None:
        return quantity
    return math.copysign(math.floor(abs(quantity) / unit + GUARD) * unit, quantity) if quantity else 0.0


def rows(inputs: Inputs, kept: Kept) -> Any:
    """The shares at each close as lists, in the order of the symbols."""
    return [[held.get(name, 0.0) for name in inputs.symbols] for held in kept.shares]
