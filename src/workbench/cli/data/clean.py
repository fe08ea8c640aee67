"""``workbench data clean | repairs``: repair beside the raw bars, and read the ledger."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.output import Json, show

if TYPE_CHECKING:
    from workbench.app.cleaning import Progress
    from workbench.data.cleaning import CleaningResult
    from workbench.data.rows import Frequency

Symbols = Annotated[
    list[str] | None, typer.Argument(metavar="[SYMBOL]...", help="All if left out.", show_default=False)
]
_REPAIRS = ["symbol", "at", "field", "old", "new", "rule", "action", "reason"]


def clean(
    symbols: Symbols = None,
    policy: Annotated[Path | None, typer.Option(help="A TOML file with an action for each rule.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="One choice, as in outlier=previous; repeat it.")] = None,
    frequency: Annotated[str, typer.Option(help="daily or minute.")] = "daily",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Repair what the quality rules find, beside the raw bars; every cell goes on record.

    The policy comes from --policy, else from [cleaning] in workbench.toml; its defaults repair only what has one right
    answer. What is left alone is listed with the reason. Cleaning again changes nothing.
    """
    from workbench.app import cleaning, open_workbench

    workbench = open_workbench()
    try:
        chosen = cleaning.find_policy(workbench, policy, option or ())
        with _progress() as tell:
            outcome = cleaning.run(
                workbench, symbols or None, chosen, frequency=_frequency(frequency), write=not dry_run, progress=tell
            )
        if as_json:
            _print_json(outcome)
        else:
            _print(outcome)
    finally:
        workbench.close()


def repairs(
    symbols: Symbols = None,
    rule: Annotated[str | None, typer.Option(help="Only this rule's.")] = None,
    snapshot: Annotated[int | None, typer.Option(help="As known in this snapshot.")] = None,
    as_json: Json = False,
) -> None:
    """The repair ledger: every cell that cleaned bars have otherwise than raw ones, and why."""
    from workbench.app import open_workbench
    from workbench.data.cleaning.policy import rules
    from workbench.errors import ConfigError, nearest

    if rule is not None and rule not in rules():
        raise ConfigError(f"no rule {rule!r}", hint=nearest(rule, rules()))
    workbench = open_workbench()
    try:
        frame = workbench.lake.repairs(symbols or None, snapshot=snapshot)
        rows = _plain(frame if rule is None else frame[frame["rule"] == rule])
        show(rows, _REPAIRS, as_json=as_json, empty="nothing was repaired")
    finally:
        workbench.close()


def _frequency(text: str) -> Frequency:
    from workbench.errors import ConfigError, nearest

    if text == "daily":
        return "daily"
    if text == "minute":
        return "minute"
    raise ConfigError(f"no frequency {text!r}", hint=nearest(text, ("daily", "minute")))


def _print(outcome: CleaningResult) -> None:
    from workbench.cli.output import console

    done = [{str(key): value for key, value in row.items()} for row in outcome.summary.to_dict("records")]
    show(done, ["rule", "action", "symbol", "bars", "cells"], as_json=False, empty="nothing to repair")
    left = [
        {"left_alone": rule, "symbol": symbol, "findings": count, "because": because}
        for rule, symbol, count, because in outcome.left_by_rule
    ]
    if left:
        console().print()
        show(left, ["left_alone", "symbol", "findings", "because"], as_json=False, empty="")
    console().print()
    console().print(_last_line(outcome))


def _last_line(outcome: CleaningResult) -> str:
    verdict = f"{outcome.before.verdict} before, {outcome.after.verdict} after, policy {outcome.policy.digest}"
    if outcome.stored is None:
        return f"nothing written (--dry-run): {len(outcome.changes)} bars would differ from raw; {verdict}"
    kept = f"{outcome.stored.cleaned} cleaned bars, {outcome.stored.actions} actions, {outcome.stored.repairs} repairs"
    what = "nothing has changed since" if outcome.stored.unchanged else "written as"
    return f"{kept}: {what} snapshot {outcome.stored.snapshot}; {verdict}"


def _print_json(outcome: CleaningResult) -> None:
    import json
    from dataclasses import asdict

    found = {
        "policy": outcome.policy.model_dump(mode="json") | {"digest": outcome.policy.digest},
        "before": outcome.before.verdict,
        "after": outcome.after.verdict,
        "stored": None if outcome.stored is None else asdict(outcome.stored),
        "summary": outcome.summary.to_dict("records"),
        "repairs": _plain(outcome.repairs),
        "left": [
            {"rule": one.finding.rule, "symbol": one.finding.symbol, "session": one.finding.day,
             "severity": one.finding.severity, "detail": one.finding.detail, "because": one.because}
            for one in outcome.left
        ],
    }  # fmt: skip
    typer.echo(json.dumps(found, indent=2))


def _plain(frame: Any) -> list[dict[str, object]]:
    """A ledger's rows with moments as text and no price as None."""
    rows = []
    for row in frame.to_dict("records"):
        plain = {str(key): None if value != value else value for key, value in row.items()}
        for key in ("at", "made_at"):
            if key in plain:
                plain[key] = _moment(plain[key])
        rows.append(plain)
    return rows


def _moment(value: Any) -> str:
    return f"{value:%Y-%m-%d}" if value == value.normalize() else value.isoformat()


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """A bar over the rows on the terminal's error stream; none where that is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from workbench.cli.output import console

    columns = (TextColumn("cleaning {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)
