"""A sweep on a dask cluster of two worker processes on this machine: the same numbers, and nothing left behind."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

from workbench.data.bars import FIELDS, Bars
from workbench.errors import DataError
from workbench.research import Assumptions, TrialLedger, sweep
from workbench.strategies.base import Strategy


class Tilted(Strategy):
    """Half in whatever rose over some sessions; NaN for one value of ``window``, to see an error come back."""

    window: int
    broken: int = 0

    def weights(self, bars: Bars) -> pd.DataFrame:
        if self.window == self.broken:
            return bars.close * math.nan
        return (bars.close > bars.close.shift(self.window)) * (0.5 / len(bars.symbols))


@pytest.fixture(scope="module")
def bars() -> Bars:
    rng = np.random.default_rng(8)
    index = pd.bdate_range("2010-01-04", periods=500, name="session")
    close = pd.DataFrame(30 * np.exp(np.cumsum(rng.normal(0, 0.02, (500, 3)), axis=0)), index, ["A", "B", "C"])
    return Bars(**dict.fromkeys(FIELDS, close), adjustment="total", snapshot=0)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    before = set(psutil.Process().children(recursive=True))
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1",
            local_directory=str(tmp_path_factory.mktemp("dask")), silence_logs=50,
        ) as cluster,
        Client(cluster, set_as_default=False) as made,
    ):  # fmt: skip
        yield made
    left = [child for child in psutil.Process().children(recursive=True) if child not in before]
    _, alive = psutil.wait_procs([child for child in left if "resource_tracker" not in " ".join(child.cmdline())], 10)
    assert alive == []


async def _settled() -> None:
    """Runs on the client's loop after what was asked of it before, releases among it."""


@pytest.mark.parametrize(
    ("strategy", "grid", "symbols"),
    [
        ("moving_average", {"fast": range(2, 60), "slow": range(10, 120, 2)}, ["A"]),
        ("momentum", {"lookback": range(5, 100, 5), "top": [1, 2]}, ["A", "B", "C"]),
        (Tilted, {"window": range(1, 40)}, ["A", "B", "C"]),
    ],
)
def test_a_cluster_gives_the_numbers_of_this_process(
    bars: Bars, client: Any, strategy: Any, grid: dict[str, Any], symbols: list[str]
) -> None:
    how: dict[str, Any] = {"assumptions": Assumptions(), "progress": False}
    here, there = (
        sweep(strategy, grid, bars.select(symbols), **how),
        sweep(strategy, grid, bars.select(symbols), client=client, **how),
    )
    assert here.table["trades"].sum() > 0
    pd.testing.assert_frame_equal(there.table, here.table, check_exact=True)
    assert there.refused == here.refused
    client.sync(_settled)
    assert client.futures == {}  # what was sent to the workers is let go


def test_trials_of_a_cluster_are_recorded_and_an_error_names_its_place(bars: Bars, client: Any, tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path / "trials")
    made = sweep(Tilted, {"window": range(1, 30)}, bars, client=client, ledger=ledger)
    assert (made.trials, ledger.count("Tilted", bars.symbols)) == (29, 29)
    assert sweep(Tilted, {"window": range(1, 30)}, bars, ledger=ledger).resumed == 29
    with pytest.raises(
        DataError, match=r"A on 2010-01-04: weight given by Tilted\(window=20, broken=20\) is not a finite"
    ):
        sweep(Tilted(window=1, broken=20), {"window": range(1, 30)}, bars, client=client)
    assert sweep(Tilted, {"window": [3]}, bars, client=client).table["trades"].iloc[0] > 0
