"""Cross-sectional momentum: hold what has risen most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from workbench.strategies.base import Strategy

if TYPE_CHECKING:
    import pandas as pd

    from workbench.data.bars import Bars

# Returns are compared to 12 decimals, so that the last bit of a price rescaled by a later split
# neither breaks a tie nor makes a flat price look like a rise.
_DECIMALS = 12


class Momentum(Strategy):
    """Hold the ``top`` symbols with the highest simple return of the close over ``lookback`` sessions.

    Each held symbol gets 1/``top`` of equity, and only if its return is positive; the other slots stay
    cash. Decided every session. Equal returns go to the symbol first in the alphabet. A symbol without
    a close at either end of the window is not held. Give it prices adjusted for splits at least.

    Source: N. Jegadeesh and S. Titman, "Returns to Buying Winners and Selling Losers", Journal of
    Finance 48 (1993); the condition on the sign is the absolute momentum of G. Antonacci (2014).

    >>> Momentum(lookback=126, top=2)
    Momentum(lookback=126, top=2)
    """

    lookback: int = Field(126, ge=2, description="sessions over which the return is measured")
    top: int = Field(2, ge=1, description="names held at most")

    def weights(self, bars: Bars) -> pd.DataFrame:
        """See :meth:`Strategy.weights`; rows before ``lookback`` sessions of history are all zero."""
        import numpy as np
        import pandas as pd

        close = bars.close.sort_index(axis="columns")
        prices = close.to_numpy(dtype=float)
        returns = np.full_like(prices, np.nan)
        returns[self.lookback :] = prices[self.lookback :] / prices[: -self.lookback] - 1.0
        returns = np.round(returns, _DECIMALS)
        eligible = returns > 0.0  # NaN compares false
        order = np.argsort(np.where(eligible, -returns, np.inf), axis=1, kind="stable")
        held = np.zeros_like(eligible)
        np.put_along_axis(held, order[:, : self.top], True, axis=1)
        weights = np.where(held & eligible, 1.0 / self.top, 0.0)
        return pd.DataFrame(weights, index=close.index, columns=close.columns)[list(bars.close.columns)]

    @property
    def warm_up_sessions(self) -> int:
        """A return over N sessions needs N + 1 closes."""
        return self.lookback + 1
