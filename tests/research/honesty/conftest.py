"""Two markets: one of pure luck, and one whose direction lasts."""

from __future__ import annotations

import numpy as np
import pytest
from support.closes import Market, closes, market_of


@pytest.fixture(scope="session")
def lucky() -> Market:
    """Three random walks, 900 sessions."""
    return market_of(closes(np.random.default_rng(11).normal(0.0, 0.01, (900, 3))))


@pytest.fixture(scope="session")
def trending() -> Market:
    """Five symbols whose drift changes its sign every now and then and is large against the noise."""
    random = np.random.default_rng(12)
    drift = np.empty((1_000, 5))
    for column in range(5):
        sign, at = 1.0, 0
        while at < 1_000:
            length = int(random.integers(20, 60))
            drift[at : at + length, column] = 0.004 * sign
            sign, at = -sign, at + length
    return market_of(closes(drift + random.normal(0.0, 0.01, drift.shape)))
