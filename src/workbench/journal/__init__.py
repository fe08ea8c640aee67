"""The order journal: the durable truth about runs, orders and money."""

from workbench.journal.controls import Controls
from workbench.journal.ledger import Ledger
from workbench.journal.orders import Batch, IntentRecord, OrderJournal
from workbench.journal.runs import Claim, Owner, RunJournal, RunKey, RunRecord, StepRecord
from workbench.journal.store import Journal

__all__ = [
    "Batch",
    "Claim",
    "Controls",
    "IntentRecord",
    "Journal",
    "Ledger",
    "OrderJournal",
    "Owner",
    "RunJournal",
    "RunKey",
    "RunRecord",
    "StepRecord",
]
