"""The verdict: a real edge is supported, luck and cheats are not, and every combination ever tried counts."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.closes import FREE, Market, Trend

from workbench.data.bars import Bars
from workbench.errors import DataError
from workbench.research import Verdict, verdict
from workbench.research.honesty import evidence
from workbench.research.honesty.counting import count_trials, trial_table
from workbench.research.honesty.evidence import Evidence, sum_up
from workbench.research.honesty.page import html_document
from workbench.research.honesty.trial_returns import trial_returns
from workbench.research.trials import METRICS, Study, TrialLedger, strategy_name
from workbench.strategies.base import Strategy

AT = datetime(2013, 3, 1, 22, tzinfo=UTC)


class Peeking(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        return (bars.close.shift(-1) > bars.close).astype(float) / len(bars.symbols)


class Nothing(Strategy):
    def weights(self, bars: Bars) -> pd.DataFrame:
        return bars.close * 0.0


def judged(market: Market, strategy: Strategy, **more: Any) -> Verdict:
    grid = [Trend(lookback=each) for each in (2, 3, 4, 5, 6, 7, 8, 9, 11, 14)] if isinstance(strategy, Trend) else []
    return verdict(strategy, market.total, market.raw, market.actions, assumptions=FREE, grid=grid, **more)


@pytest.fixture(scope="module")
def good(trending: Market) -> Verdict:
    return judged(trending, Trend())


@pytest.fixture(scope="module")
def bad(lucky: Market) -> Verdict:
    return judged(lucky, Trend())


def by_name(made: Verdict) -> dict[str, Any]:
    return {piece["name"]: piece for piece in made.to_dict()["evidence"]}  # type: ignore[attr-defined]


def finding(made: Verdict, name: str) -> str:
    return str(made.table.loc[name, "finding"])


def test_an_edge_that_lasts_is_supported(good: Verdict) -> None:
    assert (good.word, good.reason) == ("supported", "every decisive piece of evidence supports it")
    assert set(good.table.index[good.table["decisive"]]) == set(evidence.DECISIVE)
    assert (good.table.loc[list(evidence.DECISIVE), "finding"] == "supports").all()
    assert len(good.pieces) == 15


def test_luck_is_not_supported(bad: Verdict) -> None:
    assert bad.word in ("undermined", "not enough evidence")
    assert finding(bad, "deflated_sharpe") != "supports"
    assert finding(bad, "snooping") != "supports"
    assert finding(bad, "look_ahead") == "supports"  # honest, and worth nothing


def test_a_cheat_is_undermined_however_much_it_earns(lucky: Market) -> None:
    made = judged(lucky, Peeking())
    assert made.result.metrics["sharpe"] > 5
    assert (made.word, made.reason) == ("undermined", "look ahead undermines it")
    assert "its weight of" in made.table.loc["look_ahead", "evidence"]
    # it has no parameters, so there is nothing to choose from
    assert made.table.loc["overfitting", "evidence"].startswith("Not worked out: 1 trials")


def test_a_strategy_that_holds_nothing_is_not_judged_by_its_ratios(lucky: Market) -> None:
    made = judged(lucky, Nothing())
    assert made.word != "supported"
    assert finding(made, "fills") == "open"
    assert finding(made, "deflated_sharpe") == "open"


def test_every_trial_that_was_ever_recorded_counts_and_none_twice(lucky: Market, bad: Verdict, tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    symbols = tuple(lucky.raw.symbols)
    window = {"first_session": date(2005, 1, 3), "last_session": date(2006, 1, 3), "sessions": 250, "snapshot": 0}
    study = Study("a", strategy_name(Trend()), symbols, engine="kernel", **window)  # type: ignore[arg-type]
    spread = np.random.default_rng(1).normal(0, 0.2, 500)
    index = pd.Index(range(1, 501), name="lookback")
    trials = pd.DataFrame({"sharpe_per_session": spread}, index=index).reindex(columns=METRICS)
    ledger.add(trials, study, at=AT)
    made = judged(lucky, Trend(), ledger=ledger)
    own = len(made.trials.strategies)
    mine = {each.lookback for each in made.trials.strategies}  # type: ignore[attr-defined]
    assert made.count.trials == 500  # those at hand are among them: lookbacks up to 60
    assert made.count.recorded == 500 - own
    # by hand: the others as recorded, one's own as measured now
    returns = made.trials.returns
    values = [*(returns.mean() / returns.std()), *(spread[at - 1] for at in range(1, 501) if at not in mine)]
    assert made.count.variance == pytest.approx(np.var(values, ddof=1))
    numbers = {piece.name: piece.numbers for piece in made.pieces}["deflated_sharpe"]
    before = {piece.name: piece.numbers for piece in bad.pieces}["deflated_sharpe"]
    assert numbers["trials"] == 500
    assert numbers["threshold"] > before["threshold"]
    # what is drawn is drawn alike: all the rest is the same verdict, number by number
    rest = {name: piece["numbers"] for name, piece in by_name(made).items() if name != "deflated_sharpe"}
    assert rest == {name: piece["numbers"] for name, piece in by_name(bad).items() if name != "deflated_sharpe"}
    assert numbers["probability"] < before["probability"]
    unseen = int((returns.index > "2006-01-03").sum())
    assert f"{unseen} sessions of the window were out of the sight of all recorded trials" in str(
        made.table.loc["walk_forward"].evidence
    )


def test_trials_of_other_symbols_or_strategies_do_not_count(lucky: Market, tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    grid = [Trend(lookback=4), Trend(lookback=5)]
    made = trial_returns(grid, lucky.total, lucky.raw, lucky.actions, assumptions=FREE)
    window = {"first_session": date(2005, 1, 3), "last_session": date(2009, 1, 3), "sessions": 1_200, "snapshot": 0}
    for name, symbols in (("Trend", ("S0",)), ("Other", tuple(lucky.raw.symbols))):
        ledger.add(trial_table(made), Study("a", name, symbols, engine="kernel", **window), at=AT)  # type: ignore[arg-type]
    assert count_trials(made, lucky.raw.symbols, ledger).trials == 2


def test_what_returns_tell_goes_on_record(lucky: Market) -> None:
    made = trial_returns(
        [Trend(lookback=4), Trend(lookback=5)], lucky.total, lucky.raw, lucky.actions, assumptions=FREE
    )
    table = trial_table(made)
    assert table.index.tolist() == [4, 5]
    first = made.returns[0]
    equity = (1 + first).cumprod()
    assert table["total_return"].iloc[0] == pytest.approx(equity.iloc[-1] - 1)
    assert table["sharpe_per_session"].iloc[0] == pytest.approx(first.mean() / first.std())
    assert table["max_drawdown"].iloc[0] == pytest.approx((equity / equity.cummax().clip(lower=1.0) - 1).min())
    assert table["trades"].isna().all()


# ---- the rule ----------------------------------------------------------------------------------------------------


def pieces(**findings: str) -> list[Evidence]:
    usual = dict.fromkeys(evidence.DECISIVE, "supports") | findings
    return [Evidence(name, found, "") for name, found in usual.items()]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("findings", "sessions", "entries", "word", "reason"),
    [
        ({}, 1_000, 100, "supported", "every decisive piece"),
        ({"costs": "undermines"}, 1_000, 100, "undermined", "costs undermines it"),
        ({"costs": "undermines", "fills": "undermines"}, 1_000, 100, "undermined", "fills and costs undermine it"),
        ({"costs": "undermines"}, 10, 1, "undermined", "costs undermines it"),
        (
            {"delay": "undermines", "plateau": "undermines", "regimes": "undermines"},
            1_000,
            100,
            "undermined",
            "3 pieces",
        ),
        ({"delay": "undermines"}, 1_000, 100, "supported", "every decisive piece"),
        ({"delay": "undermines", "plateau": "undermines"}, 1_000, 100, "not enough evidence", "delay and plateau"),
        ({"overfitting": "open"}, 1_000, 100, "not enough evidence", "overfitting did not settle it"),
        ({}, 503, 100, "not enough evidence", "503 sessions and 100 entries are too few"),
        ({}, 504, 29, "not enough evidence", "29 entries are too few"),
    ],
)
def test_the_word_follows_the_rule(
    findings: dict[str, str], sessions: int, entries: int, word: str, reason: str
) -> None:
    found, why = sum_up(pieces(**findings), sessions=sessions, entries=entries)
    assert found == word
    assert reason in why


def test_a_missing_decisive_piece_is_no_support() -> None:
    assert sum_up(pieces()[1:], sessions=1_000, entries=100)[0] == "not enough evidence"


# ---- how it is shown ---------------------------------------------------------------------------------------------


def test_the_page_says_word_reason_numbers_and_every_piece(good: Verdict, bad: Verdict) -> None:
    text = str(good)
    assert text.startswith("Trend(lookback=6): SUPPORTED\nBecause every decisive piece of evidence supports it.")
    assert max(map(len, text.splitlines())) <= 110
    assert all(piece.title in text for piece in good.pieces)
    assert "What supports it" in text
    html = html_document(bad)
    assert html.startswith("<!DOCTYPE html>")
    assert html.count("<tr>") == len(bad.pieces)
    assert "<polyline" in html
    assert "<script" not in html


def test_what_a_strategy_calls_itself_is_text_in_the_page(bad: Verdict) -> None:
    from dataclasses import replace

    assert "<b>x" not in replace(bad, strategy="<b>x")._repr_html_()


def test_the_machine_readable_form_is_plain_json(good: Verdict) -> None:
    stored = json.loads(json.dumps(good.to_dict(), allow_nan=False))
    assert (stored["verdict"], stored["strategy"], stored["parameters"]) == ("supported", "Trend", {"lookback": 6})
    assert {piece["name"] for piece in stored["evidence"]} >= set(evidence.DECISIVE)
    assert stored["lookahead"]["clean"] is True


def test_an_empty_or_short_window_is_one_clear_line(lucky: Market) -> None:
    with pytest.raises(DataError, match="0 sessions from 2030-01-01 to the last are too few for a verdict"):
        judged(lucky, Trend(), start=date(2030, 1, 1))
    with pytest.raises(DataError, match="20 sessions from the first to 2005-01-28 are too few"):
        judged(lucky, Trend(), end=date(2005, 1, 28))


def test_a_short_history_leaves_open_what_it_cannot_tell(lucky: Market) -> None:
    made = judged(lucky, Trend(), end=lucky.raw.sessions[69].date())
    assert made.word != "supported"
    assert finding(made, "overfitting") == "open"
    assert "69 sessions are too few for 16 blocks" in made.table.loc["overfitting", "evidence"]
