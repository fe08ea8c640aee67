"""From what a person names to data in the lake: files, folders, databases, buckets, venues and frames."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, fields
from datetime import date
from typing import TYPE_CHECKING, Any

from workbench.data.dataset import LoadResult, Source, Staged
from workbench.data.sources import Reading
from workbench.data.sources.files import FileSource, Progress
from workbench.errors import ConfigError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from workbench.app.installation import Installation

KINDS = ("bars", "quotes")
DATABASES = ("postgresql", "postgres", "mysql", "mariadb", "sqlite")


@dataclass(frozen=True)
class Asked:
    """What a source is asked for besides its location: a table or query of a database, a span of a venue's bars."""

    table: str | None = None
    query: str | None = None
    start: date | None = None
    end: date | None = None
    kind: str = "bars"


@dataclass(frozen=True)
class Preview:
    """What a load would read: the number of bars and symbols, first and last time, and what was inferred."""

    source: str
    frequency: str
    rows: int
    symbols: int
    first: str
    last: str
    actions: int
    quarantined: int
    assumptions: tuple[str, ...]


def source(
    workbench: Installation,
    location: str | os.PathLike[str] | pd.DataFrame,
    reading: Reading,
    asked: Asked | None = None,
    *,
    env: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Source:
    """The source that a location names.

    ``postgresql://``, ``mysql://`` and ``sqlite:FILE`` are databases, ``s3://`` a bucket, ``alpaca:SYMBOL,SYMBOL`` bars
    of that venue; anything else is a file, a folder or a pattern. A frame is itself.

    Raises
    ------
    ConfigError
        If the location is of no known kind, or what is asked besides does not fit it.
    DataError
        If there is nothing at the location.
    """
    env = os.environ if env is None else env
    asked = asked or Asked()
    if asked.kind not in KINDS:
        raise ConfigError(f"no kind {asked.kind!r}", hint=nearest(asked.kind, KINDS))
    if not isinstance(location, str | os.PathLike):
        if asked.kind != "bars":
            raise ConfigError(
                f"{asked.kind} are read from files, not from a frame", hint="write them to a Parquet file"
            )
        from workbench.data.sources.frames import FrameSource

        return FrameSource(location, reading)
    text = os.fspath(location)
    kind = text.partition(":")[0].lower() if ":" in text else ""
    if (asked.table or asked.query) and kind not in DATABASES:
        raise ConfigError(
            f"{text} has no tables or queries", hint="these belong to postgresql://, mysql:// and sqlite:"
        )
    if (asked.start or asked.end) and kind != "alpaca":
        raise ConfigError(f"{text} is read as a whole", hint="a start and end belong to alpaca:SYMBOL")
    if asked.kind == "quotes":
        if kind:
            raise ConfigError(f"quotes are read from files, not from {kind}:", hint="export them to CSV or Parquet")
        from workbench.data.sources.quotes import QuoteSource

        return QuoteSource(text, reading, progress=progress)
    if kind in DATABASES:
        from workbench.data.sources.databases import DatabaseSource

        return DatabaseSource(text, reading, table=asked.table, query=asked.query)
    if kind == "s3":
        from workbench.data.sources.objects import ObjectSource

        return ObjectSource(text, reading, env=env, progress=progress)
    if kind == "alpaca":
        return _alpaca(workbench, text.partition(":")[2], reading, asked, env)
    if "://" in text:
        raise ConfigError(
            f"nothing can be read from {kind}://",
            hint=f"but from files and from {', '.join(f'{each}:' for each in (*DATABASES, 's3', 'alpaca'))}",
        )
    return FileSource(text, reading, progress=progress)


def load(
    workbench: Installation,
    location: str | os.PathLike[str] | pd.DataFrame,
    *,
    asked: Asked | None = None,
    restate: bool = False,
    progress: bool = True,
    **declared: Any,
) -> LoadResult:
    """Read what a location names and put it into the lake; ``declared`` are the fields of :class:`Reading`."""
    unknown = set(declared) - {each.name for each in fields(Reading)}
    if unknown:
        name = min(unknown)
        raise ConfigError(f"load has no {name!r}", hint=nearest(name, [each.name for each in fields(Reading)]))
    reading = Reading(**{"exchange_zone": workbench.calendar.zone.key} | declared)
    with closing(_FileBar(progress)) as bar:
        return workbench.lake.load(source(workbench, location, reading, asked, progress=bar), restate=restate)


class _FileBar:
    """A bar of files where somebody watches (a terminal or a notebook) and there is more than one."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._bar: Any = None

    def __call__(self, done: int, total: int, name: str) -> None:
        from workbench.research.sweeping.progress import bar

        if self._bar is None and total > 1:
            self._bar = bar(self._wanted, total=total, initial=0, unit=" files")
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def preview(found: Source) -> Preview:
    """Read a source and tell what is in it; the lake is not touched.

    Raises
    ------
    DataError
        As loading it would.
    """
    import duckdb

    with duckdb.connect(config={"allow_unsigned_extensions": True}) as connection:
        connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        return _told(found, found.stage(connection), connection)


def _told(found: Source, staged: Staged, connection: Any) -> Preview:
    def count(table: str | None) -> int:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]) if table else 0

    rows = symbols = 0
    first = last = ""
    if staged.bars:
        time = "session" if staged.frequency == "daily" else "start"
        rows, symbols, first, last = connection.execute(
            f"SELECT count(*), count(DISTINCT symbol), min({time})::VARCHAR, max({time})::VARCHAR FROM {staged.bars}"
        ).fetchall()[0]
    return Preview(
        found.name,
        staged.frequency,
        rows,
        symbols,
        first,
        last,
        count(staged.actions),
        count(staged.quarantine),
        staged.assumptions,
    )


def _alpaca(workbench: Installation, symbols: str, reading: Reading, asked: Asked, env: Mapping[str, str]) -> Source:
    from workbench.brokers.alpaca.access import credentials
    from workbench.brokers.alpaca.market_data import AlpacaData
    from workbench.data.sources.alpaca import AlpacaSource

    key, secret = credentials(env)
    client = AlpacaData(workbench.settings.alpaca, key=key, secret=secret, clock=workbench.clock)
    names = [each.strip().upper() for each in symbols.split(",") if each.strip()]
    if not names or asked.start is None:
        raise ConfigError("whose bars, and since when?", hint="alpaca:AAPL,MSFT --start 2020-01-01")
    end = asked.end or workbench.calendar.last_closed(workbench.clock.now())
    return AlpacaSource(client, names, asked.start, end, frequency=reading.frequency or "daily")
