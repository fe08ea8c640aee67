"""Is this data fit to decide on? Named rules over raw bars, and one verdict.

``block`` means: do not trade on it before a person has looked. ``warn`` means: the numbers can be used, and
whoever uses them should know. Each rule is defined once, in ``RULES``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.calendars import Calendar
from workbench.data.bars import FIELDS, Bars
from workbench.errors import DataError

Severity = Literal["warn", "block"]
Verdict = Literal["pass", "warn", "block"]
Finding = tuple[str, pd.Timestamp, str, Severity, str]

COLUMNS = ("symbol", "session", "rule", "severity", "detail")
RULES: dict[str, str] = {
    "stale": "block: a symbol that traded before has no bar in the session decided on",
    "no_bars": "a symbol has no bar in the window; warn (not listed yet, or no longer), block if no symbol has one",
    "missing_sessions": "an exchange session between a symbol's first and last bar has no bar; "
    "up to 5 in a row warn, more block",
    "extra_session": "warn: a bar on a day the exchange was closed",
    "bad_value": "block: a price that is missing or not above zero, or a volume that is missing or below zero",
    "price_order": "the high is below, or the low above, another price of the bar; "
    "block in the session decided on, warn before it",
    "zero_volume": "warn: a bar with prices in which nothing was traded",
    "unapplied_split": "block: the open is a split ratio (3:2 or more, either way) away from the close "
    "before, within the symbol's ordinary overnight noise, on ordinary turnover, and no split is on record",
    "split_not_in_price": "block: a split is on record, and the open did not move by it",
    "split_like_move": "warn: a move as large as a split (a third up or a quarter down), but off every ratio "
    "or on exceptional turnover: most likely news",
    "known_fault": "warn: the source is known to be wrong here, though its numbers do not show it",
}

MAX_GAP = 5
_ADJACENT = np.timedelta64(10, "D")
# Ratios that companies use; 5:4 and 4:3 are left out, for a fall of a quarter is too often just a fall.
_RATIOS = np.array([1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50, 100])
_LOG_RATIOS = np.log(np.concatenate([_RATIOS, 1 / _RATIOS]))
_LARGE = np.log(4 / 3)  # log return that is looked at: a 3:2 split on a day that opens 12 % higher
_HISTORY = 60  # sessions that say what is ordinary for a symbol
_NOISE_FLOOR = 0.03  # log return; a quiet symbol still moves by 3 % overnight on a split day
_NOISE_WIDTH = 3.0  # robust standard deviations of the overnight return
_TURNOVER = 4.0  # times the median turnover in USD that is no longer ordinary
_NOT_MOVED = 0.5  # share of a recorded split (in logs) that the open must show


@dataclass(frozen=True)
class QualityReport:
    """The verdict on a window of bars and its reasons.

    ``findings``: ``symbol``, ``session`` (datetime64; the first one concerned), ``rule``, ``severity`` and
    ``detail``; blocks first, then by session and symbol. ``session`` is the one decided on, if any.
    """

    verdict: Verdict
    findings: pd.DataFrame
    session: date | None
    snapshot: int
    symbols: tuple[str, ...]

    @property
    def blocked(self) -> list[str]:
        """Symbols with a finding that blocks, sorted."""
        return sorted(set(self.findings.loc[self.findings["severity"] == "block", "symbol"]))

    def reasons(self) -> list[str]:
        """One line per finding, the gravest first."""
        return [
            f"{row.severity}: {row.symbol} {row.session:%Y-%m-%d} {row.rule}: {row.detail}"
            for row in self.findings.itertuples()
        ]


def check(
    bars: Bars,
    actions: pd.DataFrame,
    calendar: Calendar,
    *,
    session: date | None = None,
    notices: pd.DataFrame | None = None,
) -> QualityReport:
    """Judge raw bars over the window they cover.

    Parameters
    ----------
    bars
        As traded; sessions x symbols. With ``session``, later rows are ignored.
    actions
        ``symbol``, ``ex_date``, ``kind``, ``value``, as from ``Lake.actions``.
    calendar
        Of the exchange the symbols trade on.
    session
        The session decided on; None judges history only.
    notices
        Known faults of the source, as from ``Lake.notices``.

    Raises
    ------
    DataError
        If ``bars`` are adjusted: splits could not be told from errors any more.

    Example
    -------
    >>> from workbench.calendars import calendar
    >>> from workbench.data.dataset import no_actions
    >>> days = pd.DatetimeIndex(["2013-01-02", "2013-01-04"], name="session")  # nothing on the 3rd
    >>> frame = pd.DataFrame({"IBM": [196.3, 194.0]}, index=days)
    >>> bars = Bars(frame, frame, frame, frame, frame, adjustment="raw", snapshot=1)
    >>> check(bars, no_actions(), calendar("XNYS")).reasons()
    ['warn: IBM 2013-01-03 missing_sessions: 1 session is missing']
    """
    if bars.adjustment != "raw":
        raise DataError(f"quality is judged on raw bars, not {bars.adjustment}-adjusted ones")
    if session is not None:
        bars = bars.between(end=session)
    window = _Window(bars, actions, session)
    findings: list[Finding] = []
    for rule in (_presence, _calendar_rules(calendar), _values, _splits):
        findings.extend(rule(window))
    if notices is not None:
        findings.extend(_known_faults(window, notices))
    frame = pd.DataFrame(findings, columns=list(COLUMNS)).astype({"session": "datetime64[ns]"})
    frame = frame.sort_values(["severity", "session", "symbol", "rule"], ignore_index=True)
    severities = set(frame["severity"])
    verdict: Verdict = "block" if "block" in severities else "warn" if "warn" in severities else "pass"
    return QualityReport(verdict, frame, session, bars.snapshot, tuple(bars.symbols))


class _Window:
    """The arrays that rules share, shape (sessions, symbols)."""

    def __init__(self, bars: Bars, actions: pd.DataFrame, session: date | None) -> None:
        self.sessions = bars.sessions
        self.symbols = bars.symbols
        self.decided = None if session is None else pd.Timestamp(session)
        self.fields = {name: getattr(bars, name).to_numpy(dtype=np.float64) for name in FIELDS}
        self.present = np.zeros(bars.close.shape, dtype=bool)
        for values in self.fields.values():
            self.present |= ~np.isnan(values)
        self.splits = np.ones(bars.close.shape)
        splits = actions[actions["kind"] == "split"]
        for symbol, day, value in zip(splits["symbol"], splits["ex_date"], splits["value"], strict=True):
            if symbol not in self.symbols:
                continue
            column = self.symbols.index(symbol)
            traded = np.flatnonzero(self.present[:, column])
            later = traded[traded >= self.sessions.searchsorted(day)]
            if len(later):  # as in adjust: it works from the first bar on or after its ex-date
                self.splits[later[0], column] *= value

    def at(self, mask: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int, str, pd.Timestamp]]:
        """Row, column, symbol and session of every true cell."""
        for row, column in np.argwhere(mask):
            yield int(row), int(column), self.symbols[column], self.sessions[row]


def _presence(window: _Window) -> Iterator[Finding]:
    last = window.decided or (window.sessions[-1] if len(window.sessions) else None)
    for column, symbol in enumerate(window.symbols):
        rows = np.flatnonzero(window.present[:, column])
        if last is not None and not len(rows):
            yield symbol, last, "no_bars", "warn" if window.present.any() else "block", "no bar in the window"
        elif window.decided is not None and window.sessions[rows[-1]] != window.decided:
            yield (
                symbol,
                window.decided,
                "stale",
                "block",
                f"the last bar is of {window.sessions[rows[-1]]:%Y-%m-%d}",
            )


def _calendar_rules(calendar: Calendar) -> Any:
    def rules(window: _Window) -> Iterator[Finding]:
        if not len(window.sessions):
            return
        expected = calendar.index(window.sessions[0].date(), window.sessions[-1].date())
        closed = ~window.sessions.isin(expected)
        for _, _, symbol, day in window.at(window.present & closed[:, None]):
            yield symbol, day, "extra_session", "warn", f"{calendar.name} was closed on this {day:%A}"
        rows = window.sessions.get_indexer(expected)
        there = np.where((rows >= 0)[:, None], window.present[rows], False)
        for column, symbol in enumerate(window.symbols):
            yield from _gaps(symbol, expected, there[:, column])

    return rules


def _gaps(symbol: str, expected: pd.DatetimeIndex, there: npt.NDArray[np.bool_]) -> Iterator[Finding]:
    rows = np.flatnonzero(there)
    for before in np.flatnonzero(np.diff(rows) > 1):
        first, last = rows[before] + 1, rows[before + 1] - 1
        count = int(last - first + 1)
        severity: Severity = "warn" if count <= MAX_GAP else "block"
        until = "" if count == 1 else f", up to {expected[last]:%Y-%m-%d}"
        noun = "session is" if count == 1 else "sessions are"
        yield symbol, expected[first], "missing_sessions", severity, f"{count} {noun} missing{until}"


def _values(window: _Window) -> Iterator[Finding]:
    prices = np.stack([window.fields[name] for name in FIELDS[:4]])
    volume = window.fields["volume"]
    good = (prices > 0).all(axis=0) & np.isfinite(prices).all(axis=0) & (volume >= 0) & np.isfinite(volume)
    for row, column, symbol, day in window.at(window.present & ~good):
        yield symbol, day, "bad_value", "block", _bar(window, row, column)
    open_, high, low, close = prices
    disorder = good & ((high < np.maximum(open_, close)) | (low > np.minimum(open_, close)) | (high < low))
    for row, column, symbol, day in window.at(disorder):
        yield (
            symbol,
            day,
            "price_order",
            "block" if day == window.decided else "warn",
            _bar(window, row, column),
        )
    for row, column, symbol, day in window.at(good & (volume == 0)):
        yield symbol, day, "zero_volume", "warn", _bar(window, row, column)


def _splits(window: _Window) -> Iterator[Finding]:
    """Tell a split from a crash: both halve the price, but a split shows in full at the open, and nobody
    trades more for it. AAPL on 2000-09-29 opened 47 % lower, closed 52 % lower, on 12.5 times its turnover.
    """
    for column, symbol in enumerate(window.symbols):
        rows = np.flatnonzero((window.fields["close"][:, column] > 0) & (window.fields["open"][:, column] > 0))
        if len(rows) < 2:
            continue
        open_, close = window.fields["open"][rows, column], window.fields["close"][rows, column]
        overnight = np.log(open_[1:] / close[:-1])
        daily = np.log(close[1:] / close[:-1])
        recorded = np.log(window.splits[rows[1:], column])
        has_split = recorded != 0
        unmoved = has_split & (np.abs(overnight + recorded) > _NOT_MOVED * np.abs(recorded))
        for at in np.flatnonzero(unmoved):
            seen = f"close {close[at]:g}, next open {open_[at + 1]:g}"
            detail = f"a split of {np.exp(recorded[at]):g} is on record; {seen}"
            yield symbol, window.sessions[rows[at + 1]], "split_not_in_price", "block", detail
        large = np.maximum(np.abs(overnight), np.abs(daily)) > _LARGE
        turnover = window.fields["volume"][rows, column] * close
        # After a hole in the data the move is that of weeks, and missing_sessions has said so.
        adjacent = np.diff(window.sessions.to_numpy()[rows]) <= _ADJACENT
        for at in np.flatnonzero(large & ~has_split & adjacent):
            rule, severity, detail = _judge(overnight, daily, turnover, int(at))
            yield symbol, window.sessions[rows[at + 1]], rule, severity, detail


def _judge(
    overnight: npt.NDArray[np.float64],
    daily: npt.NDArray[np.float64],
    turnover: npt.NDArray[np.float64],
    at: int,
) -> tuple[str, Severity, str]:
    """What a large move is; element ``at`` of the returns belongs to element ``at`` + 1 of ``turnover``."""
    past = overnight[max(0, at - _HISTORY) : at]
    spread = 1.4826 * float(np.median(np.abs(past - np.median(past)))) if len(past) >= 10 else 0.0
    noise = max(_NOISE_FLOOR, _NOISE_WIDTH * spread)
    nearest = _LOG_RATIOS[np.argmin(np.abs(overnight[at] + _LOG_RATIOS))]
    distance = abs(overnight[at] + nearest)
    usual = float(np.median(turnover[max(0, at + 1 - _HISTORY) : at + 1]))
    times = turnover[at + 1] / usual if usual > 0 else np.inf
    ratio = np.exp(nearest)
    split = f"{ratio:g}:1" if ratio > 1 else f"1:{1 / ratio:g}"
    moves = f"overnight {np.expm1(overnight[at]):+.1%}, close to close {np.expm1(daily[at]):+.1%}"
    facts = f"{moves}, turnover x {times:.1f}"
    if distance <= noise and times <= _TURNOVER:
        return "unapplied_split", "block", f"{facts}: a split of {split} that is not on record"
    return "split_like_move", "warn", f"{facts}; nearest split {split}"


def _known_faults(window: _Window, notices: pd.DataFrame) -> Iterator[Finding]:
    days = window.sessions.to_numpy()
    columns = [notices[name] for name in ("symbol", "first", "last", "detail")]
    for symbol, first, last, detail in zip(*columns, strict=True):
        if symbol not in window.symbols:
            continue
        concerned = (days >= np.datetime64(first)) & (days <= np.datetime64(last))
        rows = np.flatnonzero(window.present[:, window.symbols.index(symbol)] & concerned)
        if len(rows):
            yield symbol, window.sessions[rows[0]], "known_fault", "warn", detail


def _bar(window: _Window, row: int, column: int) -> str:
    return " ".join(f"{name} {window.fields[name][row, column]:g}" for name in FIELDS)
