"""Whether prices are as traded, and the corporate actions that come with them. Nothing is taken for raw unseen.

A split that is listed either shows in the prices as a step (raw) or does not (adjusted). An adjusted close beside a
close tells the splits between the rows; without one, prices as traded are in whole cents since 2001, and prices
divided by later splits are not. What remains has to be declared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.data.actions import derive_actions
from workbench.data.dataset import PUBLISHED
from workbench.data.sources.reading import Reading
from workbench.errors import DataError

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

RAW, ACTIONS, NOTICES = "staged_raw", "staged_actions", "staged_notices"
HINT = "say --raw if they are as traded, or --adjusted if they are divided by the splits since"
_DECIMALIZATION = "2001-04-09"  # the last US exchange left sixteenths; Source: SEC, Order on decimal pricing
_ENOUGH_ROWS = 20
_IN_CENTS = 0.995
_AGREE = 0.8
_SINGLE = 2.0**-24  # relative error of a number kept in 32 bits
_EXACT_DECIMALS = 4  # closes with more are not as printed by an exchange
_NO_SPLIT = "(0, 1)"


@dataclass(frozen=True)
class Judged:
    """The rows as traded (as far as they can be), and the tables of actions and notices."""

    rows: str
    actions: str | None = None
    notices: str | None = None
    assumptions: tuple[str, ...] = ()


def judge(
    connection: duckdb.DuckDBPyConnection, name: str, rows: str, roles: Collection[str], reading: Reading
) -> Judged:
    """Tell raw from adjusted prices, and stage the actions listed or derived.

    Raises
    ------
    DataError
        If it cannot be told and is not declared, or an action is not possible.
    """
    _check_listed(connection, name, rows, roles)
    unlisted = "adj_close" in roles and not {"split", "dividend"} & set(roles)
    derived = _derived(connection, name, rows) if unlisted or _may_tell(roles, reading) else None
    adjusted, note = _adjusted(connection, name, rows, roles, reading, derived)
    notes = [note]
    if adjusted and "split" in roles and _count(connection, rows, f"split NOT IN {_NO_SPLIT}"):
        return _made_raw(connection, rows, roles, notes)
    actions = None
    if {"split", "dividend"} & set(roles):
        actions = _listed(connection, rows)
        notes.append("corporate actions are the listed ones")
    elif derived is not None:
        actions = _keep(connection, derived)
        notes.append(f"{len(derived)} corporate actions are derived from the adjusted close")
    if not adjusted:
        return Judged(rows, actions, None, tuple(notes))
    detail = f"{name} has prices adjusted for splits by its source, not as traded"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {NOTICES} AS "
        "SELECT symbol, min(moment)::DATE AS first, max(moment)::DATE AS last, ? AS detail "
        f"FROM {rows} GROUP BY symbol",
        [detail],
    )
    return Judged(rows, actions, NOTICES, tuple(notes))


def _may_tell(roles: Collection[str], reading: Reading) -> bool:
    """Whether an adjusted close is looked at although actions are listed: there may be no split among them."""
    return "adj_close" in roles and reading.adjusted is None


def _adjusted(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    rows: str,
    roles: Collection[str],
    reading: Reading,
    derived: pd.DataFrame | None,
) -> tuple[bool, str]:
    """Whether prices are divided by splits that came after them, and why that is thought."""
    steps = _steps(connection, rows) if "split" in roles else None
    if reading.adjusted is not None:
        word = "adjusted for splits" if reading.adjusted else "as traded"
        against = f", although {steps[1]}" if steps and steps[0] is not None and steps[0] != reading.adjusted else ""
        return reading.adjusted, f"prices are {word}: declared{against}"
    if steps is not None:
        if steps[0] is None:
            raise DataError(f"{name}: {steps[1]}, so prices are neither as traded nor adjusted", hint=HINT)
        return steps[0], f"prices are {'adjusted for splits' if steps[0] else 'as traded'}: {steps[1]}"
    cents, shown = _in_cents(connection, rows)
    if derived is not None:
        splits = [row for row in derived.itertuples() if row.kind == "split"]
        if splits:
            first = splits[0]
            return False, (
                f"prices are as traded: the close steps at the split of {first.value:g} of {first.symbol} on "
                f"{first.ex_date:%Y-%m-%d}, and the adjusted close does not"
            )
        if cents:
            return False, f"prices are as traded: there is an adjusted close besides, and {shown}"
    clue = f"; {shown}" if shown and not cents else ""
    raise DataError(f"{name}: it cannot be told whether prices are as traded or adjusted{clue}", hint=HINT)


def _steps(connection: duckdb.DuckDBPyConnection, rows: str) -> tuple[bool | None, str] | None:
    """What listed splits look like in the prices: adjusted (True), raw (False), both (None), or no split to look at."""
    found = connection.execute(
        f"""SELECT symbol, moment, split, before, open, abs(ln(open / before * split)) < abs(ln(open / before)) AS steps
        FROM (SELECT symbol, moment, split, open, lag(close) OVER (PARTITION BY symbol ORDER BY moment) AS before
              FROM {rows})
        WHERE split NOT IN {_NO_SPLIT} AND before > 0 AND open > 0 ORDER BY moment, symbol"""
    ).fetchall()
    if not found:
        return None
    share = sum(bool(row[-1]) for row in found) / len(found)
    if 1 - _AGREE < share < _AGREE:
        return None, f"{sum(bool(row[-1]) for row in found)} of {len(found)} listed splits show in the prices"
    raw = share >= _AGREE
    symbol, at, split, before, opened, _ = next(row for row in found if bool(row[-1]) is raw)
    does = "shows in the prices" if raw else "leaves no step in the prices"
    return not raw, (
        f"the split of {split:g} of {symbol} on {at:%Y-%m-%d} {does} (close {before:g} before, open {opened:g})"
    )


def _in_cents(connection: duckdb.DuckDBPyConnection, rows: str) -> tuple[bool, str]:
    """Whether closes are in whole cents, and what to say about it; nothing if there are too few of them."""
    count, whole, odd = connection.execute(
        f"""SELECT count(*), count_if(fine), arg_min(close, moment) FILTER (NOT fine)
        FROM (SELECT close, moment,
                  abs(close * 100 - round(close * 100)) <= 1e-6 + close * 100 * 2 * {_SINGLE!r} AS fine
              FROM {rows} WHERE close >= 1 AND moment >= DATE '{_DECIMALIZATION}')"""
    ).fetchall()[0]
    if count < _ENOUGH_ROWS:
        return False, ""
    if whole >= _IN_CENTS * count:
        return True, "closes are in whole cents"
    return False, f"closes such as {odd:.10g} are not in whole cents, as if divided by a later split"


# ---- actions ---------------------------------------------------------------------------------------


def _check_listed(connection: duckdb.DuckDBPyConnection, name: str, rows: str, roles: Collection[str]) -> None:
    for role in ("split", "dividend"):
        if role not in roles:
            continue
        wrong = connection.execute(f"SELECT symbol, moment, {role} FROM {rows} WHERE {role} < 0 LIMIT 1").fetchall()
        if wrong:
            symbol, at, value = wrong[0]
            raise DataError(f"{name}: {symbol} has a {role} of {value:g} on {at:%Y-%m-%d}; it is at least 0")


def _listed(connection: duckdb.DuckDBPyConnection, rows: str) -> str:
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE {ACTIONS} AS
        SELECT symbol, moment::DATE AS ex_date, 'split' AS kind, split AS value, '{PUBLISHED}' AS origin FROM {rows}
        WHERE split NOT IN {_NO_SPLIT}
        UNION ALL SELECT symbol, moment::DATE, 'dividend', dividend, '{PUBLISHED}' FROM {rows} WHERE dividend > 0"""
    )
    return ACTIONS


