"""Is every session there, and none too many? Daily bars against the exchange calendar."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from workbench.data.quality.report import Found
from workbench.data.quality.tape import Ints, Tape, among, day_text, moment
from workbench.data.rules import MAX_GAP, Severity

_SUNDAY, _FRIDAY, _SATURDAY, _MONDAY = 6, 4, 5, 0
# Weeks in a row that make a shift of a single odd bar.
_WEEKS = 2


def judge(tape: Tape, found: Found, present: Mapping[str, Ints]) -> None:
    """Symbols without bars, sessions that are missing or too many, bars shifted by a day.

    ``present``: the days since 1970 on which a symbol has bars, ascending, each once.
    """
    _presence(tape, found, present)
    for symbol, days in present.items():
        if len(days):
            _symbol(tape, found, symbol, days)


def daily(tape: Tape) -> dict[str, Ints]:
    """The days on which every symbol has daily bars."""
    found = {}
    for symbol, where in tape.rows:
        days = tape.days(where)
        fresh = np.ones(len(days), dtype=bool)
        fresh[1:] = days[1:] != days[:-1]
        found[symbol] = days if fresh.all() else days[fresh]
    return found


def _presence(tape: Tape, found: Found, present: Mapping[str, Ints]) -> None:
    ends = {symbol: int(days[-1]) if len(days) else None for symbol, days in present.items()}
    newest = max((end for end in ends.values() if end is not None), default=None)
    last = tape.decided if tape.decided is not None else None if newest is None else moment(newest)
    for symbol, end in ends.items():
        if end is None:
            if last is not None:
                found.add("no_bars", symbol, last, "block" if newest is None else "warn", "no bar in the window")
        elif tape.decided is not None:
            if moment(end) != tape.decided:
                detail = f"the last bar is of {day_text(end)}"
                found.add("stale", symbol, tape.decided, "block", detail, last=tape.decided)
        elif newest is not None and end < newest and not _ended(tape, symbol, end):
            _dropped(tape, found, symbol, end, newest)


def _dropped(tape: Tape, found: Found, symbol: str, end: int, newest: int) -> None:
    """A symbol that ends before others do; the calendar says how many sessions it misses."""
    hours = tape.hours
    missed = hours.day[(hours.day > end) & (hours.day <= newest)]
    if len(missed):
        noun = "session" if len(missed) == 1 else "sessions"
        detail = f"the last bar is of {day_text(end)}; other symbols have the {len(missed)} {noun} after it"
        found.add("dropped_out", symbol, moment(missed[0]), "warn", detail, last=moment(missed[-1]))


def _ended(tape: Tape, symbol: str, end: int) -> bool:
    """Whether a listing says that the ticker's last spell ended by then, give or take a week of settling."""
    lasts = [spell.last for spell in tape.listings.spells(symbol)]
    known = [last for last in lasts if last is not None]
    if not known or len(known) < len(lasts):
        return False
    return bool(np.datetime64(max(known)) <= np.datetime64(int(end) + 7, "D"))


def _symbol(tape: Tape, found: Found, symbol: str, days: Ints) -> None:
    hours = tape.hours
    known = days[(days >= hours.first) & (days <= hours.last)]
    if not len(known):
        return
    expected = hours.day[np.searchsorted(hours.day, known[0]) : np.searchsorted(hours.day, known[-1], side="right")]
    if len(known) == len(expected) and np.array_equal(known, expected):
        return
    missing = expected[~among(expected, known)]
    extra = known[~among(known, expected)]
    for first, last, word in _shifts(extra, missing):
        found.add(
            "time_zone_shift", symbol, moment(first), "block",
            f"bars are dated a day too {word} from {day_text(first)} to {day_text(last)}", last=moment(last),
        )  # fmt: skip
        missing = missing[(missing < first - 6) | (missing > last + 6)]
        extra = extra[(extra < first) | (extra > last)]
    for day in extra.tolist():
        detail = f"{tape.calendar.name} was closed on this {_weekday(day)}"
        found.add("extra_session", symbol, moment(day), "warn", detail)
    _gaps(found, symbol, expected, missing)


def _gaps(found: Found, symbol: str, expected: Ints, missing: Ints) -> None:
    """Runs of missing sessions."""
    if not len(missing):
        return
    places = np.searchsorted(expected, missing)
    starts = np.flatnonzero(np.diff(places, prepend=-2) > 1)
    for begin, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(places)], strict=True):
        count = stop - begin
        first, last = int(missing[begin]), int(missing[stop - 1])
        severity: Severity = "warn" if count <= MAX_GAP else "block"
        until = "" if count == 1 else f", up to {day_text(last)}"
        noun = "session is" if count == 1 else "sessions are"
        detail = f"{count} {noun} missing{until}"
        found.add("missing_sessions", symbol, moment(first), severity, detail, last=moment(last))


def _shifts(extra: Ints, missing: Ints) -> list[tuple[int, int, str]]:
    """Stretches of weeks whose bars are dated a day too early (Sundays for Mondays) or too late."""
    found = []
    for odd, lost, way, word in ((_SUNDAY, _FRIDAY, 5, "early"), (_SATURDAY, _MONDAY, -5, "late")):
        there = extra[(extra + 3) % 7 == odd]
        there = there[among(there + way, missing[(missing + 3) % 7 == lost])]
        if not len(there):
            continue
        starts = np.flatnonzero(np.diff(there, prepend=there[0] - 1000) > 14)
        for begin, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(there)], strict=True):
            if stop - begin >= _WEEKS:
                bounds = sorted(
                    (int(there[begin]), int(there[stop - 1] + way), int(there[stop - 1]), int(there[begin] + way))
                )
                found.append((bounds[0], bounds[-1], word))
    return found


def _weekday(day: int) -> str:
    return ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")[(day + 3) % 7]
