"""Markets without faults that look as if they had some: things that happen, drawn so that a rule may cry wolf.

Nothing here shares code with `quality_markets`, so that rules tuned on those are asked by somebody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

import numpy as np
import pandas as pd
from quality_markets import Columns, Market

from workbench.calendars import calendar

Rng = np.random.Generator
Make = Callable[[Rng], Market]


def scenes(seed: int) -> Iterator[Market]:
    """Every scene, drawn anew for a seed."""
    for number, make in enumerate(_SCENES):
        yield make(np.random.default_rng((seed, 977, number)))


def _days(exchange: str, first: str, last: str) -> np.ndarray:
    return calendar(exchange).index(date.fromisoformat(first), date.fromisoformat(last)).to_numpy()


def _market(name: str, exchange: str) -> Market:
    return Market(name, {}, calendar(exchange))


def _heston(rng: Rng, size: int, level: float, memory: float = 0.97) -> np.ndarray:
    """Daily volatilities: a square-root process around a level, with jumps of the variance."""
    variance, found = level**2, np.empty(size)
    for t in range(size):
        variance = abs(
            variance + (1 - memory) * (level**2 - variance) + 0.25 * level * np.sqrt(variance) * rng.normal()
        )
        if rng.random() < 0.004:
            variance *= rng.uniform(2, 6)
        found[t] = np.sqrt(max(variance, (0.15 * level) ** 2))
    return found


def _bars(
    rng: Rng,
    days: np.ndarray,
    night: np.ndarray,
    day: np.ndarray,
    start: float,
    tick: float,
    shares: float,
    *,
    steps: int = 24,
    busy: np.ndarray | None = None,
    splits: dict[int, float] | None = None,
) -> Columns:
    """A path within every session of ``steps`` moves, so that high and low are those of a path.

    ``night`` and ``day``: log returns, shape (T,). ``splits``: by place in ``days``; prices and volumes follow them.
    """
    size = len(days)
    factor = np.ones(size)
    for place, ratio in (splits or {}).items():
        factor[place:] *= ratio
    total = night + day
    begin = np.log(start) + np.r_[0, np.cumsum(total)[:-1]] + night
    scale = np.maximum(np.abs(day), 0.7 * np.median(np.abs(total)) + 1e-6)
    noise = rng.normal(0, 1, (size, steps)) * (1.1 * scale / np.sqrt(steps))[:, None]
    path = np.cumsum(noise, axis=1)
    path += (day - path[:, -1])[:, None] * np.linspace(1 / steps, 1, steps)[None, :]
    path = np.c_[np.zeros(size), path] + begin[:, None]
    prices = np.maximum(np.round(np.exp(path) / factor[:, None] / tick), 1) * tick
    prices = np.round(prices, 9)
    # A move of n times the usual is traded like news: 3 times is 1.7 times the volume, 12 times some 6 to 10 times.
    strange = np.abs(total) / (np.median(np.abs(total)) + 1e-9)
    volume = rng.lognormal(np.log(shares), 0.4, size) * np.minimum(1 + 0.4 * strange + (strange / 5) ** 2, 12) / 1.6
    volume = volume * factor * (1 if busy is None else busy)
    return {
        "at": days, "open": prices[:, 0], "high": prices.max(axis=1), "low": prices.min(axis=1),
        "close": prices[:, -1], "volume": np.maximum(np.round(volume), 1),
    }  # fmt: skip


def _parts(rng: Rng, vol: np.ndarray, degrees: float = 3.5) -> tuple[np.ndarray, np.ndarray]:
    """Returns overnight and within the session: two fifths of the variance is the night's."""
    size = len(vol)
    scale = np.sqrt((degrees - 2) / degrees)
    night = np.sqrt(0.35) * vol * rng.standard_t(degrees, size) * scale
    day = np.sqrt(0.65) * vol * rng.standard_t(degrees, size) * scale
    return night, day


# ---- what is listed ------------------------------------------------------------------------------------------


