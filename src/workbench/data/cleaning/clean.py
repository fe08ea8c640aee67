"""From raw bars and a policy to cleaned bars, a ledger, and what was left alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from workbench.calendars import Calendar
from workbench.data.cleaning import _bars, _fills, _records, ledger, reasons
from workbench.data.cleaning._bars import Why, nanoseconds
from workbench.data.cleaning._work import DAY_NS, Entry, Work
from workbench.data.cleaning.policy import CleaningPolicy
from workbench.data.cleaning.report import Cleaned, Left
from workbench.data.quality import Acceptance, QualityReport, check
from workbench.data.quality.report import Finding
from workbench.data.quality.tape import Hours
from workbench.data.rows import BarRows

if TYPE_CHECKING:
    import pandas as pd

# In the order in which they are repaired: what a bar is, what it was measured in, what it says, what is missing.
_ORDER = (
    "duplicate",
    "conflicting_duplicate",
    "extra_session",
    "extra_minutes",
    "unit_error",
    "bad_value",
    "absurd_price",
    "outlier",
    "price_order",
    "zero_volume",
    "stale_run",
)
_RECORDS = ("split_applied_twice", "split_not_in_price", "unapplied_split", "wrong_dividend")
_FILLED = ledger.FILLS
# A repair can bring another fault to light: a high that was measured against a close in cents.
_MOST_ROUNDS = 5
_DEFAULTS = CleaningPolicy()
# A finding that was repaired: rule, symbol, time (ns) and field. Found again, it is not tried again.
Done = tuple[str, str, int, str]


def clean(
    rows: BarRows,
    actions: pd.DataFrame,
    calendar: Calendar,
    policy: CleaningPolicy | None = None,
    *,
    notices: pd.DataFrame | None = None,
    listings: pd.DataFrame | None = None,
    acceptances: Sequence[Acceptance] = (),
    today: date | None = None,
    progress: Callable[[str], None] | None = None,
) -> Cleaned:
    """Repair what the policy says, and say what was done and what was left.

    Nothing is filled before the first bar, after the last, across a delisting or before a listing, or beyond
    ``policy.max_fill`` sessions. Cleaning what was cleaned changes nothing.

    Parameters
    ----------
    rows
        Raw bars, daily or by the minute; they are not changed.
    actions, notices, listings, acceptances, today
        As :func:`workbench.data.quality.check` takes them; a finding that a person accepted is not repaired.
    policy
        The defaults if None, which repair only what has one right answer.
    progress
        Is told what is being done.

    Raises
    ------
    DataError
        If prices are adjusted.

    Example
    -------
    >>> import pandas as pd
    >>> from workbench.calendars import calendar
    >>> from workbench.data.dataset import no_actions
    >>> bar = {"symbol": "IBM", "open": 194.0, "high": 193.0, "low": 193.0, "close": 193.5, "volume": 9e6}
    >>> rows = BarRows.from_frame(pd.DataFrame([bar | {"session": pd.Timestamp("2013-01-03")}]))
    >>> cleaned = clean(rows, no_actions(), calendar("XNYS"))
    >>> cleaned.repairs[["field", "old", "new", "rule", "action"]].values.tolist()
    [['high', 193.0, 194.0, 'price_order', 'widen']]
    """
    policy = policy or CleaningPolicy()
    tell = progress or (lambda _: None)

    def judge(bars: BarRows, recorded: pd.DataFrame) -> QualityReport:
        return check(
            bars,
            recorded,
            calendar,
            notices=notices,
            listings=listings,
            acceptances=acceptances,
            today=today,
            most=None,
        )

    tell("checking")
    before = after = judge(rows, actions)
    cleaned, corrected, entries = rows, actions, list[Entry]()
    left: list[Left] = []
    done: set[Done] = set()
    for number in range(_MOST_ROUNDS):
        tell(f"repairing, pass {number + 1}")
        work = Work(cleaned, ledger.lost(entries))
        records = _records.Records(corrected)
        left = _pass(work, records, after.told, policy, _known(cleaned, corrected, calendar, listings, after), done)
        if not work.entries and not records.entries:
            break
        entries += [*work.entries, *records.entries]
        cleaned, corrected = work.result(), records.actions
        tell("checking again")
        after = judge(cleaned, corrected)
    else:
        left = [Left(finding, "found after the last pass") for finding in after.told]
    repairs = ledger.ledger(entries, policy.digest)
    return Cleaned(
        rows=cleaned,
        repairs=repairs,
        changes=ledger.changes(rows, cleaned, repairs),
        actions=corrected,
        action_changes=ledger.action_changes(actions, corrected),
        left=tuple(left),
        policy=policy,
        before=before,
        after=after,
    )


def _pass(
    work: Work,
    records: _records.Records,
    told: Sequence[Finding],
    policy: CleaningPolicy,
    known: _fills.Known,
    done: set[Done],
) -> list[Left]:
    """Repair what can be, in order, and remember it in ``done``; return what was left alone, and why."""
    left: list[Left] = []
    wanted: dict[str, list[Finding]] = {}
    misplaced = {(one.symbol, one.session) for one in told if one.rule == "missing_sessions"}
    for finding in told:
        why = _left_alone(finding, policy, done)
        if why is None and finding.rule == "extra_session" and _beside_a_gap(finding, misplaced, known.hours):
            why = "the session beside it is missing: the bar may belong there"
        if why is None:
            wanted.setdefault(finding.rule, []).append(finding)
        else:
            left.append(Left(finding, why))

    def each(rules: Sequence[str], repair: Callable[[Finding], Why]) -> None:
        for rule in rules:
            for finding in sorted(wanted.get(rule, ()), key=lambda one: (one.symbol, one.at)):
                why = repair(finding)
                if why is None:
                    done.add(_name(finding))
                else:
                    left.append(Left(finding, why))

    each(_ORDER, lambda finding: _bars.repair(work, finding, policy))
    if work.table == "bars":
        each(_RECORDS, lambda finding: _records.repair(work, records, finding, policy))
    else:
        each(_RECORDS, lambda _: "records are repaired on daily bars")
    _fills.refill(work, known, policy)
    each(_FILLED, lambda finding: _fills.fill(work, finding, policy, known))
    return left


def _name(finding: Finding) -> Done:
    return finding.rule, finding.symbol, nanoseconds(finding.at), finding.field


def _left_alone(finding: Finding, policy: CleaningPolicy, done: set[Done]) -> str | None:
    action = policy.action(finding.rule)
    if action == "accept":
        return reasons.ACCEPTED
    if action == "keep":
        return reasons.kept(finding.rule, _DEFAULTS.action(finding.rule))
    if _name(finding) in done:
        return "it was repaired, and is found again: somebody has to look"
    return None


def _beside_a_gap(finding: Finding, gaps: set[tuple[str, np.datetime64]], hours: Hours) -> bool:
    """Whether the session before or after a bar on a closed day has no bar of the symbol."""
    place = int(np.searchsorted(hours.day, nanoseconds(finding.session) // DAY_NS))
    beside = [np.datetime64(int(day) * DAY_NS, "ns") for day in hours.day[max(0, place - 1) : place + 1]]
    return any((finding.symbol, day) in gaps for day in beside)


def _known(
    rows: BarRows, actions: pd.DataFrame, calendar: Calendar, listings: pd.DataFrame | None, report: QualityReport
) -> _fills.Known:
    splits: dict[str, list[tuple[int, float]]] = {}
    listed = actions[actions["kind"] == "split"]
    days = listed["ex_date"].to_numpy(dtype="datetime64[ns]").view(np.int64)
    for symbol, day, ratio in zip(listed["symbol"], days.tolist(), listed["value"], strict=True):
        splits.setdefault(str(symbol), []).append((day, float(ratio)))
    reused = frozenset(
        (one.symbol, nanoseconds(one.session) // DAY_NS) for one in report.told if one.rule == "ticker_reuse"
    )
    ns = rows.at.astype("datetime64[ns]", copy=False).view(np.int64)
    first, last = (int(ns.min()) // DAY_NS - 1, int(ns.max()) // DAY_NS + 1) if len(ns) else (1, 0)
    return _fills.Known(Hours(calendar, first, last), listings, splits, reused)
