"""The parts of one installation, each built on first use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.calendars import Calendar, calendar
from workbench.clock import Clock
from workbench.errors import ConfigError
from workbench.journal import Journal
from workbench.settings import Settings

if TYPE_CHECKING:
    from workbench.data.lake import Lake


QUALITY_SESSIONS = 252


class Ahead:
    """What a kernel has opened before its notebook asks for it; it belongs to the first who does."""

    def __init__(self) -> None:
        self.lake: Lake | None = None
        self.journal: Journal | None = None

    def take_lake(self, folder: Path) -> Lake | None:
        lake, self.lake = self.lake, None
        return lake if lake is not None and lake.folder == folder else None

    def take_journal(self, file: Path) -> Journal | None:
        journal, self.journal = self.journal, None
        return journal if journal is not None and journal.file == file else None


ahead = Ahead()


@dataclass(frozen=True, slots=True)
class RunContext:
    """The run that a kernel works for; None of it when a person opened the notebook."""

    run_id: str
    account: str
    pipeline: str
    session: date
    amendment: int
    data_snapshot: int | None
    may_order: bool
    step: str = ""
    tolerate: tuple[str, ...] = ()  # quality rules that the pipeline can live with


class Installation:
    """Settings, lake, journal and calendar, and the session and run that they are opened for."""

    def __init__(
        self, settings: Settings, clock: Clock, *, session: date | None = None, run: RunContext | None = None
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.run = run
        self._session = session
        self._proposed: set[str] = set()

    def work_for(self, run: RunContext) -> None:
        """Be the workbench of a run, and of its session."""
        self.run, self._session = run, run.session

    @property
    def account(self) -> str:
        return self.run.account if self.run else self.settings.account.name

    @cached_property
    def calendar(self) -> Calendar:
        return calendar(self.settings.calendar, self.settings.cache_dir)

    @cached_property
    def lake(self) -> Lake:
        from workbench.data.lake import Lake

        return ahead.take_lake(self.settings.lake_dir) or Lake(self.settings.lake_dir)

    @cached_property
    def journal(self) -> Journal:
        return ahead.take_journal(self.settings.journal_file) or Journal(self.settings.journal_file, self.clock)

    @property
    def session(self) -> date:
        """The session decided on.

        Raises
        ------
        ConfigError
            If the notebook was opened without one.
        """
        if self._session is None:
            raise ConfigError("no session", hint="open the workbench with workbench.open(session=...)")
        return self._session

    @property
    def visible_until(self) -> date | None:
        """The last session that may be read; None if the workbench was opened without one."""
        return self._session

    @property
    def data_snapshot(self) -> int | None:
        """The lake snapshot that this run reads; None means the latest."""
        return self.run.data_snapshot if self.run else None

    def close(self) -> None:
        """Close the stores that were opened."""
        for name in ("journal", "lake"):
            part = self.__dict__.pop(name, None)
            if part is not None:
                part.close()


def as_date(value: date | str | None) -> date | None:
    """A date, also from ISO text.

    Raises
    ------
    ConfigError
        If the text is none.
    """
    if value is None or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise ConfigError(f"{value!r} is not a date", hint="write it as 2013-03-01") from error
