"""Is everything there that the product needs? Each check says what it found and, if it is not well, the way out."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workbench.calendars import calendar
from workbench.clock import Clock
from workbench.errors import ReportsLocked, WorkbenchError
from workbench.journal import Controls, Journal, RunJournal
from workbench.journal.controls import BREAKER, Stop
from workbench.settings import Settings

if TYPE_CHECKING:
    from importlib.metadata import Distribution

State = Literal["ok", "warn", "fail"]
_RECONCILE = "`workbench reconcile` says what would put it right, `--adopt` applies it"
_FREE_WARN, _FREE_FAIL = 5 * 2**30, 2**28
# The packages that the product is built around, by the name they are imported under.
PACKAGES = (
    "alpaca_trade_api",
    "duckdb",
    "jupyterlab",
    "nbval",
    "numpy",
    "pandas",
    "papermill",
    "pytest",
    "sklearn",
    "tensorflow",
    "vectorbt",
    "zipline",
)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor."""

    name: str
    state: State
    found: str
    fix: str = ""


def examine(settings: Settings, clock: Clock) -> list[Check]:
    """Run every check; one that breaks is a failure with its error, never an exception."""
    checks: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("python", _python),
        ("packages", _packages),
        ("lock", lambda: _lock(settings.home / "requirements.lock")),
        ("folders", lambda: _folders(settings)),
        ("disk", lambda: _disk(settings)),
        ("calendar", lambda: _calendar(settings, clock)),
        ("lake", lambda: _lake(settings)),
        ("journal", lambda: _journal(settings, clock)),
        ("reports", lambda: _reports(settings, clock)),
    ]
    found: list[Check] = []
    for name, check in checks:
        try:
            found.extend(check())
        except WorkbenchError as error:
            found.append(Check(name, "fail", error.message, error.hint or ""))
        except Exception as error:  # the doctor must tell of a fault it was not written for, too
            found.append(Check(name, "fail", f"{type(error).__name__}: {error}"))
    return found


def _python() -> Iterator[Check]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    well = (3, 11) <= sys.version_info[:2] < (3, 13)
    yield Check("python", "ok" if well else "fail", version, "" if well else "use Python 3.11 or 3.12")


def _packages() -> Iterator[Check]:
    """Are they installed? Importing all of them takes half a minute and is left to the tests."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        yield Check("packages", "fail", f"not installed: {', '.join(missing)}", "run `make venv`")
    else:
        yield Check("packages", "ok", f"{len(PACKAGES)} packages installed")


def _lock(lock: Path) -> Iterator[Check]:
    """Do the installed versions agree with the lock?"""
    if not lock.is_file():
        yield Check("lock", "warn", "no requirements.lock here", "run workbench in its own checkout")
        return
    locked = re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    wanted: dict[str, set[str]] = {}
    for name, version in locked:
        wanted.setdefault(_canonical(name), set()).add(version)
    installed = {_canonical(d.metadata["Name"]): d.version for d in _distributions()}
    wrong = [f"{n} {installed[n]}" for n, versions in wanted.items() if n in installed and installed[n] not in versions]
    if wrong:
        yield Check("lock", "warn", f"other versions than locked: {', '.join(sorted(wrong)[:5])}", "run `make venv`")
    else:
        yield Check("lock", "ok", f"{len(wanted)} packages agree with requirements.lock")


def _folders(settings: Settings) -> Iterator[Check]:
    for folder in (settings.data_dir, settings.runs_dir, settings.lake_dir, settings.exchange_dir):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".doctor"
        try:
            probe.write_text("x", encoding="utf-8")
            probe.unlink()
        except OSError as error:
            yield Check("folders", "fail", f"{folder}: {error.strerror}", "make it writable")
            return
    yield Check("folders", "ok", f"{settings.data_dir} can be written")


def _disk(settings: Settings) -> Iterator[Check]:
    free = shutil.disk_usage(settings.home).free
    state: State = "fail" if free < _FREE_FAIL else "warn" if free < _FREE_WARN else "ok"
    yield Check("disk", state, f"{free / 2**30:.1f} GiB free", "" if state == "ok" else "free some space")


def _calendar(settings: Settings, clock: Clock) -> Iterator[Check]:
    exchange = calendar(settings.calendar, settings.cache_dir)
    days = (exchange.last - clock.now().date()).days
    if days < 60:
        yield Check("calendar", "warn", f"{exchange.name} ends {exchange.last}", "update exchange-calendars")
    else:
        yield Check("calendar", "ok", f"{exchange.name} to {exchange.last}")


def _lake(settings: Settings) -> Iterator[Check]:
    """Opens the catalog, which also loads DuckDB's extensions."""
    from workbench.data.lake import Lake

    with Lake(settings.lake_dir) as lake:
        if lake.is_empty():
            yield Check("lake", "warn", "no market data yet", "run `workbench data load`")
        else:
            yield Check("lake", "ok", f"{len(lake.symbols())} symbols, snapshot {lake.snapshot()}")


