"""Markets without faults, real and made up: heavy tails, crashes, splits, halts, penny stocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.calendars import Calendar, calendar
from workbench.data.dataset import FIELDS, no_actions
from workbench.data.rows import BarRows, Frequency

Columns = dict[str, np.ndarray]
ROOT = Path(__file__).parents[1]
DAY_NS = 86_400_000_000_000


@dataclass
class Market:
    """Bars by symbol in columns ``at`` (datetime64[ns]) and the fields, and what is on record of them."""

    name: str
    bars: dict[str, Columns]
    calendar: Calendar
    frequency: Frequency = "daily"
    actions: list[tuple[str, np.datetime64, str, float]] = field(default_factory=list)
    listings: pd.DataFrame | None = None

    def copy(self) -> Market:
        bars = {
            symbol: {name: values.copy() for name, values in columns.items()} for symbol, columns in self.bars.items()
        }
        return Market(self.name, bars, self.calendar, self.frequency, list(self.actions), self.listings)

    def rows(self) -> BarRows:
        frames = [pd.DataFrame(columns).assign(symbol=symbol) for symbol, columns in self.bars.items()]
        rows = BarRows.from_frame(pd.concat(frames, ignore_index=True), self.frequency)
        return rows

    def action_frame(self) -> pd.DataFrame:
        if not self.actions:
            return no_actions()
        return pd.DataFrame(self.actions, columns=["symbol", "ex_date", "kind", "value"])


def sample() -> Market:
    """The committed real prices up to 2013-03-01, the one bad print of MSFT put right."""
    from tempfile import TemporaryDirectory

    from workbench.data.lake import Lake
    from workbench.data.sample import load_sample

    with TemporaryDirectory() as folder, Lake(Path(folder)) as lake:
        load_sample(lake, ROOT / "data" / "sample")
        raw = lake.bars(["AAPL", "FB", "GOOG", "IBM", "MSFT"], end=date(2013, 3, 1), adjustment="raw")
        actions = lake.actions(list(raw.symbols), end=date(2013, 3, 1))
    rows = BarRows.from_bars(raw)
    bars = {s: {"at": rows.at[w], **{f: getattr(rows, f)[w].copy() for f in FIELDS}} for s, w in rows}
    odd = bars["MSFT"]["at"] == np.datetime64("2004-11-22")
    bars["MSFT"]["low"][odd] = 26.40
    columns = (actions[name] for name in ("symbol", "ex_date", "kind", "value"))
    listed = [(s, np.datetime64(day, "ns"), kind, v) for s, day, kind, v in zip(*columns, strict=True)]
    return Market("sample", bars, calendar("XNYS"), actions=listed)


def daily(rng: np.random.Generator, name: str, exchange: str, symbols: int, first: str, last: str) -> Market:
    """A made-up market: one factor, Student's t with 4 degrees, clustered volatility, two crashes, news, actions."""
    days = calendar(exchange).index(date.fromisoformat(first), date.fromisoformat(last)).to_numpy()
    market = _factor(rng, len(days))
    made = Market(name, {}, calendar(exchange))
    spells = []
    for number in range(symbols):
        symbol = f"S{number:03}"
        start = int(rng.integers(0, len(days) // 3)) if rng.random() < 0.2 else 0  # an IPO
        stop = len(days) - int(rng.integers(20, len(days) // 3)) if rng.random() < 0.1 else len(days)  # delisted
        spells.append((number, symbol, days[start], days[stop - 1] if stop < len(days) else pd.NaT))
        _symbol(rng, made, symbol, days[start:stop], market[start:stop])
    made.listings = pd.DataFrame(spells, columns=["instrument", "symbol", "first", "last"])
    return made


def _factor(rng: np.random.Generator, size: int) -> np.ndarray:
    vol = _volatility(rng, size, 0.008)
    factor = vol * _t(rng, size)
    for place in rng.integers(30, size - 30, 2):  # 1987-10-19, 2020-03
        factor[place] -= rng.uniform(0.08, 0.2)
        factor[place + 1] += rng.uniform(0.03, 0.09)
    return factor


def _volatility(rng: np.random.Generator, size: int, level: float) -> np.ndarray:
    log, out = 0.0, np.empty(size)
    shocks = rng.normal(0, 0.12, size)
    for t in range(size):
        log = 0.96 * log + shocks[t]
        out[t] = level * np.exp(log)
    return out


def _t(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.standard_t(4, size) / np.sqrt(2.0)


def _symbol(rng: np.random.Generator, made: Market, symbol: str, days: np.ndarray, market: np.ndarray) -> None:
    size = len(days)
    own = _volatility(rng, size, rng.uniform(0.008, 0.03)) * _t(rng, size)
    shock = np.zeros(size)
    for place in np.flatnonzero(rng.random(size) < 0.004):  # news: a jump on many times the turnover
        shock[place] = rng.choice([-1, 1]) * rng.exponential(0.08)
    if rng.random() < 0.1:
        shock[rng.integers(5, size)] = np.log(rng.uniform(0.3, 0.65))  # halved by a warning
    total = rng.uniform(0.4, 1.4) * market + own + shock
    share = rng.uniform(0.2, 0.5)
    gaps = np.where(shock != 0, 0.9 * total, share * total + 0.002 * rng.standard_normal(size))
    # Log prices, and the shares that one of the first day has become.
    level = np.log(rng.choice([0.8, 8.0, 40.0, 90.0, 300.0]) * rng.uniform(0.7, 1.4)) + np.cumsum(total)
    factor = np.ones(size)
    if rng.random() < 0.4:
        place = int(rng.integers(80, size - 80)) if size > 200 else size // 2
        ratio = float(rng.choice([1.5, 2, 3, 4, 10, 0.1, 0.2]))
        factor[place:] *= ratio
        made.actions.append((symbol, days[place], "split", ratio))
    close = np.exp(level) / factor
    before = np.r_[close[0], close[:-1]] * np.r_[1.0, factor[:-1] / factor[1:]]
    open_ = before * np.exp(gaps)
    _pay(rng, made, symbol, days, close, open_, factor)
    spread = np.abs(rng.normal(0, 0.4, (2, size))) * np.maximum(np.abs(own), 0.004)
    high, low = np.maximum(open_, close) * np.exp(spread[0]), np.minimum(open_, close) * np.exp(-spread[1])
    tick = 100.0 if exchange_ticks(close) else 10_000.0
    prices = [np.maximum(np.round(values * tick), 1) / tick for values in (open_, high, low, close)]
    busy = np.exp(
        rng.normal(0, 0.35, size) + np.minimum(np.abs(total) / 0.03, 3) * 0.5 + (shock != 0) * rng.uniform(1, 2, size)
    )
    volume = np.round(rng.lognormal(13, 1.2) * busy * factor)
    columns = dict(zip(FIELDS, (*prices, np.maximum(volume, 100)), strict=True))
    if rng.random() < 0.1:  # a halt, written as flat bars without volume
        place = int(rng.integers(30, size - 30))
        for name in FIELDS[:4]:
            columns[name][place : place + 4] = columns["close"][place - 1]
        columns["volume"][place : place + 4] = 0
    made.bars[symbol] = {"at": days, **columns}


def exchange_ticks(close: np.ndarray) -> bool:
    """Whether it is quoted in whole cents: what costs a dollar is."""
    return bool(np.median(close) > 1.0)


def _pay(
    rng: np.random.Generator,
    made: Market,
    symbol: str,
    days: np.ndarray,
    close: np.ndarray,
    open_: np.ndarray,
    factor: np.ndarray,
) -> None:
    """Quarterly dividends, and now and then a special one, taken off the prices from the ex-date on."""
    if rng.random() < 0.5 or len(days) < 250 or np.median(close) < 3:
        return
    rate = rng.uniform(0.003, 0.012)
    places = np.arange(int(rng.integers(10, 60)), len(days), 63) + rng.integers(-3, 4)
    special = int(rng.integers(100, len(days) - 10)) if rng.random() < 0.3 else -1
    for place in sorted({*places.tolist(), special}):
        if 0 < place < len(days):
            part = rng.uniform(0.05, 0.15) if place == special else rate
            amount = float(np.round(part * close[place - 1], 2))
            if amount <= 0:
                continue
            scale = 1 - amount / close[place - 1]
            close[place:] *= scale
            open_[place:] *= scale
            made.actions.append((symbol, days[place], "special_dividend" if place == special else "dividend", amount))


def minutes(
    rng: np.random.Generator, name: str, exchange: str, symbols: int, first: str, last: str, *, share: float = 1.0
) -> Market:
    """Bars of every minute of every session (or of a ``share`` of them): half-days, lunch breaks, U-shaped activity."""
    from workbench.data.quality.tape import Hours

    start, stop = (np.datetime64(day, "D").astype(int) for day in (first, last))
    hours = Hours(calendar(exchange), int(start), int(stop))
    grids = []
    for session in range(len(hours.day)):
        grid = np.arange(hours.open[session], hours.close[session], 60_000_000_000)
        if hours.break_start[session] >= 0:
            grid = grid[(grid < hours.break_start[session]) | (grid >= hours.break_end[session])]
        grids.append(grid)
    made = Market(name, {}, calendar(exchange), "minute")
    busy = np.concatenate([1 + 2 * np.linspace(-1, 1, len(grid)) ** 2 for grid in grids])
    begins = np.concatenate([np.r_[1.0, np.zeros(len(grid) - 1)] for grid in grids])
    at = np.concatenate(grids)
    common = 0.0002 * busy * _t(rng, len(at))
    for number in range(symbols):
        kept = rng.random(len(at)) < share
        kept |= begins > 0
        size = int(kept.sum())
        moves = 0.5 * common[kept] + 0.0004 * busy[kept] * _t(rng, size) + begins[kept] * 0.008 * _t(rng, size)
        close = rng.choice([15.0, 60.0, 250.0]) * np.exp(np.cumsum(moves))
        open_ = np.r_[close[0], close[:-1]] * np.exp(
            np.where(begins[kept] > 0, 0.95 * moves, 0.0001 * rng.standard_normal(size))
        )
        wick = np.abs(rng.normal(0, 0.0003, (2, size)))
        high, low = np.maximum(open_, close) * (1 + wick[0]), np.minimum(open_, close) * (1 - wick[1])
        prices = [np.round(values * 100) / 100 for values in (open_, high, low, close)]
        volume = np.round(rng.lognormal(7, 0.5) * busy[kept] * np.exp(rng.normal(0, 0.7, size))) + 1
        made.bars[f"M{number:03}"] = {
            "at": at[kept].view("datetime64[ns]"),
            **dict(zip(FIELDS, (*prices, volume), strict=True)),
        }
    return made
