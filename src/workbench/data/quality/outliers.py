"""Prices that leave their neighbours and come back: told from news by turnover, from crashes by other symbols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.data.quality.market import CRASH, moved_together
from workbench.data.quality.report import Found
from workbench.data.quality.series import AROUND, Series
from workbench.data.quality.tape import Floats, Ints, Mask

_WIDTH = 8.0  # robust standard deviations, into the bar and out of it
_LEAST = {"daily": 0.02, "minute": 0.004}  # log return below which nobody is misled
_BACK = 0.35  # of the move that may be left when it has come back
_WICK = 2.5  # times the widest wick around
_OWN = 2.0  # times the bar's own move; on a wild day wicks are wide
_TICKS = 3.5  # steps of the price that are no distance: a share of 0.0004 moves by a quarter for one


@dataclass(frozen=True, slots=True)
class Spikes:
    """Candidates of one symbol: bars, which price (empty: all four), how far off (log), what it should be."""

    series: Series
    bars: Ints
    field: str
    off: Floats
    expected: Floats


def candidates(series: Series, taken: Mask | None) -> list[Spikes]:
    """Prices of one symbol that only the other symbols can still explain; ``taken``: bars told of already."""
    if len(series) < 5:
        return []
    found = [*_closes(series), *_opens(series), *_wicks(series)]
    if taken is not None:
        found = [_only(spikes, ~taken[spikes.bars]) for spikes in found]
    return [beyond for spikes in found if len(spikes.bars) and len((beyond := _beyond_ticks(spikes)).bars)]


def judge(found: Found, spikes: Sequence[Spikes], everyone: Sequence[Series]) -> None:
    """Tell of the candidates in which the rest of the market did not take part."""
    if not spikes:
        return
    ns = np.concatenate([s.series.ns[s.bars] for s in spikes])
    moves = np.concatenate([s.off for s in spikes])
    owners = np.concatenate([np.full(len(s.bars), s.series.number) for s in spikes])
    market = moved_together(everyone, ns, moves, owners, CRASH)
    start = 0
    for group in spikes:
        alone = ~market[start : start + len(group.bars)]
        start += len(group.bars)
        _tell(found, group, alone)


def _tell(found: Found, group: Spikes, alone: Mask) -> None:
    series = group.series
    bars = series.rows[group.bars[alone]]
    values = dict(zip(bars.tolist(), zip(group.off[alone], group.expected[alone], strict=True), strict=True))
    name = group.field or "close"
    prices = getattr(series.tape.rows, name)

    def detail(row: int) -> str:
        off, expected = values[row]
        what = group.field or "the bar"
        return f"{what} at {prices[row]:g} is {np.expm1(off):+.1%} off the bars around it, about {expected:g}"

    found.add_rows(
        "outlier", bars, "warn", detail, field=group.field,
        value=lambda row: float(prices[row]), expected=lambda row: float(values[row][1]),
    )  # fmt: skip


def _closes(series: Series) -> list[Spikes]:
    """Closes, or whole bars, that are left again at the next open."""
    into, out = series.returns[1:-1], series.returns[2:]
    floor = max(_LEAST[series.tape.rows.frequency], 0.5 * _WIDTH * series.scale)
    bars = np.flatnonzero((np.minimum(np.abs(into), np.abs(out)) > floor) & (into * out < 0)) + 1
    if not len(bars):
        return []
    into, out = series.returns[bars], series.returns[bars + 1]
    size = np.minimum(np.abs(into), np.abs(out))
    at_open = series.log_open[bars + 1] - series.log_close[bars] + series.splits_at(bars + 1)
    back = (np.abs(into + out) <= _BACK * size) & (np.abs(into + at_open) <= 0.5 * size)
    bars, into, size = bars[back], into[back], size[back]
    fine = (size > _WIDTH * series.local(bars)) & series.ordinary(bars)
    bars, into = bars[fine], into[fine]
    expected = np.exp(series.log_close[bars] - into)
    entered = np.abs(series.log_open[bars] - series.log_close[bars])
    whole = entered <= _BACK * np.abs(into)
    return [
        Spikes(series, bars[whole], "", into[whole], expected[whole]),
        Spikes(series, bars[~whole], "close", into[~whole], expected[~whole]),
    ]


def _opens(series: Series) -> list[Spikes]:
    """Opens away from the close before, with a close that is back there."""
    gap = np.zeros(len(series))
    gap[1:] = series.log_open[1:] - series.log_close[:-1]
    if series.has_splits:
        gap += series.splits
    floor = max(_LEAST[series.tape.rows.frequency], 0.5 * _WIDTH * series.scale)
    bars = np.flatnonzero(np.abs(gap) > floor)
    bars = bars[np.abs(series.returns[bars]) <= _BACK * np.abs(gap[bars])]
    bars = bars[bars < len(series) - 1]
    if not len(bars):
        return []
    # The rest of the bar must not have been there: one price beyond it is the print itself.
    up = gap[bars] > 0
    middle = 0.5 * (series.log_open[bars] + series.log_close[bars])
    beyond = np.where(up, np.log(series.low[bars]) > middle, np.log(series.high[bars]) < middle)
    fine = ~beyond & (np.abs(gap[bars]) > _WIDTH * series.local(bars)) & series.ordinary(bars)
    bars = bars[fine]
    return [Spikes(series, bars, "open", gap[bars], series.open[bars] * np.exp(-gap[bars]))]


def _wicks(series: Series) -> list[Spikes]:
    """Highs and lows far beyond open and close, and beyond every other wick around."""
    found = []
    upper = np.maximum(series.open, series.close)
    lower = np.minimum(series.open, series.close)
    floor = max(2 * _LEAST[series.tape.rows.frequency], 0.5 * _WIDTH * series.scale)
    for field, sign, reach, base in (("high", 1, series.high / upper, upper), ("low", -1, lower / series.low, lower)):
        bars = np.flatnonzero(reach > 1 + floor)
        if not len(bars):
            continue
        size = np.log(reach[bars])
        places = bars[:, None] + np.concatenate([np.arange(-AROUND, 0), np.arange(1, 1 + AROUND)])
        valid = (places >= 0) & (places < len(series))
        others = np.where(valid, reach[np.clip(places, 0, len(series) - 1)], 1.0)
        widest = np.log(others.max(axis=1))
        fine = (size > _WIDTH * series.local(bars)) & (size > _WICK * widest) & series.ordinary(bars)
        fine &= size > _OWN * np.abs(series.returns[bars])
        bars, size = bars[fine], size[fine]
        found.append(Spikes(series, bars, field, sign * size, base[bars]))
    return found


def _beyond_ticks(spikes: Spikes) -> Spikes:
    prices = getattr(spikes.series, spikes.field or "close")[spikes.bars]
    return _only(spikes, np.abs(prices - spikes.expected) > _TICKS * spikes.series.tick(spikes.bars))


def _only(spikes: Spikes, kept: Mask) -> Spikes:
    return Spikes(spikes.series, spikes.bars[kept], spikes.field, spikes.off[kept], spikes.expected[kept])
