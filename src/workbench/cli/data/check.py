"""``workbench data check | accept | accepted | revoke``: is the data fit to trade on, and what people can live with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.output import Json, console, show, who

if TYPE_CHECKING:
    from workbench.data.quality import Finding, QualityReport

Day = Annotated[str | None, typer.Option(metavar="DATE")]
_COLOURS = {"block": "bold red", "warn": "yellow", "pass": "green", "accepted": "dim"}
_SHOWN = 100


class Frequency(StrEnum):
    """What bars."""

    DAILY = "daily"
    MINUTE = "minute"


def check(
    symbols: Annotated[list[str] | None, typer.Argument(help="All of the lake if left out.")] = None,
    session: Annotated[
        str | None, typer.Option(metavar="DATE", help="Judge as before deciding on this session's close.")
    ] = None,
    snapshot: Annotated[int | None, typer.Option(help="As known in this snapshot.")] = None,
    start: Annotated[str | None, typer.Option("--from", metavar="DATE", help="First session.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Last session.")] = None,
    frequency: Annotated[Frequency, typer.Option(help="Daily bars, or bars by the minute.")] = Frequency.DAILY,
    rules: Annotated[bool, typer.Option("--rules", help="Say what every rule asks, and check nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Judge raw bars by every rule; the verdict goes on record. Exits with 1 if it is block, with 0 on pass or warn."""
    if rules:
        _rules(as_json=as_json)
        return
    from workbench.app import checking, open_workbench
    from workbench.cli.run import parse_date
    from workbench.errors import ConfigError

    days = {name: parse_date(text) if text else None for name, text in (("s", session), ("f", start), ("t", end))}
    if days["s"] and days["t"]:
        raise ConfigError("--session is the last session there is; leave out --to")
    if days["f"] and (days["s"] or days["t"] or date.max) < days["f"]:
        raise ConfigError(f"--from {days['f']} is after the end")
    workbench = open_workbench()
    try:
        report = checking.check(
            workbench, symbols, start=days["f"], end=days["t"], session=days["s"], snapshot=snapshot,
            frequency=frequency.value,
        )  # fmt: skip
        checking.keep(workbench, report)
    finally:
        workbench.close()
    if as_json:
        typer.echo(json.dumps(_as_json(report), indent=2))
    else:
        _print(report)
    raise typer.Exit(1 if report.verdict == "block" else 0)


def accept(
    rule: Annotated[str, typer.Argument(help="Name of the rule; `workbench data check --rules` lists them.")],
    symbol: str,
    why: Annotated[str, typer.Option(help="Why it is harmless; kept on record.")],
    until: Annotated[str, typer.Option(metavar="DATE", help="Last day on which it counts.")],
    start: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="First session covered; what is found now if left out.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Last session covered.")] = None,
    by: Annotated[str | None, typer.Option("--who", help="Who answers for it; the user if left out.")] = None,
) -> None:
    """Put on record that you can live with what a rule finds of a symbol: it does not stop a job until then."""
    from workbench.app import checking, open_workbench
    from workbench.cli.run import parse_date

    workbench = open_workbench()
    try:
        record, found = checking.accept(
            workbench, rule, symbol, first=parse_date(start) if start else None, last=parse_date(end) if end else None,
            who=who() if by is None else by, why=why, until=parse_date(until),
        )  # fmt: skip
    finally:
        workbench.close()
    count = "1 finding" if len(found) == 1 else f"{len(found)} findings"
    typer.echo(
        f"acceptance {record.number}: {rule} of {symbol}, {record.first} to {record.last}, until {record.until}, "
        f"by {record.actor}; it covers {count} now"
    )
    for finding in found[:5]:
        typer.echo(f"  {finding}")


