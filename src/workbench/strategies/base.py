"""The contract that research, backtest, paper and live share.

The strategies here import pandas when they compute: whoever only checks parameters does without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import pandas as pd

    from workbench.data.bars import Bars


class Strategy(BaseModel, ABC):
    """A frozen model whose fields are the strategy's parameters: typed, bounded, documented.

    A subclass is one file in this package and implements :meth:`weights`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def weights(self, bars: Bars) -> pd.DataFrame:
        """Target weights for every session of ``bars``.

        Returns
        -------
        A float64 frame of the shape of ``bars.close`` (sessions x symbols): the fraction of equity to
        hold of each symbol, decided on the close of the row's session and traded at the next open.
        Zero means out; never NaN. Row t may use only rows up to t.
        """

    @classmethod
    def accepts(cls, values: Mapping[str, Any]) -> Any:
        """Which combinations of values, each valid by itself, the strategy takes; None if it has to be asked for each.

        A class with a validator of several parameters may say the same of arrays at once: a sweep of a large grid then
        need not make every combination to see whether it is one. A subclass does not inherit the answer.

        Parameters
        ----------
        values
            By parameter, a value or an array of one shape.

        Returns
        -------
        An array of bool of that shape, or None.
        """
        return None

    @property
    def warm_up_sessions(self) -> int:
        """How many sessions of bars a decision needs, its own included; a strategy that looks back says so.

        A backtest or a sweep with fewer is refused, and one whose first sessions have fewer is told so.
        """
        return 1
