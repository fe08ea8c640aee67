"""Which column is what: the names that vendors give to the parts of a bar."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.errors import DataError, nearest

ROLES = ("symbol", "date", "time", "open", "high", "low", "close", "volume", "adj_close", "split", "dividend")
PRICES = ("open", "high", "low", "close")
NUMBERS = (*PRICES, "volume", "adj_close", "split", "dividend")
REQUIRED = ("date", *PRICES, "volume")
# The same of quotes.
QUOTE_NUMBERS = ("bid", "ask", "bid_size", "ask_size")
QUOTE_ROLES = ("symbol", "date", "time", *QUOTE_NUMBERS)
QUOTE_REQUIRED = ("date", "bid", "ask")

# Names without blanks, case and signs; of several columns the one whose name stands first here is taken.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "symbol": ("symbol", "ticker", "sym", "actsymbol", "tradingsymbol", "instrument", "stock", "name", "s"),
    "date": (
        "session", "date", "datetime", "timestamp", "tradedate", "tradingday", "tradingdate", "day", "dtyyyymmdd",
        "caldt", "start", "windowstart", "begin", "time", "t", "at",
    ),
    "time": ("time", "hhmmss", "timehhmmss"),
    "open": ("open", "openprice", "openingprice", "openusd", "first", "o"),
    "high": ("high", "highprice", "highusd", "max", "h"),
    "low": ("low", "lowprice", "lowusd", "min", "l"),
    "close": ("close", "closeprice", "closingprice", "closeusd", "closelast", "last", "lastprice", "price", "c"),
    "volume": ("volume", "vol", "volumeshares", "totalvolume", "tradedvolume", "shares", "v"),
    "adj_close": (
        "adjclose", "adjustedclose", "closeadj", "closeadjusted", "adjclosingprice", "adjcloseprice", "adjustedprice",
    ),
    "split": ("split", "splits", "stocksplits", "stocksplit", "splitratio", "splitcoefficient", "splitfactor"),
    "dividend": ("dividend", "dividends", "dividendamount", "exdividend", "divcash", "cashdividend"),
    "bid": ("bid", "bidprice", "bestbid", "bidpx", "bp"),
    "ask": ("ask", "askprice", "bestask", "askpx", "offer", "offerprice", "ofr", "ap"),
    "bid_size": ("bidsize", "bidsz", "bidqty", "bidvolume", "bidsiz", "bs"),
    "ask_size": ("asksize", "asksz", "askqty", "askvolume", "offersize", "ofrsiz", "asksiz", "as"),
}  # fmt: skip


@dataclass(frozen=True)
class Roles:
    """Where each role is (position of the column), and the names of the columns that have none."""

    at: Mapping[str, int]
    unread: tuple[str, ...]


def plain(name: str) -> str:
    """A column's name without case, signs and the numbers that Alpha Vantage puts before it.

    >>> [plain(name) for name in ("Adj Close**", "<TICKER>", "1. open", "Close/Last", "ex-dividend")]
    ['adjclose', 'ticker', 'open', 'closelast', 'exdividend']
    """
    return re.sub(r"[^a-z0-9]", "", re.sub(r"^\d+[ab]?\.\s*", "", name.strip().lower()))


def looks_like_header(cells: Sequence[str]) -> bool:
    """Whether a row names a date and a close, or most of a bar, or what a quote has."""
    found = {role for cell in cells for role in _NAMES if plain(cell) in _NAMES[role]}
    return len(found & {"date", *PRICES, "volume"}) >= 3 or {"date", "bid", "ask"} <= found


def assign(
    names: Sequence[str],
    declared: Mapping[str, str],
    where: str,
    roles: Sequence[str] = ROLES,
    required: Sequence[str] = REQUIRED,
) -> Roles:
    """Give every role its column.

    Raises
    ------
    DataError
        If a declared column is not there, a needed one cannot be found, or two could be the same.

    >>> assign(["Date", "Price", "Open", "High", "Low", "Vol.", "Change %"], {}, "x.csv").unread
    ('Change %',)
    """
    at: dict[str, int] = {}
    for role, name in declared.items():
        at[role] = _declared(names, name, where)
    for role in roles:
        if role not in at:
            found = _find(role, names, set(at.values()), where)
            if found is not None:
                at[role] = found
    _require(at, names, where, required)
    read = set(at.values())
    unread = tuple(name for place, name in enumerate(names) if place not in read and name.strip())
    return Roles(at, unread)


def _declared(names: Sequence[str], name: str, where: str) -> int:
    """The position of a column by its name as printed, else without case and signs."""
    for same in (lambda each: each == name, lambda each: plain(each) == plain(name)):
        found = [place for place, each in enumerate(names) if same(each)]
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(f"{where}: there are {len(found)} columns {name!r}", hint="give them different names")
    raise DataError(f"{where}: there is no column {name!r}", hint=nearest(name, names))


def _find(role: str, names: Sequence[str], taken: set[int], where: str) -> int | None:
    for wanted in _NAMES[role]:
        found = [place for place, name in enumerate(names) if plain(name) == wanted and place not in taken]
        if len(found) > 1:
            both = " and ".join(repr(names[place]) for place in found[:2])
            raise DataError(
                f"{where}: columns {both} could both be the {role}", hint=f"say which: --column {role}=NAME"
            )
        if found:
            return found[0]
    return None


def _require(at: Mapping[str, int], names: Sequence[str], where: str, required: Sequence[str]) -> None:
    missing = [role for role in required if role not in at]
    if not missing:
        return
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    if required is REQUIRED and len(names) > 2 and "date" in at and not any(role in at for role in PRICES):
        raise DataError(
            f"{where}: this looks like one column per symbol ({shown}); bars need open, high, low, close and volume",
            hint="bring it into rows of symbol, date, open, high, low, close, volume, as pandas' melt or stack do",
        )
    raise DataError(
        f"{where}: there is no column for {_joined(missing)} among {shown}",
        hint=f"if it has another name, say --column {missing[0]}=NAME",
    )


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
