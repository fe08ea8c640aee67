"""What the journal says of runs: keys, origins, steps, cells, claims."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from workbench.journal.process import Owner
from workbench.journal.states import CellState, RunState, StepState

# Runs of a session are numbered: the slot of a schedule with several moments a session, and deliberate repeats of it.
SLOT = 1000


@dataclass(frozen=True, slots=True)
class RunKey:
    """What can run only once.

    ``amendment`` is slot * 1000 + n: slot k is the k-th scheduled moment that decides on the session (0 for a daily
    job), n counts deliberate repeats.

    >>> RunKey("paper", "daily", date(2013, 2, 28)).run_id
    'daily-20130228-56fa937e'
    """

    account: str
    pipeline: str
    session: date
    amendment: int = 0

    @property
    def run_id(self) -> str:
        """The same for every attempt, on every machine."""
        parts = (self.account, self.pipeline, self.session.isoformat(), str(self.amendment))
        digest = hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:8]
        return f"{self.pipeline}-{self.session:%Y%m%d}-{digest}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked for a run: a person (``manual``), the ``schedule`` or ``jupyter``; and for which moment."""

    trigger: str = "manual"
    scheduled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CellRecord:
    """Where one code cell of a step is; ``number`` counts from 1, as ``In [n]`` does; ``reason`` is why it failed."""

    number: int
    total: int
    state: CellState
    seconds: float
    reason: str = ""


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
    heartbeat_at: str = ""
    trigger: str = "manual"
    scheduled_at: str | None = None
    doing: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """The outcome of asking to run: ``mine`` is False if the run is done already."""

    run: RunRecord
    mine: bool
    resumed: bool
