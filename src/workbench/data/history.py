"""What changed between two snapshots of the lake, as statements."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.data._sql import versioned, where
from workbench.data._tables import ACTIONS, BARS, MINUTES, Table
from workbench.data.dataset import FIELDS

TABLES = (BARS, MINUTES, ACTIONS)
COLUMNS = {
    "table_name": "VARCHAR",
    "symbol": "VARCHAR",
    "at": "TIMESTAMP",
    "field": "VARCHAR",
    "old": "DOUBLE",
    "new": "DOUBLE",
    "change": "VARCHAR",
}


def changes(old: int, new: int, there: Sequence[Table], before: Sequence[Table], symbols: Sequence[str] | None) -> str:
    """Every value that is another at ``new`` than at ``old``, with the columns of ``COLUMNS``, in no order.

    DuckLake knows which rows each snapshot added and took away; only their keys are compared, in both snapshots.
    A bar that was added or removed is one row, its close; an action's field is its kind.

    Parameters
    ----------
    there, before
        The tables there are at the later and at the earlier of the two snapshots.
    """
    return " UNION ALL ".join(_of_table(table, old, new, table in before, symbols) for table in there)


def _of_table(table: Table, old: int, new: int, before: bool, symbols: Sequence[str] | None) -> str:
    first, last = min(old, new), max(old, new)
    keys = ", ".join(f'"{name}"' for name in table.key)
    touched = f"SELECT DISTINCT {keys} FROM lake.table_changes('{table.name}', {first + 1}, {last}) {where(symbols)}"
    sides = [_side(table, version, before or version == last, last) for version in (old, new)]
    time = table.key[1]
    return (
        f"(WITH touched AS MATERIALIZED ({touched}), a AS ({sides[0]}), b AS ({sides[1]}) "
        f'SELECT \'{table.name}\' AS table_name, symbol, "{time}"::TIMESTAMP AS "at", {_pairs(table)}, '
        "CASE WHEN a.here IS NULL THEN 'added' WHEN b.here IS NULL THEN 'removed' ELSE 'restated' END AS change "
        f"FROM a FULL JOIN b USING ({keys}))"
    )


def _side(table: Table, version: int, there: bool, last: int) -> str:
    """The touched rows at a snapshot; none if the table was made later."""
    keys = ", ".join(f'"{name}"' for name in table.key)
    rows = versioned(table.name, version if there else last)
    values = FIELDS if table is not ACTIONS else ("value",)
    chosen = f"SELECT {keys}, {', '.join(values)}, true AS here FROM {rows} SEMI JOIN touched USING ({keys})"
    return chosen if there else f"{chosen} WHERE false"


def _pairs(table: Table) -> str:
    """Field, old and new: one line for each field of a bar in both, one for a bar in only one of them."""
    if table is ACTIONS:
        return "kind AS field, a.value AS old, b.value AS new"
    names = ", ".join(f"'{name}'" for name in FIELDS)
    both = "a.here AND b.here"
    columns = [f"unnest(CASE WHEN {both} THEN [{names}] ELSE ['close'] END) AS field"]
    for side, name in (("a", "old"), ("b", "new")):
        every = ", ".join(f"{side}.{field}" for field in FIELDS)
        columns.append(f"unnest(CASE WHEN {both} THEN [{every}] ELSE [{side}.close] END) AS {name}")
    return ", ".join(columns)
