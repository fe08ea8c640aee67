from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workbench.hardware import host
from workbench.hardware.host import Gpu


def executable(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.fixture
def only_path(tmp_path, monkeypatch) -> Path:
    """An empty folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_the_processor_is_named_as_the_kernel_names_it(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: AMD EPYC 9R14\nflags\t: fpu\n")
    assert host.read_cpu_model(tmp_path) == "AMD EPYC 9R14"


def test_cards_are_what_the_driver_lists(only_path):
    # two lines as `nvidia-smi --query-gpu=... --format=csv,noheader,nounits` prints them; memory is in MiB
    executable(only_path, "nvidia-smi", "echo 'NVIDIA H200, 143771, 570.86.15'; echo 'NVIDIA GB10, [N/A], 580.95'")
    # 143771 MiB x 1048576
    assert host.read_gpus() == (
        Gpu("NVIDIA H200", 150_754_820_096, "570.86.15"),
        Gpu("NVIDIA GB10", None, "580.95"),
    )


def test_no_driver_means_not_available(only_path):
    assert host.read_gpus() is None


def test_a_driver_that_fails_means_not_available(only_path):
    executable(only_path, "nvidia-smi", "echo 'NVIDIA-SMI has failed'; exit 9")
    assert host.read_gpus() is None


def test_a_driver_that_hangs_means_not_available(only_path, monkeypatch):
    executable(only_path, "nvidia-smi", "exit 0")

    def late(*args: object, **kwargs: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 5)

    monkeypatch.setattr(subprocess, "run", late)
    assert host.read_gpus() is None


def test_a_driver_without_cards_lists_none(only_path):
    executable(only_path, "nvidia-smi", "exit 0")
    assert host.read_gpus() == ()


@pytest.mark.parametrize(
    ("board", "flags", "expected"),
    [
        ("QEMU", "fpu hypervisor", "qemu"),
        ("Amazon EC2", "fpu hypervisor", "amazon"),
        ("Dell Inc.", "fpu vme", "none"),
        ("Unheard Of", "fpu hypervisor", "virtual machine"),
    ],
)
def test_virtualization_is_told_by_board_and_processor(tmp_path, monkeypatch, board, flags, expected):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(host, "_container", lambda proc: None)
    dmi = tmp_path / "class/dmi/id"
    dmi.mkdir(parents=True)
    (dmi / "sys_vendor").write_text(board)
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
    assert host.read_virtualization(tmp_path, tmp_path) == expected


def test_virtualization_that_cannot_be_told_is_not_available(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(host, "_container", lambda proc: None)
    assert host.read_virtualization(tmp_path, tmp_path) is None


def test_a_container_is_named_before_the_machine_it_runs_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(host, "_container", lambda proc: "podman")
    assert host.read_virtualization(tmp_path, tmp_path) == "podman"


def test_the_windows_subsystem_is_told_by_its_kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda self: False)
    (tmp_path / "sys/kernel").mkdir(parents=True)
    (tmp_path / "sys/kernel/osrelease").write_text("5.15.153.1-microsoft-standard-WSL2\n")
    assert host._container(tmp_path) == "wsl"


@pytest.mark.parametrize("platform", ["win32", "freebsd14"])
def test_the_clock_state_is_not_asked_where_the_call_is_another(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    assert host.read_clock_state() is None


def test_the_clock_state_is_read_at_the_place_the_kernel_writes_it():
    state = host.read_clock_state()
    if sys.platform == "linux":
        # NTP_PHASE_LIMIT caps the kernel's maxerror at 16 s; a wrong offset would show another field
        assert state is not None
        assert 0 < state.max_error_ms <= 16_000
