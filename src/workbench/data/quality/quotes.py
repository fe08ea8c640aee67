"""Bid and ask, where a source has them."""

from __future__ import annotations

import numpy as np

from workbench.data.quality.report import Found
from workbench.data.quality.tape import Tape


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
