"""What is due of one pipeline, for a trigger that is not ours: Kubernetes, Airflow, a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from workbench.clock import Clock
from workbench.errors import DeadlineMissed
from workbench.jobs.schedule.agenda import Action, Agenda, Kind
from workbench.jobs.schedule.history import LedgerHistory
from workbench.jobs.schedule.when import Due
from workbench.journal import Journal, RunJournal

LOOK_S = 5.0  # how often the ledger is looked at while something is waited for


@dataclass(frozen=True, slots=True)
class Answer:
    """The moment to run now, or why there is none."""

    due: Due | None
    reason: str = ""


def what_is_due(agenda: Agenda, pipeline: str, journal: Journal, account: str, clock: Clock) -> Answer:
    """The last moment of a pipeline that has come, if it is still to be run; waits for what it has to wait for.

    Moments before the last are not looked at: it supersedes them.

    Raises
    ------
    DeadlineMissed
        If it was waited for in vain, or a pipeline that had to succeed first did not.
    """
    history = LedgerHistory(journal, account)
    last = agenda.latest(pipeline, clock.now())
    if last is None:
        return Answer(None, "its schedule has not come yet")
    waited = False
    while True:
        RunJournal(journal).reap()
        now = clock.now()
        action = _action(agenda, last, now, history)
        if action is None:
            return Answer(None, f"the moment at {last.at:%Y-%m-%d %H:%M} UTC has been dealt with")
        if action.kind is Kind.RUN:
            return Answer(action.due)
        if action.kind is Kind.SKIP:
            in_time = last.deadline is None or now < last.deadline
            if waited or (in_time and not agenda.closed(last)):
                raise DeadlineMissed(f"{pipeline} for {last.session}: {action.reason}")
            return Answer(None, action.reason)
        waited = True
        clock.sleep(
            min([LOOK_S, *((at - now).total_seconds() for at in (last.start, last.deadline) if at and at > now)])
        )


def _action(agenda: Agenda, due: Due, now: datetime, history: LedgerHistory) -> Action | None:
    seen = {due.pipeline: due.at - timedelta(microseconds=1)}
    plan = agenda.decide(seen, now, history, history.busy())
    return next((a for a in plan.actions if a.due.pipeline == due.pipeline and a.due.at == due.at), None)
