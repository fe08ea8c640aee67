"""Query parameters as Alpaca reads them: text in, checked values out, a documented refusal otherwise."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from decimal import Decimal

from workbench.brokers.exchange_http.problems import Problem, malformed
from workbench.brokers.exchange_http.wire import moment, number

_TRUE, _FALSE = {"1", "t", "true"}, {"0", "f", "false"}


class Parameters:
    """The query of one request; an empty value is one that does not fit.

    >>> Parameters({"limit": "5"}).integer("limit", 50, 1, 500)
    5
    """

    def __init__(self, values: Mapping[str, str], refuse: Callable[[str], Problem] = malformed) -> None:
        self._values = values
        self._refuse = refuse

    def text(self, name: str) -> str | None:
        return self._values.get(name)

    def required(self, name: str) -> str:
        found = self.text(name)
        if not found:
            raise self._refuse(f"{name} is required")
        return found

    def choice(self, name: str, allowed: Collection[str], default: str) -> str:
        found = self._values.get(name, default)
        if found not in allowed:
            raise self._refuse(f"invalid {name}: {found!r}; it is one of {', '.join(sorted(allowed))}")
        return found

    def optional_choice(self, name: str, allowed: Collection[str]) -> str | None:
        return None if self.text(name) is None else self.choice(name, allowed, "")

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        found = self.text(name)
        if found is None:
            return default
        if not (found.isascii() and found.isdecimal() and len(found) < 10) or not low <= int(found) <= high:
            raise self._refuse(f"invalid {name}: {found!r}; it is a whole number from {low} to {high}")
        return int(found)

    def flag(self, name: str, default: bool = False) -> bool:
        found = self._values.get(name, str(default)).lower()
        if found not in _TRUE | _FALSE:
            raise self._refuse(f"invalid {name}: {found!r}; it is true or false")
        return found in _TRUE

    def amount(self, name: str) -> Decimal | None:
        found = self.text(name)
        if found is None:
            return None
        value = number(found)
        if value is None:
            raise self._refuse(f"invalid {name}: {found!r}; it is a number")
        return value

    def moment(self, name: str) -> datetime | None:
        found = self.text(name)
        if found is None:
            return None
        value = moment(found)
        if value is None:
            raise self._refuse(f"invalid {name}: {found!r}; write 2013-01-02 or 2013-01-02T15:04:05Z")
        return value

    def day(self, name: str) -> date | None:
        """A date; of a moment, the date as written (its zone is not looked at, as at Alpaca)."""
        found = self.text(name)
        if found is None:
            return None
        self.moment(name)
        return date.fromisoformat(found[:10])

    def names(self, name: str) -> list[str] | None:
        """A comma-separated list; of an empty text, one empty name."""
        found = self.text(name)
        return None if found is None else [part.strip() for part in found.split(",")]
