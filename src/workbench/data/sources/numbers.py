"""Numbers as people print them: 1,234.50 and 1.234,50, $12.30, 1.2M."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from workbench.errors import DataError

Mark = Literal[".", ","]
_SIGNS = "$€£¥"
_SUFFIXES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# One comma and three digits: a thousand, or a number with three decimals.
_EITHER = re.compile(r"[+-]?\d{1,3},\d{3}")
_COMMA_IS_DECIMAL = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+|[+-]?\d{1,3}(\.\d{3}){2,}|,\d+")
_COMMA_IS_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+\.\d*|[+-]?\d{1,3}(,\d{3}){2,}")


def is_plain(cells: Iterable[str]) -> bool:
    """Whether every cell is a number for a computer; empty ones aside."""
    return all(_PLAIN.fullmatch(cell.strip()) for cell in cells if cell.strip())


def decimal_mark(cells: Iterable[str], where: str) -> tuple[Mark, str | None]:
    """The decimal mark of dressed numbers, and the reason if there was a choice.

    Raises
    ------
    DataError
        If the cells contradict each other, or every comma could be either.

    >>> decimal_mark(["1,234.50", "12"], "x.csv")
    ('.', "decimals are written with a point: '1,234.50'")
    >>> decimal_mark(["12,5", "1.234,5"], "x.csv")[0]
    ','
    """
    points = commas = either = None
    for cell in cells:
        bare = _bare(cell)
        if _COMMA_IS_THOUSANDS.fullmatch(bare):
            points = points or cell
        elif _EITHER.fullmatch(bare):
            either = either or cell
        elif _COMMA_IS_DECIMAL.fullmatch(bare):
            commas = commas or cell
    if points and commas:
        raise DataError(
            f"{where}: {points!r} has a decimal point and {commas!r} a decimal comma", hint="say --decimal . or ,"
        )
    if points:
        return ".", f"decimals are written with a point: {points!r}"
    if commas:
        return ",", f"decimals are written with a comma: {commas!r}"
    if either:
        raise DataError(
            f"{where}: {either!r} may be a number of thousands or one with three decimals",
            hint="say --decimal . or --decimal ,",
        )
    return ".", None


def plain_sql(cell: str) -> str:
    """SQL for a number written plainly; NULL for anything else. DuckDB would read 1_000 as a thousand."""
    return f"CASE WHEN contains({cell}, '_') THEN NULL ELSE try_cast({cell} AS DOUBLE) END"


def dressed_sql(cell: str, mark: Mark) -> str:
    """SQL for a number that may have a currency sign, thousands separators and a suffix; NULL for anything else."""
    thousands, decimal = (r"[,'\s  ]", r"\.") if mark == "." else (r"[.'\s  ]", ",")
    body = rf"(\d+|\d{{1,3}}({thousands}\d{{3}})+)?({decimal}\d*)?([eE][+-]?\d+)?"
    shape = rf"[+-]?\s*[{_SIGNS}]?\s*[+-]?{body}\s*[{_SIGNS}]?\s*[{''.join(_SUFFIXES)}kmb]?"
    digits = rf"regexp_replace(regexp_replace({cell}, '[^0-9{'.' if mark == '.' else ','}eE+-]', '', 'g'), ',', '.')"
    number = f"try_cast({digits} AS DOUBLE)"
    # Rounded: 1.1 x 1e6 is not quite 1100000 in floating point.
    scaled = " ".join(f"WHEN '{suffix}' THEN round({number} * {by!r}, 2)" for suffix, by in _SUFFIXES.items())
    quoted = shape.replace("'", "''")
    return (
        f"CASE WHEN regexp_full_match(trim({cell}), '{quoted}') "
        f"THEN CASE upper(right(rtrim({cell}), 1)) {scaled} ELSE {number} END END"
    )


def _bare(cell: str) -> str:
    """Without currency sign, blanks and suffix."""
    return re.sub(rf"[{_SIGNS}\s]|[KMBTkmb]$", "", cell.strip())
