"""A parameter sweep on the installation's own data, its trials, and their rows in the reports database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

from workbench.errors import DataError

if TYPE_CHECKING:
    from distributed import Client

    from workbench.app.research_desk import ResearchDesk
    from workbench.data.bars import Adjustment
    from workbench.research.costs import Assumptions
    from workbench.research.sweeping import SweepResult
    from workbench.strategies.base import Strategy


def sweep(
    workbench: ResearchDesk,
    strategy: str | type[Strategy] | Strategy,
    grid: Mapping[str, Iterable[Any]],
    symbols: Sequence[str] | None,
    start: date | None,
    end: date | None,
    *,
    adjustment: Adjustment,
    assumptions: Assumptions,
    client: Client | None,
    progress: Any,
    cleaned: bool = False,
) -> SweepResult:
    """Read the bars, sweep, and bring the reports up to date; see :meth:`ResearchDesk.sweep`."""
    from workbench.app.reading import choose
    from workbench.reports.projection import project
    from workbench.research.sweeping import sweep as run

    lake = workbench.lake
    if not lake.symbols(workbench.data_snapshot):
        raise DataError("the lake has no bars", hint="run: workbench data load")
    end = min(end, workbench._session) if end and workbench._session else end or workbench._session
    chosen = choose(workbench, symbols, end, cleaned=cleaned)
    names = list(symbols) if symbols else None
    bars = lake.bars(names, end=end, adjustment=adjustment, snapshot=chosen.snapshot, cleaned=cleaned)
    made = run(
        strategy,
        grid,
        bars,
        start=start,
        end=end,
        assumptions=replace(assumptions, data=chosen.data),
        ledger=workbench.trials,
        client=client,
        progress=progress,
        clock=workbench.clock,
    )
    # The ledger has everything; if somebody holds the reports, the next call merges it.
    settings = workbench.settings
    project(workbench.journal, settings.reports_file, trials=settings.trials_dir, wait_s=0.0)
    return made
