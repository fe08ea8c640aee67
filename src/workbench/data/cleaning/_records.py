"""Repairs of the corporate actions on record: only where prices leave one answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from workbench.data.cleaning._bars import Why, nanoseconds
from workbench.data.cleaning._work import DAY_NS, NAN, OPEN, Entry, Work
from workbench.data.cleaning.policy import CleaningPolicy
from workbench.data.dataset import DERIVED
from workbench.data.quality.jumps import LOG_RATIOS
from workbench.data.quality.report import Finding

# Days between two records that are taken for one split, and around a record in which the price may move.
NEAR_DAYS = 10
# How far, in logs, an open may be from a ratio and still show it.
_SHOWS = 0.15


@dataclass
class Records:
    """The actions on record under repair: the frame as repaired so far, and the ledger."""

    actions: pd.DataFrame
    entries: list[Entry] = field(default_factory=list)

    def near(self, symbol: str, day: int) -> list[tuple[int, float]]:
        """Splits of a symbol within some days of one (since 1970): day and ratio, by day."""
        rows = self._rows(symbol, "split")
        found = [(int(at), float(value)) for at, value in zip(_days(rows), rows["value"], strict=True)]
        return sorted(one for one in found if abs(one[0] - day) <= NEAR_DAYS)

    def remove(self, finding: Finding, day: int, kind: str, action: str, reason: str) -> bool:
        """Take actions of a day off the record; False if there is none."""
        rows = self._rows(finding.symbol, kind)
        rows = rows[_days(rows) == day]
        for value in rows["value"]:
            self._note(finding, day, kind, float(value), NAN, action, reason)
        self.actions = self.actions.drop(rows.index).reset_index(drop=True)
        return bool(len(rows))

    def add(self, finding: Finding, day: int, ratio: float, action: str, reason: str) -> None:
        """Put a split on record."""
        self._note(finding, day, "split", NAN, ratio, action, reason)
        new = {"symbol": finding.symbol, "ex_date": pd.Timestamp(day * DAY_NS), "kind": "split", "value": ratio}
        frame = pd.DataFrame([new | {"origin": DERIVED}])[list(self.actions.columns)]
        joined = pd.concat([self.actions, frame]) if len(self.actions) else frame
        self.actions = joined.sort_values(["ex_date", "symbol", "kind"], ignore_index=True, kind="stable")

    def _rows(self, symbol: str, kind: str) -> pd.DataFrame:
        return self.actions[(self.actions["symbol"] == symbol) & (self.actions["kind"] == kind)]

    def _note(self, finding: Finding, day: int, kind: str, old: float, new: float, action: str, reason: str) -> None:
        self.entries.append(
            Entry("actions", finding.symbol, day * DAY_NS, 0, kind, old, new, finding.rule, action, reason)
        )


def repair(work: Work, records: Records, finding: Finding, policy: CleaningPolicy) -> Why:
    """Do what the policy says about a finding on actions."""
    action = policy.action(finding.rule)
    day = nanoseconds(finding.session) // DAY_NS
    if action == "record":
        return _record(work, records, finding, day)
    if action == "move":
        return _move(work, records, finding, day)
    if finding.rule == "split_applied_twice":
        return _twice(work, records, finding, day)
    kind = "dividend" if finding.rule == "wrong_dividend" else "split"
    done = records.remove(finding, day, kind, "remove", finding.detail)
    return None if done else "it is not on record on that day"


def _record(work: Work, records: Records, finding: Finding, day: int) -> Why:
    seen = _move_at(work, finding.symbol, day)
    if seen is None:
        return "there is no price to read the ratio from"
    ratio = finding.expected if finding.expected > 0 else _nearest(seen)
    records.add(finding, day, ratio, "record", f"the open shows {np.exp(seen):.4g} new shares for one")
    return None


def _move(work: Work, records: Records, finding: Finding, day: int) -> Why:
    """Move a split to the one session nearby at which the price moved by it."""
    listed = [split for split in records.near(finding.symbol, day) if np.isclose(split[1], finding.value)]
    if len(listed) != 1:
        return "the record may be wrong, or the prices adjusted already"
    ex_date, ratio = listed[0]
    first, stop = work.bounds(finding.symbol)
    low, high = np.searchsorted(work.ns[first:stop] // DAY_NS, [ex_date - NEAR_DAYS, ex_date + NEAR_DAYS + 1])
    days = sorted({int(work.ns[row]) // DAY_NS for row in range(first + int(low), first + int(high))})
    moved = [one for one in days if one != day and _shows(_move_at(work, finding.symbol, one), ratio)]
    if len(moved) != 1:
        return "no one session nearby shows it: the record may be wrong, or the prices adjusted already"
    reason = f"the price moved by it on {np.datetime64(moved[0], 'D')}, not on {np.datetime64(ex_date, 'D')}"
    records.remove(finding, ex_date, "split", "move", reason)
    records.add(finding, moved[0], ratio, "move", reason)
    return None


def _twice(work: Work, records: Records, finding: Finding, day: int) -> Why:
    """Of the same split on record twice, keep the one that the price shows."""
    same = [split for split in records.near(finding.symbol, day) if np.isclose(split[1], finding.value)]
    shown = [ex_date for ex_date, ratio in same if _shows(_move_at(work, finding.symbol, ex_date), ratio)]
    if len(same) < 2 or len(shown) != 1:
        return "which of the records is right is not known"
    for ex_date, _ in same:
        if ex_date != shown[0]:
            reason = f"on record twice; the price moved by it once, on {np.datetime64(shown[0], 'D')}"
            records.remove(finding, ex_date, "split", "remove", reason)
    return None


def _move_at(work: Work, symbol: str, day: int) -> float | None:
    """By how much the first open on or after a day is below the close before, in logs; None without either."""
    first, stop = work.bounds(symbol)
    row = first + int(np.searchsorted(work.ns[first:stop], day * DAY_NS))
    while row < stop and row in work.gone:
        row += 1
    if row >= stop or row == first:
        return None
    before, now = work.before(symbol, row), work.bar(row)[OPEN]
    return None if before is None or not now > 0 else float(np.log(before / now))


def _shows(seen: float | None, ratio: float) -> bool:
    return seen is not None and abs(seen - float(np.log(ratio))) < min(_SHOWS, 0.5 * abs(float(np.log(ratio))))


def _nearest(seen: float) -> float:
    ratio = float(np.exp(LOG_RATIOS[np.argmin(np.abs(LOG_RATIOS - seen))]))
    return round(ratio, 6) if ratio >= 1 else 1 / round(1 / ratio, 6)


def _days(rows: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    days: np.ndarray[tuple[int], np.dtype[np.int64]] = (
        rows["ex_date"].to_numpy(dtype="datetime64[ns]").view(np.int64) // DAY_NS
    )
    return days
