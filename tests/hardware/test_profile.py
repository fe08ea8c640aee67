from __future__ import annotations

import dataclasses
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from workbench.clock import ManualClock
from workbench.hardware import host
from workbench.hardware.profile import MISSING, HardwareProfile, profile


@pytest.fixture
def found(tmp_path: Path) -> HardwareProfile:
    return profile(tmp_path)


def value(found: HardwareProfile, part: str, name: str) -> str:
    frame = found.to_frame().set_index(["part", "property"])
    return str(frame.loc[(part, name), "value"])


def test_a_profile_cannot_be_changed(found):
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.architecture = "abacus"


def test_sizes_agree_with_psutil(found):
    assert found.memory_host_bytes == psutil.virtual_memory().total
    assert found.cores_logical == os.cpu_count()
    assert 0 < found.memory_available_bytes <= found.memory_bytes <= found.memory_host_bytes
    assert 0 < found.cores_usable <= os.cpu_count()


def test_python_is_the_one_that_runs(found):
    assert found.python.endswith(platform.python_version())


def test_the_profile_is_dated_by_the_clock_it_is_given(tmp_path):
    moment = datetime(2013, 1, 2, 14, 30, tzinfo=UTC)
    assert profile(tmp_path, clock=ManualClock(moment)).measured_at == moment


def test_a_container_reports_its_limit_and_not_the_host(tmp_path):
    groups, proc = tmp_path / "cgroup", tmp_path / "proc"
    groups.mkdir()
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("0::/\n")
    (groups / "cpu.max").write_text("50000 100000\n")
    (groups / "memory.max").write_text("268435456\n")  # 256 MiB
    (groups / "memory.current").write_text("67108864\n")  # 64 MiB
    found = profile(tmp_path, cgroups=groups, proc=proc)
    assert found.cores_usable == 0.5
    assert found.memory_bytes == 268435456
    # 256 MiB less 64 MiB, and the host has more than that to spare
    assert found.memory_available_bytes == 201326592
    assert found.memory_host_bytes == psutil.virtual_memory().total
    assert value(found, "processor", "usable cores") == "0.5"


def test_a_limit_above_what_the_host_has_limits_nothing(tmp_path):
    groups, proc = tmp_path / "cgroup", tmp_path / "proc"
    groups.mkdir()
    (groups / "memory.max").write_text(str(2**50))
    found = profile(tmp_path, cgroups=groups, proc=proc)
    assert found.memory_bytes == found.memory_host_bytes


def test_missing_sensors_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "read_gpus", lambda: None)
    monkeypatch.setattr(host, "read_clock_state", lambda: None)
    monkeypatch.setattr(host, "read_cpu_model", lambda proc: None)
    monkeypatch.setattr(host, "read_virtualization", lambda proc: None)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: None)

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "not in this sandbox")

    monkeypatch.setattr(psutil, "swap_memory", refuse)
    monkeypatch.setattr(psutil, "disk_usage", refuse)
    monkeypatch.setattr(psutil, "disk_partitions", refuse)
    monkeypatch.setattr(os, "fsync", refuse)
    found = profile(tmp_path)
    frame = found.to_frame()
    missing = set(frame.loc[frame["value"] == MISSING, "property"])
    assert missing == {
        "model",
        "physical cores",
        "logical cores",
        "swap",
        "filesystem",
        "size",
        "free",
        "durable write, median",
        "durable write, 95th percentile",
        "virtualization",
        "NVIDIA cards",
        "follows a time server",
    }
    assert json.loads(json.dumps(found.to_dict()))["fsync"] is None


def test_the_frame_shows_each_property_once(found):
    frame = found.to_frame()
    assert list(frame.columns) == ["part", "property", "value"]
    assert not frame.duplicated(["part", "property"]).any()
    assert frame["value"].str.len().gt(0).all()


def test_sizes_are_shown_with_their_unit(found):
    doubled = dataclasses.replace(found, memory_host_bytes=3 * 2**29)  # 1.5 GiB
    assert value(doubled, "memory", "host") == "1.5 GiB"


def test_the_dictionary_survives_json(found):
    values = json.loads(json.dumps(found.to_dict()))
    assert datetime.fromisoformat(values["measured_at"]).tzinfo is not None
    assert values["fsync"]["median_ms"] == found.fsync.median_ms
    assert values["memory_bytes"] == found.memory_bytes


def test_tensorflow_is_asked_only_on_request(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "read_tensorflow_devices", lambda: ("/physical_device:GPU:0",))
    assert profile(tmp_path).tensorflow_devices is None
    asked = profile(tmp_path, tensorflow=True)
    assert value(asked, "graphics", "used by TensorFlow") == "/physical_device:GPU:0"
