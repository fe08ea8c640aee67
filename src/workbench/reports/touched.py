"""What a projection has to write again: everything that rows of the journal newer than ``last`` bear on.

``last`` is the number of the last row read by table of the journal; ``since`` is what :func:`restated` found.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from datetime import date

from workbench.domain import ActivityKind
from workbench.journal import Journal


def orders(last: Mapping[str, int]) -> tuple[str, list[object]]:
    """Orders that something happened to, as a condition on ``i`` (intents) and its values."""
    where = (
        "i.client_order_id IN (SELECT client_order_id FROM order_events WHERE id > ?"
        " UNION SELECT client_order_id FROM decisions WHERE id > ?"
        " UNION SELECT client_order_id FROM fills WHERE id > ?"
        " UNION SELECT n.client_order_id FROM corrections c JOIN fills n USING (account, fill_id) WHERE c.id > ?)"
    )
    return where, [last[source] for source in ("order_events", "decisions", "fills", "corrections")]


def marks(last: Mapping[str, int], since: Mapping[str, date]) -> tuple[str, list[object]]:
    """Marks that are new or restated, as a condition on ``m`` and its values."""
    where = "m.id > ?" + " OR (m.account = ? AND m.session >= ?)" * len(since)
    return where, [last["marks"], *(value for account, day in since.items() for value in (account, day.isoformat()))]


def restated(journal: Journal, last: Mapping[str, int]) -> dict[str, date]:
    """Account to the first session that a new correction belongs to: closes from there on may be different."""
    return _first_sessions(journal.read("SELECT account, session FROM corrections WHERE id > ?", [last["corrections"]]))


def revalued(journal: Journal, last: Mapping[str, int], since: Mapping[str, date]) -> dict[str, date]:
    """Account to the first session whose equity row is new, or different by a late deposit or a correction."""
    kinds = [kind.value for kind in ActivityKind if kind.is_flow]
    valued = _first_sessions(
        [
            *journal.read("SELECT account, session FROM marks WHERE id > ?", [last["marks"]]),
            *journal.read(
                f"SELECT account, session FROM activities WHERE id > ? AND kind IN ({','.join('?' * len(kinds))})",
                [last["activities"], *kinds],
            ),
        ]
    )
    return valued | {account: min(day, valued.get(account, day)) for account, day in since.items()}


def _first_sessions(rows: Iterable[sqlite3.Row]) -> dict[str, date]:
    since: dict[str, date] = {}
    for row in rows:
        session = date.fromisoformat(row["session"])
        since[row["account"]] = min(session, since.get(row["account"], session))
    return since
