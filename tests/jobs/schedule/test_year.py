"""A year of scheduling on four exchanges, against a list worked out from what the exchanges published for 2024.

Nothing here comes from exchange_calendars or the time zone database: holidays, half-days and hours are those of the
exchanges' own calendars (NYSE "Holidays & Trading Hours 2024", LSE "Business days 2024", JPX "Market holidays 2024" and
"Extension of trading hours from 5 November 2024"), and the changes of the clocks are written out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import exchange_calendars
import pytest

from workbench.calendars import Calendar
from workbench.jobs.pipelines import Pipeline
from workbench.jobs.schedule.agenda import Agenda, Kind, Past
from workbench.journal.states import RunState

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
H, M = timedelta(hours=1), timedelta(minutes=1)


def at(month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2024, month, day, hour, minute, tzinfo=UTC)


# ---- what the exchanges published ----------------------------------------------------------------

NEW_YORK_HOLIDAYS = {(1, 1), (1, 15), (2, 19), (3, 29), (5, 27), (6, 19), (7, 4), (9, 2), (11, 28), (12, 25)}
NEW_YORK_HALF_DAYS = {(7, 3), (11, 29), (12, 24)}  # close at 13:00
LONDON_HOLIDAYS = {(1, 1), (3, 29), (4, 1), (5, 6), (5, 27), (8, 26), (12, 25), (12, 26)}
LONDON_HALF_DAYS = {(12, 24), (12, 31)}  # close at 12:30
TOKYO_HOLIDAYS = {
    (1, 1), (1, 2), (1, 3), (1, 8), (2, 12), (2, 23), (3, 20), (4, 29), (5, 3), (5, 6), (7, 15), (8, 12), (9, 16),
    (9, 23), (10, 14), (11, 4), (12, 31),
}  # fmt: skip


def new_york(day: date, wall: time) -> datetime:
    """EDT from 10 March 2:00 to 3 November 2:00; of a time shown twice, the first; of one never shown, 3:00 EDT."""
    local = datetime.combine(day, wall, UTC)
    if at(3, 10, 2) <= local < at(3, 10, 3):
        return at(3, 10, 7)
    return local + (4 * H if at(3, 10, 3) <= local < at(11, 3, 2) else 5 * H)


def london(day: date, wall: time) -> datetime:
    """BST from 31 March 1:00 to 27 October 2:00; of a time shown twice, the first; of one never shown, 2:00 BST."""
    local = datetime.combine(day, wall, UTC)
    if at(3, 31, 1) <= local < at(3, 31, 2):
        return at(3, 31, 1)
    return local - (H if at(3, 31, 2) <= local < at(10, 27, 2) else 0 * H)


def tokyo(day: date, wall: time) -> datetime:
    return datetime.combine(day, wall, UTC) - 9 * H


def utc(day: date, wall: time) -> datetime:
    return datetime.combine(day, wall, UTC)


def days(start: date, end: date) -> Iterator[date]:
    while start < end:
        yield start
        start += timedelta(days=1)


Hours = dict[date, tuple[datetime, datetime]]


def hours_of(name: str) -> Hours:
    """Open and close of every session of the year, with the one before it and the one after."""
    found: Hours = {}
    for day in days(date(2023, 12, 25), date(2025, 1, 8)):
        key, year = (day.month, day.day), day.year
        if name == "24/7":
            found[day] = utc(day, time(0)), utc(day + timedelta(days=1), time(0))
        elif day.weekday() >= 5:
            continue
        elif name == "XNYS" and key not in (NEW_YORK_HOLIDAYS if year == 2024 else {(12, 25), (1, 1)}):
            short = year == 2024 and key in NEW_YORK_HALF_DAYS
            found[day] = new_york(day, time(9, 30)), new_york(day, time(13) if short else time(16))
        elif name == "XLON" and key not in (LONDON_HOLIDAYS if year == 2024 else {(12, 25), (12, 26), (1, 1)}):
            short = (year == 2024 and key in LONDON_HALF_DAYS) or day == date(2023, 12, 29)
            found[day] = london(day, time(8)), london(day, time(12, 30) if short else time(16, 30))
        elif name == "XTKS" and key not in TOKYO_HOLIDAYS and not (year == 2025 and day < date(2025, 1, 6)):
            late = day >= date(2024, 11, 5)
            found[day] = tokyo(day, time(9)), tokyo(day, time(15, 30) if late else time(15))
    return found


EXCHANGES = {name: hours_of(name) for name in ("XNYS", "XLON", "XTKS", "24/7")}


def every(name: str, step: timedelta, start: timedelta = 0 * M, end: timedelta | None = None) -> list[datetime]:
    """Moments within every session; ``end`` is before the close, and itself included."""
    found = []
    for day, (opens, closes) in EXCHANGES[name].items():
        moment = opens + start
        while moment < closes and (end is None or moment <= closes - end):
            if name != "XTKS" or not tokyo(day, time(11, 30)) <= moment < tokyo(day, time(12, 30)):
                found.append(moment)
            moment += step
    return found


def anchored(name: str, bell: int, offset: timedelta) -> list[datetime]:
    return [hours[bell] + offset for hours in EXCHANGES[name].values()]


def wall(zone: Callable[[date, time], datetime], wall: time, which: Callable[[date], bool]) -> list[datetime]:
    return [zone(day, wall) for day in days(date(2023, 12, 25), date(2025, 1, 8)) if which(day)]


# name: (calendar, schedule, missed, places orders, the moments)
JOBS: dict[str, tuple[str, str, str, bool, list[datetime]]] = {
    "ny_open": ("XNYS", "open - 10min", "skip", True, anchored("XNYS", 0, -10 * M)),
    "ny_auction": ("XNYS", "close - 15min", "run_until close - 5min", True, anchored("XNYS", 1, -15 * M)),
    "ny_daily": ("XNYS", "close + 30min", "run_once", False, anchored("XNYS", 1, 30 * M)),
    "ny_often": ("XNYS", "every 15min", "skip", True, every("XNYS", 15 * M)),
    "ny_inner": (
        "XNYS", "every 1h from open + 30min to close - 30min", "run_until 2h", False,
        every("XNYS", H, 30 * M, 30 * M),
    ),
    "ny_night": ("XNYS", "cron 30 2 * * * America/New_York", "run_once", False, wall(new_york, time(2, 30), bool)),
    "ny_fold": ("XNYS", "cron 30 1 * * sun America/New_York", "skip", False,
                wall(new_york, time(1, 30), lambda day: day.weekday() == 6)),
    "ny_late": ("XNYS", "cron 30 16 * * mon-fri America/New_York", "run_until 3h", True,
                wall(new_york, time(16, 30), lambda day: day.weekday() < 5)),
    "ld_open": ("XLON", "open", "skip", True, anchored("XLON", 0, 0 * M)),
    "ld_close": ("XLON", "close - 5min", "skip", True, anchored("XLON", 1, -5 * M)),
    "ld_often": ("XLON", "every 30min", "run_once", False, every("XLON", 30 * M)),
    "ld_gap": ("XLON", "cron 15 1 * * * Europe/London", "skip", False, wall(london, time(1, 15), bool)),
    "tk_open": ("XTKS", "open + 5min", "skip", True, anchored("XTKS", 0, 5 * M)),
    "tk_close": ("XTKS", "close", "run_once", False, anchored("XTKS", 1, 0 * M)),
    "tk_often": ("XTKS", "every 30min", "skip", True, every("XTKS", 30 * M)),
    "tk_month": ("XTKS", "cron 0 6 1 * * Asia/Tokyo", "run_once", False,
                 wall(tokyo, time(6), lambda day: day.day == 1)),
    "on_open": ("24/7", "open", "run_once", False, anchored("24/7", 0, 0 * M)),
    "on_close": ("24/7", "close - 1min", "skip", True, anchored("24/7", 1, -1 * M)),
    "on_often": ("24/7", "every 2h", "skip", False, every("24/7", 2 * H)),
}  # fmt: skip

Run = tuple[str, datetime, date, int]


def expected(names: list[str]) -> list[Run]:
    """Every moment of the year: its session is the last that has closed, its slot its place among those of it."""
    found: list[Run] = []
    for name in names:
        exchange, _, _, _, moments = JOBS[name]
        closes = [(closed, session) for session, (_, closed) in EXCHANGES[exchange].items()]
        slots: Counter[date] = Counter()
        for moment in sorted(moments):
            session = max((session for closed, session in closes if closed <= moment), default=date.min)
            if START <= moment < END:
                found.append((name, moment, session, slots[session]))
            slots[session] += 1
    return sorted(found, key=lambda run: (run[1], run[0]))


# ---- the simulation ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def calendars() -> dict[str, Calendar]:
    return {
        name: Calendar(name, exchange_calendars.get_calendar(name, start="2023-01-01", end="2026-01-01"))
        for name in EXCHANGES
    }


def pipeline(name: str) -> Pipeline:
    exchange, schedule, missed, orders, _ = JOBS[name]
    return Pipeline.model_validate(
        {
            "name": name, "file": Path(f"{name}.toml"), "description": "", "calendar": exchange,
            "schedule": schedule, "missed": missed,
            "steps": [{"name": "only", "notebook": "only.ipynb", "orders": orders}],
        }
    )  # fmt: skip


class Year:
    """A scheduler that looks exactly when it said it would, and a ledger in memory."""

    def __init__(self, calendars: dict[str, Calendar], names: list[str], now: datetime = START) -> None:
        self.agenda = Agenda([pipeline(name) for name in names], calendars.__getitem__)
        self.ledger: dict[tuple[str, date], dict[int, Past]] = defaultdict(dict)
        self.runs: list[Run] = []
        self.skipped: dict[Run, str] = {}
        self.late: dict[Run, datetime] = {}
        self.seen: dict[str, datetime] = {}
        self.now = now
        self.look()

    def look(self) -> datetime | None:
        plan = self.agenda.decide(self.seen, self.now, lambda name, session: self.ledger[name, session])
        for action in plan.actions:
            due = action.due
            run = (due.pipeline, due.at, due.session, due.slot)
            slots = self.ledger[due.pipeline, due.session]
            assert due.slot not in slots
            if action.kind is Kind.RUN:
                self.runs.append(run)
                slots[due.slot] = Past(RunState.SUCCEEDED, due.at)
                if self.now != due.at:
                    self.late[run] = self.now
            elif action.kind is Kind.SKIP:
                self.skipped[run] = action.reason
                slots[due.slot] = Past(RunState.SKIPPED, due.at)
        self.seen = plan.seen
        return plan.wake

    def go_to(self, end: datetime) -> None:
        """Sleep from wake to wake; at ``end`` itself nothing is looked at."""
        wake = self.look()
        while wake is not None and wake < end:
            assert wake > self.now
            self.now = wake
            wake = self.look()


def closed_days(runs: list[Run]) -> dict[Run, str]:
    """What a trading job by the wall clock does on New York's holidays: nothing."""
    found = {}
    for run in runs:
        local = (run[1] - 4 * H).date()  # 16:30 there is the same date with either offset
        if run[0] == "ny_late" and local not in EXCHANGES["XNYS"]:
            found[run] = f"XNYS is closed on {local}"
    return found


