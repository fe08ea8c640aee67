"""Text files: encoding, separator, header; every row with its line where one has to be shown."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from workbench.data.sources.columns import looks_like_header
from workbench.errors import DataError

if TYPE_CHECKING:
    import duckdb

SAMPLE_ROWS = 2000
_HEAD_BYTES = 32 * 1024
_SAMPLE_BYTES = 512 * 1024
_HEADER_WITHIN = 30
_CHUNK_ROWS = 100_000
_SEPARATORS = (",", ";", "\t", "|")
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True)
class TextFile:
    """One file: where it is, what messages call it, and how its header says it is to be read.

    ``skip``: lines up to and with the header. ``symbol``: what stands in a second line of the header, as yfinance
    writes it.
    """

    path: Path
    name: str
    encoding: str
    separator: str
    names: tuple[str, ...]
    skip: int
    symbol: str | None

    @property
    def shape(self) -> tuple[object, ...]:
        """Files of one shape are read at once."""
        return self.encoding, self.separator, self.names, self.skip, self.path.suffix.lower() == ".gz"


def look(path: Path, name: str) -> TextFile:
    """Read the beginning of a file.

    Raises
    ------
    DataError
        If it cannot be read, is empty, or none of its first lines names columns.
    """
    head, encoding, whole = _head(path, name)
    lines = list(itertools.islice(io.StringIO(head, newline=""), _HEADER_WITHIN))
    if not head.strip():
        raise DataError(f"{name}: the file is empty")
    at, separator, cells = _header(lines, name)
    skip, symbol = at + 1, None
    if cells[0] == "Price" and _cells(lines, at + 1, separator)[:1] == ["Ticker"]:
        cells, symbol = _of_yfinance(cells, _cells(lines, at + 1, separator), name)
        skip = at + 3
    if whole and not any(line.strip() for line in itertools.islice(io.StringIO(head, newline=""), skip, None)):
        raise DataError(f"{name}: there are no rows below the header")
    return TextFile(path, name, encoding, separator, tuple(cells), skip, symbol)


def sample(file: TextFile, rows: int = SAMPLE_ROWS) -> list[tuple[str, ...]]:
    """The first rows of a file, cells as text.

    Raises
    ------
    DataError
        If they are no rows of cells.
    """
    head, _, _ = _head(file.path, file.name, _SAMPLE_BYTES)
    width = len(file.names)
    stream = io.StringIO(head, newline="")
    for _ in range(file.skip):
        next(stream, "")
    try:
        reader = itertools.islice(csv.reader(stream, delimiter=file.separator), rows)
        return [tuple((cells + [""] * width)[:width]) for cells in reader if cells]
    except csv.Error as error:
        raise DataError(f"{file.name}: cannot be read: {error}") from error


def read_csv_sql(files: Sequence[TextFile]) -> str:
    """SQL that reads files of one shape, all cells as text: c0, c1, ... and ``file``, the path."""
    first = files[0]
    columns = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(first.names)))
    paths = "[" + ", ".join(quoted(str(file.path)) for file in files) + "]"
    return (
        f"(SELECT * EXCLUDE (filename), filename AS file FROM read_csv({paths}, auto_detect = false, header = false, "
        f"skip = {first.skip}, delim = {quoted(first.separator)}, quote = '\"', escape = '\"', strict_mode = true, "
        f"filename = true, columns = {{{columns}}}))"
    )


def load_located(connection: duckdb.DuckDBPyConnection, table: str, files: Sequence[TextFile]) -> None:
    """Make a temp table of all rows, as ``read_csv_sql``, with ``line`` and ``shape_fault`` (NULL if there is none)."""
    width = len(files[0].names)
    columns = ", ".join(f"c{place} VARCHAR" for place in range(width))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} ({columns}, file VARCHAR, line BIGINT, shape_fault VARCHAR)"
    )
    for file in files:
        rows = _rows(file)
        while chunk := list(itertools.islice(rows, _CHUNK_ROWS)):
            _append(connection, table, chunk, width, str(file.path))


def quoted(text: str) -> str:
    """Text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _append(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    chunk: Sequence[tuple[list[str], int, str | None]],
    width: int,
    path: str,
) -> None:
    import pyarrow as pa

    arrays = {f"c{place}": pa.array([row[0][place] for row in chunk], pa.string()) for place in range(width)}
    arrays["file"] = pa.array([path] * len(chunk), pa.string())
    arrays["line"] = pa.array([row[1] for row in chunk], pa.int64())
    arrays["shape_fault"] = pa.array([row[2] for row in chunk], pa.string())
    connection.register("staged_chunk", pa.table(arrays))
    connection.execute(f"INSERT INTO {table} SELECT * FROM staged_chunk")
    connection.unregister("staged_chunk")


