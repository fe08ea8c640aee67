"""Judges data with what people accepted and a pipeline tolerates, and keeps the verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from workbench.errors import ConfigError, DataError, nearest
from workbench.journal import Journal, Judgements

if TYPE_CHECKING:
    from workbench.app.installation import Installation
    from workbench.data.quality import Acceptance, Finding, QualityReport
    from workbench.data.rules import Frequency
    from workbench.journal.judgements import AcceptanceRecord

# Findings of a verdict that are put on record one by one, the gravest first; the rest is counted.
KEPT = 200
_GRAVITY = ("pass", "warn", "block")


def check(
    workbench: Installation,
    symbols: Sequence[str] | None = None,
    *,
    sessions: int | None = None,
    start: date | None = None,
    end: date | None = None,
    session: date | None = None,
    snapshot: int | None = None,
    frequency: Frequency = "daily",
    tolerate: Sequence[str] = (),
    accepted: Sequence[Acceptance] | None = None,
) -> QualityReport:
    """Judge raw bars of the lake: of the last ``sessions`` exchange sessions, or from ``start`` to ``end``.

    ``accepted`` is what people can live with, by the journal if left out.

    Raises
    ------
    DataError
        If a symbol or the snapshot is unknown, or there is nothing to judge.
    """
    from workbench.data import quality

    lake, calendar = workbench.lake, workbench.calendar
    snapshot = lake.snapshot() if snapshot is None else snapshot
    wanted = list(symbols) if symbols else lake.symbols(snapshot) if frequency == "daily" else None
    last = session or end
    if sessions is not None:
        until = last or lake.last_session(snapshot)
        before = calendar.sessions(calendar.first, max(until, calendar.first))[-sessions:]
        start = before[0] if before else None
    rows = lake.rows(wanted, start=start, end=last, frequency=frequency, snapshot=snapshot)
    rows = rows.covering(wanted or ())
    names = list(rows.symbols)
    if not names:
        raise DataError("there are no bars by the minute in the lake", hint="leave out --frequency minute")
    crossed = None  # most lakes have no quotes, and to ask for them takes pandas
    if lake.has_quotes(snapshot=snapshot):
        crossed = lake.quotes(names, start=start, end=last, crossed=True, snapshot=snapshot)
    report = quality.check(
        rows,
        lake.action_rows(names, start=start, end=last, snapshot=snapshot, listed=True),
        calendar,
        session=session,
        notices=lake.notice_rows(names, snapshot=snapshot),
        listings=lake.spells(snapshot=snapshot),
        acceptances=acceptances(workbench.journal) if accepted is None else accepted,
        today=workbench.clock.now().date(),
        crossed=crossed,
    )
    return report.excuse(_tolerated(tolerate)) if tolerate else report


def check_for_run(workbench: Installation, symbols: Sequence[str], sessions: int) -> QualityReport:
    """What ``wb.check`` in a notebook does; in a run the verdict is kept, and its order step is held to it."""
    run = workbench.run
    report = check(
        workbench,
        symbols,
        sessions=sessions,
        session=workbench.visible_until,
        snapshot=workbench.data_snapshot,
        tolerate=run.tolerate if run else (),
    )
    if run is not None:
        keep(workbench, report, run.run_id)
    return report


def keep(workbench: Installation, report: QualityReport, run_id: str = "") -> None:
    """Put a verdict on record, with the snapshot and the symbols it is about."""
    told = sorted(report.told, key=lambda finding: finding.severity)[:KEPT]
    Judgements(workbench.journal).record(
        report.snapshot, report.symbols, report.session, report.verdict, [_plain(finding) for finding in told],
        [_plain(finding) | {"because": because} for finding, because in report.excused[:KEPT]],
        found=len(report.told), run_id=run_id,
    )  # fmt: skip


def blocked_by_data(workbench: Installation, run_id: str, max_severity: str, tolerate: Sequence[str] = ()) -> str:
    """Why a run's last verdict keeps it from ordering, in words; empty if it does not, or nobody has asked.

    What has been accepted since, or is tolerated by now, counts, so that a run can go on without its earlier steps.
    """
    verdict = Judgements(workbench.journal).of_run(run_id)
    if verdict is None:
        return ""
    worst = _GRAVITY.index(max_severity)
    if _GRAVITY.index(verdict.verdict) <= worst:
        return ""
    from workbench.data.quality.acceptances import excuses

    because = excuses(acceptances(workbench.journal), workbench.clock.now().date())
    left = [
        finding
        for finding in map(_finding, verdict.findings)
        if _GRAVITY.index(finding.severity) > worst and because(finding) is None and finding.rule not in tolerate
    ]
    if not left and verdict.found > len(verdict.findings):
        return f"{verdict.found} findings, too many to accept without checking anew"
    return "; ".join(str(finding) for finding in left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")


def faults(
    workbench: Installation,
    snapshot: int | None,
    tolerate: Sequence[str],
    sessions: int,
    symbols: Sequence[str],
    session: date,
) -> dict[str, str]:
    """What blocks symbols in the data that is traded on: the gateway's own look, whatever the notebook found."""
    known = sorted(set(symbols) & set(workbench.lake.symbols(snapshot)))
    if not known:
        return {}
    with Journal(workbench.settings.journal_file, workbench.clock) as journal:  # this is the gateway's thread
        accepted = acceptances(journal)
    report = check(
        workbench, known, sessions=sessions, session=session, snapshot=snapshot, tolerate=tolerate, accepted=accepted
    )
    found: dict[str, str] = {}
    for finding in report.told:
        if finding.severity == "block":
            found.setdefault(finding.symbol, f"{finding.rule} on {finding.day}: {finding.detail}")
    return found


