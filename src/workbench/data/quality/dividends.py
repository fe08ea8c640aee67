"""Dividends on record against what the open did, and against the symbol's other dividends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.data.quality.jumps import overnight_of
from workbench.data.quality.recorded import on_tick
from workbench.data.quality.report import Found
from workbench.data.quality.series import Series
from workbench.data.quality.tape import TO_SIGMA, Floats, Ints, among, day_text, moment

_SIDE = 60
_TIMES = 5.0  # the symbol's other dividends
_WIDTH = 5.0  # robust standard deviations of the overnight return
_LARGE = 0.02  # of the price; less than that is not looked for in other nights
_NEAR = 5  # sessions in which a dividend may have gone ex instead
_TWICE_DAYS = 10
_CADENCE = 15  # days that a dividend may be off the middle of its neighbours
_CADENCE_WIDTH = 8.0  # robust standard deviations of that
_FELL = 0.25  # of a fall that may be missing or too much
_SURE = 0.25  # standard error of the share of its dividends that a price fell by
_ON_TICK, _OFF_TICK = 0.9, 0.5


@dataclass(frozen=True, slots=True)
class Paid:
    """K dividends on record of one symbol, by ex-date, each with the bar it works from, shape (K,).

    ``drop`` is the log fall at the open that it should make, ``gap`` the log return overnight there was, without
    splits, ``noise`` its robust standard deviation.
    """

    bar: Ints
    day: Ints
    amount: Floats
    before: Floats
    drop: Floats
    gap: Floats
    noise: Floats


def judge(series: Series, found: Found) -> None:
    """Every dividend on record of one symbol."""
    paid = _paid(series)
    if paid is None:
        return
    told: set[int] = set()
    _off_calendar(series, found, paid, told)
    _twice(series, found, paid, told)
    _impossible(series, found, paid, told)
    _in_cents(series, found, paid, told)
    _other_night(series, found, paid, told)
    _unlike_others(series, found, paid, told)
    _off_cadence(series, found, paid, told)
    _adjusted(series, found, paid, told)


def _paid(series: Series) -> Paid | None:
    listed = series.tape.recorded(series.symbol, ("dividend", "special_dividend"))
    days = np.array([day for day, _, _ in listed], dtype=np.int64)
    amounts = np.array([amount for _, _, amount in listed], dtype=np.float64)
    bars = np.searchsorted(series.days, days)
    inside = (bars > 0) & (bars < len(series))
    if not inside.any():
        return None
    bars, days, amounts = bars[inside], days[inside], amounts[inside]
    overnight = overnight_of(series) + series.splits
    before = series.close[bars - 1] / np.exp(series.splits[bars])
    share = np.minimum(amounts / before, 0.999)
    noise = np.array([_spread(overnight, int(bar)) for bar in bars])
    return Paid(bars, days, amounts, before, -np.log1p(-share), overnight[bars], noise)


def _spread(overnight: Floats, bar: int) -> float:
    around = np.r_[overnight[max(1, bar - _SIDE) : bar], overnight[bar + 1 : bar + 1 + _SIDE]]
    return max(0.003, TO_SIGMA * float(np.median(np.abs(around)))) if len(around) >= 5 else 0.02


# ---- misplaced -----------------------------------------------------------------------------------------------


def _off_calendar(series: Series, found: Found, paid: Paid, told: set[int]) -> None:
    hours = series.tape.hours
    known = (paid.day >= hours.first) & (paid.day <= hours.last)
    for k in np.flatnonzero(known & ~among(paid.day, hours.day)).tolist():
        name = series.tape.calendar.name
        detail = f"{paid.amount[k]:g} USD are on record for {day_text(paid.day[k])}, when {name} was closed"
        _misplaced(series, found, paid, k, int(series.days[paid.bar[k]]), detail)
        told.add(k)


def _twice(series: Series, found: Found, paid: Paid, told: set[int]) -> None:
    for k in np.flatnonzero((np.diff(paid.day) <= _TWICE_DAYS) & (np.diff(paid.amount) == 0)).tolist():
        detail = f"{paid.amount[k]:g} USD are on record for {day_text(paid.day[k])} and {day_text(paid.day[k + 1])}"
        _misplaced(series, found, paid, k + 1, int(paid.day[k]), detail)
        told.update((k, k + 1))


def _other_night(series: Series, found: Found, paid: Paid, told: set[int]) -> None:
    """Dividends large enough to see, that the open fell by in another of the nights around."""
    overnight = overnight_of(series) + series.splits
    for k in _unseen(paid):
        if k in told or paid.drop[k] < _LARGE:
            continue
        bar = int(paid.bar[k])
        nights = np.arange(max(1, bar - _NEAR), min(len(series), bar + _NEAR + 1))
        off = np.abs(overnight[nights] + paid.drop[k])
        best = int(nights[np.argmin(off)])
        if best != bar and off.min() <= max(2 * paid.noise[k], 0.35 * paid.drop[k]):
            detail = (
                f"{paid.amount[k]:g} USD are on record, but the open fell by as much on {day_text(series.days[best])}"
            )
            _misplaced(series, found, paid, k, int(series.days[best]), detail)
            told.add(k)


def _off_cadence(series: Series, found: Found, paid: Paid, told: set[int]) -> None:
    """Dividends far from the middle between the one before and the one after, of a symbol that pays regularly."""
    if len(paid.day) < 6:
        return
    off = paid.day[1:-1] - (paid.day[:-2] + paid.day[2:]) / 2
    usual = TO_SIGMA * float(np.median(np.abs(off)))
    size = np.abs(np.r_[0.0, off, 0.0])
    limit = max(_CADENCE, _CADENCE_WIDTH * usual)
    spacing = float(np.median(np.diff(paid.day)))
    for k in np.flatnonzero(size > limit).tolist():
        regular = abs(paid.day[k + 1] - paid.day[k - 1] - 2 * spacing) <= 0.2 * spacing
        if k not in told and regular and size[k] >= max(size[k - 1], size[k + 1]):
            middle = int((paid.day[k - 1] + paid.day[k + 1]) // 2)
            detail = f"{paid.amount[k]:g} USD are {size[k]:.0f} days off the rhythm of the symbol's others"
            _misplaced(series, found, paid, k, middle, detail)
            told.add(k)


# ---- wrong ---------------------------------------------------------------------------------------------------


def _impossible(series: Series, found: Found, paid: Paid, told: set[int]) -> None:
    for k in np.flatnonzero(paid.amount >= paid.before).tolist():
        if k not in told:
            detail = f"{paid.amount[k]:g} USD on a share of {paid.before[k]:g}"
            _wrong(series, found, paid, k, float("nan"), detail)
            told.add(k)


def _in_cents(series: Series, found: Found, paid: Paid, told: set[int]) -> None:
    """Dividends of which the open fell by a hundred times as much, far beyond its noise: dollars taken for cents."""
    amounts = 100 * paid.amount
    drop = -np.log1p(-np.minimum(amounts / paid.before, 0.999))
    fits = (np.abs(paid.gap + drop) <= np.maximum(2 * paid.noise, _FELL * drop)) & (
        drop > _TIMES * paid.drop + _WIDTH * paid.noise
    )
    for k in np.flatnonzero(fits).tolist():
        if k not in told:
            detail = (
                f"{paid.amount[k]:g} USD, and the open fell by {-np.expm1(paid.gap[k]):.1%}, as by a hundred times that"
            )
            _wrong(series, found, paid, k, float(amounts[k]), detail)
            told.add(k)


def _unlike_others(series: Series, found: Found, paid: Paid, told: set[int]) -> None:
    """Dividends that are unlike the symbol's others and that the open knew nothing of."""
    share = paid.amount / paid.before
    unseen = set(_unseen(paid))
    for k in range(len(share)):
        if k in told:
            continue
        others = np.r_[share[max(0, k - 8) : k], share[k + 1 : k + 9]]
        usual = float(np.median(others)) if len(others) >= 3 else 0.0
        neighbours = share[[i for i in (k - 1, k + 1) if 0 <= i < len(share)]]
        large = k in unseen and (share[k] >= _TIMES * usual if usual else paid.drop[k] >= 0.05)
        small = len(neighbours) == 2 and share[k] * _TIMES <= float(neighbours.min())
        if large or small:
            expected = usual * paid.before[k] if usual else float("nan")
            fell = f"the open went {np.expm1(paid.gap[k]):+.1%}"
            detail = (
                f"{paid.amount[k]:g} USD, {share[k]:.2%} of the price; the others are about {usual:.2%}, and {fell}"
            )
            _wrong(series, found, paid, k, expected, detail)
            told.add(k)


