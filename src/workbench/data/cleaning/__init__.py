"""Cleaning: what is wrong is repaired beside the raw bars, cell by cell and on record, never over them.

:func:`clean` asks the quality rules, does what a :class:`CleaningPolicy` says about each finding, and asks again until
nothing is left to repair. :func:`undo` is the way back.
"""

from __future__ import annotations

from workbench.data.cleaning.clean import clean
from workbench.data.cleaning.ledger import undo
from workbench.data.cleaning.policy import CleaningPolicy, policy_of, read_policy
from workbench.data.cleaning.report import Cleaned, CleaningResult

__all__ = ["Cleaned", "CleaningPolicy", "CleaningResult", "clean", "policy_of", "read_policy", "undo"]