def test_the_published_year_has_as_many_sessions_as_the_exchanges_say() -> None:
    counts = {name: sum(day.year == 2024 for day in hours) for name, hours in EXCHANGES.items()}
    assert counts == {"XNYS": 252, "XLON": 254, "XTKS": 245, "24/7": 366}


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_year_without_a_hitch_runs_every_moment_once_and_on_time(
    calendars: dict[str, Calendar], exchange: str
) -> None:
    names = [name for name, job in JOBS.items() if job[0] == exchange]
    year = Year(calendars, names)
    year.go_to(END)
    everything = expected(names)
    closed = closed_days(everything)
    assert year.runs == [run for run in everything if run not in closed]
    assert year.skipped == closed
    assert year.late == {}
    assert len(closed) == (len(NEW_YORK_HOLIDAYS) if exchange == "XNYS" else 0)


def test_upcoming_is_the_same_year_at_once(calendars: dict[str, Calendar]) -> None:
    agenda = Agenda([pipeline(name) for name in JOBS], calendars.__getitem__)
    found = [(due.pipeline, due.at, due.session, due.slot) for due in agenda.upcoming(START, END)]
    assert found == expected(list(JOBS))


def test_a_six_hour_outage_and_a_clock_that_jumps_change_only_what_the_policies_say(
    calendars: dict[str, Calendar],
) -> None:
    year = Year(calendars, list(JOBS))
    # Monday after New York's clocks changed, before London's: the power fails at 12:00, and is back at 18:00 UTC.
    year.go_to(at(3, 11, 12, 0))
    year.now = at(3, 11, 18)
    year.go_to(at(11, 4, 15, 10))
    # Monday after New York's clocks changed back: at 15:10 UTC the clock jumps to 20:50, and at 20:55 back to 15:15.
    year.now = at(11, 4, 20, 50)
    year.go_to(at(11, 4, 20, 55))
    year.now = at(11, 4, 15, 15)
    year.go_to(END)

    everything = expected(list(JOBS))
    jumped_over = at(11, 4, 15, 10), at(11, 4, 20, 50)
    away = {run for run in everything if at(3, 11, 12) <= run[1] < at(3, 11, 18)}
    away |= {run for run in everything if jumped_over[0] <= run[1] < jumped_over[1]}
    # Worked out by hand. 11 March, back at 18:00 UTC = 14:00 EDT = 18:00 GMT:
    #   ny_inner   14:00, 15:00, 16:00, 17:00 UTC missed, 18:00 on time: that one is later, so none is caught up
    #   ld_often   the last of the session, 16:00 UTC, is caught up once; those before it are superseded
    #   on_often   12:00 to 16:00 skipped, 18:00 on time; ny_open 13:20, ny_often 13:30 to 17:45, ld_close 16:25 skipped
    # 4 November, the clock jumps to 20:50 UTC = 15:50 EST:
    #   ny_auction 20:45 is within its deadline, 20:55: run at 20:50
    #   ny_inner   16:00 to 20:00 missed (15:00 was on time); 20:00 is within its 2 h, the others are superseded
    #   ld_often   16:00 caught up; 15:30 superseded
    caught_up = {
        ("ld_often", at(3, 11, 16)): at(3, 11, 18),
        ("ny_auction", at(11, 4, 20, 45)): at(11, 4, 20, 50),
        ("ny_inner", at(11, 4, 20)): at(11, 4, 20, 50),
        ("ld_often", at(11, 4, 16)): at(11, 4, 20, 50),
    }
    closed = closed_days(everything)
    runs = [run for run in everything if run not in closed and (run not in away or run[:2] in caught_up)]
    assert Counter(year.runs) == Counter(runs)
    assert {run[:2]: when for run, when in year.late.items()} == caught_up
    assert year.skipped.keys() == (away - set(runs)) | closed.keys()
    assert len(away) == 36 + 35
    assert Counter(run[0] for run in away if run not in runs) == {
        "ny_open": 1, "ny_often": 18 + 23, "ny_inner": 4 + 4, "ld_often": 8 + 1, "ld_close": 1 + 1, "on_often": 3 + 3,
    }  # fmt: skip


