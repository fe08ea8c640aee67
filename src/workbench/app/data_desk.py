"""What a notebook asks of the data: load, read, check, clean."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from workbench.app.installation import QUALITY_SESSIONS, Installation, as_date

if TYPE_CHECKING:
    import pandas as pd

    from workbench.brokers.market import LakeMarket
    from workbench.data.bars import Adjustment, Bars
    from workbench.data.cleaning import CleaningPolicy, CleaningResult
    from workbench.data.dataset import LoadResult
    from workbench.data.quality import QualityReport
    from workbench.data.rows import Frequency


class DataDesk(Installation):
    """The data side of a workbench."""

    def load_sample(self) -> list[LoadResult]:
        """Load the committed sample data; nothing changes if it is there already."""
        from workbench.data.sample import load_sample

        return load_sample(self.lake, self.settings.sample_dir)

    def load(
        self,
        location: str | os.PathLike[str] | pd.DataFrame,
        *,
        restate: bool = False,
        progress: bool = True,
        **declared: Any,
    ) -> LoadResult:
        """Bring data into the lake: ``wb.load("prices/*.csv", adjusted=False)``, ``wb.load(frame)``.

        Parameters
        ----------
        location
            A file, folder or pattern, a database (``postgresql://``, ``mysql://``, ``sqlite:FILE``), ``s3://BUCKET/KEY``,
            ``alpaca:SYMBOL,...``, or a frame: long, or with columns of symbols as yfinance gives.
        restate
            Whether most of a symbol's history may be replaced.
        progress
            Whether a bar is shown for many files, where somebody watches.
        declared
            What the data does not say itself: fields of :class:`workbench.data.sources.Reading`; ``table`` or
            ``query`` of a database; ``start`` and ``end`` of a venue's bars; ``kind="quotes"`` of files of quotes.

        Raises
        ------
        ConfigError
            If something declared is not known or does not fit.
        DataError
            If the data is malformed, or something about it cannot be told; nothing is loaded then.
        """
        from workbench.app import loading

        asked = loading.Asked(
            declared.pop("table", None),
            declared.pop("query", None),
            as_date(declared.pop("start", None)),
            as_date(declared.pop("end", None)),
            declared.pop("kind", "bars"),
        )
        return loading.load(self, location, asked=asked, restate=restate, progress=progress, **declared)

    def bars(
        self, symbols: Sequence[str] | None = None, *, adjustment: Adjustment = "total", cleaned: bool = False
    ) -> Bars:
        """Bars up to the session decided on, as known in the run's data snapshot; nothing later is visible.

        With ``cleaned`` the repairs of ``workbench data clean`` are applied to them.

        Raises
        ------
        DataError
            If a symbol is unknown, or a cleaned value up to the session was interpolated from a later one.
        """
        names = list(symbols) if symbols else None
        if cleaned:
            from workbench.app.cleaning import require_past_only

            require_past_only(self, names)
        return self.lake.bars(
            names, end=self._session, adjustment=adjustment, snapshot=self.data_snapshot, cleaned=cleaned
        )

    def clean(
        self,
        symbols: Sequence[str] | None = None,
        *,
        policy: CleaningPolicy | Mapping[str, Any] | None = None,
        frequency: Frequency = "daily",
        dry_run: bool = False,
    ) -> CleaningResult:
        """Repair what the quality rules find, beside the raw bars: ``wb.clean(policy={"outlier": "previous"})``.

        Parameters
        ----------
        symbols
            All of the lake if left out.
        policy
            An action for each rule, or those that differ from ``[cleaning]`` in ``workbench.toml``.
        dry_run
            Say what would be done, and write nothing.

        Raises
        ------
        ConfigError
            If a rule or an action is unknown, or a run would look ahead.
        DataError
            If a symbol is unknown, or there are no bars.
        """
        from workbench.app import cleaning

        if policy is None or isinstance(policy, Mapping):
            policy = cleaning.find_policy(self, options=policy or {})
        return cleaning.run(self, symbols, policy, frequency=frequency, write=not dry_run)

    def check(self, symbols: Sequence[str], *, sessions: int = QUALITY_SESSIONS) -> QualityReport:
        """Check the raw bars of the last ``sessions`` sessions against the quality rules.

        A job is stopped by a fault in what its strategy reads, not by a gap of years ago. What people accepted
        (`workbench data accept`) and the pipeline tolerates (``[quality]`` in its file) is in ``accepted`` and does
        not count. In a run the verdict is put on record, and no order step begins on one that blocks.
        """
        from workbench.app import checking

        return checking.check_for_run(self, symbols, sessions)

    def market(self, session: date, snapshot: int | None = None) -> LakeMarket:
        """Raw market data up to ``session`` for the paper exchange and the gates."""
        from workbench.brokers.market import LakeMarket

        return LakeMarket(self.lake, session, snapshot=snapshot)
