"""Run one notebook through papermill, on a kernel of our own pool.

:func:`execute` is what the runner calls. :class:`WorkbenchEngine` is the papermill engine behind it, so that
``papermill in.ipynb out.ipynb --engine workbench`` runs the same way. Faults of papermill 2.7 that it mends:
the output is written whole or not at all, at the start, now and then, and at the end (not twice a cell); a
cell that never ran is not marked completed; an interrupted run leaves no kernel and keeps its output.

nbclient, nbformat and papermill cost half a second: they are imported when the first notebook runs.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Literal

from workbench.clock import Clock, SystemClock
from workbench.errors import KernelDied, NotebookFailed, RunCancelled
from workbench.jobs.engine.outputs import OutputLimits, log_file
from workbench.jobs.engine.redaction import Redaction
from workbench.jobs.kernels import KernelPool

if TYPE_CHECKING:
    from nbformat import NotebookNode

CellState = Literal["running", "ok", "error", "not_run"]


@dataclass(frozen=True, slots=True)
class CellProgress:
    """Where a run is. ``number`` counts the code cells of the output from 1 and is what ``In [n]`` shows.

    A cell that was ``ok`` becomes an ``error`` later if a thread or a task that it started fails.
    """

    number: int
    total: int
    state: CellState
    seconds: float
    reason: str | None = None  # one line, for an error


@dataclass(frozen=True, slots=True)
class NotebookResult:
    """How a notebook ended. A notebook that did not end well is an exception instead."""

    seconds: float
    cells: tuple[CellProgress, ...]
    state: Literal["succeeded"] = "succeeded"


class Gate:
    """Holds a notebook back between the start of its kernel and its first cell, until another thread opens it."""

    def __init__(self) -> None:
        self.reached = threading.Event()  # the kernel is there, or there will be none
        self._lock = threading.Lock()
        self._open = False
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def open(self) -> None:
        """Let the notebook begin."""
        with self._lock:
            self._open = True
            if self._waiter is not None:
                loop, event = self._waiter
                with suppress(RuntimeError):  # the notebook has ended while it waited; its thread says why
                    loop.call_soon_threadsafe(event.set)

    async def passed(self) -> None:
        """Wait until it is open."""
        event = asyncio.Event()
        with self._lock:
            if self._open:
                event.set()
            self._waiter = asyncio.get_running_loop(), event
        self.reached.set()
        await event.wait()


@dataclass(frozen=True)
class Job:
    """One notebook to run: all that the engine has to know beside the notebook itself."""

    name: str
    output: Path | None
    pool: KernelPool
    env: Mapping[str, str]
    cwd: Path
    timeout_s: float | None = None
    cell_timeout_s: float | None = None  # for cells without a tag of their own
    stall_s: float | None = None
    grace_s: float = 10.0
    start_timeout_s: float = 60.0
    autosave_s: float = 30.0
    cancel: threading.Event = field(default_factory=threading.Event)
    on_cell: Callable[[CellProgress], None] = lambda progress: None
    on_stream: Callable[[str, str], None] | None = None
    clock: Clock = field(default_factory=SystemClock)
    limits: OutputLimits = field(default_factory=OutputLimits)
    redaction: Redaction = field(default_factory=lambda: Redaction({}))
    gate: Gate | None = None
    ahead: str = ""
    when_over: Callable[[], None] = lambda: None
    is_command: bool = False  # papermill itself then reports a failed cell and marks it in the output
    results: list[NotebookResult] = field(default_factory=list)

    @property
    def kernel_log(self) -> Path | None:
        """For what the kernel writes past the notebook."""
        return self.output.with_suffix(".kernel.log") if self.output else None

    @property
    def output_log(self) -> Path | None:
        """For the full text of cells whose printed text is cut in the notebook."""
        return log_file(self.output) if self.output else None


def execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, object],
    *,
    pool: KernelPool,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float | None = None,
    stall_s: float | None = None,
    grace_s: float = 10.0,
    limits: OutputLimits | None = None,
    cancel: threading.Event | None = None,
    on_cell: Callable[[CellProgress], None] | None = None,
    clock: Clock | None = None,
    gate: Gate | None = None,
    ahead: str = "",
    when_over: Callable[[], None] | None = None,
) -> NotebookResult:
    """Run ``notebook`` with ``parameters`` and save it as ``output``, whatever happens.

    Parameters
    ----------
    parameters
        Plain values, already checked (:meth:`NotebookParameters.bind`); papermill writes them into a cell.
    env
        Variables of the kernel on top of the pool's environment.
    cwd
        The kernel's working folder; the notebook's own by default, as in JupyterLab.
    timeout_s
        Seconds for everything, the start of the kernel included. None: no limit. A cell has a limit of its
        own by a tag ``timeout=SECONDS``.
    stall_s
        Seconds that a running cell may be without any sign of progress: no output, no word from the kernel.
    grace_s
        Seconds that an interrupted cell gets for its ``finally`` blocks before its process group is killed.
    limits
        How much output is kept. What exceeds it is cut in the notebook, with a notice; the full text of a cell
        whose printed text is cut is in ``<output>.output.log`` beside it.
    cancel
        Set it, from a signal handler or another thread, to stop the run. Ctrl-C does the same in a process
        that leaves it at Python's own handling.
    on_cell
        Called at the start and at the end of every code cell, and for the cells that never ran.
    gate
        Where to wait, with everything ready, before the first cell runs and anything is written. Time counts from
        there.
    ahead
        Code that the kernel runs silently before the gate, to have open what the first cells need. If it fails,
        nothing is open.
    when_over
        Called when the notebook has succeeded and is saved. What is left then is to see its processes off: the
        system takes 15 ms to take a kernel's memory back.

    Raises
    ------
    NotebookFailed
        A cell raised; the message names notebook, cell and exception. So for what fails beside the cells (a
        thread, a task, a command), for work that goes on when the notebook is over, and for an early exit.
    StepTimeout, RunCancelled, KernelDied
        As they say. In every case the kernel and all it started are gone, and the output is saved.
    ConfigError
        A tag ``timeout=...`` cannot be read. No kernel has been started.
    JobError
        There is no kernel, or the disk does not take the output.
    """
    papermill = _papermill()
    job = Job(
        name=notebook.name,
        output=output,
        pool=pool,
        env=dict(env or {}),
        cwd=cwd or notebook.parent,
        timeout_s=timeout_s,
        stall_s=stall_s,
        grace_s=grace_s,
        limits=limits or OutputLimits(),
        cancel=cancel or threading.Event(),
        on_cell=on_cell or (lambda progress: None),
        clock=clock or SystemClock(),
        redaction=Redaction(parameters),
        gate=gate,
        ahead=ahead,
        when_over=when_over or (lambda: None),
    )
    try:
        papermill.execute_notebook(
            str(notebook).replace("{", "{{").replace("}", "}}"),  # papermill formats paths
            None,  # the engine writes the output: atomically, and not once more at the end
            parameters=dict(parameters),
            engine_name="workbench",
            kernel_name="python3",
            language="python",
            progress_bar=False,
            workbench_job=job,
        )
    except papermill.exceptions.PapermillExecutionError:
        if not job.results:  # papermill also counts errors that a cell's raises-exception tag allows
            raise
    return job.results[0]


def warm_up() -> None:
    """Import what :func:`execute` needs. Worth calling right after ``pool.start()``: the two overlap."""
    _papermill()


class WorkbenchEngine:
    """The papermill engine ``workbench`` (entry point group ``papermill.engine``).

    Not a subclass of papermill's ``Engine``: papermill looks this class up while it is itself being imported.
    """

    @classmethod
    def execute_notebook(cls, nb: NotebookNode, kernel_name: str, **options: Any) -> NotebookNode:
        """Run ``nb`` in place and return it. Called by papermill."""
        del kernel_name  # always the runner's own interpreter
        job: Job | None = options.pop("workbench_job", None)
        if job is not None:
            _run(nb, job)
            return nb
        with ExitStack() as stack:
            job = _job_of_command(stack, nb, options)
            caught = stack.enter_context(_signals(job.cancel, signal.SIGINT, signal.SIGTERM))
            _run_for_command(nb, job)
        if caught:
            os.kill(os.getpid(), caught[0])  # end as the signal would have ended us, now that all is clean
        return nb

    @classmethod
    def nb_kernel_name(cls, nb: NotebookNode, name: str | None = None) -> str:
        """The kernel to use, whatever the notebook names."""
        return "python3"

    @classmethod
    def nb_language(cls, nb: NotebookNode, language: str | None = None) -> str:
        """The language of the parameters cell that papermill writes."""
        return "python"


def _papermill() -> Any:
    """Papermill with our engine registered, imported without what it does not need."""
    # Without HDFS and S3, for which papermill would load all of pyarrow and boto3. It needs requests for notebooks on
    # the web only, and looks through every installed package for engines and file systems of other packages: the
    # runner uses neither.
    stand_ins = {"requests": _Deferred("requests"), "entrypoints": _NoEntryPoints("entrypoints")}
    with imports_without(*FORMAT_CHECKS, "pyarrow.fs", "boto3"), imports_instead(stand_ins):
        import papermill
        import papermill.engines
        import papermill.exceptions

        import workbench.jobs.engine.execution  # noqa: F401  # so that the first run does not pay for it
    papermill.engines.papermill_engines.register("workbench", WorkbenchEngine)
    papermill.execute.write_ipynb = _write_to(papermill.iorw.write_ipynb)
    logger = logging.getLogger("papermill")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())  # parameters were checked; its guesses are noise
    return papermill


# What jsonschema, which nbformat imports, tries to import for checks of formats (times, addresses, IRIs) that notebooks
# do not have; it does without what there is not. rfc3987_syntax alone compiles a grammar at import: 0.9 to 1.6 s.
FORMAT_CHECKS = (
    "fqdn",
    "isoduration",
    "jsonpointer",
    "rfc3339_validator",
    "rfc3986_validator",
    "rfc3987",
    "rfc3987_syntax",
    "uri_template",
    "webcolors",
)


def _write_to(write: Callable[[Any, str | None], None]) -> Callable[[Any, str | None], None]:
    """The last write of papermill; where there is nowhere to write to, it would make the text all the same."""
    return lambda nb, path: None if path is None else write(nb, path)


def imports_without(*names: str) -> AbstractContextManager[None]:
    """Let imports in the block find these modules missing, unless they are loaded already."""
    return imports_instead(dict.fromkeys(names))  # None makes the import system refuse a name


@contextmanager
def imports_instead(stand_ins: Mapping[str, ModuleType | None]) -> Iterator[None]:
    """Let imports in the block find these in place of the modules of that name, unless those are loaded already."""
    absent = {name: stand_in for name, stand_in in stand_ins.items() if name not in sys.modules}
    sys.modules.update(absent)  # type: ignore[arg-type]  # typeshed knows no None here
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)


class _Deferred(ModuleType):
    """A module that is imported when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


