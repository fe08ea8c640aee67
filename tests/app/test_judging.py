"""What the workbench adds to research: the lake's data up to the session, and a record of every try."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.homes import make_home

from workbench.app import Workbench, open_workbench
from workbench.errors import ConfigError, DataError

SYMBOLS = ["AAPL", "IBM"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_home(tmp_path_factory.mktemp("judging") / "home")
    wb = open_workbench(start=made, env={})
    wb.load_sample()
    wb.close()
    return made


@pytest.fixture
def wb(home: Path) -> Iterator[Workbench]:
    made = open_workbench(start=home, env={})
    yield made
    made.close()


def test_every_try_goes_on_record_once_however_often_it_is_tried(wb: Workbench) -> None:
    grid = [wb.strategy("momentum", lookback=each, top=1) for each in (20, 40, 60)]
    made = wb.trial_returns(grid, symbols=SYMBOLS, start="2011-01-03", end="2012-12-31")
    assert made.returns.shape[1] == 3
    # a longer window is no new idea
    wb.trial_returns(grid[:2], symbols=["IBM", "AAPL"], start="2010-01-04", end="2012-12-31")
    assert wb.trials.count("momentum", SYMBOLS) == 3
    best = made.returns.mean().div(made.returns.std()).max()
    recorded = wb.trials.read("momentum", SYMBOLS)
    assert recorded["sharpe_per_session"].head(3).max() == pytest.approx(best, abs=1e-12)
    assert set(recorded["snapshot"]) == {wb.lake.snapshot()}


def test_nothing_after_the_session_is_judged_on(home: Path) -> None:
    wb = open_workbench(session="2012-06-29", start=home, env={})
    grid = [wb.strategy("momentum", lookback=each, top=1) for each in (20, 40)]
    made = wb.trial_returns(grid, symbols=SYMBOLS, start="2011-01-03", end="2012-12-31")
    assert f"{made.returns.index[-1]:%Y-%m-%d}" == "2012-06-29"
    assert (
        wb.lookahead("momentum", symbols=SYMBOLS, start="2012-01-03", cuts=5, lookback=20).sessions == 125
    )  # 62 and 63 in two quarters
    wb.close()


def test_what_cannot_be_tried_is_one_clear_line(wb: Workbench) -> None:
    with pytest.raises(ConfigError, match="2 strategies at once; trials differ in parameters only"):
        wb.trial_returns([wb.strategy("momentum"), wb.strategy("moving_average")], symbols=SYMBOLS)
    with pytest.raises(ConfigError, match="there are no strategies to try"):
        wb.trial_returns([])
    with pytest.raises(DataError, match="the window ends before it begins"):
        wb.lookahead("momentum", symbols=SYMBOLS, start="2012-01-03", end="2011-01-03")
    with pytest.raises(ConfigError, match="'soon' is not a date"):
        wb.lookahead("momentum", symbols=SYMBOLS, start="soon")
