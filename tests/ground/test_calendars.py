from __future__ import annotations

from datetime import date
from pathlib import Path

import exchange_calendars
import pytest

from workbench.calendars import Calendar, calendar
from workbench.errors import ConfigError


# Sessions of a year: weekdays less the exchange's own published holidays on weekdays.
@pytest.mark.parametrize(("name", "sessions"), [("XNYS", 252), ("XLON", 254), ("XTKS", 245), ("24/7", 366)])
def test_every_exchange_has_its_sessions_however_late_its_calendar_begins(name: str, sessions: int) -> None:
    found = calendar(name)
    assert len(found.sessions(date(2024, 1, 1), date(2024, 12, 31))) == sessions
    assert found.is_session(date(2024, 6, 12))


@pytest.mark.parametrize("name", ["XNYS", "XHKG", "24/7"])
def test_our_arrays_say_what_exchange_calendars_says(name: str, tmp_path: Path) -> None:
    theirs = exchange_calendars.get_calendar(name, start="2010-01-04", end="2020-12-30")
    ours = Calendar(name, theirs)
    assert ours.index(ours.first, ours.last).equals(theirs.sessions)
    assert (ours.first, ours.last) == (theirs.first_session.date(), theirs.last_session.date())
    assert ours.zone.key == str(theirs.tz)
    for stamp in theirs.sessions[::7]:
        session = stamp.date()
        assert (ours.open(session), ours.close(session)) == (theirs.session_open(stamp), theirs.session_close(stamp))
        pause = (theirs.session_break_start(stamp), theirs.session_break_end(stamp))
        assert ours.pause(session) == (pause if theirs.session_has_break(stamp) else None)
    for day in (date(2012, 12, 24), date(2012, 12, 25), date(2013, 7, 6)):
        assert ours.is_session(day) is theirs.is_session(str(day))
        if not ours.is_session(day):
            assert ours.next(day) == theirs.date_to_session(str(day), "next").date()
            assert ours.previous(day) == theirs.date_to_session(str(day), "previous").date()


def test_a_calendar_ends_where_it_ends() -> None:
    ours = Calendar("XNYS", exchange_calendars.get_calendar("XNYS", start="2013-01-02", end="2013-01-31"))
    assert ours.next(date(2013, 1, 4)) == date(2013, 1, 7)
    for ask in (
        lambda: ours.next(date(2013, 1, 31)),
        lambda: ours.previous(date(2013, 1, 2)),
        lambda: ours.sessions(date(2013, 1, 2), date(2013, 2, 1)),
    ):
        with pytest.raises(ConfigError, match="outside the XNYS calendar; it covers 2013-01-02 to 2013-01-31"):
            ask()
    with pytest.raises(ConfigError, match="not a XNYS session"):
        ours.open(date(2013, 1, 5))


def test_a_file_spares_the_work_and_rubbish_in_it_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calendar.cache_clear()
    built = calendar("XLON", tmp_path)
    (file,) = tmp_path.iterdir()
    calendar.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(exchange_calendars, "get_calendar", None)  # nothing is built
        read = calendar("XLON", tmp_path)
    assert (read.sessions(built.first, built.last), read.zone) == (built.sessions(built.first, built.last), built.zone)
    assert read.close(date(2013, 12, 24)) == built.close(date(2013, 12, 24))
    for rubbish in (b"", b"PK\x03\x04 no", file.read_bytes()[:5000]):
        file.write_bytes(rubbish)
        calendar.cache_clear()
        assert calendar("XLON", tmp_path).last == built.last
        assert len(file.read_bytes()) > 10_000  # and is written anew
    calendar.cache_clear()


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    calendar.cache_clear()
    assert calendar("XLON", tmp_path / "file" / "cache").is_session(date(2013, 12, 24))
    calendar.cache_clear()
