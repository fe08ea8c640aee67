"""The profile's numbers against independent tools, within a stated tolerance; exit code 1 if one does not agree.

Needs what Debian has: ``apt-get install fio sysbench hyperfine gcc curl``; a tool that is missing is named, and what it
would have checked is skipped. Ours and theirs are measured in turn, and the best or the median of each counts, because
other programs disturb both. Run it on an otherwise idle machine: ``.venv/bin/python benchmarks/check_hardware.py``.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.homes import environment, make_home
from support.hosts import Host

from workbench.app.measuring import measure_all, walk
from workbench.calendars import calendar
from workbench.clock import SystemClock
from workbench.hardware.budget import JOB_BYTES, ROW_BYTES, Workload, budget
from workbench.hardware.capability import copied_bytes, machine_steps, measure
from workbench.hardware.diskspeed import measure_fsync, measure_speed
from workbench.hardware.latency import measure_latency
from workbench.hardware.probe import parse_target
from workbench.hardware.profile import HardwareProfile, profile
from workbench.settings import load_settings

CLOCK = SystemClock()
ROUNDS = 3
COPY = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
int main(void) {
    size_t size = SIZE; char *a = malloc(size), *b = malloc(size); double best = 1e9;
    memset(a, 1, size); memset(b, 2, size);
    for (int n = 0; n < 20; n++) {
        struct timespec s, e; clock_gettime(CLOCK_MONOTONIC, &s);
        memcpy(b, a, size);
        clock_gettime(CLOCK_MONOTONIC, &e);
        double t = (e.tv_sec - s.tv_sec) + (e.tv_nsec - s.tv_nsec) / 1e9; if (t < best) best = t;
    }
    printf("%f %d\n", 2.0 * size / best / 1e9, b[size / 2]); return 0;
}
"""


@dataclass(frozen=True)
class Agreement:
    """Ours and theirs, and by which factor they may differ."""

    what: str
    ours: float
    theirs: float
    unit: str
    tool: str
    tolerance: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    @property
    def holds(self) -> bool:
        return 1 / self.tolerance <= self.ratio <= self.tolerance


class Missing(Exception):
    """A tool that is not installed."""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="workbench-check-") as scratch:
        folder = Path(scratch)
        found = profile(folder, clock=CLOCK)
        checks: list[Callable[[HardwareProfile, Path], Iterator[Agreement]]] = [
            machine, arithmetic, memory, durable_writes, throughput, latency, rows_in_memory, job, daily_job,
        ]  # fmt: skip
        failed = 0
        print(f"{'':<44}{'ours':>18}{'theirs':>18}  {'unit':<10}{'ratio':>7}{'may be':>8}")
        for check in checks:
            try:
                for one in check(found, folder):
                    failed += not one.holds
                    verdict = "agrees" if one.holds else "DOES NOT AGREE"
                    print(
                        f"{one.what + ' (' + one.tool + ')':<44}{one.ours:>18,.6g}{one.theirs:>18,.6g}  {one.unit:<10}"
                        f"{one.ratio:>7.2f}{one.tolerance:>7g}x  {verdict}",
                        flush=True,
                    )
            except Missing as error:
                print(f"{check.__name__:<44} skipped: {error}")
    return 1 if failed else 0


# ---- what the machine is -------------------------------------------------------------------------


def machine(found: HardwareProfile, folder: Path) -> Iterator[Agreement]:
    cores, memory_kb = float(run("nproc")), float(run("free", "-b").splitlines()[1].split()[1])
    yield Agreement("usable cores", found.cpu.cores_usable, cores, "cores", "nproc", 1.0)
    yield Agreement("memory of the host", found.memory.host_bytes, memory_kb, "bytes", "free", 1.0)
    total = float(run("df", "--block-size=1", "--output=size", str(folder)).splitlines()[1])
    yield Agreement("size of the disk", float(found.disk.total_bytes or 0), total, "bytes", "df", 1.01)


# ---- what it can do ------------------------------------------------------------------------------


