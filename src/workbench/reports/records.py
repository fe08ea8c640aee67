"""What people and reconciliation put on record, read from the journal for the reports file: lists of dictionaries.

Like :mod:`workbench.reports.tables`: sessions are dates, moments are UTC-aware, quantities and money are exact.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

from workbench.journal import Journal
from workbench.reports.tables import Row


def changes(journal: Journal, last: Mapping[str, int]) -> dict[str, list[Row]]:
    """Rows that are new since the last ones read (a number by table of the journal), by table of the reports."""
    return {
        "corrections": _corrections(journal, last["corrections"]),
        "external_fills": _external_fills(journal, last["external_fills"], last["fills"]),
        "legs": _legs(journal, last["legs"]),
        "trading_states": _plain(journal, "trading_states", last["trading_states"]),
        "locks": [
            {**row, "locked": bool(row["locked"])} for row in _plain(journal, "locks", last["locks"])
        ],
        "reconciliations": [
            {**row, "agrees": bool(row["agrees"]), "differences": json.loads(row["differences"])}
            for row in _plain(journal, "reconciliations", last["reconciliations"])
        ],
        "quality": _verdicts(journal, last["quality_verdicts"]),
        "acceptances": _acceptances(journal, last["quality_acceptances"], last["quality_revocations"]),
    }  # fmt: skip


def _corrections(journal: Journal, last: int) -> list[Row]:
    """Changes of the books on a person's word, in the order they were recorded."""
    return [
        {
            "id": row["id"],
            "account": row["account"],
            "kind": row["kind"],
            "fill_id": row["fill_id"],
            "symbol": row["symbol"],
            "session": date.fromisoformat(row["session"]),
            "quantity_delta": Decimal(row["quantity_delta"]),
            "cash_delta": Decimal(row["cash_delta"]),
            "reason": row["reason"],
            "actor": row["actor"],
            "recorded_at": datetime.fromisoformat(row["at"]),
        }
        for row in journal.read("SELECT * FROM corrections WHERE id > ? ORDER BY id", [last])
    ]


def _external_fills(journal: Journal, last: int, last_fill: int) -> list[Row]:
    """Executions of orders that are not ours, new or newly adopted; ``adopted`` ones are among the fills, too."""
    return [
        {
            "account": row["account"],
            "broker": row["broker"],
            "fill_id": row["fill_id"],
            "client_order_id": row["client_order_id"],
            "symbol": row["symbol"],
            "side": row["side"],
            "quantity": Decimal(row["quantity"]),
            "price": Decimal(row["price"]),
            "fee": Decimal(row["fee"]),
            "session": date.fromisoformat(row["session"]),
            "executed_at": datetime.fromisoformat(row["at"]),
            "adopted": bool(row["adopted"]),
        }
        for row in journal.read(
            "SELECT e.*, f.id IS NOT NULL AS adopted FROM external_fills e LEFT JOIN fills f"
            " ON f.broker = e.broker AND f.account = e.account AND f.fill_id = e.fill_id"
            " WHERE e.id > ? OR f.id > ? ORDER BY e.id",
            [last, last_fill],
        )
    ]


def _legs(journal: Journal, last: int) -> list[Row]:
    return [
        {
            "account": row["account"],
            "client_order_id": row["client_order_id"],
            "parent": row["parent"],
            "recorded_at": datetime.fromisoformat(row["at"]),
        }
        for row in journal.read("SELECT * FROM legs WHERE rowid > ? ORDER BY rowid", [last])
    ]


def _verdicts(journal: Journal, last: int) -> list[Row]:
    """Verdicts on data; ``findings`` and ``accepted`` are lists of dictionaries."""
    return [
        {
            **{name: row[name] for name in ("id", "run_id", "snapshot", "verdict", "found")},
            "session": date.fromisoformat(row["session"]) if row["session"] else None,
            **{name: json.loads(row[name]) for name in ("symbols", "findings", "accepted")},
            "recorded_at": datetime.fromisoformat(row["at"]),
        }
        for row in journal.read("SELECT * FROM quality_verdicts WHERE id > ? ORDER BY id", [last])
    ]


def _acceptances(journal: Journal, last: int, last_revoked: int) -> list[Row]:
    """Acceptances that are new or newly revoked."""
    return [
        {
            **{name: row[name] for name in ("id", "rule", "symbol", "why", "actor", "revoked_by", "revoked_why")},
            **{name: date.fromisoformat(row[name]) for name in ("first", "last", "until")},
            "recorded_at": datetime.fromisoformat(row["at"]),
            "revoked_at": None if row["revoked_at"] is None else datetime.fromisoformat(row["revoked_at"]),
        }
        for row in journal.read(
            "SELECT a.*, r.actor AS revoked_by, r.reason AS revoked_why, r.at AS revoked_at FROM quality_acceptances a"
            " LEFT JOIN quality_revocations r ON r.acceptance = a.id WHERE a.id > ? OR r.id > ? ORDER BY a.id",
            [last, last_revoked],
        )
    ]


def _plain(journal: Journal, table: str, last: int) -> list[Row]:
    """Rows as they are, with the moment they were recorded at."""
    return [
        {**dict(row), "recorded_at": datetime.fromisoformat(row["at"])}
        for row in journal.read(f"SELECT * FROM {table} WHERE id > ? ORDER BY id", [last])
    ]
