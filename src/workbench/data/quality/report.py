"""What was found: kept as arrays while rules look, a frame when somebody asks, a verdict in any case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from workbench.data.rules import RULES, Severity, Verdict

if TYPE_CHECKING:
    import pandas as pd

    from workbench.data.rows import BarRows

COLUMNS = ("symbol", "session", "at", "last", "rule", "severity", "field", "value", "expected", "detail")
# Findings of one rule on one symbol that are told one by one.
MOST = 1000
_SHOWN = 50  # of the rows in a notebook
_COLOURS = {"block": "#b3261e", "warn": "#9a6700", "pass": "#1a7f37", "accepted": "#57606a"}

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: where, which rule, what is there (``value``) and what the rule says it should be (``expected``).

    ``session``, ``at`` and ``last`` are datetime64[ns]: the session, the bar's own time, and the last session
    concerned. Numbers that are not known are NaN.
    """

    symbol: str
    session: np.datetime64
    at: np.datetime64
    last: np.datetime64
    rule: str
    severity: Severity
    field: str
    value: float
    expected: float
    detail: str

    @property
    def day(self) -> str:
        """The session as ISO text."""
        return str(self.session.astype("datetime64[D]"))

    @property
    def until(self) -> str:
        """The last session concerned as ISO text."""
        return str(self.last.astype("datetime64[D]"))

    def __str__(self) -> str:
        return f"{self.severity}: {self.symbol} {self.day} {self.rule}: {self.detail}"


class Found:
    """Where rules put what they find. Of one rule and symbol only the first ``most`` are kept, the rest is counted."""

    def __init__(self, rows: BarRows, sessions: Callable[[Ints], npt.NDArray[np.datetime64]], most: int | None) -> None:
        self._rows = rows
        self._sessions = sessions
        self._most = most
        self._counts: Counter[tuple[str, str]] = Counter()
        self._ends: dict[tuple[str, str], tuple[np.datetime64, Severity]] = {}
        self.findings: list[Finding] = []

    def add(
        self,
        rule: str,
        symbol: str,
        session: np.datetime64,
        severity: Severity,
        detail: str,
        *,
        at: np.datetime64 | None = None,
        last: np.datetime64 | None = None,
        field: str = "",
        value: float = np.nan,
        expected: float = np.nan,
    ) -> None:
        """One finding."""
        key = (rule, symbol)
        self._counts[key] += 1
        if self._most is not None and self._counts[key] > self._most:
            self._skip(key, last if last is not None else session, severity)
            return
        self.findings.append(
            Finding(
                symbol, session, session if at is None else at, session if last is None else last, rule, severity,
                field, float(value), float(expected), detail,
            )
        )  # fmt: skip

    def add_rows(
        self,
        rule: str,
        rows: Ints,
        severity: Severity | Callable[[int], Severity],
        detail: Callable[[int], str],
        *,
        field: str | Callable[[int], str] = "",
        value: Callable[[int], float] | None = None,
        expected: Callable[[int], float] | None = None,
    ) -> None:
        """A finding for each of some rows, in order; nothing is made of those over the bound but a count."""
        if not len(rows):
            return
        codes = np.searchsorted(self._rows.offsets, rows, side="right") - 1
        bounds = np.flatnonzero(np.diff(codes, prepend=-1))
        for first, stop in zip(bounds, [*bounds[1:].tolist(), len(rows)], strict=True):
            symbol = self._rows.symbols[int(codes[first])]
            room = stop - first
            if self._most is not None:
                room = max(0, min(room, self._most - self._counts[rule, symbol]))
            told = rows[first : first + room]
            sessions = self._sessions(told)
            for row, session in zip(told.tolist(), sessions, strict=True):
                self.add(
                    rule, symbol, session, severity(row) if callable(severity) else severity, detail(row),
                    at=self._rows.at[row], field=field(row) if callable(field) else field,
                    value=value(row) if value else np.nan, expected=expected(row) if expected else np.nan,
                )  # fmt: skip
            if room < stop - first:
                self._counts[rule, symbol] += int(stop - first) - room
                last = int(rows[stop - 1])
                grave = severity(last) if callable(severity) else severity
                self._skip((rule, symbol), self._sessions(rows[stop - 1 : stop])[0], grave)

    def finish(self) -> list[Finding]:
        """All findings, blocks first, then by session, symbol, time and rule; what was left out is the last."""
        made = list(self.findings)
        for (rule, symbol), (last, severity) in self._ends.items():
            more = self._counts[rule, symbol] - (self._most or 0)
            detail = f"and {more:,} more, the last on {last.astype('datetime64[D]')}"
            made.append(Finding(symbol, last, last, last, rule, severity, "", float(more), np.nan, detail))
        made.sort(key=lambda f: (f.severity, f.session, f.symbol, f.at, f.rule, f.field))
        return made

    def _skip(self, key: tuple[str, str], last: np.datetime64, severity: Severity) -> None:
        known = self._ends.get(key)
        if known is not None:
            last = max(last, known[0])
            severity = "block" if "block" in (severity, known[1]) else "warn"
        self._ends[key] = (last, severity)


