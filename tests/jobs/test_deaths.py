"""Every way to die, at every stage: what is reported, what is saved, and that nothing lives on.

In every notebook here the first cell starts a child in a session of its own that ignores every polite signal.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from workbench.clock import SystemClock
from workbench.errors import JobError, KernelDied, NotebookFailed, RunCancelled, StepTimeout
from workbench.jobs.engine import CellProgress, execute
from workbench.jobs.kernels import KernelPool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the guard and its subreaper are Linux's")

Write = Callable[..., Path]
Wait = Callable[[Callable[[], bool]], None]
IsAlive = Callable[[int], bool]

_SOURCE = str(Path(__file__).parent.parent.parent / "src")
_MARK = "WORKBENCH_TEST_FAMILY"
_FAMILY = """
import os, pathlib, signal, subprocess, sys, time
here = pathlib.Path(os.environ["WORKBENCH_TEST_FAMILY"])
stubborn = "trap '' TERM INT HUP QUIT; while :; do sleep 1000; done"
child = subprocess.Popen(["sh", "-c", stubborn], start_new_session=True)
(here / "part").write_text(f"{os.getpid()} {child.pid}")
(here / "part").rename(here / "pids")
"""
_BEGUN = "(here / 'begun').touch(); print('begun')\n"
_CLEANED = "(here / 'cleaned').touch()"
_WAITS = f"{_BEGUN}try:\n    time.sleep(1000)\nfinally:\n    {_CLEANED}"


@dataclass(frozen=True)
class Death:
    """One way to die: what the cell does, what ends it, and what must be said."""

    source: str
    error: type[JobError]
    words: str
    exit_code: int
    ends: str = "by itself"  # or: cancel, clock (it jumps an hour)
    grace_s: float = 10.0
    cleans_up: bool = False
    tags: tuple[str, ...] = ()


DEATHS = {
    "exception": Death(f"{_BEGUN}1 / 0", NotebookFailed, "ZeroDivisionError: division by zero", 1),
    "sys.exit(0)": Death(f"{_BEGUN}sys.exit(0)", NotebookFailed, "ended the notebook early (SystemExit: 0)", 1),
    "os._exit(0)": Death(f"{_BEGUN}os._exit(0)", KernelDied, "the kernel exited with code 0", 138),
    "SIGKILL": Death(
        f"{_BEGUN}os.kill(os.getpid(), signal.SIGKILL)",
        KernelDied,
        "the kernel was killed by SIGKILL (out of memory?)",
        138,
    ),
    "SIGSEGV": Death(
        f"{_BEGUN}os.kill(os.getpid(), signal.SIGSEGV)", KernelDied, "the kernel was killed by SIGSEGV", 138
    ),
    "cancel": Death(_WAITS, RunCancelled, "cancelled", 143, "cancel", cleans_up=True),
    "cancel of a slow finally": Death(
        f"{_BEGUN}try:\n    time.sleep(1000)\nfinally:\n    time.sleep(0.3); {_CLEANED}",
        RunCancelled,
        "cancelled",
        143,
        "cancel",
        cleans_up=True,
    ),
    "cancel that is swallowed": Death(
        f"{_BEGUN}try:\n    time.sleep(1000)\nexcept BaseException:\n    {_CLEANED}",
        RunCancelled,
        "cancelled",
        143,
        "cancel",
        cleans_up=True,
    ),
    "cancel that is ignored": Death(
        f"{_BEGUN}while True:\n    try:\n        time.sleep(1000)\n    except BaseException:\n        pass",
        RunCancelled,
        "cancelled",
        143,
        "cancel",
        grace_s=0.2,
    ),
    "cancel of a command": Death(
        f"{_BEGUN}!sleep 1000\n(here / 'went on').touch()", RunCancelled, "cancelled", 143, "cancel"
    ),
    "cancel of an async cell": Death(
        f"import asyncio\n{_BEGUN}try:\n    await asyncio.sleep(1000)\nfinally:\n    {_CLEANED}",
        RunCancelled,
        "cancelled",
        143,
        "cancel",
        cleans_up=True,
    ),
    "run time-out": Death(_WAITS, StepTimeout, "ran longer than 3000 s", 124, "clock", cleans_up=True),
    "cell time-out": Death(
        _WAITS, StepTimeout, "the cell ran longer than its 2000 s", 124, "clock", cleans_up=True, tags=("timeout=2000",)
    ),
    "no progress": Death(_WAITS, StepTimeout, "no progress for 1000 s", 124, "clock", cleans_up=True),
}


class _JumpingClock(SystemClock):
    """A clock that jumps an hour ahead when it is told to."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class Scene:
    """A folder for one run, and what is left of it."""

    def __init__(self, folder: Path, is_alive: IsAlive) -> None:
        self.folder = folder
        self.output = folder / "run" / "out.ipynb"
        self.output.parent.mkdir()
        self.seen: list[CellProgress] = []
        self.clock = _JumpingClock()
        self.cancel = threading.Event()
        self._is_alive = is_alive

    @property
    def env(self) -> dict[str, str]:
        return {_MARK: str(self.folder)}

    def pids(self) -> list[int]:
        return [int(pid) for pid in (self.folder / "pids").read_text().split()]

    def ended(self) -> list[str]:
        """The last state of every code cell."""
        last = {progress.number: progress.state for progress in self.seen}
        return [last[number] for number in sorted(last)]

    def statuses(self) -> list[str]:
        cells = json.loads(self.output.read_text())["cells"]
        return [cell["metadata"]["papermill"]["status"] for cell in cells if cell["cell_type"] == "code"]

    def living(self) -> list[str]:
        """What is still alive of the kernel and all that it started."""
        left = [str(pid) for pid in self.pids() if self._is_alive(pid)] if (self.folder / "pids").exists() else []
        for process in psutil.process_iter():
            try:
                if process.environ().get(_MARK) == str(self.folder) and self._is_alive(process.pid):
                    left.append(" ".join(process.cmdline()))
            except psutil.Error:  # gone meanwhile, or somebody else's
                continue
        return left


