"""Why a finding is left alone, in words; and what every action does, in words."""

from __future__ import annotations

# Of a rule whose action is ``keep``.
KEPT = {
    "conflicting_duplicate": "nothing says which of the two is right",
    "extra_minutes": "trading outside the regular hours is real",
    "bad_value": "what it should be is not known",
    "absurd_price": "what it should be is not known",
    "outlier": "it may have been traded at this price",
    "zero_volume": "whether it was traded is not known",
    "stale_run": "whether it was traded is not known",
    "missing_sessions": "what would have been traded is not known",
    "missing_minutes": "a minute without a trade has no bar",
    "unapplied_split": "a split has to be on record before shares are counted by it: load it, or choose 'record'",
    "split_not_in_price": "the record may be wrong, or the prices adjusted already",
    "split_applied_twice": "which of the records is right is not known",
    "wrong_dividend": "what was paid is not in the prices",
    "misplaced_dividend": "when it was paid is not in the prices",
    "stale": "nothing is filled after the last bar",
    "no_bars": "there is nothing to repair",
    "dropped_out": "nothing is filled after the last bar",
    "time_zone_shift": "bars are loaded again with the right time zone, not moved",
    "split_like_move": "most likely it happened",
    "pre_adjusted": "what they were before is not known: load the raw prices",
    "volume_adjusted": "the source counts so in all rows: load the raw volumes",
    "ticker_reuse": "two instruments are told apart by listings, not by prices",
    "crossed_quotes": "which of the two is wrong is not known",
    "known_fault": "the numbers do not show what they should be",
}
ACCEPTED = "accepted by the policy"
CHOSEN = "the policy keeps it"
_ACTIONS = {
    "merge": "taken out: the same bar is there already",
    "drop": "taken out",
    "first": "of two bars the first stays",
    "last": "of two bars the last stays",
    "divide": "divided by the unit it was in",
    "widen": "widened to hold open and close",
    "previous": "the close before it",
    "interpolate": "between its neighbours (looks ahead)",
    "record": "put on record",
    "remove": "taken off the record",
    "move": "moved to the session at which the price moved",
}


def kept(rule: str, default: str) -> str:
    """Why a finding is left alone under ``keep``; ``default`` is the rule's action in a policy of defaults."""
    return KEPT.get(rule, CHOSEN) if default == "keep" else CHOSEN


def told(action: str) -> str:
    """What an action does, in words."""
    return _ACTIONS[action]
