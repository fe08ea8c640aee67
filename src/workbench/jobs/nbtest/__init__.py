"""``workbench test notebooks``: every notebook under nbval in a process of its own, then through the real runner.

Compared are the outputs of cells tagged ``nbval-check-output`` (``strict``: of all but those tagged
``nbval-ignore-output``). What nbval alone lets pass is a failure here: a cell that is to be compared and has
nothing stored, cells after a failed one, a kernel that dies, a notebook that asks the network.

Fixed are the time zone (UTC), the hash seed, under nbval the seeds of ``random`` and of numpy's global generator, and
the session, which is a parameter: the house rules refuse ``now()`` and generators without a seed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from workbench.errors import ConfigError, RunCancelled, WorkbenchError, nearest
from workbench.jobs.kernels import KernelPool, kernel_environment
from workbench.jobs.nbtest import guard
from workbench.jobs.nbtest.scratch import command, copy_scratch, default_session, load_sample, make_scratch
from workbench.jobs.nbtest.stored import check_stored, codes
from workbench.jobs.parameters import read_parameters
from workbench.jobs.pipelines import Pipeline, load_pipeline, pipeline_names
from workbench.jobs.preload import PRELOAD
from workbench.settings import Settings

Stage = Literal["outputs", "pipeline", "cells", "network", "runner"]
SANITIZE_NAME = "nbval-sanitize.cfg"  # in the home; the format is nbval's own
# What differs from run to run and says nothing: addresses in memory, ids of pandas' styles and of figures, the times
# of a progress bar.
_SANITIZE = [
    (r"\[\d+:\d\d(:\d\d)?<[^\]]*\]", "[TIME]"),
    (r"0x[0-9a-fA-F]{6,}", "0x"),
    (r"\bT_[0-9a-f]{5}", "T_"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID"),
]
_SEED = "import random\nrandom.seed(0)\nimport numpy\nnumpy.random.seed(0)\ndel random, numpy\n"
# Variables that would make a result depend on who tests.
_OURS = ("WORKBENCH_", "PYTEST_", "PYTHONHASHSEED", "IPYTHONDIR")
_CELL_TIMEOUT_S = 600.0
_LOOK_S = 0.1
_RUN_MARGIN_S = 120.0
_NO_TESTS = 5  # pytest's code for a notebook without code


@dataclass(frozen=True, slots=True)
class NotebookTest:
    """How the test of one notebook ended. ``stage`` and ``reason`` say where and why it failed, if it did.

    ``cell`` is the number of the code cell, as ``In [n]`` counts; ``compared`` counts cells whose stored output was
    held against the new one.
    """

    notebook: Path
    seconds: float = 0.0
    cells: int = 0
    compared: int = 0
    stage: Stage | None = None
    cell: int | None = None
    reason: str = ""
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.stage is None


@dataclass(frozen=True)
class Bench:
    """Where notebooks are tested: a prepared home to copy, kernels for the runner, and what every process inherits."""

    home: Settings
    pool: KernelPool
    env: Mapping[str, str]
    folder: Path
    strict: bool
    timeout_s: float
    cancel: threading.Event
    looked: Mapping[Path, NotebookTest]  # what is known before a notebook is run; some have failed by then


def all_notebooks(settings: Settings) -> list[Path]:
    """Every notebook of an installation: those for people, then those of the jobs."""
    return [*_in_folder(settings.notebooks_dir), *_in_folder(settings.pipelines_dir)]


def find_notebooks(name: str, settings: Settings) -> list[Path]:
    """A notebook by path, or by name in ``notebooks/`` or ``pipelines/``; all of a folder.

    Raises
    ------
    ConfigError
        If there is none; the nearest is named.
    """
    for folder in (Path.cwd(), settings.home, settings.notebooks_dir, settings.pipelines_dir):
        if (folder / name).is_dir():
            return _in_folder((folder / name).resolve())
        for file in (folder / name, folder / f"{name}.ipynb"):
            if file.suffix == ".ipynb" and file.is_file():
                return [file.resolve()]
    raise ConfigError(
        f"no notebook {name!r}", hint=nearest(Path(name).stem, [file.stem for file in all_notebooks(settings)])
    )


def run_tests(
    notebooks: Sequence[Path],
    settings: Settings,
    *,
    strict: bool = False,
    workers: int = 2,
    timeout_s: float = _CELL_TIMEOUT_S,
    pipelines: Path | None = None,
    cancel: threading.Event | None = None,
    on_result: Callable[[NotebookTest], None] = lambda result: None,
    on_home: Callable[[Settings], None] = lambda home: None,
) -> list[NotebookTest]:
    """Test notebooks, at most ``workers`` at a time; the results are in the order of the notebooks.

    Nothing of the installation is touched: every notebook gets a home of its own, on the paper exchange, with the
    installation's pipelines, settings and prices, in which its pipeline has run once.

    Parameters
    ----------
    strict
        Compare every cell but those tagged ``nbval-ignore-output``.
    timeout_s
        For a cell under nbval, and for the notebook in the runner.
    pipelines
        The folder of pipelines, if it is not the installation's.
    on_home
        Called with the home before anything runs in it, for checks on the same prices; what it raises ends the test.

    Raises
    ------
    RunCancelled
        If ``cancel`` was set; everything that was started is gone.
    """
    stop = cancel or threading.Event()
    with tempfile.TemporaryDirectory(prefix="wb-test-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        env = _environment(folder)
        with KernelPool(PRELOAD, (settings.calendar,), env=env) as pool:
            home = make_scratch(settings, folder / "home", pipelines)
            load_sample(home)
            on_home(home)
            looked = {notebook: _look(notebook, strict=strict) for notebook in notebooks}
            sound = [notebook for notebook, result in looked.items() if result.passed]
            broken = _prepare(home, sound, pipelines or settings.pipelines_dir, env, stop)
            bench = Bench(home, pool, env, folder, strict, timeout_s, stop, {**looked, **broken})
            results = _all(bench, notebooks, max(1, workers), on_result)
    return results


def _look(notebook: Path, *, strict: bool) -> NotebookTest:
    """What can be said of a notebook without running it."""
    try:
        compared, missing = check_stored(notebook, strict=strict)
        read_parameters(notebook).bind({})
    except WorkbenchError as error:
        return NotebookTest(notebook, stage="cells", reason=str(error))
    result = NotebookTest(notebook, cells=len(codes(notebook)), compared=compared)
    return result if missing is None else replace(result, stage="outputs", cell=missing[0], reason=missing[1])


# ---- the home --------------------------------------------------------------------------------------


def _environment(folder: Path) -> dict[str, str]:
    """What every process of the test inherits: no settings, no credentials, no network, nothing that varies."""
    start = folder / "ipython" / "profile_default" / "startup"
    start.mkdir(parents=True)
    (start / "00-seed.py").write_text(_SEED, encoding="utf-8")
    env = {name: value for name, value in kernel_environment(os.environ).items() if not name.startswith(_OURS)}
    env |= {"TZ": "UTC", "PYTHONHASHSEED": "0", "IPYTHONDIR": str(folder / "ipython")}
    return guard.environment(folder / "guard", env)


def _prepare(
    home: Settings, notebooks: Sequence[Path], source: Path, env: Mapping[str, str], cancel: threading.Event
) -> dict[Path, NotebookTest]:
    """Run once the pipelines that the notebooks belong to; the notebooks whose pipeline failed.

    A notebook for people finds an account that has traded: that of the first pipeline which places orders.
    """
    broken: dict[Path, NotebookTest] = {}
    members: dict[str, set[Path]] = {}
    loaded: dict[str, Pipeline] = {}
    for name in pipeline_names(home.pipelines_dir):
        try:
            loaded[name] = load_pipeline(name, home.pipelines_dir)
            default_session(loaded[name])
        except ConfigError:
            loaded.pop(name, None)
            continue  # it says so itself when it is run or promoted
        members[name] = {path.resolve() for path in loaded[name].notebooks}
    twins = {notebook: _twin(notebook, source, home) for notebook in notebooks}
    wanted = [name for name in loaded if members[name] & set(twins.values())]
    ordering = [name for name in loaded if any(step.orders for step in loaded[name].steps)]
    if twins and not wanted and ordering:
        wanted = ordering[:1]
    # an account does not go back in time
    for name in sorted(wanted, key=lambda name: (default_session(loaded[name]) or "9999", name)):
        if why := _run_pipeline(loaded[name], home, env, cancel):
            reason = f"pipeline {name}: {why}"
            failed = [notebook for notebook, twin in twins.items() if twin in members[name]]
            broken |= {notebook: NotebookTest(notebook, stage="pipeline", reason=reason) for notebook in failed}
    return broken


def _twin(notebook: Path, source: Path, home: Settings) -> Path:
    """The copy in the scratch home of a notebook of the pipelines' folder; any other notebook itself."""
    if notebook.resolve().is_relative_to(source.resolve()):
        return (home.pipelines_dir / notebook.resolve().relative_to(source.resolve())).resolve()
    return notebook.resolve()


