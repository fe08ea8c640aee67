"""Gather what a tear sheet shows: the account from the journal, the benchmark's prices from the lake."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from workbench.domain import ActivityKind
from workbench.errors import DataError
from workbench.journal import Journal
from workbench.reports import figures, tables
from workbench.reports.execution import executions_where
from workbench.reports.tables import Row
from workbench.reports.tearsheet import TearsheetData

if TYPE_CHECKING:
    import pandas as pd

    from workbench.data.lake import Lake

# Older orders and runs are in the reports file; a page of thousands of rows helps nobody.
MOST_ORDERS = 100
MOST_RUNS = 30
_COSTS = ("gap_bps", "slippage_open_bps")


def collect(
    journal: Journal,
    lake: Lake,
    *,
    account: str,
    session: date | None = None,
    symbols: Sequence[str] | None = None,
    mode: str = "paper",
) -> TearsheetData:
    """Read an account up to the close of a session.

    Parameters
    ----------
    session
        Nothing later counts; the last session valued if left out.
    symbols
        The benchmark's universe; every symbol the account ever had a target for if left out.
    mode
        What the badge says: paper or live.

    Raises
    ------
    DataError
        If the account was not valued at any session up to then.
    """
    valued = tables.equity(journal, account=account, until=session)
    if not valued:
        until = f" up to {session}" if session else ""
        raise DataError(f"account {account} was not valued at any session{until}", hint="run a pipeline first")
    first, last = valued[0]["session"], session or valued[-1]["session"]
    runs = _until(tables.runs(journal, account=account), last)
    targets = _until(tables.targets(journal, account=account), last)
    orders = tables.orders(journal, account=account, until=last)
    universe = sorted(symbols or {row["symbol"] for row in targets})
    snapshot = _snapshot(targets, runs)
    frame = figures.equity_frame(valued)
    benchmark, note = _benchmark(lake, universe, frame, snapshot)
    run = next((row for row in reversed(runs) if row["session"] == last), runs[-1] if runs else None)
    fills = tables.counted_fills(journal, account=account, until=valued[-1]["session"])
    shown = orders[-MOST_ORDERS:][::-1]
    return TearsheetData(
        account=account,
        pipeline=run["pipeline"] if run else "",
        first=first,
        session=last,
        mode=mode,
        run_id=run["run_id"] if run else "",
        data_snapshot=snapshot,
        made_at=journal.clock.now(),
        equity=frame,
        benchmark=benchmark,
        benchmark_note=note,
        values=figures.summary(frame, fills),
        benchmark_values={} if benchmark is None else figures.of_curve(benchmark),
        traded_usd=sum((row["quantity"] * row["price"] for row in fills), Decimal(0)),
        trades=len({row["client_order_id"] for row in fills}),
        denied=sum(row["decision"] == "denied" for row in orders),
        holdings=tables.positions(journal, account=account, session=valued[-1]["session"]),
        targets=[row for row in targets if row["session"] == last],
        orders=_with_costs(journal, lake, account, shown, snapshot),
        orders_total=len(orders),
        activities=_activities(journal, account, last),
        runs=runs[-MOST_RUNS:][::-1],
        runs_total=len(runs),
    )


def _until(rows: Sequence[Row], last: date) -> list[Row]:
    return [row for row in rows if row["session"] <= last]


def _snapshot(targets: Sequence[Row], runs: Sequence[Row]) -> int | None:
    """The lake snapshot of the latest proposal, else of the latest run."""
    if targets:
        return int(targets[-1]["data_snapshot"])
    found = runs[-1]["provenance"].get("data_snapshot") if runs else None
    return None if found is None else int(found)


def _benchmark(
    lake: Lake, universe: list[str], frame: pd.DataFrame, snapshot: int | None
) -> tuple[pd.Series[float] | None, str]:
    """Buy and hold on the account's own sessions, and what it is or why there is none."""
    if not universe:
        return None, "the strategy has named no symbol yet"
    first, last = frame.index[0].date(), frame.index[-1].date()
    try:
        closes = lake.bars(universe, start=first, end=last, adjustment="total", snapshot=snapshot).close
    except DataError as error:
        return None, error.message
    on_sessions = closes.ffill().reindex(frame.index, method="ffill")
    value = figures.buy_and_hold(on_sessions, float(frame["equity"].iloc[0]))
    if value.empty:
        return None, f"no symbol traded on {first}"
    held = [str(symbol) for symbol in on_sessions.columns[on_sessions.iloc[0].notna()]]
    return value, ", ".join(held)


def _with_costs(journal: Journal, lake: Lake, account: str, orders: Sequence[Row], snapshot: int | None) -> list[Row]:
    """Add ``gap_bps`` and ``slippage_open_bps``; None where nothing filled or the prices cannot be read."""
    if not orders:
        return []
    first, last = orders[-1]["session"].isoformat(), orders[0]["session"].isoformat()
    where, values = "i.account=? AND b.session BETWEEN ? AND ?", [account, first, last]
    try:
        found = executions_where(journal, lake, where, values, snapshot=snapshot)
    except DataError:
        found = executions_where(journal, None, where, values)
    costs = {row["client_order_id"]: {name: row[name] for name in _COSTS} for row in found}
    return [{**row, **costs.get(row["client_order_id"], dict.fromkeys(_COSTS))} for row in orders]


def _activities(journal: Journal, account: str, last: date) -> list[Row]:
    rows = _until(tables.activities(journal, account=account), last)
    return [row for row in rows if not ActivityKind(row["kind"]).is_flow][::-1]
