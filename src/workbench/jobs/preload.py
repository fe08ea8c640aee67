"""What a fork of the kernel starts with, so that a notebook's first cell does not wait for imports."""

from __future__ import annotations

PRELOAD = (
    "pandas",
    "numpy",
    "duckdb",
    "pyarrow",
    "workbench.app",
    "workbench.data.sample",
    "workbench.data.quality",
    "workbench.strategies.momentum",
    "workbench.strategies.moving_average",
    "workbench.trading.proposal",
    "workbench.reports.report",
    "workbench.reports.tearsheet:prepare",
)
