"""One door to the engines: the compiled kernel, vectorbt and zipline give the same :class:`BacktestResult`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any, Literal

import pandas as pd

from workbench.data.bars import Bars
from workbench.errors import ConfigError, DataError, nearest
from workbench.research.costs import Assumptions
from workbench.research.inputs import day, prepare
from workbench.research.result import BacktestResult, build
from workbench.strategies.base import Strategy

Engine = Literal["kernel", "vectorbt", "zipline"]
ENGINES = {"kernel": "kernel", "vectorbt": "vectorbt_engine", "zipline": "zipline_engine"}


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
    benchmark: str | pd.Series[float] | None = None,
    calendar: str = "XNYS",
    progress: Callable[..., Iterable[Any]] | None = None,
) -> BacktestResult:
    """Run a strategy: decide on each close, trade at the next open, pay costs, splits and dividends.

    The first decision falls on the first session of the window and the last on its last; orders of the
    last session stay unfilled. ``assumptions`` say how orders fill, and everything else that is taken for granted.

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
    engine
        ``kernel`` is compiled and the fastest, ``vectorbt`` executes every order with vectorbt's functions,
        ``zipline`` steps through zipline's event loop.
    benchmark
        A symbol of the bars (its close in ``bars_split``), or a price or an index by session.
    calendar
        The exchange of the sessions by its ISO 10383 code; only zipline asks for it.
    progress
        Shows the sessions gone through in vectorbt and zipline: called with an iterable and ``total=``, such as
        ``tqdm.tqdm``.

    Raises
    ------
    DataError
        If bars, weights or actions cannot be used; the message names symbol and session.
    ConfigError
        If there is no such engine, or it cannot express an assumption.

    Examples
    --------
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
    module = importlib.import_module(f"{__name__}.{ENGINES[engine]}")
    refused = module.refusal(assumed)
    if refused is not None:
        raise ConfigError(f"{engine} cannot express {refused}", hint="the kernel can")
    inputs = prepare(strategy, bars_split, bars_raw, actions, start, end, assumed)
    against = None if benchmark is None else _benchmark(benchmark, bars_split, inputs.sessions, assumed.capital_usd)
    books = module.run(inputs, assumed, calendar=calendar, progress=progress)
    return build(books, inputs, assumed, engine, against)


def _benchmark(
    benchmark: str | pd.Series[float], bars: Bars, sessions: pd.DatetimeIndex, capital: float
) -> pd.Series[float]:
    """The benchmark on the sessions of the window, scaled to the capital."""
    if isinstance(benchmark, str):
        name, level = benchmark, bars.select([benchmark]).close[benchmark]
    else:
        name, level = str(benchmark.name or "benchmark"), benchmark
    found = level.reindex(sessions).astype(float)
    if found.isna().any():
        raise DataError(f"benchmark {name} has no value on {day(found.index[found.isna()][0])}")
    if (found <= 0).any():
        raise DataError(f"benchmark {name} is not positive on {day(found.index[found <= 0][0])}")
    return (found / found.iloc[0] * capital).rename(name).rename_axis("session")
