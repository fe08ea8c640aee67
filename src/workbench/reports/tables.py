"""What happened, read straight from the journal: lists of plain dictionaries.

The command line and the tear sheet print these, so a listing never depends on the reports file. Sessions
are dates, moments are UTC-aware datetimes, prices, quantities and money (USD) are exact ``Decimal``.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from workbench.domain import ActivityKind, OrderState
from workbench.journal import Journal
from workbench.reports import corrected

Row = dict[str, Any]
_Executed = tuple[date, corrected.Executed]

# An order's prices and amounts that not every type of order has.
_OPTIONAL = ("limit_price", "stop_price", "trail_price", "trail_percent", "notional_usd")
_EXITS = ("take_profit", "stop_loss", "stop_loss_limit")

# States whose last event says why; a denied order has its reason in the decision.
_EXPLAINED = frozenset(
    {OrderState.REJECTED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.UNKNOWN, OrderState.INTENDED}
)


def orders(
    journal: Journal,
    *,
    account: str | None = None,
    session: date | None = None,
    run_id: str | None = None,
    until: date | None = None,
) -> list[Row]:
    """Every order ever proposed, in the order of proposal.

    Parameters
    ----------
    session
        The session the order was decided on; it fills at the next one.
    until
        The last session to include.

    Returns
    -------
    Rows of client_order_id, run_id, account, pipeline, session, strategy, kind (plan, or flatten for the kill
    switch's own), symbol, side, quantity, type, time_in_force, limit_price, stop_price, trail_price,
    trail_percent, notional_usd, bracket (its prices by name), replaces, reference_price, status (an
    ``OrderState``), decision ("approved", "denied" or None while undecided), gate (the one that refused),
    reason (why it was denied, rejected, cancelled or expired), filled_quantity, fill_price (average over the
    fills, None if there is none), fee (sum) and fill_session (of the last fill). Fills are counted with their
    corrections: a busted one is none.

    Examples
    --------
    >>> from workbench.clock import SystemClock
    >>> with Journal(getfixture("tmp_path") / "journal.sqlite", SystemClock()) as journal:
    ...     orders(journal, account="paper")
    []
    """
    where, values = _where(
        {"i.account=?": account, "b.session=?": session, "b.run_id=?": run_id, "b.session<=?": until}
    )
    return orders_where(journal, where, values)


def orders_where(journal: Journal, where: str, values: Sequence[object]) -> list[Row]:
    """:func:`orders` by a condition on ``i`` (intents) and ``b`` (batches)."""
    found = journal.read(
        "SELECT i.*, b.run_id, b.pipeline, b.session, b.kind, d.approved, d.gate, d.reason, e.detail"
        " FROM intents i JOIN batches b USING (batch_id)"
        " LEFT JOIN decisions d ON d.id ="
        " (SELECT max(id) FROM decisions WHERE client_order_id = i.client_order_id)"
        " LEFT JOIN order_events e ON e.id ="
        " (SELECT max(id) FROM order_events WHERE client_order_id = i.client_order_id)"
        f" WHERE {where} ORDER BY b.session, i.rowid",
        values,
    )
    changed = corrected.corrections_of(journal)
    executed: dict[str, list[_Executed]] = {}
    for fill in journal.read(
        "SELECT f.* FROM fills f"
        " JOIN intents i ON i.client_order_id = f.client_order_id AND i.account = f.account"
        f" JOIN batches b USING (batch_id) WHERE {where} ORDER BY f.id",
        values,
    ):
        counts = corrected.executed(fill, changed.get((fill["account"], fill["fill_id"]), []))
        executed.setdefault(fill["client_order_id"], []).append((date.fromisoformat(fill["session"]), counts))
    return [_order(row, executed.get(row["client_order_id"], [])) for row in found]


def fills_where(journal: Journal, where: str, values: Sequence[object]) -> list[Row]:
    """Executions as the venue told them, by a condition on ``f``, in the order they were recorded.

    The exit of a bracket has the run of its entry; an execution of an order that is not ours has none. What
    corrections made of them is in :func:`counted_fills`.
    """
    found = journal.read(
        "SELECT f.*, b.run_id FROM fills f"
        " LEFT JOIN legs l ON l.account = f.account AND l.client_order_id = f.client_order_id"
        " LEFT JOIN intents i ON i.client_order_id = coalesce(l.parent, f.client_order_id) AND i.account = f.account"
        f" LEFT JOIN batches b USING (batch_id) WHERE {where} ORDER BY f.id",
        values,
    )
    return [
        {
            "account": row["account"],
            "broker": row["broker"],
            "fill_id": row["fill_id"],
            "client_order_id": row["client_order_id"],
            "run_id": row["run_id"],
            "symbol": row["symbol"],
            "side": row["side"],
            "quantity": Decimal(row["quantity"]),
            "price": Decimal(row["price"]),
            "fee": Decimal(row["fee"]),
            "session": date.fromisoformat(row["session"]),
            "executed_at": datetime.fromisoformat(row["at"]),
        }
        for row in found
    ]


def counted_fills(journal: Journal, *, account: str, until: date | None = None) -> list[Row]:
    """Executions of an account that still count, as they count: corrected, and without those that were busted.

    Returns
    -------
    Rows of session, client_order_id, quantity (shares), price (average paid, USD) and fee (USD).
    """
    where, values = _where({"account=?": account, "session<=?": until})
    changed = corrected.corrections_of(journal)
    rows = []
    for fill in journal.read(f"SELECT * FROM fills WHERE {where} ORDER BY id", values):
        counts = corrected.executed(fill, changed.get((account, fill["fill_id"]), []))
        if counts.quantity:
            rows.append(
                {
                    "session": date.fromisoformat(fill["session"]),
                    "client_order_id": fill["client_order_id"],
                    "quantity": counts.quantity,
                    "price": counts.value / counts.quantity,
                    "fee": counts.fee,
                }
            )
    return rows


def runs(
    journal: Journal, *, account: str | None = None, pipeline: str | None = None, session: date | None = None
) -> list[Row]:
    """Runs in the order they were first claimed.

    ``seconds`` is how long the last attempt took, None while it runs; ``parameters`` and ``provenance`` are
    dictionaries.
    """
    where, values = _where({"r.account=?": account, "r.pipeline=?": pipeline, "r.session=?": session})
    return runs_where(journal, where, values)


def runs_where(journal: Journal, where: str, values: Sequence[object]) -> list[Row]:
    """:func:`runs` by a condition on ``r``."""
    found = journal.read(
        "SELECT r.*, e.began FROM runs r LEFT JOIN (SELECT run_id, attempt, min(at) AS began FROM run_events"
        f" GROUP BY run_id, attempt) e USING (run_id, attempt) WHERE {where} ORDER BY r.rowid",
        values,
    )
    return [_run(row) for row in found]


def targets(journal: Journal, *, account: str | None = None, session: date | None = None) -> list[Row]:
    """What the strategies wanted to hold, by proposal and symbol."""
    where, values = _where({"b.account=?": account, "b.session=?": session})
    return targets_where(journal, where, values)


def targets_where(journal: Journal, where: str, values: Sequence[object]) -> list[Row]:
    """:func:`targets` by a condition on ``b``."""
    return [
        {
            "batch_id": row["batch_id"],
            "run_id": row["run_id"],
            "account": row["account"],
            "pipeline": row["pipeline"],
            "session": date.fromisoformat(row["session"]),
            "strategy": row["strategy"],
            "symbol": row["symbol"],
            "weight": Decimal(row["weight"]),
            "price": Decimal(row["price"]),
            "held": Decimal(row["held"]),
            "quantity": Decimal(row["quantity"]),
            "data_snapshot": row["data_snapshot"],
        }
        for row in journal.read(
            "SELECT b.*, t.symbol, t.weight, t.price, t.held, t.quantity FROM targets t"
            f" JOIN batches b USING (batch_id) WHERE {where} ORDER BY b.rowid, t.symbol",
            values,
        )
    ]


def activities(journal: Journal, *, account: str | None = None, session: date | None = None) -> list[Row]:
    """Dividends, splits, cash in lieu and deposits in the order they were recorded."""
    where, values = _where({"a.account=?": account, "a.session=?": session})
    return activities_where(journal, where, values)


def activities_where(journal: Journal, where: str, values: Sequence[object]) -> list[Row]:
    """:func:`activities` by a condition on ``a``."""
    return [
        {
            "account": row["account"],
            "broker": row["broker"],
            "activity_id": row["activity_id"],
            "kind": row["kind"],
            "symbol": row["symbol"],
            "session": date.fromisoformat(row["session"]),
            "quantity_delta": Decimal(row["quantity_delta"]),
            "cash_delta": Decimal(row["cash_delta"]),
            "recorded_at": datetime.fromisoformat(row["at"]),
        }
        for row in journal.read(f"SELECT * FROM activities a WHERE {where} ORDER BY a.id", values)
    ]


def positions(journal: Journal, *, account: str | None = None, session: date | None = None) -> list[Row]:
    """Holdings at a close: of ``session``, or of each account's last session that was marked.

    Corrections that were put on record after that close and belong to it are counted.

    Returns
    -------
    Rows of account, session, symbol, quantity (shares), price (raw close, USD; None if a correction brought in
    what was never priced), value (USD) and weight (fraction of equity; None if there is no equity).
    """
    where, values = _where({"m.account=?": account, "m.session=?": session})
    if session is None:
        where += " AND m.session = (SELECT max(session) FROM marks WHERE account = m.account)"
    return positions_where(journal, where, values)


def positions_where(journal: Journal, where: str, values: Sequence[object]) -> list[Row]:
    """:func:`positions` by a condition on ``m`` (marks)."""
    rows = []
    changed = corrected.changes(journal)
    for mark in journal.read(f"SELECT * FROM marks m WHERE {where} ORDER BY m.account, m.session", values):
        close = corrected.close_of(mark, corrected.after(mark, changed.get(mark["account"], [])))
        for symbol, (quantity, price) in close.positions.items():
            value = None if price is None else quantity * price
            rows.append(
                {
                    "account": mark["account"],
                    "session": date.fromisoformat(mark["session"]),
                    "symbol": symbol,
                    "quantity": quantity,
                    "price": price,
                    "value": value,
                    "weight": value / close.equity if value is not None and close.equity else None,
                }
            )
    return rows


def equity(journal: Journal, *, account: str | None = None, until: date | None = None) -> list[Row]:
    """Each account's value at the close of every marked session, with the corrections that belong to it.

    Returns
    -------
    Rows of account, session, cash, positions_value, equity, deposits (USD paid in since the mark before; what
    an account held when it was first seen counts with its value at the first mark) and return: the simple
    return since the mark before, equity / (equity before + deposits) - 1, so that money paid in is no gain.
    It is None on the first mark, and when there was nothing to gain on.
    """
    where, values = _where({"account=?": account, "session<=?": until})
    paid_in, opened = _flows(journal, account)
    changed = corrected.changes(journal, account)
    rows: list[Row] = []
    for mark in journal.read(f"SELECT * FROM marks WHERE {where} ORDER BY account, session", values):
        name, session = mark["account"], date.fromisoformat(mark["session"])
        last = rows[-1] if rows and rows[-1]["account"] == name else None
        value, cash = Decimal(mark["equity"]), Decimal(mark["cash"])
        later = corrected.after(mark, changed.get(name, []))
        if later:
            close = corrected.close_of(mark, later)
            value, cash = close.equity, close.cash
        deposits = sum(
            (
                amount
                for day, amount in paid_in.get(name, [])
                if day <= session and (last is None or day > last["session"])
            ),
            Decimal(0),
        )
        before = Decimal(0) if last is None else last["equity"] + deposits
        rows.append(
            {
                "account": name,
                "session": session,
                "cash": cash,
                "positions_value": value - cash,
                "equity": value,
                "deposits": value if last is None and name in opened else deposits,
                "return": value / before - 1 if before > 0 else None,
            }
        )
    return rows


def _run(row: sqlite3.Row) -> Row:
    created = datetime.fromisoformat(row["created_at"])
    ended = None if row["ended_at"] is None else datetime.fromisoformat(row["ended_at"])
    began = created if row["began"] is None else datetime.fromisoformat(row["began"])
    return {
        "run_id": row["run_id"],
        "account": row["account"],
        "pipeline": row["pipeline"],
        "session": date.fromisoformat(row["session"]),
        "amendment": row["amendment"],
        "state": row["state"],
        "attempt": row["attempt"],
        "created_at": created,
        "ended_at": ended,
        "seconds": None if ended is None else (ended - began).total_seconds(),
        "exit_code": row["exit_code"],
        "reason": row["reason"],
        "trigger": row["trigger"],
        "scheduled_at": None if row["scheduled_at"] is None else datetime.fromisoformat(row["scheduled_at"]),
        "doing": row["doing"],
        "parameters": json.loads(row["parameters"]),
        "provenance": json.loads(row["provenance"]),
        "folder": row["folder"],
    }


def _order(row: sqlite3.Row, executed: Sequence[_Executed]) -> Row:
    filled = sum((counts.quantity for _, counts in executed), Decimal(0))
    paid = sum((counts.value for _, counts in executed), Decimal(0))
    decision = None if row["approved"] is None else "approved" if row["approved"] else "denied"
    reason = row["reason"] or ""
    if decision != "denied" and row["state"] in _EXPLAINED:
        reason = row["detail"] or reason
    return {
        "client_order_id": row["client_order_id"],
        "run_id": row["run_id"],
        "account": row["account"],
        "pipeline": row["pipeline"],
        "session": date.fromisoformat(row["session"]),
        "strategy": row["strategy"],
        "kind": row["kind"],
        "symbol": row["symbol"],
        "side": row["side"],
        "quantity": Decimal(row["quantity"]),
        "type": row["type"],
        "time_in_force": row["time_in_force"],
        **{name: None if row[name] is None else Decimal(row[name]) for name in _OPTIONAL},
        "bracket": _bracket(row["bracket"]),
        "replaces": row["replaces"],
        "reference_price": Decimal(row["reference_price"]),
        "status": row["state"],
        "decision": decision,
        "gate": row["gate"] or None,
        "reason": reason,
        "filled_quantity": filled,
        "fill_price": paid / filled if filled else None,
        "fee": sum((counts.fee for _, counts in executed), Decimal(0)),
        "fill_session": max((session for session, counts in executed if counts.quantity), default=None),
    }


def _bracket(text: str | None) -> dict[str, str | None] | None:
    """A bracket's exact prices by name."""
    return None if text is None else dict(zip(_EXITS, json.loads(text), strict=True))


def _flows(journal: Journal, account: str | None) -> tuple[dict[str, list[tuple[date, Decimal]]], set[str]]:
    """Money that came in by account, and the accounts that held something when they were first seen."""
    where, values = _where({"a.account=?": account})
    kinds = [kind.value for kind in ActivityKind if kind.is_flow]
    paid_in: dict[str, list[tuple[date, Decimal]]] = {}
    opened: set[str] = set()
    for row in activities_where(journal, f"{where} AND a.kind IN ({','.join('?' * len(kinds))})", [*values, *kinds]):
        paid_in.setdefault(row["account"], []).append((row["session"], row["cash_delta"]))
        if row["kind"] == ActivityKind.OPENING:
            opened.add(row["account"])
    return paid_in, opened


def _where(filters: dict[str, object]) -> tuple[str, list[object]]:
    """A condition from those filters that have a value; dates are compared as the journal writes them."""
    wanted = {condition: value for condition, value in filters.items() if value is not None}
    values = [value.isoformat() if isinstance(value, date) else value for value in wanted.values()]
    return " AND ".join(["1=1", *wanted]), values
