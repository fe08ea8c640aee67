"""What the run ledger says of a schedule's moments."""

from __future__ import annotations

from datetime import date, datetime

from workbench.jobs.schedule.agenda import Past
from workbench.journal import Journal
from workbench.journal.records import SLOT
from workbench.journal.states import RunState


class LedgerHistory:
    """The runs of one account; call it with a pipeline and a session.

    A slot has succeeded if any of its runs has: the first, or one of those that a person repeated it with. Else it is
    in the state of the last.
    """

    def __init__(self, journal: Journal, account: str) -> None:
        self._journal = journal
        self._account = account

    def __call__(self, pipeline: str, session: date) -> dict[int, Past]:
        """What there is, by slot."""
        rows = self._journal.read(
            "SELECT amendment, state, scheduled_at, EXISTS (SELECT 1 FROM run_events e WHERE e.run_id=runs.run_id"
            " AND e.state='preflight') AS begun FROM runs WHERE account=? AND pipeline=? AND session=?"
            " ORDER BY amendment",
            (self._account, pipeline, session.isoformat()),
        )
        found: dict[int, Past] = {}
        for row in rows:
            slot = int(row["amendment"]) // SLOT
            state, known = RunState(row["state"]), found.get(slot)
            if state in {RunState.QUEUED, RunState.LOST} and not row["begun"]:
                continue  # it waits for its turn, here or in a scheduler that is gone
            at = datetime.fromisoformat(row["scheduled_at"]) if row["scheduled_at"] else None
            if at is None and known is None and not state.is_active and state is not RunState.SUCCEEDED:
                continue  # somebody tried it by hand in vain: the moment still stands
            if known is not None:  # a repeat is for the moment that it repeats
                state = known.state if known.state is RunState.SUCCEEDED else state
                at = known.at
            found[slot] = Past(state, at)
        return found

    def busy(self) -> set[str]:
        """The pipelines of which a run is going on."""
        active = [state.value for state in RunState if state.is_active and state is not RunState.QUEUED]
        marks = ",".join("?" * len(active))
        rows = self._journal.read(
            f"SELECT DISTINCT pipeline FROM runs WHERE account=? AND state IN ({marks})", (self._account, *active)
        )
        return {row["pipeline"] for row in rows}
