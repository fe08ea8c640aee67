"""Inside a control group that really limits a process, the limits are what is reported: not the host's numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")
MEMORY = 3 * 2**28  # 768 MiB, a multiple of every page size
# Half a core and 768 MiB; the process joins the groups before it looks.
LOOK = """
import json, os, sys
for file in sys.argv[2:]:
    with open(file, "w") as group:
        group.write(str(os.getpid()))
from pathlib import Path
from workbench.clock import SystemClock
from workbench.hardware.budget import defaults_here
from workbench.hardware.profile import profile
from workbench.cli.schedule_run import limits_of
from workbench.research.sweeping.running import cores
from workbench.settings import Settings
found = profile(Path(sys.argv[1]), clock=SystemClock(), writes=5)
settings = Settings(home=Path(sys.argv[1]), config_file=Path(sys.argv[1]) / "workbench.toml")
print(json.dumps({
    **found.to_dict(), "workers": defaults_here().workers, "sweep": cores(), "jobs": limits_of(settings).side_by_side,
}))
"""


def _write(file: Path, value: object) -> None:
    file.write_text(str(value))


def _version_1(name: str) -> list[Path]:
    """Groups below the root of each hierarchy, so that nobody else's group is touched."""
    cpu, memory = ROOT / "cpu" / name, ROOT / "memory" / name
    for group in (cpu, memory):
        group.mkdir()
    _write(cpu / "cpu.cfs_period_us", 100_000)
    _write(cpu / "cpu.cfs_quota_us", 50_000)
    _write(memory / "memory.limit_in_bytes", MEMORY)
    return [cpu, memory]


def _version_2(name: str) -> list[Path]:
    group = ROOT / name
    if not {"cpu", "memory"} <= set((ROOT / "cgroup.subtree_control").read_text().split()):
        _write(ROOT / "cgroup.subtree_control", "+cpu +memory")
    group.mkdir()
    _write(group / "cpu.max", "50000 100000")
    _write(group / "memory.max", MEMORY)
    return [group]


@pytest.fixture
def groups() -> Iterator[list[Path]]:
    """New groups, gone afterwards; skipped where this process may not make any."""
    name = f"workbench-test-{os.getpid()}"
    places = [ROOT / "cpu" / name, ROOT / "memory" / name, ROOT / name]
    try:
        made = _version_1(name) if (ROOT / "memory").is_dir() else _version_2(name)
    except OSError as error:
        for place in places:
            with suppress(OSError):
                place.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield made
    finally:
        for group in made:
            group.rmdir()


def test_a_limited_process_reports_its_limits(groups: list[Path], tmp_path: Path) -> None:
    joins = [str(group / "cgroup.procs") for group in groups]
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(tmp_path), *joins], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["limits"]["cpus"] == 0.5
    assert found["cpu"]["cores_usable"] == 0.5
    assert found["cpu"]["cores_logical"] == os.cpu_count()
    assert found["memory"]["total_bytes"] == MEMORY
    assert 0 < found["memory"]["available_bytes"] < MEMORY
    assert found["memory"]["host_bytes"] > MEMORY
    # and the sweep and the scheduler take their defaults from it
    assert (found["workers"], found["sweep"], found["jobs"]) == (1, 1, 1)
