"""Splits and dividends on record against what prices and volumes did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.data.quality.jumps import overnight_of
from workbench.data.quality.report import Found
from workbench.data.quality.series import Series
from workbench.data.quality.tape import TO_SIGMA, Floats, moment, ratio_text

_WIDTH = 4.0  # robust standard deviations of the overnight return
_OFF = 0.25  # log; a split on record that is off by less is the right one on a lively night
_AROUND = 10  # sessions in which a split may have happened instead
_TWICE_DAYS = 10
_SIDE = 60  # bars on each side of a split whose volumes are compared
_VOLUME_SIDE = 120  # the same of volumes, which wander more
_LEAST_SIDE = 15
_DEPENDENT = 3.0  # sessions of volumes that say as much as one: busy times last
_TICKS = (100.0, 64.0, 10_000.0)  # cents, the fractions of before 2001, and what is quoted below a dollar
_ON_TICK = 0.9  # share of closes on a tick that says a series is quoted in it
_OFF_TICK = 0.5


@dataclass(frozen=True, slots=True)
class Recorded:
    """A split on record: its bar, its ex-date (day since 1970), and the logs of it and of what the open did."""

    bar: int
    day: int
    log: float
    gap: float
    noise: float

    @property
    def is_in_price(self) -> bool:
        """Whether the open moved by it rather than not at all, as far as the night's noise lets one say."""
        return abs(self.gap + self.log) <= max(_OFF, self.noise) or abs(self.gap + self.log) < abs(self.gap)

    @property
    def is_clear(self) -> bool:
        """Whether a split of that size can be told from a night."""
        return abs(self.log) > self.noise


def judge(series: Series, found: Found) -> None:
    """Every split on record of one symbol."""
    splits = _splits(series)
    if not splits:
        return
    clear = [split for split in splits if split.is_clear]
    moved = [split for split in clear if split.is_in_price]
    still = [split for split in clear if not split.is_in_price and not _is_double(split)]
    if still and not moved and _is_adjusted(series, still):
        _tell_adjusted(series, found, still)
    else:
        for split in still:
            _tell_still(series, found, split, splits)
    for split in clear:
        if _is_double(split):
            _tell_double(series, found, split)
        elif split in moved and abs(split.gap + split.log) > max(_OFF, split.noise):
            _tell_still(series, found, split, splits)
    for split in moved:
        if _volume_stood(series, split):
            _tell_volume(series, found, split)


def _splits(series: Series) -> list[Recorded]:
    bars = np.flatnonzero(series.splits)
    if not len(bars):
        return []
    overnight = overnight_of(series)
    made = []
    for bar in bars.tolist():
        around = np.r_[overnight[max(1, bar - _SIDE) : bar], overnight[bar + 1 : bar + 1 + _SIDE]]
        spread = TO_SIGMA * float(np.median(np.abs(around))) if len(around) >= 5 else 0.02
        noise = _WIDTH * max(spread, 0.005)
        made.append(Recorded(bar, int(series.days[bar]), float(series.splits[bar]), float(overnight[bar]), noise))
    return made


def _is_double(split: Recorded) -> bool:
    """Whether the price moved by the square of what is on record."""
    return abs(split.gap + 2 * split.log) <= max(_OFF, split.noise) and abs(split.log) > _OFF


# ---- adjusted already ----------------------------------------------------------------------------------------


def _is_adjusted(series: Series, still: list[Recorded]) -> bool:
    """Whether the prices before look divided.

    They are off the tick, the volumes of then are not adjusted, or not one of several splits is in the price.
    """
    last = still[-1].bar
    before, after = series.close[max(0, last - 250) : last], series.close[last : last + 250]
    off_tick = len(after) >= 5 and on_tick(after) >= _ON_TICK and on_tick(before) <= _OFF_TICK
    return off_tick or len(still) > 1 or any(_volume_moved(series, split) for split in still)


def on_tick(prices: Floats) -> float:
    """The share of prices that are whole ticks; of the tick that fits best."""
    best = 0.0
    for tick in _TICKS[:2]:
        scaled = prices * tick
        best = max(best, float(np.mean(np.abs(scaled - np.round(scaled)) < 1e-6 * np.maximum(scaled, 1))))
    return best


