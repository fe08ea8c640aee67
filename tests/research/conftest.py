"""Real bars of the committed sample, and small ones for numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from workbench.data.bars import FIELDS, Bars
from workbench.strategies.base import Strategy

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "wiki_2000_2013_AAPL_FB_GOOG_IBM_MSFT.csv.gz"
# Splits as in data/sample/README.md; dividends as paid in February 2013 (companies' own announcements).
ACTIONS = [
    ("AAPL", "2000-06-21", "split", 2.0),
    ("AAPL", "2005-02-28", "split", 2.0),
    ("MSFT", "2003-02-18", "split", 2.0),
    ("AAPL", "2013-02-07", "dividend", 2.65),
    ("MSFT", "2013-02-19", "dividend", 0.23),
    ("IBM", "2013-02-06", "dividend", 0.85),
]


@dataclass(frozen=True)
class Market:
    split: Bars
    raw: Bars
    actions: pd.DataFrame


def actions_of(rows: list[tuple[str, str, str, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["symbol", "ex_date", "kind", "value"])
    return frame.assign(ex_date=pd.to_datetime(frame["ex_date"]))


def bars_of(fields: dict[str, pd.DataFrame], adjustment: str) -> Bars:
    return Bars(**fields, adjustment=adjustment, snapshot=0)  # type: ignore[arg-type]  # a literal


@pytest.fixture(scope="session")
def sample() -> Market:
    """Five symbols, 2000-03-01 to 2013-03-01."""
    rows = pd.read_csv(SAMPLE, parse_dates=["Date"])
    raw = {
        name: rows.pivot(index="Date", columns="Ticker", values=name.title()).rename_axis("session").astype(float)
        for name in FIELDS
    }
    factor = pd.DataFrame(1.0, index=raw["close"].index, columns=raw["close"].columns)
    for symbol, day, kind, value in ACTIONS:
        if kind == "split":
            factor.loc[factor.index < day, symbol] /= value
    split = {name: raw[name] / factor if name == "volume" else raw[name] * factor for name in FIELDS}
    return Market(bars_of(split, "split"), bars_of(raw, "raw"), actions_of(ACTIONS))


@pytest.fixture(scope="session")
def market() -> Callable[..., Market]:
    """Make bars from opens and closes by symbol, on the sessions from 2013-01-02 (a Wednesday)."""

    def make(
        opens: dict[str, list[float]],
        closes: dict[str, list[float]],
        actions: list[tuple[str, str, str, float]] = [],  # noqa: B006  # never changed
    ) -> Market:
        days = pd.bdate_range("2013-01-02", periods=len(next(iter(closes.values()))), name="session")
        frames = [pd.DataFrame(prices, index=days, dtype=float) for prices in (opens, closes)]
        fields = {name: frames[name != "open"] for name in FIELDS}
        return Market(bars_of(fields, "split"), bars_of(fields, "raw"), actions_of(actions))

    return make


@pytest.fixture(scope="session")
def scripted() -> Callable[[pd.DataFrame], Strategy]:
    """A strategy that returns the weights it was given, zero where there are none."""

    def make(table: pd.DataFrame) -> Strategy:
        class Scripted(Strategy):
            def weights(self, bars: Bars) -> pd.DataFrame:
                return table.reindex(index=bars.sessions, columns=bars.close.columns, fill_value=0.0)

        return Scripted()

    return make


@pytest.fixture(scope="session")
def holder() -> Strategy:
    """A fifth of equity in everything that has a price, so that every corporate action is felt."""

    class Holder(Strategy):
        def weights(self, bars: Bars) -> pd.DataFrame:
            return bars.close.notna() / 5.0

    return Holder()
