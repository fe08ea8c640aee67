"""``workbench data load | quarantine``: bring data into the lake, and see what was set aside."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.output import Json, show
from workbench.errors import ConfigError

if TYPE_CHECKING:
    from workbench.app.loading import Preview
    from workbench.app.workbench import Workbench
    from workbench.data.dataset import LoadResult
    from workbench.data.sources.files import Progress

_Location = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[LOCATION]...",
        help="Files, folders, patterns; postgresql://, mysql://, sqlite:FILE; s3://BUCKET/KEY; alpaca:SYMBOL,...; "
        "the sample if left out.",
    ),
]
_Column = Annotated[
    list[str] | None,
    typer.Option("--column", "--map", metavar="ROLE=COLUMN", help="Which column is what: close=Last."),
]
_Adjusted = Annotated[
    bool | None,
    typer.Option("--adjusted/--raw", help="Prices are divided by later splits, or as traded."),
]


def load(
    location: _Location = None,
    frequency: Annotated[str | None, typer.Option(help="daily or minute; told from the times if left out.")] = None,
    kind: Annotated[str, typer.Option(help="bars or quotes.")] = "bars",
    column: _Column = None,
    date_format: Annotated[str | None, typer.Option(help='day-first, month-first, or as "%d/%m/%Y".')] = None,
    decimal: Annotated[str | None, typer.Option(help="The decimal mark: . or ,")] = None,
    adjusted: _Adjusted = None,
    symbol: Annotated[str | None, typer.Option(help="Whose bars these are, where no column says it.")] = None,
    timezone: Annotated[str | None, typer.Option(help="Of times without one: America/New_York, UTC.")] = None,
    stamp: Annotated[str | None, typer.Option(help="A minute is known by its start or its end.")] = None,
    calendar: Annotated[str | None, typer.Option(help="Exchange whose date a session has: XNYS.")] = None,
    table: Annotated[str | None, typer.Option(help="The table of a database.")] = None,
    query: Annotated[str | None, typer.Option(help="A query of a database.")] = None,
    start: Annotated[str | None, typer.Option(help="First date, for alpaca:.")] = None,
    end: Annotated[str | None, typer.Option(help="Last date, for alpaca:.")] = None,
    quarantine: Annotated[bool, typer.Option("--quarantine", help="Set wrong rows aside and load the rest.")] = False,
    restate: Annotated[bool, typer.Option("--restate", help="Replace most of a symbol's history.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and tell, change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Load price data, or the sample; loading it again changes nothing."""
    from workbench.app import open_workbench

    declared = {
        "frequency": frequency,
        "columns": _pairs(column or []),
        "date_format": date_format,
        "decimal": decimal,
        "adjusted": adjusted,
        "symbol": symbol,
        "timezone": timezone,
        "stamp": stamp,
        "quarantine": quarantine,
    }
    asked = {"table": table, "query": query, "start": start, "end": end, "kind": kind}
    workbench = open_workbench()
    try:
        if not location:
            asked["kind"] = None if kind == "bars" else kind
            _refuse_options({**declared, **asked, "calendar": calendar, "dry_run": dry_run, "restate": restate})
            _tell([_Told.of(result) for result in workbench.load_sample()], as_json)
            return
        if calendar is not None:
            declared["exchange_zone"] = _zone(workbench, calendar)
        told = []
        for each in location:
            told.append(_load_one(workbench, each, declared, asked, restate=restate, dry_run=dry_run))
            if not as_json:
                _tell(told[-1:], as_json)
        if as_json:
            _tell(told, as_json)
    finally:
        workbench.close()


