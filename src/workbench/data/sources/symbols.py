"""Whose bars a file has, by its name, where no column says it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from workbench.data.sources.tables import Table
from workbench.errors import DataError

_TICKER = r"[A-Z][A-Z0-9]{0,5}(?:[._-][A-Z]{1,2})?"
# What is put around a ticker: "AAPL.us", "daily_adjusted_AAPL", "AAPL Historical Data", "AAPL (1)", "AAPL_1min".
_BEFORE = r"(?:(?:table|daily|daily_adjusted|intraday|bars|prices)[_-])?"
_AFTER = (
    r"(?:\.us| historical data| \(\d+\)|[_-](?:daily|day|1d|1day|minute|1min|1m|intraday|bars|prices|adjusted|raw))*"
)
_NAME = re.compile(rf"(?i:{_BEFORE})(?P<ticker>{_TICKER})(?i:{_AFTER})")
_SMALL = re.compile(rf"(?i:{_BEFORE})(?P<ticker>[a-z][a-z0-9]{{0,5}}(?:[._-][a-z]{{1,2}})?)(?P<after>(?i:{_AFTER}))")
_ENDINGS = re.compile(r"\.(csv|txt|tsv|parquet|pq|xlsx|json|jsonl|ndjson|gz|zip)$", re.IGNORECASE)


def by_file(tables: Sequence[Table]) -> tuple[dict[str, str], str]:
    """The symbol of every file, and the reason.

    Raises
    ------
    DataError
        If a name is no ticker, or two files have the same.
    """
    names = {path: name for table in tables for path, name in table.names.items()}
    headers = {path: table.symbol for table in tables for path in table.names if table.symbol}
    found: dict[str, str] = {}
    for path, name in names.items():
        symbol = headers.get(path) or of_name(name, alone=len(names) == 1)
        if symbol is None:
            raise DataError(
                f"{name}: no column has the symbol, and the file is not named like one", hint="say --symbol"
            )
        found[path] = symbol
    path = next(iter(found))
    how = "by the second line of its header" if path in headers else "by the name of the file"
    more = f", and so on for {len(found)} files" if len(found) > 1 else ""
    return found, f"{names[path]} has the bars of {found[path]}, {how}{more}"


def of_name(name: str, *, alone: bool = True) -> str | None:
    """The ticker that a file is named after; None if it is not.

    A single file in small letters could be called anything, unless Stooq's ``.us`` says that it is a ticker.

    >>> [of_name(name) for name in ("AAPL.csv", "brk-b.us.txt", "daily_adjusted_IBM.csv", "prices.csv")]
    ['AAPL', 'BRK-B', 'IBM', None]
    >>> of_name("aapl.csv", alone=False)
    'AAPL'
    """
    stem = name.rpartition("/")[2].rpartition(": ")[2]
    while _ENDINGS.search(stem):
        stem = _ENDINGS.sub("", stem)
    match = _NAME.fullmatch(stem)
    if match:
        return match["ticker"]
    small = _SMALL.fullmatch(stem)
    if small and (not alone or ".us" in small["after"].lower()):
        return small["ticker"].upper()
    return None
