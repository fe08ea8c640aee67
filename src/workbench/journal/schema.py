"""The journal's tables, one migration per change. Each runs with its own record in one transaction.

Money never changes in place: decisions, order events, fills, activities, corrections, marks, locks and trading
states are append-only, and triggers refuse anything else. ``intents.state`` is the one column that moves, under
a check that the move is possible. Times are ISO 8601 UTC text, decimals are text, sessions YYYY-MM-DD.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_APPEND_ONLY = (
    "batches",
    "targets",
    "decisions",
    "order_events",
    "run_events",
    "fills",
    "activities",
    "marks",
    "trading_states",
)


@dataclass(frozen=True)
class Migration:
    version: int
    name: str
    statements: Callable[[], list[str]]


def _first() -> list[str]:
    tables = [
        """
        CREATE TABLE runs (
            run_id TEXT PRIMARY KEY, account TEXT NOT NULL, pipeline TEXT NOT NULL, session TEXT NOT NULL,
            amendment INTEGER NOT NULL, state TEXT NOT NULL, attempt INTEGER NOT NULL,
            owner_host TEXT NOT NULL, owner_pid INTEGER NOT NULL, owner_started REAL NOT NULL,
            heartbeat_at TEXT NOT NULL, created_at TEXT NOT NULL, ended_at TEXT,
            parameters TEXT NOT NULL, provenance TEXT NOT NULL, folder TEXT NOT NULL,
            exit_code INTEGER, reason TEXT NOT NULL DEFAULT '',
            UNIQUE (account, pipeline, session, amendment)
        ) STRICT""",
        """
        CREATE TABLE run_events (
            id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL REFERENCES runs, at TEXT NOT NULL,
            state TEXT NOT NULL, attempt INTEGER NOT NULL, detail TEXT NOT NULL
        ) STRICT""",
        """
        CREATE TABLE steps (
            run_id TEXT NOT NULL REFERENCES runs, name TEXT NOT NULL, ordinal INTEGER NOT NULL,
            notebook TEXT NOT NULL, state TEXT NOT NULL, started_at TEXT, ended_at TEXT,
            detail TEXT NOT NULL DEFAULT '', PRIMARY KEY (run_id, name)
        ) STRICT""",
        """
        CREATE TABLE leases (
            name TEXT PRIMARY KEY, token INTEGER NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,
            started REAL NOT NULL, expires_at TEXT NOT NULL
        ) STRICT""",
        """
        CREATE TABLE batches (
            batch_id TEXT PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs, account TEXT NOT NULL,
            pipeline TEXT NOT NULL, session TEXT NOT NULL, amendment INTEGER NOT NULL, strategy TEXT NOT NULL,
            equity TEXT NOT NULL, cash TEXT NOT NULL, data_snapshot INTEGER NOT NULL, created_at TEXT NOT NULL,
            UNIQUE (account, pipeline, session, amendment, strategy)
        ) STRICT""",
        """
        CREATE TABLE targets (
            batch_id TEXT NOT NULL REFERENCES batches, symbol TEXT NOT NULL, weight TEXT NOT NULL,
            price TEXT NOT NULL, held TEXT NOT NULL, quantity TEXT NOT NULL, PRIMARY KEY (batch_id, symbol)
        ) STRICT""",
        """
        CREATE TABLE intents (
            client_order_id TEXT PRIMARY KEY CHECK (length(client_order_id) <= 48),
            batch_id TEXT NOT NULL REFERENCES batches, account TEXT NOT NULL, symbol TEXT NOT NULL,
            side TEXT NOT NULL CHECK (side IN ('buy', 'sell')), quantity TEXT NOT NULL,
            type TEXT NOT NULL, limit_price TEXT, time_in_force TEXT NOT NULL, reference_price TEXT NOT NULL,
            strategy TEXT NOT NULL, sequence INTEGER NOT NULL, state TEXT NOT NULL, broker_order_id TEXT
        ) STRICT""",
        "CREATE INDEX intents_by_state ON intents (account, state)",
        "CREATE INDEX intents_by_batch ON intents (batch_id, sequence)",
        """
        CREATE TABLE decisions (
            id INTEGER PRIMARY KEY AUTOINCREMENT, client_order_id TEXT NOT NULL REFERENCES intents,
            at TEXT NOT NULL, approved INTEGER NOT NULL, gate TEXT NOT NULL, reason TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX decisions_by_order ON decisions (client_order_id)",
        """
        CREATE TABLE order_events (
            id INTEGER PRIMARY KEY AUTOINCREMENT, client_order_id TEXT NOT NULL REFERENCES intents,
            at TEXT NOT NULL, from_state TEXT NOT NULL, to_state TEXT NOT NULL, detail TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX order_events_by_order ON order_events (client_order_id)",
        """
        CREATE TABLE fills (
            id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, broker TEXT NOT NULL,
            fill_id TEXT NOT NULL, client_order_id TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
            quantity TEXT NOT NULL, price TEXT NOT NULL, fee TEXT NOT NULL, session TEXT NOT NULL,
            at TEXT NOT NULL, UNIQUE (broker, account, fill_id)
        ) STRICT""",
        "CREATE INDEX fills_by_order ON fills (client_order_id)",
        """
        CREATE TABLE activities (
            id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, broker TEXT NOT NULL,
            activity_id TEXT NOT NULL, kind TEXT NOT NULL, symbol TEXT NOT NULL, session TEXT NOT NULL,
            quantity_delta TEXT NOT NULL, cash_delta TEXT NOT NULL, at TEXT NOT NULL,
            UNIQUE (broker, account, activity_id)
        ) STRICT""",
        """
        CREATE TABLE marks (
            id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, session TEXT NOT NULL,
            cash TEXT NOT NULL, equity TEXT NOT NULL, positions TEXT NOT NULL, at TEXT NOT NULL,
            UNIQUE (account, session)
        ) STRICT""",
        """
        CREATE TABLE trading_states (
            id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, state TEXT NOT NULL,
            reason TEXT NOT NULL, actor TEXT NOT NULL, at TEXT NOT NULL
        ) STRICT""",
    ]
    return tables + [guard for table in _APPEND_ONLY for guard in _append_only(table)]


def _append_only(table: str) -> list[str]:
    return [
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for verb in ("UPDATE", "DELETE")
    ]


def _second() -> list[str]:
    tables = [
        *(
            f"ALTER TABLE intents ADD COLUMN {column} TEXT"
            for column in (
                "stop_price",
                "trail_price",
                "trail_percent",
                "notional_usd",
                "bracket",
                "replaces",
                "venue_quantity",
            )
        ),
        "ALTER TABLE batches ADD COLUMN kind TEXT NOT NULL DEFAULT 'plan' CHECK (kind IN ('plan', 'flatten'))",
        "ALTER TABLE trading_states ADD COLUMN cause TEXT NOT NULL DEFAULT 'hand'",
        "CREATE INDEX order_events_by_state ON order_events (to_state, at)",
        # With the state in it, SQLite prefers it to the one above when it asks for the events of one order.
        "DROP INDEX order_events_by_order",
        "CREATE INDEX order_events_by_order ON order_events (client_order_id, to_state, at)",
        # Exits that the venue made of a bracket, under ids of its own.
        """
        CREATE TABLE legs (
            account TEXT NOT NULL, client_order_id TEXT NOT NULL, parent TEXT NOT NULL REFERENCES intents,
            at TEXT NOT NULL, PRIMARY KEY (account, client_order_id)
        ) STRICT""",
        # Executions of orders that are not ours; they count once somebody adopts them.
        """
        CREATE TABLE external_fills (
            id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, broker TEXT NOT NULL,
            fill_id TEXT NOT NULL, client_order_id TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
            quantity TEXT NOT NULL, price TEXT NOT NULL, fee TEXT NOT NULL, session TEXT NOT NULL,
            at TEXT NOT NULL, UNIQUE (broker, account, fill_id)
        ) STRICT""",
        """
        CREATE TABLE corrections (
            id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, kind TEXT NOT NULL, fill_id TEXT,
            symbol TEXT NOT NULL, session TEXT NOT NULL, quantity_delta TEXT NOT NULL, cash_delta TEXT NOT NULL,
            reason TEXT NOT NULL, actor TEXT NOT NULL, at TEXT NOT NULL
        ) STRICT""",
        """
        CREATE TABLE cursors (
            account TEXT NOT NULL, broker TEXT NOT NULL, cursor TEXT NOT NULL, PRIMARY KEY (account, broker)
        ) STRICT""",
        """
        CREATE TABLE locks (
            id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, symbol TEXT NOT NULL,
            locked INTEGER NOT NULL, reason TEXT NOT NULL, actor TEXT NOT NULL, at TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX locks_by_account ON locks (account, symbol, id)",
        """
        CREATE TABLE breaker_resets (
            id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, name TEXT NOT NULL, session TEXT,
            reason TEXT NOT NULL, actor TEXT NOT NULL, at TEXT NOT NULL
        ) STRICT""",
        """
        CREATE TABLE reconciliations (
            id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, moment TEXT NOT NULL,
            agrees INTEGER NOT NULL, differences TEXT NOT NULL, at TEXT NOT NULL
        ) STRICT""",
        # What a person asks of the gateway that holds the account: to cancel, to go flat.
        """
        CREATE TABLE commands (
            id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL,
            actor TEXT NOT NULL, at TEXT NOT NULL, done_at TEXT, answer TEXT NOT NULL DEFAULT ''
        ) STRICT""",
    ]
    guarded = ("legs", "external_fills", "corrections", "locks", "breaker_resets", "reconciliations")
    return tables + [guard for table in guarded for guard in _append_only(table)]


def _third() -> list[str]:
    return [
        "ALTER TABLE runs ADD COLUMN trigger TEXT NOT NULL DEFAULT 'manual'",
        "ALTER TABLE runs ADD COLUMN scheduled_at TEXT",
        "ALTER TABLE runs ADD COLUMN doing TEXT NOT NULL DEFAULT ''",  # step and cell that the runner is at
        "CREATE INDEX runs_by_state ON runs (state)",
        "ALTER TABLE batches ADD COLUMN note TEXT NOT NULL DEFAULT ''",  # why nothing is ordered
        "ALTER TABLE batches ADD COLUMN step TEXT NOT NULL DEFAULT ''",  # of the run that proposed it
        """
        CREATE TABLE cells (
            run_id TEXT NOT NULL REFERENCES runs, attempt INTEGER NOT NULL, step TEXT NOT NULL,
            number INTEGER NOT NULL, total INTEGER NOT NULL, state TEXT NOT NULL, seconds REAL NOT NULL,
            reason TEXT NOT NULL,
            PRIMARY KEY (run_id, attempt, step, number)
        ) STRICT, WITHOUT ROWID""",
        # What the scheduler has to know after a restart.
        """
        CREATE TABLE memory (
            name TEXT PRIMARY KEY, value TEXT NOT NULL, at TEXT NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ]


def _fourth() -> list[str]:
    tables = [
        # The verdict on the data that a run or a person looked at: a snapshot of the lake and a set of symbols.
        """
        CREATE TABLE quality_verdicts (
            id INTEGER PRIMARY KEY AUTOINCREMENT, snapshot INTEGER NOT NULL, universe TEXT NOT NULL,
            symbols TEXT NOT NULL, session TEXT, verdict TEXT NOT NULL CHECK (verdict IN ('pass', 'warn', 'block')),
            found INTEGER NOT NULL, findings TEXT NOT NULL, accepted TEXT NOT NULL, run_id TEXT NOT NULL,
            at TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX quality_verdicts_by_run ON quality_verdicts (run_id, id)",
        "CREATE INDEX quality_verdicts_by_data ON quality_verdicts (snapshot, universe, id)",
        # What a person can live with, and what was taken back.
        """
        CREATE TABLE quality_acceptances (
            id INTEGER PRIMARY KEY AUTOINCREMENT, rule TEXT NOT NULL, symbol TEXT NOT NULL, first TEXT NOT NULL,
            last TEXT NOT NULL, why TEXT NOT NULL, until TEXT NOT NULL, actor TEXT NOT NULL, at TEXT NOT NULL
        ) STRICT""",
        """
        CREATE TABLE quality_revocations (
            id INTEGER PRIMARY KEY AUTOINCREMENT, acceptance INTEGER NOT NULL UNIQUE REFERENCES quality_acceptances,
            reason TEXT NOT NULL, actor TEXT NOT NULL, at TEXT NOT NULL
        ) STRICT""",
    ]
    guarded = ("quality_verdicts", "quality_acceptances", "quality_revocations")
    return tables + [guard for table in guarded for guard in _append_only(table)]


MIGRATIONS = (
    Migration(1, "runs, orders and money", _first),
    Migration(2, "corrections, locks, commands and every order type", _second),
    Migration(3, "cells, triggers and what the scheduler remembers", _third),
    Migration(4, "verdicts on data, and what people accept of it", _fourth),
)
