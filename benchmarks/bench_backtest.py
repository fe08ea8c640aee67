"""What a backtest costs: the compiled kernel, vectorbt and zipline on the same strategy and the same lake.

zipline is held against itself: how much everything around its event loop costs (reading the lake, weights, assets,
adjustments, results), and what the usual way costs, which writes a bundle first (``zipline ingest``) and then reads
it back (``zipline run``). That way gets the weights for nothing, computed beforehand, and is spared zipline's metrics,
which do not run under numpy 2.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from measurement import Measurement

from workbench.calendars import calendar
from workbench.data.adjust import adjust
from workbench.data.dataset import Dataset, no_actions
from workbench.data.lake import Lake
from workbench.research import Assumptions, BacktestResult, backtest, compare
from workbench.research.engines import kernel
from workbench.research.inputs import prepare
from workbench.strategies import load

SYMBOLS = [f"S{number:02d}" for number in range(20)]
FIRST, LAST = "2000-01-03", "2014-01-07"  # 3,525 sessions of XNYS
SESSIONS = 3525
RUNS = 3
HOW: dict[str, Any] = {"lookback": 126, "top": 5}
# One process from the lake to the result, as the peer's two processes go from CSV files to theirs.
WHOLE = """
import sys
from pathlib import Path
from workbench.data.adjust import adjust
from workbench.data.lake import Lake
from workbench.research import Assumptions, backtest
from workbench.strategies import load
lake = Lake(Path(sys.argv[1]))
raw, actions = lake.bars(None, adjustment="raw"), lake.actions(None)
total = adjust(raw, actions, "total")
made = backtest(load("momentum", {"lookback": 126, "top": 5}), total, raw, actions, engine=sys.argv[2])
print(repr(made.metrics["final_equity_usd"]))
"""
EXTENSION = """
import pandas as pd
from zipline.data.bundles import register
from zipline.data.bundles.csvdir import csvdir_equities
register("bench", csvdir_equities(["daily"], {folder!r}), calendar_name="XNYS",
         start_session=pd.Timestamp({first!r}), end_session=pd.Timestamp({last!r}))
"""
# The same decisions through zipline's own door; it fills at the close after, which costs it nothing.
ALGORITHM = """
import numpy as np
import pandas as pd
from zipline.api import order, set_commission, set_slippage, symbol
from zipline.finance.commission import PerShare
from zipline.finance.slippage import NoSlippage
table = pd.read_pickle({weights!r})
def initialize(context):
    context.assets = [symbol(name) for name in table.columns]
    set_commission(PerShare(0.005, 1.0))
    set_slippage(NoSlippage())
def handle_data(context, data):
    equity = context.portfolio.portfolio_value
    row = table.loc[pd.Timestamp(context.get_datetime().date())].to_numpy()
    prices = data.current(context.assets, "close")
    for asset, weight, price in zip(context.assets, row, prices):
        held = context.portfolio.positions[asset].amount if asset in context.portfolio.positions else 0
        target = int(equity * 0.98 * weight / price)
        change = target - held
        if change and (abs(change) * price >= max(100.0, 0.005 * equity) or not target):
            order(asset, change)
"""


def run() -> list[Measurement]:
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder) / "lake")
        frames = _market()
        lake.load(_dataset(frames))
        return [
            *_kernel(lake),
            *_engines(lake),
            *_against_ingest(Path(folder), lake, frames),
            *_compiling(Path(folder)),
        ]


def _market() -> dict[str, pd.DataFrame]:
    """Random prices of twenty symbols on the exchange's sessions, rounded to the cent."""
    days = calendar("XNYS").index(date.fromisoformat(FIRST), date.fromisoformat(LAST))
    assert len(days) == SESSIONS, len(days)
    rng = np.random.default_rng(3)
    shape = (len(days), len(SYMBOLS))
    close = 50 * np.cumprod(1 + rng.normal(0.0003, 0.015, shape), axis=0)
    opens = close * (1 + rng.normal(0, 0.004, shape))
    values = {
        "open": opens, "high": np.maximum(opens, close), "low": np.minimum(opens, close), "close": close,
        "volume": rng.integers(1e6, 1e7, shape),
    }  # fmt: skip
    return {
        name: pd.DataFrame(value.round(2), index=days, columns=SYMBOLS).clip(lower=0.01)
        for name, value in values.items()
    }


def _dataset(frames: dict[str, pd.DataFrame]) -> Dataset:
    columns = {name: frame.stack().rename(name) for name, frame in frames.items()}
    rows = pd.concat(columns.values(), axis=1).rename_axis(["session", "symbol"]).reset_index()
    bars = rows[["symbol", "session", *frames]].astype({"volume": float})
    return Dataset(bars.sort_values(["symbol", "session"], ignore_index=True), no_actions(), "benchmark", "benchmark")


def _from_lake(lake: Lake, engine: str, progress: Callable[..., Iterable[Any]] | None = None) -> BacktestResult:
    raw, actions, strategy = lake.bars(SYMBOLS, adjustment="raw"), lake.actions(SYMBOLS), load("momentum", HOW)
    total = adjust(raw, actions, "total")
    return backtest(strategy, total, raw, actions, engine=engine, progress=progress)  # type: ignore[arg-type]


