"""Dates and times as people print them, and the SQL that reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from workbench.errors import DataError

_CLOCK = r"(?P<clock>(?P<hour>\d{1,2}):(?P<minute>\d{2})(?P<second>:\d{2}(?P<part>\.\d{1,9})?)?(?P<half> ?[AaPp][Mm])?)"
_PACKED = r"(?P<packed>\d{6}|\d{4})"
_ZONE = r"(?P<gap2> ?)(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2}|[A-Za-z]+(?:/[A-Za-z_]+)+)"
_TAIL = rf"(?:(?P<gap>T|, |-| +)(?:{_CLOCK}|{_PACKED}))?(?:{_ZONE})?"
_DAYS = {
    "year first": rf"(?P<day>\d{{4}}(?P<sign>[-/.])\d{{1,2}}(?P=sign)\d{{1,2}}){_TAIL}",
    "packed": rf"(?P<day>(?:1[89]|20|21)\d{{6}}){_TAIL}",
    "packed to the second": r"(?P<day>(?:1[89]|20|21)\d{12})",
    "two numbers first": rf"(?P<day>(?P<one>\d{{1,2}})(?P<sign>[-/.])(?P<two>\d{{1,2}})(?P=sign)\d{{4}}){_TAIL}",
    "two-digit year": rf"(?P<day>(?P<one>\d{{1,2}})(?P<sign>[-/.])(?P<two>\d{{1,2}})(?P=sign)\d{{2}}){_TAIL}",
    "day and name": rf"(?P<day>\d{{1,2}}(?P<sign>[- ])[A-Za-z]{{3,9}}(?P=sign)(?:\d{{4}}|\d{{2}})){_TAIL}",
    "name first": rf"(?P<day>[A-Za-z]{{3,9}} \d{{1,2}}(?P<sign>,? )\d{{4}}){_TAIL}",
    "serial": r"(?P<day>[2-7]\d{4}(?:\.\d+)?)",
    "epoch": r"(?P<day>\d{9,10}(?:\.\d+)?|1\d{12}|1\d{15}|1\d{18})",
}
_SHAPES = {name: re.compile(pattern) for name, pattern in _DAYS.items()}
_EXCEL_1970 = 25_569  # 1970-01-01 in Excel, whose first day is 1899-12-31 and which has a 1900-02-29
_EPOCHS = {10: ("seconds", 1), 13: ("milliseconds", 10**3), 16: ("microseconds", 10**6), 19: ("nanoseconds", 10**9)}


@dataclass(frozen=True)
class Dates:
    """How one column (or a date and a time column, joined by a blank) is read.

    ``formats``: as of ``strptime``, tried in turn. ``zone``: what the moments are in: ``""`` (not said), ``offset``
    (each cell has its own) or the name of a zone. ``suffix``: what is cut off before. ``epoch``: units per second.
    ``serial``: days as Excel counts them.
    ``timed``: whether there is a time of day. ``reason``: what was inferred and why, or None.
    """

    formats: tuple[str, ...] = ()
    zone: str = ""
    suffix: str = ""
    epoch: int = 0
    serial: bool = False
    timed: bool = False
    reason: str | None = None

    def sql(self, cell: str) -> str:
        """SQL for the cell's moment: TIMESTAMP in UTC where the zone is known, else as written; NULL for no date."""
        if self.epoch:
            return f"TRY(make_timestamp({_microseconds(cell, self.epoch)}))"
        if self.serial:
            seconds = f"CAST(round((try_cast({cell} AS DOUBLE) - {_EXCEL_1970}) * 86400) AS BIGINT)"
            return f"TRY(make_timestamp({seconds} * 1000000))"
        text = cell  # strptime passes over blanks on either side
        if self.suffix:
            text, cut = f"trim({cell})", len(self.suffix)
            text = f"CASE WHEN ends_with({text}, '{self.suffix}') THEN left({text}, length({text}) - {cut}) END"
        listed = ", ".join("'" + each.replace("'", "''") + "'" for each in self.formats)
        listed = listed if len(self.formats) == 1 else f"[{listed}]"
        read = f"try_strptime({text}, {listed})"
        if self.zone == "offset":
            return f"({read} AT TIME ZONE 'UTC')"
        if self.zone not in ("", "UTC"):
            return f"(({read} AT TIME ZONE '{self.zone}') AT TIME ZONE 'UTC')"
        return read

    def day_sql(self, cell: str) -> str:
        """SQL for the cell's date as it is written, whatever its zone."""
        if self.zone != "offset":
            return replace(self, zone="").sql(cell)
        bare = replace(self, zone="", formats=tuple(each.removesuffix("%z").rstrip() for each in self.formats))
        return bare.sql(f"regexp_replace(trim({cell}), ' ?[+-]\\d{{2}}:?(\\d{{2}})?$', '')")