def _run_pipeline(pipeline: Pipeline, home: Settings, env: Mapping[str, str], cancel: threading.Event) -> str:
    """Run it for the session that its notebooks name; why it failed, if it did."""
    arguments = ["run", pipeline.name]
    if session := default_session(pipeline):
        arguments += ["--session", session]
    timeout_s = sum(step.timeout_s for step in pipeline.steps) + _RUN_MARGIN_S
    log = home.home / f".{pipeline.name}.log"
    code = _wait(
        command(*arguments), home.home, {**env, "WORKBENCH_CONFIG": str(home.config_file)}, log, timeout_s, cancel
    )
    if code == 0:
        return ""
    lines = log.read_text(errors="replace").strip().splitlines()
    said = [line for line in lines if line.startswith("workbench: ")] or lines[-1:]
    reason = said[-1].removeprefix("workbench: ") if said else f"the run ended with {code}"
    return reason.replace(f"{home.home}{os.sep}", "")


# ---- one notebook ----------------------------------------------------------------------------------


def _all(
    bench: Bench, notebooks: Sequence[Path], workers: int, on_result: Callable[[NotebookTest], None]
) -> list[NotebookTest]:
    def one(number: int) -> NotebookTest:
        if bench.cancel.is_set():
            raise RunCancelled("interrupted")
        result = _one(bench, notebooks[number], number)
        on_result(result)
        return result

    with ThreadPoolExecutor(workers) as threads:
        return list(threads.map(one, range(len(notebooks))))


