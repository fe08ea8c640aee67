"""The order journal: the durable truth about runs, orders and money."""

from workbench.journal.orders import Batch, IntentRecord, OrderJournal
from workbench.journal.runs import Claim, Owner, RunJournal, RunKey, RunRecord, StepRecord
from workbench.journal.store import Journal

__all__ = [
    "Batch",
    "Claim",
    "IntentRecord",
    "Journal",
    "OrderJournal",
    "Owner",
    "RunJournal",
    "RunKey",
    "RunRecord",
    "StepRecord",
]
