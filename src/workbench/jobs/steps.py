"""Runs the steps of a claimed run: notebook by notebook, the gateway beside those that may order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from workbench.calendars import Calendar
from workbench.clock import Clock
from workbench.errors import DataError, KernelDied, NotebookFailed, RunCancelled, StepTimeout, WorkbenchError
from workbench.jobs import promotion
from workbench.jobs.binding import Binding
from workbench.jobs.engine import CellProgress, Gate, execute
from workbench.jobs.engine.outputs import OutputLimits
from workbench.jobs.kernels import KernelPool
from workbench.jobs.pages import HtmlWriter
from workbench.jobs.pipelines import Pipeline, Step
from workbench.jobs.pulse import Pulse, StopSignal
from workbench.jobs.staged import StagedNotebook
from workbench.journal import Journal, RunJournal, RunRecord
from workbench.journal.states import StepState
from workbench.settings import JobSettings, Settings

if TYPE_CHECKING:
    from datetime import date

    from workbench.data.lake import Lake
    from workbench.jobs.gateway_thread import GatewayThread
    from workbench.trading.gateway import GatewayParts

# Leaves no name behind in the notebook's namespace.
_OPEN_AHEAD = "__import__('workbench.app').app.open_ahead()"
_SNAPSHOT = "data_snapshot"  # among what a run was made of
_RETRIED = (NotebookFailed, KernelDied, StepTimeout)


class Host(Protocol):
    """What a runner needs of the application."""

    settings: Settings
    clock: Clock

    @property
    def calendar(self) -> Calendar: ...

    @property
    def lake(self) -> Lake: ...

    @property
    def journal(self) -> Journal: ...

    def load_sample(self) -> object: ...

    def gateway_parts(
        self, account: str, session: date, snapshot: int | None, tolerate: Sequence[str] = ()
    ) -> GatewayParts: ...

    def blocked_by_data(self, run_id: str, max_severity: str, tolerate: Sequence[str]) -> str: ...


class Watcher(Protocol):
    """Who is told how a run goes."""

    def step(self, run: RunRecord, step: Step, number: int, total: int) -> None: ...

    def cell(self, progress: CellProgress) -> None: ...


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done: a claimed run, its pipeline, its parameters, and the hash of each step's code."""

    run: RunRecord
    pipeline: Pipeline
    binding: Binding
    code: Mapping[str, str]