def _one(bench: Bench, notebook: Path, number: int) -> NotebookTest:
    started = time.monotonic()
    result = _stages(bench, notebook, bench.folder / f"{number:03}")
    return replace(result, seconds=round(time.monotonic() - started, 2))


def _stages(bench: Bench, notebook: Path, folder: Path) -> NotebookTest:
    """Each stage on a fresh home, until one fails."""
    result = bench.looked[notebook]
    if not result.passed:
        return result
    for stage in (_cells, _runner):
        home = copy_scratch(bench.home, folder / stage.__name__.strip("_"))
        result = stage(bench, home, result)
        if not result.passed:
            return result
    return result


def _cells(bench: Bench, home: Settings, result: NotebookTest) -> NotebookTest:
    """Every cell under nbval."""
    folder = home.home.parent
    told, log, asked = folder / "cells.json", folder / "nbval.log", folder / "asked-by-cells"
    sanitize = folder / "sanitize.cfg"
    sanitize.write_text(_sanitizing(home), encoding="utf-8")
    arguments = [str(result.notebook), str(told), "--cell-timeout", str(bench.timeout_s), "--sanitize", str(sanitize)]
    arguments += ["--strict"] if bench.strict else []
    env = {**bench.env, "WORKBENCH_CONFIG": str(home.config_file), guard.LOG: str(asked)}
    timeout_s = bench.timeout_s * max(1, result.cells) + _RUN_MARGIN_S
    worker = [sys.executable, "-P", "-m", "workbench.jobs.nbtest.worker", *arguments]
    code = _wait(worker, folder, env, log, timeout_s, bench.cancel)
    cells = json.loads(told.read_text(encoding="utf-8")) if told.is_file() else []
    failed = next((cell for cell in cells if cell["outcome"] == "failed"), None)
    if failed is not None:
        result = replace(result, cell=failed["cell"], detail=failed.get("detail", ""))
    if hosts := guard.attempts(asked):
        return replace(result, stage="network", reason=_asked(hosts))
    if failed is not None:
        return replace(result, stage="cells", reason=failed["reason"])
    if code not in (0, _NO_TESTS):
        said = log.read_text(errors="replace").strip().splitlines()
        return replace(result, stage="cells", reason=said[-1] if said else f"the test ended with {code}")
    return result


