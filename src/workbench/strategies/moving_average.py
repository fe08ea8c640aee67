"""Moving-average crossover: hold what trades above its own trend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from workbench.strategies.base import Strategy

if TYPE_CHECKING:
    import pandas as pd

    from workbench.data.bars import Bars

# Rolling sums carry rounding noise of about 1e-15 of the price; a lead below this share of it is noise.
NOISE = 1e-12


class MovingAverageCrossover(Strategy):
    """Hold every symbol whose mean close of ``fast`` sessions is above that of ``slow`` sessions.

    Each symbol has 1/N of equity for itself, N being the number of symbols in the bars; it is either
    invested or kept as cash. Decided every session. A symbol with a missing close in its slow window is
    not held. Give it prices adjusted for splits at least.

    Source: W. Brock, J. Lakonishok and B. LeBaron, "Simple Technical Trading Rules and the Stochastic
    Properties of Stock Returns", Journal of Finance 47 (1992), the variable-length moving average.

    >>> MovingAverageCrossover(fast=50, slow=200)
    MovingAverageCrossover(fast=50, slow=200)
    """

    fast: int = Field(50, ge=1, description="sessions of the fast average")
    slow: int = Field(200, ge=2, validate_default=True, description="sessions of the slow average")

    @field_validator("slow")
    @classmethod
    def _above_fast(cls, slow: int, info: ValidationInfo) -> int:
        fast = info.data.get("fast")
        if fast is not None and slow <= fast:
            raise PydanticCustomError("not_above_fast", "must be above fast, which is {fast}", {"fast": fast})
        return slow

    @classmethod
    def accepts(cls, values: Mapping[str, Any]) -> Any:
        """Slow above fast, as the validator asks."""
        return values["slow"] > values["fast"]

    def weights(self, bars: Bars) -> pd.DataFrame:
        """See :meth:`Strategy.weights`; rows before ``slow`` sessions of history are all zero."""
        import numpy as np
        import pandas as pd

        fast = bars.close.rolling(self.fast).mean().to_numpy()
        slow = bars.close.rolling(self.slow).mean().to_numpy()
        held = fast > slow * (1.0 + NOISE)  # NaN compares false
        weights = np.where(held, 1.0 / max(len(bars.symbols), 1), 0.0)
        return pd.DataFrame(weights, index=bars.close.index, columns=bars.close.columns)

    @property
    def warm_up_sessions(self) -> int:
        """Those of the longer average."""
        return self.slow
