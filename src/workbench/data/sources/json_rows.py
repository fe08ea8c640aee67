"""Bars out of JSON: in whatever nest a vendor has put them, as rows of text.

Numbers are kept as they are written: 0.1 stays "0.1" until the same SQL reads it that reads a CSV file.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.data.sources.columns import looks_like_header, plain
from workbench.errors import DataError

Row = dict[str, str | None]


class _UnevenError(ValueError):
    """Columns of one table that are not equally long."""


_DATED = re.compile(r"\d{4}-\d{2}-\d{2}.*|\d{8}|\d{9,19}")
_SYMBOLS = ("symbol", "ticker")
_DATE = "date"
_HINT = (
    "a list of objects, one object a line, a list per column, and what Alpaca, Polygon, Yahoo, Alpha Vantage, Finnhub "
    "and pandas write can be read"
)


def rows(file: Path, name: str) -> Iterator[Row]:
    """The bars of a file, one by one: names as printed, every value as text, None for nothing.

    Raises
    ------
    DataError
        If it is no JSON, or there are no bars in it.
    """
    text = _text(file, name)
    if not text.strip():
        raise DataError(f"{name}: it is empty")
    found = _lines(text, name) if _is_lines(file, text) else _bars(_loaded(text, name), None)
    none = True
    try:
        for row in found:
            none = False
            yield _named(row)
    except _UnevenError as error:
        raise DataError(
            f"{name}: {error}", hint="each needs a value for every bar; null where there is none"
        ) from error
    if none:
        raise DataError(f"{name}: there are no bars in it", hint=_HINT)


def _text(file: Path, name: str) -> str:
    try:
        if file.suffix.lower() == ".gz":
            with gzip.open(file) as stream:
                return stream.read().decode("utf-8-sig")
        return file.read_bytes().decode("utf-8-sig")
    except (OSError, EOFError) as error:
        raise DataError(f"{name}: cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: it is not UTF-8 at byte {error.start}", hint="save it as UTF-8") from error


def _is_lines(file: Path, text: str) -> bool:
    """Whether every line is an object: by the ending, or because the first two are."""
    if any(ending in (".jsonl", ".ndjson") for ending in (each.lower() for each in file.suffixes)):
        return True
    first = [line for line in text[:1_000_000].lstrip().split("\n", 2)[:2] if line.strip()]
    return len(first) == 2 and all(line.strip().startswith("{") and line.strip().endswith("}") for line in first)


def _loaded(text: str, name: str, line: int = 0) -> Any:
    try:
        # Numbers stay text; so do NaN and Infinity, which are wrong cells like any other word.
        return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except json.JSONDecodeError as error:
        where = f"line {line or error.lineno}, column {error.colno}"
        raise DataError(f"{name}, {where}: this is no JSON: {error.msg}") from error
    except RecursionError as error:
        raise DataError(f"{name}: it is nested too deeply to be bars") from error


def _lines(text: str, name: str) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            row = _loaded(line, name, number)
            if not isinstance(row, dict):
                raise DataError(f"{name}, line {number}: this is no object", hint="one {...} a line, or a list of them")
            yield row


# ---- nests -----------------------------------------------------------------------------------------


def _bars(node: Any, symbol: str | None) -> Iterator[Mapping[str, Any]]:
    """Every bar below a node; ``symbol``: whose they are, as far as what is around them says."""
    if isinstance(node, list):
        yield from _of_list(node, symbol)
    elif isinstance(node, dict):
        symbol = _symbol(node) or symbol
        table = _table(node)
        if table is not None:
            yield from _with(table, symbol)
        elif _is_bar(node):
            yield from _with([node], symbol)
        else:
            yield from _of_keys(node, symbol)


def _of_list(node: Sequence[Any], symbol: str | None) -> Iterator[Mapping[str, Any]]:
    if node and all(isinstance(each, list) for each in node):  # rows without names: --column date=0
        yield from _with([{str(place): value for place, value in enumerate(each)} for each in node], symbol)
        return
    for each in node:
        if isinstance(each, dict) and _is_bar(each):
            yield from _with([each], symbol)
        else:
            yield from _bars(each, symbol)


def _of_keys(node: Mapping[str, Any], symbol: str | None) -> Iterator[Mapping[str, Any]]:
    """Bars by date, or whatever is below; of several lists by name, the names are the symbols."""
    bars = {key: value for key, value in node.items() if isinstance(value, dict) and _is_bar(value)}
    if bars:
        by_date = all(_DATED.fullmatch(key) for key in bars)
        for key, bar in bars.items():
            yield from _with([{_DATE: key, **bar}], symbol) if by_date else _with([bar], symbol or key)
        return
    for key, value in node.items():
        if isinstance(value, list | dict):
            # {"bars": {"AAPL": [...], "MSFT": [...]}}, as Alpaca writes; {"results": [...]} is no symbol.
            own = key if re.fullmatch(r"[A-Z][A-Z0-9]{0,5}(?:[._-][A-Z]{1,2})?", key) else None
            yield from _bars(value, symbol or own)


def _is_bar(node: Mapping[str, Any]) -> bool:
    flat = [key for key, value in node.items() if not isinstance(value, list | dict)]
    return looks_like_header(flat)


def _table(node: Mapping[str, Any]) -> Sequence[Mapping[str, Any]] | None:
    """Bars column by column: Yahoo's chart, pandas' split, lists of one length, or columns by index."""
    if isinstance(node.get("timestamp"), list) and isinstance(node.get("indicators"), dict):
        columns: dict[str, Any] = {"timestamp": node["timestamp"]}
        for group in node["indicators"].values():
            for each in group if isinstance(group, list) else []:
                columns |= each if isinstance(each, dict) else {}
        return _transposed(columns)
    if {"columns", "data"} <= set(node) and isinstance(node["data"], list) and isinstance(node["columns"], list):
        names = [str(each) for each in node["columns"]]
        made = [dict(zip(names, each, strict=False)) for each in node["data"] if isinstance(each, list)]
        return _indexed(made, [str(each) for each in node.get("index", [])])
    lists = {key: value for key, value in node.items() if isinstance(value, list)}
    if looks_like_header(list(lists)):
        return _transposed(lists)
    dicts = {key: value for key, value in node.items() if isinstance(value, dict)}
    if looks_like_header([*dicts, _DATE]) and len(dicts) >= 3 and len({tuple(each) for each in dicts.values()}) == 1:
        index = list(next(iter(dicts.values())))
        return _indexed([{name: each[key] for name, each in dicts.items()} for key in index], index)
    return None


def _transposed(columns: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    sizes = {name: len(values) for name, values in columns.items() if isinstance(values, list)}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise _UnevenError(f"the columns are not of one length: {told}")
    return [dict(zip(sizes, each, strict=True)) for each in zip(*(columns[name] for name in sizes), strict=True)]


def _indexed(made: Sequence[Mapping[str, Any]], index: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """With the index as date, where no column is one."""
    if not made or not index or _has_date(made[0]):
        return made
    return [{_DATE: key, **row} for key, row in zip(index, made, strict=False)]


def _has_date(row: Mapping[str, Any]) -> bool:
    return any(plain(key) in ("date", "datetime", "timestamp", "session", "time", "t") for key in row)


def _symbol(node: Mapping[str, Any]) -> str | None:
    """What an object says of its symbol: itself, or in its ``meta`` (Yahoo) or ``Meta Data`` (Alpha Vantage)."""
    for each in (node, *(value for key, value in node.items() if plain(key) in ("meta", "metadata"))):
        for key, value in each.items() if isinstance(each, dict) else []:
            if isinstance(value, str) and plain(key) in _SYMBOLS:
                return value
    return None


def _with(found: Sequence[Mapping[str, Any]], symbol: str | None) -> Iterator[Mapping[str, Any]]:
    for row in found:
        named = symbol is None or any(plain(key) in _SYMBOLS or key == "S" for key in row)
        yield row if named else {"symbol": symbol, **row}


def _named(row: Mapping[str, Any]) -> Row:
    """Values as text. ``T`` beside ``t`` is Polygon's ticker, or beside ``S`` what kind of message Alpaca streamed."""
    if "T" in row and "t" in row:
        name = "message" if "S" in row else "ticker"
        row = {name if key == "T" else key: value for key, value in row.items()}
    return {key: _cell(value) for key, value in row.items()}


def _cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)
