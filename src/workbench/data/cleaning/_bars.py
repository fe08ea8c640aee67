"""Repairs of bars that are there: each takes a finding and says what it did, or why it did nothing."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from statistics import median

import numpy as np

from workbench.data.cleaning._work import CLOSE, DAY_NS, HIGH, LOW, NAN, OPEN, PRICES, VOLUME, Work
from workbench.data.cleaning.policy import CleaningPolicy
from workbench.data.dataset import FIELDS
from workbench.data.quality.report import Finding
from workbench.data.rules import UNITS

# What a repair answers: None if it repaired something, else why it did not.
Why = str | None
_GONE = "the bar was taken out for another reason"
_NOTHING_BEFORE = "there is no bar before it"
_NOTHING_AFTER = "there is no bar after it"


def repair(work: Work, finding: Finding, policy: CleaningPolicy) -> Why:
    """Do what the policy says about a finding on bars that are there."""
    action = policy.action(finding.rule)
    if finding.rule in ("duplicate", "conflicting_duplicate"):
        return _duplicates(work, finding, action)
    if finding.rule == "unit_error" and action == "divide":
        return _units(work, finding)
    if finding.rule == "stale_run":
        return _stale_run(work, finding)
    rows = work.rows_at(finding.symbol, nanoseconds(finding.at))
    if not rows:
        return _GONE
    if action == "drop":
        for row in rows:
            work.drop(finding.symbol, row, finding.rule, action, finding.detail)
        return None
    if action == "widen":
        return _first_why(_widen(work, finding, row, policy.max_widen) for row in rows)
    return _first_why(_replace(work, finding, row, action) for row in rows)


def nanoseconds(moment: np.datetime64) -> int:
    """A moment in ns since 1970."""
    return int(moment.astype("datetime64[ns]").astype(np.int64))


def _first_why(answers: object) -> Why:
    found = list(answers)  # type: ignore[call-overload]
    return None if None in found else found[0]


def _duplicates(work: Work, finding: Finding, action: str) -> Why:
    rows = work.rows_at(finding.symbol, nanoseconds(finding.at))
    if len(rows) < 2:
        return _GONE
    doomed = {"first": rows[1:], "last": rows[:-1], "drop": rows}.get(action)
    if doomed is None:  # merge: of bars that say the same the first stays
        bars = [work.bar(row) for row in rows]
        doomed = [row for place, row in enumerate(rows) if any(_equal(bars[place], one) for one in bars[:place])]
    for row in doomed:
        work.drop(finding.symbol, row, finding.rule, action, finding.detail)
    return None if doomed else "the bars are not the same"


def _equal(one: list[float], other: list[float]) -> bool:
    return bool(np.array_equal(one, other, equal_nan=True))


def _stale_run(work: Work, finding: Finding) -> Why:
    """Take out the bars that repeat the close before them, as far as the run goes."""
    done = 0
    for row in work.rows_from(finding.symbol, nanoseconds(finding.at), nanoseconds(finding.last) + DAY_NS - 1):
        if work.bar(row)[CLOSE] != work.before(finding.symbol, row):
            break
        # The close before stays what it was, for what is taken out repeats it.
        work.drop(finding.symbol, row, finding.rule, "drop", finding.detail)
        done += 1
    return None if done else _GONE


# ---- units -----------------------------------------------------------------------------------------


def _units(work: Work, finding: Finding) -> Why:
    """Divide by the unit, bar by bar, as far as the bars are off by it."""
    factor = _unit(finding.value, finding.expected)
    if factor is None:
        return "no single unit explains it"
    done = 0
    for row in work.rows_from(finding.symbol, nanoseconds(finding.at), nanoseconds(finding.last) + DAY_NS - 1):
        bar = work.bar(row)
        fields, usual = _compared(work, finding, row, bar)
        # Of a bar that is said to be off as a whole, a price that is not stays what it is.
        off = [field for field in fields if _is_off(bar[field], usual, factor)]
        if not off:
            break
        for field in off:
            bar[field] = divided(bar[field], factor)
        size = f"{factor:g} times too large" if factor > 1 else f"{1 / factor:g} times too small"
        what = "prices" if len(off) == len(PRICES) else " and ".join(FIELDS[field] for field in off)
        work.change(finding.symbol, row, bar, finding.rule, "divide", f"{what} {size}")
        done += 1
    return None if done else "the bars beside it do not confirm the unit"


def _is_off(number: float, usual: float, factor: float) -> bool:
    """Whether a number is nearer to ``usual`` times the factor than to ``usual``."""
    return number > 0 and usual > 0 and bool(abs(np.log(number / usual / factor)) < abs(np.log(number / usual)))


def _compared(work: Work, finding: Finding, row: int, bar: list[float]) -> tuple[list[int], float]:
    """The fields concerned, and what is usual for them."""
    if not finding.field:
        before = work.before(finding.symbol, row)
        return list(PRICES), finding.expected if before is None else before
    field = FIELDS.index(finding.field)
    if field == VOLUME:
        volumes = work.volumes_before(finding.symbol, row, 20)
        return [field], median(volumes) if volumes else finding.expected
    return [field], median(bar[one] for one in PRICES if one != field)


def _unit(value: float, expected: float) -> float | None:
    """The unit that ``value`` is off by; None if it is none of them."""
    if not (value > 0 and expected > 0):
        return None
    units = [*UNITS, *(1 / unit for unit in UNITS)]
    nearest = min(units, key=lambda unit: abs(np.log(value / expected / unit)))
    return nearest if abs(np.log(value / expected / nearest)) < np.log(3) else None


def divided(number: float, factor: float) -> float:
    """``number / factor`` as decimals: 1963 cents are 19.63 USD to the last digit.

    >>> divided(1963.0, 100.0), divided(1.963, 0.01)
    (19.63, 196.3)
    """
    exact = Decimal(round(factor)) if factor >= 1 else 1 / Decimal(round(1 / factor))
    return float(Decimal(repr(number)) / exact)


# ---- prices ----------------------------------------------------------------------------------------


def _widen(work: Work, finding: Finding, row: int, most: float) -> Why:
    """Let high and low hold the other prices."""
    bar = work.bar(row)
    prices = [bar[field] for field in PRICES]
    high, low = max(prices), min(prices)
    swapped = (high, low) == (bar[LOW], bar[HIGH])
    move = max(high - bar[HIGH], bar[LOW] - low) / bar[CLOSE]
    if move > most and not swapped:
        return f"high or low would have to move by {move:.1%} of the price, more than max_widen = {most:g}"
    bar[HIGH], bar[LOW] = high, low
    reason = "high and low were swapped" if swapped else "open and close are inside the range"
    work.change(finding.symbol, row, bar, finding.rule, "widen", reason)
    return None


def _replace(work: Work, finding: Finding, row: int, action: str) -> Why:
    """Put the close before, or a value between the neighbours, in the place of what is wrong."""
    price = work.before(finding.symbol, row)
    if price is None:
        return _NOTHING_BEFORE
    if action == "interpolate":
        later = work.after(finding.symbol, row)
        if later is None:
            return _NOTHING_AFTER
        price = (price + later) / 2
    bar = work.bar(row)
    source = "the close before" if action == "previous" else "half way between its neighbours (looks ahead)"
    fix = _FIXES.get(finding.rule, _outlier)
    work.change(finding.symbol, row, fix(bar, finding.field, price), finding.rule, action, f"{source}: {price:g}")
    return None


def _outlier(bar: list[float], field: str, price: float) -> list[float]:
    """The field, and the end of the range that it made; all prices without a field."""
    place = FIELDS.index(field) if field in FIELDS else None
    if place is None or place == VOLUME:
        return [price] * 4 + [bar[VOLUME]]
    old, bar = bar[place], list(bar)
    if place in (OPEN, CLOSE):
        bar[place] = price
    if bar[HIGH] == old or place == HIGH:
        bar[HIGH] = max(bar[OPEN], bar[CLOSE])
    if bar[LOW] == old or place == LOW:
        bar[LOW] = min(bar[OPEN], bar[CLOSE])
    return _ordered(bar)


def _impossible(bar: list[float], _field: str, price: float) -> list[float]:
    """What cannot be a price or a volume; without a close, or with two prices at most, the bar is that one price."""
    bad = [field for field in PRICES if not (np.isfinite(bar[field]) and bar[field] > 0)]
    volume = bar[VOLUME] if np.isfinite(bar[VOLUME]) and bar[VOLUME] >= 0 else 0.0
    if CLOSE in bad or len(bad) > 2:
        return [price] * 4 + [volume]
    good = [bar[field] for field in PRICES if field not in bad]
    bar = [NAN if field in bad else bar[field] for field in PRICES] + [volume]
    if OPEN in bad:
        bar[OPEN] = min(max(price, min(good)), max(good))
    if HIGH in bad:
        bar[HIGH] = max(bar[OPEN], bar[CLOSE])
    if LOW in bad:
        bar[LOW] = min(bar[OPEN], bar[CLOSE])
    return bar


def _ordered(bar: list[float]) -> list[float]:
    return [bar[OPEN], max(bar[HIGH], bar[OPEN], bar[CLOSE]), min(bar[LOW], bar[OPEN], bar[CLOSE]), *bar[CLOSE:]]


_FIXES: dict[str, Callable[[list[float], str, float], list[float]]] = {"bad_value": _impossible}
