"""The screen's "download": the outputs of a job's run, copied where JupyterLab shows them."""

# jupyter-scheduler has no types:
# mypy: disable-error-code="misc"

from __future__ import annotations

import asyncio

from jupyter_scheduler.job_files_manager import JobFilesManager


class LedgerFiles(JobFilesManager):
    """Copies from the ledger's folder again; the first copy is made when the job ends."""

    async def copy_from_staging(self, job_id: str, redownload: bool | None = False) -> None:
        await asyncio.to_thread(self.scheduler.deliver, job_id)