class Steps:
    """The steps of one attempt.

    While one notebook runs, the next one waits at its gate: its kernel is connected and has opened the lake.
    """

    def __init__(
        self, host: Host, pool: KernelPool, html: HtmlWriter, watcher: Watcher, job: Job, cancel: threading.Event
    ) -> None:
        self._host = host
        self._pool = pool
        self._html = html
        self._watcher = watcher
        self._run = job.run
        self._pipeline = job.pipeline
        self._binding = job.binding
        self._code = job.code
        self._cancel = cancel
        self._runs = RunJournal(host.journal)
        self._started = host.clock.monotonic()
        self._stop = StopSignal(cancel)
        self._pulse = Pulse(host.settings.journal_file, host.clock, job.run, self._stop)
        self._staged: dict[str, StagedNotebook] = {}
        self._leaving: list[StagedNotebook] = []  # whose kernels may still be ending
        self._opened: GatewayThread | None = None  # of the first step, if it stands by
        self._marked_running = False  # whether the journal knows already that the step in turn runs
        self._begun = False  # whether the notebook that stands by has been let go
        self._is_shown = False  # whether it is this run that the watcher is told of
        self._when_ready: Callable[[int], None] | None = None
        self._told: set[str] = set()  # of which steps it knows

    def execute(self, when_ready: Callable[[int], None] | None) -> None:
        """Do what is not done yet, in order.

        ``when_ready`` is called for every notebook, with the number of those that follow it, when something else may
        be got ready beside it: of the last one when it has begun, of the others when they are nearly over. Before that,
        what they start themselves keeps the processor busy, and they would wait for it. If it is given, somebody will
        want a kernel when this run's last notebook has got its own.

        Raises
        ------
        WorkbenchError
            Of the step that failed; the later ones have not run.
        """
        self._when_ready = when_ready
        self._is_shown = True
        if self._pulse.has_started:
            self._started = self._host.clock.monotonic()  # what it had to wait for its turn is not counted
        else:
            self._start()
        try:
            done = {s.name for s in self._runs.steps(self._run.run_id) if s.state is StepState.OK}
            waiting = [step for step in self._pipeline.steps if step.name not in done]
            for step, following in zip_longest(waiting, waiting[1:]):  # none, if it died after its last
                self._watcher.step(self._run, step, self._number(step), len(self._pipeline.steps))
                self._with_retries(step, following)
            while self._leaving:
                self._leaving.pop().see_off()
        finally:
            self.dismiss()
        if self._pulse.failure is not None:
            raise self._pulse.failure

    def begin(self) -> None:
        """Let the first step, which stands by and is claimed, begin; :meth:`execute` goes on from there."""
        first = self._pipeline.steps[0]
        self._start()
        self._pulse.step(first.name, orders=False)
        staged = self._staged[first.name]
        self._begun = not staged.is_over  # or its kernel has died while it waited
        staged.begin()

    def _start(self) -> None:
        self._started = self._host.clock.monotonic()
        self._pulse.start()

    def stand_by(self) -> int | None:
        """Get the first step ready for its moment: account open, kernel connected, notebook read. No cell has run.

        The run need not be claimed yet; who claims it says that the first step is running. Returns the data snapshot
        that is pinned, if the step may order.

        Raises
        ------
        WorkbenchError
            If that is not possible; nothing is left behind.
        """
        step = self._pipeline.steps[0]
        self._html.start()
        snapshot = self._host.lake.snapshot() if step.orders else None
        try:
            self._opened = None if snapshot is None else self._gateway(snapshot)
            self._stage(step, ahead=True).require_ready()
        except BaseException:
            self.dismiss()
            raise
        self._marked_running = True
        return snapshot

    def dismiss(self) -> None:
        """Let go of what stands by or has begun, and end the pulse."""
        opened, self._opened = self._opened, None
        waiting, self._staged = self._staged, {}
        for staged in waiting.values():
            staged.dismiss()
        if opened is not None:
            opened.stop()
        while self._leaving:
            self._leaving.pop().dismiss()
        self._pulse.end()

    # ---- one step --------------------------------------------------------------------------------

    def _with_retries(self, step: Step, following: Step | None) -> None:
        """Run a step, again if the pipeline says so; never after a step that may order has handed in anything."""
        for left in range(step.retries, -1, -1):
            try:
                if not self._marked_running:
                    self._set_step(step, StepState.RUNNING)
                self._marked_running = False
                self._step(step, following)
            except BaseException as error:
                self._set_step(step, StepState.ERROR, str(error))
                spent = step.orders and self._runs.has_decided(self._run.run_id, step.name)
                if not left or spent or not isinstance(error, _RETRIED):
                    raise
                self._pause(step.retry_delay_s)
            else:
                self._pass_on(step, following)
                return

    def _pass_on(self, step: Step, following: Step | None) -> None:
        """A step is done, and the one after it begins. If that may order, the data that it trades on is pinned."""
        if following is None:
            self._set_step(step, StepState.OK)
            return
        facts = {}
        if following.orders and self._pinned() is None:
            with suppress(WorkbenchError):  # it is told when that step's turn has come
                facts = {_SNAPSHOT: self._host.lake.snapshot()}
        self._runs.pass_on(self._run.run_id, step.name, following.name, facts, attempt=self._run.attempt)
        self._marked_running = True

    def _set_step(self, step: Step, state: StepState, detail: str = "") -> None:
        self._runs.set_step(self._run.run_id, step.name, state, detail, attempt=self._run.attempt)

    def _step(self, step: Step, following: Step | None) -> None:
        output = self._output(step)
        gateway, self._opened = self._opened, None
        if step.orders:
            self._require_quality(step, gateway)
        self._pulse.step(step.name, orders=False)
        if gateway is None and step.orders:
            gateway = self._gateway(self._snapshot())
        try:
            try:
                self._pulse.step(step.name, orders=step.orders)
                self._notebook(step, following)
            finally:
                self._pulse.step(step.name, orders=False)
                if gateway is not None:
                    gateway.stop()  # raises what the gateway failed with, which explains any cell error
                if output.exists():
                    self._html.submit(output)
        except RunCancelled as error:
            if self._stop.reason:
                raise type(error)(f"{error.message}: {self._stop.reason}", hint=error.hint) from error
            raise
        if step.orders and not self._runs.has_decided(self._run.run_id, step.name):
            raise NotebookFailed(
                f"{step.notebook}: it may order, but ended without proposing anything",
                hint="propose a plan, or say why not: wb.stand_aside('no data yet')",
            )

    def _require_quality(self, step: Step, gateway: GatewayThread | None) -> None:
        """Do not begin to order on data that this run itself has found wanting."""
        quality = self._pipeline.quality
        reasons = self._host.blocked_by_data(self._run.run_id, quality.max_severity, quality.tolerate)
        if reasons:
            if gateway is not None:
                gateway.stop()
            raise DataError(
                f"{step.name} is not begun: the data is not fit to trade on: {reasons}",
                hint="repair it, or `workbench data accept RULE SYMBOL --why ... --until ...`, and run it again",
            )

    def _notebook(self, step: Step, following: Step | None) -> None:
        """Run a step's notebook, and have the next one get ready meanwhile."""
        staged = self._staged.pop(step.name, None)
        begun, self._begun = self._begun, False
        if staged is None or (staged.is_over and not begun):  # its kernel died while it waited; nothing of it has run
            staged = self._stage(step, ahead=False)
        try:
            staged.begin()
            if following is not None and following.name not in self._staged and self._pipeline.timeout_s is None:
                with suppress(WorkbenchError):  # it is told when that step's turn has come
                    self._stage(following, ahead=True)
            if self._when_ready is not None and step.name not in self._told:
                self._told.add(step.name)  # once, however often it is tried
                left = len(self._pipeline.steps) - 1 - self._number(step)
                if left:
                    staged.wait_until_nearly_over()
                self._when_ready(left)
        finally:
            self._leaving.append(staged)
            staged.finish()

    # ---- notebooks at their gates ----------------------------------------------------------------

    def _stage(self, step: Step, *, ahead: bool) -> StagedNotebook:
        """Start a step's kernel and hold its notebook at the gate; ``ahead`` opens what its first cells need."""
        promotion.require_same(self._pipeline, step, self._code)
        more = self._when_ready is not None or step is not self._pipeline.steps[-1]
        self._pool.prestart(2 if more else 1)  # one for this step, one to be ready for what comes next
        cancel, gate = StopSignal(self._stop), Gate()
        work = partial(
            execute,
            self._pipeline.notebook_path(step),
            self._output(step),
            dict(self._binding.steps[step.name]),
            pool=self._pool,
            env=self._environment(step),
            cwd=self._host.settings.home,
            timeout_s=self._time_left(step),
            stall_s=step.stall_s,
            limits=_limits(self._host.settings.jobs),
            cancel=cancel,
            gate=gate,
            ahead=_OPEN_AHEAD if ahead else "",
        )
        staged = StagedNotebook(gate, cancel, work, self._on_cell(step))
        self._staged[step.name] = staged
        staged.start()
        if not ahead:
            del self._staged[step.name]
        return staged

    def _on_cell(self, step: Step) -> Callable[[CellProgress], None]:
        note = self._pulse.watcher(step.name)

        def on_cell(progress: CellProgress) -> None:
            note(progress)
            if self._is_shown:
                self._watcher.cell(progress)

        return on_cell

    def _time_left(self, step: Step) -> float:
        """Seconds for a step: its own limit, or what is left of the whole run's."""
        if self._pipeline.timeout_s is None:
            return step.timeout_s
        left = self._pipeline.timeout_s - (self._host.clock.monotonic() - self._started)
        if left <= 0:
            raise StepTimeout(f"{self._pipeline.name} ran longer than {self._pipeline.timeout_s:g} s")
        return min(step.timeout_s, left)

    def _pause(self, seconds: float) -> None:
        until = self._host.clock.monotonic() + seconds
        while (left := until - self._host.clock.monotonic()) > 0:
            if self._stop.is_set():
                raise RunCancelled("cancelled while a step waited to be tried again")
            self._host.clock.sleep(min(left, 0.1))

    def _number(self, step: Step) -> int:
        return self._pipeline.steps.index(step)

    def _output(self, step: Step) -> Path:
        return self._host.settings.home / self._run.folder / f"{self._number(step) + 1:02}_{step.name}.ipynb"

    def _snapshot(self) -> int:
        """Pin the data this run trades on, once for all its attempts."""
        snapshot = self._pinned()
        if snapshot is None:
            snapshot = self._host.lake.snapshot()
            self._runs.add_provenance(self._run.run_id, _SNAPSHOT, snapshot, attempt=self._run.attempt)
        return snapshot

    def _pinned(self) -> int | None:
        run = self._runs.run(self._run.run_id)
        assert run is not None
        snapshot: int | None = run.provenance.get(_SNAPSHOT)
        return snapshot

    def _gateway(self, snapshot: int) -> GatewayThread:
        """Open the run's account."""
        from workbench.jobs.gateway_thread import GatewayThread  # and with it pandas, which only orders need

        run = self._run
        gateway = GatewayThread(
            self._host.settings,
            self._host.clock,
            run.key.session,
            run.run_id,
            lambda: replace(
                self._host.gateway_parts(run.key.account, run.key.session, snapshot, self._pipeline.quality.tolerate),
                interrupted=self._cancel.is_set,
            ),
            lambda: self._stop.stop("the gateway has failed"),
        )
        gateway.start()
        return gateway

    def _environment(self, step: Step) -> Mapping[str, str]:
        return {
            "WORKBENCH_CONFIG": str(self._host.settings.config_file),
            "WORKBENCH_RUN": self._run.run_id,
            "WORKBENCH_STEP": step.name,
            "WORKBENCH_ORDERS": "yes" if step.orders else "",
        }


def _limits(settings: JobSettings) -> OutputLimits:
    return OutputLimits(
        settings.cell_output_kb * 1000, settings.run_output_kb * 1000, settings.output_log_mb * 1_000_000
    )  # fmt: skip
