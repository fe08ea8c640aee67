from __future__ import annotations

from datetime import date

import pytest

from workbench.calendars import calendar


# Sessions of a year: weekdays less the exchange's own published holidays on weekdays.
@pytest.mark.parametrize(("name", "sessions"), [("XNYS", 252), ("XLON", 254), ("XTKS", 245), ("24/7", 366)])
def test_every_exchange_has_its_sessions_however_late_its_calendar_begins(name: str, sessions: int) -> None:
    found = calendar(name)
    assert len(found.sessions(date(2024, 1, 1), date(2024, 12, 31))) == sessions
    assert found.is_session(date(2024, 6, 12))
