"""Research: backtests, comparisons and what they are judged by. Every name is loaded when it is first used.

>>> from workbench import research
>>> research.Assumptions(lot=None).fill
'next_open'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.research.comparison import Comparison, compare
    from workbench.research.costs import Assumptions
    from workbench.research.engines import backtest
    from workbench.research.honesty.fills import audit_fills
    from workbench.research.honesty.lookahead import Lookahead, check_lookahead
    from workbench.research.honesty.verdict import Verdict, verdict
    from workbench.research.result import BacktestResult
    from workbench.research.sweeping import SweepResult, sweep
    from workbench.research.trials import TrialLedger

__all__ = [
    "Assumptions",
    "BacktestResult",
    "Comparison",
    "Lookahead",
    "SweepResult",
    "TrialLedger",
    "Verdict",
    "audit_fills",
    "backtest",
    "check_lookahead",
    "compare",
    "sweep",
    "verdict",
]

_HOMES = {
    "Assumptions": "costs",
    "BacktestResult": "result",
    "Comparison": "comparison",
    "SweepResult": "sweeping",
    "TrialLedger": "trials",
    "Lookahead": "honesty.lookahead",
    "Verdict": "honesty.verdict",
    "audit_fills": "honesty.fills",
    "backtest": "engines",
    "check_lookahead": "honesty.lookahead",
    "compare": "comparison",
    "sweep": "sweeping",
    "verdict": "honesty.verdict",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module on first use: importing the package loads no library."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
