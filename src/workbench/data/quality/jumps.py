"""Splits that are not on record, and moves that only look like one."""

from __future__ import annotations

import numpy as np

from workbench.data.quality.report import Found
from workbench.data.quality.tape import Floats, Ints, Tape, moment, ratio_text

# Ratios that companies use; 5:4 and 4:3 are left out, for a fall of a quarter is too often just a fall.
_RATIOS = np.array([1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50, 100])
LOG_RATIOS = np.log(np.concatenate([_RATIOS, 1 / _RATIOS]))
LARGE = float(np.log(4 / 3))  # log return that is looked at: a 3:2 split on a day that opens 12 % higher
_HISTORY = 60  # sessions that say what is ordinary for a symbol
_NOISE_FLOOR = 0.03  # log return; a quiet symbol still moves by 3 % overnight on a split day
_NOISE_WIDTH = 3.0  # robust standard deviations of the overnight return
_TURNOVER = 4.0  # times the median turnover in USD that is no longer ordinary
_NOT_MOVED = 0.5  # share of a recorded split (in logs) that the open must show
_ADJACENT = 10  # days; after a longer hole the move is that of weeks


def judge(tape: Tape, found: Found) -> None:
    """Every symbol's splits, recorded or not."""
    for _, symbol, kept in tape.symbols():
        if len(kept) >= 2:
            _symbol(tape, found, symbol, kept)


def splits_at(tape: Tape, symbol: str, days: Ints) -> Floats:
    """The log of the recorded split of every bar, shape (T,): it works from the first bar on or after its ex-date."""
    logs = np.zeros(len(days))
    for day, _, value in tape.recorded(symbol, ("split",)):
        place = int(np.searchsorted(days, day))
        if place < len(days):
            logs[place] += np.log(value)
    return logs


def _symbol(tape: Tape, found: Found, symbol: str, kept: Ints) -> None:
    """Tell a split from a crash: both halve the price, but a split shows in full at the open, and nobody
    trades more for it. AAPL on 2000-09-29 opened 47 % lower, closed 52 % lower, on 12.5 times its turnover.
    """
    rows = tape.rows
    days = tape.days(kept)
    open_, close = rows.open[kept], rows.close[kept]
    overnight = np.log(open_[1:] / close[:-1])
    daily = np.log(close[1:] / close[:-1])
    recorded = splits_at(tape, symbol, days)[1:]
    has_split = recorded != 0
    unmoved = has_split & (np.abs(overnight + recorded) > _NOT_MOVED * np.abs(recorded))
    for at in np.flatnonzero(unmoved).tolist():
        seen = f"close {close[at]:g}, next open {open_[at + 1]:g}"
        detail = f"a split of {np.exp(recorded[at]):g} is on record; {seen}"
        found.add("split_not_in_price", symbol, moment(days[at + 1]), "block", detail)
    large = np.maximum(np.abs(overnight), np.abs(daily)) > LARGE
    if not large.any():
        return
    turnover = rows.volume[kept] * close
    adjacent = np.diff(days) <= _ADJACENT
    for at in np.flatnonzero(large & ~has_split & adjacent).tolist():
        _move(found, symbol, days, overnight, daily, turnover, at)


def _move(found: Found, symbol: str, days: Ints, overnight: Floats, daily: Floats, turnover: Floats, at: int) -> None:
    """What a large move is; element ``at`` of the returns belongs to element ``at`` + 1 of ``turnover``."""
    past = overnight[max(0, at - _HISTORY) : at]
    spread = 1.4826 * float(np.median(np.abs(past - np.median(past)))) if len(past) >= 10 else 0.0
    noise = max(_NOISE_FLOOR, _NOISE_WIDTH * spread)
    nearest = LOG_RATIOS[np.argmin(np.abs(overnight[at] + LOG_RATIOS))]
    distance = abs(overnight[at] + nearest)
    usual = float(np.median(turnover[max(0, at + 1 - _HISTORY) : at + 1]))
    times = turnover[at + 1] / usual if usual > 0 else np.inf
    moves = f"overnight {np.expm1(overnight[at]):+.1%}, close to close {np.expm1(daily[at]):+.1%}"
    facts = f"{moves}, turnover x {times:.1f}"
    split = ratio_text(round(float(np.exp(nearest)), 6))
    if distance <= noise and times <= _TURNOVER:
        detail = f"{facts}: a split of {split} that is not on record"
        found.add("unapplied_split", symbol, moment(days[at + 1]), "block", detail)
    else:
        found.add("split_like_move", symbol, moment(days[at + 1]), "warn", f"{facts}; nearest split {split}")
