"""The pieces of evidence, one function each: a finding by the bounds of the rule, a sentence, and its numbers."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from workbench.research.honesty.bands import Bands
from workbench.research.honesty.dependence import BEST_DAYS, Concentration
from workbench.research.honesty.evidence import (
    CONFIDENT,
    FLAT,
    FREQUENT_LOSS,
    HALF,
    HIGH_PBO,
    LOW_PBO,
    MANY_ENTRIES,
    NO_BETTER_THAN_LUCK,
    ONE_NAME,
    RARE_LOSS,
    SIGNIFICANT,
    STEEP,
    Evidence,
    Finding,
    unknown,
)
from workbench.research.honesty.fills import FillAudit
from workbench.research.honesty.lookahead import Lookahead
from workbench.research.honesty.overfitting import BacktestOverfitting
from workbench.research.honesty.plateau import Plateau
from workbench.research.honesty.sharpe import (
    DeflatedSharpe,
    ReturnShape,
    minimum_track_record,
    probabilistic_sharpe,
    shape,
)
from workbench.research.honesty.snooping import Snooping
from workbench.research.honesty.stress import break_even
from workbench.research.honesty.walk_forward import WalkForward


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


def of_walk_forward(walk: WalkForward, anchored: WalkForward, unseen: int | None) -> Evidence:
    """Judged on the rolling windows; the anchored ones are said beside them."""
    numbers = {**walk.summary, "out_of_sample_anchored": anchored.sharpe}
    finding: Finding = "open"
    if not walk.sharpe > 0:
        finding = "undermines"
    elif walk.efficiency >= HALF:
        finding = "supports"
    seen = ""
    if unseen is not None:
        fresh = f"{unseen} sessions of the window were" if unseen else "No session of the window was"
        seen = f" {fresh} out of the sight of all recorded trials."
    return Evidence(
        "walk_forward",
        finding,
        f"Chosen anew {len(walk.folds)} times on the past alone, it has a Sharpe ratio of {walk.sharpe:.2f} afterwards,"
        f" against {walk.in_sample:.2f} where it was chosen; chosen on all of the past, {anchored.sharpe:.2f}.{seen}",
        numbers,
    )


def of_deflated(raw: DeflatedSharpe, effective: DeflatedSharpe, own: ReturnShape, sessions_per_year: int) -> Evidence:
    """Judged on the effective number of trials; the plain count is said beside it."""
    yearly = math.sqrt(sessions_per_year)
    needed = minimum_track_record(
        own.sharpe, skew=own.skew, kurtosis=own.kurtosis, threshold=effective.threshold, confidence=CONFIDENT
    )
    numbers = {
        "trials": raw.trials, "effective_trials": effective.trials, "probability": effective.probability,
        "probability_all_independent": raw.probability, "probability_one_trial": raw.undeflated,
        "sharpe": own.sharpe * yearly, "threshold": effective.threshold * yearly,
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
        f" {own.sharpe * yearly:.2f}."
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


def of_benchmark(returns: pd.Series[float], held: pd.Series[float], sessions_per_year: int) -> Evidence:
    """Judged on what is left of the returns without what the benchmark explains (the intercept of a regression).

    The benchmark holds the same symbols, so that a choice of symbols made with hindsight helps neither.
    """
    yearly = math.sqrt(sessions_per_year)
    own, other = shape(returns), shape(held)
    if math.isnan(own.sharpe) or math.isnan(other.sharpe):
        return unknown("benchmark", "the strategy or the benchmark never moved")
    x, y = held.to_numpy(dtype=float), returns.to_numpy(dtype=float)
    beta = float(np.cov(x, y, ddof=1)[0, 1] / x.var(ddof=1))
    rest = shape(y - beta * x)
    alpha = float((y - beta * x).mean()) * sessions_per_year
    likely = math.nan
    if not math.isnan(rest.sharpe):
        likely = probabilistic_sharpe(rest.sharpe, rest.sessions, skew=rest.skew, kurtosis=rest.kurtosis)
    finding: Finding = "open"
    if likely >= CONFIDENT:
        finding = "supports"
    elif not likely >= NO_BETTER_THAN_LUCK:
        finding = "undermines"
    return Evidence(
        "benchmark",
        finding,
        f"Holding the same symbols in equal parts, free of costs, had a Sharpe ratio of {other.sharpe * yearly:.2f};"
        f" this has {own.sharpe * yearly:.2f}. With {beta:.2f} of the benchmark's moves taken out, {alpha:+.1%} a year"
        f" is left, above zero with a probability of {likely:.0%}.",
        {
            "sharpe": own.sharpe * yearly, "sharpe_benchmark": other.sharpe * yearly, "beta": beta, "alpha": alpha,
            "alpha_probability": likely,
        },
    )  # fmt: skip


def of_universe(last: pd.Series[float]) -> Evidence:
    """Whether symbols that died are among those judged on; ``last`` has the closes of the last session."""
    alive, number = int(last.notna().sum()), len(last)
    if alive < number:
        text = f"{number - alive} of {number} symbols no longer trade at the end: the dead are counted too."
        return Evidence("universe", "supports", text, {"symbols": float(number), "alive": float(alive)})
    whole = "The only symbol still trades" if number == 1 else f"All {number} symbols still trade"
    text = f"{whole} on the last session. Whoever chose then could not know that; what went under is not counted."
    return Evidence("universe", "open", text, {"symbols": float(number), "alive": float(alive)})


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
