"""Leases: the right to do something alone. And notes that outlive a process."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta

from workbench.errors import JournalError, RunOverlap
from workbench.journal.process import Owner
from workbench.journal.store import Journal, timestamp


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do something alone; ``token`` grows with every holder, so a stale one is told apart."""

    name: str
    token: int


class Leases:
    """Who may do what, and what a scheduler has to know after a restart."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def acquire(self, name: str, owner: Owner, ttl_s: float) -> Lease:
        """Take a lease, or renew one's own.

        Raises
        ------
        RunOverlap
            If a living process holds it and it has not run out.
        """
        now = self._journal.clock.now()
        expires = timestamp(now + timedelta(seconds=ttl_s))
        with self._journal.transaction() as connection:
            row = connection.execute("SELECT * FROM leases WHERE name=?", (name,)).fetchone()
            if row is not None:
                holder = Owner(row["host"], row["pid"], row["started"])
                unexpired = datetime.fromisoformat(row["expires_at"]) > now
                if holder != owner and unexpired and holder.is_alive():
                    raise RunOverlap(f"{name} is held by process {holder.pid} on {holder.host}")
            token = 1 if row is None else row["token"] + 1
            connection.execute(
                "INSERT OR REPLACE INTO leases VALUES (?,?,?,?,?,?)",
                (name, token, owner.host, owner.pid, owner.started, expires),
            )
        return Lease(name, token)

    def renew(self, lease: Lease, ttl_s: float) -> bool:
        """Prolong a lease; False if it has passed to another process."""
        expires = timestamp(self._journal.clock.now() + timedelta(seconds=ttl_s))
        with self._journal.transaction() as connection:
            done = connection.execute(
                "UPDATE leases SET expires_at=? WHERE name=? AND token=?", (expires, lease.name, lease.token)
            )
            return done.rowcount == 1

    def holds(self, lease: Lease) -> bool:
        """Whether a lease is still ours and has not run out; asked right before something is sent."""
        rows = self._journal.read("SELECT token, expires_at FROM leases WHERE name=?", (lease.name,))
        if not rows or rows[0]["token"] != lease.token:
            return False
        return datetime.fromisoformat(rows[0]["expires_at"]) > self._journal.clock.now()

    def release(self, lease: Lease) -> None:
        """Give a lease back; its token stays, so that the next holder's is higher."""
        with self._journal.transaction() as connection:
            connection.execute(
                "UPDATE leases SET expires_at=? WHERE name=? AND token=?",
                (self._journal.now(), lease.name, lease.token),
            )

    def remember(self, name: str, value: str) -> None:
        """Keep a note over restarts; an empty value forgets it."""
        with self._journal.transaction() as connection:
            connection.execute("DELETE FROM memory WHERE name=?", (name,))
            if value:
                connection.execute("INSERT INTO memory VALUES (?,?,?)", (name, value, self._journal.now()))

    def recall(self, name: str) -> str | None:
        """What was remembered under a name."""
        rows = self._journal.read("SELECT value FROM memory WHERE name=?", (name,))
        return rows[0]["value"] if rows else None

    def recall_all(self, prefix: str) -> dict[str, str]:
        """What was remembered under names that begin so, by the rest of the name."""
        rows = self._journal.read(
            "SELECT name, value FROM memory WHERE substr(name, 1, ?)=? ORDER BY name", (len(prefix), prefix)
        )
        return {row["name"].removeprefix(prefix): row["value"] for row in rows}


def require_held(connection: sqlite3.Connection, lease: Lease, consequence: str) -> None:
    """Refuse to go on in a transaction if a lease has passed to another process.

    Raises
    ------
    JournalError
        Naming the lease and what did not happen.
    """
    row = connection.execute("SELECT token FROM leases WHERE name=?", (lease.name,)).fetchone()
    if row is None or row["token"] != lease.token:
        raise JournalError(f"{lease.name} passed to another process; {consequence}")
