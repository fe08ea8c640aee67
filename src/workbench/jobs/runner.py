"""Runs a pipeline for one session: claim, preflight, steps with the gateway beside them, truth in the journal."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from workbench.calendars import Calendar
from workbench.clock import Clock
from workbench.errors import (
    ConfigError,
    KernelDied,
    RunCancelled,
    StepTimeout,
    WorkbenchError,
    nearest,
)
from workbench.jobs.binding import Binding, bind
from workbench.jobs.engine import CellProgress, execute
from workbench.jobs.gateway_thread import GatewayThread
from workbench.jobs.heartbeat import Heartbeat
from workbench.jobs.kernels import KernelPool
from workbench.jobs.pages import HtmlWriter
from workbench.jobs.parameters import read_parameters
from workbench.jobs.pipelines import Pipeline, Step, load_pipeline
from workbench.jobs.provenance import provenance
from workbench.journal import Claim, Journal, Ledger, Owner, RunJournal, RunKey, RunRecord
from workbench.journal.states import RunState, StepState
from workbench.settings import Settings, account_name

if TYPE_CHECKING:
    from workbench.data.lake import Lake
    from workbench.trading.gateway import GatewayParts


class Host(Protocol):
    """What the runner needs of the application."""

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
class RunRequest:
    """What a person or the scheduler asks for. ``session`` None is the latest one with complete data."""

    pipeline: str
    session: date | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    account: str | None = None
    amend: bool = False


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How it ended; ``already_done`` says that an earlier run of that session stands and nothing was done."""

    run: RunRecord
    already_done: bool
    resumed: bool
    others: bool = False  # the run that stands was given other parameters than were asked for now


