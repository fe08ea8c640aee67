"""Splits that are not on record, moves that only look like one, and tickers that became somebody else's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.data.quality.market import moved_together
from workbench.data.quality.report import Found
from workbench.data.quality.series import Series
from workbench.data.quality.tape import TO_SIGMA, Floats, Ints, Mask, moment, ratio_text
from workbench.data.rules import Severity

# Ratios that companies use; 5:4 and 4:3 are left out, for a fall of a quarter is too often just a fall.
_RATIOS = np.array([1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100])
LOG_RATIOS = np.log(np.concatenate([_RATIOS, 1 / _RATIOS]))
LARGE = float(np.log(4 / 3))  # log return that is looked at: a 3:2 split on a day that opens 12 % higher
_HISTORY = 60  # sessions that say what is ordinary for a symbol
_NOISE_FLOOR = 0.03  # log return; a quiet symbol still moves by 3 % overnight on a split day
_NOISE_WIDTH = 3.0  # robust standard deviations of the overnight return
_NOISE_MOST = 0.15  # beyond it every move would be some ratio
_OWN = 5.0  # robust standard deviations of the symbol's returns: a penny stock moves by half for a tick
_UNLIKELY = 12.0  # robust standard deviations of the returns around; a symbol does not move so far on its own
_TURNOVER = 4.0  # times the median turnover in USD that is no longer ordinary
_DOUBTFUL = 2.0  # the same of a move that a symbol may make on its own
_MULTIPLE = float(np.log(3.0))  # log return overnight that news hardly ever makes
_SAME_SHARES = 2.0  # times the shares: more than so many of them, and it is no split whose volumes are adjusted
_MULTIPLE_NOISE = 0.08  # log return; ratios of 4:1 and more are further apart
_TICKS = 3.5  # steps of the price; a share of 0.0004 halves in two
_ADJACENT = 10  # days; after a longer hole the move is that of weeks
_LONG_GAP = 28  # days without a bar, some 20 sessions, after which a ticker may be another's
_OTHER_LEVEL = float(np.log(2.0))
_OWN_MOVES = 5.0  # standard deviations that a share's own moves explain over the gap


def overnight_of(series: Series) -> Floats:
    """Log return from the close before to the open, splits as they are; the first bar's is zero."""
    found = np.zeros(len(series))
    found[1:] = series.log_open[1:] - series.log_close[:-1]
    return found


@dataclass(frozen=True, slots=True)
class Move:
    """A large move that only the other symbols can still explain."""

    series: Series
    bar: int
    size: float
    rule: str
    severity: Severity
    detail: str
    ratio: float


def moves(series: Series, found: Found, taken: Mask | None) -> list[Move]:
    """Tell a split from a crash: both halve the price, but a split shows in full at the open, and nobody trades more.

    AAPL on 2000-09-29 opened 47 % lower, closed 52 % lower, on 12.5 times its turnover: news, and no finding.
    """
    days = series.days
    holes = np.diff(days)
    if holes.max() >= _LONG_GAP:
        _reuse(series, found, holes)
    overnight, returns = overnight_of(series), series.returns
    large = np.maximum(np.abs(overnight), np.abs(returns)) > LARGE
    large[1:] &= holes <= _ADJACENT
    if large.any():
        overnight, returns = _without_payouts(series, large, overnight, returns)
        large &= np.maximum(np.abs(overnight), np.abs(returns)) > LARGE
    if series.has_splits:
        large &= series.splits == 0
    if taken is not None:
        large &= ~taken
    bars = np.flatnonzero(large)
    if not len(bars):
        return []
    turnover = series.volume * series.close
    beyond = _beyond_ticks(series, bars)
    made = [_move(series, overnight, turnover, bar) for bar in beyond if not _is_print(series, overnight, bar)]
    return [move for move in made if move is not None]


