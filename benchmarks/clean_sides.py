"""One side of ``bench_clean``, in a process of its own: ``python clean_sides.py ours|pandas ROWS FILE``.

It makes minute bars of 100 symbols with faults put in, cleans them, writes the repaired cells to FILE, and prints the
seconds of rules and repairs and its peak memory as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import quality_reference
from measurement import high_water_kb

from workbench.calendars import calendar
from workbench.data.dataset import FIELDS, no_actions
from workbench.data.rows import BarRows

PRICES = list(FIELDS[:4])
SYMBOLS = 100
MINUTES = 390
FAULTS = 20_000  # bars for one that is wrong, of every kind


def made(rows: int) -> BarRows:
    """Minutes of full sessions on cents, one log-normal path a symbol, and the faults of ``spoil``."""
    sessions = calendar("XNYS").sessions(date(2013, 1, 2), date(2016, 12, 30))
    xnys, wanted = calendar("XNYS"), max(1, rows // (SYMBOLS * MINUTES))
    full = [day for day in sessions if (xnys.close(day) - xnys.open(day)).seconds == MINUTES * 60][:wanted]
    opens = np.array([np.datetime64(xnys.open(day).replace(tzinfo=None), "ns") for day in full])
    times = (opens[:, None] + np.arange(MINUTES) * np.timedelta64(1, "m").astype("timedelta64[ns]")).ravel()
    rng = np.random.default_rng(7)
    size = SYMBOLS * len(times)
    columns = {name: np.empty(size) for name in FIELDS}
    for number in range(SYMBOLS):
        where = slice(number * len(times), (number + 1) * len(times))
        close = np.round(rng.uniform(20, 200) * np.exp(np.cumsum(rng.normal(0, 4e-4, len(times)))), 2)
        open_ = np.r_[close[0], close[:-1]]
        columns["open"][where], columns["close"][where] = open_, close
        columns["high"][where] = np.maximum(open_, close) + 0.01 * rng.integers(0, 4, len(times))
        columns["low"][where] = np.minimum(open_, close) - 0.01 * rng.integers(0, 4, len(times))
        columns["volume"][where] = rng.integers(100, 5_000, len(times))
    spoil(columns, rng, len(times))
    names = tuple(f"S{number:03}" for number in range(SYMBOLS))
    offsets = np.arange(SYMBOLS + 1, dtype=np.int64) * len(times)
    return BarRows(names, offsets, np.tile(times, SYMBOLS), **columns, frequency="minute")


def spoil(columns: dict[str, np.ndarray], rng: np.random.Generator, length: int) -> None:
    """Single bars in cents, swapped ranges, prices of zero; none beside another, none in a symbol's first minutes."""
    size = len(columns["close"])
    places = rng.permutation(np.arange(100, size - 100, 40))
    places = places[(places % length > 100) & (places % length < length - 100)]
    count = max(3, size // FAULTS)
    cents, swapped, zero = (places[kind * count : (kind + 1) * count] for kind in range(3))
    for name in PRICES:
        columns[name][cents] = np.round(columns[name][cents] * 100)
        columns[name][zero] = 0.0
    swapped = swapped[columns["high"][swapped] > columns["low"][swapped]]
    columns["high"][swapped], columns["low"][swapped] = columns["low"][swapped], columns["high"][swapped].copy()


def ours(rows: BarRows) -> pd.DataFrame:
    from workbench.data.cleaning import CleaningPolicy, clean

    cleaned = clean(rows, no_actions(), calendar("XNYS"), CleaningPolicy(bad_value="previous"))
    return cleaned.repairs[["symbol", "at", "field", "old", "new", "rule"]]


def plain_pandas(rows: BarRows) -> pd.DataFrame:
    """The rules of ``quality_reference`` and units, the repairs, and the rules again, as one writes them in pandas.

    Everything is a column or a groupby; no loop over bars.
    """
    xnys = calendar("XNYS")
    frame = rows.frame()
    raw = frame.copy()
    found = quality_reference.findings(frame, xnys)
    bad, disorder = (_where(frame, found, rule) for rule in ("bad_value", "price_order"))
    good = frame["close"].where(~bad)
    before = good.groupby(frame["symbol"]).shift().groupby(frame["symbol"]).ffill()
    cents = (np.log(good / before) - np.log(100)).abs() < 0.4
    rule = pd.Series("", index=frame.index).mask(bad, "bad_value").mask(cents, "unit_error")
    rule = rule.mask(disorder, "price_order")
    frame.loc[cents, PRICES] = (frame.loc[cents, PRICES] / 100).round(4)
    frame.loc[bad, PRICES] = np.column_stack([before[bad]] * 4)
    high, low = frame.loc[disorder, PRICES].max(axis=1), frame.loc[disorder, PRICES].min(axis=1)
    frame.loc[disorder, "high"], frame.loc[disorder, "low"] = high, low
    again = quality_reference.findings(frame, xnys)
    if again:
        raise AssertionError(f"pandas left {len(again)} findings, such as {sorted(again)[0]}")
    changed = [
        raw.loc[differs, ["symbol", "at"]].assign(
            field=name, old=raw.loc[differs, name], new=frame.loc[differs, name], rule=rule[differs]
        )
        for name in PRICES
        if (differs := frame[name] != raw[name]).any()
    ]
    return pd.concat(changed, ignore_index=True)


def _where(frame: pd.DataFrame, found: quality_reference.Findings, rule: str) -> pd.Series:
    """The rows that a rule found."""
    told = pd.DataFrame(
        [(symbol, at, True) for name, symbol, at in found if name == rule], columns=["symbol", "at", "x"]
    )
    return frame[["symbol", "at"]].merge(told, how="left", on=["symbol", "at"])["x"].eq(True)


def main(side: str, rows: int, file: Path) -> None:
    work = {"ours": ours, "pandas": plain_pandas}[side]
    work(made(SYMBOLS * MINUTES))  # compiled, imported and warm
    bars = made(rows)
    idle = high_water_kb()
    start = time.perf_counter()
    repairs = work(bars)
    seconds = time.perf_counter() - start
    peak = high_water_kb()
    repairs.sort_values(["symbol", "at", "field"], ignore_index=True).to_pickle(file)
    print(json.dumps({"seconds": seconds, "rows": len(bars), "idle_kb": idle, "peak_kb": peak}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
