"""Folds, the probability of backtest overfitting and combinatorial paths, against their definitions and skfolio."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from skfolio.model_selection import WalkForward

from workbench.errors import ConfigError, DataError
from workbench.research.honesty.folds import combinatorial_folds, purged_folds, walk_forward_folds
from workbench.research.honesty.overfitting import backtest_overfitting, combinatorial_paths


def noise(sessions: int, trials: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.01, (sessions, trials))


def as_defined(returns: np.ndarray, blocks: int) -> tuple[float, list[float]]:
    """CSCV step by step, as the paper has it."""
    parts = np.split(returns, blocks)
    logits = []
    for half in itertools.combinations(range(blocks), blocks // 2):
        inside = pd.DataFrame(np.vstack([parts[at] for at in half]))
        outside = pd.DataFrame(np.vstack([parts[at] for at in range(blocks) if at not in half]))
        best = (inside.mean() / inside.std()).idxmax()
        rank = (outside.mean() / outside.std()).rank()[best] / (returns.shape[1] + 1)
        logits.append(math.log(rank / (1 - rank)))
    return float(np.mean([logit <= 0 for logit in logits])), logits


def test_the_probability_of_overfitting_is_that_of_the_definition() -> None:
    returns = noise(240, 9, 1)
    expected, logits = as_defined(returns, 8)
    made = backtest_overfitting(returns, blocks=8)
    assert made.probability == expected
    assert made.logits.tolist() == pytest.approx(logits, abs=1e-12)
    assert (made.splits, made.sessions, made.trials) == (70, 240, 9)


def test_pure_luck_is_overfitted_about_half_of_the_time_and_an_edge_never() -> None:
    made = [backtest_overfitting(noise(480, 40, seed), blocks=10) for seed in range(12)]
    # in sample winners without an edge are a little worse than the rest afterwards: what one half has, the other lacks
    assert 0.45 < np.mean([each.probability for each in made]) < 0.7
    assert np.mean([each.slope for each in made]) < 0
    edge = noise(480, 40, 1)
    edge[:, 3] += 0.004
    found = backtest_overfitting(edge, blocks=10)
    assert (found.probability, found.loss_probability) == (0.0, 0.0)


def test_the_paper_s_sixteen_blocks_make_12870_splits_and_leave_out_the_earliest_sessions() -> None:
    made = backtest_overfitting(noise(500, 5, 2))
    assert (made.splits, made.sessions) == (math.comb(16, 8), 496)
    later = backtest_overfitting(noise(500, 5, 2)[4:])
    assert made.logits.tolist() == later.logits.tolist()


def test_equal_trials_are_neither_better_nor_worse_than_each_other() -> None:
    same = np.repeat(noise(160, 1, 3), 5, axis=1)
    made = backtest_overfitting(same, blocks=8)
    assert np.abs(made.logits).max() < 1e-12  # the middle rank, whatever was chosen


def test_a_trial_that_held_nothing_in_a_half_has_the_sharpe_ratio_zero_there() -> None:
    returns = noise(160, 3, 4) - 0.02  # all lose
    returns[:, 1] = 0.0
    returns[:20, 1] = 1e-6 * np.arange(20)  # hardly ever in the market
    made = backtest_overfitting(returns, blocks=8)
    assert made.probability == 0.0  # chosen everywhere, and best everywhere else
    assert (made.out_of_sample >= 0).all()


@pytest.mark.parametrize(
    ("returns", "blocks", "message"),
    [
        (noise(160, 5, 1), 7, "7 blocks: an even number"),
        (noise(30, 5, 1), 8, "30 sessions are too few for 8 blocks"),
        (noise(160, 1, 1), 8, "1 trials with varying returns"),
        (np.zeros((160, 4)), 8, "0 trials with varying returns"),
        (np.full((160, 4), np.nan), 8, "finite returns"),
    ],
)
def test_what_cannot_be_judged_is_refused(returns: np.ndarray, blocks: int, message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        backtest_overfitting(returns, blocks=blocks)


# ---- folds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("embargo", [0, 3])
def test_walk_forward_windows_are_those_of_skfolio(anchored: bool, embargo: int) -> None:
    ours = walk_forward_folds(503, train=100, test=40, anchored=anchored, embargo=embargo)
    theirs = WalkForward(test_size=40, train_size=100, expand_train=anchored, purged_size=embargo)
    expected = list(theirs.split(np.zeros((503, 1))))
    assert len(ours) == len(expected)
    for fold, (train, test) in zip(ours, expected, strict=True):
        assert (fold.test_start, fold.test_end) == (test[0], test[-1] + 1)
        assert fold.train_end == train[-1] + 1
        assert fold.train_end + embargo == fold.test_start


def test_rolling_windows_keep_their_length_and_anchored_ones_grow() -> None:
    rolling = walk_forward_folds(503, train=100, test=40, embargo=3)
    assert {fold.train_end - fold.train_start for fold in rolling} == {100}
    anchored = walk_forward_folds(503, train=100, test=40, embargo=3, anchored=True)
    assert {fold.train_start for fold in anchored} == {0}
    assert [fold.test_end for fold in rolling[:-1]] == [fold.test_start for fold in rolling[1:]]


def test_purged_folds_train_on_nothing_near_their_test() -> None:
    seen = []
    for train, test in purged_folds(103, folds=5, purge=4, embargo=2):
        seen += test.tolist()
        near = set(range(test[0] - 4, test[-1] + 1 + 6))
        assert not near & set(train.tolist())
        assert set(train.tolist()) == set(range(103)) - near
    assert seen == list(range(103))


@pytest.mark.parametrize(("folds", "tested", "splits", "paths"), [(6, 2, 15, 5), (10, 2, 45, 9), (8, 3, 56, 21)])
def test_combinatorial_folds_make_as_many_splits_and_paths_as_the_book_says(
    folds: int, tested: int, splits: int, paths: int
) -> None:
    made = combinatorial_folds(400, folds=folds, tested=tested, purge=2)
    assert (len(made.splits), made.number_of_paths) == (splits, paths)
    for train, tests in made.splits:
        rows = np.concatenate(tests)
        assert not set(train.tolist()) & set(rows.tolist())
        # nothing within the purge of a test row is trained on
        assert np.abs(train[:, None] - rows[None, :]).min() > 2


def test_each_combinatorial_path_is_one_whole_history_out_of_sample() -> None:
    returns = pd.DataFrame(noise(300, 7, 5), index=pd.bdate_range("2013-01-02", periods=300))
    made = combinatorial_paths(returns, folds=6, tested=2, purge=1)
    assert made.returns.shape == (300, 5)
    assert made.returns.notna().all(axis=None)
    assert len(made.chosen) == 15
    # every value is the return of some trial in that very session
    assert all(np.isin(made.returns.iloc[at], returns.iloc[at]).all() for at in range(300))


def test_a_path_is_chosen_without_its_own_test_rows() -> None:
    """The trial that is best only in the first fold is not chosen where that fold is tested."""
    returns = noise(300, 3, 6)
    returns[:50, 2] += 0.05
    made = combinatorial_paths(pd.DataFrame(returns), folds=6, tested=2)
    splits = combinatorial_folds(300, folds=6, tested=2).splits
    first = np.array([0 in np.concatenate(tests) for _, tests in splits])
    assert (made.chosen[~first] == 2).all()
    assert (made.chosen[first] != 2).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: walk_forward_folds(100, train=90, test=20), "100 sessions are too few for a walk-forward of 90"),
        (lambda: walk_forward_folds(100, train=0, test=20), "sizes must be positive"),
        (lambda: list(purged_folds(20, folds=10, purge=3)), "20 sessions are too few for 10 folds"),
        (lambda: list(purged_folds(20, folds=1)), "at least 3 folds"),
        (lambda: combinatorial_folds(100, folds=5, tested=5), "cannot test 5 of 5 folds"),
        (lambda: combinatorial_paths(pd.DataFrame(noise(100, 1, 1))), "nothing to choose from"),
    ],
)
def test_too_few_sessions_folds_or_trials_are_one_clear_line(call: object, message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        call()  # type: ignore[operator]
