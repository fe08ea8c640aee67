"""The verdict: everything that supports and undermines a strategy, on one page, with one word for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from workbench.data.bars import Bars
from workbench.errors import DataError
from workbench.research import metrics
from workbench.research.costs import Assumptions
from workbench.research.engines import backtest
from workbench.research.honesty import dependence, evidence, pieces, stress
from workbench.research.honesty.bands import Bands, bootstrap_bands
from workbench.research.honesty.counting import TrialCount, count_trials
from workbench.research.honesty.evidence import Evidence, Word
from workbench.research.honesty.fills import audit_fills
from workbench.research.honesty.lookahead import Lookahead, check_lookahead
from workbench.research.honesty.overfitting import BacktestOverfitting, backtest_overfitting
from workbench.research.honesty.plateau import Plateau, plateau
from workbench.research.honesty.sharpe import deflated_sharpe, effective_trials, shape
from workbench.research.honesty.snooping import snooping_test
from workbench.research.honesty.trial_returns import TrialReturns, neighbourhood, trial_returns
from workbench.research.honesty.walk_forward import WalkForward, walk_forward
from workbench.research.result import BacktestResult
from workbench.research.trials import TrialLedger, strategy_name
from workbench.strategies.base import Strategy

Progress = Callable[[list[Any]], Iterable[Any]]
# A look-ahead shows on a few symbols as well as on all.
_MOST_SYMBOLS = 50
_REPETITIONS = 500
_FEWEST_SESSIONS = 60


@dataclass(frozen=True, repr=False)
class Verdict:
    """What supports a strategy and what undermines it.

    Attributes
    ----------
    strategy, parameters, symbols, first, last, snapshot
        What was judged, on which data.
    word, reason
        ``supported``, ``undermined`` or ``not enough evidence``, and why, by the rule of
        :mod:`workbench.research.honesty.evidence`.
    pieces
        The evidence, piece by piece.
    result
        The backtest that was judged.
    look, trials, count, walk, anchored, overfitting, bands, plateau, costs, delays, regimes, benchmark
        What the pieces were made of, to plot or look into; None where it could not be worked out. ``walk`` has rolling
        windows; ``benchmark`` is the equity of holding the same symbols in equal parts.
    """

    strategy: str
    parameters: Mapping[str, object]
    symbols: tuple[str, ...]
    first: date
    last: date
    snapshot: int
    word: Word
    reason: str
    pieces: tuple[Evidence, ...]
    result: BacktestResult
    look: Lookahead
    trials: TrialReturns
    count: TrialCount
    benchmark: pd.Series[float]
    walk: WalkForward | None = None
    anchored: WalkForward | None = None
    overfitting: BacktestOverfitting | None = None
    bands: Bands | None = None
    plateau: Plateau | None = None
    costs: pd.DataFrame | None = None
    delays: pd.DataFrame | None = None
    regimes: pd.DataFrame | None = None

    @property
    def table(self) -> pd.DataFrame:
        """The pieces of evidence: ``finding``, ``decisive`` and ``evidence`` (a sentence), indexed by name."""
        rows = [(piece.finding, piece.decisive, piece.sentence) for piece in self.pieces]
        index = pd.Index([piece.name for piece in self.pieces], name="name")
        return pd.DataFrame(rows, columns=["finding", "decisive", "evidence"], index=index)

    def to_dict(self) -> dict[str, object]:
        """All of it in plain values, for JSON; numbers that are not finite are None."""
        return {
            "strategy": self.strategy,
            "parameters": dict(self.parameters),
            "symbols": list(self.symbols),
            "first_session": self.first.isoformat(),
            "last_session": self.last.isoformat(),
            "snapshot": self.snapshot,
            "data": self.result.assumptions.data,
            "verdict": self.word,
            "reason": self.reason,
            "trials": self.count.trials,
            "metrics": {name: _finite(value) for name, value in self.result.metrics.items()},
            "evidence": [
                {
                    "name": piece.name,
                    "finding": piece.finding,
                    "decisive": piece.decisive,
                    "sentence": piece.sentence,
                    "numbers": {name: _finite(value) for name, value in piece.numbers.items()},
                }
                for piece in self.pieces
            ],
            "lookahead": self.look.to_dict(),
        }

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"<Verdict {self.strategy}({values}), {self.first} to {self.last}: {self.word}>"

    def __str__(self) -> str:
        from workbench.research.honesty.page import text_page

        return text_page(self)

    def _repr_html_(self) -> str:
        from workbench.research.honesty.page import html_page

        return html_page(self)


def verdict(
    strategy: Strategy,
    bars_split: Bars,
    bars_raw: Bars,
    actions: pd.DataFrame,
    *,
    start: date | None = None,
    end: date | None = None,
    assumptions: Assumptions | None = None,
    grid: Sequence[Strategy] = (),
    ledger: TrialLedger | None = None,
    seed: int = 0,
    progress: Progress = list,
) -> Verdict:
    """Judge a strategy: look-ahead, fills, overfitting, luck, fragility, and what it hangs on.

    Parameters
    ----------
    bars_split
        Adjusted for splits and dividends (or for splits only; then the benchmark has no dividends either).
    bars_raw, actions, start, end, assumptions
        As in :func:`workbench.research.backtest`.
    grid
        The combinations to choose from in walk-forward and cross-validation; by default the neighbourhood of the
        strategy's own parameters. At most as many as fit into 512 MB of returns.
    ledger
        Where trials were recorded; those of this strategy on these symbols count. Without one, only the grid does.
    seed
        For everything that is drawn; the same seed gives the same verdict.
    progress
        Wraps the list of stages that is worked through, such as ``tqdm.tqdm``.

    Raises
    ------
    DataError
        If the window is empty or has fewer than 60 sessions, or the backtest is refused.

    Examples
    --------
    >>> from workbench.strategies import load
    >>> days = pd.bdate_range("2012-01-02", periods=260, name="session")
    >>> walk = 50 * np.exp(np.random.default_rng(5).normal(0, 0.01, (260, 2)).cumsum(axis=0))
    >>> price = pd.DataFrame(walk, index=days, columns=["A", "B"])
    >>> def bars(adjustment): return Bars(price, price, price, price, price, adjustment, 0)
    >>> none = pd.DataFrame(columns=["symbol", "ex_date", "kind", "value"])
    >>> judged = verdict(load("momentum", {"lookback": 20}), bars("total"), bars("raw"), none)
    >>> judged.word in ("undermined", "not enough evidence")
    True
    """
    window = bars_raw.between(start, end)
    if len(window) < _FEWEST_SESSIONS:
        raise DataError(
            f"{len(window)} sessions from {start or 'the first'} to {end or 'the last'} are too few for a verdict",
            hint=f"it takes {_FEWEST_SESSIONS} to say anything",
        )
    judge = _Judge(strategy, bars_split, bars_raw, actions, start, end, assumptions or Assumptions(), seed)
    for stage in progress(judge.stages(list(grid), ledger)):
        stage()
    return judge.verdict()


class _Judge:
    """A verdict under way; each stage adds pieces of evidence."""

    def __init__(
        self, strategy: Strategy, bars_split: Bars, bars_raw: Bars, actions: pd.DataFrame, start: date | None,
        end: date | None, assumptions: Assumptions, seed: int,
    ) -> None:  # fmt: skip
        self._strategy = strategy
        self._data = (bars_split.between(None, end), bars_raw, actions)
        self._start, self._end = start, end
        self._assumed = assumptions
        self._yearly = assumptions.sessions_per_year
        self._seeds = iter(np.random.default_rng(seed).integers(0, 2**31, 8).tolist())
        self._pieces: list[Evidence] = []
        self._parts: dict[str, Any] = {}

    def stages(self, grid: list[Strategy], ledger: TrialLedger | None) -> list[Callable[[], None]]:
        return [
            self._lookahead,
            self._backtest,
            lambda: self._trials(grid, ledger),
            lambda: self._tries("walk_forward", self._walk_forward),
            lambda: self._tries("deflated_sharpe", self._deflated),
            lambda: self._tries("overfitting", self._overfitting),
            lambda: self._tries("snooping", self._snooping),
            lambda: self._tries("bootstrap", self._bands),
            lambda: self._tries("plateau", self._plateau),
            lambda: self._tries("costs", self._costs),
            lambda: self._tries("delay", self._delays),
            self._dependence,
        ]

    def verdict(self) -> Verdict:
        made: BacktestResult = self._parts["result"]
        word, reason = evidence.sum_up(self._pieces, sessions=len(made.equity), entries=dependence.entries(made))
        return Verdict(
            strategy=strategy_name(self._strategy),
            parameters=self._strategy.model_dump(mode="json"),
            symbols=tuple(self._data[1].symbols),
            first=made.equity.index[0].date(),
            last=made.equity.index[-1].date(),
            snapshot=self._data[1].snapshot,
            word=word,
            reason=reason,
            pieces=tuple(self._pieces),
            **self._parts,
        )

    # ---- stages ------------------------------------------------------------------------------------------------

    def _tries(self, name: str, stage: Callable[[], None]) -> None:
        """A piece that the data does not allow is open, and says why."""
        try:
            stage()
        except DataError as error:
            self._pieces.append(evidence.unknown(name, error.message))

    def _lookahead(self) -> None:
        seen = self._data[0]
        look = check_lookahead(self._strategy, seen.select(seen.symbols[:_MOST_SYMBOLS]), seed=next(self._seeds))
        self._parts["look"] = look
        self._pieces.append(pieces.of_lookahead(look))

    def _backtest(self) -> None:
        made = backtest(self._strategy, *self._data, start=self._start, end=self._end, assumptions=self._assumed)
        self._parts["result"] = made
        self._pieces.append(pieces.of_fills(audit_fills(made, self._data[1])))

    def _trials(self, grid: list[Strategy], ledger: TrialLedger | None) -> None:
        known = len(self._data[0])
        near = neighbourhood(self._strategy) if not grid else []
        # neighbours that look back further than the bars go cannot be tried
        strategies = grid or [each for each in near if each.warm_up_sessions <= known]
        if self._strategy not in strategies:
            strategies.append(self._strategy)
        trials = trial_returns(strategies, *self._data, start=self._start, end=self._end, assumptions=self._assumed)
        self._parts["trials"] = trials
        self._parts["count"] = count_trials(trials, self._data[1].symbols, ledger)

    def _walk_forward(self) -> None:
        trials: TrialReturns = self._parts["trials"]
        count: TrialCount = self._parts["count"]
        sessions = len(trials.returns)
        # three years to choose on and half a year to trade, less on a short history
        train, test = min(756, sessions // 3), min(126, sessions // 12)
        walk, anchored = (
            walk_forward(trials, *self._data, train=train, test=max(test, 1), anchored=each, assumptions=self._assumed)
            for each in (False, True)
        )
        self._parts |= {"walk": walk, "anchored": anchored}
        unseen = None
        if count.last_seen is not None:
            unseen = int((trials.returns.index > pd.Timestamp(count.last_seen)).sum())
        self._pieces.append(pieces.of_walk_forward(walk, anchored, unseen))

    def _deflated(self) -> None:
        trials: TrialReturns = self._parts["trials"]
        count: TrialCount = self._parts["count"]
        own = shape(trials.values[:, trials.position(self._strategy)])
        if math.isnan(own.sharpe):
            raise DataError("the strategy never held anything")
        alone = len(trials.strategies) < 2 or count.trials < 2
        effective = 1.0 if alone else effective_trials(trials.values, count.trials)
        raw, deflated = (
            deflated_sharpe(own, trials=number, variance=count.variance) for number in (count.trials, effective)
        )
        self._pieces.append(pieces.of_deflated(raw, deflated, own, self._yearly))

    def _overfitting(self) -> None:
        made = backtest_overfitting(self._parts["trials"].returns)
        self._parts["overfitting"] = made
        self._pieces.append(pieces.of_overfitting(made))

    def _snooping(self) -> None:
        returns = self._parts["trials"].returns
        made = snooping_test(returns, seed=next(self._seeds), repetitions=_REPETITIONS, stepwise=False)
        self._pieces.append(pieces.of_snooping(made))

    def _bands(self) -> None:
        returns = metrics.returns(self._parts["result"].equity)
        made = bootstrap_bands(returns, seed=next(self._seeds), sessions_per_year=self._yearly)
        self._parts["bands"] = made
        self._pieces.append(pieces.of_bands(made))

    def _plateau(self) -> None:
        made = plateau(self._parts["trials"], self._strategy, sessions_per_year=self._yearly)
        self._parts["plateau"] = made
        self._pieces.append(pieces.of_plateau(made))

    def _costs(self) -> None:
        table = stress.cost_stress(
            self._strategy, *self._data, start=self._start, end=self._end, assumptions=self._assumed
        )
        self._parts["costs"] = table
        self._pieces.append(pieces.of_costs(table))

    def _delays(self) -> None:
        table = stress.delay_stress(
            self._strategy, *self._data, start=self._start, end=self._end, assumptions=self._assumed
        )
        self._parts["delays"] = table
        self._pieces.append(pieces.of_delay(table))

    def _dependence(self) -> None:
        made: BacktestResult = self._parts["result"]
        sessions = pd.DatetimeIndex(made.equity.index)
        held = dependence.equal_weight(self._data[0], sessions)
        # the market of the sessions before is known to the strategy, so it may tell regimes too
        market = dependence.equal_weight(self._data[0], self._data[0].sessions)
        table = dependence.regimes(metrics.returns(made.equity), market, sessions_per_year=self._yearly)
        self._parts |= {"benchmark": held, "regimes": table}
        part = dependence.concentration(made, self._data[1], sessions_per_year=self._yearly)
        self._pieces += [
            pieces.of_entries(dependence.entries(made), len(sessions), self._yearly),
            pieces.of_concentration(part),
            pieces.of_regimes(table),
            pieces.of_benchmark(metrics.returns(made.equity), metrics.returns(held), self._yearly),
            pieces.of_universe(self._data[1].close.reindex(sessions).iloc[-1]),
        ]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
