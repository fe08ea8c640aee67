"""Daily and minute bars of Alpaca, as traded, with the corporate actions of the same span."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

from workbench.data.dataset import PUBLISHED, Frequency, Staged
from workbench.data.sources.reading import EXCHANGE_ZONE, Reading
from workbench.errors import DataError

if TYPE_CHECKING:
    import duckdb

    from workbench.data.sources.frames import FrameSource

ACTIONS = "staged_actions"
_TIMEFRAMES: Mapping[Frequency, str] = {"daily": "1Day", "minute": "1Min"}
_PAGE = 10_000
_SYMBOLS_AT_ONCE = 100
# Of the answer's lists: what we call it. Source: Alpaca, Corporate actions (v1) reference.
_KINDS = {
    "forward_splits": "split",
    "reverse_splits": "split",
    "cash_dividends": "dividend",
    "stock_dividends": "stock_dividend",
}
_TYPES = "forward_split,reverse_split,cash_dividend,stock_dividend"


class DataClient(Protocol):
    """What is asked for data: ``AlpacaData`` in ``workbench.brokers.alpaca``."""

    def bars(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """One page of ``/v2/stocks/bars``."""
        ...

    def actions(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """One page of ``/v1/corporate-actions``."""
        ...


class AlpacaSource:
    """Bars of ``symbols`` from ``start`` to ``end``, both included, asked for without adjustment."""

    def __init__(
        self, client: DataClient, symbols: Sequence[str], start: date, end: date, *, frequency: Frequency = "daily"
    ) -> None:
        if end < start:
            raise DataError(f"alpaca: {start} is after {end}")
        self._client = client
        self._symbols = tuple(symbols)
        self._span = {"start": start.isoformat(), "end": end.isoformat()}
        # In full: a date alone would leave out the minutes of the last day.
        self._moments = {"start": _moment(start, time.min), "end": _moment(end, time(23, 59, 59))}
        self._frequency = frequency
        self.name = f"alpaca: {', '.join(self._symbols[:5])}{', ...' if len(self._symbols) > 5 else ''}"

    @cached_property
    def digest(self) -> str:
        """Of every bar and action answered."""
        import hashlib

        return hashlib.sha256(f"{self._bars.digest}\n{self._found_actions}".encode()).hexdigest()

    def stage(self, connection: duckdb.DuckDBPyConnection) -> Staged:
        """Read bars and actions into temporary tables."""
        staged = self._bars.stage(connection)
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {ACTIONS} "
            "(symbol VARCHAR, ex_date DATE, kind VARCHAR, value DOUBLE, origin VARCHAR)"
        )
        if self._found_actions:
            connection.executemany(f"INSERT INTO {ACTIONS} VALUES (?, ?, ?, ?, ?)", self._found_actions)
        notes = ("prices are as traded: asked for with adjustment=raw", "corporate actions are the venue's own")
        declared = "prices are as traded: declared"
        return replace(
            staged, actions=ACTIONS, assumptions=(*(each for each in staged.assumptions if each != declared), *notes)
        )

    @cached_property
    def _bars(self) -> FrameSource:
        import pandas as pd

        from workbench.data.sources.frames import FrameSource

        asked = {"timeframe": _TIMEFRAMES[self._frequency], "adjustment": "raw", **self._moments}
        rows = []
        for page in self._pages(self._client.bars, asked):
            for symbol, bars in (page.get("bars") or {}).items():
                rows += [(symbol, bar["t"], *(float(bar[key]) for key in "ohlcv")) for bar in bars]
        if not rows:
            raise DataError(f"{self.name}: no bars from {self._span['start']} to {self._span['end']}")
        frame = pd.DataFrame(rows, columns=["symbol", "timestamp", "open", "high", "low", "close", "volume"])
        frame["timestamp"] = pd.to_datetime(frame["timestamp"], utc=True)
        return FrameSource(frame, Reading(frequency=self._frequency, adjusted=False, stamp="start"), name=self.name)

    @cached_property
    def _found_actions(self) -> list[tuple[str, str, str, float, str]]:
        found = []
        for page in self._pages(self._client.actions, {"types": _TYPES}):
            for group, listed in (page.get("corporate_actions") or {}).items():
                found += [_action(group, each) for each in listed if group in _KINDS]
        return sorted(set(found))

    def _pages(self, ask: Any, params: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Every page of an answer, for a hundred symbols at a time."""
        for at in range(0, len(self._symbols), _SYMBOLS_AT_ONCE):
            asked = {"symbols": ",".join(self._symbols[at : at + _SYMBOLS_AT_ONCE]), "limit": _PAGE, **self._span}
            token = None
            while True:
                page = ask({**asked, **params, **({"page_token": token} if token else {})})
                yield page
                if page.get("next_page_token") == token and token is not None:
                    raise DataError(f"{self.name}: the same page came twice", hint="try again later")
                token = page.get("next_page_token")
                if not token:
                    break


def _moment(day: date, clock: time) -> str:
    return datetime.combine(day, clock, ZoneInfo(EXCHANGE_ZONE)).isoformat()


def _action(group: str, each: Mapping[str, Any]) -> tuple[str, str, str, float, str]:
    kind = _KINDS[group]
    value = float(each["new_rate"]) / float(each["old_rate"]) if kind == "split" else float(each["rate"])
    if kind == "dividend" and each.get("special"):
        kind = "special_dividend"
    return str(each["symbol"]), str(each["ex_date"]), kind, value, PUBLISHED
