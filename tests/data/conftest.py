from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest

from workbench.data.dataset import Dataset, no_actions
from workbench.data.lake import Lake
from workbench.data.sample import load_sample

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def sample_folder() -> Path:
    return ROOT / "data" / "sample"


@pytest.fixture(scope="session")
def sample_lake(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path) -> Lake:
    """The committed sample, loaded once and then only read."""
    folder = tmp_path_factory.mktemp("lake")
    with Lake(folder) as lake:
        load_sample(lake, sample_folder)
    return Lake(folder, read_only=True)


@pytest.fixture
def make_dataset() -> Callable[..., Dataset]:
    """Build a dataset from closes by symbol and session; open, high and low equal the close."""

    def make(closes: Mapping[str, Mapping[str, float]], digest: str, actions: pd.DataFrame | None = None) -> Dataset:
        rows = [
            (symbol, pd.Timestamp(session), close, close, close, close, 1000.0)
            for symbol, prices in closes.items()
            for session, close in prices.items()
        ]
        columns = ["symbol", "session", "open", "high", "low", "close", "volume"]
        bars = pd.DataFrame(rows, columns=columns)
        return Dataset(bars, no_actions() if actions is None else actions, f"file {digest}", digest)

    return make
