"""``workbench latency``: how far the venues are, and whether that has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.cli.output import Json, show

_COLUMNS = ["target", "address", "loss", "dns_ms", "tcp_ms", "tls_ms", "first_byte_ms", "order_ms", "p95_ms", "p99_ms",
            "jitter_ms", "clock_offset_ms"]  # fmt: skip


def register(app: typer.Typer) -> None:
    app.command("latency")(latency)


def latency(
    hosts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[HOST]...", help="host, host:port or an address; the configured venues if left out."),
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(metavar="IP|INTERFACE", help="Leave by this; several are compared.")
    ] = None,
    tries: Annotated[int | None, typer.Option(min=1, max=10_000, help="How often; the setting if left out.")] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Show what was measured before, and measure nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure names, connection, encryption, first byte and order round trip, in milliseconds; the median is shown.

    Exit code 1 if a host was not reached, or something has become worse than it used to be.
    """
    from workbench.app import machine, open_workbench
    from workbench.hardware.latency import alarms, nearest

    workbench = open_workbench()
    try:
        settings, clock = workbench.settings, workbench.clock
        if history:
            _show_history(settings.data_dir, as_json=as_json)
            return
        found = [] if hosts else [machine.measure_practice(settings, workbench.calendar, clock, tries=tries)]
        wanted = hosts or machine.venues(settings)
        found += machine.measure_hosts(settings, clock, wanted, sources=source or (), tries=tries)
        given = settings.latency
        offset_s = settings.machine.max_clock_offset_s
        said = [
            alarms(
                one,
                machine.earlier_latency(settings, one.target),
                factor=given.alarm_factor,
                max_offset_s=offset_s,
            )
            for one in found
        ]
        machine.keep_latency(settings, found)
        machine.merge(workbench)
    finally:
        workbench.close()
    rows = [{**_row(one.to_dict()), "alarms": heard} for one, heard in zip(found, said, strict=True)]
    show(rows, _COLUMNS, as_json=as_json, empty="nothing to measure")
    if not as_json:
        first = nearest([one for one in found if one.target.name != machine.PRACTICE])
        if first is not None and len(found) > 1:
            typer.echo(f"nearest: {first.target.label}")
        for line in (line for heard in said for line in heard):
            typer.echo(f"ALARM: {line}")
        if not hosts and not wanted:
            typer.echo("no venue is configured beyond the paper exchange: name hosts, or set latency.hosts")
    if any(said) or any(one.loss == 1 for one in found):
        raise typer.Exit(1)


def _row(one: dict[str, Any]) -> dict[str, object]:
    """A line of the table: medians, and the percentiles of the stage that matters most, the order or the connection."""
    target = one["target"]
    stages = ("dns_ms", "tcp_ms", "tls_ms", "first_byte_ms", "order_ms")
    main = next((one[stage] for stage in ("order_ms", "first_byte_ms", "tcp_ms") if one.get(stage)), None)
    label = target["name"] if not target["source"] else f"{target['name']} from {target['source']}"
    return {
        "measured_at": one["measured_at"],
        "target": label,
        "address": one["address"],
        "tries": one["tries"],
        "loss": round(one["loss"], 4),
        "failures": one["failures"],
        **{stage: round(one[stage]["p50"], 3) if one.get(stage) else None for stage in stages},
        **{f"{name}_ms": round(main[name], 3) if main else None for name in ("p95", "p99", "jitter")},
        "clock_offset_ms": None if one["clock_offset_ms"] is None else round(one["clock_offset_ms"], 1),
        "clock_error_ms": None if one["clock_error_ms"] is None else round(one["clock_error_ms"], 1),
    }


def _show_history(data_dir: Path, *, as_json: bool) -> None:
    from workbench.hardware.measurements import Measurements

    rows = [_row(one) for kept in Measurements.of(data_dir).read("latency") for one in kept["results"]]
    show(rows, ["measured_at", *_COLUMNS], as_json=as_json, empty="nothing has been measured yet")