def accepted(as_json: Json = False) -> None:
    """What has been accepted, by whom, why and until when; revoked and expired ones too."""
    from workbench.app import open_workbench
    from workbench.journal import Judgements

    workbench = open_workbench()
    try:
        records = Judgements(workbench.journal).acceptances()
        today = workbench.clock.now().date()
    finally:
        workbench.close()
    rows = [
        {
            "number": record.number, "rule": record.rule, "symbol": record.symbol, "first": record.first,
            "last": record.last, "until": record.until, "who": record.actor, "why": record.why,
            "state": "revoked" if record.is_revoked else "expired" if record.until < today else "stands",
            "made_at": record.at, "revoked_by": record.revoked_by, "revoked_why": record.revoked_why,
        }
        for record in records
    ]  # fmt: skip
    columns = ["number", "rule", "symbol", "first", "last", "until", "state", "who", "why"]
    show(rows, columns, as_json=as_json, empty="nothing has been accepted")


def revoke(
    number: Annotated[int, typer.Argument(help="As `workbench data accepted` lists it.")],
    why: Annotated[str, typer.Option(help="Why it is taken back; kept on record.")],
    by: Annotated[str | None, typer.Option("--who", help="Who takes it back; the user if left out.")] = None,
) -> None:
    """Take an acceptance back: what it covered counts again from now on."""
    from workbench.app import open_workbench
    from workbench.errors import ConfigError
    from workbench.journal import Judgements

    person = who() if by is None else by.strip()
    if not person or not why.strip():
        raise ConfigError("a revocation needs a person and a reason; nothing was changed")
    workbench = open_workbench()
    try:
        Judgements(workbench.journal).revoke(number, actor=person, why=why.strip())
    finally:
        workbench.close()
    typer.echo(f"acceptance {number} is revoked by {person}: what it covered counts again")


def _rules(*, as_json: bool) -> None:
    from workbench.data.rules import RULES

    rows = [
        {"rule": r.name, "severity": r.severity, "bars": ", ".join(r.frequencies), "definition": r.definition}
        for r in RULES.values()
    ]
    show(rows, ["rule", "severity", "bars", "definition"], as_json=as_json, empty="no rules")


def _print(report: QualityReport) -> None:
    """A table with colours by severity on a terminal, plain lines in a pipe."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in ("", "symbol", "session", "rule", "detail"):
        table.add_column(column, overflow="fold")
    lines: list[tuple[str, Finding, str]] = [(f.severity, f, f.detail) for f in report.told[:_SHOWN]]
    lines += [("accepted", finding, f"{finding.detail} ({why})") for finding, why in report.excused[:_SHOWN]]
    for word, finding, detail in lines:
        colour = _COLOURS[word]
        table.add_row(Text(word, style=colour), finding.symbol, _when(finding), finding.rule, detail)
    screen = console()
    if lines:
        screen.print(table)
    if len(report.told) > _SHOWN:
        screen.print(f"and {len(report.told) - _SHOWN:,} more: --json lists them")
    screen.print(_summary(report), style=_COLOURS[report.verdict])


def _summary(report: QualityReport) -> str:
    """The verdict in a line, of all and of each symbol that does not pass."""
    verdicts = list(report.by_symbol.values())
    counts = ", ".join(f"{verdicts.count(word)} {word}" for word in ("block", "warn", "pass") if word in verdicts)
    blocked = f": {', '.join(report.blocked[:10])}" if report.blocked else ""
    return f"{report.verdict}{blocked}; of {len(report.symbols)} symbols {counts}; snapshot {report.snapshot}"


def _when(finding: Finding) -> str:
    return finding.day if finding.last <= finding.session else f"{finding.day} to {finding.until}"


def _as_json(report: QualityReport) -> dict[str, object]:
    return {
        "verdict": report.verdict, "snapshot": report.snapshot,
        "session": str(report.session) if report.session else None,
        "symbols": dict(report.by_symbol), "findings": _plain(report.told),
        "accepted": [row | {"because": why} for row, (_, why) in zip(
            _plain([finding for finding, _ in report.excused]), report.excused, strict=True)],
    }  # fmt: skip


def _plain(findings: Sequence[Finding]) -> list[dict[str, object]]:
    return [
        {
            "symbol": f.symbol, "session": f.day, "at": str(f.at.astype("datetime64[s]")), "last": f.until,
            "rule": f.rule, "severity": f.severity, "field": f.field, "value": _number(f.value),
            "expected": _number(f.expected),
            "detail": f.detail,
        }
        for f in findings
    ]  # fmt: skip


def _number(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if abs(value) < float("inf") else None
