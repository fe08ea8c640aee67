"""Planted cheats are found out, each by name; their honest twins pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from pydantic import Field, PrivateAttr
from sklearn.linear_model import LinearRegression

from workbench import strategies
from workbench.data.bars import FIELDS, Bars
from workbench.errors import DataError, ParameterError
from workbench.research.honesty.lookahead import Lookahead, check_lookahead
from workbench.strategies.base import Strategy

SESSIONS = 400


def bars_of(close: pd.DataFrame) -> Bars:
    return Bars(close, close * 1.01, close * 0.99, close, close * 1e6, "total", 1)


@pytest.fixture(scope="module")
def bars() -> Bars:
    walk = np.exp(np.random.default_rng(7).normal(0, 0.02, (SESSIONS, 3)).cumsum(axis=0))
    days = pd.bdate_range("2013-01-02", periods=SESSIONS, name="session")
    return bars_of(pd.DataFrame(walk, index=days, columns=list("ABC")))


def table(bars: Bars, held: pd.DataFrame | np.ndarray) -> pd.DataFrame:
    """A third of equity in whatever is held."""
    values = np.where(np.asarray(held, dtype=bool), 1 / 3, 0.0)
    return pd.DataFrame(values, index=bars.close.index, columns=bars.close.columns)


# ---- the cheats of the issue, each with its honest twin ----------------------------------------------------------


class NegativeShift(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        return table(bars, bars.close.shift(-1) > bars.close)


class PositiveShift(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        return table(bars, bars.close > bars.close.shift(1))


class CentredWindow(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        return table(bars, bars.close > bars.close.rolling(11, center=True, min_periods=1).mean())


class TrailingWindow(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        return table(bars, bars.close > bars.close.rolling(11, min_periods=1).mean())


class FullSampleNormalised(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        return table(bars, (bars.close - bars.close.mean()) / bars.close.std() > 0)


class ExpandingNormalised(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        past = bars.close.expanding(20)
        return table(bars, (bars.close - past.mean()) / past.std() > 0)


class FutureUniverse(Strategy):
    """Trades only what did best in the end."""

    def weights(self, bars: Bars) -> pd.DataFrame:
        best = (bars.close.iloc[-1] / bars.close.iloc[0]).nlargest(2).index
        return table(bars, (bars.close > bars.close.shift(5)) & bars.close.columns.isin(best))


class PastUniverse(Strategy):
    """Trades only what did best so far."""

    def weights(self, bars: Bars) -> pd.DataFrame:
        rank = (bars.close / bars.close.iloc[0]).rank(axis=1, ascending=False)
        return table(bars, (bars.close > bars.close.shift(5)) & (rank <= 2))


class Survivors(Strategy):
    """Trades only what still has a price at the end; in these bars everything has."""

    def weights(self, bars: Bars) -> pd.DataFrame:
        return table(bars, (bars.close > bars.close.shift(5)) & bars.close.iloc[-1].notna())


class Listed(Strategy):
    """Trades what has a price on the day."""

    def weights(self, bars: Bars) -> pd.DataFrame:
        return table(bars, (bars.close > bars.close.shift(5)) & bars.close.notna())


class FilledBackwards(Strategy):
    """A hole gets the next price; in these bars there are no holes."""

    def weights(self, bars: Bars) -> pd.DataFrame:
        return table(bars, bars.close.bfill() > bars.close.bfill().shift(3))


class FilledForwards(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        return table(bars, bars.close.ffill() > bars.close.ffill().shift(3))


class FittedOnEverything(Strategy):
    """One regression of tomorrow's return on today's, over all sessions."""

    def weights(self, bars: Bars) -> pd.DataFrame:
        move = bars.close.pct_change(fill_method=None)
        known = pd.concat([move.stack(), move.shift(-1).stack()], axis=1).dropna()
        model = LinearRegression().fit(known.iloc[:, [0]].to_numpy(), known.iloc[:, 1])
        return table(bars, model.predict(move.fillna(0).to_numpy().reshape(-1, 1)).reshape(move.shape) > 0)


class FittedOnThePast(Strategy):
    """The same regression anew every 100 sessions, on returns known by then."""

    def weights(self, bars: Bars) -> pd.DataFrame:
        move = bars.close.pct_change(fill_method=None).fillna(0).to_numpy()
        held = np.zeros(move.shape, dtype=bool)
        for at in range(100, len(move), 100):
            model = LinearRegression().fit(move[1 : at - 1].reshape(-1, 1), move[2:at].ravel())
            now = move[at : at + 100]
            held[at : at + 100] = model.predict(now.reshape(-1, 1)).reshape(now.shape) > 0
        return table(bars, held)


class MonthEnd(Strategy):
    """Decides on a month's last session, which is known to be that only when the next month begins."""

    def weights(self, bars: Bars) -> pd.DataFrame:
        month = pd.Series(bars.sessions.month, index=bars.sessions)
        last = (month != month.shift(-1)).to_numpy()[:, None]
        return table(bars, (bars.close > bars.close.shift(5)) & last)


