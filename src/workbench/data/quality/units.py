"""Prices and volumes in other units: cents for dollars, thousands for single shares, for one bar or a stretch."""

from __future__ import annotations

import numpy as np

from workbench.data.quality.report import Found
from workbench.data.quality.series import Series
from workbench.data.quality.tape import TO_SIGMA, Ints, Mask
from workbench.data.rules import UNITS

_LOGS = np.log(np.array([*UNITS, *(1 / unit for unit in UNITS)]))
_NEAR = 0.4  # how far a factor may be off, in logs: what a share moves meanwhile
_JUMP = float(np.log(30.0))  # log return that is looked at
_VOLUME_JUMP = float(np.log(25.0))
_VOLUME_NEAR = 0.9
_VOLUME_WIDTH = 5.0  # robust standard deviations of log volume
_SIDE = 20  # bars that say what the level was before, and after
_USUAL = float(np.log(40.0))  # what a share costs, in USD, if one has to guess
_FIELDS = ("open", "high", "low", "close")


def judge(series: Series, found: Found) -> Mask | None:
    """Tell of wrong units; returns the bars whose moves are explained by them, None if there are none."""
    taken = _single_fields(series, found, None)
    taken = _stretches(series, found, taken)
    if series.tape.daily:
        _volumes(series, found, taken)
    return taken


def _mark(series: Series, taken: Mask | None, first: int, stop: int) -> Mask:
    """Bars from ``first`` up to ``stop``, itself included, for the move out of a stretch belongs to it."""
    mask = np.zeros(len(series), dtype=bool) if taken is None else taken
    mask[first : stop + 1] = True
    return mask


# ---- one field of a bar --------------------------------------------------------------------------------------


def _single_fields(series: Series, found: Found, taken: Mask | None) -> Mask | None:
    # The high need not be the highest: an open or close in other units leaves the range of its bar.
    prices = [getattr(series, name) for name in _FIELDS]
    wide = np.flatnonzero(np.maximum.reduce(prices) > np.exp(_JUMP) * np.minimum.reduce(prices))
    for bar in wide.tolist():
        near = np.r_[series.log_close[max(0, bar - 5) : bar], series.log_close[bar + 1 : bar + 6]]
        if not len(near):
            continue
        base = float(np.median(near))
        for name in _FIELDS:
            price = float(getattr(series, name)[bar])
            unit = _unit(np.log(price) - base)
            if unit:
                _tell(series, found, bar, bar + 1, name, price, price / np.exp(unit), unit)
                taken = _mark(series, taken, bar, bar + 1)
    return taken


# ---- whole bars ----------------------------------------------------------------------------------------------


def _stretches(series: Series, found: Found, taken: Mask | None) -> Mask | None:
    """Jumps of the close by a unit: a stretch from one to the opposite one, or to the nearer end of the series."""
    bars = np.flatnonzero(np.abs(series.returns) > _JUMP)
    if taken is not None:
        bars = bars[~taken[bars]]
    jumps = [(int(bar), unit) for bar in bars if (unit := _unit(float(series.returns[bar])))]
    while jumps:
        bar, unit = jumps.pop(0)
        if jumps and abs(jumps[0][1] + unit) < 1e-9:
            stop, _ = jumps.pop(0)
            first = bar
        elif _is_split(series, bar, unit):
            continue
        elif _is_before(series, bar):
            first, stop, unit = 0, bar, -unit
        else:
            first, stop = bar, len(series)
        price = float(series.close[first])
        _tell(series, found, first, stop, "", price, price / np.exp(unit), unit)
        taken = _mark(series, taken, first, stop)
    return taken


def _is_before(series: Series, bar: int) -> bool:
    """Whether the bars before a jump are the wrong ones: further from what shares cost, or else the fewer."""
    before = abs(float(np.median(series.log_close[max(0, bar - _SIDE) : bar])) - _USUAL)
    after = abs(float(np.median(series.log_close[bar : bar + _SIDE])) - _USUAL)
    return before > after if abs(before - after) > 1 else bar <= len(series) - bar


def _is_split(series: Series, bar: int, unit: float) -> bool:
    """Whether the shares traded changed the other way for good, as they do with a split of 100 and not with units."""
    before, after = series.volume[max(0, bar - _SIDE) : bar], series.volume[bar : bar + _SIDE]
    before, after = before[before > 0], after[after > 0]
    if len(before) < 5 or len(after) < 3:
        return False
    change = float(np.median(np.log(after)) - np.median(np.log(before)))
    return abs(change + unit) < 0.5 * abs(unit)


# ---- volumes -------------------------------------------------------------------------------------------------


def _volumes(series: Series, found: Found, taken: Mask | None) -> None:
    """Volumes that jump by a unit and come back, or stay for three bars or more, while the price does nothing."""
    traded = np.flatnonzero(series.volume > 0)
    if len(traded) < _SIDE:
        return
    log = np.log(series.volume[traded])
    jump = np.abs(np.diff(log)) > _VOLUME_JUMP
    if series.has_splits:  # of 50:1: as many more shares are traded as there are, or were all along if adjusted
        log = log - np.cumsum(series.splits)[traded]
        jump &= np.abs(np.diff(log)) > _VOLUME_JUMP
    jumps = np.flatnonzero(jump) + 1
    done = 0
    for start in jumps.tolist():
        if start < done:
            continue
        before = log[max(0, start - _SIDE) : start]
        if len(before) < 5:
            continue
        level = float(np.median(before))
        spread = max(TO_SIGMA * float(np.median(np.abs(before - level))), 0.1)
        off = log[start:] - level
        back = np.flatnonzero(np.abs(off) < 0.5 * _VOLUME_JUMP)
        stop = start + (int(back[0]) if len(back) else len(off))
        if stop == start:
            continue
        unit = _unit(float(np.median(log[start:stop])) - level, _VOLUME_NEAR)
        lasting = len(back) > 0 or stop - start >= 3
        quiet = abs(float(series.returns[traded[start]])) < 4 * series.scale
        if unit and lasting and quiet and abs(unit) > _VOLUME_WIDTH * spread:
            first, last = int(traded[start]), int(traded[stop - 1]) + 1
            if taken is None or not taken[first]:
                volume = float(series.volume[first])
                _tell(series, found, first, last, "volume", volume, volume / np.exp(unit), unit)
        done = stop + 1


# ---- words ---------------------------------------------------------------------------------------------------


def _unit(log: float, near: float = _NEAR) -> float:
    """The log of the unit that a factor is near to; zero if it is near none."""
    nearest = float(_LOGS[np.argmin(np.abs(_LOGS - log))])
    return nearest if abs(nearest - log) <= near else 0.0


def _tell(
    series: Series, found: Found, first: int, stop: int, field: str, value: float, expected: float, unit: float
) -> None:
    tape = series.tape
    ends: Ints = series.rows[[first, stop - 1]]
    sessions = tape.sessions(ends)
    factor = f"{np.exp(abs(unit)):g} times too {'large' if unit > 0 else 'small'}"
    bars = "" if stop - first == 1 else f", {stop - first} bars"
    found.add(
        "unit_error", series.symbol, sessions[0], "block",
        f"{field or 'prices'} {factor}{bars}: {field or 'close'} {value:g}", at=tape.rows.at[ends[0]],
        last=sessions[1], field=field, value=value, expected=expected,
    )  # fmt: skip
