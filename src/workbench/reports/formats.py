"""How the tear sheet writes numbers, dates and gaps."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

GAP = "–"  # noqa: RUF001 - an en dash stands for "there is none"
_MINUS = "−"  # noqa: RUF001 - as wide as a plus, so that columns line up

Number = int | float | Decimal


def usd(value: Number | None, places: int = 2) -> str:
    """An amount in USD.

    >>> usd(Decimal("1234.5"))
    '$1,234.50'
    """
    return _sized(value, lambda size: f"${size:,.{places}f}")


def pct(value: Number | None, places: int = 2) -> str:
    """A fraction as per cent."""
    return _sized(value, lambda size: f"{size * 100:.{places}f}%")


def signed_pct(value: Number | None, places: int = 2) -> str:
    """A fraction as per cent, with its sign.

    >>> signed_pct(0.0123)
    '+1.23%'
    """
    text = pct(value, places)
    is_gain = _known(value) is not None and _nonzero(text) and not text.startswith(_MINUS)
    return f"+{text}" if is_gain else text


def number(value: Number | None, places: int = 2) -> str:
    return _sized(value, lambda size: f"{size:,.{places}f}")


def shares(value: Number | None) -> str:
    """A quantity without needless zeros.

    >>> shares(Decimal("1250.000"))
    '1,250'
    """
    return _sized(value, lambda size: _trimmed(f"{size:,.6f}"))


def price(value: Number | None) -> str:
    """A price in USD: cents, or what it takes to tell two fills apart."""
    return _sized(value, lambda size: f"{size:,.2f}" if round(size, 2) == size else f"{size:,.4f}")


def moment(value: datetime | None) -> str:
    return GAP if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def day(value: date | None) -> str:
    return GAP if value is None else value.isoformat()


def seconds(value: Number | None) -> str:
    return _sized(value, lambda size: f"{size:,.1f} s")


def words(value: object) -> str:
    """A code name for people: ``partially_filled`` becomes "partially filled"."""
    return GAP if value is None or value == "" else str(value).replace("_", " ")


FILTERS: dict[str, Callable[..., str]] = {
    "usd": usd,
    "pct": pct,
    "signed_pct": signed_pct,
    "number": number,
    "shares": shares,
    "price": price,
    "moment": moment,
    "day": day,
    "seconds": seconds,
    "words": words,
}


def _sized(value: Number | None, write: Callable[[Number], str]) -> str:
    """Write the size, with a minus in front if the number as written is below zero."""
    known = _known(value)
    if known is None:
        return GAP
    text = write(-known if known < 0 else known)
    return f"{_MINUS}{text}" if known < 0 and _nonzero(text) else text


def _known(value: Number | None) -> Number | None:
    return None if value is None or not math.isfinite(value) else value


def _nonzero(text: str) -> bool:
    return any(character in "123456789" for character in text)


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".")