class MonthStart(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        month = pd.Series(bars.sessions.month, index=bars.sessions)
        first = (month != month.shift(1)).to_numpy()[:, None]
        return table(bars, (bars.close > bars.close.shift(5)) & first)


class LabelledAtTheStart(Strategy):
    """Weekly closes under the date of their Monday."""

    def weights(self, bars: Bars) -> pd.DataFrame:
        weekly = bars.close.resample("W-MON", label="left", closed="left").last()
        return table(bars, bars.close < weekly.reindex(bars.sessions, method="ffill"))


class LabelledAtTheEnd(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        weekly = bars.close.resample("W-MON", label="right", closed="left").last()
        return table(bars, bars.close < weekly.reindex(bars.sessions, method="ffill"))


class OneSymbol(Strategy):
    """Honest but for C."""

    def weights(self, bars: Bars) -> pd.DataFrame:
        held = bars.close > bars.close.shift(3)
        last = bars.close.columns[-1]
        held[last] = bars.close[last].shift(-2) > bars.close[last]
        return table(bars, held)


class WithAParameter(Strategy):
    """Honest as long as the lag is not negative."""

    lag: int = Field(2, ge=-3, le=5, description="sessions")

    def weights(self, bars: Bars) -> pd.DataFrame:
        return table(bars, bars.close > bars.close.shift(self.lag))


class WithABoundedParameter(Strategy):
    lag: int = Field(2, ge=1, le=5, description="sessions")

    def weights(self, bars: Bars) -> pd.DataFrame:
        return table(bars, bars.close > bars.close.shift(self.lag))


class InACrash(Strategy):
    """Looks ahead only when prices have halved within ten sessions, which they never do in these bars."""

    def weights(self, bars: Bars) -> pd.DataFrame:
        crash = (bars.close < 0.5 * bars.close.shift(10)).any(axis=None)
        if crash:
            return table(bars, bars.close.shift(-1) > bars.close)
        return table(bars, bars.close > bars.close.shift(1))


class InACrashHonestly(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        crash = (bars.close < 0.5 * bars.close.shift(10)).any(axis=1).cummax().to_numpy()[:, None]
        return table(bars, (bars.close > bars.close.shift(1)) & ~crash)


PAIRS = [
    (NegativeShift(), PositiveShift()),
    (CentredWindow(), TrailingWindow()),
    (FullSampleNormalised(), ExpandingNormalised()),
    (FutureUniverse(), PastUniverse()),
    (Survivors(), Listed()),
    (FilledBackwards(), FilledForwards()),
    (FittedOnEverything(), FittedOnThePast()),
    (MonthEnd(), MonthStart()),
    (LabelledAtTheStart(), LabelledAtTheEnd()),
    (OneSymbol(), PositiveShift()),
    (WithAParameter(), WithABoundedParameter()),
    (InACrash(), InACrashHonestly()),
]


@pytest.mark.parametrize("cheat", [pair[0] for pair in PAIRS], ids=lambda strategy: type(strategy).__name__)
def test_a_strategy_that_looks_ahead_is_named_with_symbol_and_session(cheat: Strategy, bars: Bars) -> None:
    look = check_lookahead(cheat, bars)
    assert not look.clean
    assert "it looks ahead: its weight of " in look.fault


@pytest.mark.parametrize("honest", [pair[1] for pair in PAIRS[:9] + PAIRS[10:]], ids=lambda s: type(s).__name__)
def test_its_honest_twin_is_not(honest: Strategy, bars: Bars) -> None:
    look = check_lookahead(honest, bars, cuts=40)
    assert look.fault == ""
    assert look.cuts >= 36
    assert set(look.markets) == {"wild", "falling", "flat", "halted"}


@pytest.mark.parametrize("name", strategies.names())
def test_the_strategies_of_the_house_do_not_look_ahead_and_every_path_of_them_is_run(name: str, bars: Bars) -> None:
    look = check_lookahead(strategies.load(name, {}), bars)
    assert (look.fault, look.cautions, look.sessions, look.rows) == ("", (), SESSIONS, SESSIONS - 1)
    assert look.cuts >= 90
    assert look.paths.complete
    assert len(look.parameters) >= 3


# ---- where each is found -----------------------------------------------------------------------------------------


def test_the_message_names_symbol_session_and_both_weights(bars: Bars) -> None:
    # C falls on the last session but one of the first replay (3 sessions), and is known to rise only afterwards
    close = bars.close.copy()
    close.iloc[:4, :] = [[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 2]]
    look = check_lookahead(NegativeShift(), bars_of(close), cuts=None)
    assert look.fault == (
        "it looks ahead: its weight of C on 2013-01-04 is 0 on bars up to 2013-01-04,"
        " but 0.333333 when later bars are known"
    )


def test_a_cheat_with_a_parameter_is_named_with_its_value(bars: Bars) -> None:
    assert check_lookahead(WithAParameter(), bars).fault.startswith("with lag=-3, it looks ahead")
    assert check_lookahead(WithAParameter(), bars, grid=[{"lag": -1}]).fault.startswith("with lag=-3, it looks ahead")


def test_a_grid_is_checked_combination_by_combination(bars: Bars) -> None:
    look = check_lookahead(WithABoundedParameter(), bars, cuts=10, grid={"lag": [3, 4]})
    assert look.parameters == ("lag=2", "lag=1", "lag=5", "lag=3", "lag=4")
    with pytest.raises(ParameterError, match="no parameter 'lagg'; did you mean lag"):
        check_lookahead(WithABoundedParameter(), bars, grid=[{"lagg": 3}])


def test_a_cheat_for_survivors_is_found_by_delisting_and_one_for_holes_in_a_halted_market(bars: Bars) -> None:
    assert "(delisting)" in check_lookahead(Survivors(), bars).fault
    assert check_lookahead(FilledBackwards(), bars).fault.startswith("in a made-up halted market")
    assert "in a made-up" in check_lookahead(InACrash(), bars).fault


def test_every_session_can_be_decided_as_the_last(bars: Bars) -> None:
    few = bars.between(None, bars.sessions[39].date())
    look = check_lookahead(PositiveShift(), few, cuts=None)
    assert look.cuts == 40 - 3  # the first two sessions and the last are not cut after
    assert look.table.loc["rows decided as the last one"].tolist() == [37, 40]


# ---- what a replay cannot take away ------------------------------------------------------------------------------


def captured(bars: Bars) -> Strategy:
    known = bars.close.shift(-1) > bars.close

    class Captured(Strategy):
        def weights(self, bars: Bars) -> pd.DataFrame:
            return table(bars, known.reindex(bars.sessions))

    return Captured()


class Keeper(Strategy):
    """Keeps the longest bars it ever saw, and looks there."""

    seen: ClassVar[list[pd.DataFrame]] = []

    def weights(self, bars: Bars) -> pd.DataFrame:
        if not self.seen or len(self.seen[-1]) < len(bars):
            self.seen.append(bars.close)
        return table(bars, (self.seen[-1].shift(-1) > self.seen[-1]).reindex(bars.sessions))


class Modelled(Strategy):
    """Asks a model that somebody fitted before."""

    _model: LinearRegression = PrivateAttr(default_factory=LinearRegression)

    def weights(self, bars: Bars) -> pd.DataFrame:
        move = bars.close.pct_change(fill_method=None).fillna(0).to_numpy()
        if not hasattr(self._model, "coef_"):
            return table(bars, np.zeros(move.shape))
        return table(bars, self._model.predict(move.reshape(-1, 1)).reshape(move.shape) > 0)

    def fitted(self, bars: Bars) -> Modelled:
        move = bars.close.pct_change(fill_method=None).fillna(0).to_numpy()
        self._model.fit(move[:-1].reshape(-1, 1), move[1:].ravel())
        return self


def test_data_that_was_captured_before_is_named(bars: Bars) -> None:
    look = check_lookahead(captured(bars), bars)
    assert look.fault.startswith(
        "it carries what no replay can take away: the enclosing variable known holds DataFrame of"
    )
    assert f"{SESSIONS} x 3" in look.fault


def test_a_strategy_that_keeps_what_it_saw_is_caught_whichever_way(bars: Bars) -> None:
    Keeper.seen.clear()
    assert "it looks ahead" in check_lookahead(Keeper(), bars).fault
    Keeper().weights(bars)
    assert "its class attribute seen holds DataFrame" in check_lookahead(Keeper(), bars).fault


def test_a_model_that_was_fitted_before_is_a_fault_unless_it_can_be_fitted_anew(bars: Bars) -> None:
    assert (
        "its private attribute _model holds a fitted LinearRegression"
        in check_lookahead(Modelled().fitted(bars), bars).fault
    )


def test_a_function_that_builds_the_strategy_is_given_only_the_bars_of_each_replay(bars: Bars) -> None:
    on_all: Callable[[Bars], Strategy] = lambda seen: Modelled().fitted(seen)  # noqa: E731
    assert "it looks ahead" in check_lookahead(on_all, bars).fault

    class OnlyThen(Modelled):
        def weights(self, bars: Bars) -> pd.DataFrame:
            made = super().weights(bars)
            return made.mul((np.arange(len(bars)) > SESSIONS // 2).astype(float), axis=0)

    def honest(seen: Bars) -> Strategy:
        made = OnlyThen()
        half = seen.close.iloc[: SESSIONS // 2]
        return made.fitted(bars_of(half)) if len(seen) > SESSIONS // 2 else made

    assert check_lookahead(honest, bars).fault == ""


class Reader(Strategy):
    path: str

    def weights(self, bars: Bars) -> pd.DataFrame:
        known = pd.read_csv(self.path, index_col=0, parse_dates=True)
        return table(bars, known.reindex(bars.sessions) > 0)


class Doctor(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        import sqlite3

        return table(bars, bars.close > len(sqlite3.sqlite_version))


class Spoiler(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        held = table(bars, bars.close > bars.close.shift(1))
        bars.volume.iloc[-1] = 0.0
        return held


class Dice(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        return table(bars, np.random.default_rng().random(bars.close.shape) > 0.5)


def test_a_file_that_is_read_while_deciding_is_named(bars: Bars, tmp_path: Path) -> None:
    file = tmp_path / "future.csv"
    (bars.close.shift(-1) - bars.close).to_csv(file)
    assert check_lookahead(Reader(path=str(file)), bars, cuts=10).fault == (
        f"it reads more than its bars while it decides: file {file}"
    )


def test_a_database_in_its_code_is_named(bars: Bars) -> None:
    assert check_lookahead(Doctor(), bars).fault == "its code reaches for more than its bars: sqlite3"


def test_a_strategy_that_changes_its_bars_or_throws_dice_is_refused(bars: Bars) -> None:
    fresh = bars_of(bars.close.copy())
    assert check_lookahead(Spoiler(), fresh).fault == "it changes the bars that it is given"
    assert "it looks ahead" in check_lookahead(Dice(), bars).fault


class Crisis(Strategy):
    """Knows when to stay out."""

    def weights(self, bars: Bars) -> pd.DataFrame:
        return table(bars, (bars.close > bars.close.shift(1)).mul(bars.sessions.year != 2014, axis=0))


class Chosen(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        held = bars.close > bars.close.shift(1)
        return table(bars, held & (bars.close.columns == "B"))


def test_years_and_symbols_in_the_code_are_cautions(bars: Bars) -> None:
    look = check_lookahead(Crisis(), bars, cuts=20)
    assert look.clean
    assert look.cautions[0].startswith("its weights depend on the year")
    look = check_lookahead(Chosen(), bars, cuts=20)
    assert look.clean
    assert look.cautions[0].startswith("its code names B: ")


# ---- code paths --------------------------------------------------------------------------------------------------


def never(bars: Bars) -> bool:
    return len(bars) > 10_000


class Rare(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        if never(bars):
            return table(bars, bars.close.shift(-1) > bars.close)
        lag = 7 if never(bars) else 1
        return table(bars, bars.close > bars.close.shift(lag))


def test_a_branch_that_no_replay_reaches_is_named_by_line(bars: Bars) -> None:
    look = check_lookahead(Rare(), bars, cuts=20)
    assert look.clean
    first = Rare.weights.__code__.co_firstlineno
    assert look.paths.missed == (
        f"test_lookahead.py:{first + 1}: the condition was never true: if never(bars):",
        f"test_lookahead.py:{first + 2}: never run: return table(bars, bars.close.shift(-1) > bars.close)",
        f"test_lookahead.py:{first + 3}: the condition was never true: lag = 7 if never(bars) else 1",
    )
    assert (look.paths.lines, look.paths.lines_run) == (7, 6)  # weights has 4, never 1, table 2
    assert "not exercised: test_lookahead.py" in str(look)


# ---- bad input ---------------------------------------------------------------------------------------------------


class Nothing(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        return bars.close.rolling(3).mean() * 0


class Short(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        return bars.close.iloc[-5:] * 0.0


class Broken(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        raise KeyError("ZZZ")


def test_weights_that_are_no_numbers_or_not_for_every_session_are_refused(bars: Bars) -> None:
    assert check_lookahead(Nothing(), bars).fault == "its weight of A on 2013-01-02 is nan, which is no number"
    assert "a row for every session" in check_lookahead(Short(), bars).fault
    assert "KeyError" in check_lookahead(Broken(), bars).fault


def test_too_few_bars_are_no_proof(bars: Bars) -> None:
    with pytest.raises(DataError, match="2 sessions are too few"):
        check_lookahead(PositiveShift(), bars.between(None, bars.sessions[1].date()))


def test_what_was_looked_at_can_be_shown_and_stored(bars: Bars) -> None:
    look: Lookahead = check_lookahead(PositiveShift(), bars, cuts=10)
    stored = look.to_dict()
    assert stored["clean"] is True
    assert stored["not_exercised"] == []
    assert "No look-ahead found." in look._repr_html_()
    assert all(getattr(bars, name).shape == (SESSIONS, 3) for name in FIELDS)
