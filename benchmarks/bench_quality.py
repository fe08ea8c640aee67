"""All quality rules over ten million bars by the minute, against the same findings in plain pandas; and small checks.

The bars have faults of every kind that both know, and both must find the same ones, or the benchmark fails. The
reference covers the rules that look at every bar; ours run all of theirs, those between sessions too, in the time shown.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import quality_reference
from measurement import Measurement, kept_bytecode, time_process
from quality_markets import ROOT, minutes, sample

from workbench.calendars import calendar
from workbench.data.dataset import FIELDS, no_actions
from workbench.data.quality import check
from workbench.data.rows import BarRows

SYMBOLS = int(os.environ.get("WORKBENCH_BENCH_SYMBOLS", "100"))  # 100: ten million bars
_FAULTS_EACH = 3


def run() -> list[Measurement]:
    rng = np.random.default_rng(11)
    market = minutes(rng, "New York", "XNYS", SYMBOLS, "2012-01-03", "2013-01-09")
    rows = BarRows.from_frame(_broken(rng, market.bars), "minute")
    start = time.perf_counter()
    report = check(rows, no_actions(), market.calendar, most=None)
    first = time.perf_counter() - start
    times = []
    for _ in range(3):
        start = time.perf_counter()
        report = check(rows, no_actions(), market.calendar, most=None)
        times.append(time.perf_counter() - start)
    ours = min(times)
    frame = rows.frame()
    start = time.perf_counter()
    theirs = quality_reference.findings(frame, market.calendar)
    reference = time.perf_counter() - start
    _same(report, theirs)
    count = f"{len(rows) / 1e6:.1f} million minute bars"
    return [
        Measurement.shown(f"{count}, {len(theirs)} findings: all rules", ours, "s"),
        Measurement.shown("the first time in a process", first, "s"),
        Measurement.shown("the reference in pandas", reference, "s"),
        Measurement.at_least("rules against plain pandas", reference / ours, "x", 20),
        *_small(),
    ]


def _broken(rng: np.random.Generator, bars: dict[str, dict[str, np.ndarray]]) -> pd.DataFrame:
    """Every kind of fault a few times in every tenth symbol, each in a session of its own."""
    frames = []
    for number, (symbol, columns) in enumerate(bars.items()):
        frame = pd.DataFrame(columns).assign(symbol=symbol)
        if number % 10 == 0:
            frame = _one_broken(rng, frame)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _one_broken(rng: np.random.Generator, frame: pd.DataFrame) -> pd.DataFrame:
    prices = list(FIELDS[:4])
    places = iter(rng.permutation(np.arange(200, len(frame) - 400, 390)))
    extra = []
    for _ in range(_FAULTS_EACH):
        frame.loc[next(places), "low"] = -1.0
        row = next(places)
        frame.loc[row, ["high", "low"]] = frame.loc[row, ["low", "high"]].to_numpy() * [0.999, 1.001]
        frame.loc[next(places), "volume"] = 0.0
        frame.loc[next(places), prices] *= 1.05
        row = next(places)
        frame.loc[row, "high"] *= 1.06
        row = next(places)
        frame.loc[row : row + 24, prices] = frame.loc[row - 1, "close"]
        extra.append(frame.loc[[next(places)]])
        extra.append(frame.loc[[next(places)]].assign(close=lambda bars: bars["close"] + 0.01))
        row = next(places)
        frame = frame.drop(index=range(row, row + 5))
    return pd.concat([frame, *extra], ignore_index=True).sort_values("at", kind="stable")


def _same(report: object, theirs: quality_reference.Findings) -> None:
    told = report.told  # type: ignore[attr-defined]
    ours = {(f.rule, f.symbol, pd.Timestamp(f.at)) for f in told if f.rule in quality_reference.covered()}
    if ours != theirs:
        raise SystemExit(f"not the same findings: only ours {sorted(ours - theirs, key=str)[:5]}, "
                         f"only theirs {sorted(theirs - ours, key=str)[:5]}")  # fmt: skip


def _small() -> list[Measurement]:
    """What the production job pays for five symbols, and what a person waits for all of the sample."""
    whole = sample()
    frame = whole.rows().frame()
    days = np.unique(frame["at"])[-300:]
    rows = BarRows.from_frame(frame[frame["at"] >= days[0]])
    actions, exchange = whole.action_frame(), calendar("XNYS")
    times = []
    for _ in range(30):
        start = time.perf_counter()
        check(rows, actions, exchange, session=date(2013, 3, 1)).verdict  # noqa: B018
        times.append(time.perf_counter() - start)
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as folder:
        home = Path(folder)
        for name in ("workbench.toml", "data/sample"):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).symlink_to(ROOT / name)
        command = [sys.executable, "-c", "from workbench.cli.main import main; main()", "data", "load"]
        subprocess.run(command, cwd=home, check=True, capture_output=True, env=kept_bytecode(os.environ))
        # A verdict of block exits with 1.
        code = "import sys; from workbench.cli.main import main\ntry: main()\nexcept SystemExit as end: sys.exit(end.code != 1)"
        process = time_process([sys.executable, "-c", code, "data", "check"], 3, home)
    return [
        Measurement.shown("5 symbols x 300 sessions, as the daily job asks", 1000 * min(times), "ms"),
        Measurement.at_most("the sample checked in a fresh process, all of `workbench data check`", process, "s", 1.0),
    ]


if __name__ == "__main__":
    for measurement in run():
        print(measurement)
