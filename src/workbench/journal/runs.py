"""Runs, steps and leases: who is doing what, and what is already done."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from workbench.errors import ConfigError, JournalError, RunOverlap
from workbench.journal.leases import Leases
from workbench.journal.process import Owner, this_host
from workbench.journal.records import SLOT, CellRecord, Claim, Origin, RunKey, RunRecord, StepRecord
from workbench.journal.states import CellState, RunState, StepState, check_run_move
from workbench.journal.store import timestamp

# A run of another machine that has not been heard of for so long is taken to be dead.
BEAT_S, SILENT_S = 5.0, 60.0
_BY_HAND = Origin()


class RunJournal(Leases):
    """The run side of the journal, leases included."""

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
        origin: Origin = _BY_HAND,
        running: bool = False,
        only_new: bool = False,
    ) -> Claim:
        """Claim a run, or take over one that failed or that its process left unfinished.

        ``steps`` are (name, notebook). A run that succeeded is returned with ``mine`` False. A failed or
        abandoned one is resumed: same run id, next attempt, finished steps kept. With other parameters it
        starts over, unless it has proposed orders already. One that waits in the queue, or was put aside, is begun.
        ``running`` says that a new run is RUNNING its first step from here on, without a commit for each.
        ``only_new`` leaves every run alone that is there already.

        Raises
        ------
        ConfigError
            If it has proposed orders and the parameters are not the ones it proposed them with.
        RunOverlap
            If a living process is working on it, or there is one and it must be a new one.
        """
        with self._journal.transaction() as connection:
            row = _run_row(connection, key)
            if row is None:
                self._insert(connection, key, owner, RunState.PREFLIGHT, run_id, folder, origin)
                return self._begin(connection, key, owner, folder, parameters, provenance, steps, origin, running)
            run = _run(row)
            if only_new:
                raise RunOverlap(f"{key.pipeline} for {key.session} has a run {key.amendment} already: {run.run_id}")
            if run.state is RunState.SUCCEEDED:
                return Claim(run, mine=False, resumed=False)
            if not self._has_begun(run.run_id):
                return self._begin(connection, key, owner, folder, parameters, provenance, steps, origin, running)
            worked_on = run.state.is_active and self._is_worked_on(row)
            answered = origin.scheduled_at is not None and run.scheduled_at == timestamp(origin.scheduled_at)
            if answered and not worked_on:
                return Claim(run, mine=False, resumed=False)  # one try for a moment; a person may go on with it
            if worked_on and run.owner != owner:
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
                " heartbeat_at=?, ended_at=NULL, exit_code=NULL, reason='', doing='', parameters=?, provenance=?,"
                " trigger=?, scheduled_at=coalesce(?, scheduled_at) WHERE run_id=?",
                (
                    RunState.PREFLIGHT.value, owner.host, owner.pid, owner.started, self._journal.now(),
                    _dump(parameters), _dump(facts), origin.trigger,
                    None if origin.scheduled_at is None else timestamp(origin.scheduled_at), run.run_id,
                ),
            )  # fmt: skip
            self._take_steps(connection, run, steps)
            keep = "" if changed else StepState.OK.value
            connection.execute(
                "UPDATE steps SET state=?, detail='' WHERE run_id=? AND state<>?",
                (StepState.PENDING.value, run.run_id, keep),
            )
            self._event(connection, run.run_id, RunState.PREFLIGHT, run.attempt + 1, "resumed")
            return Claim(_run(_run_row(connection, key)), mine=True, resumed=True)

    def enqueue(self, key: RunKey, owner: Owner, *, folder: str, origin: Origin) -> RunRecord:
        """Put a run into the queue, for the process that will claim it; one that is there already stays as it is."""
        with self._journal.transaction() as connection:
            if _run_row(connection, key) is None:
                self._insert(connection, key, owner, RunState.QUEUED, key.run_id, folder, origin)
                self._event(connection, key.run_id, RunState.QUEUED, 1, origin.trigger)
            return _run(_run_row(connection, key))

    def put_aside(
        self, key: RunKey, owner: Owner, state: RunState, reason: str, *, folder: str = "", origin: Origin = _BY_HAND
    ) -> RunRecord:
        """Record that a run was SKIPPED or REJECTED before it began; one that has begun stays as it is."""
        with self._journal.transaction() as connection:
            row = _run_row(connection, key)
            if row is None:
                self._insert(connection, key, owner, state, key.run_id, folder, origin)
            elif self._has_begun(row["run_id"]):
                return _run(row)
            code = ConfigError.exit_code if state is RunState.REJECTED else 0
            connection.execute(
                "UPDATE runs SET state=?, ended_at=?, exit_code=?, reason=? WHERE run_id=?",
                (state.value, self._journal.now(), code, reason, key.run_id if row is None else row["run_id"]),
            )
            run = _run(_run_row(connection, key))
            self._event(connection, run.run_id, state, run.attempt, reason)
            return run

    def set_state(
        self,
        run_id: str,
        state: RunState,
        *,
        exit_code: int | None = None,
        reason: str = "",
        attempt: int | None = None,
    ) -> None:
        """Move a run; a state that is not active ends it.

        Raises
        ------
        JournalError
            If the run cannot make that move, or ``attempt`` is over: another process has taken the run up.
        """
        ended = None if state.is_active else self._journal.now()
        with self._journal.transaction() as connection:
            run = self._require(connection, run_id, attempt)
            check_run_move(run_id, RunState(run["state"]), state)
            connection.execute(
                "UPDATE runs SET state=?, ended_at=?, exit_code=?, reason=?, heartbeat_at=?, doing=iif(?, '', doing)"
                " WHERE run_id=?",
                (state.value, ended, exit_code, reason, self._journal.now(), ended is not None, run_id),
            )
            self._event(connection, run_id, state, run["attempt"], reason)

    def reap(self) -> list[RunRecord]:
        """Mark the runs whose process is gone as lost, with what they were at; returns them."""
        if all(self._is_worked_on(row) for row in self._journal.read(*_ACTIVE)):
            return []
        lost = []
        with self._journal.transaction() as connection:
            for row in connection.execute(*_ACTIVE).fetchall():
                if self._is_worked_on(row):
                    continue
                run = _run(row)
                at = f" at {run.doing}" if run.doing else ""
                reason = f"process {run.owner.pid} on {run.owner.host} is gone{at}"
                connection.execute(
                    "UPDATE runs SET state=?, ended_at=?, reason=?, doing='' WHERE run_id=?",
                    (RunState.LOST.value, self._journal.now(), reason, run.run_id),
                )
                _leave_unfinished(connection, run.run_id, run.attempt, reason, self._journal.now())
                self._event(connection, run.run_id, RunState.LOST, run.attempt, reason)
                lost.append(run.run_id)
        return [run for run in map(self.run, lost) if run is not None]

    def abandon(self, run_id: str, attempt: int, detail: str) -> None:
        """Note what a run that ended badly leaves behind: what was running failed, what was waiting never ran."""
        with self._journal.transaction() as connection:
            self._require(connection, run_id, attempt)
            _leave_unfinished(connection, run_id, attempt, detail, self._journal.now())

    def set_step(
        self, run_id: str, name: str, state: StepState, detail: str = "", *, attempt: int | None = None
    ) -> None:
        """Move one step and stamp when it began or ended."""
        with self._journal.transaction() as connection:
            self._require(connection, run_id, attempt)
            self._move_step(connection, run_id, name, state, detail)

    def pass_on(
        self, run_id: str, done: str, following: str, facts: Mapping[str, Any], *, attempt: int | None = None
    ) -> None:
        """End one step well and begin the next, and add ``facts`` to what the run was made of, all in one commit."""
        with self._journal.transaction() as connection:
            row = self._require(connection, run_id, attempt)
            self._move_step(connection, run_id, done, StepState.OK, "")
            self._move_step(connection, run_id, following, StepState.RUNNING, "")
            if facts:
                self._add_facts(connection, row, facts)

    def _move_step(self, connection: sqlite3.Connection, run_id: str, name: str, state: StepState, detail: str) -> None:
        column = "started_at" if state is StepState.RUNNING else "ended_at"
        connection.execute(
            f"UPDATE steps SET state=?, detail=?, {column}=? WHERE run_id=? AND name=?",
            (state.value, detail, self._journal.now(), run_id, name),
        )

    def beat(
        self, run_id: str, attempt: int, doing: str = "", cells: Mapping[str, Sequence[CellRecord]] | None = None
    ) -> None:
        """Say that the run is still worked on, and at which cell, for those who cannot see its process.

        ``cells`` are those that have moved, by step.
        """
        with self._journal.transaction() as connection:
            self._require(connection, run_id, attempt)
            connection.executemany(
                "INSERT OR REPLACE INTO cells VALUES (?,?,?,?,?,?,?,?)",
                [
                    (run_id, attempt, step, c.number, c.total, c.state.value, c.seconds, c.reason)
                    for step, moved in (cells or {}).items()
                    for c in moved
                ],
            )
            connection.execute(
                "UPDATE runs SET heartbeat_at=?, doing=? WHERE run_id=?", (self._journal.now(), doing, run_id)
            )

    def cells(self, run_id: str, attempt: int) -> dict[str, list[CellRecord]]:
        """The cells of an attempt by step, in order."""
        found: dict[str, list[CellRecord]] = {}
        for row in self._journal.read(
            "SELECT c.* FROM cells c JOIN steps s ON s.run_id=c.run_id AND s.name=c.step"
            " WHERE c.run_id=? AND attempt=? ORDER BY ordinal, number",
            (run_id, attempt),
        ):
            record = CellRecord(row["number"], row["total"], CellState(row["state"]), row["seconds"], row["reason"])
            found.setdefault(row["step"], []).append(record)
        return found

    def has_decided(self, run_id: str, step: str) -> bool:
        """Whether a step has handed a gateway anything: a proposal, even an empty one, or an order to be cancelled."""
        sql = "SELECT 1 FROM batches WHERE run_id=? AND step IN (?, '') UNION ALL SELECT 1 FROM commands WHERE actor=?"
        return bool(self._journal.read(f"{sql} LIMIT 1", (run_id, step, acting(run_id, step))))

    def _require(self, connection: sqlite3.Connection, run_id: str, attempt: int | None) -> sqlite3.Row:
        row: sqlite3.Row | None = connection.execute("SELECT * FROM runs WHERE run_id=?", (run_id,)).fetchone()
        if row is None:
            raise JournalError(f"no run {run_id}")
        if attempt is not None and (row["attempt"] != attempt or not RunState(row["state"]).is_active):
            raise JournalError(f"run {run_id} has been taken from this process, which is at attempt {attempt}")
        return row

    def _is_worked_on(self, row: sqlite3.Row) -> bool:
        """Whether a run's owner lives: by its process on this machine, by its heartbeat on another."""
        owner = Owner(row["owner_host"], row["owner_pid"], row["owner_started"])
        if owner.host == this_host():
            return owner.is_alive()
        silent_s = (self._journal.clock.now() - datetime.fromisoformat(row["heartbeat_at"])).total_seconds()
        return silent_s < SILENT_S

    def add_provenance(self, run_id: str, name: str, value: object, *, attempt: int | None = None) -> None:
        """Add one fact to what the run was made of."""
        with self._journal.transaction() as connection:
            self._add_facts(connection, self._require(connection, run_id, attempt), {name: value})

    def _add_facts(self, connection: sqlite3.Connection, row: sqlite3.Row, facts: Mapping[str, Any]) -> None:
        known = {**json.loads(row["provenance"]), **facts}
        connection.execute("UPDATE runs SET provenance=? WHERE run_id=?", (_dump(known), row["run_id"]))

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

    def active(self, account: str | None = None) -> list[RunRecord]:
        """Runs that a process is, or will be, working on."""
        found = [_run(row) for row in self._journal.read(*_ACTIVE)]
        return [run for run in found if account in (None, run.key.account)]

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
        """The number of the next deliberate repeat in the key's slot: the last one's until it has succeeded."""
        first = key.amendment - key.amendment % SLOT
        rows = self._journal.read(
            "SELECT max(amendment) AS last FROM runs WHERE account=? AND pipeline=? AND session=?"
            " AND amendment BETWEEN ? AND ?",
            (*_key(key)[:3], first, first + SLOT - 1),
        )
        last = rows[0]["last"]
        if last is None:
            return first
        run = self.find(RunKey(key.account, key.pipeline, key.session, int(last)))
        assert run is not None
        following = int(last) + (run.state is RunState.SUCCEEDED)
        if following >= first + SLOT:
            raise ConfigError(
                f"{key.pipeline} has run {SLOT} times for {key.session}", hint="that is as often as it can"
            )
        return following

    def next_repeat(self, key: RunKey) -> int:
        """The number of the next run of something that may run as often as somebody likes: one after the last."""
        rows = self._journal.read(
            "SELECT max(amendment) AS last FROM runs WHERE account=? AND pipeline=? AND session=?", _key(key)[:3]
        )
        return 0 if rows[0]["last"] is None else int(rows[0]["last"]) + 1

    def _take_steps(self, connection: sqlite3.Connection, run: RunRecord, steps: Sequence[tuple[str, str]]) -> None:
        """The pipeline as it is now: steps may have been added; one that has proposed must still be there."""
        asked = connection.execute("SELECT DISTINCT step FROM batches WHERE run_id=? AND step<>''", (run.run_id,))
        gone = {row["step"] for row in asked} - {name for name, _ in steps}
        if gone:
            raise ConfigError(
                f"run {run.run_id} has proposed orders in step {min(gone)}, which the pipeline does not have any more",
                hint="put the step back, or use --amend for a second rebalance",
            )
        connection.executemany(
            "INSERT INTO steps (run_id, name, ordinal, notebook, state) VALUES (?,?,?,?,?)"
            " ON CONFLICT (run_id, name) DO UPDATE SET ordinal=excluded.ordinal, notebook=excluded.notebook",
            [(run.run_id, name, i, notebook, StepState.PENDING.value) for i, (name, notebook) in enumerate(steps)],
        )

    def _has_begun(self, run_id: str) -> bool:
        """Whether anybody has ever claimed it."""
        sql = "SELECT 1 FROM run_events WHERE run_id=? AND state=? LIMIT 1"
        return bool(self._journal.read(sql, (run_id, RunState.PREFLIGHT.value)))

    def _insert(
        self, connection: sqlite3.Connection, key: RunKey, owner: Owner, state: RunState, run_id: str, folder: str,
        origin: Origin,
    ) -> None:  # fmt: skip
        now = self._journal.now()
        moment = None if origin.scheduled_at is None else timestamp(origin.scheduled_at)
        connection.execute(
            "INSERT INTO runs (run_id, account, pipeline, session, amendment, state, attempt, owner_host, owner_pid,"
            " owner_started, heartbeat_at, created_at, parameters, provenance, folder, trigger, scheduled_at)"
            " VALUES (?,?,?,?,?,?,1,?,?,?,?,?,'{}','{}',?,?,?)",
            (
                run_id, *_key(key), state.value, owner.host, owner.pid, owner.started, now, now, folder, origin.trigger,
                moment,
            ),
        )  # fmt: skip

    def _begin(
        self,
        connection: sqlite3.Connection,
        key: RunKey,
        owner: Owner,
        folder: str,
        parameters: Mapping[str, Any],
        provenance: Mapping[str, Any],
        steps: Sequence[tuple[str, str]],
        origin: Origin,
        running: bool,
    ) -> Claim:
        """The first attempt of a run whose row is there."""
        run = _run(_run_row(connection, key))
        connection.execute(
            "UPDATE runs SET state=?, owner_host=?, owner_pid=?, owner_started=?, heartbeat_at=?, ended_at=NULL,"
            " exit_code=NULL, reason='', parameters=?, provenance=?, trigger=?, folder=? WHERE run_id=?",
            (
                RunState.PREFLIGHT.value, owner.host, owner.pid, owner.started, self._journal.now(), _dump(parameters),
                _dump(provenance), origin.trigger, folder, run.run_id,
            ),
        )  # fmt: skip
        connection.executemany(
            "INSERT INTO steps (run_id, name, ordinal, notebook, state) VALUES (?,?,?,?,?)",
            [(run.run_id, name, i, notebook, StepState.PENDING.value) for i, (name, notebook) in enumerate(steps)],
        )
        self._event(connection, run.run_id, RunState.PREFLIGHT, 1, "claimed")
        if running:
            connection.execute("UPDATE runs SET state=? WHERE run_id=?", (RunState.RUNNING.value, run.run_id))
            connection.execute(
                "UPDATE steps SET state=?, started_at=? WHERE run_id=? AND ordinal=0",
                (StepState.RUNNING.value, self._journal.now(), run.run_id),
            )
            self._event(connection, run.run_id, RunState.RUNNING, 1, "")
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


def acting(run_id: str, step: str) -> str:
    """The name under which a step of a run asks the gateway for something."""
    return f"{run_id} {step}"


def _leave_unfinished(connection: sqlite3.Connection, run_id: str, attempt: int, detail: str, now: str) -> None:
    for table, where in (("steps", "run_id=?"), ("cells", "run_id=? AND attempt=?")):
        values = (run_id,) if table == "steps" else (run_id, attempt)
        told, more = (", detail=?, ended_at=?", (detail, now)) if table == "steps" else ("", ())
        connection.execute(
            f"UPDATE {table} SET state='error'{told} WHERE {where} AND state='running'", (*more, *values)
        )
        connection.execute(f"UPDATE {table} SET state='not_run' WHERE {where} AND state='pending'", values)


_STATES = [state.value for state in RunState if state.is_active]
_ACTIVE = (f"SELECT * FROM runs WHERE state IN ({','.join('?' * len(_STATES))}) ORDER BY rowid", _STATES)
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
        heartbeat_at=row["heartbeat_at"],
        trigger=row["trigger"],
        scheduled_at=row["scheduled_at"],
        doing=row["doing"],
    )
