"""``workbench report``: bring the reports file up to date and write the tear sheet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import DataError
from workbench.journal import Journal
from workbench.reports import collect as collecting
from workbench.reports import projection, tearsheet
from workbench.settings import Settings

if TYPE_CHECKING:
    from workbench.data.lake import Lake


@dataclass(frozen=True)
class Report:
    """Where the page is, and whether the reports file waits for ``holder``: who has it open, or the end of the run."""

    file: Path
    pending: bool
    holder: str


def write_report(
    journal: Journal,
    lake: Lake,
    settings: Settings,
    *,
    account: str,
    session: date | None = None,
    standalone: bool = False,
    merge: bool = True,
) -> Report:
    """Write ``data/reports/ACCOUNT/SESSION.html`` and bring ``data/reports.duckdb`` up to date.

    Parameters
    ----------
    session
        The last session shown; the last one valued if left out.
    standalone
        Put everything into the one page.
    merge
        False leaves the reports file to whoever runs the notebook, which then knows how the run itself has ended.

    Raises
    ------
    DataError
        If the account was never valued, or the reports file is damaged.
    """
    data = collecting.collect(journal, lake, account=account, session=session, mode=settings.account.broker)
    folder = settings.tearsheets_dir
    file = tearsheet.write_tearsheet(
        data,
        folder / account / f"{data.session.isoformat()}.html",
        assets=folder / "assets",
        standalone=standalone,
    )
    if not merge:
        return Report(file, pending=True, holder="the end of the run")
    merged = projection.project(journal, settings.reports_file, lake=lake, trials=settings.trials_dir)
    return Report(file, merged.pending, merged.holder)


def last_account(journal: Journal) -> str:
    """The account that ran last.

    Raises
    ------
    DataError
        If nothing ran yet.
    """
    rows = journal.read("SELECT account FROM runs ORDER BY rowid DESC LIMIT 1")
    if not rows:
        raise DataError("nothing has run yet", hint="run: workbench run daily")
    return str(rows[0]["account"])