def arithmetic(found: HardwareProfile, folder: Path) -> Iterator[Agreement]:
    """SciPy brings a BLAS of its own; sysbench counts primes on all cores, which must scale as ours does."""
    import numpy as np
    from scipy.linalg.blas import dgemm

    source = np.random.default_rng(0)
    left, right = (np.asfortranarray(source.random((1024, 1024))) for _ in range(2))
    ours = theirs = 0.0
    by_threads: dict[int, float] = {}
    for _ in range(ROUNDS):
        by_threads = capability(found, folder, "arithmetic").blas_gflops
        ours = max(ours, *by_threads.values())
        theirs = max(theirs, 2 * 1024**3 / min(timed(lambda: dgemm(1.0, left, right)) for _ in range(5)) / 1e9)
    yield Agreement("matrix product, all cores", ours, theirs, "GFLOP/s", "SciPy's dgemm", 1.5)
    most = max(by_threads)
    if most > 1:
        one, all_ = (events_per_s(threads) for threads in (1, most))
        yield Agreement("what all cores add", ours / by_threads[1], all_ / one, "x", "sysbench cpu", 1.5)


def memory(found: HardwareProfile, folder: Path) -> Iterator[Agreement]:
    need("cc")
    source, program = folder / "copy.c", folder / "copy"
    source.write_text(COPY)
    # Of the same size: from some size on, the C library's copy does not read what it overwrites.
    size = f"-DSIZE=((size_t){copied_bytes(found.cpu)})"
    subprocess.run(["cc", "-O3", size, "-o", str(program), str(source)], check=True)
    ours = theirs = 0.0
    for _ in range(ROUNDS):
        ours = max(ours, capability(found, folder, "memory").memory_gb_per_s[1])
        theirs = max(theirs, float(run(str(program)).split()[0]))
    yield Agreement("memory copy, one thread", ours, theirs, "GB/s", "memcpy in C", 1.5)


def durable_writes(found: HardwareProfile, folder: Path) -> Iterator[Agreement]:
    """fio writes 512 bytes and calls fsync; both are timed in turn, for the disk has moods."""
    need("fio")
    ours, theirs = [], []
    for _ in range(2 * ROUNDS):
        mine = measure_fsync(folder, CLOCK, 200)
        assert mine is not None
        ours.append(mine.median_ms)
        job = fio(folder, "--rw=write", "--bs=512", "--fsync=1", "--size=100k", "--ioengine=sync")
        theirs.append((job["sync"]["lat_ns"]["percentile"]["50.000000"] + job["write"]["lat_ns"]["mean"]) / 1e6)
    yield Agreement(
        "durable write, median", statistics.median(ours), statistics.median(theirs), "ms", "fio --fsync=1", 2.0
    )


def throughput(found: HardwareProfile, folder: Path) -> Iterator[Agreement]:
    need("fio")
    ours, theirs = [], []
    for _ in range(ROUNDS):
        mine = measure_speed(folder, CLOCK, size_bytes=2**28)
        assert mine is not None
        ours.append(mine)
        block = ["--bs=1M", "--size=256M", "--ioengine=sync"]
        written = fio(folder, "--rw=write", "--end_fsync=1", *block)["write"]["bw_bytes"] / 1e6
        read = fio(folder, "--rw=read", "--direct=1", *block)["read"]["bw_bytes"] / 1e6
        pages = fio(folder, "--rw=randread", "--direct=1", "--bs=4k", "--size=256M", "--ioengine=sync", "--runtime=1")
        theirs.append((written, read, pages["read"]["iops"]))
    figures = (
        ("disk, written", [m.write_mb_per_s for m in ours], "MB/s"),
        ("disk, read", [m.read_mb_per_s for m in ours], "MB/s"),
        ("disk, 4 KiB at random places", [m.random_reads_per_s for m in ours], "reads/s"),
    )
    for (what, mine, unit), others in zip(figures, zip(*theirs, strict=True), strict=True):
        yield Agreement(what, statistics.median(mine), statistics.median(others), unit, "fio", 2.0)


def latency(found: HardwareProfile, folder: Path) -> Iterator[Agreement]:
    need("curl")
    with Host(delay_s=0.01) as host:
        address = f"http://127.0.0.1:{host.port}/"
        ours = measure_latency(parse_target(address), CLOCK, tries=40, pause_s=0)
        shown = "%{time_connect} %{time_starttransfer}"
        told = [
            run("curl", "-s", "-o", "/dev/null", "--head", "--noproxy", "*", "-w", shown, address).split()
            for _ in range(40)
        ]
    assert ours.first_byte_ms is not None
    theirs = statistics.median(1000 * (float(first) - float(connect)) for connect, first in told)
    yield Agreement("first byte of a host that waits 10 ms", ours.first_byte_ms.p50, theirs, "ms", "curl", 1.3)