@pytest.fixture
def scene(tmp_path: Path, is_alive: IsAlive) -> Scene:
    return Scene(tmp_path, is_alive)


@pytest.fixture(scope="module")
def clean_pool() -> Iterator[KernelPool]:
    """A pool of this module's own, so that what kernels leave in its folder can be counted."""
    with KernelPool(preload=(), calendars=()) as kernels:
        yield kernels
        left = {path.name for path in kernels.folder.iterdir()}
        assert left <= {"zygote.log", "ipython"}


_STATUS = {"ok": "completed", "error": "failed", "not_run": "pending"}


@pytest.mark.parametrize("stage", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize("name", DEATHS)
def test_a_death_in_a_cell(
    name: str, stage: int, clean_pool: KernelPool, notebook: Write, scene: Scene, wait_for: Wait
) -> None:
    death = DEATHS[name]
    cells = ["print('one')", "print('two')", "print('three')"]
    cells[stage] = death.source
    cells[0] = f"{_FAMILY}\n{cells[0]}"
    tagged = [(source, list(death.tags) if number == stage else []) for number, source in enumerate(cells)]

    def end() -> None:
        wait_for((scene.folder / "begun").exists)
        if death.ends == "cancel":
            scene.cancel.set()
        while death.ends == "clock" and not over.wait(0.05):
            scene.clock.ahead += 3600.0  # more than once: a last word of the cell may still be on its way

    over = threading.Event()
    helper = threading.Thread(target=end, daemon=True)
    if death.ends != "by itself":
        helper.start()
    with pytest.raises(death.error) as caught:
        execute(
            notebook(*tagged),
            scene.output,
            {},
            pool=clean_pool,
            env=scene.env,
            timeout_s=3000 if name == "run time-out" else None,
            stall_s=1000 if name == "no progress" else None,
            grace_s=death.grace_s,
            cancel=scene.cancel,
            on_cell=scene.seen.append,
            clock=scene.clock,
        )
    over.set()
    if helper.ident is not None:
        helper.join()
    assert caught.value.message == f"written.ipynb, cell [{stage + 1}]: {death.words}"
    assert caught.value.exit_code == death.exit_code
    states = ["ok"] * stage + ["error"] + ["not_run"] * (2 - stage)
    assert scene.ended() == states
    assert next(p.reason for p in scene.seen if p.state == "error") == caught.value.message
    assert scene.statuses() == [_STATUS[state] for state in states]
    text = scene.output.read_text()
    assert "begun" in text  # the last words
    assert death.words in text
    assert scene.living() == []
    assert (scene.folder / "cleaned").exists() == death.cleans_up
    assert not (scene.folder / "went on").exists()
    assert {file.name for file in scene.output.parent.iterdir()} <= {"out.ipynb", "out.kernel.log"}


@dataclass(frozen=True)
class Moment:
    """A death outside any cell: after which cell it comes, and what must be said."""

    after: int
    how: str
    error: type[JobError]
    words: str
    states: list[str]


MOMENTS = {
    "cancel before the first cell": Moment(0, "cancel", RunCancelled, ": cancelled", ["not_run"] * 3),
    "time-out before the first cell": Moment(0, "clock", StepTimeout, ": ran longer than", ["not_run"] * 3),
    "cancel between two cells": Moment(1, "cancel", RunCancelled, ": cancelled", ["ok", "not_run", "not_run"]),
    "time-out between two cells": Moment(2, "clock", StepTimeout, ": ran longer than", ["ok", "ok", "not_run"]),
    "SIGKILL between two cells": Moment(1, "kill", KernelDied, "killed by SIGKILL", ["ok", "error", "not_run"]),
    "cancel at the end": Moment(3, "cancel", RunCancelled, "after its last cell: cancelled", ["ok"] * 3),
    "time-out at the end": Moment(3, "clock", StepTimeout, "after its last cell: ran longer", ["ok"] * 3),
    "SIGKILL at the end": Moment(3, "kill", KernelDied, "after its last cell: the kernel was killed", ["ok"] * 3),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_a_death_outside_the_cells(name: str, clean_pool: KernelPool, notebook: Write, scene: Scene) -> None:
    moment = MOMENTS[name]

    def strike() -> None:
        if moment.how == "cancel":
            scene.cancel.set()
        elif moment.how == "clock":
            scene.clock.ahead = 3600.0
        else:
            os.kill(scene.pids()[0], signal.SIGKILL)

    def on_cell(progress: CellProgress) -> None:
        scene.seen.append(progress)
        if progress.state == "ok" and progress.number == moment.after:
            strike()

    source = notebook(f"{_FAMILY}", "2", "3")
    if moment.after == 0 and moment.how == "cancel":
        scene.cancel.set()
    with pytest.raises(moment.error, match=re.escape(moment.words)) as caught:
        execute(
            source,
            scene.output,
            {},
            pool=clean_pool,
            env=scene.env,
            timeout_s=1e-9 if moment.after == 0 and moment.how == "clock" else 3000,
            grace_s=0.5,
            cancel=scene.cancel,
            on_cell=on_cell,
            clock=scene.clock,
        )
    assert scene.ended() == moment.states
    assert scene.statuses() == [_STATUS[state] for state in moment.states]
    assert type(caught.value).__name__ in scene.output.read_text()
    assert scene.living() == []


def test_a_kernel_that_never_starts(notebook: Write, scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(1000)\n")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{_SOURCE}"}
    others = set(psutil.Process().children(recursive=True))
    with (
        KernelPool(preload=("hangs",), calendars=(), env=env) as never,
        pytest.raises(StepTimeout, match=r"written\.ipynb: ran longer than 0\.5 s"),
    ):
        execute(notebook("1"), scene.output, {}, pool=never, timeout_s=0.5, on_cell=scene.seen.append)
    assert scene.ended() == ["not_run"]
    assert scene.statuses() == ["pending"]
    assert not [process for process in set(psutil.Process().children(recursive=True)) - others if process.is_running()]
    assert not never._folder


def test_a_kernel_that_cannot_start(notebook: Write, scene: Scene) -> None:
    with (
        KernelPool(preload=("no_such_module",), calendars=()) as broken,
        pytest.raises(JobError, match="No module named 'no_such_module'") as caught,
    ):
        execute(notebook("1"), scene.output, {}, pool=broken, on_cell=scene.seen.append)
    assert caught.value.exit_code == 1
    assert scene.ended() == ["not_run"]
    assert scene.statuses() == ["pending"]


@pytest.mark.parametrize("state", ["running", "ok", "not_run"])
def test_a_ledger_that_cannot_be_written_ends_the_run_with_its_own_error(
    state: str, clean_pool: KernelPool, notebook: Write, scene: Scene
) -> None:
    def on_cell(progress: CellProgress) -> None:
        if progress.state == state:
            raise OSError("the ledger is full")

    with pytest.raises((OSError, NotebookFailed)) as caught:
        execute(notebook(_FAMILY, "1 / 0", "3"), scene.output, {}, pool=clean_pool, env=scene.env, on_cell=on_cell)
    assert "the ledger is full" in str(caught.value)
    assert scene.statuses() != ["completed"] * 3
    assert scene.living() == []


def test_ctrl_c_is_a_clean_end_where_nobody_else_handles_it(
    clean_pool: KernelPool, notebook: Write, scene: Scene, wait_for: Wait
) -> None:
    def press() -> None:
        wait_for((scene.folder / "begun").exists)
        os.kill(os.getpid(), signal.SIGINT)

    others = signal.signal(signal.SIGINT, signal.default_int_handler)  # a library may have left its own, or ignore it
    helper = threading.Thread(target=press)
    try:
        helper.start()
        with pytest.raises(RunCancelled):
            execute(notebook(f"{_FAMILY}{_WAITS}"), scene.output, {}, pool=clean_pool, env=scene.env)
        helper.join()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, others)
    assert (scene.folder / "cleaned").exists()
    assert scene.statuses() == ["failed"]
    assert scene.living() == []


_RUNNER = """
import sys
from pathlib import Path
from workbench.jobs.engine import execute
from workbench.jobs.kernels import KernelPool

with KernelPool(preload=(), calendars=()) as pool:
    print(pool.folder, flush=True)
    execute(Path(sys.argv[1]), Path(sys.argv[2]), {}, pool=pool)
"""


@pytest.mark.parametrize("stage", ["cell", "closing"])
def test_sigkill_of_the_runner(stage: str, notebook: Write, scene: Scene, wait_for: Wait) -> None:
    closing = f"import atexit\natexit.register(lambda: ({_BEGUN.split(';')[0]}, time.sleep(1000)));"
    source = notebook(_FAMILY, _WAITS if stage == "cell" else closing)
    command = [sys.executable, "-c", _RUNNER, str(source), str(scene.output)]
    env = {**os.environ, **scene.env, "PYTHONPATH": _SOURCE}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as runner:
        try:
            assert runner.stdout is not None
            folder = Path(runner.stdout.readline().strip())
            wait_for((scene.folder / "begun").exists)
        finally:
            runner.kill()
    wait_for(lambda: not scene.living())
    wait_for(lambda: not folder.exists())
    assert scene.statuses() == ["pending", "pending"]  # as it was saved last: nothing in it claims to have worked


# papermill's command line turns Ctrl-C into "Aborted!" and 1
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_to_the_papermill_command(
    number: int, code: int, notebook: Write, scene: Scene, wait_for: Wait
) -> None:
    command = [sys.executable, "-m", "papermill", str(notebook(_FAMILY, _WAITS, "3")), str(scene.output)]
    command += ["--engine", "workbench", "--kernel", "python3", "--no-progress-bar"]
    env = {**os.environ, **scene.env, "PYTHONPATH": _SOURCE}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    wait_for((scene.folder / "begun").exists)
    process.send_signal(number)
    assert process.wait(60) == code
    assert (scene.folder / "cleaned").exists()
    assert scene.statuses() == ["completed", "failed", "pending"]
    assert scene.living() == []
