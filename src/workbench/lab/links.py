"""What jupyter-scheduler's own tables do not know of a job: the notebook it came from, its process, its run."""

# jupyter-scheduler has no types:
# mypy: disable-error-code="misc"

from __future__ import annotations

from jupyter_scheduler.exceptions import SchedulerError
from jupyter_scheduler.orm import Base
from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from workbench.journal import Owner


class Link(Base):
    """A row beside a job or a job definition, in the same database.

    A scheduled moment of a definition has one row, whichever of several servers is the first to write it.
    """

    __tablename__ = "workbench_links"
    __table_args__ = (UniqueConstraint("definition_id", "due"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)  # of the job or the definition
    notebook: Mapped[str]  # the original's path
    definition_id: Mapped[str | None]
    due: Mapped[int | None]  # the scheduled moment, in milliseconds since 1970 as in the other tables
    host: Mapped[str | None]
    pid: Mapped[int | None]
    started: Mapped[float | None]
    run_id: Mapped[str | None]  # the run whose files can be copied

    @property
    def owner(self) -> Owner | None:
        """The process that does the job, None until it has been started."""
        if self.host is None or self.pid is None or self.started is None:
            return None
        return Owner(self.host, self.pid, self.started)


class MomentTaken(SchedulerError):
    """Another server has made the job of that scheduled moment."""
