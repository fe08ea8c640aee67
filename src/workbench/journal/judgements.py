"""What was found of the data that is traded on, and what people accepted of it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from workbench.errors import JournalError
from workbench.journal.store import Journal


@dataclass(frozen=True, slots=True)
class AcceptanceRecord:
    """One acceptance: a rule on a symbol from ``first`` to ``last`` session, until a day, and if it was revoked."""

    number: int
    rule: str
    symbol: str
    first: date
    last: date
    why: str
    until: date
    actor: str
    at: str
    revoked_by: str = ""
    revoked_why: str = ""
    revoked_at: str = ""

    @property
    def is_revoked(self) -> bool:
        return bool(self.revoked_at)


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """One verdict: on a snapshot and symbols, the findings that counted (the gravest of ``found``) and others."""

    number: int
    snapshot: int
    symbols: tuple[str, ...]
    session: date | None
    verdict: str
    found: int
    findings: tuple[Mapping[str, object], ...]
    accepted: tuple[Mapping[str, object], ...]
    run_id: str
    at: str


class Judgements:
    """The quality side of the journal. Nothing here is ever changed in place."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    # ---- verdicts --------------------------------------------------------------------------------

    def record(
        self,
        snapshot: int,
        symbols: Sequence[str],
        session: date | None,
        verdict: str,
        findings: Sequence[Mapping[str, object]],
        accepted: Sequence[Mapping[str, object]],
        *,
        found: int,
        run_id: str = "",
    ) -> None:
        """Put a verdict on record."""
        with self._journal.transaction() as connection:
            connection.execute(
                "INSERT INTO quality_verdicts (snapshot, universe, symbols, session, verdict, found, findings,"
                " accepted, run_id, at) VALUES (?,?,?,?,?,?,?,?,?,?)",
                (
                    snapshot, universe(symbols), json.dumps(sorted(symbols)), session.isoformat() if session else None,
                    verdict, found, json.dumps(list(findings)), json.dumps(list(accepted)), run_id, self._journal.now(),
                ),
            )  # fmt: skip

    def of_run(self, run_id: str) -> VerdictRecord | None:
        """The last verdict of a run; None if it asked for none."""
        rows = self._journal.read("SELECT * FROM quality_verdicts WHERE run_id=? ORDER BY id DESC LIMIT 1", (run_id,))
        return _verdict(rows[0]) if rows else None

    def on(self, snapshot: int, symbols: Sequence[str]) -> VerdictRecord | None:
        """The last verdict on some symbols of a snapshot; None if nobody has looked."""
        rows = self._journal.read(
            "SELECT * FROM quality_verdicts WHERE snapshot=? AND universe=? ORDER BY id DESC LIMIT 1",
            (snapshot, universe(symbols)),
        )
        return _verdict(rows[0]) if rows else None

    # ---- acceptances -----------------------------------------------------------------------------

    def accept(
        self, rule: str, symbol: str, first: date, last: date, *, actor: str, why: str, until: date
    ) -> AcceptanceRecord:
        """Put on record that a person can live with something."""
        now = self._journal.now()
        values = (rule, symbol, first.isoformat(), last.isoformat(), why, until.isoformat(), actor, now)
        with self._journal.transaction() as connection:
            done = connection.execute(
                "INSERT INTO quality_acceptances (rule, symbol, first, last, why, until, actor, at)"
                " VALUES (?,?,?,?,?,?,?,?)",
                values,
            )
            assert done.lastrowid is not None
            return AcceptanceRecord(done.lastrowid, rule, symbol, first, last, why, until, actor, now)

    def revoke(self, number: int, *, actor: str, why: str) -> None:
        """Take an acceptance back.

        Raises
        ------
        JournalError
            If there is none of that number, or it was taken back before.
        """
        with self._journal.transaction() as connection:
            known = connection.execute("SELECT 1 FROM quality_acceptances WHERE id=?", (number,)).fetchone()
            if known is None:
                raise JournalError(f"there is no acceptance {number}", hint="workbench data accepted lists them")
            done = connection.execute(
                "INSERT OR IGNORE INTO quality_revocations (acceptance, reason, actor, at) VALUES (?,?,?,?)",
                (number, why, actor, self._journal.now()),
            )
            if done.rowcount == 0:
                raise JournalError(f"acceptance {number} was revoked before")

    def acceptances(self) -> list[AcceptanceRecord]:
        """Every acceptance there ever was, oldest first."""
        rows = self._journal.read(
            "SELECT a.*, coalesce(r.actor, '') AS revoked_by, coalesce(r.reason, '') AS revoked_why,"
            " coalesce(r.at, '') AS revoked_at FROM quality_acceptances a"
            " LEFT JOIN quality_revocations r ON r.acceptance = a.id ORDER BY a.id"
        )
        return [_acceptance(row) for row in rows]

    def standing(self) -> list[AcceptanceRecord]:
        """Acceptances that nobody has revoked; whether they have expired is for who uses them to see."""
        return [record for record in self.acceptances() if not record.is_revoked]


def universe(symbols: Sequence[str]) -> str:
    """A name for a set of symbols, whatever their order."""
    return hashlib.sha256("\n".join(sorted(set(symbols))).encode()).hexdigest()[:16]


def _acceptance(row: sqlite3.Row) -> AcceptanceRecord:
    return AcceptanceRecord(
        row["id"], row["rule"], row["symbol"], date.fromisoformat(row["first"]), date.fromisoformat(row["last"]),
        row["why"], date.fromisoformat(row["until"]), row["actor"], row["at"], row["revoked_by"], row["revoked_why"],
        row["revoked_at"],
    )  # fmt: skip


def _verdict(row: sqlite3.Row) -> VerdictRecord:
    return VerdictRecord(
        row["id"], row["snapshot"], tuple(json.loads(row["symbols"])),
        date.fromisoformat(row["session"]) if row["session"] else None, row["verdict"], row["found"],
        tuple(json.loads(row["findings"])), tuple(json.loads(row["accepted"])), row["run_id"], row["at"],
    )  # fmt: skip
