"""Options that several commands of ``workbench data`` share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from workbench.errors import ConfigError

Snapshot = Annotated[int | None, typer.Option(help="As known in this snapshot (see: workbench data versions).")]
Moment = Annotated[
    str | None, typer.Option("--at", metavar="MOMENT", help="As known then: 2013-03-01 or 2013-03-01T21:00Z.")
]
Symbols = Annotated[str | None, typer.Option(metavar="A,B,C", help="Symbols; all of the lake if left out.")]
First = Annotated[str | None, typer.Option("--from", metavar="DATE", help="First session.")]
Last = Annotated[str | None, typer.Option("--to", metavar="DATE", help="Last session.")]


def parse_moment(value: str | None) -> datetime | None:
    """A moment of ISO text; without a time zone it is UTC, without a time the end of that day.

    Raises
    ------
    ConfigError
        If the text is none.

    >>> str(parse_moment("2013-03-01T16:00-05:00")), str(parse_moment("2013-03-01"))
    ('2013-03-01 16:00:00-05:00', '2013-03-01 23:59:59.999999+00:00')
    """
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise ConfigError(f"{value!r} is not a moment", hint="write it as 2013-03-01 or 2013-03-01T21:00Z") from error
    if len(value) <= len("2013-03-01"):
        moment = moment.replace(hour=23, minute=59, second=59, microsecond=999_999)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_symbols(value: str | None) -> list[str] | None:
    """``A,B,C`` as a list; None if nothing was given."""
    return [name.strip() for name in value.split(",") if name.strip()] if value else None