def _volume_change(series: Series, bar: int) -> tuple[float, float]:
    """The change in log of the shares traded from before a bar to after, and its standard error; inf if unknown."""
    others = np.flatnonzero(series.splits)
    first = max([bar - _VOLUME_SIDE, 0, *others[others < bar].tolist()])
    stop = min([bar + 1 + _VOLUME_SIDE, *others[others > bar].tolist()])
    before, after = series.volume[first:bar], series.volume[bar + 1 : stop]
    before, after = np.log(before[before > 0]), np.log(after[after > 0])
    if min(len(before), len(after)) < _LEAST_SIDE:
        return 0.0, float("inf")
    errors = [
        (TO_SIGMA * float(np.median(np.abs(part - np.median(part))))) ** 2 * _DEPENDENT / len(part)
        for part in (before, after)
    ]
    return float(np.median(after) - np.median(before)), 1.25 * float(np.sqrt(sum(errors)))


def _volume_moved(series: Series, split: Recorded) -> bool:
    """Whether as many more shares were traded as there were, though the price stood."""
    change, error = _volume_change(series, split.bar)
    return abs(change - split.log) < abs(change) and abs(change) > 3 * error and abs(change) > 0.5 * abs(split.log)


def _volume_stood(series: Series, split: Recorded) -> bool:
    """Whether the shares traded did not follow a split that is in the price: nearer to none of it, and sure."""
    change, error = _volume_change(series, split.bar)
    toward = change * np.sign(split.log)
    size = abs(split.log)
    return bool(error < size / 4 and toward < 0.4 * size and toward + 3 * error < size and size > 0.6)


# ---- words ---------------------------------------------------------------------------------------------------


def _tell_adjusted(series: Series, found: Found, still: list[Recorded]) -> None:
    noun = "split is" if len(still) == 1 else "splits are"
    first = still[-1]
    ratio = ratio_text(round(float(np.exp(first.log)), 6))
    detail = f"{len(still)} {noun} on record, the last {ratio}, and prices do not move"
    found.add(
        "pre_adjusted", series.symbol, moment(series.days[0]), "block", f"{detail}: they are adjusted already",
        at=series.tape.rows.at[series.rows[0]], last=moment(still[-1].day), value=float(np.exp(first.log)),
    )  # fmt: skip


def _tell_still(series: Series, found: Found, split: Recorded, splits: list[Recorded]) -> None:
    seen = f"close {series.close[split.bar - 1]:g}, next open {series.open[split.bar]:g}"
    value = float(np.exp(split.log))
    for other in splits:
        near = abs(other.day - split.day) <= _TWICE_DAYS and other.bar != split.bar
        if near and abs(other.log - split.log) < 1e-9 and other.is_in_price:
            detail = f"a split of {value:g} is on record twice within {_TWICE_DAYS} days, in the price once; {seen}"
            _add(series, found, "split_applied_twice", split, detail, float("nan"))
            return
    elsewhere = _happened(series, split)
    moved = float(np.exp(-split.gap))
    wrong = abs(split.gap) > max(_OFF, split.noise)
    hint = f"; the price moved like it on {elsewhere}" if elsewhere else ""
    expected = moved if wrong else float("nan")
    detail = f"a split of {value:g} is on record; {seen}{hint}"
    _add(series, found, "split_not_in_price", split, detail, expected)


def _happened(series: Series, split: Recorded) -> str:
    """The session near an ex-date on which the open moved by the split instead; empty if there is none."""
    overnight = overnight_of(series)
    first = max(1, split.bar - _AROUND)
    window = overnight[first : split.bar + 1 + _AROUND]
    off = np.abs(window + split.log)
    best = int(np.argmin(off))
    if off[best] > max(0.5 * _OFF, split.noise) or first + best == split.bar:
        return ""
    return str(moment(series.days[first + best]).astype("datetime64[D]"))


def _tell_double(series: Series, found: Found, split: Recorded) -> None:
    value = float(np.exp(split.log))
    seen = f"close {series.close[split.bar - 1]:g}, next open {series.open[split.bar]:g}"
    detail = f"a split of {value:g} is on record, and the price moved by it twice; {seen}"
    _add(series, found, "split_applied_twice", split, detail, value * value)


def _tell_volume(series: Series, found: Found, split: Recorded) -> None:
    change, _ = _volume_change(series, split.bar)
    value = float(np.exp(split.log))
    detail = f"a split of {value:g} is in the price, but the shares traded went by {np.exp(change):.2f}: adjusted"
    found.add(
        "volume_adjusted", series.symbol, moment(series.days[0]), "warn", detail,
        at=series.tape.rows.at[series.rows[0]], last=moment(series.days[split.bar - 1]), field="volume",
        value=float(np.exp(change)), expected=value,
    )  # fmt: skip


def _add(series: Series, found: Found, rule: str, split: Recorded, detail: str, expected: float) -> None:
    at = series.tape.rows.at[series.rows[split.bar]]
    value = float(np.exp(split.log))
    found.add(
        rule, series.symbol, moment(series.days[split.bar]), "block", detail, at=at, value=value, expected=expected
    )
