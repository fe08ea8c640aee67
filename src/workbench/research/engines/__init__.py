"""One door to the engines: the compiled kernel, vectorbt and zipline give the same :class:`BacktestResult`."""

from __future__ import annotations

import importlib
from datetime import date
from typing import TYPE_CHECKING, Literal

from workbench.errors import ConfigError, nearest
from workbench.research.costs import Assumptions

if TYPE_CHECKING:
    import pandas as pd

    from workbench.data.bars import Bars
    from workbench.research.result import BacktestResult
    from workbench.strategies.base import Strategy

Engine = Literal["kernel", "zipline"]
ENGINES = {"kernel": "kernel", "zipline": "zipline_engine"}
_NOT_YET = {
    "half_spread_bps",
    "max_volume_share",
    "impact",
    "fill",
    "lot",
    "target",
    "rebalance",
    "compounding",
    "buys",
}
_NOT_YET |= {"allow_short", "borrow_rate", "max_leverage", "debit_rate", "delisting", "sessions_per_year"}
_NOT_YET |= {"risk_free_rate"}


def backtest(
    strategy: Strategy,
    bars_split: Bars,
    bars_raw: Bars,
    actions: pd.DataFrame,
    *,
    start: date | None = None,
    end: date | None = None,
    assumptions: Assumptions | None = None,
    engine: Engine = "kernel",
) -> BacktestResult:
    """Run a strategy: decide on each close, trade at the next open, pay costs, splits and dividends.

    The first decision falls on the first session of the window and the last on its last; orders of the
    last session stay unfilled.

    Parameters
    ----------
    bars_split
        Bars adjusted for splits, or for splits and dividends: what the strategy sees. Sessions before
        ``start`` are its warm-up.
    bars_raw
        Bars as traded, of the same symbols: what is sized, filled and marked on.
    actions
        Columns ``symbol``, ``ex_date``, ``kind`` ('split' or 'dividend') and ``value`` (new shares per
        old share, or USD per share after a split of the same day).
    start, end
        First and last session, both included; by default all of ``bars_raw``.

    Raises
    ------
    DataError
        If bars, weights or actions cannot be used; the message names symbol and session.
    ConfigError
        If there is no such engine.

    Examples
    --------
    >>> import pandas as pd
    >>> from workbench.data.bars import Bars
    >>> from workbench.strategies import load
    >>> days = pd.DatetimeIndex(["2013-01-02", "2013-01-03", "2013-01-04", "2013-01-07"])
    >>> price = pd.DataFrame({"IBM": [10.0, 11.0, 12.0, 12.0]}, index=days)
    >>> def bars(adjustment): return Bars(price, price, price, price, price, adjustment, 0)
    >>> none = pd.DataFrame(columns=["symbol", "ex_date", "kind", "value"])
    >>> made = backtest(load("momentum", {"lookback": 2, "top": 1}), bars("split"), bars("raw"), none,
    ...                 assumptions=Assumptions(capital_usd=1000, slippage_bps=0))
    >>> made.fills[["side", "quantity", "price", "fee"]].values.tolist()
    [['buy', 81.0, 12.0, 1.0]]
    """
    if engine not in ENGINES:
        raise ConfigError(f"no engine {engine!r}", hint=nearest(str(engine), ENGINES))
    assumed = assumptions or Assumptions()
    for name in sorted(_NOT_YET & assumed.changed().keys()):
        raise ConfigError(f"engine {engine} cannot express assumption {name} = {getattr(assumed, name)!r}")
    module = importlib.import_module(f"{__name__}.{ENGINES[engine]}")
    made: BacktestResult = module.backtest(
        strategy, bars_split, bars_raw, actions, start=start, end=end, assumptions=assumed
    )
    return made
