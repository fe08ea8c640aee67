"""Where two backtests agree, and where not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.data.bars import Bars
from workbench.errors import DataError
from workbench.research.inputs import event_arrays
from workbench.research.result import BacktestResult

# Amounts closer than half a cent are the same amount.
HALF_CENT = 0.005


@dataclass(frozen=True)
class Comparison:
    """The books of two engines side by side.

    Attributes
    ----------
    equity
        Indexed by session: one column per engine and ``difference`` (second less first), in USD.
    fills
        The fills on which they disagree, by ``session``, ``symbol`` and ``side``: quantity, price and
        fee of each, NaN where one has none.
    """

    equity: pd.DataFrame
    fills: pd.DataFrame

    @property
    def max_difference_usd(self) -> float:
        """The largest distance of the two equities at any close."""
        return float(self.equity["difference"].abs().max())

    @property
    def first_difference(self) -> pd.Timestamp | None:
        """The first session on which the equities differ by half a cent or more; None if they never do."""
        apart = self.equity.index[self.equity["difference"].abs() >= HALF_CENT]
        return pd.Timestamp(apart[0]) if len(apart) else None

    @property
    def equal_to_the_cent(self) -> bool:
        """Whether the equities agree to the cent at every close."""
        return self.first_difference is None

    @property
    def summary(self) -> dict[str, object]:
        """The comparison in five numbers."""
        first = self.first_difference
        return {
            "sessions": len(self.equity),
            "max_difference_usd": self.max_difference_usd,
            "final_difference_usd": float(self.equity["difference"].iloc[-1]),
            "first_difference": first.date() if first is not None else None,
            "differing_fills": len(self.fills),
        }


def compare(a: BacktestResult, b: BacktestResult) -> Comparison:
    """Put two backtests of the same window side by side.

    Raises
    ------
    DataError
        If they do not cover the same sessions.
    """
    if not a.equity.index.equals(b.equity.index):
        raise DataError(
            f"the backtests of {a.engine} and {b.engine} cover different sessions",
            hint="run both from the same start to the same end",
        )
    names = [a.engine, b.engine] if a.engine != b.engine else [f"{a.engine} 1", f"{b.engine} 2"]
    equity = pd.DataFrame({names[0]: a.equity, names[1]: b.equity})
    equity["difference"] = b.equity - a.equity
    return Comparison(equity=equity, fills=_differing_fills(a.fills, b.fills, names))


def distributions(made: BacktestResult, bars_raw: Bars, actions: pd.DataFrame) -> pd.Series[float]:
    """Cash that came from corporate actions in each session of a backtest, in USD.

    Dividends on the shares held before the open, and fractions of a share left by splits at the open.
    """
    index = made.equity.index
    window = bars_raw.select(list(made.positions.columns)).between(index[0].date(), index[-1].date())
    splits, dividends = event_arrays(actions, window)
    paid = pd.Series(0.0, index=index, name="distributions")
    for at in sorted({*splits, *dividends}):
        exact = made.positions.iloc[at - 1].to_numpy() * splits.get(at, 1.0)
        whole = np.floor(exact + 1e-9)
        fractions = np.maximum(exact - whole, 0.0) * window.open.iloc[at].fillna(0.0).to_numpy()
        paid.iloc[at] = fractions.sum() + (whole * dividends.get(at, 0.0)).sum()
    return paid


def _differing_fills(a: pd.DataFrame, b: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    key = ["session", "symbol", "side"]
    both = a.drop(columns="decided").merge(
        b.drop(columns="decided"), on=key, how="outer", suffixes=(f" {names[0]}", f" {names[1]}")
    )
    differs = np.zeros(len(both), dtype=bool)
    # A price per share is compared more finely than an amount: it is multiplied by the quantity.
    for field, resolution in (("quantity", 0.5), ("price", 1e-6), ("fee", HALF_CENT)):
        gap = (both[f"{field} {names[0]}"] - both[f"{field} {names[1]}"]).abs()
        differs |= ~(gap < resolution).to_numpy()  # NaN, a fill that only one has, differs
    return both[differs].reset_index(drop=True)
