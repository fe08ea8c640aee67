"""Which moves an order and a run can make; every other one is refused."""

from __future__ import annotations

from enum import StrEnum

from workbench.domain import OrderState
from workbench.errors import JournalError

_ANSWERS = frozenset(
    {
        OrderState.ACCEPTED,
        OrderState.REJECTED,
        OrderState.PARTIALLY_FILLED,
        OrderState.FILLED,
        OrderState.CANCELED,
        OrderState.EXPIRED,
    }
)
_MOVES: dict[OrderState, frozenset[OrderState]] = {
    OrderState.INTENDED: frozenset({OrderState.DENIED, OrderState.SUBMITTING}),
    # Back to INTENDED, or DENIED after all, only when the venue is known not to have the order.
    OrderState.SUBMITTING: _ANSWERS | {OrderState.UNKNOWN, OrderState.INTENDED, OrderState.DENIED},
    OrderState.UNKNOWN: _ANSWERS | {OrderState.INTENDED},
    OrderState.ACCEPTED: _ANSWERS - {OrderState.ACCEPTED},
    OrderState.PARTIALLY_FILLED: _ANSWERS - {OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED},
}


def can_move(before: OrderState, after: OrderState) -> bool:
    """Whether an order can make that move.

    >>> can_move(OrderState.FILLED, OrderState.CANCELED)
    False
    """
    return after in _MOVES.get(before, frozenset())


def check_move(client_order_id: str, before: OrderState, after: OrderState) -> None:
    """Refuse an impossible move of an order.

    Raises
    ------
    JournalError
        Naming the order and both states.
    """
    if not can_move(before, after):
        raise JournalError(f"order {client_order_id} cannot go from {before} to {after}")


class RunState(StrEnum):
    """Life of a run; a run that is not final and whose owner is gone is lost and can be resumed."""

    QUEUED = "queued"
    PREFLIGHT = "preflight"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    KERNEL_DIED = "kernel_died"
    CANCELLED = "cancelled"
    LOST = "lost"
    SKIPPED = "skipped"
    REJECTED = "rejected"

    @property
    def is_active(self) -> bool:
        """Whether a process is working on the run."""
        return self in {RunState.QUEUED, RunState.PREFLIGHT, RunState.RUNNING, RunState.STOPPING}


_ENDS = frozenset(state for state in RunState if not state.is_active)
_RUN_MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: _ENDS - {RunState.SUCCEEDED} | {RunState.PREFLIGHT},
    RunState.PREFLIGHT: _ENDS | {RunState.RUNNING, RunState.STOPPING},
    RunState.RUNNING: _ENDS - {RunState.SKIPPED, RunState.REJECTED} | {RunState.STOPPING},
    RunState.STOPPING: _ENDS - {RunState.SKIPPED, RunState.REJECTED},
    RunState.SUCCEEDED: frozenset(),
}
# What did not succeed may be taken up again.
_AGAIN = frozenset({RunState.QUEUED, RunState.PREFLIGHT, RunState.SKIPPED, RunState.REJECTED})


def check_run_move(run_id: str, before: RunState, after: RunState) -> None:
    """Refuse an impossible move of a run.

    Raises
    ------
    JournalError
        Naming the run and both states.

    Examples
    --------
    >>> check_run_move("daily-1", RunState.SUCCEEDED, RunState.RUNNING)
    Traceback (most recent call last):
    workbench.errors.JournalError: run daily-1 cannot go from succeeded to running
    """
    if after not in _RUN_MOVES.get(before, _AGAIN):
        raise JournalError(f"run {run_id} cannot go from {before} to {after}")


class CellState(StrEnum):
    """Life of a code cell in a run."""

    PENDING = "pending"
    RUNNING = "running"
    OK = "ok"
    ERROR = "error"
    NOT_RUN = "not_run"


class StepState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    OK = "ok"
    ERROR = "error"
    NOT_RUN = "not_run"