@dataclass(frozen=True)
class _Found:
    shape: str
    match: re.Match[str]
    cell: str


def infer(cells: Iterable[str], where: str, declared: str | None = None) -> Dates:
    """How to read a column from its cells: the shape that most of them have; the others are wrong cells.

    Parameters
    ----------
    cells
        Text, empty ones aside. To tell 01/02 from 02/01 every cell of the column has to be among them.
    where
        File and column, for messages.
    declared
        ``day-first``, ``month-first``, or a format as of ``strptime``.

    Raises
    ------
    DataError
        If no cell is a date, or day and month cannot be told apart.

    >>> infer(["31/01/2013", "01/02/2013"], "x.csv").reason
    "dates are day first: '31/01/2013'"
    >>> infer(["2013-01-02 09:30:00-05:00"], "x.csv").zone
    'offset'
    """
    texts = [cell.strip() for cell in cells if cell.strip()]
    if declared is not None and "%" in declared:
        return _declared(declared)
    groups: dict[tuple[str, ...], list[_Found]] = {}
    for text in texts:
        found = _match(text)
        if found is not None:
            groups.setdefault(_kind(found), []).append(found)
    if not groups:
        shown = f" (got {texts[0]!r})" if texts else ""
        raise DataError(f"{where}: there is no date in it that can be read{shown}", hint='say --date-format "%Y-%m-%d"')
    best = max(groups.values(), key=len)
    if best[0].shape == "serial":
        return _serial(best)
    return _epoch(best) if best[0].shape == "epoch" else _written(best, where, declared)


def _microseconds(cell: str, per_second: int) -> str:
    if per_second == 1:
        return f"CAST(try_cast({cell} AS DOUBLE) * 1000000 AS BIGINT)"
    whole = f"try_cast({cell} AS BIGINT)"
    return f"{whole} * {10**6 // per_second}" if per_second <= 10**6 else f"{whole} // {per_second // 10**6}"


def is_ambiguous(cells: Iterable[str]) -> bool:
    """Whether day and month cannot be told apart by these cells, so that all of the column has to be looked at."""
    found = [each for each in (_match(cell.strip()) for cell in cells) if each and "one" in each.match.groupdict()]
    return bool(found) and all(int(each.match["one"]) <= 12 and int(each.match["two"]) <= 12 for each in found)


def _match(text: str) -> _Found | None:
    for shape, pattern in _SHAPES.items():
        match = pattern.fullmatch(text)
        if match:
            return _Found(shape, match, text)
    return None


def _kind(found: _Found) -> tuple[str, ...]:
    """What cells must have in common to be of one shape; the second and its parts may be left out."""
    part = found.match.groupdict()
    sign, gap, zone = part.get("sign") or "", (part.get("gap") or "").strip(), part.get("zone") or ""
    digits = str(len(found.cell.partition(".")[0])) if found.shape == "epoch" else ""
    timed = "packed" if part.get("packed") else "clock" if part.get("clock") else ""
    named = zone if zone[:1] not in ("+", "-") else "offset"
    return found.shape, sign, gap, timed, "half" if part.get("half") else "", named, digits.replace("9", "10", 1)


def _declared(text: str) -> Dates:
    timed = any(code in text for code in ("%H", "%I", "%T", "%s"))
    return Dates((text,), "offset" if "%z" in text else "", timed=timed)


def _epoch(found: Sequence[_Found]) -> Dates:
    digits = max(len(each.cell.partition(".")[0]) for each in found)
    unit, per_second = _EPOCHS[min(size for size in _EPOCHS if size >= digits)]
    return Dates(
        zone="UTC",
        epoch=per_second,
        timed=True,
        reason=f"times are {unit} since 1970: {found[0].cell!r} has {digits} digits",
    )


