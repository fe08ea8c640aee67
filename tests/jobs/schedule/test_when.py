"""What can be written as a schedule, and which moments follow; times of the clocks' changes are written out by hand."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import exchange_calendars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.calendars import Calendar, calendar
from workbench.errors import ConfigError
from workbench.jobs.schedule.cron import Cron
from workbench.jobs.schedule.sessions import Sessions
from workbench.jobs.schedule.when import check_deadline, parse_missed, parse_schedule

MINUTE = timedelta(minutes=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def cron(text: str, start: str, end: str) -> list[str]:
    return [f"{moment:%m-%d %H:%M}" for moment in Cron.parse(text).between(at(start), at(end))]


@pytest.fixture(scope="module")
def xnys() -> Sessions:
    return Sessions(Calendar("XNYS", exchange_calendars.get_calendar("XNYS", start="2023-01-01", end="2026-01-01")))


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        (" open ", "open"),
        ("close-15min", "close - 15min"),
        ("close   +  01h", "close + 1h"),
        ("every  15min", "every 15min"),
        ("every 2h from open+30min to close-5min", "every 2h from open + 30min to close - 5min"),
        ("every 5min from close - 1h to close", "every 5min from close - 1h to close"),
        ("cron  30 16 * * MON-FRI  America/New_York", "cron 30 16 * * mon-fri America/New_York"),
    ],
)
def test_a_schedule_has_one_normal_form(written: str, normal: str) -> None:
    assert parse_schedule(written).text == normal
    assert parse_schedule(normal).text == normal


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a schedule is open or close"),
        ("noon", "a schedule is open or close"),
        ("close + 30", "a schedule is open or close"),
        ("close + 999999999999h", "a schedule is open or close"),
        ("close + 169h", "more than a week"),
        ("every", "is not every 15min"),
        ("every 0min", "never ends"),
        ("every 15min from open", "is not every 15min"),
        ("every 15min from open - 5min to close", "open - 5min is outside the session"),
        ("every 15min from open to close + 5min", "close + 5min is outside the session"),
        ("every 15min from close - 1h to close - 2h", "close - 2h does not come after close - 1h"),
        ("every 15min from close - 1h to open + 1h", "is not within a session"),
        ("cron", "0 of 6 are there"),
        ("cron 30 16 * * mon-fri", "5 of 6 are there"),
        ("cron 60 16 * * * UTC", "60 is no minute: 0 to 59"),
        ("cron 0 24 * * * UTC", "24 is no hour: 0 to 23"),
        ("cron 0 0 0 * * UTC", "0 is no day of the month: 1 to 31"),
        ("cron 0 0 * 13 * UTC", "13 is no month: 1 to 12"),
        ("cron 0 0 * * 8 UTC", "8 is no day of the week: 0 to 7"),
        ("cron 0 0 * * modnay UTC", "'modnay' is no day of the week, did you mean mon"),
        ("cron 0 0 * * fri-mon UTC", "a range of day of the weeks goes up"),
        ("cron 5/15 * * * * UTC", "a step needs a range, such as 5-59/15"),
        ("cron */0 * * * * UTC", "a step is at least 1"),
        ("cron ٣ 0 * * * UTC", "is no minute"),
        ("cron ? 0 * * * UTC", "is no minute"),
        ("cron 0 0 31 2,4 * UTC", "no month has that day: 31 2,4"),
        ("cron 0 0 * * * Mars/Olympus", "no time zone 'Mars/Olympus'"),
        ("cron 0 0 * * * ../../etc/passwd", "no time zone"),
        ("cron 0 0 * * * America", "no time zone 'America'"),
    ],
)
def test_a_mistake_in_a_schedule_is_said(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_schedule(text)


@pytest.mark.parametrize(
    ("schedule", "missed", "fits"),
    [
        ("close - 15min", "run_until close - 5min", True),
        ("close - 5min", "run_until close - 5min", False),
        ("close - 4min", "run_until close - 5min", False),
        ("open + 1h", "run_until open + 30min", False),
        ("close + 30min", "run_until close + 1h", True),
        ("close + 30min", "run_until close + 10min", False),
        ("close + 30min", "run_until close - 5min", True),  # the next session's
        ("close", "run_until close", False),
        ("close + 30min", "run_until open - 5min", True),
        ("every 15min", "run_until close - 5min", True),
        ("every 15min", "run_until open", False),
        ("cron 0 9 * * * UTC", "run_until close", True),
        ("close", "run_until 2h", True),
        ("close", "skip", True),
    ],
)
def test_a_deadline_that_has_always_passed_is_refused(schedule: str, missed: str, *, fits: bool) -> None:
    if fits:
        check_deadline(parse_schedule(schedule), parse_missed(missed))
    else:
        with pytest.raises(ValueError, match="has passed when"):
            check_deadline(parse_schedule(schedule), parse_missed(missed))


@pytest.mark.parametrize("text", ["", "skip 2h", "run_once 2h", "run_until", "run_until noon", "run_until 0h", "Skip"])
def test_a_policy_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"missed is skip|is not open or close|between a minute and a week"):
        parse_missed(text)


@pytest.mark.parametrize(
    ("text", "normal"),
    [("skip", "skip"), ("run_until 120min", "run_until 2h"), ("run_until 90min", "run_until 90min"),
     ("run_until open-5min", "run_until open - 5min")],
)  # fmt: skip
def test_a_policy_has_one_normal_form(text: str, normal: str) -> None:
    assert parse_missed(text).text == normal


def test_every_counts_from_its_beginning_and_includes_its_end_but_never_the_close(xnys: Sessions) -> None:
    def moments(text: str, day: str) -> list[str]:
        start = at(day)
        return [f"{m:%H:%M}" for m in parse_schedule(text).between(xnys, start, start + timedelta(days=1))]

    # 1 March 2024 is winter time: 9:30 to 16:00 is 14:30 to 21:00 UTC
    assert moments("every 2h", "2024-03-01") == ["14:30", "16:30", "18:30", "20:30"]
    assert moments("every 30min from close - 1h to close", "2024-03-01") == ["20:00", "20:30"]
    assert moments("every 30min from close - 1h to close - 30min", "2024-03-01") == ["20:00", "20:30"]
    assert moments("every 1h from open + 10min to open + 2h", "2024-03-01") == ["14:40", "15:40"]
    # 3 July 2024 is a half-day in summer time: 9:30 to 13:00 is 13:30 to 17:00 UTC
    assert moments("every 1h", "2024-07-03") == ["13:30", "14:30", "15:30", "16:30"]
    assert moments("every 1h from close - 4h to close", "2024-07-03") == ["14:00", "15:00", "16:00"]
    assert moments("every 1h from open + 4h to close", "2024-07-03") == []


def test_a_cron_line_can_list_range_step_and_name() -> None:
    assert cron("0 9-17/4 * * * UTC", "2024-01-01", "2024-01-02") == ["01-01 09:00", "01-01 13:00", "01-01 17:00"]
    assert cron("5,35 0 1 jan,jul * UTC", "2024-01-01", "2025-01-01") == [
        "01-01 00:05", "01-01 00:35", "07-01 00:05", "07-01 00:35",
    ]  # fmt: skip
    assert cron("0 12 * * sat-sun UTC", "2024-01-01", "2024-01-08") == ["01-06 12:00", "01-07 12:00"]
    assert cron("0 12 * * 5-7 UTC", "2024-01-01", "2024-01-08") == ["01-05 12:00", "01-06 12:00", "01-07 12:00"]
    assert cron("0 0 29 2 * UTC", "2023-01-01", "2025-01-01") == ["02-29 00:00"]


def test_a_day_is_either_field_for_days_unless_one_begins_with_a_star() -> None:
    # Friday the 5th, 12th, 19th, 26th of January 2024, and the 13th, a Saturday
    assert cron("0 0 13 * fri UTC", "2024-01-01", "2024-02-01") == [
        "01-05 00:00", "01-12 00:00", "01-13 00:00", "01-19 00:00", "01-26 00:00",
    ]  # fmt: skip
    assert cron("0 0 */12 * fri UTC", "2024-01-01", "2024-04-01") == ["03-01 00:00"]  # 1st, 13th or 25th on a Friday


def test_what_the_clocks_skip_comes_once_right_after_and_what_they_repeat_comes_once_at_first() -> None:
    day = ("2024-03-10T06:00", "2024-03-10T08:30")  # in New York 2:00 EST becomes 3:00 EDT at 07:00 UTC
    assert cron("*/15 2 * * * America/New_York", *day) == ["03-10 07:00"]
    assert cron("*/30 * * * * America/New_York", *day) == [
        "03-10 06:00", "03-10 06:30", "03-10 07:00", "03-10 07:30", "03-10 08:00",
    ]  # fmt: skip
    # at 06:00 UTC on 3 November 2:00 EDT becomes 1:00 EST
    assert cron("30 * * * * America/New_York", "2024-11-03T04:00", "2024-11-03T08:00") == [
        "11-03 04:30", "11-03 05:30", "11-03 07:30",
    ]  # fmt: skip


def test_a_window_that_begins_or_ends_where_the_clocks_change_loses_nothing() -> None:
    # New York: 7:00 UTC on 10 March is 3:00 EDT, where 2:15 belongs; 5:15 UTC on 3 November is the first 1:15
    gap, fold = "15 2 * * * America/New_York", "15 1 * * * America/New_York"
    assert cron(gap, "2024-03-10T06:30", "2024-03-10T07:00") == []
    assert cron(gap, "2024-03-10T07:00", "2024-03-10T07:01") == ["03-10 07:00"]
    assert cron(fold, "2024-11-03T05:00", "2024-11-03T05:16") == ["11-03 05:15"]
    assert cron(fold, "2024-11-03T05:16", "2024-11-03T12:00") == []
    assert cron(fold, "2024-11-03T05:10", "2024-11-03T06:05") == ["11-03 05:15"]  # ends at the second 1:05


def test_half_an_hour_and_a_whole_day_that_are_skipped_work_the_same() -> None:
    # Lord Howe Island, 6 October 2024: 2:00 becomes 2:30 at 15:30 UTC of the 5th
    assert cron("10 2 * * * Australia/Lord_Howe", "2024-10-05T12:00", "2024-10-06T12:00") == ["10-05 15:30"]
    # Samoa had no 30 December 2011: after the 29th came the 31st, at 10:00 UTC of the 30th
    assert cron("0 16 30 12 * Pacific/Apia", "2011-12-29", "2012-01-02") == ["12-30 10:00"]


NUMBERS = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 6)}


@st.composite
def fields(draw: st.DrawFn) -> tuple[str, list[set[int]]]:
    texts, allowed = [], []
    for name, (low, high) in NUMBERS.items():
        found = draw(st.sets(st.integers(low, high), min_size=1, max_size=4) | st.none())
        if name == "month" or (name == "hour" and draw(st.booleans())):
            found = None
        texts.append("*" if found is None else ",".join(map(str, sorted(found))))
        allowed.append(set(range(low, high + 1)) if found is None else found)
    return " ".join(texts), allowed


@settings(max_examples=60, deadline=None)
@given(
    line=fields(),
    zone=st.sampled_from(["America/New_York", "Europe/London", "Asia/Tokyo", "Australia/Lord_Howe", "UTC"]),
    day=st.sampled_from(
        [date(2024, month, day) for month, day in [(3, 9), (3, 30), (4, 6), (10, 5), (10, 26), (11, 2)]]
    ),
    cut=st.integers(1, 48 * 60 - 1),
)
def test_cron_agrees_with_watching_a_wall_clock_minute_by_minute(
    line: tuple[str, list[set[int]]], zone: str, cut: int, day: date
) -> None:
    text, (minutes, hours, days, months, weekdays) = line

    def matches(wall: datetime) -> bool:
        in_month, in_week = wall.day in days, wall.isoweekday() % 7 in weekdays
        stars = "*" in (text.split()[2], text.split()[4])
        on_day = (in_month and in_week) if stars else (in_month or in_week)
        return wall.minute in minutes and wall.hour in hours and wall.month in months and on_day

    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    moments = [start + number * MINUTE for number in range(-24 * 60, 48 * 60)]
    walls = [moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0) for moment in moments]
    seen: set[datetime] = set()
    expected = []
    for before, wall, moment in zip(walls, walls[1:], moments[1:], strict=False):
        skipped = [before + number * MINUTE for number in range(1, max(0, (wall - before) // MINUTE))]
        if any(matches(shown) for shown in [*skipped, wall] if shown not in seen) and moment >= start:
            expected.append(moment)
        seen |= {wall, *skipped}
    cron, middle, end = Cron.parse(f"{text} {zone}"), start + cut * MINUTE, start + timedelta(hours=48)
    assert cron.between(start, end) == expected
    assert cron.between(start, middle) + cron.between(middle, end) == expected


@settings(max_examples=200, deadline=None)
@given(moment=st.datetimes(datetime(2023, 2, 1), datetime(2025, 12, 1), timezones=st.just(UTC)))
def test_sessions_are_those_of_the_calendar(xnys: Sessions, moment: datetime) -> None:
    of_exchange = xnys._calendar
    session = of_exchange.last_closed(moment)
    assert xnys.last_closed(moment) == session
    assert xnys.following(session) == of_exchange.next(session)
    assert xnys.previous(session) == of_exchange.previous(session)
    assert (xnys.open(session), xnys.close(session)) == (of_exchange.open(session), of_exchange.close(session))
    assert xnys.is_session(moment.date()) == of_exchange.is_session(moment.date())
    week = timedelta(days=7)
    assert xnys.between(session - week, session + week) == of_exchange.sessions(session - week, session + week)


def test_beyond_the_calendar_is_an_error_and_not_a_day_without_sessions(xnys: Sessions) -> None:
    with pytest.raises(ConfigError, match="the XNYS calendar ends on 2025-12-31"):
        xnys.following(date(2025, 12, 31))
    with pytest.raises(ConfigError, match="outside the XNYS calendar"):
        xnys.last_closed(at("2022-06-01"))


def test_the_calendar_of_every_day_opens_and_closes_at_midnight() -> None:
    always = Sessions(calendar("24/7"))
    assert always.last_closed(at("2024-03-10")) == date(2024, 3, 9)
    moments = parse_schedule("every 8h").between(always, at("2024-03-09"), at("2024-03-10"))
    assert [f"{moment:%d %H:%M}" for moment in moments] == ["09 00:00", "09 08:00", "09 16:00"]
