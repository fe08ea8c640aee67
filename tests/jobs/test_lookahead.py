"""A strategy that has seen the future is found out; one that has not passes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench import strategies
from workbench.data.bars import Bars
from workbench.errors import DataError
from workbench.jobs.promotion.lookahead import check_lookahead
from workbench.strategies.base import Strategy

SESSIONS = 400


@pytest.fixture(scope="module")
def bars() -> Bars:
    walk = np.exp(np.random.default_rng(7).normal(0, 0.02, (SESSIONS, 3)).cumsum(axis=0))
    days = pd.bdate_range("2013-01-02", periods=SESSIONS, name="session")
    frame = pd.DataFrame(walk, index=days, columns=list("ABC"))
    return Bars(frame, frame, frame, frame, frame, "total", 1)


class Tomorrow(Strategy):
    """Buys what rises tomorrow."""

    def weights(self, bars: Bars) -> pd.DataFrame:
        return (bars.close.shift(-1) > bars.close).astype(float) / 3


class Scaled(Strategy):
    """Judges every session by the mean of all of them: a leak through a statistic."""

    def weights(self, bars: Bars) -> pd.DataFrame:
        return (bars.close > bars.close.mean()).astype(float) / 3


class MonthEnd(Strategy):
    """Decides on a month's last session, which is known to be that only when the next month begins."""

    def weights(self, bars: Bars) -> pd.DataFrame:
        month = pd.Series(bars.sessions.month, index=bars.sessions)
        last = (month != month.shift(-1)).to_numpy()
        return (bars.close > bars.close.shift(5)).astype(float).div(3).mul(last.astype(float), axis=0)


class Nothing(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        return bars.close.rolling(3).mean() * 0


class Short(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        return bars.close.iloc[-5:] * 0.0


class Broken(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        raise KeyError("ZZZ")


@pytest.mark.parametrize("name", strategies.names())
def test_the_strategies_of_the_house_do_not_look_ahead(name: str, bars: Bars) -> None:
    look = check_lookahead(strategies.load(name, {}), bars)
    assert (look.fault, look.sessions) == ("", SESSIONS)
    assert look.cuts >= 90


@pytest.mark.parametrize("peeking", [Tomorrow(), Scaled(), MonthEnd()])
def test_a_strategy_that_looks_ahead_is_named_with_symbol_and_session(peeking: Strategy, bars: Bars) -> None:
    look = check_lookahead(peeking, bars)
    assert look.fault.startswith("it looks ahead: its weight of ")
    assert "when later bars are known" in look.fault


def test_weights_that_are_no_numbers_or_not_for_every_session_are_refused(bars: Bars) -> None:
    assert check_lookahead(Nothing(), bars).fault == "its weight of A on 2013-01-02 is nan, which is no number"
    assert "a row for every session" in check_lookahead(Short(), bars).fault
    assert "KeyError" in check_lookahead(Broken(), bars).fault


def test_too_few_bars_are_no_proof(bars: Bars) -> None:
    with pytest.raises(DataError, match="2 sessions are too few"):
        check_lookahead(Tomorrow(), bars.between(None, bars.sessions[1].date()))
