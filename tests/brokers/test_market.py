"""What the exchange trades on is read in parts, and answers as if all of it had been read at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

import pandas as pd
import pytest

from workbench.brokers.market import LakeMarket, exact
from workbench.data.dataset import Dataset, no_actions
from workbench.data.lake import Lake

FIRST, END = date(2012, 1, 2), date(2013, 3, 1)
DAYS = [FIRST + timedelta(days=number) for number in range((END - FIRST).days + 1)]
# Traded all the time, halted for half a year and halted until the end, or listed a week ago.
TRADED = {
    "ALL": DAYS,
    "HALT": DAYS[:150] + DAYS[-40:],
    "GONE": DAYS[:150],
    "NEW": DAYS[-7:],
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    rows = [
        {"symbol": symbol, "session": pd.Timestamp(day), "open": 10.0 + n, "high": 11.0 + n, "low": 9.0 + n}
        | {"close": 10.5 + n, "volume": 1000.0 + n}
        for symbol, days in TRADED.items()
        for n, day in enumerate(days)
    ]
    with Lake(tmp_path_factory.mktemp("market")) as opened:
        opened.load(Dataset(pd.DataFrame(rows), no_actions(), "by hand", "1"))
        yield opened


@pytest.mark.parametrize("symbol", TRADED)
def test_what_is_read_in_parts_answers_as_the_whole(lake: Lake, symbol: str) -> None:
    rows = lake.history(symbol, end=END)
    assert [row[0] for row in rows] == TRADED[symbol]
    for asked in DAYS[::17] + DAYS[-45:]:
        market = LakeMarket(lake, END)  # whose first question this is
        past = [row for row in rows if row[0] <= asked]
        bar = market.bar(symbol, asked)
        assert (bar is None) == (not past or past[-1][0] != asked)
        assert bar is None or bar.close == exact(past[-1][4])
        assert market.last_close(symbol, asked) == ((past[-1][0], exact(past[-1][4])) if past else None)
        for sessions in (1, 20, 200):
            volumes = [exact(row[5]) for row in past[-sessions:]]
            expected = sum(volumes, Decimal(0)) / len(volumes) if volumes else None
            assert market.average_volume(symbol, asked, sessions) == expected


def test_a_symbol_that_nobody_knows_has_no_market(lake: Lake) -> None:
    market = LakeMarket(lake, END)
    assert market.bar("NOBODY", END) is None
    assert market.last_close("NOBODY", END) is None
    assert market.average_volume("NOBODY", END, 20) is None


def test_the_last_bars_of_a_symbol_are_all_that_is_read_for_them(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    spans: list[tuple[date | None, date | None]] = []
    read = lake.history

    def noted(symbol: str, *, start: date | None, end: date | None, snapshot: int | None) -> object:
        spans.append((start, end))
        return read(symbol, start=start, end=end, snapshot=snapshot)

    monkeypatch.setattr(lake, "history", noted)
    market = LakeMarket(lake, END)
    market.bar("ALL", END)
    market.average_volume("ALL", END, 20)
    assert spans == [(END - timedelta(days=90), END)]
    market.average_volume("ALL", END, 200)
    assert spans[1:] == [(None, END)]