def acceptances(journal: Journal) -> list[Acceptance]:
    """What people accepted and nobody revoked; an expired one is among them, and does not count."""
    records = Judgements(journal).standing()
    if not records:
        return []
    from workbench.data.quality import Acceptance

    return [Acceptance(r.rule, r.symbol, r.first, r.last, r.actor, r.why, r.until) for r in records]


def accept(
    workbench: Installation,
    rule: str,
    symbol: str,
    *,
    first: date | None,
    last: date | None,
    who: str,
    why: str,
    until: date,
) -> tuple[AcceptanceRecord, list[Finding]]:
    """Put on record that a person can live with what one rule says of one symbol; returns what it covers today.

    Without dates it covers exactly what is found now.

    Raises
    ------
    ConfigError
        If rule, person, reason or dates are missing or wrong.
    DataError
        If the rule finds nothing of the symbol there: what does not exist cannot be accepted.
    """
    from workbench.data.quality import RULES, Acceptance

    today = workbench.clock.now().date()
    if rule not in RULES:
        raise ConfigError(f"no rule {rule!r}", hint=nearest(rule, RULES))
    if until < today:
        raise ConfigError(f"--until {until} has passed", hint="name the last day on which it is to count")
    found = [f for f in _found(workbench, rule, symbol) if _within(f, first, last)]
    if not found:
        raise DataError(f"{rule} finds nothing of {symbol} there; nothing was accepted", hint="workbench data check")
    first = first or min(f.session for f in found).astype("datetime64[D]").item()
    last = last or max(f.last for f in found).astype("datetime64[D]").item()
    assert first is not None
    assert last is not None
    wanted = Acceptance(rule, symbol, first, last, who.strip(), why.strip(), until)
    record = Judgements(workbench.journal).accept(
        rule, symbol, first, last, actor=wanted.who, why=wanted.why, until=until
    )
    return record, [finding for finding in found if wanted.covers(finding, today)]


def _found(workbench: Installation, rule: str, symbol: str) -> list[Finding]:
    """What a rule finds of a symbol among all that there is of it, and as a session to decide on would."""
    from workbench.data.rules import RULES

    found: list[Finding] = []
    names = workbench.lake.symbols()
    for frequency in RULES[rule].frequencies:
        if frequency == "daily" or _has_minutes(workbench, symbol):
            report = check(workbench, names if frequency == "daily" else [symbol], frequency=frequency)
            found += [*report.told, *(finding for finding, _ in report.excused)]
    last = workbench.lake.last_session()
    report = check(workbench, [symbol], session=last)
    found += [finding for finding in report.told if finding.rule in ("stale", "no_bars")]
    return [finding for finding in found if finding.rule == rule and finding.symbol == symbol]


def _has_minutes(workbench: Installation, symbol: str) -> bool:
    try:
        return len(workbench.lake.rows([symbol], frequency="minute")) > 0
    except DataError:  # no bars by the minute
        return False


def _within(finding: Finding, first: date | None, last: date | None) -> bool:
    import numpy as np

    after = first is None or finding.session >= np.datetime64(first)
    return bool(after and (last is None or finding.session <= np.datetime64(last)))


def _tolerated(rules: Sequence[str]) -> Any:
    names = frozenset(rules)

    def because(finding: Finding) -> str | None:
        return "tolerated by the pipeline" if finding.rule in names else None

    return because


def _plain(finding: Finding) -> dict[str, object]:
    """A finding as JSON holds it."""
    return {
        "symbol": finding.symbol, "session": finding.day, "last": finding.until, "rule": finding.rule,
        "severity": finding.severity, "detail": finding.detail,
    }  # fmt: skip


def _finding(plain: Mapping[str, Any]) -> Finding:
    import numpy as np

    from workbench.data.quality import Finding

    session, last = np.datetime64(plain["session"], "ns"), np.datetime64(plain["last"], "ns")
    nan = float("nan")
    return Finding(
        plain["symbol"], session, session, last, plain["rule"], plain["severity"], "", nan, nan, plain["detail"]
    )
