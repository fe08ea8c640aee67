"""The same backtest with vectorbt's accounting: every order is executed by ``vectorbt.portfolio.nb.execute_order_nb``.

What vectorbt does itself: the fill price with slippage, the fee, cash, positions, debt, and which orders it refuses
or cuts. What its ``Portfolio.from_orders`` cannot express is done around it, in the order of docs/architecture.md:
splits, dividends, delistings, borrowing and interest, the sizing of targets, and what waits from one session to the
next. Two of its habits are worked around, because they are not the convention:

- it cuts a buy to the cash there is (with ``buys="in_full"`` the shortage is lent for the moment of the fill);
- it refuses a sale that is worth less than its fee (the rest of the fee is taken from cash).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from workbench.research.costs import Assumptions
from workbench.research.inputs import Array, Inputs, marks_of
from workbench.research.result import Books

# Floats may land a hair below the whole share or the dollar that exact decimals reach.
_GUARD = 1e-9
_NOISE = 1e-12


def refusal(assumptions: Assumptions) -> str | None:
    """Why these assumptions cannot be expressed; None if they can."""
    if assumptions.sizing == "fill":
        return "sizing='fill': it counts the shares when they are ordered"
    return None


def run(
    inputs: Inputs,
    assumptions: Assumptions,
    *,
    calendar: str = "XNYS",
    progress: Callable[..., Iterable[Any]] | None = None,
) -> Books:
    """Simulate a window; ``progress`` shows the sessions gone through."""
    account = _Account(inputs, assumptions)
    sessions: Iterable[int] = range(len(inputs.sessions))
    if progress is not None:
        sessions = progress(sessions, total=len(inputs.sessions), unit="session")
    for at in sessions:
        account.step(at)
    return account.books()


class _Account:
    """vectorbt's state between orders, and what waits for the next session."""

    def __init__(self, inputs: Inputs, assumptions: Assumptions) -> None:
        from vectorbt.portfolio import enums, nb

        self._nb, self._enums = nb, enums
        self._inputs, self._assumed = inputs, assumptions
        width, length = len(inputs.symbols), len(inputs.sessions)
        self._cash = self._free_cash = float(assumptions.capital_usd)
        self._shares, self._debt, self._waiting = np.zeros(width), np.zeros(width), np.zeros(width)
        self._marks = marks_of(inputs)
        self._equity, self._cash_at = np.empty(length), np.empty(length)
        self._positions, self._income = np.empty((length, width)), np.zeros((length, width))
        self._flows = np.zeros((length, 4))
        self._records: list[tuple[float, ...]] = []

    def step(self, at: int) -> None:
        """One session: charges, corporate actions, fills, decision."""
        inputs, fill = self._inputs, self._assumed.fill
        if at:
            self._charge(at)
            self._corporate(at)
        if fill != "close":
            self._fill(at, at - 1, inputs.open[at] if fill == "next_open" else inputs.close[at])
        self._decide(at)
        if fill == "close":
            self._fill(at, at, inputs.close[at])
        self._equity[at], self._cash_at[at], self._positions[at] = self._worth(at), self._cash, self._shares

    def books(self) -> Books:
        last = len(self._inputs.sessions) - 1
        for column in np.flatnonzero(self._waiting).tolist():
            self._records.append((last, -1, column, self._waiting[column], 0.0, np.nan, 0.0, 0.0))
        records = np.array(self._records, dtype=float).reshape(-1, 8)
        return Books(self._equity, self._cash_at, self._positions, self._marks, self._income, self._flows, records)

    def _worth(self, at: int) -> float:
        held = self._shares != 0.0
        return self._cash + float(self._shares[held] @ self._marks[at][held])

    def _pay(self, amount: float) -> None:
        self._cash += amount
        self._free_cash += amount

    def _charge(self, at: int) -> None:
        part = self._inputs.year_fraction[at]
        short = np.minimum(np.where(self._shares < 0.0, self._shares * self._marks[at - 1], 0.0), 0.0)
        borrow = short * self._assumed.borrow_rate * part
        self._income[at] += borrow
        self._flows[at, 2] = borrow.sum()
        self._flows[at, 3] = min(self._cash, 0.0) * self._assumed.debit_rate * part
        self._pay(self._flows[at, 2] + self._flows[at, 3])

    def _corporate(self, at: int) -> None:
        inputs = self._inputs
        if at in inputs.splits:
            self._split(at, inputs.splits[at])
        if at in inputs.dividends:
            paid = self._shares * inputs.dividends[at]
            self._income[at] += paid
            self._flows[at, 0] = paid.sum()
            self._pay(float(paid.sum()))
        if self._assumed.delisting == "last_close":
            for column in np.flatnonzero(inputs.delisted == at):
                self._waiting[column] = 0.0
                if self._shares[column]:
                    self._deliver(at, int(column), -self._shares[column], float(self._marks[at, column]), 0.0, 0.0)
                    self._records[-1] = (at - 1, *self._records[-1][1:7], 1.0)

    def _split(self, at: int, ratio: Array) -> None:
        changed = ratio != 1.0
        exact = self._shares * ratio
        kept = np.where(changed, _whole(exact, self._unit), self._shares)
        over = np.where(exact >= 0, np.maximum(exact - kept, 0.0), np.minimum(exact - kept, 0.0))
        opens = self._inputs.open[at]
        price = np.where(np.isnan(opens), self._marks[at], opens)
        paid = np.where(changed & (over != 0.0), over * price, 0.0)
        self._shares = kept
        self._income[at] += paid
        self._flows[at, 1] = paid.sum()
        self._pay(float(paid.sum()))
        self._waiting = np.where(changed, _whole(self._waiting * ratio, self._unit), self._waiting)

    @property
    def _unit(self) -> float:
        """What shares are multiples of after a split; 0 for fractions."""
        return 0.0 if self._assumed.lot is None else min(self._assumed.lot, 1.0)

    def _decide(self, at: int) -> None:
        inputs, assumed = self._inputs, self._assumed
        equity = self._worth(at)
        base = equity if assumed.compounding or equity <= 0 else assumed.capital_usd
        traded = ~np.isnan(inputs.close[at])
        price = np.where(traded, inputs.close[at], 1.0)
        exact = inputs.weights[at]
        if assumed.target == "weights":
            exact = base * (1.0 - assumed.cash_buffer) * exact / price
        target = _whole(exact, assumed.lot or 0.0) if base > 0 else np.zeros(len(price))
        change = target - self._shares
        change[np.abs(change) <= _NOISE * np.maximum(np.abs(target), np.abs(self._shares))] = 0.0
        worth = np.abs(change) * price >= max(assumed.min_trade_value_usd, assumed.tolerance * base) - _GUARD
        self._waiting = np.where(traded & inputs.decide[at] & (worth | (target == 0.0)), change, 0.0)

    def _fill(self, at: int, decided: int, prices: Array) -> None:
        waiting = self._waiting
        self._waiting = np.zeros(len(waiting))
        for column in [*np.flatnonzero(waiting < 0), *np.flatnonzero(waiting > 0)]:
            ordered, price = float(waiting[column]), float(prices[column])
            size = 0.0 if np.isnan(price) else self._size(at, int(column), ordered, price)
            if size == 0.0:
                self._records.append((decided, at, column, ordered, 0.0, np.nan, 0.0, 0.0))
                continue
            slip = self._slip(size, float(self._inputs.volume[at, column]))
            fee = self._assumed.fee(abs(size), price * (1.0 + np.sign(size) * slip))
            self._deliver(at, int(column), size, price, slip, fee)
            self._records[-1] = (decided, at, column, ordered, *self._records[-1][4:])

    def _slip(self, size: float, volume: float) -> float:
        assumed = self._assumed
        share = abs(size) / volume if assumed.impact else 0.0
        return (assumed.slippage_bps + assumed.half_spread_bps) / 10_000.0 + assumed.impact * share * share

    def _size(self, at: int, column: int, ordered: float, price: float) -> float:
        """The part of an order that volume, and cash if it is a limit, let through."""
        assumed, volume = self._assumed, float(self._inputs.volume[at, column])
        lot, size = assumed.lot or 0.0, abs(ordered)
        if assumed.max_volume_share is not None and assumed.max_volume_share * volume < size:
            size = float(_whole(np.array(assumed.max_volume_share * volume), lot))
        if size > 0.0 and ordered > 0 and assumed.buys == "within_cash":
            paid = price * (1.0 + self._slip(size, volume))
            if size * paid + assumed.fee(size, paid) > self._cash:
                size = float(_whole(np.array(self._within(paid)), lot))
        return float(np.copysign(size, ordered)) if size > 0.0 else 0.0

    def _within(self, price: float) -> float:
        """The most shares that cash pays for, by bisection on the fee."""
        low, high = 0.0, max(self._cash / price, 0.0)
        for _ in range(200):
            middle = 0.5 * (low + high)
            if middle * price + self._assumed.fee(middle, price) <= self._cash:
                low = middle
            else:
                high = middle
        return low

    def _deliver(self, at: int, column: int, size: float, price: float, slip: float, fee: float) -> None:
        """Have vectorbt execute one order, and keep the state it returns."""
        enums, nb = self._enums, self._nb
        paid = price * (1.0 + np.sign(size) * slip)
        value = abs(size) * paid
        taken = min(fee, value) if size < 0 else fee
        # The guard is for vectorbt's own comparison of cost and cash, which is relative.
        lent = max(value * (1.0 + 1e-6) + taken - self._cash, 0.0) if size > 0 else max(-self._cash, 0.0)
        state = enums.ProcessOrderState(
            cash=self._cash + lent,
            position=float(self._shares[column]),
            debt=float(self._debt[column]),
            free_cash=self._free_cash + lent,
            val_price=price,
            value=self._cash + lent,
            oidx=0,
            lidx=0,
        )
        order = nb.order_nb(size=size, price=price, fixed_fees=taken, slippage=slip)
        after, done = nb.execute_order_nb(state, order)
        if done.status != enums.OrderStatus.Filled:
            raise RuntimeError(f"vectorbt did not fill {size:g} at {price:g}: status {done.status}, {done.status_info}")
        self._cash = after.cash - lent - (fee - taken)
        self._free_cash = after.free_cash - lent - (fee - taken)
        self._shares[column], self._debt[column] = after.position, after.debt
        filled = float(np.copysign(done.size, size))
        self._records.append((at, at, column, size, filled, done.price, done.fees + (fee - taken), 0.0))


def _whole(quantity: Array, unit: float) -> Array:
    """Rounded toward zero to multiples of a unit; unchanged if the unit is 0."""
    if unit == 0.0:
        return quantity
    rounded: Array = np.sign(quantity) * np.floor(np.abs(quantity) / unit + _GUARD) * unit
    return rounded
