"""Bars that only repeat what was before them."""

from __future__ import annotations

import numpy as np

from workbench.data.quality.report import Found
from workbench.data.quality.series import Series
from workbench.data.quality.tape import Ints, Mask
from workbench.data.rules import Severity

# One run by chance in so many histories is too few to be chance.
_CHANCE = 1e-3
# Nobody's bars repeat less often than that by chance.
_LEAST = {"daily": 0.01, "minute": 0.02}
_SHORTEST = 3
_ALWAYS = 6  # bars; a run of as many is looked at, whatever is usual in the symbol as a whole
_NEAR = 60  # bars on each side in which repeating may be more usual than elsewhere
_BLOCKS = 8  # of as many bars, that say how often they do in quiet times
_COPY_VOLUME = 1000.0  # shares; two daily bars with the same range and volume are one bar


def judge(series: Series, found: Found) -> None:
    """Runs of bars at the close before, or with the four prices of the bar before, though shares were traded."""
    still = series.close[1:] == series.close[:-1]
    if not still.any():
        return
    repeated = _repeated(series, still)
    if series.tape.daily and repeated.any():
        copies = repeated & _same_volume(series)
        for at, size in zip(*_runs(copies), strict=True):
            _tell(series, found, int(at), int(size))
        repeated &= ~copies
    count = int(repeated.sum())
    if not count:
        return
    first, length = _runs(repeated)
    least = _LEAST[series.tape.rows.frequency]
    shortest = max(_SHORTEST, int(np.ceil(np.log(_CHANCE / len(repeated)) / np.log(max(least, count / len(repeated))))))
    long = length >= min(shortest, _ALWAYS)
    if not long.any():
        return
    often = _quiet(repeated)
    for at, size in zip(first[long].tolist(), length[long].tolist(), strict=True):
        near = np.r_[repeated[max(0, at - _NEAR) : at], repeated[at + size : at + size + _NEAR]]
        others = (count - size) / max(len(repeated) - size, 1)
        usual = max(least, _stays(max(others, float(near.mean()) if len(near) else 0.0, often)))
        if size >= _SHORTEST and len(repeated) * usual**size < _CHANCE:
            _tell(series, found, at, size)


def _repeated(series: Series, still: Mask) -> Mask:
    """Bars, from the second on, that repeat the one before and were traded in."""
    o, h, low = series.open, series.high, series.low
    flat = (h[1:] == low[1:]) & (o[1:] == h[1:])
    same = (o[1:] == o[:-1]) & (h[1:] == h[:-1]) & (low[1:] == low[:-1])
    traded: Mask = still & (flat | same) & (series.volume[1:] > 0)
    return traded


def _quiet(repeated: Mask) -> float:
    """The share of bars that repeat in the quietest tenth of a symbol's hours (60 bars each); zero of a short one."""
    blocks = len(repeated) // _NEAR
    if blocks < _BLOCKS:
        return 0.0
    shares = repeated[: blocks * _NEAR].reshape(blocks, _NEAR).mean(axis=1)
    return float(np.quantile(shares, 0.9))


def _stays(share: float) -> float:
    """The chance that a price which repeats in a ``share`` of its bars does so once more in the middle of a run.

    It is the share itself, as long as ticks are fine. Where they are coarse, a price moves about unseen between two of
    them, and stays longer the longer it has stayed: of a random walk that changes its tick in a share c of its steps,
    the standard deviation of a step is c sqrt(pi/2) ticks, and of such walks exp(-pi^2 s^2 / 2) a step are left within
    an interval of one tick (source: Feller, An Introduction to Probability Theory, vol. 1, XIV.6: the largest
    eigenvalue of a walk between two absorbing barriers).
    """
    return max(share, float(np.exp(-(np.pi**3) / 4 * (1 - share) ** 2)))


def _runs(mask: Mask) -> tuple[Ints, Ints]:
    """Where runs of true cells begin and how long they are."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).view(np.int8)))
    return edges[::2], edges[1::2] - edges[::2]


def _same_volume(series: Series) -> Mask:
    """Bars, from the second on, that have a range and the volume of the bar before: with its prices, it is a copy."""
    before, volume = series.volume[:-1], series.volume[1:]
    same: Mask = (volume == before) & (volume >= _COPY_VOLUME) & (series.high[1:] > series.low[1:])
    return same


def _tell(series: Series, found: Found, at: int, size: int) -> None:
    tape = series.tape
    ends = tape.sessions(series.rows[[at + 1, at + size]])
    severity: Severity = "block" if tape.decided is not None and ends[1] == tape.decided else "warn"
    noun = "bar repeats" if size == 1 else "bars repeat"
    found.add(
        "stale_run", series.symbol, ends[0], severity,
        f"{size} {noun} the price of {series.close[at]:g} before, though shares were traded",
        at=tape.rows.at[series.rows[at + 1]], last=ends[1], value=series.close[at],
    )  # fmt: skip
