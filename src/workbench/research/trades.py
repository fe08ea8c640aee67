"""Round trips: what each purchase and its sale (or each short sale and its cover) earned.

A trade is what vectorbt calls an exit trade: every fill that makes a position smaller closes so many shares at the
position's average entry price, with its part of the entry fees. What is still held at the end is an open trade.
Beyond vectorbt, a trade is credited with its part of the dividends, of the fractions paid out by splits and of the
cost of borrowing, so that over a whole backtest

    sum of pnl + interest = final equity - capital.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]

# Columns of a trade as an array.
SYMBOL, SIDE, QUANTITY, ENTERED, ENTRY, EXITED, EXIT, FEES, INCOME = range(9)


def round_trips(
    fills: Array, positions: Array, marks: Array, income: Array, sessions: pd.DatetimeIndex, symbols: list[str]
) -> pd.DataFrame:
    """The trades of a backtest, in the order of their exits, open ones last.

    Parameters
    ----------
    fills
        Fills x 5 in the order of execution: position of the session, of the symbol, signed quantity, price, fee.
    positions, marks, income
        Sessions x symbols: shares at each close, last known raw close, and cash that shares brought in or cost
        before the open (dividends, fractions of split shares, borrowing), in USD.

    Returns
    -------
    ``symbol``, ``side`` ('long' or 'short'), ``quantity`` (shares at the exit), ``entered``, ``exited`` (sessions;
    NaT while open), ``entry_price`` (average, in shares of the exit), ``exit_price`` (the last close while open),
    ``fees``, ``income``, ``pnl`` (USD, fees taken off and income included), ``return`` (pnl over the value at entry),
    ``sessions`` held and ``status`` ('closed' or 'open').

    Source: vectorbt 1.0, ``get_exit_trades_nb``.
    """
    from workbench.research.engines._round_trips import trace

    rows = trace(fills, positions, marks, income)
    number = rows[:, SYMBOL].astype(int)
    entered = rows[:, ENTERED].astype(int)
    is_open = rows[:, EXITED] < 0
    last = np.where(is_open, len(sessions) - 1, rows[:, EXITED]).astype(int)
    value = rows[:, QUANTITY] * rows[:, ENTRY]
    pnl = rows[:, SIDE] * rows[:, QUANTITY] * (rows[:, EXIT] - rows[:, ENTRY]) - rows[:, FEES] + rows[:, INCOME]
    columns: dict[str, Any] = {
        "symbol": np.array(symbols, dtype=object)[number],
        "side": np.where(rows[:, SIDE] > 0, "long", "short").astype(object),
        "quantity": rows[:, QUANTITY],
        "entered": sessions[entered],
        "entry_price": rows[:, ENTRY],
        "exited": sessions[last].where(~is_open),
        "exit_price": rows[:, EXIT],
        "fees": rows[:, FEES],
        "income": rows[:, INCOME],
        "pnl": pnl,
        "return": np.divide(pnl, value, out=np.full(len(rows), np.nan), where=value > 0),
        "sessions": last - entered,
        "status": np.where(is_open, "open", "closed").astype(object),
    }
    return pd.DataFrame(columns)
