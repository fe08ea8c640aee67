from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pandas as pd
import pytest

from workbench.calendars import Calendar, calendar
from workbench.data.cleaning import Cleaned, CleaningPolicy, clean
from workbench.data.lake import Lake
from workbench.data.rows import BarRows

NAMES = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]


@pytest.fixture(scope="session")
def xnys() -> Calendar:
    return calendar("XNYS")


@pytest.fixture(scope="session")
def real(sample_lake: Lake) -> pd.DataFrame:
    """Real bars without a fault: ``symbol``, ``at`` and the fields, 2004-06-01 to 2013-03-01."""
    return sample_lake.rows(NAMES, start=date(2004, 6, 1), end=date(2013, 3, 1)).frame()


@pytest.fixture(scope="session")
def actions(sample_lake: Lake) -> pd.DataFrame:
    return sample_lake.actions(NAMES, start=date(2004, 6, 1), end=date(2013, 3, 1))


Clean = Callable[..., Cleaned]


@pytest.fixture
def cleaning(actions: pd.DataFrame, xnys: Calendar) -> Clean:
    """Clean a frame of rows under some options, with the actions on record."""

    def run(frame: pd.DataFrame, *options: str, recorded: pd.DataFrame | None = None, **known: pd.DataFrame) -> Cleaned:
        policy = CleaningPolicy().with_options(options)
        return clean(BarRows.from_frame(frame), actions if recorded is None else recorded, xnys, policy, **known)

    return run
