"""The audit of fills: nothing is filled before it is decided, or at a price that its session did not have."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from workbench.data.bars import Bars
from workbench.errors import DataError
from workbench.research.result import BacktestResult

# Floats of an engine may miss a price by a hair.
_HAIR = 1e-9
_MOST_NAMED = 5


@dataclass(frozen=True)
class FillAudit:
    """What was wrong with which fills.

    Attributes
    ----------
    fills
        How many were looked at.
    convention
        When fills were to happen: ``next_open``, ``next_close`` or ``close``.
    faults
        Indexed by the number of the fill: ``decided``, ``session``, ``symbol``, ``side``, ``price`` and ``fault``.
    caution
        What the convention itself takes for granted, if it is optimistic.
    """

    fills: int
    convention: str
    faults: pd.DataFrame = field(repr=False)
    caution: str = ""

    @property
    def clean(self) -> bool:
        return self.faults.empty

    @property
    def fault(self) -> str:
        """The first fault in words; empty if there is none."""
        if self.clean:
            return ""
        first = self.faults.iloc[0]
        more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
        return f"the {first['side']} of {first['symbol']} on {first['session']:%Y-%m-%d} {first['fault']}{more}"

    def __str__(self) -> str:
        text = self.fault or f"all {self.fills} fills come after their decision, at a price of their session"
        return f"{text}; caution: {self.caution}" if self.caution else text


def audit_fills(made: BacktestResult, bars_raw: Bars) -> FillAudit:
    """Hold every fill of a backtest against the raw bars.

    A fill has to come in the session after its decision or later (in the same one if the backtest's assumptions say
    ``fill = "close"``, which is named as optimistic), in a session in which its symbol traded; its price, less
    slippage, spread and impact as assumed, has to be the price of the convention (the open or the close of its session)
    and lie between that session's low and high. So a fill at the close that it was decided on does not pass as one at
    the next open. Delisted positions that were paid out are no fills and are not looked at.

    Raises
    ------
    DataError
        If a fill names a symbol or a session that the bars do not have.
    """
    convention = made.assumptions.fill
    fills = made.fills[~_paid_out(made)]
    rows, columns, decided = _located(fills, bars_raw)
    opens, highs, lows, closes = (
        getattr(bars_raw, name).to_numpy(dtype=float)[rows, columns] for name in ("open", "high", "low", "close")
    )
    price = fills["price"].to_numpy(dtype=float)
    side = np.where(fills["side"] == "buy", 1.0, -1.0)
    at_decision = bars_raw.close.to_numpy(dtype=float)[decided, columns]
    expected = opens if convention == "next_open" else closes
    # what slippage, half the spread and impact may add to a buy and take from a sale, as a fraction
    most = _most_cost(made, fills, bars_raw, rows, columns)
    against = side * (price / expected - 1.0)
    faults = pd.Series("", index=fills.index, dtype=object)
    late = "" if convention != "close" else " or in it"
    checks = [
        (~np.isfinite(opens) | ~np.isfinite(closes), "is in a session without a bar"),
        (rows < decided, "comes before its decision"),
        ((rows == decided) & (convention != "close"), "is in the session of its own decision, at a price it knew"),
        ((rows != decided) & (convention == "close"), "is not in the session of its decision, as the convention says"),
        (_far(price, expected, most) & ~_far(price, at_decision, most) & (rows > decided), _STALE),
        ((price > highs * (1 + most + _HAIR)) | (price < lows * (1 - most - _HAIR)), "is outside its session's range"),
        ((against < -_HAIR) | (against > most + _HAIR), f"is not at the {_NAMES[convention]} of its session{late}"),
    ]
    for wrong, fault in checks:
        faults = faults.mask((faults == "") & np.asarray(wrong), fault)
    table = fills.assign(fault=faults)[faults != ""]
    caution = _OPTIMISTIC if convention == "close" else ""
    shown = table[["decided", "session", "symbol", "side", "price", "fault"]]
    return FillAudit(len(fills), convention, shown, caution)


_NAMES = {"next_open": "open", "next_close": "close", "close": "close"}
_STALE = "has the price of the close it was decided on, which nobody could trade at any more"
_OPTIMISTIC = "fills at the close that is decided on take for granted that it is known before it is made"


def _located(fills: pd.DataFrame, bars_raw: Bars) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row of the fill, column of the symbol and row of the decision, for every fill."""
    rows = bars_raw.sessions.get_indexer(pd.DatetimeIndex(fills["session"]))
    decided = bars_raw.sessions.get_indexer(pd.DatetimeIndex(fills["decided"]))
    columns = pd.Index(bars_raw.symbols).get_indexer(pd.Index(fills["symbol"]))
    lost = np.flatnonzero((rows < 0) | (decided < 0) | (columns < 0))
    if len(lost):
        fill = fills.iloc[lost[0]]
        raise DataError(
            f"there is no bar for the fill of {fill['symbol']} on {fill['session']:%Y-%m-%d}"
            f" (decided {fill['decided']:%Y-%m-%d})",
            hint="give the audit the raw bars of the backtest",
        )
    return rows, columns, decided


def _far(price: np.ndarray, reference: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Whether a price is further from a reference than costs explain; true where there is no reference."""
    return np.asarray(~(np.abs(price / reference - 1.0) <= most + _HAIR))


def _most_cost(
    made: BacktestResult, fills: pd.DataFrame, bars_raw: Bars, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    assumed = made.assumptions
    most = np.full(len(fills), (assumed.slippage_bps + assumed.half_spread_bps) / 10_000.0)
    if assumed.impact:
        volume = bars_raw.volume.to_numpy(dtype=float)[rows, columns]
        share = np.divide(fills["quantity"].to_numpy(), volume, out=np.ones(len(fills)), where=volume > 0)
        most = most + assumed.impact * share**2
    return most


def _paid_out(made: BacktestResult) -> np.ndarray:
    """Which rows of the fills are delisted positions that were paid out."""
    status = made.orders.loc[made.orders["filled"] > 0, "status"].to_numpy()
    return np.asarray(status == "paid_out") if len(status) == len(made.fills) else np.zeros(len(made.fills), dtype=bool)
