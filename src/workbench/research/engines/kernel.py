"""Our own engine: the convention of docs/architecture.md in floats, compiled.

The order path follows the same rules in exact decimals and is written separately, so that each checks
the other; zipline and vectorbt run through the same inputs in their own modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.research.costs import Assumptions
from workbench.research.inputs import Array, Inputs
from workbench.research.result import Books


def refusal(assumptions: Assumptions) -> str | None:
    """Why these assumptions cannot be expressed; None, because the kernel expresses all."""
    return None


def run(
    inputs: Inputs,
    assumptions: Assumptions,
    *,
    calendar: str = "XNYS",
    progress: Callable[..., Iterable[Any]] | None = None,
) -> Books:
    """Simulate a window; it needs no calendar, and takes too little time to show progress."""
    from workbench.research.engines._simulate import rules_of, simulate

    split_row, splits = _rows(inputs.splits, inputs.close.shape)
    dividend_row, dividends = _rows(inputs.dividends, inputs.close.shape)
    equity, cash, positions, marks, income, flows, records = simulate(
        rules_of(assumptions),
        np.ascontiguousarray(inputs.open),
        np.ascontiguousarray(inputs.close),
        np.ascontiguousarray(inputs.volume),
        np.ascontiguousarray(inputs.weights),
        np.ascontiguousarray(inputs.decide),
        split_row,
        splits,
        dividend_row,
        dividends,
        inputs.delisted,
        inputs.year_fraction,
    )
    return Books(equity, cash, positions, marks, income, flows, records)


def _rows(events: Mapping[int, Array], shape: tuple[int, ...]) -> tuple[npt.NDArray[np.int64], Array]:
    """Events as one array, and for each session the row of it that applies, or -1."""
    row = np.full(shape[0], -1, dtype=np.int64)
    for number, at in enumerate(sorted(events)):
        row[at] = number
    values = [events[at] for at in sorted(events)]
    return row, np.array(values).reshape(len(values), shape[1]).astype(np.float64)
