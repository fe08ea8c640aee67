"""Every account at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from workbench.domain import OrderState
from workbench.journal import Controls, Journal, RunRecord
from workbench.journal.controls import BREAKER, BY_HAND, EVERY_ACCOUNT, EVERY_SYMBOL, Stop
from workbench.journal.runs import BEAT_S
from workbench.reports import tables


def status(journal: Journal) -> list[tables.Row]:
    """One row for each account that ever ran, was valued, was stopped or has a lock.

    Returns
    -------
    Rows of account, trading (the state that stands), reason (of the strictest stop), stops (every standing
    one in words), locks (symbol to reason), session (of the last valuation), equity and cash (USD),
    positions (how many names are held), open_orders (how many may still fill), last_run (its id),
    last_session and last_state. What is not known yet is None.

    Examples
    --------
    >>> from workbench.clock import SystemClock
    >>> with Journal(getfixture("tmp_path") / "journal.sqlite", SystemClock()) as journal:
    ...     status(journal)
    []
    """
    stops = Controls(journal).halted()
    names = {
        row["account"]
        for table in ("runs", "marks", "trading_states", "locks")
        for row in journal.read(f"SELECT DISTINCT account FROM {table}")
    }
    return [_account(journal, name, stops) for name in sorted(names - {EVERY_ACCOUNT})]


def describe_stop(stop: Stop) -> str:
    """One line for people: what is stopped, by whom or what, since when and why.

    >>> from workbench.domain import TradingState
    >>> describe_stop(Stop("*", TradingState.HALTED, "hand", "fat finger", "ada", "2013-01-02T22:00:00.000000+00:00"))
    'HALTED: every account, by ada at 2013-01-02T22:00: fat finger'
    """
    scope = "every account" if stop.account == EVERY_ACCOUNT else f"account {stop.account}"
    if stop.cause.startswith(BREAKER):
        who = f"breaker {stop.cause.removeprefix(BREAKER)} latched"
    elif stop.cause == BY_HAND:
        who = f"by {stop.actor}"
    else:
        who = f"{stop.cause}, by {stop.actor}"
    return f"{stop.state.value.upper()}: {scope}, {who} at {stop.at[:16]}: {stop.reason}"


def describe_lock(account: str, symbol: str, reason: str) -> str:
    """One line for people about a symbol (or all of them) that takes no orders until the books agree.

    >>> describe_lock("paper", "IBM", "the books have 10 IBM, the venue 12; adopt 2 shares")
    'LOCKED: IBM in account paper: the books have 10 IBM, the venue 12; adopt 2 shares'
    """
    return f"LOCKED: {'every symbol' if symbol == EVERY_SYMBOL else symbol} in account {account}: {reason}"


def describe_run(run: RunRecord, now: datetime) -> str:
    """One line for people about a run that is going on: where it is, since when, and in which process."""
    at = f" at {run.doing}" if run.doing else ""
    silent_s = (now - datetime.fromisoformat(run.heartbeat_at)).total_seconds()
    heard = f", not heard of for {silent_s:.0f} s" if silent_s > 3 * BEAT_S else ""
    where = f"process {run.owner.pid} on {run.owner.host}"
    return f"{run.state.value.upper()}: {run.key.pipeline} for {run.key.session}{at} ({run.run_id}, {where}{heard})"


def _account(journal: Journal, name: str, stops: Sequence[Stop]) -> tables.Row:
    controls = Controls(journal)
    trading = controls.trading_state(name)
    standing = [stop for stop in stops if stop.account in {name, EVERY_ACCOUNT}]
    valued = tables.equity(journal, account=name)
    worth = valued[-1] if valued else {}
    ran = journal.read("SELECT run_id, session, state FROM runs WHERE account=? ORDER BY rowid DESC LIMIT 1", (name,))
    last = ran[0] if ran else None
    return {
        "account": name,
        "trading": trading.value,
        "reason": next((stop.reason for stop in standing if stop.state is trading), ""),
        "stops": [describe_stop(stop) for stop in standing],
        "locks": controls.locks(name),
        "session": worth.get("session"),
        "equity": worth.get("equity"),
        "cash": worth.get("cash"),
        "positions": len(tables.positions(journal, account=name)),
        "open_orders": _open_orders(journal, name),
        "last_run": last["run_id"] if last else None,
        "last_session": date.fromisoformat(last["session"]) if last else None,
        "last_state": last["state"] if last else None,
    }


def _open_orders(journal: Journal, account: str) -> int:
    states = [state.value for state in OrderState if state.may_fill]
    rows = journal.read(
        f"SELECT count(*) AS open FROM intents WHERE account=? AND state IN ({','.join('?' * len(states))})",
        [account, *states],
    )
    return int(rows[0]["open"])