class _NoEntryPoints(ModuleType):
    """The module entrypoints, with nothing installed."""

    def get_group_all(self, group: str) -> list[Any]:
        return []


def _run(nb: NotebookNode, job: Job) -> None:
    from workbench.jobs.engine.execution import run

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with _signals(job.cancel, *([signal.SIGINT] if ours else [])):
        job.results.append(run(nb, job))


def _job_of_command(stack: ExitStack, nb: NotebookNode, options: dict[str, Any]) -> Job:
    """What the ``papermill`` command asked for, as a job with a pool of its own."""
    output = options.get("output_path")
    timeout = options.get("execution_timeout") or options.get("timeout")
    stall = options.get("stall_s")
    return Job(
        name=Path(str(options.get("input_path"))).name,
        output=Path(output) if output and "://" not in output and output != "-" else None,
        pool=stack.enter_context(KernelPool(preload=(), calendars=())),
        env={},
        cwd=Path.cwd(),
        cell_timeout_s=float(timeout) if timeout else None,  # of each cell, as papermill has it
        stall_s=float(stall) if stall else None,
        start_timeout_s=float(options.get("start_timeout", 60)),
        autosave_s=float(options.get("autosave_cell_every", 30)),
        on_cell=_progress_bar(stack, nb) if options.get("progress_bar", True) else lambda progress: None,
        on_stream=_stream_writer(options),
        redaction=Redaction(nb.metadata.papermill.get("parameters", {})),
        is_command=True,
    )


