"""The bookkeeping of round trips in compiled code; see :mod:`workbench.research.trades`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from workbench.research.engines._simulate import NOISE

Array = npt.NDArray[np.float64]
# What is kept of an open position.
HELD, COST, PAID, EARNED, SINCE = range(5)


@njit(cache=True)
def _emit(rows: Array, count: int, column: int, held: Array, quantity: float, at: int, price: float, fee: float) -> Any:
    """Write the trade of ``quantity`` (positive) shares out of a position, and take its part off the position."""
    if count == len(rows):
        grown = np.empty((2 * len(rows), rows.shape[1]))
        grown[:count] = rows
        rows = grown
    size = abs(held[HELD])
    part = quantity / size
    side = np.sign(held[HELD])
    row = rows[count]
    row[0], row[1], row[2], row[3], row[4] = column, side, quantity, held[SINCE], held[COST] / size
    row[5], row[6], row[7], row[8] = at, price, held[PAID] * part + fee, held[EARNED] * part
    for field in (COST, PAID, EARNED):
        held[field] *= 1.0 - part
    held[HELD] -= side * quantity
    return rows, count + 1


@njit(cache=True)
def _trade(rows: Array, count: int, column: int, held: Array, fill: Array) -> Any:
    """Enter one fill: what closes shares is emitted, what is left opens or adds."""
    at, amount, price, fee = int(fill[0]), fill[2], fill[3], fill[4]
    size = abs(amount)
    closing = min(size, abs(held[HELD])) if held[HELD] * amount < 0.0 else 0.0
    if closing > 0.0:
        if abs(abs(held[HELD]) - closing) <= NOISE * closing:
            closing_all = abs(held[HELD])
            rows, count = _emit(rows, count, column, held, closing_all, at, price, fee * closing / size)
            held[:] = 0.0
        else:
            rows, count = _emit(rows, count, column, held, closing, at, price, fee * closing / size)
    opening = size - closing
    if opening > NOISE * size:
        if held[HELD] == 0.0:
            held[:] = 0.0
            held[SINCE] = at
        held[HELD] += np.sign(amount) * opening
        held[COST] += opening * price
        held[PAID] += fee * opening / size
    return rows, count


@njit(cache=True)
def trace(fills: Array, positions: Array, marks: Array, income: Array) -> Array:
    """Walk through the sessions; the trades as an array, see ``workbench.research.trades``."""
    sessions, symbols = positions.shape
    book = np.zeros((symbols, 5))
    rows, count, next_fill = np.empty((256, 9)), 0, 0
    for at in range(sessions):
        first = next_fill
        while next_fill < len(fills) and int(fills[next_fill, 0]) == at:
            next_fill += 1
        for column in range(symbols):
            held = book[column]
            if held[HELD] == 0.0:
                continue
            before = positions[at, column]  # what a split made of the shares, before today's fills
            for number in range(first, next_fill):
                if int(fills[number, 1]) == column:
                    before -= fills[number, 2]
            if abs(before) <= NOISE * abs(positions[at, column] - before):
                before = 0.0
            if before == 0.0:  # a reverse split left less than a share, and paid for it
                rows, count = _emit(
                    rows, count, column, held, abs(held[HELD]), at, income[at, column] / held[HELD], 0.0
                )
                held[:] = 0.0
                continue
            held[EARNED] += income[at, column]
            held[HELD] = before
        for number in range(first, next_fill):
            column = int(fills[number, 1])
            rows, count = _trade(rows, count, column, book[column], fills[number])
    for column in range(symbols):
        held = book[column]
        if held[HELD] != 0.0:
            price = marks[sessions - 1, column]
            rows, count = _emit(rows, count, column, held, abs(held[HELD]), -1, price, 0.0)
    return rows[:count].copy()
