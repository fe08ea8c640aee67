"""Parameter sweeps: thousands to millions of combinations of one strategy, metrics only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from workbench.clock import Clock, SystemClock
from workbench.data.bars import Bars
from workbench.research.costs import Assumptions
from workbench.research.sweeping.grid import grid_of
from workbench.research.sweeping.jobs import Job, job_of, load_loops
from workbench.research.sweeping.progress import Progress, bar
from workbench.research.sweeping.record import Record, study_of
from workbench.research.sweeping.result import METRICS, SweepResult
from workbench.research.sweeping.running import compute
from workbench.research.sweeping.window import rules_of, window_of
from workbench.research.trials import TrialLedger
from workbench.strategies.base import Strategy

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["METRICS", "SweepResult", "sweep"]


def sweep(
    strategy: str | type[Strategy] | Strategy,
    grid: Mapping[str, Iterable[Any]],
    bars: Bars,
    *,
    start: date | None = None,
    end: date | None = None,
    assumptions: Assumptions | None = None,
    ledger: TrialLedger | None = None,
    client: Client | None = None,
    progress: Progress | bool = True,
    clock: Clock | None = None,
) -> SweepResult:
    """Simulate a strategy with every combination of a grid of parameters.

    Of each combination only sums are kept, so memory is bars plus a table. All cores are used: a strategy's
    :meth:`weights` is called from several threads at once, on the same bars. Interrupted (Ctrl-C), a sweep puts the
    chunks that are done into the ledger; the same call goes on from there.

    Parameters
    ----------
    strategy
        A name, a class, or one strategy, whose other parameters are then held.
    grid
        Values by parameter. Combinations that the strategy refuses are counted in the result.
    bars
        Adjusted for splits, or for splits and dividends: what strategies see and what is traded. Sessions before
        ``start`` are warm-up, sessions after ``end`` are not shown.
    assumptions
        Fill, costs, rounding, rebalancing and the rest as in a backtest, in shares as adjusted. What a sweep cannot
        express is refused.
    ledger
        Where the trials are counted and kept.
    client
        A ``distributed.Client``: the same numbers, computed on its workers.
    progress
        True for a bar where somebody watches (a terminal or a notebook), or something like ``tqdm.tqdm``.

    Returns
    -------
    A :class:`SweepResult` whose ``table`` has the columns

    ``total_return``
        Final equity over capital, less one.
    ``sharpe``, ``sortino``
        Mean return per session, above the risk-free rate, over its sample standard deviation (``ddof=1``), or over the
        root of the mean squared shortfall below that rate over all sessions; times the root of ``sessions_per_year``.
    ``max_drawdown``
        Deepest fall below the highest equity at a close so far, zero or negative.
    ``trades``, ``win_rate``
        Closed trades, of which there is one for every sale; the fraction that gained after fees, against the average
        cost of what was held.
    ``exposure``
        Mean over the sessions of the invested fraction of equity.
    ``flag``
        What makes a row worthless: ``never invested``, ``equity at or below zero`` at a close, or ``exploding equity``
        (doubled in a session, or a million times the capital); otherwise empty.

    Raises
    ------
    ParameterError
        If the grid is empty, names an unknown parameter, or the strategy refuses all of it.
    DataError
        If bars or weights cannot be used; the message names symbol and session.
    ConfigError
        If there is no such strategy, or an assumption is one that only a backtest models.

    Notes
    -----
    The numbers are those of vectorbt 1.0 for the same orders, with ``freq="1D"`` and ``year_freq`` of so many days as
    there are sessions in a year. Where it is peculiar:

    - The return of the first session, against the capital, counts in every mean and deviation. It is zero unless orders
      fill at the close they are decided on. (:mod:`workbench.research.metrics` leaves it out.)
    - The equity of the first session is the first peak of the drawdown, not the capital.
    - ``Portfolio.trades`` counts a position still open as a trade, marked at the last close; here, as in
      ``trades.closed`` and ``Portfolio.stats``, only closed ones count.
    - Amounts that differ by less than 1e-9 of themselves are equal: an order of less is none.
    - Without any deviation its ratios are infinite; here they are NaN, because nothing was risked.

    Source: vectorbt 1.0, ``portfolio/nb.py`` and ``returns/nb.py``.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.bdate_range("2013-01-02", periods=6, name="session")
    >>> price = pd.DataFrame({"IBM": [10.0, 11.0, 12.0, 12.0, 13.0, 12.5]}, index=days)
    >>> bars = Bars(price, price, price, price, price, "total", 0)
    >>> free = Assumptions(commission_min_usd=0, commission_per_share_usd=0, slippage_bps=0, cash_buffer=0, lot=None)
    >>> made = sweep("momentum", {"lookback": [2, 3], "top": [1]}, bars, assumptions=free, progress=False)
    >>> made.table["total_return"].round(6).to_dict()
    {(2, 1): 0.041667, (3, 1): -0.041667}
    """
    clock, assumed = clock or SystemClock(), assumptions or Assumptions()
    combinations, rules, window = grid_of(strategy, grid), rules_of(assumed), window_of(bars, start, end, assumed)
    began = clock.monotonic()
    load_loops(combinations, window, rules)
    compiled = clock.monotonic()
    job = job_of(combinations, window, rules)
    study = study_of(combinations, window, assumed, with_content=ledger is not None)
    record = Record(study, combinations, assumed, ledger, clock)
    _work(job, record, client, progress)
    return SweepResult(
        table=record.table(),
        sweep_id=study.sweep_id,
        strategy=study.strategy,
        symbols=window.symbols,
        first_session=study.first_session,
        last_session=study.last_session,
        sessions=study.sessions,
        snapshot=study.snapshot,
        assumptions=assumed,
        held=dict(combinations.held),
        refused=combinations.refused,
        refusal=combinations.refusal,
        resumed=record.resumed,
        trials=None if ledger is None else ledger.count(study.strategy, window.symbols),
        compile_s=compiled - began,
        seconds=clock.monotonic() - compiled,
    )


def _work(job: Job, record: Record, client: Client | None, progress: Progress | bool) -> None:
    """Compute what is not on record yet; whatever happens, what was computed is recorded."""
    numbers, open_ = record.grid.allowed, record.missing()
    shown = bar(progress, total=len(numbers), initial=record.resumed)
    computed = compute(job, numbers, open_, client)
    try:
        for (first, last), sums in computed:
            record.take(first, sums)
            shown.update(last - first)
    except KeyboardInterrupt as stop:
        computed.close()
        record.flush()
        left = len(numbers) - record.done
        again = "the same sweep goes on from there" if record.ledger is not None else "nothing is kept without a ledger"
        raise KeyboardInterrupt(f"{record.done:,} combinations are done, {left:,} are not; {again}") from stop
    finally:
        computed.close()
        record.flush()
        shown.close()
