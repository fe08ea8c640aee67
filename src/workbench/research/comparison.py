"""Where two backtests agree, where not, and what every cent of the difference comes from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.errors import DataError
from workbench.research.attribution import PARTS, Traded, attribute, traded
from workbench.research.result import BacktestResult

# Amounts closer than half a cent are the same amount.
HALF_CENT = 0.005
# A price per share is compared more finely than an amount: it is multiplied by the quantity.
_RESOLUTION = {"quantity": 1e-6, "price": 1e-6, "fee": HALF_CENT}


@dataclass(frozen=True)
class Comparison:
    """The books of two engines side by side.

    Attributes
    ----------
    equity
        Indexed by session: one column per engine and ``difference`` (second less first), in USD.
    fills
        The fills on which they disagree, by ``session``, ``symbol`` and ``side``: quantity, price and
        fee of each, NaN where one has none; ``cause`` of the different quantity ('' if it is the same), and the
        USD that the different price and fee moved the equity by at once.
    attribution
        USD by session, cumulative: one column per part, which sum to the difference of the equities:

        ``fill_price``, ``fees``
            The same shares traded at another price, or for another fee.
        ``rounding``, ``timing``, ``liquidity``, ``sizing``
            What other numbers of shares earned since: a difference of at most one lot; the same side of the same
            symbol traded some sessions apart; an order that only one of them filled in full; any other number, decided
            on another equity or by other rules.
        ``dividends``, ``fractions``, ``borrow``, ``interest``
            Cash that did not come from trading.
        ``marks``
            The same shares valued at another price: the two did not have the same data.
        ``unexplained``
            What is left: books that do not add up.
    """

    equity: pd.DataFrame
    fills: pd.DataFrame
    attribution: pd.DataFrame

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
    def explained_to_the_cent(self) -> bool:
        """Whether the named parts sum to the difference at every close."""
        return bool((self.attribution["unexplained"].abs() < HALF_CENT).all())

    @property
    def parts(self) -> pd.Series[float]:
        """USD of the final difference by part, those that are zero to the cent left out."""
        final = self.attribution.iloc[-1].rename("usd")
        return final[final.abs() >= HALF_CENT]

    @property
    def summary(self) -> dict[str, object]:
        """The comparison in six numbers."""
        first = self.first_difference
        return {
            "sessions": len(self.equity),
            "max_difference_usd": self.max_difference_usd,
            "final_difference_usd": float(self.equity["difference"].iloc[-1]),
            "first_difference": first.date() if first is not None else None,
            "differing_fills": len(self.fills),
            "unexplained_usd": float(self.attribution["unexplained"].abs().max()),
        }


def compare(a: BacktestResult, b: BacktestResult) -> Comparison:
    """Put two backtests of the same window side by side and attribute the difference of ``b`` from ``a``.

    They may come from two engines, or from one under two sets of assumptions.

    Raises
    ------
    DataError
        If they do not cover the same sessions and symbols.

    Examples
    --------
    >>> from workbench.research.engines import backtest
    >>> from workbench.research import Assumptions
    >>> from workbench.data.bars import Bars
    >>> from workbench.strategies import load
    >>> days = pd.DatetimeIndex(["2013-01-02", "2013-01-03", "2013-01-04", "2013-01-07"])
    >>> price = pd.DataFrame({"IBM": [10.0, 11.0, 12.0, 12.0]}, index=days)
    >>> def bars(adjustment): return Bars(price, price, price, price, price, adjustment, 0)
    >>> none = pd.DataFrame(columns=["symbol", "ex_date", "kind", "value"])
    >>> given = load("momentum", {"lookback": 2, "top": 1}), bars("split"), bars("raw"), none
    >>> cheap, dear = (backtest(*given, assumptions=Assumptions(slippage_bps=bps)) for bps in (0, 10))
    >>> compare(cheap, dear).parts.round(2).to_dict()  # 8166 shares, 0.012 USD each
    {'fill_price': -97.99}
    """
    if not a.equity.index.equals(b.equity.index):
        raise DataError(
            f"the backtests of {a.engine} and {b.engine} cover different sessions",
            hint="run both from the same start to the same end",
        )
    if not a.positions.columns.equals(b.positions.columns):
        raise DataError(f"the backtests of {a.engine} and {b.engine} cover different symbols")
    names = [a.engine, b.engine] if a.engine != b.engine else [f"{a.engine} 1", f"{b.engine} 2"]
    equity = pd.DataFrame({names[0]: a.equity, names[1]: b.equity})
    equity["difference"] = b.equity - a.equity
    first, second = traded(a), traded(b)
    parts, causes = attribute(a, b, first, second)
    fills = _differing_fills(a.fills, b.fills, names)
    return Comparison(equity, _explained(fills, names, a, causes, first, second), parts)


def _differing_fills(a: pd.DataFrame, b: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    key = ["session", "symbol", "side"]
    both = a.drop(columns="decided").merge(
        b.drop(columns="decided"), on=key, how="outer", suffixes=(f" {names[0]}", f" {names[1]}")
    )
    differs = np.zeros(len(both), dtype=bool)
    for field, resolution in _RESOLUTION.items():
        gap = (both[f"{field} {names[0]}"] - both[f"{field} {names[1]}"]).abs()
        differs |= ~(gap < resolution).to_numpy()  # NaN, a fill that only one has, differs
    return both[differs].reset_index(drop=True)


def _explained(
    fills: pd.DataFrame, names: list[str], a: BacktestResult, causes: pd.Series[str], first: Traded, second: Traded
) -> pd.DataFrame:
    """The differing fills with the cause of another quantity and the USD of another price and fee."""
    rows = a.equity.index.get_indexer(pd.DatetimeIndex(fills["session"]))
    columns = a.positions.columns.get_indexer(pd.Index(fills["symbol"]))
    keys = pd.MultiIndex.from_arrays([fills["session"], fills["symbol"]])
    both = fills[f"quantity {names[0]}"].notna() & fills[f"quantity {names[1]}"].notna()
    gap = second.price[rows, columns] - first.price[rows, columns]
    fees = fills[f"fee {names[1]}"].fillna(0.0) - fills[f"fee {names[0]}"].fillna(0.0)
    moved = np.where(both, -first.quantity[rows, columns] * gap, 0.0)
    return fills.assign(cause=causes.reindex(keys).fillna("").to_numpy(), fill_price_usd=moved, fees_usd=-fees)


__all__ = ["HALF_CENT", "PARTS", "Comparison", "compare"]
