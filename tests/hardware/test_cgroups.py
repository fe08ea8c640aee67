"""The files are written as the kernel documents them; see the module's sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.hardware.cgroups import Limits, read_limits

GIB = 2**30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "cgroup"
    folder.mkdir()
    return folder


def membership(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "membership"
    file.write_text(text)
    return file


def write(folder: Path, **values: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name.replace("__", ".")).write_text(value + "\n")


def test_version_2_limits_are_read_from_the_own_group(root, tmp_path):
    write(
        root / "trader",
        cpu__max="150000 100000",
        memory__max=str(2 * GIB),
        memory__current=str(GIB),
        memory__stat="anon 5\ninactive_file 1024",
    )
    found = read_limits(root, membership(tmp_path, "0::/trader\n"))
    assert found == Limits(cpus=1.5, memory_bytes=2 * GIB, memory_used_bytes=GIB - 1024)


def test_the_tightest_limit_above_binds(root, tmp_path):
    write(root / "slice", cpu__max="100000 100000", memory__max=str(GIB), memory__current="7")
    write(root / "slice" / "job", cpu__max="400000 100000", memory__max=str(4 * GIB), memory__current="5")
    found = read_limits(root, membership(tmp_path, "0::/slice/job\n"))
    assert found == Limits(cpus=1.0, memory_bytes=GIB, memory_used_bytes=7)


def test_max_means_no_limit(root, tmp_path):
    write(root / "trader", cpu__max="max 100000", memory__max="max", memory__current="1")
    assert read_limits(root, membership(tmp_path, "0::/trader\n")) == Limits()


def test_version_1_limits_are_read_per_controller(root, tmp_path):
    write(root / "cpu,cpuacct" / "docker" / "abc", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    write(
        root / "memory" / "docker" / "abc",
        memory__limit_in_bytes=str(GIB),
        memory__usage_in_bytes="3000",
        memory__stat="inactive_file 1\ntotal_inactive_file 1000",
    )
    lines = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n"
    found = read_limits(root, membership(tmp_path, lines))
    assert found == Limits(cpus=0.5, memory_bytes=GIB, memory_used_bytes=2000)


def test_version_1_writes_no_limit_as_minus_one_and_a_huge_number(root, tmp_path):
    write(root / "cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    write(root / "memory", memory__limit_in_bytes="9223372036854771712", memory__usage_in_bytes="3000")
    assert read_limits(root, membership(tmp_path, "5:memory:/\n4:cpu:/\n")) == Limits()


def test_a_path_of_the_host_falls_back_to_what_the_container_sees(root, tmp_path):
    write(root, cpu__max="200000 100000")
    found = read_limits(root, membership(tmp_path, "0::/../../host/pod123\n"))
    assert found.cpus == 2.0


@pytest.mark.parametrize("text", ["", "nonsense", "0", "100000 0", "100000 many", "-5 100000"])
def test_an_unexpected_file_counts_as_no_limit(root, tmp_path, text):
    write(root / "trader", cpu__max=text, memory__max=text)
    assert read_limits(root, membership(tmp_path, "0::/trader\n")).cpus is None


def test_a_machine_without_control_groups_has_no_limits(tmp_path):
    assert read_limits(tmp_path / "none", tmp_path / "neither") == Limits()