def test_each_change_of_the_clocks_runs_a_skipped_and_a_repeated_time_exactly_once(
    calendars: dict[str, Calendar],
) -> None:
    agenda = Agenda([pipeline(name) for name in ("ny_night", "ny_fold", "ld_gap")], calendars.__getitem__)

    def moments(name: str, start: datetime, end: datetime) -> list[datetime]:
        return [due.at for due in agenda.upcoming(start, end) if due.pipeline == name]

    assert moments("ny_night", at(3, 9, 12), at(3, 11, 12)) == [at(3, 10, 7), at(3, 11, 6, 30)]
    assert moments("ny_fold", at(11, 2, 12), at(11, 4)) == [at(11, 3, 5, 30)]
    assert moments("ld_gap", at(3, 30, 12), at(4, 1, 12)) == [at(3, 31, 1), at(4, 1, 0, 15)]
    assert moments("ld_gap", at(10, 26, 12), at(10, 28, 12)) == [at(10, 27, 0, 15), at(10, 28, 1, 15)]


def test_half_days_move_what_hangs_on_the_close_and_shorten_what_runs_within(calendars: dict[str, Calendar]) -> None:
    agenda = Agenda([pipeline(name) for name in ("ny_auction", "ny_often", "ld_close")], calendars.__getitem__)
    day = agenda.upcoming(at(12, 24), at(12, 25))  # New York closes at 13:00 EST, London at 12:30 GMT
    assert [due.at for due in day if due.pipeline == "ny_auction"] == [at(12, 24, 17, 45)]
    assert [due.at for due in day if due.pipeline == "ld_close"] == [at(12, 24, 12, 25)]
    assert len([due for due in day if due.pipeline == "ny_often"]) == 14  # 9:30 to 12:45
    assert agenda.upcoming(at(12, 25), at(12, 26)) == []
