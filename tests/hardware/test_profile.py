from __future__ import annotations

import dataclasses
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from hardware.machines import BARE, CLOUD_GUEST, LAPTOP, POD, Tree, plant

from workbench.clock import ManualClock
from workbench.hardware import profile as module
from workbench.hardware.profile import HardwareProfile, profile
from workbench.hardware.wording import MISSING


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> HardwareProfile:
    """This machine."""
    return profile(tmp_path_factory.mktemp("data"))


def lines(found: HardwareProfile) -> dict[tuple[str, str], str]:
    return {(row.part, row.property): row.value for row in found.to_frame().itertuples()}


def test_a_profile_cannot_be_changed(found: HardwareProfile) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.cpu.architecture = "abacus"  # type: ignore[misc]


def test_this_machine_is_described_as_psutil_sees_it(found: HardwareProfile) -> None:
    assert found.memory.host_bytes == psutil.virtual_memory().total
    assert found.cpu.cores_logical == os.cpu_count()
    assert 0 < found.memory.available_bytes <= found.memory.total_bytes <= found.memory.host_bytes
    assert 0 < found.cpu.cores_usable <= (os.cpu_count() or 1)
    assert {i.name for i in found.network.interfaces} == psutil.net_if_stats().keys() - {"lo", "lo0"}


def test_python_and_the_library_below_numpy_are_the_ones_that_run(found: HardwareProfile) -> None:
    import numpy as np
    import threadpoolctl

    assert found.software.python.endswith(platform.python_version())
    assert found.software.packages["numpy"] == np.__version__
    assert {b.version for b in found.software.blas} == {
        pool["version"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"
    }


def test_the_profile_is_dated_by_the_clock_it_is_given(tmp_path: Path) -> None:
    moment = datetime(2013, 1, 2, 14, 30, tzinfo=UTC)
    assert profile(tmp_path, clock=ManualClock(moment), writes=5).measured_at == moment


@pytest.mark.parametrize("machine", [CLOUD_GUEST, LAPTOP, POD, BARE], ids=["guest", "laptop", "pod", "bare"])
def test_every_machine_can_be_shown_and_kept(tmp_path: Path, machine: Tree) -> None:
    found = profile(tmp_path, root=plant(machine, tmp_path / "root"), writes=5)
    frame = found.to_frame()
    assert list(frame.columns) == ["part", "property", "value"]
    assert not frame.duplicated(["part", "property"]).any()
    assert frame["value"].str.len().gt(0).all()
    assert json.loads(json.dumps(found.to_dict()))["cpu"]["cores_usable"] == found.cpu.cores_usable


def test_a_pod_is_shown_with_its_limits(tmp_path: Path) -> None:
    shown = lines(profile(tmp_path, root=plant(POD, tmp_path / "root"), writes=5))
    assert shown["processor", "logical cores"] == "64"
    assert shown["processor", "usable cores"] == "1.5"
    assert shown["processor", "limit of the control group"] == "1.5 cores"
    assert shown["memory", "host"] == "251.7 GiB"  # 263921004 KiB
    assert shown["memory", "usable"] == "2.0 GiB"
    assert shown["system", "cloud"] == "Amazon EC2"


def test_missing_sensors_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "not in this sandbox")

    monkeypatch.setattr(module, "read_gpus", lambda: None)
    monkeypatch.setattr(module, "read_clock_state", lambda root: None)
    monkeypatch.setattr(psutil, "swap_memory", refuse)
    monkeypatch.setattr(psutil, "disk_usage", refuse)
    monkeypatch.setattr(os, "fsync", refuse)
    found = profile(tmp_path, root=plant(BARE, tmp_path / "root"))
    frame = found.to_frame()
    assert set(frame.loc[frame["value"] == MISSING, "property"]) == {
        "model", "sockets", "physical cores", "logical cores", "frequency now", "frequency at most", "caches",
        "instruction sets", "swap", "under the data folder", "filesystem", "size", "free", "durable write, median",
        "durable write, 95th percentile", "durable write, 99th percentile", "durable write, worst", "all drives",
        "interfaces", "default route", "name servers", "NVIDIA cards", "temperatures", "fans", "power", "screens",
        "board", "virtualization", "cloud", "follows a time server",
    }  # fmt: skip
    assert json.loads(json.dumps(found.to_dict()))["fsync"] is None


def test_the_dictionary_survives_json(found: HardwareProfile) -> None:
    values = json.loads(json.dumps(found.to_dict()))
    assert datetime.fromisoformat(values["measured_at"]).tzinfo is not None
    assert found.fsync is not None
    assert values["fsync"]["median_ms"] == found.fsync.median_ms
    assert values["memory"]["total_bytes"] == found.memory.total_bytes


def test_tensorflow_is_asked_only_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_tensorflow_devices", lambda: ("/physical_device:GPU:0",))
    assert profile(tmp_path, writes=5).tensorflow_devices is None
    asked = profile(tmp_path, tensorflow=True, writes=5)
    assert lines(asked)["graphics", "used by TensorFlow"] == "/physical_device:GPU:0"
