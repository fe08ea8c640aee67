"""Could the best of all trials be luck? White's reality check, Hansen's test and its stepwise form, by arch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import DataError

Array = npt.NDArray[np.float64]
_SPREADLESS = 1e-15
_FEWEST = 50


@dataclass(frozen=True, slots=True)
class Snooping:
    """See :func:`snooping_test`; the p-values are for "no trial is better than the benchmark".

    Attributes
    ----------
    reality_check
        White's (2000), never smaller than it should be, and larger with every hopeless trial.
    spa, spa_lower, spa_upper
        Hansen's (2005) studentised test of superior predictive ability: consistent, and its bounds.
    superior
        Trials that the stepwise test finds better than the benchmark at the size asked for.
    trials, block, repetitions
        Trials that vary against the benchmark, mean block length in sessions, bootstrap samples.
    """

    reality_check: float
    spa: float
    spa_lower: float
    spa_upper: float
    superior: tuple[int, ...]
    trials: int
    block: int
    repetitions: int


def snooping_test(
    returns: pd.DataFrame | Array,
    benchmark: pd.Series[float] | Array | float = 0.0,
    *,
    seed: int | np.random.Generator,
    repetitions: int = 1_000,
    size: float = 0.05,
    block: int | None = None,
    stepwise: bool = True,
) -> Snooping:
    """Test whether the best of several trials beats a benchmark by more than luck explains.

    Parameters
    ----------
    returns
        Sessions x trials, simple returns per session.
    benchmark
        Returns of what could be held instead, or a constant; zero is cash.
    block
        Mean length of the blocks that are drawn, in sessions; by default that of Politis and White (2004) for the trial
        with the highest mean.
    stepwise
        Whether to look for all superior trials; it takes as long as the rest together.

    Sources: H. White, "A Reality Check for Data Snooping", Econometrica 68 (2000); P. Hansen, "A Test for Superior
    Predictive Ability", Journal of Business & Economic Statistics 23 (2005); J. Romano and M. Wolf, "Stepwise Multiple
    Testing as Formalized Data Snooping", Econometrica 73 (2005).

    Raises
    ------
    DataError
        If no trial varies against the benchmark, or there are fewer than 50 sessions.
    """
    from arch.bootstrap import SPA, StepM

    values = np.asarray(returns, dtype=float)
    held = np.broadcast_to(np.asarray(benchmark, dtype=float), (len(values),)).copy()
    if len(values) < _FEWEST:
        raise DataError(f"{len(values)} sessions are too few for a bootstrap", hint=f"at least {_FEWEST}")
    ahead = values - held[:, None]
    if not np.isfinite(ahead).all():
        raise DataError("a return of a trial or of the benchmark is not a finite number")
    varying = np.flatnonzero(ahead.std(axis=0) > _SPREADLESS)
    if not len(varying):
        raise DataError("no trial differs from the benchmark")
    used = values[:, varying]
    length = block or block_length(ahead[:, varying[int(np.argmax(ahead[:, varying].mean(axis=0)))]])
    random = np.random.default_rng(seed)
    # arch compares losses: a return is a negative loss
    seeds = random.integers(0, 2**31, 3)
    common: dict[str, Any] = {"block_size": length, "reps": repetitions}
    spa = SPA(-held, -used, studentize=True, seed=int(seeds[0]), **common)
    spa.compute()
    check = SPA(-held, -used, studentize=False, seed=int(seeds[1]), **common)
    check.compute()
    superior: list[int] = []
    if stepwise:
        steps = StepM(-held, -used, size=size, studentize=True, seed=int(seeds[2]), **common)
        steps.compute()
        superior = [int(varying[at]) for at in np.asarray(steps.superior_models, dtype=np.int64)]
    return Snooping(
        reality_check=float(check.pvalues["upper"]),
        spa=float(spa.pvalues["consistent"]),
        spa_lower=float(spa.pvalues["lower"]),
        spa_upper=float(spa.pvalues["upper"]),
        superior=tuple(superior),
        trials=len(varying),
        block=length,
        repetitions=repetitions,
    )


def block_length(returns: Array) -> int:
    """Mean block length of the stationary bootstrap that suits a series, in sessions, at least 1.

    Source: D. Politis and H. White, "Automatic Block-Length Selection for the Dependent Bootstrap", Econometric Reviews
    23 (2004), corrected by A. Patton, D. Politis and H. White (2009).
    """
    from arch.bootstrap import optimal_block_length

    found = float(optimal_block_length(np.asarray(returns, dtype=float))["stationary"].iloc[0])
    return max(1, round(found)) if math.isfinite(found) else max(1, round(math.sqrt(len(returns))))