def quarantine(
    source: Annotated[str | None, typer.Option(help="Only rows of this source.")] = None,
    as_json: Json = False,
) -> None:
    """Rows that a load has set aside, with what is wrong with them."""
    from workbench.app import open_workbench

    workbench = open_workbench()
    try:
        frame = workbench.lake.quarantine(source)
        rows = [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
        show(rows, ["source", "line", "reason", "row"], as_json=as_json, empty="no row was set aside")
    finally:
        workbench.close()


@dataclasses.dataclass(frozen=True)
class _Told:
    """One line about a load, what was inferred below it, and all of it for JSON."""

    line: str
    below: tuple[str, ...]
    facts: dict[str, Any]

    @classmethod
    def of(cls, result: LoadResult) -> _Told:
        line = (
            f"{result.source}: {result.rows_read} rows read, {result.rows_added} added, {result.rows_restated}"
            f" restated, {result.actions_added} corporate actions, snapshot {result.snapshot}"
        )
        others = {name: count for name, count in result.beside.items() if name not in ("actions", "notices")}
        below = [f"{count} {name if count > 1 else name[:-1]} added" for name, count in others.items() if count]
        below += result.assumptions
        below += [f"restated: {each}" for each in result.restated]
        if result.quarantined:
            rows = "1 row was" if result.quarantined == 1 else f"{result.quarantined} rows were"
            below.append(f"{rows} set aside: workbench data quarantine --source '{result.source}'")
        if result.repeated:
            below.append("the same data was loaded before: nothing was done")
        return cls(line, tuple(below), dataclasses.asdict(result))

    @classmethod
    def of_preview(cls, found: Preview) -> _Told:
        line = (
            f"{found.source}: {found.rows} {found.frequency} bars of {found.symbols} symbols from {found.first} to "
            f"{found.last}, {found.actions} corporate actions; nothing was loaded"
        )
        aside = (f"{found.quarantined} rows would be set aside",) if found.quarantined else ()
        return cls(line, found.assumptions + aside, dataclasses.asdict(found))


def _load_one(
    workbench: Workbench,
    location: str,
    declared: dict[str, Any],
    asked: dict[str, str | None],
    *,
    restate: bool,
    dry_run: bool,
) -> _Told:
    from workbench.app import loading
    from workbench.app.installation import as_date
    from workbench.data.sources import Reading

    reading = Reading(**{"exchange_zone": workbench.calendar.zone.key} | declared)
    wanted = loading.Asked(
        asked["table"], asked["query"], as_date(asked["start"]), as_date(asked["end"]), asked["kind"] or "bars"
    )
    with _bar() as (files, phase):
        found = loading.source(workbench, location, reading, wanted, progress=files)
        if dry_run:
            return _Told.of_preview(loading.preview(found))
        return _Told.of(workbench.lake.load(found, restate=restate, progress=phase))


def _tell(told: list[_Told], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([each.facts for each in told], default=str, indent=2))
        return
    for each in told:
        typer.echo(each.line)
        for note in each.below:
            typer.echo(f"  {note}")


def _pairs(written: list[str]) -> dict[str, str]:
    pairs = {}
    for each in written:
        role, found, name = each.partition("=")
        if not found or not role or not name:
            raise ConfigError(
                f"--column {each!r} is not of the form ROLE=COLUMN", hint="for instance --column close=Last"
            )
        pairs[role.strip()] = name
    return pairs


def _refuse_options(given: dict[str, Any]) -> None:
    """The sample is known: what is declared about it would be ignored."""
    named = [
        name for name, value in given.items() if value not in ("", {}) and value is not None and value is not False
    ]
    if given["adjusted"] is False:
        named.append("raw")
    if named:
        raise ConfigError(
            f"--{named[0].replace('_', '-')} without a location", hint="say what to load: a file, a folder, a database"
        )


def _zone(workbench: Workbench, name: str) -> str:
    from workbench.calendars import calendar

    return calendar(name, workbench.settings.cache_dir).zone.key


@contextmanager
def _bar() -> Iterator[tuple[Progress, Any]]:
    """A progress bar on a terminal's error stream; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield (lambda _done, _total, _name: None), None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from workbench.cli.output import console

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("looking", total=None)

        def files(done: int, total: int, name: str) -> None:
            progress.update(task, completed=done, total=total, description=name or "reading")

        def phase(what: str) -> None:
            progress.update(task, description=what)

        yield files, phase
