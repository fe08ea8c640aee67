"""Did the others move as well? What many symbols do at once is no fault of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.data.quality.series import Series
from workbench.data.quality.tape import Floats, Ints, Mask

_TOGETHER = 0.25  # of the other symbols that move along: then it is the market
_LEAST = 2  # other symbols
_SHARE = 0.25  # of the move that they must have made
# Log return of the others that explains a price of any height: in a flash crash nobody bids.
CRASH = 0.08
_ALONG = 3.0  # robust standard deviations that count as moving along


def moved_together(everyone: Sequence[Series], ns: Ints, moves: Floats, owners: Ints, enough: float = np.inf) -> Mask:
    """Whether a quarter of the other symbols, two at least, moved the same way at the same time.

    That is: by more than 3 robust standard deviations of their own, and by a quarter of the move or more, or by
    ``enough`` (log return).

    Parameters
    ----------
    ns, moves, owners
        K moves: when (ns since 1970), by how much (log), and the number of the symbol, shape (K,) each.
    """
    signs, sizes = np.sign(moves), np.minimum(_SHARE * np.abs(moves), enough)
    there, along = np.zeros(len(ns), dtype=np.int64), np.zeros(len(ns), dtype=np.int64)
    for series in everyone:
        places = np.minimum(np.searchsorted(series.ns, ns), len(series) - 1)
        other = (series.ns[places] == ns) & (owners != series.number) & (places > 0)
        there += other
        moved = series.returns[places] * signs
        reach = np.where(signs > 0, series.high[places], series.low[places])
        ends = (np.log(reach / series.close[np.maximum(places - 1, 0)]) + series.splits_at(places)) * signs
        along += other & (np.maximum(moved, ends) > np.maximum(_ALONG * series.scale, sizes))
    together: Mask = (along >= _LEAST) & (along >= _TOGETHER * there)
    return together
