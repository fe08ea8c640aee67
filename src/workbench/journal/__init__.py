"""The order journal: the durable truth about runs, orders and money."""

from workbench.journal.controls import Controls
from workbench.journal.judgements import Judgements
from workbench.journal.ledger import Ledger
from workbench.journal.orders import Batch, IntentRecord, OrderJournal
from workbench.journal.process import Owner
from workbench.journal.records import CellRecord, Claim, Origin, RunKey, RunRecord, StepRecord
from workbench.journal.runs import RunJournal
from workbench.journal.store import Journal

__all__ = [
    "Batch",
    "CellRecord",
    "Claim",
    "Controls",
    "IntentRecord",
    "Journal",
    "Judgements",
    "Ledger",
    "OrderJournal",
    "Origin",
    "Owner",
    "RunJournal",
    "RunKey",
    "RunRecord",
    "StepRecord",
]
