"""Bars that are missing: filled from the past if the policy says so, inside one listing, and never far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.data.cleaning._bars import Why, nanoseconds
from workbench.data.cleaning._work import CLOSE, DAY_NS, Work
from workbench.data.cleaning.policy import CleaningPolicy
from workbench.data.quality.report import Finding
from workbench.data.quality.tape import Hours

if TYPE_CHECKING:
    import pandas as pd

_MINUTE_NS = 60_000_000_000


@dataclass(frozen=True)
class Known:
    """What is known beside the bars: the exchange's hours, listings, and splits by symbol (ns of the ex-date, ratio).

    ``reused`` are symbols and moments (ns) at which another instrument takes a ticker over.
    """

    hours: Hours
    listings: pd.DataFrame | None
    splits: dict[str, list[tuple[int, float]]]
    reused: frozenset[tuple[str, int]]


def fill(work: Work, finding: Finding, policy: CleaningPolicy, known: Known) -> Why:
    """Fill the gap of a finding, all of it or nothing."""
    if finding.rule == "missing_minutes":
        missing = _minutes(work, finding, known.hours)
        most, name = policy.max_fill_minutes, "max_fill_minutes"
    else:
        missing = _sessions(work, finding.symbol, nanoseconds(finding.session), known.hours)
        most, name = policy.max_fill, "max_fill"
    if not missing:
        return "the gap was filled for another reason"
    if len(missing) > most:
        return f"{len(missing)} {finding.rule.removeprefix('missing_')} in a row are more than {name} = {most}"
    return fill_at(work, finding.symbol, missing, finding.rule, policy.action(finding.rule), known)


def refill(work: Work, known: Known, policy: CleaningPolicy) -> None:
    """Fill the sessions whose bars this pass has taken out, as gaps are filled, if the policy fills them."""
    action = policy.missing_sessions
    if work.table != "bars" or action not in ("previous", "interpolate"):
        return
    emptied = {(one.symbol, one.at) for one in work.entries if one.action == "drop"}
    for symbol, at in sorted(emptied):
        missing = _sessions(work, symbol, at, known.hours)
        if 0 < len(missing) <= policy.max_fill:
            fill_at(work, symbol, missing, "missing_sessions", action, known)


def fill_at(work: Work, symbol: str, missing: list[int], rule: str, action: str, known: Known) -> Why:
    """Put bars at these times of one gap."""
    first, stop = work.bounds(symbol)
    low = first + int(np.searchsorted(work.ns[first:stop], missing[0]))
    high = first + int(np.searchsorted(work.ns[first:stop], missing[-1]))
    rows = [row for row in range(high, stop) if row not in work.gone][:1]
    price, later = work.before(symbol, low), work.after(symbol, high - 1)
    if price is None or later is None or not rows:
        return "nothing is filled before the first bar or after the last"
    end = int(work.ns[rows[0]])
    refused = _outside_a_listing(symbol, missing, end, known)
    if refused:
        return refused
    begun = max(
        int(work.ns[row]) for row in range(low - 1, first - 1, -1) if row not in work.gone and _closes(work, row)
    )
    splits = [split for split in known.splits.get(symbol, ()) if begun < split[0] <= end]
    if splits and action == "interpolate":
        return "a split lies in the gap, and prices on both sides do not compare"
    for place, at in enumerate(missing, start=1):
        value = price / float(np.prod([ratio for day, ratio in splits if day <= at]))
        reason = f"the close before: {value:g}"
        if action == "interpolate":
            value = price + (later - price) * place / (len(missing) + 1)
            reason = f"between the close before, {price:g}, and the open after, {later:g} (looks ahead)"
        work.add(symbol, at, [value] * 4 + [0.0], rule, action, reason)
    return None


def _closes(work: Work, row: int) -> bool:
    return work.bar(row)[CLOSE] > 0


def _sessions(work: Work, symbol: str, at: int, hours: Hours) -> list[int]:
    """All sessions without a bar on both sides of one of them, in ns since 1970; none if it is no session."""
    place = int(np.searchsorted(hours.day, at // DAY_NS))
    if place >= len(hours.day) or hours.day[place] * DAY_NS != at or not work.is_missing(symbol, at):
        return []
    first = last = place
    while first > 0 and work.is_missing(symbol, int(hours.day[first - 1]) * DAY_NS):
        first -= 1
    while last + 1 < len(hours.day) and work.is_missing(symbol, int(hours.day[last + 1]) * DAY_NS):
        last += 1
    return [int(day) * DAY_NS for day in hours.day[first : last + 1]]


def _minutes(work: Work, finding: Finding, hours: Hours) -> list[int]:
    """The minutes of a session without a bar, from the finding's on, in ns since 1970."""
    place = int(np.searchsorted(hours.day, nanoseconds(finding.session) // DAY_NS))
    at, times = nanoseconds(finding.at), list[int]()
    while place < len(hours.day) and at < hours.close[place] and work.is_missing(finding.symbol, at):
        if not hours.break_start[place] <= at < hours.break_end[place]:
            times.append(at)
        at += _MINUTE_NS
    return times


def _outside_a_listing(symbol: str, missing: list[int], end: int, known: Known) -> Why:
    """Why a gap that ends with the bar at ``end`` may not be filled; None if one instrument was listed all along."""
    if (symbol, end // DAY_NS) in known.reused:
        return "another instrument begins under the ticker"
    listings = known.listings
    if listings is None or not len(listings):
        return None
    spells = listings[listings["symbol"] == symbol]
    if not len(spells):
        return None
    first, last = (np.datetime64(time // DAY_NS, "D") for time in (missing[0], end))
    whole = (spells["first"] <= first) & (spells["last"].isna() | (spells["last"] >= last))
    return None if whole.any() else "it was not listed all along"
