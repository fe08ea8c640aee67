"""The reference backtest: the execution convention ``next_open`` of docs/architecture.md, in floats.

The order path follows the same rules in exact decimals and is written separately, so that each checks
the other; zipline and vectorbt run through the same inputs in their own modules.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from workbench.data.bars import Bars
from workbench.research import result
from workbench.research.inputs import Array, Inputs, prepare
from workbench.research.result import Assumptions, BacktestResult, FillRow
from workbench.strategies.base import Strategy

# Floats may land a hair below the whole share or the dollar that exact decimals reach.
GUARD = 1e-9


def backtest(
    strategy: Strategy,
    bars_split: Bars,
    bars_raw: Bars,
    actions: pd.DataFrame,
    *,
    start: date | None = None,
    end: date | None = None,
    assumptions: Assumptions,
) -> BacktestResult:
    """Run a strategy in our own engine; see :func:`workbench.research.backtest`."""
    inputs = prepare(strategy, bars_split, bars_raw, actions, start, end)
    account = _Account(inputs, assumptions)
    equity = np.empty(len(inputs.sessions))
    cash = np.empty(len(inputs.sessions))
    positions = np.empty(inputs.close.shape)
    for at in range(len(inputs.sessions)):
        account.open(at)
        equity[at] = account.close(at)
        cash[at] = account.cash
        positions[at] = account.shares
    index = inputs.sessions
    return result.build(
        pd.Series(equity, index=index),
        pd.Series(cash, index=index),
        pd.DataFrame(positions, index=index, columns=inputs.symbols),
        account.fills,
        assumptions,
        engine="kernel",
    )


class _Account:
    """Cash, shares and waiting orders, moved from one session to the next."""

    def __init__(self, inputs: Inputs, assumptions: Assumptions) -> None:
        self.cash = assumptions.capital_usd
        self.shares: Array = np.zeros(len(inputs.symbols))
        self.fills: list[FillRow] = []
        self._waiting: Array = np.zeros(len(inputs.symbols))  # signed shares ordered at the last close
        self._mark: Array = np.zeros(len(inputs.symbols))  # last known close, in today's shares
        self._inputs = inputs
        self._assumed = assumptions

    def open(self, at: int) -> None:
        """Corporate actions, then the opening auction; an order without a bar expires."""
        if at in self._inputs.splits:
            self._split(at, self._inputs.splits[at])
        if at in self._inputs.dividends:
            self.cash += float(self.shares @ self._inputs.dividends[at])
        opens = self._inputs.open[at]
        filled = ~np.isnan(opens)
        for sign, side in ((-1, "sell"), (1, "buy")):
            for column in np.flatnonzero(filled & (self._waiting * sign > 0)):
                self._fill(at, int(column), side, sign, float(opens[column]))
        self._waiting[:] = 0.0

    def close(self, at: int) -> float:
        """Mark, decide on the close and leave orders for the next open; return the equity."""
        closes, assumed = self._inputs.close[at], self._assumed
        traded = ~np.isnan(closes)
        self._mark[traded] = closes[traded]
        equity = self.cash + float(self.shares @ self._mark)
        price = np.where(traded, closes, 1.0)
        investable = equity * (1.0 - assumed.cash_buffer)
        target = np.maximum(np.floor(investable * self._inputs.weights[at] / price + GUARD), 0.0)
        change = target - self.shares
        value = np.abs(change) * price
        worth = value >= max(assumed.min_trade_value_usd, assumed.tolerance * equity) - GUARD
        exits = (target == 0) & (self.shares > 0)
        self._waiting = np.where(traded & (change != 0) & (worth | exits), change, 0.0)
        return equity

    def _split(self, at: int, ratio: Array) -> None:
        self._mark /= ratio
        exact = self.shares * ratio
        whole = np.floor(exact + GUARD)
        opens = self._inputs.open[at]
        # A symbol that does not open on its ex-date pays fractions at its last known close.
        price = np.where(np.isnan(opens), self._mark, opens)
        self.cash += float(np.maximum(exact - whole, 0.0) @ price)
        self.shares = whole
        self._waiting = np.sign(self._waiting) * np.floor(np.abs(self._waiting) * ratio + GUARD)

    def _fill(self, at: int, column: int, side: str, sign: int, opening: float) -> None:
        quantity = abs(float(self._waiting[column]))
        price = opening * (1.0 + sign * self._assumed.slippage_bps / 10_000.0)
        fee = self._assumed.fee(quantity, price)
        self.cash += -sign * quantity * price - fee
        self.shares[column] += sign * quantity
        sessions = self._inputs.sessions
        symbol = self._inputs.symbols[column]
        self.fills.append((sessions[at - 1], sessions[at], symbol, side, quantity, price, fee))
