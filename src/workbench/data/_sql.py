"""Pieces of statements on the lake."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime

from workbench.errors import DataError

MANY = 100  # names from which on a list in the statement costs more than it prunes


def asked(symbols: Sequence[str] | None) -> list[str] | None:
    """The symbols of a read as a list; one may be given as text.

    Raises
    ------
    DataError
        If there are none, or one is there twice.
    """
    if symbols is None:
        return None
    names = [symbols] if isinstance(symbols, str) else list(symbols)
    if not names:
        raise DataError("no symbols are asked for")
    twice = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twice:
        raise DataError(f"{twice[0]} is asked for twice")
    return names


def versioned(table: str, snapshot: int) -> str:
    """A table as of a snapshot, for a FROM clause.

    Raises
    ------
    DataError
        If no snapshot can have that number.
    """
    if snapshot < 0:
        raise DataError(f"the lake has no snapshot {snapshot}", hint="they count from 0")
    return f"lake.{table} AT (VERSION => {int(snapshot)})"


def literal(value: object) -> str:
    """A value as SQL text. Statements carry no parameters where they can: DuckDB imports pandas for the first one."""
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.isoformat(' ')}'"
    if isinstance(value, date):
        return f"DATE '{value.isoformat()}'"
    return "'" + str(value).replace("'", "''") + "'"


def literals(values: Iterable[object]) -> str:
    """Values as an SQL list."""
    return f"[{', '.join(literal(value) for value in values)}]"


def where(names: Sequence[str] | None, *conditions: str | None) -> str:
    """A WHERE clause; a short list of names stands in it as it is, which the minima and maxima of files can use."""
    parts = [condition for condition in conditions if condition]
    if names is not None:
        shown = literals(names)
        few = f"symbol IN ({shown[1:-1]})" if names else "false"
        parts.append(few if len(names) <= MANY else f"symbol IN (SELECT unnest({shown}))")
    return f"WHERE {' AND '.join(parts)} " if parts else ""