def _rows(file: TextFile) -> Iterator[tuple[list[str], int, str | None]]:
    """Cells, line and what is wrong with the row's shape; blank lines are no rows."""
    width = len(file.names)
    with _open(file) as stream:
        try:
            for _ in range(file.skip):
                next(stream, "")
            reader = csv.reader(stream, delimiter=file.separator, strict=True)
            for cells in reader:
                if not cells:
                    continue
                line = reader.line_num + file.skip
                fault = None
                while len(cells) > width and not cells[-1].strip():
                    cells.pop()
                if len(cells) != width:
                    fault = f"has {len(cells)} cells, the header has {width}"
                yield (cells + [""] * width)[:width], line, fault
        except (csv.Error, UnicodeError, OSError, EOFError) as error:
            raise DataError(f"{file.name}: cannot be read: {error}") from error


def _open(file: TextFile) -> IO[str]:
    if file.path.suffix.lower() == ".gz":
        return gzip.open(file.path, "rt", encoding=file.encoding, newline="")
    return file.path.open(encoding=file.encoding, newline="")


def _head(path: Path, name: str, size: int = _HEAD_BYTES) -> tuple[str, str, bool]:
    """The beginning as text, its encoding, and whether that is all of it; a line that is cut is left out."""
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
            data = stream.read(size)
    except (OSError, EOFError) as error:
        raise DataError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    whole = len(data) < size
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), "utf-8")
    if b"\x00" in data and encoding != "utf-16":
        raise DataError(f"{name}: this is no text", hint="files of text, Parquet and Excel can be read")
    cut = data if whole or encoding == "utf-16" else data[: data.rfind(b"\n") + 1]
    try:
        return cut.decode(encoding, errors="strict" if encoding != "utf-16" else "ignore"), encoding, whole
    except UnicodeDecodeError:
        return cut.decode("cp1252", errors="replace"), "cp1252", whole


def _header(lines: Sequence[str], name: str) -> tuple[int, str, list[str]]:
    """The line of the header, the separator that gives it most cells, and these."""
    for at, line in enumerate(lines):
        candidates = [(separator, _split(line, separator)) for separator in _SEPARATORS]
        separator, cells = max(candidates, key=lambda pair: len(pair[1]))
        if looks_like_header(cells):
            return at, separator, [cell.strip().lstrip("﻿") for cell in cells]
    candidates = [(separator, _split(lines[0], separator)) for separator in _SEPARATORS]
    separator, cells = max(candidates, key=lambda pair: len(pair[1]))
    first = lines[0].strip()
    if len(cells) > 1 and not any(cell.strip()[:1].isdigit() for cell in cells):
        return 0, separator, [cell.strip().lstrip("﻿") for cell in cells]  # names that are not known: told by name
    raise DataError(
        f"{name}, line 1: no header with the names of date, open, high, low, close and volume (got {first[:60]!r})",
        hint="put one above the rows",
    )


def _of_yfinance(fields: Sequence[str], symbols: Sequence[str], name: str) -> tuple[list[str], str]:
    """Names and symbol of a header in three lines: Price, Ticker, Date."""
    found = sorted(set(symbols[1:]))
    if len(found) != 1:
        raise DataError(
            f"{name}: this is one column per symbol ({', '.join(found[:6])})",
            hint="give the frame itself to wb.load, or write it in rows: frame.stack(level='Ticker').to_csv(...)",
        )
    return ["Date", *fields[1:]], found[0]


def _cells(lines: Sequence[str], at: int, separator: str) -> list[str]:
    return _split(lines[at], separator) if at < len(lines) else []


def _split(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r\n")], delimiter=separator), [])
    except csv.Error:
        return []
