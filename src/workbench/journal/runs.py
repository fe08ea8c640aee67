"""Runs, steps and leases: who is doing what, and what is already done."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from workbench.errors import ConfigError, JournalError, RunOverlap
from workbench.journal.states import RunState, StepState
from workbench.journal.store import Journal, timestamp

# A run of another machine that has not been heard of for so long is taken to be dead.
BEAT_S, SILENT_S = 5.0, 60.0


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, told apart from a later one with the same number by when it started."""

    host: str
    pid: int
    started: float

    @classmethod
    def current(cls) -> Owner:
        """The calling process."""
        pid = os.getpid()
        return cls(socket.gethostname(), pid, _process_started(pid) or 0.0)

    def is_alive(self) -> bool:
        """Whether the process still runs. A process of another host is taken to be alive."""
        if self.host != socket.gethostname():
            return True
        started = _process_started(self.pid)
        return started is not None and abs(started - self.started) < 1.0


@dataclass(frozen=True, slots=True)
class RunKey:
    """What can run only once."""

    account: str
    pipeline: str
    session: date
    amendment: int = 0


@dataclass(frozen=True, slots=True)
class StepRecord:
    name: str
    ordinal: int
    notebook: str
    state: StepState
    started_at: str | None
    ended_at: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    run_id: str
    key: RunKey
    state: RunState
    attempt: int
    owner: Owner
    created_at: str
    ended_at: str | None
    parameters: dict[str, Any]
    provenance: dict[str, Any]
    folder: str
    exit_code: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The outcome of asking to run: ``mine`` is False if the run is done already."""

    run: RunRecord
    mine: bool
    resumed: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do something alone; ``token`` grows with every holder, so a stale one is told apart."""

    name: str
    token: int


