"""Runs the steps of a claimed run: notebook by notebook, the gateway beside those that may order."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from workbench.calendars import Calendar
from workbench.clock import Clock
from workbench.errors import KernelDied, NotebookFailed, RunCancelled, StepTimeout
from workbench.jobs import promotion
from workbench.jobs.binding import Binding
from workbench.jobs.engine import CellProgress, execute
from workbench.jobs.gateway_thread import GatewayThread
from workbench.jobs.kernels import KernelPool
from workbench.jobs.pages import HtmlWriter
from workbench.jobs.pipelines import Pipeline, Step
from workbench.jobs.pulse import Pulse, StopSignal
from workbench.journal import Journal, RunJournal, RunRecord
from workbench.journal.states import StepState
from workbench.settings import Settings

if TYPE_CHECKING:
    from datetime import date

    from workbench.data.lake import Lake
    from workbench.trading.gateway import GatewayParts

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

    def gateway_parts(self, account: str, session: date, snapshot: int | None) -> GatewayParts: ...


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
    """The steps of one attempt."""

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

    def execute(self) -> None:
        """Do what is not done yet, in order.

        Raises
        ------
        WorkbenchError
            Of the step that failed; the later ones have not run.
        """
        stop = StopSignal(self._cancel)
        with Pulse(self._host.settings.journal_file, self._host.clock, self._run, stop) as pulse:
            for number, step in enumerate(self._pipeline.steps):
                done = {s.name for s in self._runs.steps(self._run.run_id) if s.state is StepState.OK}
                if step.name not in done:
                    self._watcher.step(self._run, step, number, len(self._pipeline.steps))
                    self._with_retries(step, number, pulse, stop)
        if pulse.failure is not None:
            raise pulse.failure

    def _with_retries(self, step: Step, number: int, pulse: Pulse, stop: StopSignal) -> None:
        """Run a step, again if the pipeline says so; never after a step that may order has handed in anything."""
        for left in range(step.retries, -1, -1):
            try:
                self._runs.set_step(self._run.run_id, step.name, StepState.RUNNING)
                self._step(step, number, pulse, stop)
            except BaseException as error:
                self._runs.set_step(self._run.run_id, step.name, StepState.ERROR, str(error))
                spent = step.orders and self._runs.has_side_effects(self._run.run_id)
                if not left or spent or not isinstance(error, _RETRIED):
                    raise
                self._pause(step.retry_delay_s, stop)
            else:
                self._runs.set_step(self._run.run_id, step.name, StepState.OK)
                return

    def _step(self, step: Step, number: int, pulse: Pulse, stop: StopSignal) -> None:
        promotion.require_same(self._pipeline, step, self._code)
        output = self._host.settings.home / self._run.folder / f"{number + 1:02}_{step.name}.ipynb"
        pulse.step(step.name, orders=False)
        gateway = self._gateway(stop) if step.orders else None
        try:
            try:
                pulse.step(step.name, orders=step.orders)
                self._pool.prestart(2)  # one for this step, one to be ready for what comes next
                self._notebook(step, output, pulse, stop)
            finally:
                pulse.step(step.name, orders=False)
                if gateway is not None:
                    gateway.stop()  # raises what the gateway failed with, which explains any cell error
                if output.exists():
                    self._html.submit(output)
        except RunCancelled as error:
            if stop.reason:
                raise type(error)(f"{error.message}: {stop.reason}", hint=error.hint) from error
            raise
        if step.orders and not self._runs.has_side_effects(self._run.run_id):
            raise NotebookFailed(
                f"{step.notebook}: it may order, but ended without proposing anything",
                hint="propose a plan, or say why not: wb.stand_aside('no data yet')",
            )

    def _notebook(self, step: Step, output: Path, pulse: Pulse, stop: StopSignal) -> None:
        note = pulse.watcher(step.name)

        def on_cell(progress: CellProgress) -> None:
            note(progress)
            self._watcher.cell(progress)

        execute(
            self._pipeline.notebook_path(step),
            output,
            dict(self._binding.steps[step.name]),
            pool=self._pool,
            env=self._environment(step),
            cwd=self._host.settings.home,
            timeout_s=self._time_left(step),
            cancel=stop,
            on_cell=on_cell,
        )

    def _time_left(self, step: Step) -> float:
        """Seconds for a step: its own limit, or what is left of the whole run's."""
        if self._pipeline.timeout_s is None:
            return step.timeout_s
        left = self._pipeline.timeout_s - (self._host.clock.monotonic() - self._started)
        if left <= 0:
            raise StepTimeout(f"{self._pipeline.name} ran longer than {self._pipeline.timeout_s:g} s")
        return min(step.timeout_s, left)

    def _pause(self, seconds: float, stop: StopSignal) -> None:
        until = self._host.clock.monotonic() + seconds
        while (left := until - self._host.clock.monotonic()) > 0:
            if stop.is_set():
                raise RunCancelled("cancelled while a step waited to be tried again")
            self._host.clock.sleep(min(left, 0.1))

    def _gateway(self, stop: StopSignal) -> GatewayThread:
        """Pin the data this run trades on, once for all its attempts, and open its account."""
        run = self._run
        known = self._runs.run(run.run_id)
        assert known is not None
        snapshot = known.provenance.get("data_snapshot")
        if snapshot is None:
            snapshot = self._host.lake.snapshot()
            self._runs.add_provenance(run.run_id, "data_snapshot", snapshot)
        gateway = GatewayThread(
            self._host.settings,
            self._host.clock,
            run.key.session,
            run.run_id,
            lambda: replace(
                self._host.gateway_parts(run.key.account, run.key.session, snapshot), interrupted=self._cancel.is_set
            ),
            lambda: stop.stop("the gateway has failed"),
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