class Runner:
    """Runs pipelines one at a time with kernels from one pool.

    ``cancel`` is set by whoever handles signals: the run then stops cleanly and is recorded as cancelled.
    """

    def __init__(
        self, host: Host, pool: KernelPool, html: HtmlWriter, watcher: Watcher, cancel: threading.Event
    ) -> None:
        self._host = host
        self._pool = pool
        self._html = html
        self._watcher = watcher
        self._cancel = cancel
        self._runs = RunJournal(host.journal)

    def run(self, request: RunRequest) -> RunOutcome:
        """Run a pipeline for a session, or report the run that did it already.

        Raises
        ------
        ConfigError
            For anything wrong with the request; nothing has been started or recorded.
        RunOverlap
            If it is running elsewhere.
        WorkbenchError
            If the run ended badly; the journal says how, and the same request resumes it.
        """
        settings = self._host.settings
        pipeline = load_pipeline(request.pipeline, settings.pipelines_dir)
        if pipeline.calendar != self._host.calendar.name:
            raise ConfigError(
                f"{pipeline.name} is for {pipeline.calendar}, but this installation trades {settings.calendar}",
                hint=f"set calendar in {settings.config_file} or in the pipeline",
            )
        notebooks = {s.name: read_parameters(pipeline.notebook_path(s)) for s in pipeline.steps}
        binding = bind(pipeline, notebooks, request.parameters)
        session = self._session(request.session, binding)
        claim = self._claim(request, pipeline, binding.at(session), session)
        if not claim.mine:
            asked = json.loads(json.dumps(binding.at(session).record(), default=str))
            return RunOutcome(claim.run, already_done=True, resumed=False, others=asked != claim.run.parameters)
        self._finish(claim.run, pipeline, binding.at(session))
        run = self._runs.run(claim.run.run_id)
        assert run is not None
        return RunOutcome(run, already_done=False, resumed=claim.resumed)

    def merge(self) -> str:
        """Merge what ran into the reports database; returns who holds it if the merge must wait for a later run."""
        from workbench.reports.projection import project

        result = project(
            self._host.journal, self._host.settings.reports_file, lake=self._host.lake, clock=self._host.clock
        )
        return result.holder or "another process" if result.pending else ""

    def notebook(self, notebook: Path, output: Path, timeout_s: float = 600) -> Path:
        """Run a research notebook as it stands, outside any run; returns the page that will hold it."""
        output.parent.mkdir(parents=True, exist_ok=True)
        execute(
            notebook,
            output,
            {},
            pool=self._pool,
            env={"WORKBENCH_CONFIG": str(self._host.settings.config_file)},
            cwd=self._host.settings.home,
            timeout_s=timeout_s,
            cancel=self._cancel,
            on_cell=self._watcher.cell,
        )
        self._html.submit(output)
        return output.with_suffix(".html")

    # ---- preflight -------------------------------------------------------------------------------

    def _session(self, asked: date | None, binding: Binding) -> date:
        """The session to run for, checked against calendar, clock and data."""
        lake, calendar = self._host.lake, self._host.calendar
        if lake.is_empty():
            self._host.load_sample()
        known = lake.symbols()
        if len(set(binding.symbols)) != len(binding.symbols):
            raise ConfigError(f"a symbol is named twice in symbols: {', '.join(binding.symbols)}")
        for symbol in binding.symbols:
            if symbol not in known:
                raise ConfigError(f"no data for symbol {symbol!r}", hint=nearest(symbol, known))
        closed = calendar.last_closed(self._host.clock.now())
        symbols = list(binding.symbols) or known
        if asked is None:
            return lake.last_common_session(symbols, on_or_before=closed)
        calendar.require_session(asked)
        if asked > closed:
            raise ConfigError(f"session {asked} has not closed yet", hint=f"the last closed one is {closed}")
        if not lake.traded(asked, symbols):
            coverage = lake.coverage(symbols)
            spans = ", ".join(f"{n} {r['first']:%Y-%m-%d} to {r['last']:%Y-%m-%d}" for n, r in coverage.iterrows())
            raise ConfigError(f"no data for session {asked}", hint=f"the lake has {spans}")
        return asked

    def _claim(self, request: RunRequest, pipeline: Pipeline, binding: Binding, session: date) -> Claim:
        settings = self._host.settings
        account = settings.account.name if request.account is None else account_name(request.account)
        key = RunKey(account, pipeline.name, session)
        self._check_time(key)
        if request.amend:
            key = RunKey(key.account, key.pipeline, key.session, self._runs.next_amendment(key))
        run_id = _run_id(key)
        folder = settings.runs_dir / pipeline.name / session.isoformat() / run_id
        paths = {step.name: pipeline.notebook_path(step) for step in pipeline.steps}
        return self._runs.claim(
            key,
            Owner.current(),
            run_id=run_id,
            folder=str(folder.relative_to(settings.home) if folder.is_relative_to(settings.home) else folder),
            parameters=binding.record(),
            provenance=provenance(settings.home, paths),
            steps=[(step.name, step.notebook) for step in pipeline.steps],
        )

    def _check_time(self, key: RunKey) -> None:
        """A session before the one the account is at can be reported, but not traded any more."""
        mark = Ledger(self._host.journal).last_mark(key.account)
        if mark is not None and mark["session"] > key.session.isoformat() and self._runs.find(key) is None:
            raise ConfigError(
                f"account {key.account} is at the close of {mark['session']}; it cannot go back to {key.session}",
                hint="use --account NAME for a fresh one",
            )

    # ---- the steps -------------------------------------------------------------------------------

    def _finish(self, run: RunRecord, pipeline: Pipeline, binding: Binding) -> None:
        """Run what is left of a run and record how it ended."""
        self._html.start()  # its imports overlap with the first notebook
        try:
            self._runs.set_state(run.run_id, RunState.RUNNING)
            with Heartbeat(self._host.settings.journal_file, self._host.clock, run.run_id):
                self._steps(run, pipeline, binding)
        except BaseException as error:
            self._record_failure(run, error)
            raise
        self._runs.set_state(run.run_id, RunState.SUCCEEDED, exit_code=0)

    def _steps(self, run: RunRecord, pipeline: Pipeline, binding: Binding) -> None:
        for number, step in enumerate(pipeline.steps):
            done = {s.name for s in self._runs.steps(run.run_id) if s.state is StepState.OK}
            if step.name not in done:
                self._watcher.step(run, step, number, len(pipeline.steps))
                self._step(run, pipeline, step, number, binding.steps[step.name])

    def _step(
        self, run: RunRecord, pipeline: Pipeline, step: Step, number: int, parameters: Mapping[str, object]
    ) -> None:
        stopped = threading.Event()
        output = self._host.settings.home / run.folder / f"{number + 1:02}_{step.name}.ipynb"
        gateway = self._gateway(run, stopped) if step.orders else None
        try:
            try:
                self._runs.set_step(run.run_id, step.name, StepState.RUNNING)
                self._pool.prestart(2)  # one for this step, one to be ready for what comes next
                execute(
                    pipeline.notebook_path(step),
                    output,
                    dict(parameters),
                    pool=self._pool,
                    env=self._environment(run, step),
                    cwd=self._host.settings.home,
                    timeout_s=step.timeout_s,
                    cancel=_Either(self._cancel, stopped),
                    on_cell=self._watcher.cell,
                )
            finally:
                if gateway is not None:
                    gateway.stop()  # raises what the gateway failed with, which explains any cell error
                if output.exists():
                    self._html.submit(output)
        except BaseException as error:
            self._runs.set_step(run.run_id, step.name, StepState.ERROR, str(error))
            raise
        self._runs.set_step(run.run_id, step.name, StepState.OK)

    def _gateway(self, run: RunRecord, stopped: threading.Event) -> GatewayThread:
        """Pin the data this run trades on, once for all its attempts, and open its account."""
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
            stopped.set,
        )
        gateway.start()
        return gateway

    def _environment(self, run: RunRecord, step: Step) -> dict[str, str]:
        return {
            "WORKBENCH_CONFIG": str(self._host.settings.config_file),
            "WORKBENCH_RUN": run.run_id,
            "WORKBENCH_STEP": step.name,
            "WORKBENCH_ORDERS": "yes" if step.orders else "",
        }

    def _record_failure(self, run: RunRecord, error: BaseException) -> None:
        state, code = _verdict(error)
        for step in self._runs.steps(run.run_id):
            if step.state in {StepState.PENDING, StepState.RUNNING}:
                self._runs.set_step(run.run_id, step.name, StepState.NOT_RUN)
        self._runs.set_state(run.run_id, state, exit_code=code, reason=str(error))


class _Either(threading.Event):
    """An event that is set when one of two is."""

    def __init__(self, first: threading.Event, second: threading.Event) -> None:
        super().__init__()
        self._events = (first, second)

    def is_set(self) -> bool:
        return any(event.is_set() for event in self._events)


def _run_id(key: RunKey) -> str:
    parts = (key.account, key.pipeline, key.session.isoformat(), str(key.amendment))
    digest = hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:8]
    return f"{key.pipeline}-{key.session:%Y%m%d}-{digest}"


def _verdict(error: BaseException) -> tuple[RunState, int]:
    """The state and exit code that an exception ends a run with."""
    if isinstance(error, StepTimeout):
        return RunState.TIMED_OUT, error.exit_code
    if isinstance(error, KernelDied):
        return RunState.KERNEL_DIED, error.exit_code
    if isinstance(error, RunCancelled | KeyboardInterrupt):
        return RunState.CANCELLED, RunCancelled.exit_code
    if isinstance(error, WorkbenchError):
        return RunState.FAILED, error.exit_code
    return RunState.FAILED, WorkbenchError.exit_code


__all__ = ["Host", "RunOutcome", "RunRequest", "Runner", "Watcher"]
