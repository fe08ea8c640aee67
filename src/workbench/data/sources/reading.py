"""What a person declares about data that it does not say itself."""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from workbench.data.dataset import Frequency
from workbench.data.sources.columns import QUOTE_NUMBERS, ROLES
from workbench.errors import ConfigError, nearest

# Part of every digest: raise it when the same data is to be read differently, so that it is loaded again.
READER = "reader-1"
EXCHANGE_ZONE = "America/New_York"


@dataclass(frozen=True)
class Reading:
    """How data is to be read. What is None is inferred, with a reason, or refused if it cannot be told.

    ``columns``: role (``open``, ``adj_close``, ...) to the name of the column that has it. ``date_format``: as of
    ``strptime``, or ``day-first``, ``month-first``. ``adjusted``: True for prices that the vendor has divided by the
    splits since, False for prices as traded. ``timezone``: of times without an offset. ``stamp``: whether a minute is
    known by its start or its end. ``exchange_zone``: where a session has its date. ``quarantine``: wrong rows are set
    aside and the rest is read.

    Raises
    ------
    ConfigError
        If a role or time zone is unknown.

    >>> Reading(columns={"close": "Last"}, adjusted=False).columns
    {'close': 'Last'}
    """

    frequency: Frequency | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    date_format: str | None = None
    adjusted: bool | None = None
    symbol: str | None = None
    timezone: str | None = None
    decimal: Literal[".", ","] | None = None
    stamp: Literal["start", "end"] | None = None
    exchange_zone: str = EXCHANGE_ZONE
    quarantine: bool = False

    def __post_init__(self) -> None:
        for role in self.columns:
            if role not in (*ROLES, *QUOTE_NUMBERS):
                raise ConfigError(f"no column is called {role!r} here", hint=nearest(role, (*ROLES, *QUOTE_NUMBERS)))
        if self.frequency not in (None, "daily", "minute"):
            raise ConfigError(f"no frequency {self.frequency!r}", hint="it is daily or minute")
        if self.decimal not in (None, ".", ","):
            raise ConfigError(f"no decimal mark {self.decimal!r}", hint="it is . or ,")
        if self.stamp not in (None, "start", "end"):
            raise ConfigError(f"no stamp {self.stamp!r}", hint="a minute is stamped at its start or its end")
        for zone in (self.timezone, self.exchange_zone):
            if zone is not None:
                _require_zone(zone)

    def key(self) -> str:
        """What of it changes the meaning of the data, as text."""
        named = sorted(self.columns.items())
        said = (self.frequency, self.date_format, self.adjusted, self.symbol, self.timezone, self.decimal, self.stamp)
        return repr((READER, named, *said, self.exchange_zone, self.quarantine))


def _require_zone(name: str) -> None:
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # what zoneinfo says of a name that is none
        known = sorted(zoneinfo.available_timezones())
        raise ConfigError(
            f"no time zone {name!r}", hint=nearest(name, [zone for zone in known if "/" in zone or zone == "UTC"][:600])
        ) from error