class RunJournal:
    """The run side of the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def claim(
        self,
        key: RunKey,
        owner: Owner,
        *,
        run_id: str,
        folder: str,
        parameters: Mapping[str, Any],
        provenance: Mapping[str, Any],
        steps: Sequence[tuple[str, str]],
    ) -> Claim:
        """Claim a run, or take over one that failed or that its process left unfinished.

        ``steps`` are (name, notebook). A run that succeeded is returned with ``mine`` False. A failed or
        abandoned one is resumed: same run id, next attempt, finished steps kept. With other parameters it
        starts over, unless it has proposed orders already.

        Raises
        ------
        ConfigError
            If it has proposed orders and the parameters are not the ones it proposed them with.
        RunOverlap
            If a living process is working on it.
        """
        with self._journal.transaction() as connection:
            row = _run_row(connection, key)
            if row is None:
                return self._new_run(connection, key, owner, run_id, folder, parameters, provenance, steps)
            run = _run(row)
            if run.state in {RunState.SUCCEEDED, RunState.SKIPPED}:
                return Claim(run, mine=False, resumed=False)
            if run.state.is_active and run.owner != owner and self._is_worked_on(row):
                raise RunOverlap(
                    f"{key.pipeline} for {key.session} is already running as {run.run_id}"
                    f" (process {run.owner.pid} on {run.owner.host})"
                )
            if run.state.is_active:
                self._event(connection, run.run_id, RunState.LOST, run.attempt, "its process is gone")
            changed = json.loads(_dump(parameters)) != run.parameters
            if changed:
                self._require_no_orders(connection, run)
                facts = dict(provenance)
            else:  # what the first attempt was made of stays; what this one is made of is added
                resumed = [*run.provenance.get("resumed", []), dict(provenance)]
                facts = {**provenance, **run.provenance, "resumed": resumed}
            connection.execute(
                "UPDATE runs SET state=?, attempt=attempt+1, owner_host=?, owner_pid=?, owner_started=?,"
                " heartbeat_at=?, ended_at=NULL, exit_code=NULL, reason='', parameters=?, provenance=? WHERE run_id=?",
                (
                    RunState.PREFLIGHT.value, owner.host, owner.pid, owner.started, self._journal.now(),
                    _dump(parameters), _dump(facts), run.run_id,
                ),
            )  # fmt: skip
            keep = "" if changed else StepState.OK.value
            connection.execute(
                "UPDATE steps SET state=?, detail='' WHERE run_id=? AND state<>?",
                (StepState.PENDING.value, run.run_id, keep),
            )
            self._event(connection, run.run_id, RunState.PREFLIGHT, run.attempt + 1, "resumed")
            return Claim(_run(_run_row(connection, key)), mine=True, resumed=True)

    def set_state(self, run_id: str, state: RunState, *, exit_code: int | None = None, reason: str = "") -> None:
        """Move a run; a state that is not active ends it."""
        ended = None if state.is_active else self._journal.now()
        with self._journal.transaction() as connection:
            connection.execute(
                "UPDATE runs SET state=?, ended_at=?, exit_code=?, reason=?, heartbeat_at=? WHERE run_id=?",
                (state.value, ended, exit_code, reason, self._journal.now(), run_id),
            )
            attempt = connection.execute("SELECT attempt FROM runs WHERE run_id=?", (run_id,)).fetchone()["attempt"]
            self._event(connection, run_id, state, attempt, reason)

    def set_step(self, run_id: str, name: str, state: StepState, detail: str = "") -> None:
        """Move one step and stamp when it began or ended."""
        column = "started_at" if state is StepState.RUNNING else "ended_at"
        with self._journal.transaction() as connection:
            connection.execute(
                f"UPDATE steps SET state=?, detail=?, {column}=? WHERE run_id=? AND name=?",
                (state.value, detail, self._journal.now(), run_id, name),
            )

    def beat(self, run_id: str) -> None:
        """Say that the run is still worked on, for those who cannot see its process."""
        with self._journal.transaction() as connection:
            connection.execute("UPDATE runs SET heartbeat_at=? WHERE run_id=?", (self._journal.now(), run_id))

    def _is_worked_on(self, row: sqlite3.Row) -> bool:
        """Whether a run's owner lives: by its process on this machine, by its heartbeat on another."""
        run = _run(row)
        if run.owner.host == socket.gethostname():
            return run.owner.is_alive()
        silent_s = (self._journal.clock.now() - datetime.fromisoformat(row["heartbeat_at"])).total_seconds()
        return silent_s < SILENT_S

    def add_provenance(self, run_id: str, name: str, value: object) -> None:
        """Add one fact to what the run was made of."""
        with self._journal.transaction() as connection:
            row = connection.execute("SELECT provenance FROM runs WHERE run_id=?", (run_id,)).fetchone()
            facts = {**json.loads(row["provenance"]), name: value}
            connection.execute("UPDATE runs SET provenance=? WHERE run_id=?", (_dump(facts), run_id))

    def run(self, run_id: str) -> RunRecord | None:
        rows = self._journal.read("SELECT * FROM runs WHERE run_id=?", (run_id,))
        return _run(rows[0]) if rows else None

    def find(self, key: RunKey) -> RunRecord | None:
        rows = self._journal.read(_FIND, _key(key))
        return _run(rows[0]) if rows else None

    def runs(self, *, account: str | None = None, pipeline: str | None = None) -> list[RunRecord]:
        """Runs in the order they were first claimed."""
        rows = self._journal.read(
            "SELECT * FROM runs WHERE (? IS NULL OR account=?) AND (? IS NULL OR pipeline=?) ORDER BY rowid",
            (account, account, pipeline, pipeline),
        )
        return [_run(row) for row in rows]

    def steps(self, run_id: str) -> list[StepRecord]:
        rows = self._journal.read("SELECT * FROM steps WHERE run_id=? ORDER BY ordinal", (run_id,))
        return [
            StepRecord(
                r["name"], r["ordinal"], r["notebook"], StepState(r["state"]), r["started_at"], r["ended_at"],
                r["detail"],
            )
            for r in rows
        ]  # fmt: skip

    def next_amendment(self, key: RunKey) -> int:
        """The number of the next deliberate second run of that session: the last one's until it has succeeded."""
        rows = self._journal.read(
            "SELECT max(amendment) AS last FROM runs WHERE account=? AND pipeline=? AND session=?",
            _key(key)[:3],
        )
        last = rows[0]["last"]
        if last is None:
            return 0
        run = self.find(RunKey(key.account, key.pipeline, key.session, int(last)))
        assert run is not None
        return int(last) + (run.state in {RunState.SUCCEEDED, RunState.SKIPPED})

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

    def _new_run(
        self,
        connection: sqlite3.Connection,
        key: RunKey,
        owner: Owner,
        run_id: str,
        folder: str,
        parameters: Mapping[str, Any],
        provenance: Mapping[str, Any],
        steps: Sequence[tuple[str, str]],
    ) -> Claim:
        now = self._journal.now()
        connection.execute(
            "INSERT INTO runs (run_id, account, pipeline, session, amendment, state, attempt, owner_host, owner_pid,"
            " owner_started, heartbeat_at, created_at, parameters, provenance, folder)"
            " VALUES (?,?,?,?,?,?,1,?,?,?,?,?,?,?,?)",
            (
                run_id, *_key(key), RunState.PREFLIGHT.value, owner.host, owner.pid, owner.started, now, now,
                _dump(parameters), _dump(provenance), folder,
            ),
        )  # fmt: skip
        connection.executemany(
            "INSERT INTO steps (run_id, name, ordinal, notebook, state) VALUES (?,?,?,?,?)",
            [(run_id, name, i, notebook, StepState.PENDING.value) for i, (name, notebook) in enumerate(steps)],
        )
        self._event(connection, run_id, RunState.PREFLIGHT, 1, "claimed")
        return Claim(_run(_run_row(connection, key)), mine=True, resumed=False)

    def _require_no_orders(self, connection: sqlite3.Connection, run: RunRecord) -> None:
        if connection.execute("SELECT 1 FROM batches WHERE run_id=?", (run.run_id,)).fetchone():
            raise ConfigError(
                f"run {run.run_id} ({run.key.pipeline}, {run.key.session}) has proposed orders with other parameters",
                hint="resume it with the same ones, or use --amend for a second rebalance",
            )

    def _event(self, connection: sqlite3.Connection, run_id: str, state: RunState, attempt: int, detail: str) -> None:
        connection.execute(
            "INSERT INTO run_events (run_id, at, state, attempt, detail) VALUES (?,?,?,?,?)",
            (run_id, self._journal.now(), state.value, attempt, detail),
        )


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