@dataclass(frozen=True)
class QualityReport:
    """The verdict on a window of bars and its reasons.

    ``told`` are the findings that count, ``excused`` those that a person accepted or the pipeline tolerates.
    ``session`` is the one decided on, if any.
    """

    told: Sequence[Finding]
    session: date | None
    snapshot: int
    symbols: tuple[str, ...]
    excused: Sequence[tuple[Finding, str]] = field(default_factory=tuple)

    @cached_property
    def verdict(self) -> Verdict:
        """``block``, ``warn`` or ``pass``: the gravest finding that counts."""
        return _gravest(finding.severity for finding in self.told)

    @cached_property
    def by_symbol(self) -> Mapping[str, Verdict]:
        """The verdict on every symbol."""
        found: dict[str, list[Severity]] = {symbol: [] for symbol in self.symbols}
        for finding in self.told:
            found.setdefault(finding.symbol, []).append(finding.severity)
        return {symbol: _gravest(severities) for symbol, severities in found.items()}

    @property
    def blocked(self) -> list[str]:
        """Symbols with a finding that blocks, sorted."""
        return sorted({finding.symbol for finding in self.told if finding.severity == "block"})

    @cached_property
    def findings(self) -> pd.DataFrame:
        """One row per finding that counts: blocks first, then by session, symbol, time and rule.

        ``symbol``, ``session`` (datetime64; the first one concerned), ``at`` (datetime64; the bar's own time, in UTC
        by the minute), ``last`` (datetime64; the last session concerned), ``rule``, ``severity``, ``field`` (of the
        bar; empty if it is not one alone), ``value`` (what is there), ``expected`` (what the rule says it should
        be) and ``detail``.
        """
        return _frame(self.told)

    @cached_property
    def accepted(self) -> pd.DataFrame:
        """Findings that do not count, with the same columns and ``because``: who accepted it and why."""
        frame = _frame([finding for finding, _ in self.excused])
        frame["because"] = [because for _, because in self.excused]
        return frame

    def reasons(self) -> list[str]:
        """One line per finding that counts, the gravest first."""
        return [str(finding) for finding in self.told]

    def excuse(self, because: Callable[[Finding], str | None]) -> QualityReport:
        """The same findings, those set aside for which ``because`` gives a reason."""
        told, excused = [], list(self.excused)
        for finding in self.told:
            reason = because(finding)
            if reason is None:
                told.append(finding)
            else:
                excused.append((finding, reason))
        return replace(self, told=tuple(told), excused=tuple(excused))

    def __repr__(self) -> str:
        counts = Counter(finding.rule for finding in self.told)
        what = ", ".join(f"{rule} {count}" for rule, count in counts.most_common(6)) or "nothing found"
        on = f" for {self.session}" if self.session else ""
        return f"<QualityReport {self.verdict}{on}: {len(self.symbols)} symbols, {what}>"

    def _repr_html_(self) -> str:
        """A table for a notebook: the verdict, then the gravest findings."""
        when = f" for {self.session}" if self.session else ""
        head = f"<b>{_coloured(self.verdict)}</b>{when}: {len(self.symbols)} symbols, snapshot {self.snapshot}"
        lines = [_line(finding, finding.severity, finding.detail) for finding in self.told[:_SHOWN]]
        if len(self.told) > _SHOWN:
            lines.append(f"<tr><td colspan=5>and {len(self.told) - _SHOWN:,} more</td></tr>")
        lines += [
            _line(finding, "accepted", f"{finding.detail} ({because})") for finding, because in self.excused[:_SHOWN]
        ]
        names = "".join(
            f"<th style='text-align:left'>{name}</th>" for name in ("", "symbol", "session", "rule", "detail")
        )
        table = f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(lines)}</tbody></table>" if lines else ""
        return f"<div>{head}{table}</div>"


def _line(finding: Finding, word: str, detail: str) -> str:
    until = f" to {finding.until}" if finding.last > finding.session else ""
    meaning = escape(RULES[finding.rule].definition, quote=True) if finding.rule in RULES else ""
    cells = (_coloured(word), escape(finding.symbol), f"{finding.day}{until}")
    rest = (f"<span title='{meaning}'>{escape(finding.rule)}</span>", escape(detail))
    return "<tr>" + "".join(f"<td style='text-align:left'>{cell}</td>" for cell in (*cells, *rest)) + "</tr>"


def _coloured(word: str) -> str:
    return f"<span style='color:{_COLOURS[word]}'>{word}</span>"


def _gravest(severities: Iterable[Severity]) -> Verdict:
    there = set(severities)
    return "block" if "block" in there else "warn" if there else "pass"


def _frame(findings: Sequence[Finding]) -> pd.DataFrame:
    import pandas as pd

    columns = {name: [getattr(finding, name) for finding in findings] for name in COLUMNS}
    for name in ("session", "at", "last"):
        columns[name] = np.array(columns[name], dtype="datetime64[ns]")  # type: ignore[assignment]
    frame = pd.DataFrame(columns, columns=list(COLUMNS))
    words = dict.fromkeys(("symbol", "rule", "severity", "field", "detail"), object)
    return frame.astype({**words, "value": np.float64, "expected": np.float64})