def _run_for_command(nb: NotebookNode, job: Job) -> None:
    """Leave a failed cell to papermill, which marks it and raises its own error; so with a dead kernel."""
    from nbclient.exceptions import DeadKernelError

    try:
        _run(nb, job)
    except NotebookFailed:
        if not _is_seen_by_papermill(nb):
            raise
    except KernelDied as error:
        raise DeadKernelError(str(error)) from error
    except RunCancelled:
        return  # the signal that was caught is raised again


def _is_seen_by_papermill(nb: NotebookNode) -> bool:
    """Whether papermill finds an error in a cell; it takes ``sys.exit(0)`` for none."""
    outputs = [output for cell in nb.cells for output in cell.get("outputs", []) if output.output_type == "error"]
    return any(output.ename != "SystemExit" or output.evalue not in ("", "0") for output in outputs)


def _progress_bar(stack: ExitStack, nb: NotebookNode) -> Callable[[CellProgress], None]:
    from tqdm.auto import tqdm

    total = sum(cell.cell_type == "code" for cell in nb.cells)
    bar = stack.enter_context(tqdm(total=total, unit="cell", desc="Executing"))

    def advance(progress: CellProgress) -> None:
        if progress.state in ("ok", "error"):
            bar.update(1)

    return advance


def _stream_writer(options: Mapping[str, Any]) -> Callable[[str, str], None] | None:
    """Do what papermill's options say: --log-output, --stdout-file, --stderr-file."""
    files = {"stdout": options.get("stdout_file"), "stderr": options.get("stderr_file")}
    log = bool(options.get("log_output"))
    if not log and not any(files.values()):
        return None
    logger = logging.getLogger("papermill")

    def write(stream: str, text: str) -> None:
        if log:
            logger.log(logging.INFO if stream == "stdout" else logging.WARNING, text)
        file = files[stream]
        if file is not None:
            file.write(text)
            file.flush()

    return write


@contextmanager
def _signals(cancel: threading.Event, *numbers: int) -> Iterator[list[int]]:
    """Turn signals into ``cancel``; yields the list of those that came."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        cancel.set()

    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