_FIND = "SELECT * FROM runs WHERE account=? AND pipeline=? AND session=? AND amendment=?"


def _dump(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), default=str, sort_keys=True)


def _key(key: RunKey) -> tuple[str, str, str, int]:
    return (key.account, key.pipeline, key.session.isoformat(), key.amendment)


def _run_row(connection: sqlite3.Connection, key: RunKey) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(_FIND, _key(key)).fetchone()
    return row


def _run(row: sqlite3.Row | None) -> RunRecord:
    assert row is not None
    return RunRecord(
        run_id=row["run_id"],
        key=RunKey(row["account"], row["pipeline"], date.fromisoformat(row["session"]), row["amendment"]),
        state=RunState(row["state"]),
        attempt=row["attempt"],
        owner=Owner(row["owner_host"], row["owner_pid"], row["owner_started"]),
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        parameters=json.loads(row["parameters"]),
        provenance=json.loads(row["provenance"]),
        folder=row["folder"],
        exit_code=row["exit_code"],
        reason=row["reason"],
    )


def _process_started(pid: int) -> float | None:
    """When a process of this machine started, in seconds since boot or the epoch; None if there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.is_dir():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        if fields[0] in {"Z", "X"}:
            return None
        return float(fields[19]) / os.sysconf("SC_CLK_TCK")
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None
