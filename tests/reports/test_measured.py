"""Profiles and latencies in the reports file: read from their own files, and made again from them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from workbench.clock import ManualClock
from workbench.hardware.latency import summarize
from workbench.hardware.measurements import Measurements
from workbench.hardware.probe import Target, Try
from workbench.hardware.profile import profile
from workbench.journal import Journal
from workbench.reports.projection import project, rebuild

NOW = datetime(2026, 6, 1, 14, 30, tzinfo=UTC)


def latency(at: datetime, name: str = "venue", *times: float) -> dict[str, Any]:
    made = [Try(dns_ms=0.5, tcp_ms=ms, tls_ms=2 * ms, first_byte_ms=3 * ms) for ms in times or (10.0, 12.0, 14.0)]
    made.append(Try(dns_ms=0.5, failed_at="tcp", reason="refused"))
    return summarize(Target(name, "https", name, 443), at, made).to_dict()


@pytest.fixture
def kept(tmp_path: Path) -> Measurements:
    return Measurements.of(tmp_path)


def bring_up_to_date(data_dir: Path, *, again: bool = False) -> int:
    with Journal(data_dir / "journal.sqlite", ManualClock(NOW)) as journal:
        return (rebuild if again else project)(journal, data_dir / "reports.duckdb").total


def query(data_dir: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(data_dir / "reports.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_latencies_are_rows_of_the_reports(kept: Measurements, tmp_path: Path) -> None:
    kept.add("latency", NOW, {"results": [latency(NOW), latency(NOW, "other", 1.0)]})
    assert bring_up_to_date(tmp_path) == 2
    assert query(tmp_path, "SELECT target, source, tries, loss, tcp_ms, tls_ms, first_byte_ms, order_ms FROM latency"
                           " ORDER BY target") == [
        ("other", "", 2, 0.5, 1.0, 2.0, 3.0, None), ("venue", "", 4, 0.25, 12.0, 24.0, 36.0, None),
    ]  # fmt: skip
    assert query(tmp_path, "SELECT failures->>'tcp: refused' FROM latency WHERE target='venue'") == [("1",)]


def test_a_profile_is_a_row_with_all_of_it_behind(kept: Measurements, tmp_path: Path) -> None:
    found = profile(tmp_path, clock=ManualClock(NOW), writes=5).to_dict()
    capability = {"blas_gflops": {"1": 30.0, "2": 55.0, "16": 300.0}, "memory_gb_per_s": {}, "order_ms": 7.5}
    kept.add("profile", NOW, {**found, "capability": capability})
    bring_up_to_date(tmp_path)
    [(at, cores, memory, gflops, order_ms, bandwidth, details)] = query(
        tmp_path,
        "SELECT measured_at, cores, memory_bytes, gflops, order_ms, memory_gb_per_s, details FROM profiles",
    )
    assert at == NOW
    assert (cores, memory) == (found["cpu"]["cores_usable"], found["memory"]["total_bytes"])
    assert (gflops, order_ms, bandwidth) == (300.0, 7.5, None)  # of the most threads
    assert json.loads(details)["software"] == json.loads(json.dumps(found["software"]))


def test_only_what_is_new_is_written_and_a_rebuild_makes_the_same(kept: Measurements, tmp_path: Path) -> None:
    kept.add("latency", NOW, {"results": [latency(NOW)]})
    assert bring_up_to_date(tmp_path) == 1
    assert bring_up_to_date(tmp_path) == 0
    later = NOW + timedelta(hours=1)
    kept.add("latency", later, {"results": [latency(later)]})
    assert bring_up_to_date(tmp_path) == 1
    before = query(tmp_path, "SELECT * FROM latency ORDER BY measured_at")
    assert len(before) == 2
    assert bring_up_to_date(tmp_path, again=True) == 2
    assert query(tmp_path, "SELECT * FROM latency ORDER BY measured_at") == before


def test_files_that_were_added_late_or_taken_away_are_noticed(kept: Measurements, tmp_path: Path) -> None:
    file = kept.add("latency", NOW, {"results": [latency(NOW)]})
    bring_up_to_date(tmp_path)
    earlier = NOW - timedelta(days=40)
    kept.add("latency", earlier, {"results": [latency(earlier)]})
    bring_up_to_date(tmp_path)
    assert query(tmp_path, "SELECT measured_at FROM latency ORDER BY 1") == [(earlier,), (NOW,)]
    file.unlink()
    bring_up_to_date(tmp_path)
    assert query(tmp_path, "SELECT measured_at FROM latency") == [(earlier,)]


def test_a_spoilt_file_keeps_nobody_from_the_reports(kept: Measurements, tmp_path: Path) -> None:
    kept.add("latency", NOW, {"results": [latency(NOW)]})
    later = NOW + timedelta(hours=1)
    kept.add("latency", later, {"results": [{"target": None}]})
    kept.add("profile", later, {}).write_text("{")
    assert bring_up_to_date(tmp_path) == 1
