"""Dates and times of day as they stand in cells, to tell daily bars from minutes."""

from __future__ import annotations

import re

from workbench.data.sources.dates import Dates

MIDNIGHT = frozenset({"", "00:00"})
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::\d{2})?(?:\.\d+)?\s*([AaPp][Mm])?")
_PACKED = re.compile(r"(\d{8})[ T-]*(\d{2})(\d{2})(?:\d{2})?")


def divided(text: str, dates: Dates) -> tuple[str, str]:
    """The date of a cell, in any form, and its time of day as ``HH:MM``, empty if it has none.

    >>> divided("2/13/2013 4:00 PM", Dates())
    ('2/13/2013', '16:00')
    >>> divided("20130213 093000", Dates()), divided("41310.5", Dates(serial=True)), divided("2013-02-13", Dates())
    (('20130213', '09:30'), ('41310', '12:00'), ('2013-02-13', ''))
    """
    if dates.epoch:
        seconds = int(text.partition(".")[0] or 0) // dates.epoch
        return str(seconds // 86400), _clock(seconds % 86400 // 60)
    if dates.serial:
        day, _, part = text.partition(".")
        return day, _clock(round(float(f"0.{part or 0}") * 1440))
    match = _CLOCK.search(text)
    if match:
        hour = int(match[1])
        if match[3]:
            hour = hour % 12 + (12 if match[3].upper() == "PM" else 0)
        return text[: match.start()].rstrip(" T,"), f"{hour:02}:{match[2]}"
    packed = _PACKED.match(text)
    return (packed[1], f"{packed[2]}:{packed[3]}") if packed else (text, "")


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