def _unseen(paid: Paid) -> list[int]:
    """Dividends that the open plainly did not fall by."""
    missed = paid.gap + paid.drop
    seen: list[int] = np.flatnonzero((missed > _WIDTH * paid.noise) & (paid.gap > -0.5 * paid.drop)).tolist()
    return seen


# ---- adjusted already ----------------------------------------------------------------------------------------


def _adjusted(series: Series, found: Found, paid: Paid, told: set[int]) -> None:
    """Whether the opens, all taken together, fell by none of the dividends on record; those told of are left out."""
    if len(paid.bar) - len(told) < 4 or series.splits.any():
        return  # of a symbol with splits those are asked: they are plainer
    kept = np.array([k not in told for k in range(len(paid.bar))])
    drop, gap, noise = paid.drop[kept], paid.gap[kept], paid.noise[kept]
    weight = (drop / noise) ** 2
    share = float(np.sum(-gap * drop / noise**2) / np.sum(weight))
    error = 1.25 / float(np.sqrt(np.sum(weight)))
    last = int(paid.bar[-1])
    before, after = series.close[max(0, last - 250) : last], series.close[last : last + 250]
    off_tick = len(after) >= 5 and on_tick(after) >= _ON_TICK and on_tick(before) <= _OFF_TICK
    if (error < _SURE and share + 3.5 * error < 1 and share < 0.4) or (off_tick and share + error < 1.5):
        detail = f"{len(drop)} dividends are on record, and opens fell by {share:.0%} of them"
        found.add(
            "pre_adjusted", series.symbol, moment(series.days[0]), "block", f"{detail}: prices are adjusted already",
            at=series.tape.rows.at[series.rows[0]], last=moment(series.days[last - 1]), value=share, expected=1.0,
        )  # fmt: skip


# ---- words ---------------------------------------------------------------------------------------------------


def _misplaced(series: Series, found: Found, paid: Paid, k: int, day: int, detail: str) -> None:
    session = moment(series.days[paid.bar[k]])
    at = series.tape.rows.at[series.rows[paid.bar[k]]]
    found.add("misplaced_dividend", series.symbol, session, "warn", detail, at=at, last=max(moment(day), session),
              field="dividend", value=paid.amount[k])  # fmt: skip


def _wrong(series: Series, found: Found, paid: Paid, k: int, expected: float, detail: str) -> None:
    at = series.tape.rows.at[series.rows[paid.bar[k]]]
    found.add("wrong_dividend", series.symbol, moment(series.days[paid.bar[k]]), "warn", detail, at=at,
              field="dividend", value=paid.amount[k], expected=expected)  # fmt: skip