# ---- what the budget takes for granted -----------------------------------------------------------


def rows_in_memory(found: HardwareProfile, folder: Path) -> Iterator[Agreement]:
    """Bytes a bar while a strategy works on adjusted bars, as tracemalloc counts them."""
    from workbench.strategies import load

    tracemalloc.start()
    bars = walk(2520, "total", symbols=200)
    load("momentum", {"lookback": 126, "top": 10}).weights(bars)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    yield Agreement("memory of a bar", ROW_BYTES, peak / (2520 * 200), "bytes", "tracemalloc", 1.5)


def job(found: HardwareProfile, folder: Path) -> Iterator[Agreement]:
    """What the daily job takes at its height: runner, zygote and kernels, shared pages counted once, every 10 ms."""
    home = make_home(folder / "job", cold=True)
    command = [str(Path(sys.executable).with_name("workbench")), "run", "daily", "--session", "2013-03-01"]
    used = 0
    with subprocess.Popen([*command, "--allow-dirty"], cwd=home, env=environment(), stdout=subprocess.DEVNULL) as job:
        runner = psutil.Process(job.pid)
        while job.poll() is None:
            used = max(used, sum(map(proportional_bytes, [runner, *runner.children(recursive=True)])))
            CLOCK.sleep(0.01)
    assert job.returncode == 0
    yield Agreement("memory of a job", JOB_BYTES / 2**20, used / 2**20, "MiB", "psutil's pss", 1.3)


def proportional_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:  # it has just ended
        return 0


def daily_job(found: HardwareProfile, folder: Path) -> Iterator[Agreement]:
    """The daily pipeline of the sample as a whole process, by hyperfine, against what the budget says of it."""
    need("hyperfine")
    home = make_home(folder / "home", cold=True)
    settings = load_settings(home, {})
    measured = measure_all(settings, calendar("XNYS"), found.cpu, CLOCK)
    works = budget(
        found.cpu.cores_usable, found.memory.total_bytes, measured, Workload(3, symbols=5, years=13, orders=2)
    )
    workbench = str(Path(sys.executable).with_name("workbench"))
    again = f"{workbench} run daily --session 2013-03-01 --amend --allow-dirty"
    subprocess.run(again.split(), cwd=home, env=environment(), check=True, capture_output=True)
    result = folder / "hyperfine.json"
    subprocess.run(
        ["hyperfine", "--warmup", "1", "--runs", "3", "--export-json", str(result), again],
        cwd=home, env=environment(), check=True, capture_output=True,
    )  # fmt: skip
    if works.daily_job_s is None:
        raise Missing(f"a measurement that was skipped: {measured.skipped}")
    theirs = json.loads(result.read_text())["results"][0]["median"]
    yield Agreement("the daily job", works.daily_job_s, theirs, "s", "hyperfine", 3.0)


# ---- tools ---------------------------------------------------------------------------------------


def capability(found: HardwareProfile, folder: Path, name: str):  # type: ignore[no-untyped-def]
    steps = machine_steps(folder, found.cpu, CLOCK, quick=False)
    return measure({name: steps[name]}, CLOCK, budget_s=60, limit_s=60)


def events_per_s(threads: int) -> float:
    said = run("sysbench", "cpu", f"--threads={threads}", "--time=2", "run")
    return float(next(line for line in said.splitlines() if "events per second" in line).split(":")[1])


def fio(folder: Path, *options: str) -> dict:  # type: ignore[type-arg]
    file = folder / "fio.bin"
    said = run("fio", "--name=check", f"--filename={file}", "--output-format=json", *options)
    job: dict = json.loads(said[said.index("{") :])["jobs"][0]  # type: ignore[type-arg]
    return job


def timed(action: Callable[[], object]) -> float:
    start = CLOCK.monotonic()
    action()
    return CLOCK.monotonic() - start


def need(program: str) -> None:
    if shutil.which(program) is None:
        raise Missing(f"{program} is not installed")


def run(program: str, *arguments: str) -> str:
    need(program)
    return subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
