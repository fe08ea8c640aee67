"""What happens in markets and looks like a fault, and faults that hide in it: ticks, crashes, payouts, splits."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from workbench.calendars import Calendar, calendar
from workbench.data.dataset import FIELDS, no_actions
from workbench.data.lake import Lake
from workbench.data.quality import check
from workbench.data.rows import BarRows

FIVE = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
PRICES = list(FIELDS[:4])


@pytest.fixture(scope="module")
def xnys() -> Calendar:
    return calendar("XNYS")


@pytest.fixture(scope="module")
def real(sample_lake: Lake) -> pd.DataFrame:
    """Real bars of five symbols, 2009 to 2012."""
    return sample_lake.rows(FIVE, start=date(2009, 1, 2), end=date(2012, 12, 31)).frame()


@pytest.fixture
def bars(real: pd.DataFrame) -> pd.DataFrame:
    return real.copy()


@pytest.fixture(scope="module")
def actions(sample_lake: Lake) -> pd.DataFrame:
    return sample_lake.actions(FIVE, start=date(2009, 1, 2), end=date(2012, 12, 31))


def told(frame: pd.DataFrame, actions: pd.DataFrame, exchange: Calendar, frequency: str = "daily") -> list[object]:
    report = check(BarRows.from_frame(frame, frequency), actions, exchange)  # type: ignore[arg-type]
    return [(f.rule, f.symbol, f.day) for f in report.told]


def record(actions: pd.DataFrame, symbol: str, day: str, kind: str, value: float) -> pd.DataFrame:
    row = {"symbol": symbol, "ex_date": pd.Timestamp(day), "kind": kind, "value": value, "origin": "published"}
    return pd.concat([actions, pd.DataFrame([row])], ignore_index=True)


def at(frame: pd.DataFrame, symbol: str, first: str, last: str = "2100-01-01") -> pd.Series[bool]:
    return (frame["symbol"] == symbol) & frame["at"].between(first, last)


def flat(symbol: str, days: pd.DatetimeIndex, price: np.ndarray, volume: np.ndarray) -> pd.DataFrame:
    made = pd.DataFrame({"symbol": symbol, "at": days, "volume": volume})
    made[PRICES] = np.repeat(price[:, None], 4, axis=1)
    return made


# ---- ticks -----------------------------------------------------------------------------------------


def test_a_move_of_one_tick_is_no_outlier_and_no_split(xnys: Calendar) -> None:
    # Made up: 0.0004 USD in ticks of 0.0001. A tick is 25 %, two are a split of 2:1, and both come back.
    days = xnys.index(date(2010, 1, 4), date(2010, 6, 30))
    ticks = np.full(len(days), 4)
    ticks[[20, 50, 90]] = [5, 3, 2]
    ticks[100:] = 6
    assert told(flat("PINK", days, ticks / 10_000, np.full(len(days), 3e6)), no_actions(), xnys) == []


def test_a_move_of_many_ticks_of_the_same_share_is_an_outlier(xnys: Calendar) -> None:
    days = xnys.index(date(2010, 1, 4), date(2010, 6, 30))
    ticks = 400 + np.arange(len(days)) % 2
    ticks[50] = 500
    found = told(flat("PINK", days, ticks / 10_000, np.full(len(days), 3e6)), no_actions(), xnys)
    assert found == [("outlier", "PINK", "2010-03-17")]


def test_a_price_that_moves_unseen_between_two_coarse_ticks_is_not_stale(xnys: Calendar) -> None:
    # A random walk whose steps are a tenth of a tick: it repeats for hundreds of bars, and that is all there is to see.
    rng = np.random.default_rng(3)
    hours = [pd.date_range(xnys.open(day), periods=390, freq="min").tz_localize(None) for day in
             xnys.sessions(date(2012, 3, 5), date(2012, 3, 16))]  # fmt: skip
    minutes = hours[0].append(hours[1:])
    walk = np.round(160 + 0.1 * np.cumsum(rng.standard_normal(len(minutes))))
    coarse = flat("COARSE", minutes, walk, rng.integers(1, 50, len(minutes)) * 100.0)
    assert told(coarse, no_actions(), xnys, "minute") == []


# ---- crashes ---------------------------------------------------------------------------------------


def test_a_low_of_a_cent_on_2010_05_06_is_the_crash_and_on_another_day_absurd(
    bars: pd.DataFrame, actions: pd.DataFrame, xnys: Calendar
) -> None:
    # Real lows of that day: AAPL 22 % below the close before, GOOG 10 %, IBM 9 %. Accenture traded at 0.01.
    bars.loc[at(bars, "MSFT", "2010-05-06", "2010-05-06"), "low"] = 0.01
    assert told(bars, actions, xnys) == []
    bars.loc[at(bars, "MSFT", "2010-06-16", "2010-06-16"), "low"] = 0.01
    assert told(bars, actions, xnys) == [("absurd_price", "MSFT", "2010-06-16")]


# ---- payouts and splits ----------------------------------------------------------------------------


def test_a_special_dividend_of_a_third_is_no_split_and_without_its_record_it_looks_like_one(
    bars: pd.DataFrame, actions: pd.DataFrame, xnys: Calendar
) -> None:
    before = float(bars.loc[at(bars, "IBM", "2011-03-15", "2011-03-15"), "close"].iloc[0])
    after = at(bars, "IBM", "2011-03-16")
    bars.loc[after, PRICES] = (bars.loc[after, PRICES] * 2 / 3).round(2)
    paid = record(actions, "IBM", "2011-03-16", "special_dividend", round(before / 3, 2))
    assert told(bars, paid, xnys) == []
    assert told(bars, actions, xnys) == [("unapplied_split", "IBM", "2011-03-16")]


def test_a_reverse_split_whose_volumes_are_adjusted_is_found(
    bars: pd.DataFrame, actions: pd.DataFrame, xnys: Calendar
) -> None:
    # 1:20, and the shares of before are counted as those of after: the turnover in USD is 20 times what it was.
    bars = bars[bars["at"] < "2011-08-01"]
    bars.loc[at(bars, "MSFT", "2011-06-15"), PRICES] *= 20
    assert told(bars, actions, xnys) == [("unapplied_split", "MSFT", "2011-06-15")]


def test_a_price_that_triples_while_everybody_trades_is_news(
    bars: pd.DataFrame, actions: pd.DataFrame, xnys: Calendar
) -> None:
    bars.loc[at(bars, "MSFT", "2011-06-15"), PRICES] *= 3
    bars.loc[at(bars, "MSFT", "2011-06-15", "2011-06-15"), "volume"] *= 9
    assert told(bars, actions, xnys) == []


def test_a_split_of_fifty_multiplies_the_shares_traded_and_is_no_unit(
    bars: pd.DataFrame, actions: pd.DataFrame, xnys: Calendar
) -> None:
    after = at(bars, "GOOG", "2011-06-15")
    bars.loc[after, PRICES] /= 50
    bars.loc[after, "volume"] *= 50
    assert told(bars, record(actions, "GOOG", "2011-06-15", "split", 50.0), xnys) == []
    bars.loc[at(bars, "GOOG", "2011-09-01", "2011-09-20"), "volume"] *= 100
    assert told(bars, record(actions, "GOOG", "2011-06-15", "split", 50.0), xnys) == [
        ("unit_error", "GOOG", "2011-09-01")
    ]


def test_a_special_dividend_written_in_hundreds_of_dollars_is_wrong_though_others_are_as_small(
    sample_lake: Lake, xnys: Calendar
) -> None:
    # Microsoft's 3.08 of 2004-11-15 as 0.0308, among ordinary ones of 0.08: the open fell by 100 times that.
    end = date(2006, 12, 29)
    actions = sample_lake.actions(["MSFT"], end=end)
    frame = sample_lake.rows(["MSFT"], start=date(2004, 12, 1), end=end).frame()
    frame = pd.concat([sample_lake.rows(["MSFT"], start=date(2003, 1, 2), end=date(2004, 11, 19)).frame(), frame])
    actions.loc[actions["value"] == 3.08, "value"] = 0.0308
    found = [each for each in told(frame, actions, xnys) if each[0] != "missing_sessions"]  # type: ignore[index]
    assert found == [("wrong_dividend", "MSFT", "2004-11-15")]


def test_volume_beside_a_split_of_two_is_judged_right_nineteen_times_in_twenty(xnys: Calendar) -> None:
    # Made up, with the noise and the memory that volumes of shares have.
    days = xnys.index(date(2010, 1, 4), date(2011, 12, 30))
    split, found = 250, {"adjusted": 0, "raw": 0}
    action = record(no_actions(), "SPLT", str(days[split].date()), "split", 2.0)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        busy = np.zeros(len(days))
        for t in range(1, len(days)):
            busy[t] = 0.6 * busy[t - 1] + 0.3 * rng.standard_normal()
        price = 60 * np.exp(np.cumsum(0.012 * rng.standard_normal(len(days))))
        price[split:] /= 2
        frame = flat("SPLT", days, np.round(price, 2), np.round(1e6 * np.exp(busy)))
        frame["high"], frame["low"] = frame["close"] * 1.01, frame["close"] * 0.99
        found["adjusted"] += ("volume_adjusted", "SPLT", "2010-01-04") in told(frame, action, xnys)
        frame.loc[split:, "volume"] *= 2
        found["raw"] += bool(told(frame, action, xnys))
    assert found["adjusted"] >= 19
    assert found["raw"] == 0
