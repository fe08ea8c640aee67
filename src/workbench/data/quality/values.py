"""What single bars say by themselves: impossible numbers, prices out of order, duplicates."""

from __future__ import annotations

import numpy as np

from workbench.data.dataset import FIELDS
from workbench.data.quality.report import Found
from workbench.data.quality.rules import HIGHEST_USD, LOWEST_USD, WIDEST, Severity
from workbench.data.quality.tape import Floats, Ints, Mask, Tape


def judge(tape: Tape, found: Found) -> None:
    """Every rule that needs one bar, or two with the same time."""
    rows, good = tape.rows, tape.good
    if not len(rows):
        return
    bad = np.flatnonzero(~good)
    found.add_rows("bad_value", bad, "block", tape.bar, field=lambda row: _impossible(tape, row)[0],
                   value=lambda row: _impossible(tape, row)[1])  # fmt: skip
    _order(tape, found)
    absurd = good & ((rows.high > HIGHEST_USD) | (rows.low < LOWEST_USD) | (rows.high > WIDEST * rows.low))
    found.add_rows("absurd_price", np.flatnonzero(absurd), "block", tape.bar)
    _untraded(tape, found)
    _duplicates(tape, found)


def _untraded(tape: Tape, found: Found) -> None:
    """Bars without volume whose prices moved; flat at the close before is how a halt is written."""
    rows = tape.rows
    none = np.flatnonzero((rows.volume == 0) & tape.good)
    if not len(none):
        return
    first = np.isin(none, rows.offsets[:-1])
    before = np.where(first, rows.open[none], rows.close[np.maximum(none - 1, 0)])
    flat = (rows.high[none] == rows.low[none]) & (rows.close[none] == before)
    found.add_rows("zero_volume", none[~flat], "warn", tape.bar, field="volume", value=lambda row: 0.0)
    if tape.decided is None:
        return
    today = none[flat & (tape.sessions(none) == tape.decided)]
    if len(today) and tape.daily:
        found.add_rows(
            "stale", today, "warn", lambda row: f"nothing was traded; the price of {rows.close[row]:g} is an older one"
        )


def _impossible(tape: Tape, row: int) -> tuple[str, float]:
    """The first field of a bar that cannot be, and what it is."""
    for name in FIELDS:
        number = float(getattr(tape.rows, name)[row])
        if not (np.isfinite(number) and (number >= 0 if name == "volume" else number > 0)):
            return name, number
    return "", float("nan")


def _order(tape: Tape, found: Found) -> None:
    rows = tape.rows
    highest, lowest = np.maximum(rows.open, rows.close), np.minimum(rows.open, rows.close)
    disorder = ((rows.high < highest) | (rows.low > lowest) | (rows.high < rows.low)) & tape.good

    def severity(row: int) -> Severity:
        decided = tape.decided is not None and tape.sessions(np.array([row]))[0] == tape.decided
        return "block" if decided else "warn"

    def field(row: int) -> str:
        return "high" if rows.high[row] < highest[row] else "low"

    found.add_rows(
        "price_order", np.flatnonzero(disorder), severity, tape.bar, field=field,
        value=lambda row: rows.high[row] if field(row) == "high" else rows.low[row],
        expected=lambda row: highest[row] if field(row) == "high" else lowest[row],
    )  # fmt: skip


def _duplicates(tape: Tape, found: Found) -> None:
    rows, ns = tape.rows, tape.ns
    same_time = ns[1:] == ns[:-1]
    starts = rows.offsets[1:-1]
    same_time[starts[(starts > 0) & (starts < len(ns))] - 1] = False
    twice = np.flatnonzero(same_time) + 1
    if not len(twice):
        return
    same = np.logical_and.reduce([_equal(getattr(rows, name), twice) for name in FIELDS])
    found.add_rows("duplicate", twice[same], "warn", lambda row: f"twice, and the same: {tape.bar(row)}")
    found.add_rows(
        "conflicting_duplicate", twice[~same], "block",
        lambda row: f"{tape.bar(row - 1)}, and again {tape.bar(row)}",
    )  # fmt: skip


def _equal(values: Floats, rows: Ints) -> Mask:
    one, two = values[rows], values[rows - 1]
    same: Mask = (one == two) | (np.isnan(one) & np.isnan(two))
    return same
