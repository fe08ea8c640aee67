"""How values look on Alpaca's wire: decimals as text, moments as RFC 3339, identifiers shaped like UUIDs."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias
from uuid import NAMESPACE_URL, UUID, uuid5
from zoneinfo import ZoneInfo

# What a JSON document is made of. ``Any`` because a recursive type costs more casts than it finds mistakes.
Json: TypeAlias = Any

NEW_YORK = ZoneInfo("America/New_York")
_NAMESPACE = uuid5(NAMESPACE_URL, "workbench:exchange")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+ -]\d{2}:\d{2})?")
# Nothing traded needs more digits, and 1e999999 written out would fill the memory.
_MOST_DIGITS = 30


def text(value: Decimal) -> str:
    """A decimal in full, without exponent and trailing zeros.

    >>> [text(Decimal(v)) for v in ("1.500", "1E+3", "0.0", "-0", "0.1234567890123456789012345678901")]
    ['1.5', '1000', '0', '0', '0.1234567890123456789012345678901']
    """
    plain = format(value, "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain in {"-0", ""} else plain


def optional(value: Decimal | None) -> str | None:
    return None if value is None else text(value)


def number(value: object) -> Decimal | None:
    """A decimal out of a JSON number or text; None if it is neither, not finite or longer than any price.

    >>> number("10.50"), number(3), number(Decimal("1e-7")), number("NaN"), number(True), number("1e400")
    (Decimal('10.50'), Decimal('3'), Decimal('1E-7'), None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    written = str(value)
    if len(written) > _MOST_DIGITS or not _NUMBER.fullmatch(written):
        return None
    try:
        found = Decimal(written)
    except InvalidOperation:  # pragma: no cover - the pattern leaves nothing that Decimal refuses
        return None
    return found if abs(found.adjusted()) <= _MOST_DIGITS else None


def decimals(value: Decimal) -> int:
    """Digits after the point that matter.

    >>> decimals(Decimal("1.250")), decimals(Decimal("100"))
    (2, 0)
    """
    written = text(value)
    return len(written.partition(".")[2])


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC, as Alpaca's orders and fills carry it.

    >>> stamp(datetime(2013, 1, 2, 14, 30, 0, 1500, tzinfo=UTC))
    '2013-01-02T14:30:00.0015Z'
    """
    fraction = f"{moment.microsecond:06d}".rstrip("0")
    whole = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def optional_stamp(moment: datetime | None) -> str | None:
    return None if moment is None else stamp(moment)


def local(moment: datetime) -> str:
    """RFC 3339 in New York's time, as Alpaca's clock carries it.

    >>> local(datetime(2013, 7, 1, 20, tzinfo=UTC))
    '2013-07-01T16:00:00-04:00'
    """
    return moment.astimezone(NEW_YORK).isoformat()


def moment(written: str) -> datetime | None:
    """A moment (UTC) out of RFC 3339 text or a bare date, which is its midnight in UTC; None if it is neither.

    A missing zone is UTC; a ``+`` that became a blank on its way through a query string is understood.

    >>> moment("2013-01-02T09:30:00-05:00").isoformat()
    '2013-01-02T14:30:00+00:00'
    >>> moment("2013-01-02").isoformat(), moment("yesterday"), moment("2013-02-30")
    ('2013-01-02T00:00:00+00:00', None, None)
    """
    try:
        if _DATE.fullmatch(written):
            return datetime.combine(date.fromisoformat(written), time(), UTC)
        if not _MOMENT.fullmatch(written):
            return None
        found = datetime.fromisoformat(re.sub(r" (\d{2}:\d{2})$", r"+\1", written.upper()))
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):  # the 30th of February, or a year before 1
        return None


def midnight(session: date) -> datetime:
    """The first moment of a session's date in New York."""
    return datetime.combine(session, time(), NEW_YORK)


def identifier(*parts: str) -> UUID:
    """An id derived from its parts, the same in every run.

    >>> identifier("asset", "AAPL") == identifier("asset", "AAPL") != identifier("asset", "MSFT")
    True
    """
    return uuid5(_NAMESPACE, "\x1f".join(parts))


def is_identifier(written: str) -> bool:
    """Whether text is shaped like an order's or asset's id."""
    try:
        return str(UUID(written)) == written.lower()
    except ValueError:
        return False