def _journal(settings: Settings, clock: Clock) -> Iterator[Check]:
    with Journal(settings.journal_file, clock) as journal:
        verdict = journal.read("PRAGMA quick_check")[0][0]
        if verdict != "ok":
            yield Check("journal", "fail", f"damaged: {verdict}", "move it aside and restore a backup before trading")
            return
        yield Check("journal", "ok", f"{settings.journal_file.name} is sound")
        yield from _stops(Controls(journal).halted())
        yield from _locks(journal)
        yield from _reconciliations(journal)
        doubt = journal.read("SELECT count(*) AS n FROM intents WHERE state IN ('unknown', 'submitting')")[0]["n"]
        if doubt:
            yield Check("orders", "warn", f"{doubt} orders in doubt", "run the same session again: it looks them up")
        else:
            yield Check("orders", "ok", "none in doubt")
        yield from _last_runs(RunJournal(journal))


def _stops(stops: list[Stop]) -> Iterator[Check]:
    """Is anything stopped, by a person or by a breaker?"""
    from workbench.reports.status import describe_stop

    for stop in stops:
        name = stop.cause.removeprefix(BREAKER)
        way_out = "`workbench resume`" if name == stop.cause else f"`workbench risk reset {name}`, with name and reason"
        yield Check("trading", "warn", describe_stop(stop), way_out)
    if not stops:
        yield Check("trading", "ok", "active")


def _locks(journal: Journal) -> Iterator[Check]:
    """Do books and venue disagree about a symbol?"""
    from workbench.reports.status import describe_lock

    accounts = [row["account"] for row in journal.read("SELECT DISTINCT account FROM locks ORDER BY account")]
    standing = [(name, lock) for name in accounts for lock in Controls(journal).locks(name).items()]
    for account, (symbol, reason) in standing:
        yield Check("locks", "warn", describe_lock(account, symbol, reason), _RECONCILE)
    if not standing:
        yield Check("locks", "ok", "no symbol is locked")


def _reconciliations(journal: Journal) -> Iterator[Check]:
    """When were the books of each account compared with its venue, and did they agree?"""
    last = journal.read(
        "SELECT * FROM reconciliations WHERE id IN (SELECT max(id) FROM reconciliations GROUP BY account)"
        " ORDER BY account"
    )
    for row in last:
        found = [difference["difference"] for difference in json.loads(row["differences"])]
        when = f"{row['account']} at {row['at'][:16]} ({row['moment']})"
        if row["agrees"]:
            yield Check("reconciliation", "ok", f"{when}: books and venue agree")
        else:
            count = "1 difference" if len(found) == 1 else f"{len(found)} differences"
            yield Check("reconciliation", "warn", f"{when}: {count}: {'; '.join(found)[:200]}", _RECONCILE)
    if not last:
        yield Check("reconciliation", "ok", "none yet")


def _last_runs(runs: RunJournal) -> Iterator[Check]:
    last = {run.key.pipeline: run for run in runs.runs()}
    for pipeline, run in sorted(last.items()):
        gone = run.state.is_active and not run.owner.is_alive()
        words = f"{pipeline} for {run.key.session}: {run.state.value}"
        if gone:
            yield Check("runs", "warn", f"{words}, but its process is gone", "run the same session again to resume it")
        elif run.exit_code:
            yield Check("runs", "warn", f"{words}: {run.reason[:120]}", "run the same session again to resume it")
        else:
            yield Check("runs", "ok", words)


def _reports(settings: Settings, clock: Clock) -> Iterator[Check]:
    from workbench.reports.store import opened

    if not settings.reports_file.is_file():
        yield Check("reports", "ok", "not made yet")
        return
    try:
        with opened(settings.reports_file, clock=clock, wait_s=0.2, read_only=True) as connection:
            rows = connection.execute("SELECT count(*) FROM runs").fetchone()
    except ReportsLocked as error:
        yield Check("reports", "warn", error.message, "close the other program; the next run merges")
        return
    yield Check("reports", "ok", f"{rows[0] if rows else 0} runs in {settings.reports_file.name}")


def _distributions() -> Iterator[Distribution]:
    return (d for d in importlib.metadata.distributions() if d.metadata["Name"])


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
