"""What cleaning did and what it left, for people: in words, as frames, and as a table in a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from workbench.data.cleaning.policy import CleaningPolicy
from workbench.data.cleaning.reasons import told
from workbench.data.quality import QualityReport
from workbench.data.quality.report import COLUMNS, Finding
from workbench.data.rows import BarRows

if TYPE_CHECKING:
    from workbench.data._ledger import CleanResult

_SHOWN = 20
_COLOURS = {"pass": "#1a7f37", "warn": "#9a6700", "block": "#b3261e"}


@dataclass(frozen=True, slots=True)
class Left:
    """A finding that was left alone, and why."""

    finding: Finding
    because: str


@dataclass(frozen=True)
class CleaningResult:
    """What became of some raw bars.

    ``repairs`` is the ledger, one row per changed cell: ``table_name``, ``symbol``, ``at`` (datetime64),
    ``occurrence``, ``step``, ``field``, ``old``, ``new``, ``rule``, ``action``, ``reason``, ``policy``. ``changes`` are
    the bars that differ from raw: ``symbol``, ``at``, the fields, ``kept`` (False: taken out). ``action_changes`` are
    corporate actions that differ. ``left`` are findings that were not repaired. ``before`` and ``after`` are the
    verdicts on raw and on cleaned bars. ``stored`` says what the lake keeps of it; None: nothing was written.
    """

    repairs: pd.DataFrame
    changes: pd.DataFrame
    action_changes: pd.DataFrame
    left: Sequence[Left]
    policy: CleaningPolicy
    before: QualityReport
    after: QualityReport
    stored: CleanResult | None = None

    @property
    def looks_ahead(self) -> bool:
        """Whether a cleaned value was made from a later one."""
        return bool((self.repairs["action"] == "interpolate").any())

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Repairs by ``rule``, ``action`` and ``symbol``: the number of ``bars`` (or actions) and of ``cells``."""
        return summary(self.repairs)

    @cached_property
    def left_alone(self) -> pd.DataFrame:
        """Findings that were not repaired: the columns of a report's findings, and ``because``."""
        rows = [(*(getattr(one.finding, name) for name in COLUMNS), one.because) for one in self.left]
        frame = pd.DataFrame(rows, columns=[*COLUMNS, "because"])
        return frame.astype(dict.fromkeys(("session", "at", "last"), "datetime64[ns]"))

    @cached_property
    def left_by_rule(self) -> list[tuple[str, str, int, str]]:
        """Findings that were not repaired: rule, symbol, their number and why, in the order of the findings."""
        counts = Counter((one.finding.rule, one.finding.symbol, one.because) for one in self.left)
        return [(rule, symbol, count, because) for (rule, symbol, because), count in counts.items()]

    def __repr__(self) -> str:
        bars = int(self.summary["bars"].sum())
        return (
            f"<{type(self).__name__}: {bars} repaired in {len(self.repairs)} cells, {len(self.left)} findings left "
            f"alone, {self.before.verdict} before, {self.after.verdict} after>"
        )

    def _repr_html_(self) -> str:
        verdicts = " &rarr; ".join(
            f"<b style='color:{_COLOURS[one.verdict]}'>{one.verdict}</b>" for one in (self.before, self.after)
        )
        head = f"{verdicts}: {len(self.repairs):,} cells repaired, {len(self.left):,} findings left alone"
        done = _table(
            ("rule", "symbol", "bars", "cells", "what was done"),
            [
                (row["rule"], row["symbol"], f"{row['bars']:,}", f"{row['cells']:,}", told(row["action"]))
                for row in self.summary.to_dict("records")
            ],
        )
        left = _table(
            ("left alone", "symbol", "findings", "because"),
            [(rule, symbol, f"{count:,}", because) for rule, symbol, count, because in self.left_by_rule],
        )
        where = "not written" if self.stored is None else f"snapshot {self.stored.snapshot}"
        return f"<div>{head}{done}{left}<small>policy {self.policy.digest}, {where}</small></div>"


@dataclass(frozen=True, repr=False)
class Cleaned(CleaningResult):
    """The same with the cleaned ``rows`` and the corporate ``actions`` as corrected."""

    rows: BarRows = field(kw_only=True)
    actions: pd.DataFrame = field(kw_only=True)


def joined(parts: Sequence[CleaningResult]) -> CleaningResult:
    """What became of several groups of symbols, as one."""
    frames = {
        name: pd.concat([getattr(part, name) for part in parts], ignore_index=True)
        for name in ("repairs", "changes", "action_changes")
    }
    frames["repairs"]["step"] = range(len(frames["repairs"]))
    left = tuple(one for part in parts for one in part.left)
    before, after = (_whole([getattr(part, name) for part in parts]) for name in ("before", "after"))
    return CleaningResult(**frames, left=left, policy=parts[0].policy, before=before, after=after)


def _whole(reports: Sequence[QualityReport]) -> QualityReport:
    told = sorted(
        (one for report in reports for one in report.told),
        key=lambda one: (one.severity, one.session, one.symbol, one.at, one.rule, one.field),
    )
    excused = tuple(one for report in reports for one in report.excused)
    symbols = tuple(symbol for report in reports for symbol in report.symbols)
    return replace(reports[0], told=tuple(told), excused=excused, symbols=symbols)


def summary(repairs: pd.DataFrame) -> pd.DataFrame:
    """A ledger by ``rule``, ``action`` and ``symbol``: how many ``bars`` (or actions) and ``cells``."""
    bars = repairs.drop_duplicates(["table_name", "symbol", "at", "rule", "action"])
    key = ["rule", "action", "symbol"]
    counted = {"bars": bars.groupby(key).size(), "cells": repairs.groupby(key).size()}
    return pd.DataFrame(counted, columns=["bars", "cells"]).astype(int).rename_axis(key).reset_index()


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th style='text-align:left'>{escape(name)}</th>" for name in names)
    lines = [
        "<tr>" + "".join(f"<td style='text-align:left'>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows[:_SHOWN]
    ]
    if len(rows) > _SHOWN:
        lines.append(f"<tr><td colspan={len(names)}>and {len(rows) - _SHOWN:,} more</td></tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
