"""``workbench profile``: what this machine is, what it can do, what it can carry, and what has changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.output import Json, show

if TYPE_CHECKING:
    from workbench.app.machine import MachineReport

_USUAL = 5  # so many earlier ones say what is usual


def register(app: typer.Typer) -> None:
    app.command("profile")(profile)


def profile(
    quick: Annotated[
        bool, typer.Option("--quick", help="Under 5 s: the machine alone, not the product on it.")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Only what has changed since the last time; exit code 1 if for the worse.")
    ] = False,
    tensorflow: Annotated[
        bool, typer.Option("--tensorflow", help="Ask TensorFlow which graphics cards it can use, too; 10 s more.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look at this machine: what it is, what it can do (in under 30 s), what it carries, and what to change.

    Every look is kept below data/hardware.
    """
    from workbench.app import machine, open_workbench

    workbench = open_workbench()
    try:
        settings = workbench.settings
        earlier = _earlier(settings.data_dir) if compare else []
        report = machine.look(settings, workbench.calendar, workbench.clock, quick=quick, tensorflow=tensorflow)
        file = machine.keep(settings, report)
        machine.merge(workbench)
    finally:
        workbench.close()
    if compare:
        _show_changes(earlier, report, as_json=as_json)
        return
    if as_json:
        import json

        typer.echo(json.dumps(report.to_dict(), indent=2))
        return
    _show(report)
    typer.echo(f"kept in {file}")


def _earlier(data_dir: Path) -> list[dict[str, Any]]:
    from workbench.errors import DataError
    from workbench.hardware.measurements import Measurements

    kept = list(Measurements.of(data_dir).read("profile", last=_USUAL))
    if not kept:
        raise DataError("no profile has been kept yet", hint="run `workbench profile` once, and again later to compare")
    return kept


def _show_changes(earlier: list[dict[str, Any]], report: MachineReport, *, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    from workbench.hardware.comparing import compare

    after = json.loads(json.dumps(report.to_dict()))  # as it will be read again
    found = compare(earlier, after)
    rows = [asdict(difference) for difference in found]
    show(rows, ["change", "what", "before", "after", "factor"], as_json=as_json,
         empty=f"nothing has changed since {earlier[-1]['measured_at'][:16]}")  # fmt: skip
    if any(difference.change == "worse" for difference in found):
        raise typer.Exit(1)


def _show(report: MachineReport) -> None:
    from workbench.hardware.wording import rows

    described = [{"part": part, "property": name, "value": value} for part, name, value in rows(report.profile)]
    show(described, ["part", "property", "value"], as_json=False, empty="")
    typer.echo("\nMeasured")
    measured = [{"what": what, "value": value} for what, value in _measured(report)]
    show(measured, ["what", "value"], as_json=False, empty="nothing")
    typer.echo("\nIt carries")
    show(
        [{"what": what, "value": value} for what, value in _carried(report)], ["what", "value"], as_json=False, empty=""
    )
    typer.echo("\nAdvice")
    for advice in report.advice:
        more = f" {advice.doubling[0].upper()}{advice.doubling[1:]}." if advice.doubling else ""
        typer.echo(f"  {advice.state:<5} {advice.topic}: {advice.words}. Why: {advice.reason}.{more}")


def _measured(report: MachineReport) -> Iterator[tuple[str, str]]:
    found = report.capability
    for threads, rate in found.blas_gflops.items():
        yield f"arithmetic, {_threads(threads)}", f"{rate:,.1f} GFLOP/s"
    for threads, rate in found.memory_gb_per_s.items():
        yield f"memory copy, {_threads(threads)}", f"{rate:,.1f} GB/s"
    if found.disk is not None:
        where = "" if found.disk.direct else ", may be from memory"
        yield "disk, written", f"{found.disk.write_mb_per_s:,.0f} MB/s"
        yield "disk, read", f"{found.disk.read_mb_per_s:,.0f} MB/s{where}"
        yield "disk, 4 KiB at random places", f"{found.disk.random_reads_per_s:,.0f} reads/s{where}"
    figures = (
        ("DuckDB scan", found.scan_rows_per_s, "{:,.0f} rows/s"),
        ("sweep", found.sweep_bars_per_s, "{:,.0f} combinations x bars/s"),
        ("a year of zipline, 4 symbols", found.zipline_year_s, "{:.2f} s"),
        ("notebook, cold start to end", found.notebook_cold_s, "{:.2f} s"),
        ("notebook, warm", found.notebook_warm_s, "{:.2f} s"),
        ("order, proposal to answer", found.order_ms, "{:.1f} ms"),
        ("orders in a rebalance", found.orders_per_s, "{:,.0f} a second"),
    )
    yield from ((what, text.format(value)) for what, value, text in figures if value is not None)
    yield from ((what, f"not measured: {why}") for what, why in found.skipped.items())


def _carried(report: MachineReport) -> Iterator[tuple[str, str]]:
    from workbench.hardware.wording import size

    carries = report.budget
    each = size(carries.defaults.memory_per_worker_bytes)
    yield "workers", f"{carries.defaults.workers} with {each} each"
    yield "jobs side by side", str(carries.defaults.side_by_side)
    yield "bars cleaned at a time", f"{carries.defaults.cleaning_rows:,}"
    for years, symbols in carries.universe.items():
        yield f"universe, {years} years of daily bars", f"{symbols:,} symbols in memory"
    if carries.sweep_combinations is not None:
        yield "sweep of an hour, 5,000 bars", f"{carries.sweep_combinations:,} combinations"
    if carries.orders_per_s is not None:
        yield "orders", f"{carries.orders_per_s:,.0f} a second"
    if carries.daily_job_s is not None:
        parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in carries.daily_job_parts_s.items())
        yield "daily job, 500 symbols x 5 years, 50 orders", f"at least {carries.daily_job_s:.1f} s ({parts})"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
