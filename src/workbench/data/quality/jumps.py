"""Splits that are not on record, moves that only look like one, and tickers that became somebody else's."""

from __future__ import annotations

import numpy as np

from workbench.data.quality.report import Found
from workbench.data.quality.series import Series
from workbench.data.quality.tape import TO_SIGMA, Floats, Ints, Mask, moment, ratio_text

# Ratios that companies use; 5:4 and 4:3 are left out, for a fall of a quarter is too often just a fall.
_RATIOS = np.array([1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100])
LOG_RATIOS = np.log(np.concatenate([_RATIOS, 1 / _RATIOS]))
LARGE = float(np.log(4 / 3))  # log return that is looked at: a 3:2 split on a day that opens 12 % higher
_HISTORY = 60  # sessions that say what is ordinary for a symbol
_NOISE_FLOOR = 0.03  # log return; a quiet symbol still moves by 3 % overnight on a split day
_NOISE_WIDTH = 3.0  # robust standard deviations of the overnight return
_NOISE_MOST = 0.15  # beyond it every move would be some ratio
_TURNOVER = 4.0  # times the median turnover in USD that is no longer ordinary
_ADJACENT = 10  # days; after a longer hole the move is that of weeks
_LONG_GAP = 28  # days without a bar, some 20 sessions, after which a ticker may be another's
_OTHER_LEVEL = float(np.log(2.0))
_OWN_MOVES = 5.0  # standard deviations that a share's own moves explain over the gap
_SIDE = 20


def overnight_of(series: Series) -> Floats:
    """Log return from the close before to the open, splits as they are; the first bar's is zero."""
    found = np.zeros(len(series))
    found[1:] = series.log_open[1:] - series.log_close[:-1]
    return found


def judge(series: Series, found: Found, taken: Mask | None) -> None:
    """Tell a split from a crash: both halve the price, but a split shows in full at the open, and nobody
    trades more for it. AAPL on 2000-09-29 opened 47 % lower, closed 52 % lower, on 12.5 times its turnover.
    """
    days = series.days
    holes = np.diff(days)
    if holes.max() >= _LONG_GAP:
        _reuse(series, found, holes)
    overnight = overnight_of(series)
    large = np.maximum(np.abs(overnight), np.abs(series.returns)) > LARGE
    large[1:] &= holes <= _ADJACENT
    large &= series.splits == 0
    if taken is not None:
        large &= ~taken
    bars = np.flatnonzero(large)
    if len(bars):
        turnover = series.volume * series.close
        for bar in bars.tolist():
            if not _is_print(series, overnight, bar):
                _move(series, found, overnight, turnover, bar)


def _is_print(series: Series, overnight: Floats, bar: int) -> bool:
    """Whether the level comes back within the bar or at the next open: a bad print, which outliers are about."""
    moves = series.returns
    if bar + 1 < len(series):
        size = abs(moves[bar])
        if size > LARGE and abs(moves[bar] + overnight[bar + 1]) < 0.5 * size and moves[bar] * moves[bar + 1] < 0:
            return True
    if abs(moves[bar]) <= 0.35 * abs(overnight[bar]):
        return True
    if bar > 0 and abs(moves[bar - 1]) > LARGE and abs(moves[bar - 1] + overnight[bar]) < 0.5 * abs(moves[bar - 1]):
        return bool(moves[bar] * moves[bar - 1] < 0)
    return False


def _move(series: Series, found: Found, overnight: Floats, turnover: Floats, bar: int) -> None:
    """What a large move is."""
    past = overnight[max(1, bar - _HISTORY) : bar]
    spread = TO_SIGMA * float(np.median(np.abs(past - np.median(past)))) if len(past) >= 10 else 0.0
    noise = min(max(_NOISE_FLOOR, _NOISE_WIDTH * spread), _NOISE_MOST)
    nearest = float(LOG_RATIOS[np.argmin(np.abs(overnight[bar] + LOG_RATIOS))])
    usual = float(np.median(turnover[max(0, bar - _HISTORY) : bar]))
    times = turnover[bar] / usual if usual > 0 else np.inf
    moves = f"overnight {np.expm1(overnight[bar]):+.1%}, close to close {np.expm1(series.returns[bar]):+.1%}"
    facts = f"{moves}, turnover x {times:.1f}"
    split = ratio_text(round(float(np.exp(nearest)), 6))
    session = moment(series.days[bar])
    at = series.tape.rows.at[series.rows[bar]]
    if abs(overnight[bar] + nearest) <= noise and times <= _TURNOVER:
        detail = f"{facts}: a split of {split} that is not on record"
        found.add("unapplied_split", series.symbol, session, "block", detail, at=at, expected=np.exp(nearest))
    else:
        found.add("split_like_move", series.symbol, session, "warn", f"{facts}; nearest split {split}", at=at)


def _reuse(series: Series, found: Found, holes: Ints) -> None:
    """Another price level after a long hole: another instrument under the ticker, unless a listing says otherwise."""
    for bar in (np.flatnonzero(holes >= _LONG_GAP) + 1).tolist():
        change = float(series.returns[bar])
        sessions = holes[bar - 1] * 5 / 7
        if abs(change) > max(_OTHER_LEVEL, _OWN_MOVES * series.scale * np.sqrt(sessions)):
            before = series.close[bar - 1]
            detail = (
                f"{before:g} before, {series.close[bar]:g} after {int(holes[bar - 1])} days without a bar: "
                "another instrument, or a split that is not on record"
            )
            found.add(
                "ticker_reuse", series.symbol, moment(series.days[bar]), "block", detail,
                at=series.tape.rows.at[series.rows[bar]], value=series.close[bar], expected=before,
            )  # fmt: skip
