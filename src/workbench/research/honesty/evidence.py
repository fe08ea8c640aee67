"""Pieces of evidence for and against a strategy, the bounds that decide them, and the rule that sums them up.

The rule, in words:

- ``undermined``: a decisive piece undermines it, or three pieces of any kind do.
- ``supported``: every decisive piece supports it, at most one other undermines it, and there are at least 504
  sessions and 30 entries to judge.
- ``not enough evidence``: everything else.

Decisive are look-ahead, fills, walk-forward, the deflated Sharpe ratio, overfitting, costs and the benchmark. A piece
that could not be worked out is open, never supporting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

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
DECISIVE = ("look_ahead", "fills", "walk_forward", "deflated_sharpe", "overfitting", "costs", "benchmark")
_TITLES = {"look_ahead": "Look-ahead", "walk_forward": "Walk-forward", "deflated_sharpe": "Deflated Sharpe ratio"}


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
        return _TITLES.get(self.name, self.name.replace("_", " ").capitalize())


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


def unknown(name: str, why: str) -> Evidence:
    """A piece that could not be worked out."""
    return Evidence(name, "open", f"Not worked out: {why}.")


def _words(names: Sequence[str]) -> str:
    plain = [name.replace("_", " ") for name in names]
    return plain[0] if len(plain) == 1 else f"{', '.join(plain[:-1])} and {plain[-1]}"
