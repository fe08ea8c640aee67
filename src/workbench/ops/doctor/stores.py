"""Folders, the lake and the reports: can they be written, and are they sound?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from workbench.errors import ReportsLocked
from workbench.hardware.disk import read_disk
from workbench.hardware.measurements import Measurements
from workbench.journal import Journal
from workbench.ops.doctor.check import Check, Patient

if TYPE_CHECKING:
    import duckdb

_UNFIT_PLACES = {
    "network": "SQLite's journal does not work on a network filesystem; move data to a local disk",
    "memory": "a journal that does not survive a restart is none; move data to a disk",
}


def folders(patient: Patient) -> Iterator[Check]:
    """Can everything be written that is written?"""
    settings = patient.settings
    wanted = (
        settings.data_dir, settings.runs_dir, settings.lake_dir, settings.exchange_dir, settings.tearsheets_dir,
        settings.cache_dir,
    )  # fmt: skip
    for folder in wanted:
        probe = folder / ".doctor"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe.write_text("x", encoding="utf-8")
            probe.unlink()
        except OSError as error:
            yield Check("folders", "fail", f"{folder}: {error.strerror}", "make it a folder that can be written")
            return
    yield Check("folders", "ok", f"{settings.data_dir} can be written")


def place(patient: Patient) -> Iterator[Check]:
    """Does the data lie where a journal can live?"""
    disk = read_disk(patient.settings.data_dir)
    words = f"{disk.filesystem or 'an unknown filesystem'} on {disk.kind or 'an unknown kind of disk'}"
    if disk.kind in _UNFIT_PLACES:
        yield Check("data folder", "fail", words, _UNFIT_PLACES[disk.kind])
    elif disk.kind == "overlay":
        yield Check("data folder", "warn", f"{words}: it goes when the container does", "mount a volume there")
    else:
        yield Check("data folder", "ok", words)


def lake(patient: Patient) -> Iterator[Check]:
    """Opens the catalog."""
    from workbench.data.lake import Lake

    with Lake(patient.settings.lake_dir) as found:
        if found.is_empty():
            yield Check("lake", "warn", "no market data yet", "run `workbench data load`")
        else:
            yield Check("lake", "ok", f"{len(found.symbols())} symbols, snapshot {found.snapshot()}")


def reports(patient: Patient) -> Iterator[Check]:
    """Is the reports database whole, and does it have what the journal has?"""
    from workbench.reports.store import opened

    settings = patient.settings
    if not settings.reports_file.is_file():
        yield Check("reports", "ok", "not made yet")
        return
    try:
        with opened(settings.reports_file, clock=patient.clock, wait_s=0.2, read_only=True) as connection:
            rows = _read_through(connection)
            merged = connection.execute("SELECT last_id FROM watermarks WHERE source='run_events'").fetchone()
    except ReportsLocked as error:
        yield Check("reports", "warn", error.message, "close the other program; the next run merges")
        return
    with Journal(settings.journal_file, patient.clock) as book:
        known = book.read("SELECT coalesce(max(id), 0) AS last FROM run_events")[0]["last"]
    behind = known - (merged[0] if merged else 0)
    if behind > 0:
        yield Check("reports", "warn", f"{behind} events of the journal are not merged", "run `workbench report`")
    else:
        yield Check("reports", "ok", f"{rows:,} rows in {settings.reports_file.name}, every one read")


def measurements(patient: Patient) -> Iterator[Check]:
    """Can what was measured be read again?"""
    kept = Measurements.of(patient.settings.data_dir)
    counts = [len(list(kept.read(kind))) for kind in ("profile", "latency")]
    yield Check("measurements", "ok", f"{counts[0]} profiles, {counts[1]} of latency")


def _read_through(connection: duckdb.DuckDBPyConnection) -> int:
    """Read every value of every table, which checks the sum of every block; how many rows there are."""
    tables = connection.execute("SELECT table_name FROM duckdb_tables() WHERE database_name=current_database()")
    total = 0
    for (name,) in tables.fetchall():
        row = connection.execute(f'SELECT count(*), bit_xor(hash(t)) FROM "{name}" t').fetchone()
        total += row[0] if row else 0
    return total
