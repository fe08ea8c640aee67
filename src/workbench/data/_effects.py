"""What listed corporate actions do, on plain rows: a stock dividend is a split, a special dividend is cash."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

Row = tuple[str, date, str, float, str]


def effective(rows: Sequence[Row]) -> list[Row]:
    """Symbol, ex-date, kind, value and origin, ordered by ex-date and symbol, splits first.

    Several of one kind on one ex-date become one row: splits multiply, dividends add up.

    >>> day = date(2013, 1, 2)
    >>> listed = [("KO", day, "stock_dividend", 0.05, "x"), ("KO", day, "special_dividend", 1.0, "x"),
    ...     ("KO", day, "dividend", 0.25, "x")]
    >>> [row[2:4] for row in effective(listed)]
    [('split', 1.05), ('dividend', 1.25)]
    """
    found: dict[tuple[date, str, str], tuple[float, set[str]]] = {}
    for symbol, ex_date, kind, value, origin in rows:
        shares = kind in ("split", "stock_dividend")
        key = (ex_date, symbol, "split" if shares else "dividend")
        amount = 1 + value if kind == "stock_dividend" else value
        known, origins = found.get(key, (1.0 if shares else 0.0, set()))
        found[key] = (known * amount if shares else known + amount, origins | {origin})
    ordered = sorted(found.items(), key=lambda item: (item[0][0], item[0][1], item[0][2] != "split"))
    return [
        (symbol, ex_date, kind, value, " + ".join(sorted(origins)))
        for (ex_date, symbol, kind), (value, origins) in ordered
    ]