def _serial(found: Sequence[_Found]) -> Dates:
    reason = f"dates are days as Excel counts them: {found[0].cell!r}"
    return Dates(serial=True, timed=any("." in each.cell for each in found), reason=reason)


def _written(found: Sequence[_Found], where: str, declared: str | None) -> Dates:
    first = found[0]
    day, reason = _day(found, where, declared)
    part = first.match.groupdict()
    zone, gap2 = part.get("zone") or "", part.get("gap2") or ""
    formats = [day + tail for tail in _clocks(found)]
    timed = bool(part.get("clock") or part.get("packed")) or first.shape == "packed to the second"
    if zone[:1] in ("+", "-"):
        return Dates(tuple(f"{each}{gap2}%z" for each in formats), "offset", timed=timed, reason=reason)
    name = {"Z": "UTC", "GMT": "UTC"}.get(zone, zone)
    return Dates(tuple(formats), name, f"{gap2}{zone}", timed=timed, reason=reason)


def _day(found: Sequence[_Found], where: str, declared: str | None) -> tuple[str, str | None]:
    """The format of the date, and why if there was a choice."""
    first = found[0]
    sign = first.match.groupdict().get("sign") or ""
    if first.shape == "year first":
        return f"%Y{sign}%m{sign}%d", None
    if first.shape == "packed":
        return "%Y%m%d", None
    if first.shape == "packed to the second":
        return "%Y%m%d%H%M%S", None
    if first.shape in ("day and name", "name first"):
        return _named(found)
    year = "%Y" if first.shape == "two numbers first" else "%y"
    day_first, reason = _day_first(found, where, declared)
    return (f"%d{sign}%m{sign}{year}" if day_first else f"%m{sign}%d{sign}{year}"), reason


def _named(found: Sequence[_Found]) -> tuple[str, None]:
    first = found[0]
    letters = max(len(re.findall(r"[A-Za-z]+", each.match["day"])[0]) for each in found)
    month, sign = "%b" if letters == 3 else "%B", first.match["sign"]
    if first.shape == "name first":
        return f"{month} %d{sign}%Y", None
    year = "%y" if re.search(r"[- ]\d{2}$", first.match["day"]) else "%Y"
    return f"%d{sign}{month}{sign}{year}", None


def _day_first(found: Sequence[_Found], where: str, declared: str | None) -> tuple[bool, str | None]:
    if declared is not None:
        if declared not in ("day-first", "month-first"):
            raise DataError(
                f"{where}: no date format {declared!r}",
                hint='write day-first, month-first, or a format like "%d/%m/%Y"',
            )
        return declared == "day-first", None
    day = next((each for each in found if int(each.match["one"]) > 12), None)
    month = next((each for each in found if int(each.match["two"]) > 12), None)
    if day and month:
        raise DataError(
            f"{where}: {day.cell!r} is written day first and {month.cell!r} month first",
            hint="say --date-format day-first or month-first",
        )
    if day:
        return True, f"dates are day first: {day.cell!r}"
    if month:
        return False, f"dates are month first: {month.cell!r}"
    if found[0].match["sign"] == ".":
        return True, f"dates are day first: they are written with points ({found[0].cell!r})"
    raise DataError(
        f"{where}: {found[0].cell!r} may be day first or month first, and no other row tells",
        hint="say --date-format day-first or --date-format month-first",
    )


def _clocks(found: Sequence[_Found]) -> Iterator[str]:
    """The formats of the time of day that occur, each once."""
    seen: dict[str, None] = {}
    for each in found:
        part = each.match.groupdict()
        text = part.get("gap") or ""
        if part.get("packed"):
            text += "%H%M%S" if len(part["packed"]) == 6 else "%H%M"
        elif part.get("clock"):
            half = part.get("half") or ""
            text += "%I:%M" if half else "%H:%M"
            text += ":%S" if part.get("second") else ""
            text += ".%n" if part.get("part") and len(part["part"]) > 7 else ".%f" if part.get("part") else ""
            text += f"{' ' if half.startswith(' ') else ''}%p" if half else ""
        seen[text] = None
    yield from seen
