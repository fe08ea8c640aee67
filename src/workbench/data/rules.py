"""The quality rules: what each is called, what it says in numbers, how grave it is, and what bars it is asked of.

Nothing is imported here, so that whoever only checks a name needs neither numpy nor pandas.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Frequency = Literal["daily", "minute"]
Severity = Literal["warn", "block"]
Verdict = Literal["pass", "warn", "block"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``severity`` is the gravest it can be; the definition says when it is less."""

    name: str
    definition: str
    severity: Severity
    frequencies: tuple[Frequency, ...] = ("daily", "minute")


# Sessions in a row that may be missing before it blocks.
MAX_GAP = 5
# Beyond these nothing listed has ever traded, in USD: the dearest share, the cheapest coin.
HIGHEST_USD = 10_000_000.0
LOWEST_USD = 1e-9
# High over low of one bar.
WIDEST = 20.0
# Share of a session's minutes from which on a missing one is told.
DENSE = 0.95
# Ratios of units that get mixed up: cents and dollars, single shares and lots or thousands.
UNITS = (100.0, 1000.0)

_DAILY: tuple[Frequency, ...] = ("daily",)
_MINUTE: tuple[Frequency, ...] = ("minute",)


def _rules() -> Iterator[Rule]:
    yield Rule(
        "stale",
        "A symbol that traded before has no bar in the session decided on (block), or one in which nothing was "
        "traded, so that its price is an older one (warn).",
        "block",
    )
    yield Rule(
        "no_bars",
        "A symbol has no bar in the window: warn (not listed yet, or no longer); block if no symbol has one.",
        "block",
    )
    yield Rule(
        "dropped_out",
        "A symbol's bars end before those of others do, by a session or more, and no listing says that it ended; "
        "without a session to decide on (else it is stale).",
        "warn",
    )
    yield Rule(
        "missing_sessions",
        "An exchange session between a symbol's first and last bar has no bar; up to 5 in a row warn, more block.",
        "block",
    )
    yield Rule("extra_session", "A bar on a day on which the exchange was closed.", "warn")
    yield Rule(
        "missing_minutes",
        f"Minutes of a session without a bar: of a symbol that has {DENSE:.0%} of them in its median session every "
        "one; of others gaps so long that chance would bring one in less than a thousand such histories.",
        "warn",
        _MINUTE,
    )
    yield Rule(
        "extra_minutes",
        "Bars that start before the open, in the lunch break, or at the close or later, half-days included.",
        "warn",
        _MINUTE,
    )
    yield Rule(
        "time_zone_shift",
        "By the minute: a session's bars begin and end the same multiple of half an hour from open and close. "
        "Daily: for two weeks or more there are bars on Sundays and none on Fridays, or on Saturdays and none on "
        "Mondays.",
        "block",
    )
    yield Rule("duplicate", "A symbol has a bar twice, and they are the same.", "warn")
    yield Rule("conflicting_duplicate", "A symbol has a bar twice, and they say different things.", "block")
    yield Rule(
        "bad_value",
        "A price that is missing or not above zero, or a volume that is missing or below zero.",
        "block",
    )
    yield Rule(
        "absurd_price",
        f"A price above {HIGHEST_USD:,.0f} or below {LOWEST_USD:g} USD, or a high over {WIDEST:g} times the low of "
        "its bar, unless a quarter of the other symbols went 8 % that way in it.",
        "block",
    )
    yield Rule(
        "price_order",
        "The high is below, or the low above, another price of the bar; block in the session decided on, warn "
        "before it.",
        "block",
    )
    yield Rule(
        "zero_volume",
        "A bar in which nothing was traded, though its prices differ from the close before; a bar without volume "
        "at that price is how a halt or a quiet minute is written, and passes.",
        "warn",
    )
    yield Rule(
        "stale_run",
        "Bars that repeat the price before them, with volume, so often in a row that chance would bring it in less "
        "than a thousand such histories, given how often the symbol's bars do; block if they reach the session "
        "decided on.",
        "block",
    )
    yield Rule(
        "outlier",
        "A price that leaves the bars on both sides by over 8 robust standard deviations of the 60 returns around "
        "it and comes back at the next open, or a high or low that far out and 2.5 times as far as any around; on "
        "ordinary turnover, by more than 3 ticks, while fewer than a quarter of the other symbols move that way.",
        "warn",
    )
    yield Rule(
        "unit_error",
        "Prices, one field of a bar, or volumes that are 100 or 1000 times too large or too small, for one bar or "
        "a stretch, while the rest of the bar goes on as before.",
        "block",
    )
    yield Rule(
        "unapplied_split",
        "The open is a split ratio (3:2 or more, either way) away from the close before, within the symbol's "
        "ordinary overnight noise, over 3 ticks and over 5 robust standard deviations of its returns; on at most 4 "
        "times the ordinary turnover (2 times up to 12 standard deviations) or twice the ordinary number of shares (4 "
        "times if the price tripled); no split or dividend on record explains it, and fewer than a quarter of others "
        "move that way.",
        "block",
    )
    yield Rule("split_not_in_price", "A split is on record, and the price did not move by it.", "block")
    yield Rule(
        "split_applied_twice",
        "The price moved by the square of the split on record, or the same split is on record twice within 10 days "
        "and the price moved by it once.",
        "block",
    )
    yield Rule(
        "split_like_move",
        "A move as large as a split (a third up or a quarter down) and over 12 robust standard deviations of "
        "the returns around it that fits no ratio, on at most 4 times the ordinary "
        "turnover, in which the market takes no part: what moved it is not in the data. On more turnover it is news, "
        "and no finding.",
        "warn",
    )
    yield Rule(
        "wrong_dividend",
        "A dividend on record that is at least 5 times (or at most a fifth of) the symbol's others, and 5 robust "
        "standard deviations more than the open fell by; or a hundredth of what it fell by; or more than the share was "
        "worth.",
        "warn",
    )
    yield Rule(
        "misplaced_dividend",
        "A dividend whose ex-date is no session, that is on record twice within 10 days, or that the open fell by "
        "on another of the 5 sessions around instead.",
        "warn",
    )
    yield Rule(
        "pre_adjusted",
        "Splits or dividends are on record, and prices do not move by any of them while the bars before are off "
        "the tick, or volume is that of before the split: the prices are adjusted already.",
        "block",
    )
    yield Rule(
        "volume_adjusted",
        "Prices move by a split on record, and volume does not: it is adjusted beside raw prices.",
        "warn",
    )
    yield Rule(
        "ticker_reuse",
        "A second instrument under the ticker: the listings say so, or after 20 sessions or more without a bar the "
        "price is twice or half of what it was and beyond what so many sessions of its own moves explain.",
        "block",
    )
    yield Rule("crossed_quotes", "The bid is above the ask, or one of them is not above zero.", "warn")
    yield Rule(
        "known_fault",
        "The source is known to be wrong here, though its numbers do not show it.",
        "warn",
    )


RULES: dict[str, Rule] = {rule.name: rule for rule in _rules()}
