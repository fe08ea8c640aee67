"""How a history is divided into what is learned on and what is judged: walk-forward, purged and combinatorial."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.errors import ConfigError, DataError

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fold:
    """Rows to choose parameters on, and later rows (with a gap) to judge the choice on; ends are excluded."""

    train_start: int
    train_end: int
    test_start: int
    test_end: int


def walk_forward_folds(sessions: int, *, train: int, test: int, anchored: bool = False, embargo: int = 0) -> list[Fold]:
    """Windows that roll through a history: ``train`` sessions, a gap of ``embargo`` sessions, ``test`` sessions.

    Test windows follow each other without gap or overlap; a last one that would be incomplete is left out. Anchored
    windows all begin at the first session and grow.

    Source: R. Pardo, "The Evaluation and Optimization of Trading Strategies" (2008), ch. 11; the gap as in M. Lopez de
    Prado, "Advances in Financial Machine Learning" (2018), 7.4.

    Raises
    ------
    ConfigError
        If a size is not positive.
    DataError
        If not even one window fits.

    >>> made = walk_forward_folds(10, train=4, test=2, embargo=1)
    >>> [(f.train_start, f.train_end, f.test_start, f.test_end) for f in made]
    [(0, 4, 5, 7), (2, 6, 7, 9)]
    """
    if train < 1 or test < 1 or embargo < 0:
        raise ConfigError(f"walk-forward with train={train}, test={test}, embargo={embargo}: sizes must be positive")
    first = train + embargo
    starts = range(first, sessions - test + 1, test)
    if not starts:
        raise DataError(
            f"{sessions} sessions are too few for a walk-forward of {train} + {embargo} + {test}",
            hint="shorten the windows or load more data",
        )
    return [Fold(0 if anchored else at - first, at - embargo, at, at + test) for at in starts]


def purged_folds(sessions: int, *, folds: int, purge: int = 0, embargo: int = 0) -> Iterator[tuple[Rows, Rows]]:
    """Train and test rows of a k-fold cross-validation in time: ``purge`` sessions before each test fold and
    ``purge + embargo`` after it are not trained on.

    Positions last and indicators look back: sessions next to the test fold know some of it. The first ``folds - 1``
    test folds have equal lengths, the last takes the rest.

    Source: Lopez de Prado (2018), 7.4.1 and 7.4.2.

    Raises
    ------
    ConfigError, DataError
        If there are fewer than two folds, or too few sessions for them.

    >>> [(train.tolist(), test.tolist()) for train, test in purged_folds(9, folds=3, purge=1)][1]
    ([0, 1, 7, 8], [3, 4, 5])
    """
    _require(sessions, folds, purge, embargo)
    size = sessions // folds
    rows = np.arange(sessions)
    for number in range(folds):
        first, last = number * size, (number + 1) * size if number < folds - 1 else sessions
        near = (rows >= first - purge) & (rows < last + purge + embargo)
        yield rows[~near], rows[first:last]


@dataclass(frozen=True)
class CombinatorialFolds:
    """Every way to test on ``tested`` of ``folds`` folds, and how the tests join to whole histories.

    ``splits`` are pairs of training rows and a list of test folds' rows; ``paths[i][j]`` is the number of the history
    that test fold j of split i belongs to.
    """

    splits: list[tuple[Rows, list[Rows]]]
    paths: npt.NDArray[np.int64]
    number_of_paths: int


def combinatorial_folds(
    sessions: int, *, folds: int = 10, tested: int = 2, purge: int = 0, embargo: int = 0
) -> CombinatorialFolds:
    """Combinatorial purged cross-validation, by skfolio.

    Source: Lopez de Prado (2018), 12.4: N folds of which k are tested make C(N, k) splits and C(N, k) k / N paths.

    Raises
    ------
    ConfigError, DataError
        If the numbers of folds do not go together, or there are too few sessions for them.

    >>> made = combinatorial_folds(600, folds=6, tested=2)  # the book's example: 15 splits, 5 paths
    >>> len(made.splits), made.number_of_paths
    (15, 5)
    """
    _require(sessions, folds, purge, embargo)
    if not (2 <= tested < folds) or math.comb(folds, tested) > 10_000:
        raise ConfigError(
            f"cannot test {tested} of {folds} folds in combination", hint="from 2 to one less than there are"
        )
    from skfolio.model_selection import CombinatorialPurgedCV

    made: Any = CombinatorialPurgedCV(n_folds=folds, n_test_folds=tested, purged_size=purge, embargo_size=embargo)
    splits = [
        (np.asarray(train), [np.asarray(t) for t in tests]) for train, tests in made.split(np.empty((sessions, 1)))
    ]
    return CombinatorialFolds(splits, np.asarray(made.get_path_ids()), int(made.n_test_paths))


def _require(sessions: int, folds: int, purge: int, embargo: int) -> None:
    if folds < 3 or purge < 0 or embargo < 0:
        raise ConfigError(f"{folds} folds, purge {purge}, embargo {embargo}: at least 3 folds, no negative sizes")
    if sessions // folds <= purge + embargo + 1:
        raise DataError(
            f"{sessions} sessions are too few for {folds} folds with a gap of {purge + embargo}",
            hint="use fewer folds, a smaller gap or more data",
        )
