"""From columns to bars: the SQL that reads each part of a row, and what was inferred for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from workbench.data.dataset import Frequency
from workbench.data.sources import numbers
from workbench.data.sources.columns import NUMBERS, QUOTE_NUMBERS, QUOTE_REQUIRED, QUOTE_ROLES, assign
from workbench.data.sources.dates import Dates, infer
from workbench.data.sources.reading import Reading
from workbench.data.sources.stamps import MIDNIGHT, divided
from workbench.data.sources.tables import TEXT, Table
from workbench.data.sources.text import quoted
from workbench.errors import DataError

# Gives cells of a column as text: enough of them to infer from.
Cells = Callable[[int], Sequence[str]]
_FIVE = 5
# Instead of SQL for the symbol: the file's name has it.
NAMED_BY_FILE = ""
_NUMERIC = ("DOUBLE", "DECIMAL", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "U")


@dataclass(frozen=True)
class Plan:
    """How a table is read. ``sql``: for ``symbol`` (``NAMED_BY_FILE``: none), ``at`` and the numbers, by role."""

    frequency: Frequency
    sql: Mapping[str, str]
    columns: Mapping[str, int]
    assumptions: tuple[str, ...] = ()


@dataclass
class _Maker:
    table: Table
    reading: Reading
    where: str
    sample: Sequence[Sequence[str]]
    cells: Cells
    notes: list[str] = field(default_factory=list)


def plan(table: Table, reading: Reading, where: str, sample: Sequence[Sequence[str]], cells: Cells) -> Plan:
    """Infer how a table is read.

    Raises
    ------
    DataError
        If a column is missing, or something cannot be told: the hint names the option that declares it.
    """
    names = [column.name for column in table.columns]
    roles = assign(names, reading.columns, where)
    at = dict(roles.at)
    maker = _Maker(table, reading, where, sample, cells)
    if roles.unread:
        maker.notes.append(f"columns not read: {', '.join(roles.unread)}")
    for role, column in at.items():
        if names[column].strip().lower() != role and role in ("close", "symbol", "date"):
            maker.notes.append(f"{role} is column {names[column]!r}, by its name")
    symbol = _symbol(maker, at.get("symbol"))
    dates, moment, written = _moments(maker, at)
    frequency = _frequency(maker, at, dates)
    sql = {"symbol": symbol, "at": _at(maker, frequency, dates, moment, written, at)}
    sql |= _numbers(maker, {role: column for role, column in at.items() if role in NUMBERS})
    return Plan(frequency, sql, at, tuple(maker.notes))


def quote_plan(table: Table, reading: Reading, where: str, sample: Sequence[Sequence[str]], cells: Cells) -> Plan:
    """Infer how a table of quotes is read; ``at`` is the moment in UTC, as fine as it is written.

    Raises
    ------
    DataError
        If a column is missing, or the times do not say their zone.
    """
    names = [column.name for column in table.columns]
    roles = assign(names, reading.columns, where, QUOTE_ROLES, QUOTE_REQUIRED)
    at = dict(roles.at)
    maker = _Maker(table, reading, where, sample, cells)
    if roles.unread:
        maker.notes.append(f"columns not read: {', '.join(roles.unread)}")
    symbol = _symbol(maker, at.get("symbol"))
    dates, moment, _ = _moments(maker, at)
    if not dates.timed:
        raise DataError(f"{where}: a quote needs a time of day", hint="say which column: --column time=NAME")
    if not dates.zone:
        moment = f"(({moment} AT TIME ZONE '{_zone(maker)}') AT TIME ZONE 'UTC')"
    sql = {"symbol": symbol, "at": moment}
    sql |= _numbers(maker, {role: column for role, column in at.items() if role in QUOTE_NUMBERS})
    return Plan("minute", sql, at, tuple(maker.notes))


def cell(table: Table, column: int) -> str:
    """SQL for a cell as text; an empty one is NULL."""
    name = f"c{column}"
    return f"nullif(trim({name}), '')" if table.columns[column].type == TEXT else f"{name}::VARCHAR"


def _symbol(maker: _Maker, column: int | None) -> str:
    declared = maker.reading.symbol
    if column is None:
        return quoted(declared) if declared else NAMED_BY_FILE
    name = maker.table.columns[column].name
    if declared:
        raise DataError(
            f"{maker.where}: column {name!r} has the symbols", hint="leave out --symbol, or name another column"
        )
    sql = f"trim(c{column})" if maker.table.columns[column].type == TEXT else f"c{column}::VARCHAR"
    seen = {row[column].strip() for row in maker.sample if row[column].strip()}
    if seen and all(each.upper().endswith(".US") for each in seen):
        maker.notes.append(f"'.US' is cut from the symbols, as in {min(seen)!r}: it names the country")
        return f"regexp_replace({sql}, '\\.US$', '', 'i')"
    return sql


# ---- dates -----------------------------------------------------------------------------------------


def _moments(maker: _Maker, at: Mapping[str, int]) -> tuple[Dates, str, str]:
    """How dates are written, SQL for the moment (UTC where known), and for the date and time as written."""
    column = at["date"]
    kind = maker.table.columns[column].type
    if "time" not in at and kind == "DATE":
        return Dates(), f"c{column}::TIMESTAMP", f"c{column}::TIMESTAMP"
    if "time" not in at and kind.startswith("TIMESTAMP"):
        if "TIME ZONE" in kind:
            moment = f"(c{column} AT TIME ZONE 'UTC')"
            return Dates(zone="UTC", timed=True), moment, moment
        moment = f"c{column}::TIMESTAMP"
        return Dates(timed=True), moment, moment
    text, cells = _written(maker, at)
    where = f"{maker.where}, column {maker.table.columns[column].name!r}"
    dates = infer(cells, where, maker.reading.date_format)
    if dates.reason:
        maker.notes.append(dates.reason)
    return dates, dates.sql(text), dates.day_sql(text)


def _written(maker: _Maker, at: Mapping[str, int]) -> tuple[str, Sequence[str]]:
    """SQL for date and time as one text, and cells of it."""
    column = at["date"]
    if "time" not in at:
        whole = maker.table.columns[column].type in ("DOUBLE", "FLOAT")
        text = maker.table.columns[column].type == TEXT
        return f"c{column}" if text else f"c{column}{'::BIGINT' if whole else ''}::VARCHAR", maker.cells(column)
    time = at["time"]
    joined = f"({cell(maker.table, column)} || ' ' || {cell(maker.table, time)})"
    return joined, [f"{row[column].strip()} {row[time].strip()}" for row in maker.sample]


def _frequency(maker: _Maker, at: Mapping[str, int], dates: Dates) -> Frequency:
    """Daily or minute, as declared, or as the first rows tell."""
    if maker.reading.frequency is not None:
        return maker.reading.frequency
    if not dates.timed:
        return "daily"
    stamps = _stamps(maker, at, dates)
    clocks = {clock for _, _, clock in stamps}
    if clocks <= MIDNIGHT:
        return "daily"
    times: dict[tuple[str, str], set[str]] = {}
    for symbol, day, clock in stamps:
        times.setdefault((symbol, day), set()).add(clock)
    if any(len(clocks_of_day) > 1 for clocks_of_day in times.values()):
        _refuse_longer_bars(maker, [clock for (_, _, clock) in stamps])
        maker.notes.append("these are minute bars: a date has several")
        return "minute"
    if len({day for _, day, _ in stamps}) > 1:
        maker.notes.append("these are daily bars: each date of a symbol has one")
        return "daily"
    raise DataError(
        f"{maker.where}: one date with one time of day does not tell daily bars from minutes",
        hint="say --frequency daily or --frequency minute",
    )


def _stamps(maker: _Maker, at: Mapping[str, int], dates: Dates) -> list[tuple[str, str, str]]:
    """Symbol, date and time of day (``HH:MM``) of the first rows, as written."""
    column = at["date"]
    found = []
    for row in maker.sample:
        text = row[column].strip()
        try:
            day, clock = divided(f"{text} {row[at['time']].strip()}" if "time" in at else text, dates)
        except ValueError:  # a wrong cell; it is told with its row when all are read
            continue
        found.append((row[at["symbol"]] if "symbol" in at else "", day, clock))
    return found


def _refuse_longer_bars(maker: _Maker, clocks: Sequence[str]) -> None:
    """The lake has bars of a day and of a minute; those of five minutes or an hour would be taken for minutes."""
    minutes = [int(clock[3:]) for clock in clocks if clock]
    if len(set(clocks)) > 2 and all(minute % _FIVE == 0 for minute in minutes):
        step = 60 if len(set(minutes)) == 1 else _FIVE
        raise DataError(
            f"{maker.where}: these bars look {step} minutes long or longer; the lake has bars of a day and of a minute",
            hint="load the vendor's minute or daily bars (kept as minutes, these would have four of five missing); "
            "say --frequency minute if they are minutes of which some are just missing",
        )


def _at(maker: _Maker, frequency: Frequency, dates: Dates, moment: str, written: str, at: Mapping[str, int]) -> str:
    """SQL for the session (DATE), or the start of the minute in UTC (TIMESTAMP); NULL if it is none."""
    reading = maker.reading
    if frequency == "minute":
        if dates.zone and reading.timezone:
            maker.notes.append("times say their zone themselves: --timezone is not used")
        elif not dates.zone:
            moment = f"(({moment} AT TIME ZONE '{_zone(maker)}') AT TIME ZONE 'UTC')"
        start = f"{moment} - INTERVAL 1 MINUTE" if reading.stamp == "end" else moment
        return f"CASE WHEN date_trunc('minute', {moment}) = {moment} THEN {start} END"
    if not dates.timed or not dates.zone:
        return f"CAST({written} AS DATE)"
    clocks = {clock for _, _, clock in _stamps(maker, at, dates)}
    if clocks <= MIDNIGHT:
        maker.notes.append("the session is the date as written: every time is midnight")
        return f"CASE WHEN date_trunc('day', {written}) = {written} THEN CAST({written} AS DATE) END"
    zone = reading.timezone or reading.exchange_zone
    maker.notes.append(f"the session is the date in {zone}: times are not midnight as written")
    return f"CAST((({moment} AT TIME ZONE 'UTC') AT TIME ZONE '{zone}') AS DATE)"


def _zone(maker: _Maker) -> str:
    zone = maker.reading.timezone
    if zone is None:
        example = next((row for row in maker.sample), ())
        raise DataError(
            f"{maker.where}: the times do not say their time zone"
            + (f" (first row: {' '.join(example[:2])})" if example else ""),
            hint=f"say --timezone {maker.reading.exchange_zone} if they are the exchange's own, or --timezone UTC",
        )
    return zone


# ---- numbers ---------------------------------------------------------------------------------------


def _numbers(maker: _Maker, columns: Mapping[str, int]) -> dict[str, str]:
    text = {role: column for role, column in columns.items() if maker.table.columns[column].type == TEXT}
    dressed = {role for role, column in text.items() if not numbers.is_plain(maker.cells(column))}
    mark = maker.reading.decimal or "."
    if dressed and maker.reading.decimal is None:
        cells = [each for column in text.values() for each in maker.cells(column)]
        mark, reason = numbers.decimal_mark(cells, maker.where)
        if reason:
            maker.notes.append(reason)
    if mark == ",":
        dressed = set(text)  # 1.234 is a thousand then
    sql = {}
    for role, column in columns.items():
        kind = maker.table.columns[column].type
        if kind == TEXT:
            # Casts and strptime pass over blanks themselves: trimming first would take half as long again.
            name = f"c{column}"
            sql[role] = numbers.dressed_sql(name, mark) if role in dressed else numbers.plain_sql(name)
        elif kind == "FLOAT":
            # The shortest decimal that gives the same float: 129.04, not 129.03999328613281.
            sql[role] = f"c{column}::VARCHAR::DOUBLE"
        elif kind.startswith(_NUMERIC):
            sql[role] = f"CAST(c{column} AS DOUBLE)"
        else:
            name = maker.table.columns[column].name
            raise DataError(f"{maker.where}, column {name!r}: its type is {kind}, which is no number")
    for role, nothing in (("split", 1.0), ("dividend", 0.0)):
        if role in sql:  # most days have none, and many files leave the cell empty then
            sql[role] = f"CASE WHEN {cell(maker.table, columns[role])} IS NULL THEN {nothing} ELSE {sql[role]} END"
    if any(maker.table.columns[column].type == "FLOAT" for column in columns.values()):
        maker.notes.append("32-bit numbers are read as the shortest decimals that they stand for")
    return sql
