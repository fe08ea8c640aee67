"""Corporate actions that a file does not list, derived from its raw and adjusted closes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.data.dataset import DERIVED, no_actions
from workbench.errors import DataError

# Two printed closes divided twice are good to a few 1e-16; anything below this is arithmetic, not cash.
_FLOOR = 1e-9
# A dividend can come on top of a split; more than this share of the price on the same day is not believed.
_MAX_DIVIDEND_WITH_SPLIT = 0.10
# Gap between the open and what the total factor implies that still counts as "the raw price moved too".
_MAX_LOG_GAP = 0.25
# Splits from 6:5 down to reverse 1:10 with small terms, and whole ones up to 100:1 and 1:100.
_RATIOS = sorted(
    {Fraction(p, q) for p in range(1, 11) for q in range(1, 11)}
    | {Fraction(n, 1) for n in range(2, 101)}
    | {Fraction(1, n) for n in range(2, 101)}
)
_SPLITS = np.array([float(ratio) for ratio in _RATIOS if not Fraction(5, 6) < ratio < Fraction(6, 5)])


def derive_actions(
    symbol: str,
    sessions: pd.DatetimeIndex,
    open_: npt.NDArray[np.float64],
    close: npt.NDArray[np.float64],
    adj_close: npt.NDArray[np.float64],
    *,
    decimals: int,
    close_decimals: int | None = None,
    precision: float = 0.0,
) -> pd.DataFrame:
    """Find the splits and dividends between two rows of one symbol.

    With f = adj_close / close, the day's total factor is r = f[t] / f[t-1] = split x (1 + dividend/close[t]).

    * ``|r - 1|`` within the rounding of the printed adjusted close: no action. The bound is computed row by
      row from ``decimals``, so that rounding never becomes a phantom dividend.
    * r equal to a small fraction (2, 3/2, 1/10) within that bound, or at least 3/2 or at most 2/3 with at
      most 10 % left over: a split, if the raw price shows it too (the open is near close[t-1] / r);
      what is left over is a dividend.
    * any other r above 1: a dividend of (r - 1) x close[t], rounded to the fewest decimals (at most 6) that
      rounding allows: published dividends are round, and 0.2299999998 would only look precise.

    Parameters
    ----------
    symbol
        Whose rows these are.
    sessions
        Ascending and unique, T rows. The first row's own action cannot be seen.
    open_, close
        Raw prices in USD, shape (T,).
    adj_close
        The published close adjusted for splits and dividends, shape (T,); any constant scale.
    decimals
        Decimal places to which ``adj_close`` is printed.
    close_decimals
        Decimal places to which ``close`` is rounded; None if it is exact, as traded prices are.
    precision
        Relative error that every close has besides: 2**-24 where a vendor's numbers went through 32 bits.

    Returns
    -------
    A frame with ``symbol``, ``ex_date``, ``kind``, ``value`` (new shares per old share, or USD per share) and
    ``origin`` (always ``derived from adj_close``), ordered by ``ex_date``, splits first.

    Raises
    ------
    DataError
        If a factor is neither: the adjusted close rises against the raw close without a split.

    Source: the Quandl WIKI documentation of adjusted prices, solved for the action.

    >>> days = pd.DatetimeIndex(["2003-02-14", "2003-02-18", "2003-02-19"])
    >>> raw, adjusted = np.array([48.30, 24.96, 24.53]), np.array([24.0715, 24.8789, 24.53])
    >>> found = derive_actions("MSFT", days, raw, raw, adjusted, decimals=4)
    >>> found[["kind", "value"]].values.tolist()
    [['split', 2.0], ['dividend', 0.08]]
    """
    if len(sessions) < 2:
        return no_actions()
    factor = adj_close / close
    ratio = factor[1:] / factor[:-1]
    half = 0.5 * 10.0**-decimals
    # Exact worst case of two rounded closes; their sum alone falls short by the product of the two.
    noise = (1 + half / adj_close[:-1]) / (1 - half / adj_close[1:]) - 1 + _FLOOR + 4 * precision
    if close_decimals is not None:
        noise = noise + 0.5 * 10.0**-close_decimals * (1 / close[:-1] + 1 / close[1:])
    rows = []
    for at in np.flatnonzero(np.abs(ratio - 1) > noise).tolist():
        today = at + 1
        split = _split(ratio[at], noise[at], open_[today] / close[at])
        rest = ratio[at] / split - 1
        if rest < -noise[at]:
            raise DataError(
                f"{symbol}: the adjusted close of {sessions[today]:%Y-%m-%d} implies a factor of "
                f"{ratio[at]:.6f}, which is neither a split nor a dividend",
                hint="the file's adjusted close does not belong to its raw close",
            )
        if split != 1:
            rows.append((symbol, sessions[today], "split", split, DERIVED))
        if rest > noise[at]:
            cash = _round(rest * close[today], noise[at] * close[today])
            rows.append((symbol, sessions[today], "dividend", cash, DERIVED))
    found = pd.DataFrame(rows, columns=no_actions().columns)
    return found.astype(no_actions().dtypes.to_dict())


def _split(ratio: float, noise: float, gap: float) -> float:
    """The split within a total factor; 1 if there is none. ``gap`` is the open over the close before."""
    if abs(np.log(gap * ratio)) > _MAX_LOG_GAP:
        return 1.0
    rest = ratio / _SPLITS - 1
    exact = np.flatnonzero(np.abs(rest) <= noise)
    if len(exact):
        return float(_SPLITS[exact[np.argmin(np.abs(rest[exact]))]])
    large = (_SPLITS >= 1.5) | (_SPLITS <= 2 / 3)
    near = np.flatnonzero(large & (rest > 0) & (rest <= _MAX_DIVIDEND_WITH_SPLIT))
    return float(_SPLITS[near[np.argmin(rest[near])]]) if len(near) else 1.0


def _round(value: float, error: float) -> float:
    """``value`` to the fewest decimals that stay within ``error`` of it, at most 6."""
    for decimals in range(2, 7):
        rounded = round(value, decimals)
        if abs(rounded - value) <= error:
            return rounded
    return round(value, 6)
