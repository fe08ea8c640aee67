"""What a kernel has done once before it is forked, so that the first cell that does it is not the slow one."""

from __future__ import annotations

from contextlib import suppress

from workbench.errors import ConfigError
from workbench.settings import load_settings


def read_settings() -> None:
    """Parse the configuration that one is in; where there is none, who needs it says so."""
    with suppress(ConfigError):
        load_settings()


def show_frame() -> None:
    """Format a small frame as a notebook shows it; nothing is printed."""
    import pandas as pd
    from IPython.core.formatters import DisplayFormatter

    days = pd.DatetimeIndex(["2013-01-02", "2013-01-03"], name="session")
    frame = pd.DataFrame({"price": [1.5, 2.25], "quantity": [3, 4], "symbol": ["AA", "BB"]}, index=days)
    show = DisplayFormatter()
    for shown in (frame, frame.tail(1).round(2), frame["price"].to_frame()):
        show.format(shown)  # type: ignore[no-untyped-call]  # IPython has no types here