def _unlike(rng: Rng) -> Market:
    """A bond fund, a broad fund, one that is geared three times, BRK.A, a penny stock, a biotech, a thin receipt."""
    made = _market("unlike ones of New York", "XNYS")
    days = _days("XNYS", "2017-01-03", "2021-12-31")
    size = len(days)
    market = _heston(rng, size, 0.009) * rng.standard_t(4, size) / np.sqrt(2)
    kinds = {
        "AGG": (0.05, 0.0018, 108.0, 0.01, 5e6), "SPY": (1.0, 0.0005, 240.0, 0.01, 8e7),
        "TQQQ": (3.0, 0.002, 55.0, 0.01, 3e7), "BRK.A": (0.8, 0.005, 290_000.0, 1.0, 300.0),
        "PNNY": (0.4, 0.06, 0.04, 0.0001, 4e5), "BIO": (0.9, 0.045, 6.0, 0.01, 8e5),
        "ADR": (0.5, 0.017, 14.0, 0.01, 2e3), "UTIL": (0.5, 0.009, 44.0, 0.01, 2e6),
    }  # fmt: skip
    for symbol, (beta, own, start, tick, shares) in kinds.items():
        night, day = _parts(rng, _heston(rng, size, own))
        night, day = night + 0.4 * beta * market, day + 0.6 * beta * market
        busy = np.ones(size)
        if symbol == "BIO":  # trials that succeed or fail, on many times the turnover
            for place in rng.choice(np.arange(60, size - 60), 5, replace=False):
                night[place] += rng.choice([np.log(2.1), np.log(1.5), np.log(0.4), np.log(0.6)])
                busy[place : place + 4] = np.array([25, 9, 5, 3]) * rng.uniform(0.7, 1.3)
        made.bars[symbol] = _bars(rng, days, night, day, start, tick, shares, busy=busy)
    quiet = rng.random(size) < 0.25  # a quarter of the receipt's sessions see no trade
    _flat(made.bars["ADR"], quiet)
    return made


def _flat(columns: Columns, quiet: np.ndarray) -> None:
    """Bars without trades stand at the close before them, with volume 0."""
    close = columns["close"]
    for t in np.flatnonzero(quiet).tolist():
        if t:
            for name in ("open", "high", "low", "close"):
                columns[name][t] = close[t - 1]
            columns["volume"][t] = 0


def _splits(rng: Rng) -> Market:
    """Splits of every ratio on record, stock dividends too, volumes following them."""
    made = _market("splits of odd ratios", "XNYS")
    days = _days("XNYS", "2014-01-02", "2018-12-31")
    size = len(days)
    ratios = [1.5, 7.0, 0.1, 1 / 30, 1.25, 1.05, 20.0, 3.0, 1.1, 4 / 3, 0.25, 50.0, 1 / 15, 2.0]
    for number, ratio in enumerate(ratios):
        symbol = f"R{number:02}"
        night, day = _parts(rng, _heston(rng, size, rng.uniform(0.01, 0.035)))
        start = float(rng.uniform(30, 90)) * max(ratio, 1.0) if ratio >= 1 else float(rng.uniform(2, 9))
        place = int(rng.integers(150, size - 150))
        made.bars[symbol] = _bars(rng, days, night, day, start, 0.01, 1e6, splits={place: ratio})
        made.actions.append((symbol, days[place], "split", ratio))
    return made


