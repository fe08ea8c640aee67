"""What was measured of the machine and the ways to its venues, read from the kept files for the reports file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from workbench.errors import DataError
from workbench.hardware.measurements import Kind, Measurements, read_measurement
from workbench.reports.tables import Row

# Its name among the watermarks: how many files there are, and the last one of each kind.
SOURCE = "measurements"
_TABLES: dict[str, Kind] = {"profiles": "profile", "latency": "latency"}


@dataclass(frozen=True)
class Fresh:
    """Rows to write by table; ``anew`` says that they are all there are, and what stands there has to go first."""

    rows: dict[str, list[Row]]
    anew: bool


def end(data_dir: Path) -> dict[str, tuple[int, str]]:
    """The watermark of the files as they are now; empty without any."""
    files = _files(data_dir)
    total = sum(len(found) for found in files.values())
    return {SOURCE: (total, _mark(files))} if total else {}


def changes(data_dir: Path, before: tuple[int, str] | None) -> Fresh:
    """What the files have that the reports, last brought up to ``before``, have not.

    Files are only ever added, and later ones have later names. If the count says that somebody did otherwise, all are
    read again. A file that somebody spoilt is left out, because a report of orders must not wait for it; the doctor
    names it.
    """
    files = _files(data_dir)
    marks = before[1].split("|") if before else ["", ""]
    newer = {
        table: [file for file in files[table] if file.name > mark]
        for table, mark in zip(_TABLES, marks, strict=True)
    }  # fmt: skip
    known = before[0] if before else 0
    anew = sum(len(found) for found in files.values()) - sum(len(found) for found in newer.values()) != known
    wanted = files if anew else newer
    rows = {
        "profiles": [row for file in wanted["profiles"] for row in _read(file, _profile)],
        "latency": [row for file in wanted["latency"] for row in _read(file, _latency)],
    }
    return Fresh(rows, anew)


def _files(data_dir: Path) -> dict[str, list[Path]]:
    kept = Measurements.of(data_dir)
    return {table: kept.files(kind) for table, kind in _TABLES.items()}


def _read(file: Path, rows: Callable[[Mapping[str, Any]], Iterable[Row]]) -> list[Row]:
    try:
        return list(rows(read_measurement(file)))
    except (DataError, KeyError, TypeError, ValueError):
        return []


def _mark(files: Mapping[str, list[Path]]) -> str:
    return "|".join(found[-1].name if found else "" for found in files.values())


def _profile(kept: Mapping[str, Any]) -> Iterable[Row]:
    measured = kept.get("capability") or {}
    yield {
        "measured_at": datetime.fromisoformat(kept["measured_at"]),
        "cpu": kept["cpu"]["model"],
        "cores": kept["cpu"]["cores_usable"],
        "memory_bytes": kept["memory"]["total_bytes"],
        "disk": kept["disk"]["kind"],
        "fsync_ms": kept["fsync"]["median_ms"] if kept["fsync"] else None,
        "gflops": _most(measured.get("blas_gflops")),
        "memory_gb_per_s": _most(measured.get("memory_gb_per_s")),
        "scan_rows_per_s": measured.get("scan_rows_per_s"),
        "sweep_bars_per_s": measured.get("sweep_bars_per_s"),
        "zipline_year_s": measured.get("zipline_year_s"),
        "notebook_s": measured.get("notebook_warm_s"),
        "order_ms": measured.get("order_ms"),
        "details": dict(kept),
    }


def _latency(kept: Mapping[str, Any]) -> Iterable[Row]:
    for one in kept["results"]:
        stages = ("dns_ms", "tcp_ms", "tls_ms", "first_byte_ms", "order_ms")
        tcp = one["tcp_ms"] or {}
        yield {
            "measured_at": datetime.fromisoformat(one["measured_at"]),
            "target": one["target"]["name"],
            "source": one["target"]["source"] or "",
            **{stage: one[stage]["p50"] if one[stage] else None for stage in stages},
            "tcp_p99_ms": tcp.get("p99"),
            "tcp_jitter_ms": tcp.get("jitter"),
            **{
                name: one[name]
                for name in ("address", "tries", "loss", "clock_offset_ms", "clock_error_ms", "failures")
            },
        }


def _most(by_threads: Mapping[str, float] | None) -> float | None:
    """The figure of the most threads."""
    return by_threads[max(by_threads, key=int)] if by_threads else None
