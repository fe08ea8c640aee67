"""Rules about bars by the minute in plain pandas, as one would write them: what the product's own are held against.

Frames are sorted by symbol and time. Every function returns (rule, symbol, at) of what it finds.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from workbench.calendars import Calendar

PRICES = ["open", "high", "low", "close"]
Findings = set[tuple[str, str, pd.Timestamp]]
_COVERED = (
    "bad_value", "price_order", "absurd_price", "zero_volume", "duplicate", "conflicting_duplicate",
    "missing_minutes", "extra_minutes", "stale_run", "outlier",
)  # fmt: skip


def covered() -> tuple[str, ...]:
    """The rules that are written here."""
    return _COVERED


def findings(frame: pd.DataFrame, calendar: Calendar) -> Findings:
    """All of it."""
    found = _values(frame) | _duplicates(frame) | _hours(frame, calendar)
    good = frame[_good(frame)].drop_duplicates(["symbol", "at"])
    good = good.assign(move=np.log(good["close"]).groupby(good["symbol"]).diff())
    return found | _stale(good) | _outliers(good)


def _told(rule: str, rows: pd.DataFrame) -> Findings:
    return {(rule, str(symbol), at) for symbol, at in zip(rows["symbol"], rows["at"], strict=True)}


def _good(frame: pd.DataFrame) -> pd.Series[bool]:
    finite = np.isfinite(frame[[*PRICES, "volume"]]).all(axis=1)
    return finite & (frame[PRICES] > 0).all(axis=1) & (frame["volume"] >= 0)


def _values(frame: pd.DataFrame) -> Findings:
    good = _good(frame)
    bars = frame[good]
    ends = bars[["open", "close"]]
    disorder = (bars["high"] < ends.max(axis=1)) | (bars["low"] > ends.min(axis=1))
    absurd = (bars["high"] > 1e7) | (bars["low"] < 1e-9) | (bars["high"] > 20 * bars["low"])
    before = frame["close"].groupby(frame["symbol"]).shift().fillna(frame["open"])
    flat = (frame["high"] == frame["low"]) & (frame["close"] == before)
    untraded = good & (frame["volume"] == 0) & ~flat
    return (
        _told("bad_value", frame[~good]) | _told("price_order", bars[disorder]) | _told("absurd_price", bars[absurd])
        | _told("zero_volume", frame[untraded])
    )  # fmt: skip


def _duplicates(frame: pd.DataFrame) -> Findings:
    again = frame.duplicated(["symbol", "at"])
    same = frame.duplicated(["symbol", "at", *PRICES, "volume"])
    return _told("duplicate", frame[again & same]) | _told("conflicting_duplicate", frame[again & ~same])


def _hours(frame: pd.DataFrame, calendar: Calendar) -> Findings:
    """Gaps and bars outside the hours; of symbols that have 95 % of all minutes in their median session."""
    first, last = frame["at"].min().date(), frame["at"].max().date()
    grids = []
    for session in calendar.sessions(first, last):
        grid = pd.date_range(calendar.open(session), calendar.close(session), freq="min", inclusive="left")
        grids.append(pd.DataFrame({"session": pd.Timestamp(session), "at": grid.tz_localize(None)}))
    minutes = pd.concat(grids, ignore_index=True)
    found: Findings = set()
    for symbol, bars in frame.groupby("symbol"):
        at = bars["at"].drop_duplicates()
        there = minutes["at"].isin(at)
        assert there.groupby(minutes["session"]).mean().median() >= 0.95
        run = (there != there.shift()).cumsum() + 1_000_000 * minutes.groupby("session").ngroup()
        gaps = minutes[~there].groupby(run[~there])["at"].first()
        found |= {("missing_minutes", str(symbol), gap) for gap in gaps}
        outside = at[~at.isin(minutes["at"])]
        found |= {("extra_minutes", str(symbol), day) for day in outside.groupby(outside.dt.normalize()).first()}
    return found


def _stale(good: pd.DataFrame) -> Findings:
    found: Findings = set()
    for symbol, bars in good.groupby("symbol"):
        before = bars.shift()
        flat = (bars["high"] == bars["low"]) & (bars["open"] == bars["high"])
        same = (bars[["open", "high", "low"]] == before[["open", "high", "low"]]).all(axis=1)
        repeats = ((bars["close"] == before["close"]) & (flat | same) & (bars["volume"] > 0)).iloc[1:]
        run = (repeats != repeats.shift()).cumsum()
        sizes = repeats.groupby(run).agg(["first", "size"])
        starts = (~run.duplicated()).to_numpy().nonzero()[0]
        long = (sizes["first"] & (sizes["size"] >= 3)).to_numpy()
        blocks = repeats.to_numpy()[: len(repeats) // 60 * 60].reshape(-1, 60).mean(axis=1)
        quiet = np.quantile(blocks, 0.9) if len(blocks) >= 8 else 0.0
        for place, size in zip(starts[long], sizes["size"].to_numpy()[long], strict=True):
            near = pd.concat([repeats.iloc[max(0, place - 60) : place], repeats.iloc[place + size : place + size + 60]])
            others = (repeats.sum() - size) / (len(repeats) - size)
            share = max(others, near.mean(), quiet)
            usual = max(0.02, share, np.exp(-(np.pi**3) / 4 * (1 - share) ** 2))
            if len(repeats) * usual**size < 1e-3:
                found.add(("stale_run", str(symbol), bars.loc[repeats.index[place], "at"]))
    return found


def _outliers(good: pd.DataFrame) -> Findings:
    """Closes, opens and wicks that leave the others and come back, on ordinary turnover, without the market."""
    wide = good.pivot(index="at", columns="symbol", values="move")
    high = good.pivot(index="at", columns="symbol", values="high")
    low = good.pivot(index="at", columns="symbol", values="low")
    close = good.pivot(index="at", columns="symbol", values="close")
    scales = {}
    for symbol, bars in good.groupby("symbol"):
        sizes = bars["move"].abs().fillna(0.0)
        scales[symbol] = max(1e-4, 1.4826 * sizes.iloc[1 :: max(1, len(sizes) // 10_000)].median())
    scale = pd.Series(scales)
    found: Findings = set()
    for symbol, bars in good.groupby("symbol"):
        for at, off in _candidates(bars.reset_index(drop=True), scale[symbol]):
            others = [name for name in wide.columns if name != symbol and not np.isnan(wide.at[at, name])]
            before = close.loc[:at, others].iloc[-2]
            reach = high.loc[at, others] if off > 0 else low.loc[at, others]
            moved = np.maximum(wide.loc[at, others] * np.sign(off), np.log(reach / before) * np.sign(off))
            along = (moved > np.maximum(3 * scale[others], min(0.25 * abs(off), 0.08))).sum()
            if not (along >= 2 and along >= 0.25 * len(others)):
                found.add(("outlier", str(symbol), at))
    return found


def _candidates(bars: pd.DataFrame, scale: float) -> list[tuple[pd.Timestamp, float]]:
    move, out = bars["move"], bars["move"].shift(-1)
    floor, made = max(0.004, 4 * scale), []
    log_close, log_open = np.log(bars["close"]), np.log(bars["open"])
    size = np.minimum(move.abs(), out.abs())
    at_open = log_open.shift(-1) - log_close
    close = (size > floor) & (move * out < 0) & ((move + out).abs() <= 0.35 * size)
    close &= (move + at_open).abs() <= 0.5 * size
    made += [(row, float(move[row]), float(size[row]), "close") for row in np.flatnonzero(close)]
    gap = log_open - log_close.shift()
    opened = (gap.abs() > floor) & (move.abs() <= 0.35 * gap.abs()) & (bars.index < len(bars) - 1)
    middle = 0.5 * (log_open + log_close)
    beyond = np.where(gap > 0, np.log(bars["low"]) > middle, np.log(bars["high"]) < middle)
    made += [(row, float(gap[row]), abs(float(gap[row])), "open") for row in np.flatnonzero(opened & ~beyond)]
    for sign, name, reach in (
        (1, "high", bars["high"] / bars[["open", "close"]].max(axis=1)),
        (-1, "low", bars[["open", "close"]].min(axis=1) / bars["low"]),
    ):
        for row in np.flatnonzero(reach > 1 + max(0.008, 4 * scale)):
            around = reach.iloc[max(0, row - 30) : row + 31].drop(row)
            wick = float(np.log(reach[row]))
            if wick > 2.5 * np.log(around.max()) and wick > 2 * abs(float(move[row])):
                made.append((row, sign * wick, wick, name))
    kept = []
    for row, off, reached, name in made:
        near = pd.concat([move.iloc[max(1, row - 30) : row], move.iloc[row + 2 : row + 32]]).abs()
        volume = pd.concat([bars["volume"].iloc[max(0, row - 30) : row], bars["volume"].iloc[row + 2 : row + 32]])
        ordinary = not bars["volume"][row] > 4 * volume.median()
        steps = bars["close"].iloc[max(0, row - 30) : row + 31].diff().abs()
        distance = bars[name][row] * abs(1 - np.exp(-off))
        far = distance > 3.5 * steps[steps > 0].min() or not (steps > 0).any()
        if reached > 8 * max(1.4826 * near.median(), 0.5 * scale) and ordinary and far:
            kept.append((bars["at"][row], off))
    return kept
