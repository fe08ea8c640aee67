"""What stands between an account and its next order: stops, locks, orders in doubt, runs that ended badly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

from workbench.journal import Controls, Journal, Owner, RunJournal
from workbench.journal.controls import BREAKER, Stop
from workbench.ops.doctor.check import Check, Patient

_RECONCILE = "`workbench reconcile` says what would put it right, `--adopt` applies it"
_DAMAGED = "move it aside and restore a backup before trading"


def journal(patient: Patient) -> Iterator[Check]:
    """Is the journal sound, and what does it say of trading?"""
    with Journal(patient.settings.journal_file, patient.clock) as book:
        verdict = book.read("PRAGMA integrity_check")[0][0]
        if verdict != "ok":
            yield Check("journal", "fail", f"damaged: {verdict}", _DAMAGED)
            return
        yield Check("journal", "ok", f"{patient.settings.journal_file.name} is sound")
        yield from _stops(Controls(book).halted())
        yield from _locks(book)
        yield from _leases(book)
        yield from _reconciliations(book)
        yield from _orders(book)
        yield from _last_runs(RunJournal(book))


def _orders(book: Journal) -> Iterator[Check]:
    counts = {row["state"]: row["n"] for row in book.read("SELECT state, count(*) AS n FROM intents GROUP BY state")}
    doubt = counts.get("unknown", 0) + counts.get("submitting", 0)
    waiting = counts.get("accepted", 0) + counts.get("partially_filled", 0)
    if doubt:
        yield Check("orders", "warn", f"{doubt} orders in doubt", "run the same session again: it looks them up")
    else:
        yield Check("orders", "ok", f"none in doubt, {waiting} open" if waiting else "none in doubt, none open")


def _leases(book: Journal) -> Iterator[Check]:
    """Who holds an account or the scheduler's place, and is that process still there?"""
    held = 0
    for row in book.read("SELECT * FROM leases ORDER BY name"):
        if datetime.fromisoformat(row["expires_at"]) <= book.clock.now():
            continue
        owner = Owner(row["host"], row["pid"], row["started"])
        if owner.is_alive():
            held += 1
            continue
        words = f"{row['name']} is held by process {owner.pid} on {owner.host}, which is gone"
        yield Check(
            "leases", "warn", words, f"nothing: the next run takes it over at {row['expires_at'][:16]} or before"
        )
    yield Check("leases", "ok", f"{held} held by running processes" if held else "none held")


def _stops(stops: list[Stop]) -> Iterator[Check]:
    """Is anything stopped, by a person or by a breaker?"""
    from workbench.reports.status import describe_stop

    for stop in stops:
        name = stop.cause.removeprefix(BREAKER)
        way_out = "`workbench resume`" if name == stop.cause else f"`workbench risk reset {name}`, with name and reason"
        yield Check("trading", "warn", describe_stop(stop), way_out)
    if not stops:
        yield Check("trading", "ok", "active")


def _locks(journal: Journal) -> Iterator[Check]:
    """Do books and venue disagree about a symbol?"""
    from workbench.reports.status import describe_lock

    accounts = [row["account"] for row in journal.read("SELECT DISTINCT account FROM locks ORDER BY account")]
    standing = [(name, lock) for name in accounts for lock in Controls(journal).locks(name).items()]
    for account, (symbol, reason) in standing:
        yield Check("locks", "warn", describe_lock(account, symbol, reason), _RECONCILE)
    if not standing:
        yield Check("locks", "ok", "no symbol is locked")


def _reconciliations(journal: Journal) -> Iterator[Check]:
    """When were the books of each account compared with its venue, and did they agree?"""
    last = journal.read(
        "SELECT * FROM reconciliations WHERE id IN (SELECT max(id) FROM reconciliations GROUP BY account)"
        " ORDER BY account"
    )
    for row in last:
        found = [difference["difference"] for difference in json.loads(row["differences"])]
        when = f"{row['account']} at {row['at'][:16]} ({row['moment']})"
        if row["agrees"]:
            yield Check("reconciliation", "ok", f"{when}: books and venue agree")
        else:
            count = "1 difference" if len(found) == 1 else f"{len(found)} differences"
            yield Check("reconciliation", "warn", f"{when}: {count}: {'; '.join(found)[:200]}", _RECONCILE)
    if not last:
        yield Check("reconciliation", "ok", "none yet")


def _last_runs(runs: RunJournal) -> Iterator[Check]:
    last = {run.key.pipeline: run for run in runs.runs()}
    for pipeline, run in sorted(last.items()):
        gone = run.state.is_active and not run.owner.is_alive()
        words = f"{pipeline} for {run.key.session}: {run.state.value}"
        if gone:
            yield Check("runs", "warn", f"{words}, but its process is gone", "run the same session again to resume it")
        elif run.exit_code:
            yield Check("runs", "warn", f"{words}: {run.reason[:120]}", "run the same session again to resume it")
        else:
            yield Check("runs", "ok", words)