def _without_payouts(series: Series, large: Mask, overnight: Floats, returns: Floats) -> tuple[Floats, Floats]:
    """Large moves without the dividends on record that they are by and large: of 30 %, or a company handed out."""
    overnight, returns = overnight.copy(), returns.copy()
    for day, _, amount in series.tape.recorded(series.symbol, ("dividend", "special_dividend")):
        bar = int(np.searchsorted(series.days, day))
        if not (0 < bar < len(series) and large[bar] and amount < series.close[bar - 1]):
            continue
        drop = -np.log1p(-amount / series.close[bar - 1])
        if abs(overnight[bar] + drop) < abs(overnight[bar]):
            overnight[bar] += drop
            returns[bar] += drop
    return overnight, returns


def _beyond_ticks(series: Series, bars: Ints) -> list[int]:
    before = series.close[bars - 1]
    far = np.maximum(np.abs(series.open[bars] - before), np.abs(series.close[bars] - before))
    kept: list[int] = bars[far > _TICKS * series.tick(bars)].tolist()
    return kept


def tell(found: Found, made: Sequence[Move], everyone: Sequence[Series]) -> None:
    """Tell of the moves in which the rest of the market took no part."""
    if not made:
        return
    ns = np.array([move.series.ns[move.bar] for move in made])
    sizes = np.array([move.size for move in made])
    owners = np.array([move.series.number for move in made])
    for move, market in zip(made, moved_together(everyone, ns, sizes, owners), strict=True):
        if not market:
            series = move.series
            session, at = moment(series.days[move.bar]), series.tape.rows.at[series.rows[move.bar]]
            found.add(move.rule, series.symbol, session, move.severity, move.detail, at=at, expected=move.ratio)


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


def _move(series: Series, overnight: Floats, turnover: Floats, bar: int) -> Move | None:
    """What a large move is; None is news (everybody traded), or nothing unusual for the symbol."""
    past = overnight[max(1, bar - _HISTORY) : bar]
    spread = TO_SIGMA * float(np.median(np.abs(past - np.median(past)))) if len(past) >= 10 else 0.0
    noise = min(max(_NOISE_FLOOR, _NOISE_WIDTH * spread), _NOISE_MOST)
    nearest = float(LOG_RATIOS[np.argmin(np.abs(overnight[bar] + LOG_RATIOS))])
    if abs(nearest) > _MULTIPLE + 0.1:
        noise = max(noise, _MULTIPLE_NOISE)
    usual = float(np.median(turnover[max(0, bar - _HISTORY) : bar]))
    times = turnover[bar] / usual if usual > 0 else np.inf
    if times > _TURNOVER and not _is_same_shares(series, bar):
        return None
    changes = f"overnight {np.expm1(overnight[bar]):+.1%}, close to close {np.expm1(series.returns[bar]):+.1%}"
    facts = f"{changes}, turnover x {times:.1f}"
    ratio = float(np.exp(nearest))
    split = ratio_text(round(ratio, 6))
    size = max(float(overnight[bar]), float(series.returns[bar]), key=abs)
    own = max(series.scale, float(series.local(np.array([bar]))[0]))
    likely = abs(size) <= _UNLIKELY * own
    fits = abs(overnight[bar] + nearest) <= noise and abs(size) > _OWN * series.scale
    if fits and not (likely and times > _DOUBTFUL and not _is_same_shares(series, bar)):
        detail = f"{facts}: a split of {split} that is not on record"
        return Move(series, bar, size, "unapplied_split", "block", detail, ratio)
    if likely or times > _TURNOVER:
        return None
    return Move(series, bar, size, "split_like_move", "warn", f"{facts}; nearest split {split}", float("nan"))


def _is_same_shares(series: Series, bar: int) -> bool:
    """Whether no more shares changed hands than usual, though a higher price made more USD of them.

    A reverse split beside volumes that are adjusted for it: news that multiplies a price is not traded like that.
    """
    usual = float(np.median(series.volume[max(0, bar - _HISTORY) : bar]))
    multiple = abs(series.log_open[bar] - series.log_close[bar - 1]) > _MULTIPLE
    return bool(series.volume[bar] <= (_TURNOVER if multiple else _SAME_SHARES) * usual)


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
