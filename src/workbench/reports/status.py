"""Every account at a glance."""

from __future__ import annotations

from datetime import date

from workbench.domain import OrderState, TradingState
from workbench.journal import Journal, OrderJournal
from workbench.journal.orders import EVERY_ACCOUNT
from workbench.reports import tables

_SEVERITY = [TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED]


def status(journal: Journal) -> list[tables.Row]:
    """One row for each account that ever ran, was valued or was halted.

    Returns
    -------
    Rows of account, trading (the state that stands), reason (why it is not active), session (of the last
    valuation), equity and cash (USD), positions (how many names are held), open_orders (how many may still
    fill), last_run (its id), last_session and last_state. What is not known yet is None.

    Examples
    --------
    >>> from workbench.clock import SystemClock
    >>> with Journal(getfixture("tmp_path") / "journal.sqlite", SystemClock()) as journal:
    ...     status(journal)
    []
    """
    halted = {account: (state, reason) for account, state, reason, _, _ in OrderJournal(journal).halted()}
    names = {
        row["account"]
        for row in journal.read(
            "SELECT account FROM runs UNION SELECT account FROM marks UNION SELECT account FROM trading_states"
        )
    }
    return [_account(journal, name, halted) for name in sorted(names - {EVERY_ACCOUNT})]


def _account(journal: Journal, name: str, halted: dict[str, tuple[TradingState, str]]) -> tables.Row:
    standing = [halted[scope] for scope in (name, EVERY_ACCOUNT) if scope in halted]
    trading, reason = max(standing, key=lambda one: _SEVERITY.index(one[0]), default=(TradingState.ACTIVE, ""))
    valued = tables.equity(journal, account=name)
    worth = valued[-1] if valued else {}
    ran = journal.read("SELECT run_id, session, state FROM runs WHERE account=? ORDER BY rowid DESC LIMIT 1", (name,))
    last = ran[0] if ran else None
    return {
        "account": name,
        "trading": trading.value,
        "reason": reason,
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
