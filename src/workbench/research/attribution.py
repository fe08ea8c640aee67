"""The difference of two equities, taken apart by an identity of accounting.

In each session an equity changes by what its shares gained, less what was paid for new shares, less fees, plus cash
from other sources. The difference of two equities therefore changes, symbol by symbol, by

    held before x price change of the difference in shares
    - shares that both traded x difference of the fill prices
    + difference in traded shares x (close - fill price)
    - difference of the fees + difference of the other cash.

Nothing is estimated: the parts sum to the difference, or books do not add up and the rest is ``unexplained``. The
difference in shares carries the cause of the trade that made it, until a later trade undoes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from workbench.research.inputs import Array
from workbench.research.result import FLOWS, BacktestResult

CAUSES = ("rounding", "timing", "liquidity", "sizing", "fractions")
PARTS = ("fill_price", "fees", *CAUSES[:-1], "dividends", "fractions", "borrow", "interest", "marks", "unexplained")
# Trades of one symbol and side this many sessions apart are the same trade at another time.
_SAME_TRADE_SESSIONS = 5


@dataclass(frozen=True)
class Traded:
    """What a backtest traded, sessions x symbols: signed shares, their value and average price in USD, fees in USD.

    ``short`` marks orders that were not filled in full.
    """

    quantity: Array
    value: Array
    price: Array
    fee: Array
    short: Any


def traded(made: BacktestResult) -> Traded:
    """The fills of a backtest as arrays."""
    shape = made.positions.shape
    rows = made.equity.index.get_indexer(pd.DatetimeIndex(made.fills["session"]))
    columns = made.positions.columns.get_indexer(pd.Index(made.fills["symbol"]))
    signed = np.where(made.fills["side"] == "buy", 1.0, -1.0) * made.fills["quantity"].to_numpy()
    quantity, value, fee = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    np.add.at(quantity, (rows, columns), signed)
    np.add.at(value, (rows, columns), signed * made.fills["price"].to_numpy())
    np.add.at(fee, (rows, columns), made.fills["fee"].to_numpy())
    price = np.divide(value, quantity, out=np.zeros(shape), where=quantity != 0.0)
    cut = made.orders[made.orders["status"].isin(["expired", "partially_filled"])]
    short = np.zeros(shape, dtype=bool)
    at = made.equity.index.get_indexer(pd.DatetimeIndex(cut["session"]))
    short[at, made.positions.columns.get_indexer(pd.Index(cut["symbol"]))] = True
    return Traded(quantity, value, price, fee, short)


def attribute(
    a: BacktestResult, b: BacktestResult, first: Traded, second: Traded
) -> tuple[pd.DataFrame, pd.Series[str]]:
    """Cumulative USD by session and part, and the cause of every differing quantity by session and symbol."""
    marks = np.nan_to_num(a.marks.to_numpy())
    gap = np.nan_to_num(b.marks.to_numpy()) - marks
    made: dict[str, Array] = {part: np.zeros(len(marks)) for part in PARTS}
    matched = (first.quantity != 0.0) & (second.quantity != 0.0)
    moved = np.where(matched, -first.quantity * (second.price - first.price), 0.0)
    made["fill_price"] = moved.sum(axis=1).cumsum()
    made["fees"] = -(second.fee - first.fee).sum(axis=1).cumsum()
    made["marks"] = (b.positions.to_numpy() * gap).sum(axis=1)
    for name in FLOWS:
        made[name] = (b.cashflows[name] - a.cashflows[name]).to_numpy().cumsum()
    causes = _causes(first, second, max(a.assumptions.lot or 1.0, b.assumptions.lot or 1.0))
    held = _of_shares(a.positions.to_numpy(), b.positions.to_numpy(), marks, first, second, causes)
    for number, name in enumerate(CAUSES):
        made[name] = made[name] + held[:, number].cumsum()
    table = pd.DataFrame(made, index=a.equity.index)
    table["unexplained"] = (b.equity - a.equity) - table.drop(columns="unexplained").sum(axis=1)
    rows, columns = np.nonzero(causes >= 0)
    keys = pd.MultiIndex.from_arrays([a.equity.index[rows], a.positions.columns[columns]])
    return table, pd.Series(np.array(CAUSES, dtype=object)[causes[rows, columns]], index=keys)


def _causes(first: Traded, second: Traded, lot: float) -> Any:
    """Why the quantities of each session and symbol differ, as a position in ``CAUSES``; -1 where they do not."""
    change = second.quantity - first.quantity
    differs = np.abs(change) > 1e-9 * np.maximum(np.abs(first.quantity), np.abs(second.quantity))
    lone = (first.quantity != 0.0) != (second.quantity != 0.0)
    elsewhere = _near(first, second) | _near(second, first)
    cut = first.short | second.short
    small = np.abs(change) <= lot * (1.0 + 1e-9)
    found = np.select([lone & elsewhere, cut, small], [1, 2, 0], 3)
    return np.where(differs, found, -1)


def _near(one: Traded, other: Traded) -> Any:
    """Where only ``one`` traded, and only the ``other`` traded the same side some sessions before or after."""
    found = np.zeros(one.quantity.shape, dtype=bool)
    for side in (1.0, -1.0):
        mine = (one.quantity * side > 0.0) & (other.quantity == 0.0)
        theirs = pd.DataFrame((other.quantity * side > 0.0) & (one.quantity == 0.0)).astype(float)
        window = 2 * _SAME_TRADE_SESSIONS + 1
        around = theirs.rolling(window, center=True, min_periods=1).max().to_numpy() > 0.0
        found |= mine & around
    return found


def _of_shares(ours: Array, theirs: Array, marks: Array, first: Traded, second: Traded, causes: Any) -> Array:
    """USD of each session by cause: what the difference in shares gained, sessions x causes; settles ``causes``."""
    change = second.quantity - first.quantity
    paid = np.where(second.quantity != 0.0, second.price, first.price)
    gained = np.zeros((len(marks), len(CAUSES)))
    book = np.zeros((len(CAUSES), marks.shape[1]))  # the difference in shares by cause
    before = np.zeros((2, marks.shape[1]))
    for at in range(len(marks)):
        opened = np.stack([ours[at] - first.quantity[at], theirs[at] - second.quantity[at]])
        if not (book.any() or (opened[0] != opened[1]).any() or (causes[at] >= 0).any()):
            before = np.stack([ours[at], theirs[at]])
            continue
        was = book * (marks[at - 1] if at else 0.0)
        book = book * _ratios(before, opened)
        book[-1] += opened[1] - opened[0] - book.sum(axis=0)
        gained[at] += (book * marks[at] - was).sum(axis=1)
        for column in np.flatnonzero(change[at]):
            moves = _undone(book[:, column], float(change[at, column]), int(causes[at, column]))
            book[:, column] += moves
            causes[at, column] = np.abs(moves).argmax()  # a trade that undoes a difference has its cause
            gained[at] += moves * (marks[at, column] - paid[at, column])
        before = np.stack([ours[at], theirs[at]])
    return gained


def _ratios(before: Array, opened: Array) -> Array:
    """What one share of the evening before has become at the open, from whichever account held more."""
    larger = np.abs(before).argmax(axis=0)
    columns = np.arange(before.shape[1])
    held, now = before[larger, columns], opened[larger, columns]
    ratios: Array = np.divide(now, held, out=np.ones(len(held)), where=held != 0.0)
    return ratios


def _undone(book: Array, change: float, cause: int) -> Array:
    """How a traded difference enters the book of causes: it first undoes what is there of the other sign."""
    moves = np.zeros(len(book))
    left = change
    for number in np.argsort(-np.abs(book)):
        if book[number] * left < 0.0:
            part = np.sign(left) * min(abs(left), abs(book[number]))
            moves[number] += part
            left -= part
    moves[cause if cause >= 0 else 0] += left
    return moves
