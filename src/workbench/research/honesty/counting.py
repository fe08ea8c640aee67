"""How many combinations were ever tried, and how far apart their Sharpe ratios are: ledger and trials at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from workbench.research import metrics
from workbench.research.honesty.sharpe import sharpe_of
from workbench.research.honesty.trial_returns import TrialReturns
from workbench.research.trials import METRICS, TrialLedger, ask, canonical, data_digest, strategy_name

_OTHERS = """
WITH latest AS (
    SELECT parameters, arg_max(sharpe_per_session, "at") AS sharpe, max(last_session) AS seen FROM parts
    WHERE NOT list_contains(?, parameters) GROUP BY parameters
)
SELECT count(*) AS trials, count(*) FILTER (isfinite(sharpe)) AS known,
       avg(sharpe) FILTER (isfinite(sharpe)) AS mean, var_pop(sharpe) FILTER (isfinite(sharpe)) AS variance,
       (SELECT max(last_session) FROM parts) AS seen
FROM latest
"""


@dataclass(frozen=True, slots=True)
class TrialCount:
    """All trials of a strategy on a set of symbols.

    ``recorded`` of them were in the ledger and are not among those at hand; ``variance`` is the sample variance of
    their Sharpe ratios per session; ``last_seen`` the last session of any recorded trial, None without one.
    """

    trials: int
    recorded: int
    variance: float
    last_seen: date | None


def count_trials(trials: TrialReturns, symbols: Sequence[str], ledger: TrialLedger | None) -> TrialCount:
    """Count every combination once: those in the ledger, whatever their window and costs, and those at hand."""
    own = sharpe_of(trials.values)
    own = own[np.isfinite(own)]
    number, mean, square = len(own), float(own.mean()) if len(own) else 0.0, float(own.var()) if len(own) else 0.0
    recorded, last_seen = 0, None
    files = [] if ledger is None else _files(ledger, trials, symbols)
    if files:
        texts = [canonical(strategy.model_dump(mode="json")) for strategy in trials.strategies]
        found = ask(files, _OTHERS, [texts]).iloc[0]
        recorded, known = int(found["trials"]), int(found["known"])
        last_seen = None if pd.isna(found["seen"]) else pd.Timestamp(found["seen"]).date()
        if known:
            number, mean, square = _joined(
                (number, mean, square), (known, float(found["mean"]), float(found["variance"]))
            )
    variance = square * number / (number - 1) if number > 1 else 0.0
    return TrialCount(recorded + len(trials.strategies), recorded, variance, last_seen)


def trial_table(trials: TrialReturns) -> pd.DataFrame:
    """The trials as :meth:`workbench.research.trials.TrialLedger.add` takes them; what returns do not tell is NaN."""
    values = trials.values
    equity = np.vstack([np.ones(values.shape[1]), np.cumprod(1.0 + values, axis=0)])
    table = pd.DataFrame(np.nan, index=_index(trials), columns=list(METRICS))
    table["total_return"] = equity[-1] - 1.0
    table["sharpe_per_session"] = sharpe_of(values)
    table["sortino"] = [metrics.sortino(pd.Series(column)) for column in equity.T]
    table["max_drawdown"] = (equity / np.maximum.accumulate(equity, axis=0) - 1.0).min(axis=0)
    return table


def _index(trials: TrialReturns) -> pd.Index[Any]:
    names = list(trials.parameters.columns)
    if not names:
        return pd.RangeIndex(len(trials.strategies))
    if len(names) == 1:
        only: pd.Index[Any] = pd.Index(trials.parameters[names[0]], name=names[0])
        return only
    return pd.MultiIndex.from_frame(trials.parameters)


def _files(ledger: TrialLedger, trials: TrialReturns, symbols: Sequence[str]) -> list[Path]:
    folder = f"{quote(strategy_name(trials.strategies[0]), safe='')}/{data_digest(symbols)}/"
    return [ledger.folder / part for part in ledger.parts() if part.startswith(folder)]


def _joined(a: tuple[int, float, float], b: tuple[int, float, float]) -> tuple[int, float, float]:
    """Number, mean and population variance of two groups together."""
    number = a[0] + b[0]
    mean = (a[0] * a[1] + b[0] * b[1]) / number
    square = (a[0] * (a[2] + (a[1] - mean) ** 2) + b[0] * (b[2] + (b[1] - mean) ** 2)) / number
    return number, mean, square
