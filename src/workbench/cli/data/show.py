"""``workbench data show``: what is in the lake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.data.choices import Moment, Snapshot, parse_moment
from workbench.cli.output import Json, show
from workbench.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from workbench.data.lake import Lake

_LAST = 5


def coverage(
    symbol: Annotated[str | None, typer.Argument(help="Everything about one; all in short if left out.")] = None,
    snapshot: Snapshot = None,
    moment: Moment = None,
    as_json: Json = False,
) -> None:
    """Symbols with their first and last session, or everything about one of them."""
    from workbench.app import open_workbench

    workbench = open_workbench()
    try:
        lake = workbench.lake
        if moment is not None:
            if snapshot is not None:
                raise ConfigError("--snapshot and --at both say which version is meant", hint="leave one out")
            snapshot = lake.snapshot(parse_moment(moment))
        if symbol is not None:
            _show_symbol(lake, symbol, lake.snapshot() if snapshot is None else snapshot, as_json=as_json)
            return
        rows = _spans(lake.coverage(snapshot=snapshot))
        show(rows, ["symbol", "first", "last", "rows"], as_json=as_json, empty="the lake is empty")
    finally:
        workbench.close()


def _spans(frame: pd.DataFrame) -> list[dict[str, object]]:
    return [
        {"symbol": row["symbol"], "first": row["first"].date(), "last": row["last"].date(), "rows": row["rows"]}
        for row in frame.reset_index().to_dict("records")
    ]


def _show_symbol(lake: Lake, symbol: str, snapshot: int, *, as_json: bool) -> None:
    """Bars by frequency, the last of them, actions, listings, notices and the number of repairs."""
    listed = lake.listings([symbol], snapshot=snapshot)
    bars = _spans(lake.coverage([symbol], snapshot))
    minutes = lake.coverage(snapshot=snapshot, frequency="minute")
    found: dict[str, list[dict[str, object]]] = {
        "bars": bars,
        "minutes": _spans(minutes[minutes.index == symbol]),
        "last_bars": _last_bars(lake, symbol, snapshot),
        "listings": _records(listed.drop(columns="source")),
        "actions": _records(lake.actions([symbol], snapshot=snapshot, listed=True)),
        "notices": _records(lake.notices([symbol], snapshot=snapshot)),
        "repairs": _records(lake.repairs([symbol], snapshot=snapshot)),
    }
    if as_json:
        show([{"symbol": symbol, "snapshot": snapshot} | found], [], as_json=True, empty="")
        return
    for title, rows in found.items():
        if not rows:
            continue
        typer.echo(f"{title.replace('_', ' ')} ({len(rows)})" if title != "bars" else f"{symbol}, snapshot {snapshot}")
        show(rows[-_LAST * 4 :], list(rows[0]), as_json=False, empty="")
        typer.echo()


def _last_bars(lake: Lake, symbol: str, snapshot: int) -> list[dict[str, object]]:
    names = ("session", "open", "high", "low", "close", "volume")
    return [dict(zip(names, row, strict=True)) for row in lake.history(symbol, snapshot=snapshot)[-_LAST:]]


def _records(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Rows with dates for midnights and nothing for what is missing."""
    return [_plain(row) for row in frame.to_dict("records")]


def _plain(row: Mapping[object, object]) -> dict[str, object]:
    import pandas as pd

    plain: dict[str, object] = {}
    for name, value in row.items():
        if isinstance(value, pd.Timestamp) and value == value.normalize():
            value = value.date()
        plain[str(name)] = None if pd.isna(value) else value  # type: ignore[call-overload]
    return plain
