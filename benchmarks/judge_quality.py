"""How good are the quality rules? Every fault is put into clean real and made-up markets; precision and recall by rule.

    python benchmarks/judge_quality.py [--seed N] [--repeats N] [--misses] [--markets scenes]

A fault counts as found if its rule tells of the symbol and a session within the fault. A finding of a rule counts as
false if it was not put there: what the clean markets are told of, crashes, halts, real splits and dividends, listings
and penny stocks, is all false. ``misses`` names faults that were not found, and findings that were false.
"""

from __future__ import annotations

import argparse
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from quality_markets import Columns, Market, daily, minutes, sample
from quality_scenes import scenes

from workbench.data.dataset import FIELDS
from workbench.data.quality import RULES, check
from workbench.data.quality.report import Finding

PRICES = FIELDS[:4]
Rng = np.random.Generator


@dataclass(frozen=True)
class Fault:
    """What was put in: its rules (any of them finds it), symbol, first and last moment concerned."""

    rules: tuple[str, ...]
    symbol: str
    first: np.datetime64
    last: np.datetime64


Injector = Callable[[Rng, Market, str], "tuple[np.datetime64, np.datetime64] | None"]


def _place(rng: Rng, columns: Columns, margin: int = 40) -> int | None:
    size = len(columns["at"])
    margin = min(margin, size // 4)
    return None if margin < 7 else int(rng.integers(margin, size - margin))


def _span(columns: Columns, first: int, stop: int) -> tuple[np.datetime64, np.datetime64]:
    return columns["at"][first], columns["at"][min(stop, len(columns["at"])) - 1]


def _drop(columns: Columns, gone: np.ndarray) -> None:
    for name in list(columns):
        columns[name] = columns[name][~gone]


def _insert(columns: Columns, place: int, at: np.datetime64, change: float = 1.0) -> None:
    for name in FIELDS:
        value = columns[name][place] * (change if name == "close" else 1.0)
        columns[name] = np.insert(columns[name], place + 1, value)
    columns["at"] = np.insert(columns["at"], place + 1, at)


def missing(rng: Rng, market: Market, symbol: str):
    columns = market.bars[symbol]
    place = _place(rng, columns)
    if place is None:
        return None
    stop = place + int(rng.integers(1, 9))
    span = _span(columns, place, stop)
    gone = np.zeros(len(columns["at"]), dtype=bool)
    gone[place:stop] = True
    _drop(columns, gone)
    return span


def extra_day(rng: Rng, market: Market, symbol: str):
    columns = market.bars[symbol]
    holes = np.flatnonzero(np.diff(columns["at"]) > np.timedelta64(1, "D"))
    if not len(holes):
        return None
    place = int(rng.choice(holes))
    at = columns["at"][place] + np.timedelta64(1, "D")
    _insert(columns, place, at)
    return at, at


def extra_minute(rng: Rng, market: Market, symbol: str):
    columns = market.bars[symbol]
    last = np.flatnonzero(np.diff(columns["at"]) > np.timedelta64(6, "h"))
    if not len(last):  # it trades around the clock
        return None
    place = int(rng.choice(last))
    at = columns["at"][place] + np.timedelta64(int(rng.integers(5, 60)), "m")
    _insert(columns, place, at)
    return at, at


def duplicate(change: float) -> Injector:
    def inject(rng: Rng, market: Market, symbol: str):
        columns = market.bars[symbol]
        place = _place(rng, columns)
        if place is None:
            return None
        _insert(columns, place, columns["at"][place], change)
        return _span(columns, place, place + 1)

    return inject


def value(fields: Iterable[str], make: Callable[[Rng, float], float]) -> Injector:
    def inject(rng: Rng, market: Market, symbol: str):
        columns = market.bars[symbol]
        place = _place(rng, columns)
        if place is None or columns["volume"][place] == 0:
            return None
        for name in fields:
            columns[name][place] = make(rng, columns[name][place])
        return _span(columns, place, place + 1)

    return inject


def disorder(rng: Rng, market: Market, symbol: str):
    columns = market.bars[symbol]
    place = _place(rng, columns)
    if place is None or columns["volume"][place] == 0 or columns["high"][place] < columns["low"][place] * 1.0005:
        return None
    columns["high"][place], columns["low"][place] = columns["low"][place], columns["high"][place]
    return _span(columns, place, place + 1)


def stale(rng: Rng, market: Market, symbol: str):
    columns = market.bars[symbol]
    place = _place(rng, columns)
    if place is None or (columns["volume"][place - 1 : place + 12] == 0).any():
        return None
    stop = place + int(rng.integers(6, 12) if market.frequency == "daily" else rng.integers(10, 30))
    for name in PRICES:
        columns[name][place:stop] = columns["close"][place - 1]
    return _span(columns, place, stop)


def repeated(rng: Rng, market: Market, symbol: str):
    """The same whole bar again and again, volume too."""
    columns = market.bars[symbol]
    place = _place(rng, columns)
    if place is None or columns["volume"][place - 1] == 0:
        return None
    stop = place + int(rng.integers(4, 10) if market.frequency == "daily" else rng.integers(10, 30))
    for name in FIELDS:
        columns[name][place:stop] = columns[name][place - 1]
    return _span(columns, place, stop)


def _sigma(columns: Columns, place: int) -> float:
    close = columns["close"][max(0, place - 60) : place + 60]
    moves = np.diff(np.log(close))
    return max(1.4826 * float(np.median(np.abs(moves))), 1e-4)


def spike(fields: tuple[str, ...]) -> Injector:
    """Off by 10 to 25 robust standard deviations; high and low are stretched so that the order holds."""

    def inject(rng: Rng, market: Market, symbol: str):
        columns = market.bars[symbol]
        place = _place(rng, columns)
        if place is None or columns["volume"][place] == 0 or columns["close"][place] < 3:
            return None
        least = 0.03 if market.frequency == "daily" else 0.008
        size = max(rng.uniform(10, 25) * _sigma(columns, place), least)
        factor = np.exp(size if rng.random() < 0.5 else -min(size, 1.0))
        for name in fields:
            columns[name][place] *= factor
        stack = [columns[name][place] for name in PRICES]
        columns["high"][place], columns["low"][place] = max(stack), min(stack)
        return _span(columns, place, place + 1)

    return inject


def units(fields: tuple[str, ...], bars: tuple[int, int]) -> Injector:
    def inject(rng: Rng, market: Market, symbol: str):
        columns = market.bars[symbol]
        place = _place(rng, columns)
        if place is None:
            return None
        stop = min(place + int(rng.integers(*bars)), len(columns["at"]))
        factor = rng.choice([100.0, 1000.0, 0.01, 0.001])
        for name in fields:
            columns[name][place:stop] *= factor
        return _span(columns, place, stop)

    return inject


def _scale(market: Market, symbol: str, place: int, ratio: float, *, volume: bool) -> None:
    columns = market.bars[symbol]
    for name in PRICES:
        columns[name][place:] /= ratio
    if volume:
        columns["volume"][place:] *= ratio


def unapplied(*, volume: bool) -> Injector:
    def inject(rng: Rng, market: Market, symbol: str):
        columns = market.bars[symbol]
        place = _place(rng, columns)
        if place is None:
            return None
        _scale(market, symbol, place, float(rng.choice([1.5, 2, 3, 4, 5, 7, 10, 20, 0.5, 0.2, 0.1])), volume=volume)
        return _span(columns, place, place + 1)

    return inject


def lost_record(rng: Rng, market: Market, symbol: str):
    """A real split whose record is gone."""
    kept = [a for a in market.actions if a[0] == symbol and a[2] == "split"]
    if not kept:
        return None
    market.actions.remove(kept[0])
    return np.datetime64(kept[0][1], "ns"), np.datetime64(kept[0][1], "ns")


def phantom(rng: Rng, market: Market, symbol: str):
    columns = market.bars[symbol]
    place = _place(rng, columns)
    if place is None or any(a[0] == symbol and a[2] == "split" for a in market.actions):
        return None
    market.actions.append((symbol, columns["at"][place], "split", float(rng.choice([1.5, 2, 3, 5, 0.2]))))
    return _span(columns, place, place + 1)


def wrong_ratio(rng: Rng, market: Market, symbol: str):
    kept = [a for a in market.actions if a[0] == symbol and a[2] == "split"]
    if not kept:
        return None
    action = kept[0]
    market.actions[market.actions.index(action)] = (*action[:3], 1 / action[3])
    return np.datetime64(action[1], "ns"), np.datetime64(action[1], "ns")


def twice(rng: Rng, market: Market, symbol: str):
    """Prices divided once more by a split that is in them."""
    kept = [a for a in market.actions if a[0] == symbol and a[2] == "split"]
    if not kept:
        return None
    columns = market.bars[symbol]
    place = int(np.searchsorted(columns["at"], kept[0][1]))
    _scale(market, symbol, place, kept[0][3], volume=False)
    return _span(columns, place, place + 1)


def adjusted(*, volume: bool) -> Injector:
    """Prices before a split divided by it, rounded as vendors do; the split is still listed."""

    def inject(rng: Rng, market: Market, symbol: str):
        kept = [a for a in market.actions if a[0] == symbol and a[2] == "split"]
        if not kept:
            return None
        columns = market.bars[symbol]
        place = int(np.searchsorted(columns["at"], kept[0][1]))
        for name in PRICES:
            columns[name][:place] = np.round(columns[name][:place] / kept[0][3], 6)
        if volume:
            columns["volume"][:place] *= kept[0][3]
        return _span(columns, 0, place + 1)

    return inject


def volume_adjusted(rng: Rng, market: Market, symbol: str):
    kept = [a for a in market.actions if a[0] == symbol and a[2] == "split" and max(a[3], 1 / a[3]) >= 2]
    if not kept:
        return None
    columns = market.bars[symbol]
    place = int(np.searchsorted(columns["at"], kept[0][1]))
    if min(place, len(columns["at"]) - place) < 40:
        return None
    columns["volume"][:place] *= kept[0][3]
    return _span(columns, 0, place + 1)


def _dividend(rng: Rng, market: Market, symbol: str) -> int | None:
    kept = [i for i, a in enumerate(market.actions) if a[0] == symbol and a[2] == "dividend"]
    return int(rng.choice(kept[1:-1])) if len(kept) >= 6 else None


def dividend_units(rng: Rng, market: Market, symbol: str):
    """Cents for dollars, or the reverse."""
    index = _dividend(rng, market, symbol)
    if index is None:
        return None
    action = market.actions[index]
    market.actions[index] = (*action[:3], action[3] * float(rng.choice([100.0, 0.01, 10.0])))
    return np.datetime64(action[1], "ns"), np.datetime64(action[1], "ns")


def dividend_moved(rng: Rng, market: Market, symbol: str):
    """An ordinary dividend 25 to 40 days late, or on a day without a session."""
    index = _dividend(rng, market, symbol)
    if index is None:
        return None
    action = market.actions[index]
    if rng.random() < 0.5:
        day = np.datetime64(action[1], "ns") + np.timedelta64(int(rng.integers(25, 40)), "D")
        while day not in market.bars[symbol]["at"]:
            day += np.timedelta64(1, "D")
    else:
        day = np.datetime64(action[1], "ns")
        while day in market.bars[symbol]["at"]:
            day += np.timedelta64(1, "D")
    market.actions[index] = (symbol, day, *action[2:])
    return day, day + np.timedelta64(7, "D")


def special_moved(rng: Rng, market: Market, symbol: str):
    kept = [a for a in market.actions if a[0] == symbol and a[2] == "special_dividend"]
    if not kept:
        return None
    at = market.bars[symbol]["at"]
    place = int(np.searchsorted(at, kept[0][1])) + int(rng.choice([-3, -2, 2, 3]))
    if not 0 < place < len(at):
        return None
    market.actions[market.actions.index(kept[0])] = (symbol, at[place], *kept[0][2:])
    return at[place], at[place]


def reuse(rng: Rng, market: Market, symbol: str):
    columns = market.bars[symbol]
    place = _place(rng, columns, 60)
    if place is None or place < 50:
        return None
    gone = np.zeros(len(columns["at"]), dtype=bool)
    gone[place - 30 : place] = True
    level = float(rng.choice([8.0, 15.0, 0.12, 0.07]))
    for name in PRICES:
        columns[name][place:] *= level
    _drop(columns, gone)
    return _span(columns, place - 30, place - 29)


def dropped(rng: Rng, market: Market, symbol: str):
    columns = market.bars[symbol]
    ends = max(bars["at"][-1] for bars in market.bars.values())
    if columns["at"][-1] != ends or len(market.bars) == 1 or len(columns["at"]) < 50:
        return None
    place = len(columns["at"]) - int(rng.integers(3, 40))
    span = _span(columns, place, len(columns["at"]))
    _drop(columns, np.arange(len(columns["at"])) >= place)
    return span


def hours_off(rng: Rng, market: Market, symbol: str):
    columns = market.bars[symbol]
    days = np.unique(columns["at"].astype("datetime64[D]"))
    first = days[int(rng.integers(1, max(2, len(days) - 6)))]
    last = first + np.timedelta64(int(rng.integers(4, 12)), "D")
    inside = (columns["at"] >= first) & (columns["at"] < last)
    span = columns["at"][inside][[0, -1]]
    columns["at"][inside] += np.timedelta64(int(rng.choice([-60, 60, -240, -300])), "m")
    return span[0], span[1]


def days_off(rng: Rng, market: Market, symbol: str):
    columns = market.bars[symbol]
    size = len(columns["at"])
    if size < 200 or market.calendar.name == "24/7":
        return None
    first, stop = (0, size) if rng.random() < 0.5 else (size // 2, size)
    columns["at"][first:stop] -= np.timedelta64(1, "D")
    keep = np.r_[True, columns["at"][1:] != columns["at"][:-1]]
    _drop(columns, ~keep)
    return _span(columns, first, len(columns["at"]))


DAILY: dict[str, tuple[tuple[str, ...], Injector]] = {
    "missing sessions": (("missing_sessions",), missing),
    "extra session": (("extra_session",), extra_day),
    "duplicate, the same": (("duplicate",), duplicate(1.0)),
    "duplicate, conflicting": (("conflicting_duplicate",), duplicate(1.01)),
    "price not above zero": (("bad_value",), value(("low",), lambda rng, v: float(rng.choice([0.0, -1.0])))),
    "missing price": (("bad_value",), value(("close",), lambda rng, v: np.nan)),
    "absurd price": (("absurd_price", "unit_error"), value(PRICES, lambda rng, v: 1e9)),
    "high and low swapped": (("price_order",), disorder),
    "zero volume": (("zero_volume",), value(("volume",), lambda rng, v: 0.0)),
    "stale run": (("stale_run",), stale),
    "whole bars repeated": (("stale_run",), repeated),
    "outlier, whole bar": (("outlier", "split_like_move"), spike(PRICES)),
    "outlier, close": (("outlier", "split_like_move"), spike(("close",))),
    "outlier, high or low": (("outlier", "split_like_move"), spike(("high",))),
    "units, one bar": (("unit_error",), units(PRICES, (1, 2))),
    "units, a stretch": (("unit_error",), units(PRICES, (2, 30))),
    "units, to the end": (("unit_error",), units(PRICES, (10_000, 10_001))),
    "units, close only": (("unit_error",), units(("close",), (1, 2))),
    "units, volume": (("unit_error",), units(("volume",), (1, 30))),
    "unapplied split": (("unapplied_split",), unapplied(volume=True)),
    "unapplied split, volume as it was": (("unapplied_split",), unapplied(volume=False)),
    "record of a split lost": (("unapplied_split",), lost_record),
    "phantom split": (("split_not_in_price",), phantom),
    "split upside down": (("split_not_in_price",), wrong_ratio),
    "split applied twice": (("split_applied_twice",), twice),
    "prices adjusted": (("pre_adjusted", "split_not_in_price"), adjusted(volume=False)),
    "prices and volume adjusted": (("pre_adjusted", "split_not_in_price"), adjusted(volume=True)),
    "volume adjusted": (("volume_adjusted",), volume_adjusted),
    "dividend in other units": (("wrong_dividend",), dividend_units),
    "dividend misplaced": (("misplaced_dividend",), dividend_moved),
    "special dividend misplaced": (("misplaced_dividend",), special_moved),
    "ticker reused": (("ticker_reuse",), reuse),
    "dropped out": (("dropped_out",), dropped),
    "dated a day early": (("time_zone_shift",), days_off),
}
MINUTE: dict[str, tuple[tuple[str, ...], Injector]] = {
    "missing minutes": (("missing_minutes", "missing_sessions"), missing),
    "extra minute": (("extra_minutes",), extra_minute),
    "duplicate, the same": (("duplicate",), duplicate(1.0)),
    "duplicate, conflicting": (("conflicting_duplicate",), duplicate(1.01)),
    "price not above zero": (("bad_value",), value(("low",), lambda rng, v: 0.0)),
    "high and low swapped": (("price_order",), disorder),
    "zero volume": (("zero_volume",), value(("volume",), lambda rng, v: 0.0)),
    "stale run": (("stale_run",), stale),
    "whole bars repeated": (("stale_run",), repeated),
    "outlier, whole bar": (("outlier",), spike(PRICES)),
    "outlier, close": (("outlier",), spike(("close",))),
    "outlier, high or low": (("outlier",), spike(("high",))),
    "units, one bar": (("unit_error",), units(PRICES, (1, 2))),
    "units, a stretch": (("unit_error",), units(PRICES, (2, 300))),
    "hours off": (("time_zone_shift",), hours_off),
}


def markets(seed: int) -> list[Market]:
    rng = np.random.default_rng(seed)
    return [
        sample(),
        daily(rng, "5 of New York", "XNYS", 5, "2012-01-03", "2021-12-31"),
        daily(rng, "60 of London", "XLON", 60, "2016-01-04", "2020-12-31"),
        daily(rng, "30 of Tokyo", "XTKS", 30, "2015-01-05", "2018-12-28"),
        daily(rng, "500 of New York", "XNYS", 500, "2019-01-02", "2021-06-30"),
        minutes(rng, "8 of New York by the minute", "XNYS", 8, "2020-10-12", "2020-11-30"),
        minutes(rng, "4 of Hong Kong by the minute", "XHKG", 4, "2021-01-25", "2021-02-26"),
        minutes(rng, "4 quiet ones of London by the minute", "XLON", 4, "2021-03-01", "2021-04-09", share=0.6),
    ]


def _chosen(which: str, seed: int) -> list[Market]:
    chosen = markets(seed) if which != "scenes" else []
    return chosen if which == "markets" else [*chosen, *scenes(seed)]


def judge(market: Market, most: int | None = None) -> list[Finding]:
    """Every finding on a market."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = check(market.rows(), market.action_frame(), market.calendar, listings=market.listings, most=most)
    return list(report.told)


def put(rng: Rng, market: Market, rules: tuple[str, ...], inject: Injector) -> tuple[Market, list[Fault]]:
    """A copy with the fault in half of its symbols, ten at most."""
    broken, faults = market.copy(), []
    symbols = rng.permutation(list(market.bars))[: max(1, len(market.bars) // 2)]
    for symbol in symbols:
        if len(faults) == 10:
            break
        span = inject(rng, broken, str(symbol))
        if span is not None:
            faults.append(Fault(rules, str(symbol), *span))
    return broken, faults


def matches(finding: Finding, fault: Fault) -> bool:
    week = np.timedelta64(1, "D")
    return (
        finding.rule in fault.rules
        and finding.symbol == fault.symbol
        and finding.session <= fault.last + week
        and finding.last >= fault.first - week
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--misses", action="store_true")
    parser.add_argument("--only", default="", help="faults whose name has this")
    parser.add_argument("--markets", choices=("all", "markets", "scenes"), default="all")
    parser.add_argument("--where", default="", help="markets whose name has this")
    asked = parser.parse_args()
    table: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3, dtype=int))
    false: dict[str, int] = defaultdict(int)
    bars = 0
    for repeat in range(asked.repeats):
        rng = np.random.default_rng((asked.seed, repeat))
        for market in _chosen(asked.markets, asked.seed + repeat):
            if asked.where not in market.name:
                continue
            clean = {(f.rule, f.symbol, f.at, f.field) for f in judge(market)}
            bars += sum(len(columns["at"]) for columns in market.bars.values())
            for rule, symbol, at, field in sorted(clean, key=str):
                false[rule] += 1
                if asked.misses:
                    print(f"false    {market.name}: {rule} {symbol} {at} {field}")
            for name, (rules, inject) in (DAILY if market.frequency == "daily" else MINUTE).items():
                if asked.only not in name:
                    continue
                broken, faults = put(rng, market, rules, inject)
                told = judge(broken)
                for fault in faults:
                    found = any(matches(finding, fault) for finding in told)
                    table[name] += (1, found, 0)
                    if asked.misses and not found:
                        about = [
                            f"{f.rule} {f.day}"
                            for f in told
                            if f.symbol == fault.symbol and (f.rule, f.symbol, f.at, f.field) not in clean
                        ]
                        where = f"{market.name}: {name} {fault.symbol} {fault.first} {fault.last}"
                        print(f"missed   {where}; told {about[:4]}")
                for finding in told:
                    known = (finding.rule, finding.symbol, finding.at, finding.field) in clean
                    own = any(
                        f.symbol == finding.symbol
                        and finding.session <= f.last + np.timedelta64(9, "D")
                        and finding.last >= f.first - np.timedelta64(9, "D")
                        for f in faults
                    )
                    if not known and not own:
                        table[name] += (0, 0, 1)
                        if asked.misses:
                            print(f"besides  {market.name}: {name}: {finding}")
    print(f"{bars:,} clean bars; false findings on them: {dict(false) or 'none'}\n")
    print(f"{'fault':36}{'put in':>8}{'found':>8}{'recall':>9}{'elsewhere':>11}")
    for name, (injected, found, besides) in table.items():
        print(f"{name:36}{injected:8}{found:8}{found / max(injected, 1):9.1%}{besides:11}")
    unknown = {rule for rules, _ in [*DAILY.values(), *MINUTE.values()] for rule in rules} - set(RULES)
    assert not unknown, unknown


if __name__ == "__main__":
    main()
