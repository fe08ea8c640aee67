"""What ``bench_sweep.py`` runs in processes of their own, so that the operating system accounts for each alone.

``python sweep_sides.py SIDE [FILE]`` prints one JSON object: ``seconds`` of work after everything is imported and
compiled, ``compile_s``, ``peak_kb`` (VmHWM of the whole process, libraries included) and ``idle_kb`` (VmHWM before the
work). With FILE, the metrics go there, combinations x metrics, so that the sides can be held against each other.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from measurement import high_water_kb

SESSIONS, WINDOWS, FEES = 5000, np.arange(2, 102), 0.001
METRICS = ("total_return", "sharpe", "sortino", "max_drawdown", "trades", "win_rate", "exposure")
TRIES = 5


def main() -> None:
    side, file = sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None
    found, metrics = SIDES[side]()
    if file is not None and metrics is not None:
        np.save(file, metrics)
    print(json.dumps({**found, "peak_kb": high_water_kb()}))


def prices(sessions: int = SESSIONS, symbols: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    index = pd.bdate_range("2000-01-03", periods=sessions, name="session")
    walk = 100.0 * np.exp(np.cumsum(rng.normal(0.0003, 0.012, (sessions, symbols)), axis=0))
    return pd.DataFrame(walk, index=index, columns=[f"S{number}" for number in range(symbols)])


def bars_of(close: pd.DataFrame) -> Any:
    from workbench.data.bars import FIELDS, Bars

    return Bars(**dict.fromkeys(FIELDS, close), adjustment="total", snapshot=0)


def plain() -> Any:
    """vectorbt's ``from_signals`` in our terms."""
    from workbench.research import Assumptions

    return Assumptions(
        commission_per_share_usd=0, commission_min_usd=0, slippage_bps=0, cash_buffer=0, min_trade_value_usd=0,
        tolerance=0, lot=None, buys="within_cash", fill="close", rebalance="on_change", commission_bps=FEES * 1e4,
    )  # fmt: skip


def ours() -> tuple[dict[str, float], np.ndarray]:
    """The crossover by its own loop."""
    from workbench.research import sweep

    bars, assumptions, grid = bars_of(prices()), plain(), {"fast": WINDOWS, "slow": WINDOWS}
    idle = high_water_kb()
    runs = [sweep("moving_average", grid, bars, assumptions=assumptions, progress=False) for _ in range(TRIES + 1)]
    found = {"seconds": median(run.seconds for run in runs[1:]), "compile_s": runs[0].compile_s, "idle_kb": idle}
    return found, runs[0].table[list(METRICS)].to_numpy(dtype=float)


def vectorbt(engine: str) -> tuple[dict[str, float], np.ndarray]:
    """The crossover by vectorbt: its own averages, signals, portfolio and metrics."""
    import vectorbt as vbt

    def run(windows: np.ndarray) -> np.ndarray:
        fast, slow = vbt.MA.run_combs(close, window=windows, r=2, short_names=["fast", "slow"])
        above = fast.ma_above(slow)
        made = vbt.Portfolio.from_signals(close, above, ~above, fees=FEES, init_cash=100_000, freq="1D", engine=engine)
        closed = made.trades.closed
        columns = [
            made.total_return(), made.sharpe_ratio(year_freq="252 days"), made.sortino_ratio(year_freq="252 days"),
            made.max_drawdown(), closed.count(), closed.win_rate(), made.gross_exposure().mean(),
        ]  # fmt: skip
        return np.column_stack([column.to_numpy(dtype=float) for column in columns])

    close = prices().iloc[:, 0]
    began = time.perf_counter()
    run(WINDOWS[:4])
    compiled, idle = time.perf_counter() - began, high_water_kb()
    began = time.perf_counter()
    metrics = run(WINDOWS)
    return {"seconds": time.perf_counter() - began, "compile_s": compiled, "idle_kb": idle}, metrics


def ordinary(workers: int = 0) -> tuple[dict[str, float], np.ndarray]:
    """The crossover as anybody would write it, here or on as many dask workers."""
    from workbench.research import sweep

    bars, assumptions, grid = bars_of(prices()), plain(), {"fast": WINDOWS, "slow": WINDOWS}
    kind = crossover()
    if not workers:
        sweep(kind, {"fast": [2], "slow": [3, 4]}, bars, assumptions=assumptions, progress=False)
        runs = [sweep(kind, grid, bars, assumptions=assumptions, progress=False) for _ in range(TRIES)]
        return {"seconds": median(run.seconds for run in runs)}, runs[0].table[list(METRICS)].to_numpy(dtype=float)
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        for _ in range(2):  # the first makes the workers import and load what they need
            made = sweep(kind, grid, bars, assumptions=assumptions, progress=False, client=client)
    return {"seconds": made.seconds}, made.table[list(METRICS)].to_numpy(dtype=float)


def crossover() -> Any:
    from pydantic import model_validator

    from workbench import indicators
    from workbench.strategies.base import Strategy

    class Crossover(Strategy):
        fast: int
        slow: int

        @model_validator(mode="after")
        def _ascending(self) -> Crossover:
            if self.fast >= self.slow:
                raise ValueError("fast is below slow")
            return self

        def weights(self, bars: Any) -> pd.DataFrame:
            close = bars.close
            return (indicators.moving_average(close, self.fast) > indicators.moving_average(close, self.slow)) * 1.0

    return Crossover


def momentum() -> tuple[dict[str, float], None]:
    """500 symbols, 10 years, 1,000 combinations."""
    from workbench.research import Assumptions, sweep

    bars = bars_of(prices(2520, 500))
    grid = {"lookback": range(10, 510, 5), "top": range(5, 55, 5)}
    made = sweep("momentum", grid, bars, assumptions=Assumptions(), progress=False)
    return {"seconds": made.seconds, "combinations": len(made)}, None


SIDES: dict[str, Callable[[], tuple[dict[str, float], np.ndarray | None]]] = {
    "ours": ours,
    "numba": lambda: vectorbt("numba"),
    "rust": lambda: vectorbt("rust"),
    "ordinary": ordinary,
    "dask": lambda: ordinary(2),
    "momentum": momentum,
}

if __name__ == "__main__":
    main()