def _timed(action: Callable[[], object], runs: int = RUNS) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return median(times)


def _kernel(lake: Lake) -> list[Measurement]:
    total, raw = (lake.bars(SYMBOLS, adjustment=adjustment) for adjustment in ("total", "raw"))
    strategy, actions = load("momentum", HOW), lake.actions(SYMBOLS)
    inputs = prepare(strategy, total, raw, actions, None, None)
    kernel.run(inputs, Assumptions())
    whole = _timed(lambda: backtest(strategy, total, raw, actions), 10)
    inner = _timed(lambda: kernel.run(inputs, Assumptions()), 10)
    return [
        Measurement.shown("kernel, 20 symbols x 3,525 sessions: weights to metrics", whole * 1000, "ms"),
        Measurement.shown("of it the simulation itself", inner * 1000, "ms"),
    ]


def _engines(lake: Lake) -> list[Measurement]:
    """Each engine from the lake to the result; zipline against the time that its own loop takes."""
    made = {name: _from_lake(lake, name) for name in ("kernel", "vectorbt", "zipline")}
    for name in ("vectorbt", "zipline"):
        found = compare(made["kernel"], made[name])
        assert found.equal_to_the_cent, f"{name} differs: {found.summary}"
    times = {name: _timed(lambda name=name: _from_lake(lake, name)) for name in ("kernel", "vectorbt")}
    ratios, totals = [], []
    for _ in range(RUNS):
        loop = _Loop()
        start = time.perf_counter()
        _from_lake(lake, "zipline", loop)
        totals.append(time.perf_counter() - start)
        ratios.append(totals[-1] / loop.seconds)
    kernel_s, vectorbt_s, zipline_s = times["kernel"], times["vectorbt"], median(totals)
    return [
        Measurement.at_most("zipline from the lake against its own event loop", median(ratios), "x", 1.05),
        Measurement.shown("zipline from the lake", zipline_s, "s"),
        Measurement.shown("kernel from the lake against zipline", zipline_s / kernel_s, "x"),
        Measurement.shown("kernel from the lake against vectorbt's accounting", vectorbt_s / kernel_s, "x"),
    ]


class _Loop:
    """Times what zipline's generator takes to go through the sessions."""

    seconds = 0.0

    def __call__(self, sessions: Iterable[Any], **_: Any) -> Iterator[Any]:
        start = time.perf_counter()
        yield from sessions
        self.seconds = time.perf_counter() - start


def _against_ingest(folder: Path, lake: Lake, frames: dict[str, pd.DataFrame]) -> list[Measurement]:
    """Whole processes: from the lake to the result, and from CSV files by way of a bundle to zipline's."""
    lake.close()
    root, files = folder / "zipline", folder / "csv" / "daily"
    root.mkdir()
    files.mkdir(parents=True)
    for symbol in SYMBOLS:
        rows = pd.DataFrame({name: frame[symbol] for name, frame in frames.items()}).assign(dividend=0.0, split=1.0)
        rows.rename_axis("date").to_csv(files / f"{symbol}.csv")
    text = EXTENSION.format(folder=str(files.parent), first=FIRST, last=LAST)
    (root / "extension.py").write_text(text, encoding="utf-8")
    momentum = load("momentum", HOW)
    with Lake(folder / "lake") as again:
        momentum.weights(again.bars(SYMBOLS, adjustment="total")).to_pickle(folder / "weights.pickle")
    algorithm = folder / "algorithm.py"
    algorithm.write_text(ALGORITHM.format(weights=str(folder / "weights.pickle")), encoding="utf-8")
    environment = {**os.environ, "ZIPLINE_ROOT": str(root)}
    command = [sys.executable, "-W", "ignore", "-m", "zipline"]
    ingest = _process([*command, "ingest", "-b", "bench", "--no-show-progress"], environment)
    peer = _process(
        [*command, "run", "-f", str(algorithm), "-b", "bench", "-s", FIRST, "-e", LAST, "--capital-base", "100000",
         "--no-benchmark", "--metrics-set", "none", "-o", str(folder / "out.pickle"), "--trading-calendar", "XNYS"],
        environment,
    )  # fmt: skip
    ours = _process([sys.executable, "-c", WHOLE, str(folder / "lake"), "zipline"], environment)
    quick = _process([sys.executable, "-c", WHOLE, str(folder / "lake"), "kernel"], environment)
    assert len(pd.read_pickle(folder / "out.pickle")) == SESSIONS
    return [
        Measurement.at_most("zipline from the lake against zipline ingest + run", ours / (ingest + peer), "x", 1.0),
        Measurement.shown("zipline ingest", ingest, "s"),
        Measurement.shown("zipline run", peer, "s"),
        Measurement.shown("a process that runs zipline from the lake", ours, "s"),
        Measurement.shown("a process that runs the kernel from the lake", quick, "s"),
    ]


def _compiling(folder: Path) -> list[Measurement]:
    """A first backtest on a machine that has compiled nothing, and a later one: the difference is compiling."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "numba")}
    command = [sys.executable, "-c", WHOLE, str(folder / "lake"), "kernel"]
    first, later = _process(command, environment), _process(command, environment)
    return [Measurement.shown("compiling the kernel, once on a machine", first - later, "s")]


def _process(command: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start
