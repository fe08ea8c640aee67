"""Wide frames of prices: what every strategy and engine reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Literal, cast

from workbench.data.dataset import FIELDS, Frequency
from workbench.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FIELDS", "Adjustment", "Bars"]

Adjustment = Literal["raw", "split", "total"]


@dataclass(frozen=True)
class Bars:
    """Bars of several symbols as five frames of one shape, daily or by the minute.

    Each frame is float64, indexed by ``session`` (timezone-naive midnight, ascending, unique) with one
    column per symbol; a symbol that did not trade in a session is NaN in all five. Prices are in USD.
    ``adjustment`` says whether prices are as traded (``raw``), comparable across splits (``split``),
    or across splits and dividends (``total``); ``snapshot`` is the lake snapshot they were read from.
    Minutes are indexed by ``start``, their left edge in UTC (timezone-naive) instead.
    """

    open: pd.DataFrame
    high: pd.DataFrame
    low: pd.DataFrame
    close: pd.DataFrame
    volume: pd.DataFrame
    adjustment: Adjustment
    snapshot: int
    frequency: Frequency = "daily"

    @property
    def sessions(self) -> pd.DatetimeIndex:
        return cast("pd.DatetimeIndex", self.close.index)

    @property
    def symbols(self) -> list[str]:
        return [str(name) for name in self.close.columns]

    def __len__(self) -> int:
        return len(self.close)

    def between(self, start: date | None = None, end: date | None = None) -> Bars:
        """The sessions (of minutes: the days in UTC) from ``start`` to ``end``, both included; prices stay."""
        import pandas as pd

        first = None if start is None else pd.Timestamp(start)
        last = None if end is None else pd.Timestamp(end)
        if last is not None and self.frequency == "minute":
            last += pd.Timedelta(days=1) - pd.Timedelta(1, "ns")
        frames = {name: getattr(self, name).loc[first:last] for name in FIELDS}
        return replace(self, **frames)

    def select(self, symbols: Sequence[str]) -> Bars:
        """The same sessions for some of the symbols.

        Raises
        ------
        DataError
            If there are no bars of a symbol.
        """
        for symbol in symbols:
            if symbol not in self.close.columns:
                raise DataError(f"no bars of {symbol}", hint=nearest(symbol, self.symbols))
        frames = {name: getattr(self, name)[list(symbols)] for name in FIELDS}
        return replace(self, **frames)

    def prices_on(self, session: date, field: str = "close") -> dict[str, float]:
        """Symbol to price for the symbols that traded on ``session``."""
        import pandas as pd

        row = getattr(self, field).loc[pd.Timestamp(session)].dropna()
        return {str(symbol): float(price) for symbol, price in row.items()}
