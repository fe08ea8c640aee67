from __future__ import annotations

import sys
from pathlib import Path

import pytest

from workbench.hardware import timekeeping
from workbench.hardware.timekeeping import parse_chrony, read_clock_state

# A line of `chronyc -c tracking` (chronyc(1)): the fifth field is how far the clock is behind, in seconds.
FOLLOWS = "A29FC87B,time.example,3,1764396000.123,0.001500000,0.0001,0.0002,1.5,0,0.01,0.02,0.001,64.2,Normal"
ALONE = "7F7F0101,,0,0.000000000,0.000000000,0,0,0,0,0,0,0,0,Not synchronised"


def kernel(verdict: int, status: int, offset: int = 0, maxerror: int = 5000) -> timekeeping._Timex:
    found = timekeeping._Timex(offset=offset, maxerror=maxerror, status=status)
    found.verdict = verdict
    return found


@pytest.fixture(autouse=True)
def no_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_chrony_says_how_far_the_clock_is_behind() -> None:
    assert parse_chrony(FOLLOWS) == (True, pytest.approx(-1.5))
    assert parse_chrony(ALONE) == (False, 0.0)
    assert parse_chrony("506 Cannot talk to daemon") is None
    assert parse_chrony("") is None


def test_the_daemon_is_asked_before_the_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "chronyc"
    script.write_text(f"#!/bin/sh\necho '{FOLLOWS}'\n")
    script.chmod(0o755)
    monkeypatch.setattr(timekeeping, "_kernel", lambda: kernel(0, 0x2001, maxerror=20_000))
    found = read_clock_state(tmp_path)
    assert found is not None
    assert (found.synchronized, found.offset_ms, found.max_error_ms, found.daemon) == (
        True, pytest.approx(-1.5), 20.0, "chrony",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "offset", "expected_ms"),
    [(0x2001, 1_500_000, 1.5), (0x0001, 1_500, 1.5), (0x2041, 1_500_000, None), (0x2000, 1_500_000, None)],
    ids=["nanoseconds", "microseconds", "unsynchronised", "no loop"],
)
def test_the_kernels_offset_counts_only_while_its_loop_is_fed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, offset: int, expected_ms: float | None
) -> None:
    monkeypatch.setattr(timekeeping, "_kernel", lambda: kernel(0, status, offset))
    found = read_clock_state(tmp_path)
    assert found is not None
    assert found.offset_ms == expected_ms
    assert found.synchronized == (status & 0x40 == 0)


def test_the_clock_counter_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "sys/devices/system/clocksource/clocksource0/current_clocksource"
    file.parent.mkdir(parents=True)
    file.write_text("hpet\n")
    monkeypatch.setattr(timekeeping, "_kernel", lambda: kernel(0, 0))
    found = read_clock_state(tmp_path)
    assert found is not None
    assert found.clocksource == "hpet"


@pytest.mark.parametrize("platform", ["win32", "freebsd14"])
def test_the_clock_state_is_not_asked_where_the_call_is_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert read_clock_state(tmp_path) is None


def test_the_clock_state_is_read_at_the_place_the_kernel_writes_it() -> None:
    state = read_clock_state()
    if sys.platform == "linux":
        # NTP_PHASE_LIMIT caps the kernel's maxerror at 16 s; a wrong offset would show another field
        assert state is not None
        assert 0 < state.max_error_ms <= 16_000
