"""Bars by the minute against the exchange's hours: half-days, lunch breaks and changes of the clocks included."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from workbench.data.quality.report import Found
from workbench.data.quality.tape import Floats, Hours, Ints, Mask, Tape, moment
from workbench.data.rows import BarRows
from workbench.data.rules import DENSE

_MINUTE = 60_000_000_000
_STEP = 30 * _MINUTE  # what zones differ by
_NEAR = 5 * _MINUTE  # how late a quiet symbol's first bar, or how early its last one, may be
_PAUSE = 150 * _MINUTE  # without bars: another day begins
_FILLED = 0.1  # of a session's minutes that a shifted day must have
_CHANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Day:
    """One symbol's bars by the session they belong to, shape (D,) each.

    The rows of a session's day are ``first:stop``, those within its hours ``opened:closed``; ``inside`` counts
    minutes within the hours, each once.
    """

    first: Ints
    stop: Ints
    opened: Ints
    closed: Ints
    inside: Ints
    expected: Ints

    @property
    def count(self) -> Ints:
        return self.stop - self.first


def judge(tape: Tape, found: Found) -> dict[str, Ints]:
    """Missing and extra minutes and shifted hours; returns the days with bars of every symbol, for their sessions."""
    present = {}
    for symbol, where in tape.rows:
        ns = tape.ns[where]
        if not len(ns) or not len(tape.hours.day):
            present[symbol] = np.empty(0, dtype=np.int64)
            continue
        day = _days(tape, ns)
        covered = _shifts(tape, found, symbol, ns, day)
        _extra(tape, found, symbol, ns, day, covered)
        _missing(tape, found, symbol, ns, day, covered)
        present[symbol] = tape.hours.day[(day.inside > 0) | covered]
    return present


def _days(tape: Tape, ns: Ints) -> Day:
    hours = tape.hours
    edges = np.searchsorted(ns, tape.between)
    first, stop = np.r_[0, edges], np.r_[edges, len(ns)]
    opened, closed = np.searchsorted(ns, hours.open), np.searchsorted(ns, hours.close)
    inside = closed - opened
    expected = (hours.close - hours.open) // _MINUTE
    pause = hours.break_start >= 0
    if pause.any():
        at_lunch = np.searchsorted(ns, hours.break_end) - np.searchsorted(ns, hours.break_start)
        inside = inside - np.where(pause, at_lunch, 0)
        expected = expected - np.where(pause, (hours.break_end - hours.break_start) // _MINUTE, 0)
    twice = ns[1:] == ns[:-1]
    if twice.any():
        before = np.r_[0, 0, np.cumsum(twice)]
        inside = inside - (before[closed] - before[opened])
    return Day(first, stop, opened, closed, inside, expected)


# ---- shifted hours -------------------------------------------------------------------------------------------


def _shifts(tape: Tape, found: Found, symbol: str, ns: Ints, day: Day) -> Mask:
    """Days whose bars begin and end the same multiple of half an hour off; returns the sessions they stand for."""
    hours = tape.hours
    covered = np.zeros(len(hours.day), dtype=bool)
    if not (day.count > day.closed - day.opened).any():
        return covered
    breaks = np.flatnonzero(np.diff(ns) > _PAUSE) + 1
    begin, end = ns[np.r_[0, breaks]], ns[np.r_[breaks, len(ns)] - 1] + _MINUTE
    count = np.diff(np.r_[0, breaks, len(ns)])
    middle = hours.open + (hours.close - hours.open) // 2
    nearest = _nearest(middle, begin + (end - begin) // 2)
    late, over = begin - hours.open[nearest], end - hours.close[nearest]
    shift = np.round((late + over) / 2 / _STEP).astype(np.int64) * _STEP
    off = (shift != 0) & (np.abs(late - shift) <= _NEAR) & (np.abs(over - shift) <= _NEAR)
    off &= count >= _FILLED * day.expected[nearest]
    for start, stop in _stretches(np.where(off, shift, 0)):
        first, last = int(nearest[start]), int(nearest[stop - 1])
        _tell_shift(tape, found, symbol, first, last, int(shift[start]), begin[start], stop - start)
        covered[nearest[start:stop]] = True
    return covered


def _nearest(sorted_values: Ints, wanted: Ints) -> Ints:
    after = np.clip(np.searchsorted(sorted_values, wanted), 1, max(len(sorted_values) - 1, 1))
    after = np.minimum(after, len(sorted_values) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(wanted - sorted_values[before] <= sorted_values[after] - wanted, before, after)


def _stretches(shift: Ints) -> list[tuple[int, int]]:
    """Runs of days with one shift."""
    edges = np.r_[0, np.flatnonzero(np.diff(shift)) + 1, len(shift)]
    return [(int(a), int(b)) for a, b in pairwise(edges) if shift[a]]


def _tell_shift(
    tape: Tape, found: Found, symbol: str, first: int, last: int, shift: int, at: np.int64, count: int
) -> None:
    days = tape.hours.day
    size = abs(shift) / 60 / _MINUTE
    hours = f"{size:g} {'hour' if size == 1 else 'hours'}"
    clocks = ", as when a change of the clocks is missed" if size == 1 and count > 1 else ""
    detail = f"bars of {count} sessions are {hours} too {'late' if shift > 0 else 'early'}{clocks}"
    found.add(
        "time_zone_shift", symbol, moment(days[first]), "block", detail, at=np.datetime64(int(at), "ns"),
        last=moment(days[last]), value=shift / _MINUTE, expected=0.0,
    )  # fmt: skip


# ---- too many, too few ---------------------------------------------------------------------------------------


def _extra(tape: Tape, found: Found, symbol: str, ns: Ints, day: Day, covered: Mask) -> None:
    hours = tape.hours
    outside = (day.count - (day.closed - day.opened)) + _at_lunch(ns, hours)
    cells = np.flatnonzero((outside > 0) & ~covered)
    traded = int((day.count > 0).sum())
    if len(cells) > max(5, traded // 2):  # a feed of extended hours: one word for all of it
        detail = f"bars outside the hours of {tape.calendar.name} in {len(cells)} of {traded} sessions"
        first, last = moment(hours.day[cells[0]]), moment(hours.day[cells[-1]])
        found.add("extra_minutes", symbol, first, "warn", detail, last=last, value=float(outside[cells].sum()))
        return
    for cell in cells.tolist():
        rows = ns[day.first[cell] : day.stop[cell]]
        wrong = (rows < hours.open[cell]) | (rows >= hours.close[cell])
        if hours.break_start[cell] >= 0:
            wrong |= (rows >= hours.break_start[cell]) & (rows < hours.break_end[cell])
        odd = rows[wrong]
        noun = "bar" if len(odd) == 1 else "bars"
        detail = f"{len(odd)} {noun} outside the session, {_clock(odd[0])} to {_clock(odd[-1])} UTC"
        at = np.datetime64(int(odd[0]), "ns")
        found.add("extra_minutes", symbol, moment(hours.day[cell]), "warn", detail, at=at, value=float(len(odd)))


def _at_lunch(ns: Ints, hours: Hours) -> Ints:
    if not (hours.break_start >= 0).any():
        return np.zeros(len(hours.day), dtype=np.int64)
    count = np.searchsorted(ns, hours.break_end) - np.searchsorted(ns, hours.break_start)
    return np.where(hours.break_start >= 0, count, 0)


def _missing(tape: Tape, found: Found, symbol: str, ns: Ints, day: Day, covered: Mask) -> None:
    there = (day.inside > 0) & ~covered
    if not there.any():
        return
    share = float(np.median(day.inside[there] / day.expected[there]))
    shortest = 1 if share >= DENSE else _improbable(share, int(day.expected[there].sum()))
    short = there & (day.expected - day.inside >= shortest)
    for cell in np.flatnonzero(short).tolist():
        _gaps(tape, found, symbol, ns[day.opened[cell] : day.closed[cell]], cell, shortest)


def _improbable(share: float, minutes: int) -> int:
    """The shortest gap that chance would make in less than a thousandth of such histories, minutes by themselves."""
    return int(np.ceil(np.log(_CHANCE / max(minutes, 1)) / np.log(max(1 - share, 1e-9))))


def _gaps(tape: Tape, found: Found, symbol: str, ns: Ints, cell: int, shortest: int) -> None:
    hours = tape.hours
    grid = np.arange(hours.open[cell], hours.close[cell], _MINUTE)
    if hours.break_start[cell] >= 0:
        grid = grid[(grid < hours.break_start[cell]) | (grid >= hours.break_end[cell])]
        ns = ns[(ns < hours.break_start[cell]) | (ns >= hours.break_end[cell])]
    lost = np.ones(len(grid), dtype=bool)
    places = np.searchsorted(grid, ns - ns % _MINUTE)
    lost[places[places < len(grid)]] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[False], lost, [False]]).view(np.int8)))
    session = moment(hours.day[cell])
    for first, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if stop - first >= shortest:
            noun = "minute is" if stop - first == 1 else "minutes are"
            until = "" if stop - first == 1 else f" to {_clock(grid[stop - 1])}"
            detail = f"{stop - first} {noun} missing, {_clock(grid[first])}{until} UTC"
            at = np.datetime64(int(grid[first]), "ns")
            found.add("missing_minutes", symbol, session, "warn", detail, at=at, value=float(stop - first))


def _clock(ns: np.int64) -> str:
    return str(np.datetime64(int(ns), "ns").astype("datetime64[m]"))[11:16]


def by_session(tape: Tape) -> BarRows:
    """Daily bars out of the good minutes within the hours, for rules about sessions."""
    hours, names, counts, parts = tape.hours, [], [0], []
    for symbol, where in tape.rows:
        columns = _one_by_session(tape, where, hours)
        if columns is not None:
            names.append(symbol)
            counts.append(len(columns[0]))
            parts.append(columns)
    merged: list[Floats] = [np.concatenate([part[k] for part in parts]) if parts else np.empty(0) for k in range(6)]
    at = (merged[0].astype(np.int64) * 86_400_000_000_000).view("datetime64[ns]")
    offsets = np.cumsum(counts).astype(np.int64)
    open_, high, low, close, volume = merged[1:]
    return BarRows(tuple(names), offsets, at, open_, high, low, close, volume, snapshot=tape.rows.snapshot)


def _one_by_session(
    tape: Tape, where: slice, hours: Hours
) -> tuple[Ints, Floats, Floats, Floats, Floats, Floats] | None:
    rows = tape.rows
    fine = tape.good[where]
    part: slice | Ints = where if fine.all() else np.flatnonzero(fine) + where.start
    ns = tape.ns[part]
    opened, closed = np.searchsorted(ns, hours.open), np.searchsorted(ns, hours.close)
    traded = closed > opened
    a, b = opened[traded], closed[traded]
    if not len(a):
        return None
    index = np.column_stack([a, b]).ravel()

    def over(values: Floats, ufunc: np.ufunc, fill: float) -> Floats:
        reduced: Floats = ufunc.reduceat(np.append(values[part], fill), index)[::2]
        return reduced

    return (
        hours.day[traded], rows.open[part][a], over(rows.high, np.maximum, -np.inf),
        over(rows.low, np.minimum, np.inf), rows.close[part][b - 1], over(rows.volume, np.add, 0.0),
    )  # fmt: skip
