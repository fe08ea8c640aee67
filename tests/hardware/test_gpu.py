"""Cards as NVML and ``nvidia-smi`` tell of them; no test machine has one, so the library is built from C."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from workbench.hardware import gpu
from workbench.hardware.gpu import Gpu, ask_nvml

# The functions with the signatures of nvml.h, for one card with a sensor and one without memory of its own.
NVML = r"""
#include <string.h>
typedef struct { unsigned long long total, free, used; } memory_t;
int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { strncpy(text, "570.86.15", size); return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **card) { *card = (void *)(unsigned long)(index + 1); return 0; }
int nvmlDeviceGetName(void *card, char *text, unsigned size) {
    strncpy(text, card == (void *)1 ? "NVIDIA H200" : "NVIDIA GB10", size); return 0; }
int nvmlDeviceGetMemoryInfo(void *card, memory_t *m) {
    if (card != (void *)1) return 3; m->total = 150754820096ull; m->free = 150000000000ull; m->used = 1; return 0; }
int nvmlDeviceGetTemperature(void *card, int sensor, unsigned *c) {
    if (card != (void *)1 || sensor != 0) return 3; *c = 41; return 0; }
"""
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to build a library with")


def library(folder: Path, init: int = 0) -> Path:
    source, built = folder / "nvml.c", folder / "libnvidia-ml.so.1"
    source.write_text(NVML)
    subprocess.run(["cc", "-shared", "-fPIC", f"-DINIT={init}", "-o", str(built), str(source)], check=True)
    return built


def executable(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.fixture
def only_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@needs_compiler
def test_cards_are_what_the_management_library_says(tmp_path: Path) -> None:
    assert list(ask_nvml(ctypes.CDLL(str(library(tmp_path))))) == [
        Gpu("NVIDIA H200", 150_754_820_096, "570.86.15", 150_000_000_000, 41.0),
        Gpu("NVIDIA GB10", None, "570.86.15"),
    ]


@needs_compiler
def test_a_driver_that_does_not_answer_the_library_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nvmlInit_v2 answered 9"):  # NVML_ERROR_DRIVER_NOT_LOADED
        list(ask_nvml(ctypes.CDLL(str(library(tmp_path, init=9)))))


@needs_compiler
def test_the_library_is_asked_in_a_child_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library(tmp_path).parent))
    found = gpu.read_gpus(timeout_s=30)
    assert found is not None
    assert [card.name for card in found] == ["NVIDIA H200", "NVIDIA GB10"]


def test_without_the_library_its_command_is_asked(only_path: Path) -> None:
    # two lines as `nvidia-smi --query-gpu=... --format=csv,noheader,nounits` prints them; memory is in MiB
    executable(only_path, "nvidia-smi", "echo 'NVIDIA H200, 143771, 570.86.15'; echo 'NVIDIA GB10, [N/A], 580.95'")
    # 143771 MiB x 1048576
    assert gpu.read_gpus() == (
        Gpu("NVIDIA H200", 150_754_820_096, "570.86.15"),
        Gpu("NVIDIA GB10", None, "580.95"),
    )


@pytest.mark.parametrize(
    ("script", "expected"),
    [(None, None), ("echo 'NVIDIA-SMI has failed'; exit 9", None), ("while :; do :; done", None), ("exit 0", ())],
    ids=["absent", "fails", "hangs", "no cards"],
)
def test_a_driver_that_does_not_answer_means_not_available(
    only_path: Path, script: str | None, expected: tuple[Gpu, ...] | None
) -> None:
    if script is not None:
        executable(only_path, "nvidia-smi", script)
    assert gpu.read_gpus(timeout_s=0.5) == expected
