"""What a notebook asks of research: strategies, backtests, sweeps, judgement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

from workbench.app.data_desk import DataDesk
from workbench.app.installation import as_date
from workbench.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

    from workbench.data.bars import Adjustment
    from workbench.research.costs import Assumptions
    from workbench.research.engines import Engine
    from workbench.research.honesty.lookahead import Lookahead
    from workbench.research.honesty.trial_returns import TrialReturns
    from workbench.research.honesty.verdict import Verdict
    from workbench.research.result import BacktestResult
    from workbench.research.sweeping import SweepResult
    from workbench.research.trials import TrialLedger
    from workbench.strategies.base import Strategy


# Wraps a list that is worked through, such as tqdm.tqdm.
Progress = Callable[[list[Any]], Iterable[Any]]


class ResearchDesk(DataDesk):
    """The research side of a workbench."""

    @cached_property
    def assumptions(self) -> Assumptions:
        """The costs and sizing rules of ``workbench.toml`` as a backtest takes them."""
        from workbench.research.costs import Assumptions

        return Assumptions.from_settings(self.settings)

    @cached_property
    def trials(self) -> TrialLedger:
        """Every parameter combination that was ever tried here."""
        from workbench.research.trials import TrialLedger

        return TrialLedger(self.settings.trials_dir)

    def strategy(self, name: str, **parameters: object) -> Strategy:
        """A strategy by name, its parameters checked."""
        from workbench.strategies import load

        return load(name, parameters)

    def backtest(
        self,
        strategy: str | Strategy,
        *,
        symbols: Sequence[str] | None = None,
        start: date | str | None = None,
        end: date | str | None = None,
        engine: Engine = "kernel",
        benchmark: str | pd.Series[float] | None = None,
        assumptions: Assumptions | None = None,
        progress: Callable[..., Iterable[Any]] | None = None,
        cleaned: bool = False,
        **parameters: object,
    ) -> BacktestResult:
        """Run a strategy on the lake: ``wb.backtest("moving_average", symbols=["AAPL"], fast=50, slow=200)``.

        The strategy sees prices adjusted for splits and dividends; orders are sized, filled and marked on raw prices
        of the same snapshot. The trial is recorded in :attr:`trials`.

        Parameters
        ----------
        strategy
            Its name, with ``parameters`` of it, or the strategy itself.
        symbols
            All of the lake if left out.
        start, end
            First and last session decided on; a workbench that was opened for a session sees nothing later.
        engine, benchmark, progress
            See :func:`workbench.research.backtest`; the benchmark may be any symbol of the lake.
        assumptions
            Those of ``workbench.toml`` if left out.
        cleaned
            Read the bars with the repairs of ``workbench data clean``. ``result.assumptions.data`` and the trial say
            so, with the policy; a value that was interpolated is refused, because it looks ahead.

        Raises
        ------
        ConfigError
            If strategy, parameter or engine are unknown, or the engine cannot express an assumption.
        DataError
            If bars or weights cannot be used (the message names symbol and session), or nothing was cleaned.
        """
        from workbench.app import backtests

        ends = [day for day in (as_date(end), self._session) if day is not None]
        return backtests.backtest(
            self,
            backtests.resolve(strategy, parameters),
            symbols,
            as_date(start),
            min(ends, default=None),
            engine=engine,
            benchmark=benchmark,
            assumptions=assumptions or self.assumptions,
            progress=progress,
            cleaned=cleaned,
        )

    def sweep(
        self,
        strategy: str | type[Strategy] | Strategy,
        grid: Mapping[str, Iterable[Any]],
        *,
        symbols: Sequence[str] | None = None,
        start: date | str | None = None,
        end: date | str | None = None,
        adjustment: Adjustment = "total",
        assumptions: Assumptions | None = None,
        client: Client | None = None,
        progress: Callable[..., Any] | bool = True,
        cleaned: bool = False,
    ) -> SweepResult:
        """Simulate every combination of a grid on the lake: ``wb.sweep("momentum", {"lookback": range(20, 250)})``.

        The trials are recorded in :attr:`trials` and in the table ``sweeps`` of the reports. The same sweep goes on
        where it was interrupted; finished, it is only read.

        Parameters
        ----------
        strategy, grid, client, progress
            See :func:`workbench.research.sweep`, which also says what the columns of the result mean.
        symbols
            All of the lake if left out.
        start, end
            First and last session; a workbench that was opened for a session sees nothing later.
        adjustment
            Of the prices that are looked at and traded.
        assumptions
            Those of ``workbench.toml`` if left out.
        cleaned
            Read the bars with the repairs of ``workbench data clean``; see :meth:`backtest`.

        Raises
        ------
        ConfigError
            If strategy, parameter or values cannot be used, or an assumption is one that only a backtest models.
        DataError
            If bars or weights cannot be used; the message names symbol and session.
        """
        from workbench.app import sweeps

        return sweeps.sweep(
            self,
            strategy,
            grid,
            symbols,
            as_date(start),
            as_date(end),
            adjustment=adjustment,
            assumptions=assumptions or self.assumptions,
            client=client,
            progress=progress,
            cleaned=cleaned,
        )

    def lookahead(
        self,
        strategy: str | Strategy,
        *,
        symbols: Sequence[str] | None = None,
        start: date | str | None = None,
        end: date | str | None = None,
        cuts: int | None = 100,
        seed: int = 0,
        progress: Progress = list,
        cleaned: bool = False,
        **parameters: object,
    ) -> Lookahead:
        """Look for a use of the future in a strategy; see :func:`workbench.research.check_lookahead`."""
        from workbench.app import judging

        question = judging.ask(self, strategy, parameters, symbols, start, end, cleaned=cleaned)
        return judging.lookahead(question, cuts=cuts, seed=seed, progress=progress)

    def trial_returns(
        self,
        strategies: Sequence[Strategy],
        *,
        symbols: Sequence[str] | None = None,
        start: date | str | None = None,
        end: date | str | None = None,
        progress: Progress = list,
        cleaned: bool = False,
    ) -> TrialReturns:
        """Returns per session of many combinations of one strategy's parameters, side by side; all go on record.

        For grids whose returns fit into 512 MB; see :func:`workbench.research.honesty.trial_returns.trial_returns`.

        Raises
        ------
        ConfigError
            If there are no strategies, or strategies of different kinds.
        DataError
            If a symbol is unknown, a backtest is refused, or the returns are too many.
        """
        from workbench.app import judging

        if not strategies:
            raise ConfigError("there are no strategies to try")
        question = judging.ask(self, strategies[0], {}, symbols, start, end, cleaned=cleaned)
        return judging.trial_returns(self, question, strategies, progress)

    def verdict(
        self,
        strategy: str | Strategy,
        *,
        symbols: Sequence[str] | None = None,
        start: date | str | None = None,
        end: date | str | None = None,
        grid: Sequence[Strategy] = (),
        seed: int = 0,
        progress: Progress = list,
        cleaned: bool = False,
        **parameters: object,
    ) -> Verdict:
        """What supports and what undermines a strategy, on one page; see :func:`workbench.research.verdict`.

        All trials that were ever recorded for it on these symbols count, and those of the verdict join them.

        Parameters
        ----------
        symbols, start, end
            By default all of the lake, from its first session to the one decided on (the latest without one).
        cleaned
            Read the bars with the repairs of ``workbench data clean``; see :meth:`backtest`.
        parameters
            Of the strategy, if it is named.

        Raises
        ------
        ConfigError
            If the strategy or a parameter is wrong.
        DataError
            If a symbol is unknown, or the window has too few sessions.
        """
        from workbench.app import judging

        question = judging.ask(self, strategy, parameters, symbols, start, end, cleaned=cleaned)
        return judging.verdict(self, question, grid=grid, seed=seed, progress=progress)