def _made_raw(connection: duckdb.DuckDBPyConnection, rows: str, roles: Collection[str], notes: list[str]) -> Judged:
    """Undo the splits that are listed: earlier prices times every later split, volumes divided by them."""
    later = "exp(sum(ln(CASE WHEN split IN (0, 1) THEN 1 ELSE split END)) OVER later)"
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE {RAW} AS
        SELECT symbol, moment, open * f AS open, high * f AS high, low * f AS low, close * f AS close,
            volume / f AS volume, split, dividend * f AS dividend
        FROM (SELECT *, coalesce(round({later}, 9), 1) AS f FROM {rows} WINDOW later AS (
            PARTITION BY symbol ORDER BY moment ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING))"""
    )
    last = connection.execute(f"SELECT max(moment)::DATE FROM {rows}").fetchall()[0][0]
    notes.append(
        f"prices, volumes and dividends are made as traded with the splits listed; one after {last} would not be undone"
    )
    return Judged(RAW, _listed(connection, RAW), None, tuple(notes))


def _derived(connection: duckdb.DuckDBPyConnection, name: str, rows: str) -> pd.DataFrame:
    """Splits and dividends between close and adjusted close, symbol by symbol."""
    import pandas as pd

    from workbench.data.dataset import no_actions

    wrong = connection.execute(
        f"SELECT symbol, moment FROM {rows} WHERE close <= 0 OR adj_close <= 0 ORDER BY moment LIMIT 1"
    ).fetchall()
    if wrong:
        symbol, at = wrong[0]
        raise DataError(f"{name}: a close of {symbol} on {at:%Y-%m-%d} is not above zero, so no action can be derived")
    found = [
        derive_actions(
            symbol,
            pd.DatetimeIndex(part["moment"]),
            part["open"],
            part["close"],
            part["adj_close"],
            decimals=_decimals(part["adj_close"]),
            close_decimals=places if (places := _decimals(part["close"])) > _EXACT_DECIMALS else None,
            precision=_SINGLE if places > _EXACT_DECIMALS else 0.0,
        )
        for symbol, part in _by_symbol(connection, rows)
    ]
    found = [frame for frame in found if len(frame)]
    return pd.concat(found, ignore_index=True) if found else no_actions()


def _by_symbol(connection: duckdb.DuckDBPyConnection, rows: str) -> Iterator[tuple[str, dict[str, npt.NDArray[Any]]]]:
    import numpy as np

    names = connection.execute(f"SELECT symbol, count(*) FROM {rows} GROUP BY symbol ORDER BY symbol").fetchall()
    columns = connection.execute(
        f"SELECT moment, open, close, adj_close FROM {rows} ORDER BY symbol, moment"
    ).fetchnumpy()
    start = 0
    for symbol, count in names:
        yield symbol, {key: np.asarray(values[start : start + count]) for key, values in columns.items()}
        start += count


def _decimals(values: npt.NDArray[np.float64]) -> int:
    """The fewest decimal places that give every value back."""
    import numpy as np

    for places in range(16):
        if np.array_equal(np.round(values, places), values):
            return places
    return 16


def _keep(connection: duckdb.DuckDBPyConnection, found: pd.DataFrame) -> str:
    connection.register("staged_found", found)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {ACTIONS} AS SELECT symbol, ex_date::DATE AS ex_date, kind, value, origin "
        "FROM staged_found"
    )
    connection.unregister("staged_found")
    return ACTIONS


def _count(connection: duckdb.DuckDBPyConnection, rows: str, where: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {rows} WHERE {where}").fetchall()[0][0])