def _runner(bench: Bench, home: Settings, result: NotebookTest) -> NotebookTest:
    """The whole notebook through the engine that runs jobs."""
    from workbench.jobs.engine import execute

    asked = home.home.parent / "asked-by-runner"
    failed: WorkbenchError | None = None
    try:
        execute(
            result.notebook,
            home.home.parent / "output.ipynb",
            read_parameters(result.notebook).bind({}),
            pool=bench.pool,
            env={"WORKBENCH_CONFIG": str(home.config_file), guard.LOG: str(asked)},
            cwd=home.home,
            timeout_s=bench.timeout_s,
            cancel=bench.cancel,
        )
    except RunCancelled:
        raise
    except WorkbenchError as error:
        failed = error
    if hosts := guard.attempts(asked):
        return replace(result, stage="network", reason=_asked(hosts))
    if failed is not None:
        found = re.search(r", cell \[(\d+)\]", failed.message)
        reason = failed.message.partition(": ")[2] or failed.message
        return replace(result, stage="runner", cell=int(found[1]) if found else None, reason=reason)
    return result


def _asked(hosts: list[str]) -> str:
    return f"asks the network for {', '.join(hosts[:3])}; a test that needs it proves nothing"


def _sanitizing(home: Settings) -> str:
    """The list for nbval of what is not compared: ours, the homes' paths, and the user's own."""
    patterns = [*_SANITIZE, (re.escape(str(home.home)), "HOME")]
    text = "\n".join(f"regex: {regex}\nreplace: {new}\n" for regex, new in patterns)
    own = home.home / SANITIZE_NAME
    return text + (own.read_text(encoding="utf-8") if own.is_file() else "")


def _wait(
    arguments: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path, timeout_s: float, cancel: threading.Event
) -> int:
    """Run a command until it ends, its time is up or the test is cancelled; its exit code, 124 for the time."""
    deadline = time.monotonic() + timeout_s
    with open(log, "wb") as said:
        process = subprocess.Popen(
            list(arguments), cwd=cwd, env=dict(env), stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            while not cancel.is_set() and time.monotonic() < deadline:
                try:
                    return process.wait(timeout=_LOOK_S)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if process.poll() is None:
                _kill(process)
            assert process.stdin is not None
            process.stdin.close()
    if cancel.is_set():
        raise RunCancelled("interrupted")
    return 124


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started; kernels are in groups of their own."""
    import psutil

    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    for member in family:
        with suppress(psutil.NoSuchProcess):  # it ended with the group
            member.kill()
    process.wait()


def _in_folder(folder: Path) -> list[Path]:
    """Its notebooks, without what JupyterLab keeps in hidden folders."""
    files = sorted(folder.rglob("*.ipynb"))
    return [file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)]