def _payers(rng: Rng) -> Market:
    """Quarterly, monthly and yearly dividends, raises and cuts, specials of 5 to 30 %, all on record."""
    made = _market("dividends, special ones of up to 30 %", "XNYS")
    days = _days("XNYS", "2010-01-04", "2017-12-29")
    size = len(days)
    for number, (step, rate) in enumerate(
        [(63, 0.006), (21, 0.005), (252, 0.03), (63, 0.012), (126, 0.02), (63, 0.002)]
    ):
        symbol = f"D{number:02}"
        night, day = _parts(rng, _heston(rng, size, rng.uniform(0.008, 0.02)))
        due = {place + int(rng.integers(-4, 5)): rate for place in range(40, size - 10, step)}
        cut = int(rng.integers(size // 3, size))  # a cut to a third, for good
        due = {place: share * (0.33 if place > cut and number % 2 else 1) for place, share in due.items()}
        special = int(rng.integers(200, size - 200))
        due[special] = float(rng.choice([0.05, 0.1, 0.2, 0.3]))
        columns = _bars(rng, days, night, day, float(rng.uniform(25, 120)), 0.01, 1e6)
        for place in sorted(due):
            amount = round(due[place] * columns["close"][place - 1], 2 if number % 3 else 4)
            if amount <= 0:
                continue
            scale = 1 - amount / columns["close"][place - 1]
            for name in ("open", "high", "low", "close"):
                columns[name][place:] = np.round(columns[name][place:] * scale, 2)
            kind = "special_dividend" if place == special else "dividend"
            made.actions.append((symbol, days[place], kind, amount))
        made.bars[symbol] = columns
    return made


# ---- what happens --------------------------------------------------------------------------------------------


def _crash(name: str, last: str, falls: list[float], symbols: int, tick: float) -> Make:
    def make(rng: Rng) -> Market:
        made = _market(name, "XNYS")
        days = _days("XNYS", str(np.datetime64(last) - 800), str(np.datetime64(last) + 200))
        size = len(days)
        place = int(np.searchsorted(days, np.datetime64(last)))
        market = _heston(rng, size, 0.008) * rng.standard_t(4, size) / np.sqrt(2)
        market[place : place + len(falls)] = falls
        market[place + len(falls) :] *= np.maximum(1, 3.5 * np.exp(-np.arange(size - place - len(falls)) / 40))
        for number in range(symbols):
            beta = rng.uniform(0.5, 1.5)
            night, day = _parts(rng, _heston(rng, size, rng.uniform(0.008, 0.02)))
            busy = np.where(np.abs(market) > 0.05, 3.0, 1.0)
            made.bars[f"C{number:02}"] = _bars(
                rng, days, night + 0.35 * beta * market, day + 0.65 * beta * market,
                float(rng.uniform(15, 90)), tick, 8e5, busy=busy,
            )  # fmt: skip
        return made

    return make


def _flash(rng: Rng) -> Market:
    """2010-05-06: lows far below, in four of ten down to a cent, and closes that are back."""
    made = _crash("the flash crash of 2010-05-06", "2010-05-06", [-0.035, -0.015, 0.04], 10, 0.01)(rng)
    for number, columns in enumerate(made.bars.values()):
        place = int(np.searchsorted(columns["at"], np.datetime64("2010-05-06")))
        deep = 0.01 if number < 4 else round(columns["low"][place] * rng.uniform(0.88, 0.95), 2)
        columns["low"][place] = min(columns["low"][place], deep)
        columns["volume"][place] = np.round(columns["volume"][place] * 2.2)
    return made


def _deals(rng: Rng) -> Market:
    """Shares pinned at an offer in cash, one that breaks; spin-offs on twice the turnover and more; halts."""
    made = _market("deals, spin-offs and halts", "XNYS")
    days = _days("XNYS", "2015-01-02", "2018-12-31")
    size = len(days)
    for number in range(10):
        symbol = f"M{number:02}"
        night, day = _parts(rng, _heston(rng, size, rng.uniform(0.01, 0.025)))
        busy, place = np.ones(size), int(rng.integers(250, 700))
        if number < 4:
            night[place] += np.log(rng.uniform(1.2, 1.6))
            busy[place : place + 3] = [30, 10, 5]
            calm = slice(place + 1, place + 90)
            night[calm] = 0.0004 * rng.normal(size=89)
            day[calm] = 0.0006 * rng.normal(size=89)
            if number % 2:  # it breaks
                night[place + 90] += np.log(0.7)
                busy[place + 90 : place + 92] = [20, 8]
            else:
                night, day, busy = night[: place + 90], day[: place + 90], busy[: place + 90]
        elif number < 7:  # a spin-off: 8 to 22 % go, everybody trades
            night[place] += np.log(rng.uniform(0.78, 0.92))
            busy[place : place + 3] = [6, 3, 2]
        own = days[: len(night)]
        columns = _bars(rng, own, night, day, float(rng.uniform(20, 80)), 0.01, 1.5e6, busy=busy)
        if number >= 7:  # three sessions without a trade, then news
            halted = np.zeros(len(own), dtype=bool)
            halted[place : place + 3] = True
            _flat(columns, halted)
            columns["volume"][place + 3] *= 8
        made.bars[symbol] = columns
    ends = [(n, f"M{n:02}", made.bars[f"M{n:02}"]["at"][0], _last(made.bars[f"M{n:02}"], days)) for n in range(10)]
    made.listings = pd.DataFrame(ends, columns=["instrument", "symbol", "first", "last"])
    return made


def _last(columns: Columns, days: np.ndarray) -> object:
    return pd.NaT if columns["at"][-1] == days[-1] else columns["at"][-1]


# ---- where and how long --------------------------------------------------------------------------------------


def _abroad(exchange: str, tick: float, level: float) -> Make:
    def make(rng: Rng) -> Market:
        made = _market(f"{exchange}, prices about {level:g}", exchange)
        days = _days(exchange, "2016-01-05", "2019-12-30")
        size = len(days)
        market = _heston(rng, size, 0.008) * rng.standard_t(4, size) / np.sqrt(2)
        for number in range(12):
            night, day = _parts(rng, _heston(rng, size, rng.uniform(0.008, 0.03)))
            made.bars[f"X{number:02}"] = _bars(
                rng, days, night + 0.4 * market, day + 0.6 * market, level * float(rng.lognormal(0, 0.9)), tick, 6e5
            )
        return made

    return make


def _short(sessions: int, symbols: int) -> Make:
    def make(rng: Rng) -> Market:
        made = _market(f"{symbols} symbols, {sessions} sessions", "XNYS")
        days = _days("XNYS", "2019-03-01", "2019-12-31")[:sessions]
        for number in range(symbols):
            night, day = _parts(rng, _heston(rng, len(days), rng.uniform(0.01, 0.03)))
            made.bars[f"T{number}"] = _bars(rng, days, night, day, float(rng.uniform(8, 200)), 0.01, 1e6)
        return made

    return make


def _coins(rng: Rng) -> Market:
    """Seven days a week, 4 to 7 % a day, prices from 30,000 down to 0.00002."""
    made = _market("coins, every day", "24/7")
    days = _days("24/7", "2018-01-01", "2021-12-31")
    size = len(days)
    market = _heston(rng, size, 0.035) * rng.standard_t(3, size) / np.sqrt(3)
    kinds = [("BTC", 9000.0, 0.01), ("ETH", 400.0, 0.01), ("XRP", 0.4, 1e-5), ("SHIB", 0.00002, 1e-8)]
    for symbol, start, tick in kinds:
        night, day = _parts(rng, _heston(rng, size, 0.03), 3.0)
        night[:] = 0.002 * rng.normal(size=size)  # there is no night
        made.bars[symbol] = _bars(rng, days, night, day + market, start, tick, 5e5)
    return made


# ---- by the minute -------------------------------------------------------------------------------------------


def _grid(exchange: str, first: str, last: str) -> list[np.ndarray]:
    from workbench.data.quality.tape import Hours

    hours = Hours(calendar(exchange), *(int(np.datetime64(day, "D").astype(int)) for day in (first, last)))
    grids = []
    for session in range(len(hours.day)):
        grid = np.arange(hours.open[session], hours.close[session], 60_000_000_000)
        if hours.break_start[session] >= 0:
            grid = grid[(grid < hours.break_start[session]) | (grid >= hours.break_end[session])]
        grids.append(grid)
    return grids


def _by_minute(
    name: str, exchange: str, first: str, last: str, share: tuple[float, float], tick: float, sigma: float
) -> Make:
    def make(rng: Rng) -> Market:
        made = Market(name, {}, calendar(exchange), "minute")
        grids = _grid(exchange, first, last)
        for number in range(3):
            chance = rng.uniform(*share)
            kept, nights, vols = [], [], []
            for grid in grids:
                # Trades come in bursts: whether a minute has one depends on the minute before.
                state = np.empty(len(grid), dtype=bool)
                draws = rng.random(len(grid))
                stay = 0.25
                state[0] = True
                for t in range(1, len(grid)):
                    state[t] = draws[t] < (stay + (1 - stay) * chance if state[t - 1] else (1 - stay) * chance)
                if chance >= 1:
                    state[:] = True
                kept.append(grid[state])
                nights.append(np.r_[1.0, np.zeros(state.sum() - 1)])
                smile = 1 + 1.5 * np.linspace(-1, 1, len(grid)) ** 2
                vols.append(smile[state] * np.exp(0.3 * rng.normal()))
            at, first_of, vol = np.concatenate(kept), np.concatenate(nights), np.concatenate(vols) * sigma
            night = np.where(
                first_of > 0, 12 * sigma * rng.standard_t(3, len(at)), 0.1 * sigma * rng.normal(size=len(at))
            )
            day = vol * rng.standard_t(3.5, len(at)) * 0.65
            columns = _bars(rng, at.view("datetime64[ns]"), night, day, float(rng.uniform(12, 200)), tick, 900, steps=6)
            made.bars[f"B{number}"] = columns
        return made

    return make


_SCENES = (
    _unlike,
    _splits,
    _payers,
    _crash("a crash as on 1987-10-19", "1992-10-19", [-0.22, 0.05, 0.09, -0.04], 12, 0.125),
    _crash("two symbols in a crash as of 1987", "1992-10-19", [-0.22, 0.05, 0.09, -0.04], 2, 0.125),
    _crash(
        "March 2020", "2020-03-09",
        [-0.076, 0.049, -0.049, -0.095, 0.092, -0.12, 0.06, -0.052, 0.005, -0.043, -0.029, 0.094], 12, 0.01,
    ),
    _crash("one symbol in March 2020", "2020-03-09", [-0.076, 0.049, -0.049, -0.095, 0.092, -0.12, 0.06], 1, 0.01),
    _flash,
    _deals,
    _abroad("XLON", 0.5, 400.0),
    _abroad("XTKS", 1.0, 2000.0),
    _short(30, 2),
    _short(60, 5),
    _coins,
    _by_minute("busy ones of New York", "XNYS", "2020-11-16", "2020-12-04", (1.0, 1.0), 0.01, 0.0006),
    _by_minute("Tokyo by the minute", "XTKS", "2021-03-01", "2021-03-19", (1.0, 1.0), 0.5, 0.0006),
    _by_minute("thin ones of New York", "XNYS", "2020-11-16", "2020-12-31", (0.25, 0.6), 0.01, 0.001),
    _by_minute("very thin ones of London", "XLON", "2021-03-01", "2021-04-30", (0.04, 0.15), 0.05, 0.0015),
    _by_minute("coins by the minute", "24/7", "2021-05-01", "2021-05-14", (1.0, 1.0), 0.01, 0.001),
)  # fmt: skip
