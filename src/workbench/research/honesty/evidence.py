"""Pieces of evidence for and against a strategy, the bounds that decide them, and the rule that sums them up.

The rule, in words:

- ``undermined``: a decisive piece undermines it, or three pieces of any kind do.
- ``supported``: every decisive piece supports it, at most one other undermines it, and there are at least 504
  sessions and 30 entries to judge.
- ``not enough evidence``: everything else.

Decisive are look-ahead, fills, walk-forward, the deflated Sharpe ratio, overfitting and costs. A piece that could not
be worked out is open, never supporting.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from workbench.research.honesty.bands import Bands
from workbench.research.honesty.dependence import BEST_DAYS, Concentration
from workbench.research.honesty.fills import FillAudit
from workbench.research.honesty.lookahead import Lookahead
from workbench.research.honesty.overfitting import BacktestOverfitting
from workbench.research.honesty.plateau import Plateau
from workbench.research.honesty.sharpe import DeflatedSharpe, ReturnShape, minimum_track_record
from workbench.research.honesty.snooping import Snooping
from workbench.research.honesty.stress import break_even
from workbench.research.honesty.walk_forward import WalkForward

Finding = Literal["supports", "undermines", "open"]
Word = Literal["supported", "undermined", "not enough evidence"]

FEWEST_SESSIONS, FEWEST_ENTRIES, MANY_ENTRIES = 504, 30, 100
CONFIDENT, NO_BETTER_THAN_LUCK = 0.95, 0.5  # of the deflated Sharpe ratio
LOW_PBO, HIGH_PBO = 0.2, 0.5
RARE_LOSS, FREQUENT_LOSS = 0.05, 0.25  # of the best in sample, out of sample
SIGNIFICANT = 0.05
HALF = 0.5  # of a Sharpe ratio that has to be left
FLAT, STEEP = 0.7, 0.3  # neighbours' over the chosen one's Sharpe ratio
ONE_NAME = 0.7  # share of all gains
SAME = 0.1  # difference of annual Sharpe ratios that means nothing
DECISIVE = ("look_ahead", "fills", "walk_forward", "deflated_sharpe", "overfitting", "costs")


@dataclass(frozen=True, slots=True)
class Evidence:
    """One piece: what was found, in one sentence, and the numbers behind it."""

    name: str
    finding: Finding
    sentence: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def decisive(self) -> bool:
        return self.name in DECISIVE

    @property
    def title(self) -> str:
        return self.name.replace("_", " ").capitalize()


def sum_up(evidence: Sequence[Evidence], *, sessions: int, entries: int) -> tuple[Word, str]:
    """The word for all of it, and the reason; the rule is that of the module.

    >>> sum_up([Evidence("costs", "undermines", "Twice the costs eat the profit.")], sessions=1000, entries=100)
    ('undermined', 'costs undermines it')
    """
    against = [each for each in evidence if each.finding == "undermines"]
    if decisive := [each.name for each in against if each.decisive]:
        verb = "undermines" if len(decisive) == 1 else "undermine"
        return "undermined", f"{_words(decisive)} {verb} it"
    if len(against) >= 3:
        return "undermined", f"{len(against)} pieces of evidence undermine it: {_words([e.name for e in against])}"
    if sessions < FEWEST_SESSIONS or entries < FEWEST_ENTRIES:
        return "not enough evidence", (
            f"{sessions} sessions and {entries} entries are too few to judge (at least {FEWEST_SESSIONS} and"
            f" {FEWEST_ENTRIES})"
        )
    found = {each.name: each.finding for each in evidence}
    unsettled = [name for name in DECISIVE if found.get(name) != "supports"]
    if unsettled:
        return "not enough evidence", f"nothing decisive undermines it, but {_words(unsettled)} did not settle it"
    if len(against) > 1:
        return "not enough evidence", f"{_words([each.name for each in against])} undermine it"
    return "supported", "every decisive piece of evidence supports it"


# ---- the pieces ----------------------------------------------------------------------------------------------------


def of_lookahead(look: Lookahead) -> Evidence:
    numbers = {"rows_checked": float(look.cuts), "rows": float(look.sessions), "sets": float(len(look.parameters))}
    if look.fault:
        return Evidence("look_ahead", "undermines", f"{_sentence(look.fault)}.", numbers)
    checked = (
        f"{look.cuts} of {look.sessions} sessions decided with nothing later known, {look.futures} other futures,"
        f" {len(look.parameters)} parameter sets, {len(look.markets)} made-up markets; {look.paths} ran"
    )
    doubts = [*look.paths.missed, *look.cautions, *([look.paths.note] if look.paths.note else [])]
    if doubts:
        text = f"None found, but look at: {'; '.join(doubts[:3])}. ({checked}.)"
        return Evidence("look_ahead", "open", text, numbers)
    return Evidence("look_ahead", "supports", f"None found: {checked}.", numbers)


def of_fills(audit: FillAudit) -> Evidence:
    numbers = {"fills": float(audit.fills), "faults": float(len(audit.faults))}
    if not audit.clean:
        return Evidence("fills", "undermines", f"{_sentence(audit.fault)}.", numbers)
    if not audit.fills:
        return Evidence("fills", "open", "There were no fills.", numbers)
    finding: Finding = "open" if audit.caution else "supports"
    return Evidence("fills", finding, f"{_sentence(str(audit))}.", numbers)


def of_walk_forward(walk: WalkForward, unseen: int | None) -> Evidence:
    inside = float(walk.folds["in_sample"].mean())
    numbers = {"in_sample": inside, "out_of_sample": walk.sharpe, "efficiency": walk.efficiency}
    finding: Finding = "open"
    if not walk.sharpe > 0:
        finding = "undermines"
    elif walk.efficiency >= HALF:
        finding = "supports"
    seen = "" if unseen is None else f" {unseen} sessions of the window were never part of a recorded trial."
    return Evidence(
        "walk_forward",
        finding,
        f"Chosen anew {len(walk.folds)} times on the past alone, it has a Sharpe ratio of {walk.sharpe:.2f} afterwards,"
        f" against {inside:.2f} where it was chosen.{seen}",
        numbers,
    )


def of_deflated(raw: DeflatedSharpe, effective: DeflatedSharpe, shape: ReturnShape, sessions_per_year: int) -> Evidence:
    """Judged on the effective number of trials; the plain count is said beside it."""
    yearly = math.sqrt(sessions_per_year)
    needed = minimum_track_record(
        shape.sharpe, skew=shape.skew, kurtosis=shape.kurtosis, threshold=effective.threshold, confidence=CONFIDENT
    )
    numbers = {
        "trials": raw.trials, "effective_trials": effective.trials, "probability": effective.probability,
        "probability_all_independent": raw.probability, "probability_one_trial": raw.undeflated,
        "sharpe": shape.sharpe * yearly, "threshold": effective.threshold * yearly,
        "minimum_track_record_sessions": needed,
    }  # fmt: skip
    finding: Finding = "open"
    if effective.probability >= CONFIDENT:
        finding = "supports"
    elif not effective.probability >= NO_BETTER_THAN_LUCK:
        finding = "undermines"
    length = "no history is long enough" if math.isinf(needed) else f"{needed / sessions_per_year:.1f} years are needed"
    return Evidence(
        "deflated_sharpe",
        finding,
        f"{raw.trials:,.0f} combinations were tried, as good as {effective.trials:,.1f} independent ones: the best of"
        f" those without any edge would show {effective.threshold * yearly:.2f} a year; this one shows"
        f" {shape.sharpe * yearly:.2f}."
        f" Probability that it is above zero all the same: {effective.probability:.0%} ({raw.probability:.0%} if all"
        f" were independent, {raw.undeflated:.0%} had it been the only one); {length} for {CONFIDENT:.0%}.",
        numbers,
    )


def of_overfitting(made: BacktestOverfitting) -> Evidence:
    numbers = {"pbo": made.probability, "loss_probability": made.loss_probability, "slope": made.slope}
    finding: Finding = "open"
    if made.probability <= LOW_PBO or made.loss_probability <= RARE_LOSS:
        finding = "supports"
    elif made.probability > HIGH_PBO and made.loss_probability > FREQUENT_LOSS:
        finding = "undermines"
    why = " As nearly every choice earned money afterwards, it hardly matters which one is taken." if (
        finding == "supports" and made.probability > LOW_PBO) else ""  # fmt: skip
    return Evidence(
        "overfitting",
        finding,
        f"In {made.probability:.0%} of {made.splits:,} ways to halve the history, the best of {made.trials} in one half"
        f" was below the median of the other (pure luck: 50%), in {made.loss_probability:.0%} it lost money there."
        f"{why}",
        numbers,
    )


def of_snooping(made: Snooping) -> Evidence:
    finding: Finding = "open"
    if made.spa <= SIGNIFICANT:
        finding = "supports"
    elif made.spa > NO_BETTER_THAN_LUCK:
        finding = "undermines"
    return Evidence(
        "snooping",
        finding,
        f"If none of the {made.trials} trials beat cash, one as good as the best would turn up with probability"
        f" {made.spa:.1%} (Hansen; White's reality check: {made.reality_check:.1%}).",
        {"spa_p_value": made.spa, "reality_check_p_value": made.reality_check},
    )


def of_bands(made: Bands) -> Evidence:
    sharpe, growth, fall = (made.table.loc[name] for name in ("sharpe", "cagr", "max_drawdown"))
    finding: Finding = "open"
    if sharpe["low"] > 0:
        finding = "supports"
    elif not sharpe["estimate"] > 0:
        finding = "undermines"
    return Evidence(
        "bootstrap",
        finding,
        f"With {made.confidence:.0%} confidence the Sharpe ratio is {sharpe['low']:.2f} to {sharpe['high']:.2f}, growth"
        f" {growth['low']:.1%} to {growth['high']:.1%} a year, the deepest drawdown {fall['high']:.0%} to"
        f" {fall['low']:.0%}.",
        {"sharpe_low": float(sharpe["low"]), "sharpe_high": float(sharpe["high"]), "drawdown_low": float(fall["low"])},
    )


def of_plateau(made: Plateau) -> Evidence:
    finding: Finding = "open"
    if not made.chosen > 0 or made.ratio < STEEP:
        finding = "undermines"
    elif made.ratio >= FLAT:
        finding = "supports"
    return Evidence(
        "plateau",
        finding,
        f"Its neighbours have a Sharpe ratio of {made.neighbours:.2f} (median), it has {made.chosen:.2f};"
        f" {made.profitable:.0%} of {len(made.table)} combinations around it made money.",
        {"chosen": made.chosen, "neighbours": made.neighbours, "ratio": made.ratio, "profitable": made.profitable},
    )


def of_costs(table: pd.DataFrame) -> Evidence:
    once, twice = table.loc[1.0], table.loc[2.0]
    even = break_even(table)
    finding: Finding = "open"
    if not twice["cagr"] > 0:
        finding = "undermines"
    elif twice["sharpe"] >= HALF * once["sharpe"]:
        finding = "supports"
    limit = "at none of the multiples tried" if math.isinf(even) else f"at {even:.1f} times the costs"
    return Evidence(
        "costs",
        finding,
        f"With twice the costs it grows by {twice['cagr']:.1%} a year instead of {once['cagr']:.1%};"
        f" growth ends {limit}.",
        {"cagr": float(once["cagr"]), "cagr_twice": float(twice["cagr"]), "break_even_multiple": even},
    )


def of_delay(table: pd.DataFrame) -> Evidence:
    now, later = table.loc[0], table.loc[1]
    finding: Finding = "open"
    if not later["sharpe"] > 0:
        finding = "undermines"
    elif later["sharpe"] >= HALF * now["sharpe"]:
        finding = "supports"
    last = table.index[-1]
    return Evidence(
        "delay",
        finding,
        f"Acting one session later leaves a Sharpe ratio of {later['sharpe']:.2f} of {now['sharpe']:.2f},"
        f" {last} sessions later {table.loc[last, 'sharpe']:.2f}.",
        {"sharpe": float(now["sharpe"]), "sharpe_one_later": float(later["sharpe"])},
    )


def of_entries(entries: int, sessions: int, sessions_per_year: int) -> Evidence:
    finding: Finding = "supports" if entries >= MANY_ENTRIES else "open"
    few = "" if entries >= MANY_ENTRIES else " That is little to tell skill from luck by."
    return Evidence(
        "entries",
        finding,
        f"It opened {entries} positions in {sessions / sessions_per_year:.1f} years.{few}",
        {"entries": float(entries), "sessions": float(sessions)},
    )


def of_concentration(made: Concentration) -> Evidence:
    alone = len(made.names) > 1 and made.top_name_share > ONE_NAME
    without = made.cagr_without_best_days
    finding: Finding = "undermines" if not without > 0 or alone else "supports"
    share = "" if math.isnan(made.best_days_share) else f" made {made.best_days_share:.0%} of the total log return;"
    top = (
        ""
        if math.isnan(made.top_name_share)
        else f" {made.names.index[0]} alone made {made.top_name_share:.0%} of all gains."
    )
    return Evidence(
        "concentration",
        finding,
        f"The {BEST_DAYS} best sessions{share} without them it grows by {without:.1%} a year.{top}",
        {"best_days_share": made.best_days_share, "cagr_without_best_days": without, "top_name": made.top_name_share},
    )


def of_regimes(table: pd.DataFrame) -> Evidence:
    kinds = table.drop(index="year", level="kind")
    years = table.loc["year"]
    made = float(years["log_return"].sum())
    worst = kinds["log_return"].min() if len(kinds) else math.nan
    finding: Finding = "open"
    if len(kinds) and (kinds["log_return"] > 0).all():
        finding = "supports"
    elif len(kinds) and made > 0 and worst < -HALF * made:
        finding = "undermines"
    sharpe = {str(regime): float(value) for regime, value in kinds["sharpe"].droplevel("kind").items()}
    parts = ", ".join(f"{regime} {value:.2f}" for regime, value in sharpe.items())
    up = int((years["log_return"] > 0).sum())
    return Evidence(
        "regimes",
        finding,
        f"Sharpe ratio by market: {parts or 'too short a history'}; {up} of {len(years)} calendar years made money.",
        {f"sharpe_{regime}": value for regime, value in sharpe.items()},
    )


def of_benchmark(own: float, held: float, growth: float, held_growth: float) -> Evidence:
    finding: Finding = "open"
    if own > held + SAME:
        finding = "supports"
    elif own < held - SAME:
        finding = "undermines"
    return Evidence(
        "benchmark",
        finding,
        f"Holding the same symbols in equal parts had a Sharpe ratio of {held:.2f} and grew by {held_growth:.1%} a"
        f" year, free of costs; this has {own:.2f} and {growth:.1%}.",
        {"sharpe": own, "sharpe_benchmark": held, "cagr": growth, "cagr_benchmark": held_growth},
    )


def unknown(name: str, why: str) -> Evidence:
    """A piece that could not be worked out."""
    return Evidence(name, "open", f"Not worked out: {why}.")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _words(names: Sequence[str]) -> str:
    plain = [name.replace("_", " ") for name in names]
    return plain[0] if len(plain) == 1 else f"{', '.join(plain[:-1])} and {plain[-1]}"
