"""What single bars say by themselves: impossible numbers, prices out of order, duplicates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.data.dataset import FIELDS
from workbench.data.quality.market import CRASH, moved_together
from workbench.data.quality.report import Found
from workbench.data.quality.series import Series
from workbench.data.quality.tape import Floats, Ints, Mask, Tape, among
from workbench.data.rules import HIGHEST_USD, LOWEST_USD, WIDEST, Severity


def judge(tape: Tape, found: Found) -> Ints:
    """Every rule that needs one bar, or two of one time; returns bars so wide that only a crash explains them."""
    if not len(tape.rows):
        return np.empty(0, dtype=np.int64)
    found.add_rows(
        "bad_value", np.flatnonzero(~tape.good), "block", tape.bar, field=lambda row: _impossible(tape, row)[0],
        value=lambda row: _impossible(tape, row)[1],
    )  # fmt: skip
    disorder, absurd, wide, untraded = _odd(tape)
    _order(tape, found, disorder)
    found.add_rows("absurd_price", absurd, "block", tape.bar)
    _untraded(tape, found, untraded)
    _duplicates(tape, found)
    return wide


def tell_wide(tape: Tape, found: Found, wide: Ints, everyone: Sequence[Series]) -> None:
    """Tell of the bars with an absurd range, unless the market fell or rose with them as on 2010-05-06."""
    if not len(wide):
        return
    rows = tape.rows
    middle = 0.5 * (np.log(rows.open[wide]) + np.log(rows.close[wide]))
    up, down = np.log(rows.high[wide]) - middle, np.log(rows.low[wide]) - middle
    owners = np.searchsorted(rows.offsets, wide, side="right") - 1
    market = moved_together(everyone, tape.ns[wide], np.where(up > -down, up, down), owners, CRASH)
    found.add_rows("absurd_price", wide[~market], "block", tape.bar)


def _odd(tape: Tape) -> tuple[Ints, Ints, Ints, Ints]:
    """Good bars with prices out of order, with absurd ones, with an absurd range, and without volume."""
    parts: list[tuple[Ints, Ints, Ints, Ints]] = []
    for part in tape.parts():
        open_, high, low, close, volume = (getattr(tape.rows, name)[part] for name in FIELDS)
        good = tape.good[part]
        disorder = (high < np.maximum(open_, close)) | (low > np.minimum(open_, close))
        absurd = (high > HIGHEST_USD) | (low < LOWEST_USD)
        wide = (high > WIDEST * low) & ~absurd
        parts.append(
            (
                np.flatnonzero(disorder & good) + part.start,
                np.flatnonzero(absurd & good) + part.start,
                np.flatnonzero(wide & good) + part.start,
                np.flatnonzero((volume == 0) & good) + part.start,
            )
        )
    disorders, absurds, wides, empties = (np.concatenate(column) for column in zip(*parts, strict=True))
    return disorders, absurds, wides, empties


def _untraded(tape: Tape, found: Found, none: Ints) -> None:
    """Bars without volume whose prices moved; flat at the close before is how a halt is written."""
    rows = tape.rows
    if not len(none):
        return
    first = among(none, rows.offsets[:-1])
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


def _order(tape: Tape, found: Found, disorder: Ints) -> None:
    rows = tape.rows

    def ends(row: int) -> tuple[float, float]:
        prices = float(rows.open[row]), float(rows.close[row])
        return max(prices), min(prices)

    def severity(row: int) -> Severity:
        decided = tape.decided is not None and tape.sessions(np.array([row]))[0] == tape.decided
        return "block" if decided else "warn"

    def field(row: int) -> str:
        return "high" if rows.high[row] < ends(row)[0] else "low"

    found.add_rows(
        "price_order", disorder, severity, tape.bar, field=field,
        value=lambda row: float(getattr(rows, field(row))[row]),
        expected=lambda row: ends(row)[0] if field(row) == "high" else ends(row)[1],
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
