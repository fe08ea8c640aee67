"""Is this data fit to decide on? Named rules over raw bars, and one verdict.

``block`` means: do not trade on it before a person has looked. ``warn`` means: the numbers can be used, and
whoever uses them should know. Each rule is defined once, in ``RULES``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.calendars import Calendar
from workbench.data.bars import FIELDS, Bars
from workbench.data.instruments import Listings, Spell
from workbench.data.quality import dividends, jumps, minutes, outliers, presence, quotes, recorded, stale, units, values
from workbench.data.quality.acceptances import Acceptance, excuses
from workbench.data.quality.report import COLUMNS, MOST, Finding, Found, QualityReport
from workbench.data.quality.series import Series, all_series
from workbench.data.quality.tape import Action, Ints, Mask, Tape
from workbench.data.rows import BarRows
from workbench.data.rules import RULES, Rule, Severity, Verdict

if TYPE_CHECKING:
    import pandas as pd

Notice = tuple[str, date, date, str]  # symbol, first and last session, detail

__all__ = ["COLUMNS", "RULES", "Acceptance", "Finding", "QualityReport", "Rule", "Severity", "Verdict", "check"]


def check(
    bars: Bars | BarRows,
    actions: pd.DataFrame | Sequence[Action],
    calendar: Calendar,
    *,
    session: date | None = None,
    notices: pd.DataFrame | Sequence[Notice] | None = None,
    listings: pd.DataFrame | Listings | None = None,
    acceptances: Sequence[Acceptance] = (),
    today: date | None = None,
    most: int | None = MOST,
    crossed: pd.DataFrame | None = None,
) -> QualityReport:
    """Judge raw bars over the window they cover.

    Parameters
    ----------
    bars
        As traded, daily or by the minute. With ``session``, later ones are ignored.
    actions
        ``symbol``, ``ex_date``, ``kind``, ``value``, as from ``Lake.actions`` or ``Lake.action_rows``.
    calendar
        Of the exchange the symbols trade on.
    session
        The session decided on; None judges history only.
    notices
        Known faults of the source, as from ``Lake.notices`` or ``Lake.notice_rows``.
    listings
        ``instrument``, ``symbol``, ``first`` and ``last`` (NaT: still listed), as from ``Lake.listings`` or
        ``Lake.spells``: which tickers ended or were reused.
    acceptances
        What people can live with: the findings they cover are kept in ``accepted`` and do not count.
    today
        The day on which acceptances must still stand; None takes all of them for standing.
    most
        Findings of one rule on one symbol that are told one by one; how many more there are is told once. None
        is no bound.
    crossed
        Quotes of these symbols that are crossed or not above zero, as from ``Lake.quotes(crossed=True)``.

    Raises
    ------
    DataError
        If ``bars`` are adjusted: splits could not be told from errors any more.

    Example
    -------
    >>> import pandas as pd
    >>> from workbench.calendars import calendar
    >>> from workbench.data.dataset import no_actions
    >>> days = pd.DatetimeIndex(["2013-01-02", "2013-01-04"], name="session")  # nothing on the 3rd
    >>> frame = pd.DataFrame({"IBM": [196.3, 194.0]}, index=days)
    >>> bars = Bars(frame, frame, frame, frame, frame, adjustment="raw", snapshot=1)
    >>> check(bars, no_actions(), calendar("XNYS")).reasons()
    ['warn: IBM 2013-01-03 missing_sessions: 1 session is missing']
    """
    rows = bars if isinstance(bars, BarRows) else BarRows.from_bars(bars)
    if session is not None:
        rows = _until(rows, session)
    actions = _plain(actions, ("symbol", "ex_date", "kind", "value"))
    spells = listings if isinstance(listings, Listings) else Listings(_spells(listings))
    tape = Tape(rows, actions, calendar, session, spells)
    found = Found(rows, tape.sessions, most)
    presence.judge(tape, found, presence.daily(tape) if tape.daily else minutes.judge(tape, found))
    wide = values.judge(tape, found)
    quotes.judge(tape, found)
    if crossed is not None:
        quotes.tell(tape, found, crossed)
    _moves(tape, found, wide)
    if not tape.daily:
        sessions = minutes.by_session(tape)
        _by_session(Tape(sessions, actions, calendar, session, spells), found)
    _known_faults(tape, found, _plain(notices, ("symbol", "first", "last", "detail")))
    report = QualityReport(tuple(found.finish()), session, rows.snapshot, rows.symbols)
    return report.excuse(excuses(acceptances, today)) if acceptances else report


def _moves(tape: Tape, found: Found, wide: Ints) -> None:
    """Rules about how one bar follows another; ``wide``: bars whose range the others may explain."""
    everyone: list[Series] = list(all_series(tape))
    values.tell_wide(tape, found, wide, everyone)
    spikes: list[outliers.Spikes] = []
    large: list[jumps.Move] = []
    for series in everyone:
        stale.judge(series, found)
        taken = units.judge(series, found)
        spikes += outliers.candidates(series, taken)
        if tape.daily:
            large += _sessions(series, found, taken)
    outliers.judge(found, spikes, everyone)
    jumps.tell(found, large, everyone)


def _sessions(series: Series, found: Found, taken: Mask | None) -> list[jumps.Move]:
    """Rules about what happens from one session to the next; large moves are for the others to explain."""
    recorded.judge(series, found)
    dividends.judge(series, found)
    return jumps.moves(series, found, taken)


def _by_session(tape: Tape, found: Found) -> None:
    """The same of bars by the minute; what is wrong with their units has been told."""
    everyone = list(all_series(tape))
    unheard = Found(tape.rows, tape.sessions, 0)
    large = [move for series in everyone for move in _sessions(series, found, units.judge(series, unheard))]
    jumps.tell(found, large, everyone)


def _until(rows: BarRows, session: date) -> BarRows:
    """The bars up to a session, whole days."""
    end = np.datetime64(session, "ns") + np.timedelta64(1, "D")
    if not len(rows) or rows.at.max() < end:
        return rows
    kept = rows.at < end
    counts = np.add.reduceat(np.append(kept, False).astype(np.int64), rows.offsets[:-1])
    counts[np.diff(rows.offsets) == 0] = 0
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    columns = {name: getattr(rows, name)[kept] for name in FIELDS}
    return replace(rows, offsets=offsets, at=rows.at[kept], **columns)


def _known_faults(tape: Tape, found: Found, notices: Sequence[Notice]) -> None:
    rows = tape.rows
    for symbol, first, last, detail in notices:
        if symbol not in rows.symbols:
            continue
        own = rows.rows_of(symbol)
        sessions = tape.sessions(own)
        concerned = sessions[(sessions >= np.datetime64(first)) & (sessions <= np.datetime64(last))]
        if len(concerned):
            found.add("known_fault", symbol, concerned[0], "warn", detail, last=concerned[-1])


def _plain(table: pd.DataFrame | Sequence[Any] | None, columns: Sequence[str]) -> list[Any]:
    """The rows of a frame, with days as dates (None: there is none); rows that are plain already as they are."""
    if table is None or isinstance(table, Sequence):
        return list(table or ())
    values = (table[name].to_numpy() for name in columns)
    return list(zip(*(v.astype("M8[D]").tolist() if v.dtype.kind == "M" else v.tolist() for v in values), strict=True))


def _spells(listings: pd.DataFrame | None) -> list[Spell]:
    return [Spell(*row) for row in _plain(listings, ("instrument", "symbol", "first", "last"))]
