"""Bid and ask, where a source has them: with the bars, or on their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.data.quality.report import Found
from workbench.data.quality.tape import Tape

if TYPE_CHECKING:
    import pandas as pd


def judge(tape: Tape, found: Found) -> None:
    """Quotes that nobody could have made: the bid above the ask, or one of them not above zero.

    A bid equal to the ask is a locked market, which happens; a quote that is missing says nothing.
    """
    bid, ask = tape.rows.bid, tape.rows.ask
    if bid is None or ask is None:
        return
    with np.errstate(invalid="ignore"):
        crossed = (bid > ask) | (bid <= 0) | (ask <= 0)

    def detail(row: int) -> str:
        return f"bid {bid[row]:g}, ask {ask[row]:g}"

    found.add_rows(
        "crossed_quotes", np.flatnonzero(crossed), "warn", detail, field="bid",
        value=lambda row: float(bid[row]), expected=lambda row: float(ask[row]),
    )  # fmt: skip


def tell(tape: Tape, found: Found, crossed: pd.DataFrame) -> None:
    """Tell of quotes that stand on their own: ``symbol``, ``at`` (UTC), ``bid`` and ``ask``, only wrong ones."""
    zone = tape.calendar.zone
    days = crossed["at"].dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None).dt.normalize()
    columns = (crossed["symbol"], days, crossed["at"], crossed["bid"], crossed["ask"])
    for symbol, day, at, bid, ask in zip(*(column.tolist() for column in columns), strict=True):
        session = np.datetime64(day, "ns")
        if tape.decided is None or session <= tape.decided:
            found.add(
                "crossed_quotes", symbol, session, "warn", f"bid {bid:g}, ask {ask:g}", at=np.datetime64(at, "ns"),
                field="bid", value=bid, expected=ask,
            )  # fmt: skip
