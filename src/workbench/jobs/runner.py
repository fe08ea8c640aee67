"""Runs a pipeline for one session: preflight, claim, steps, truth in the journal."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from workbench.errors import (
    ConfigError,
    JournalError,
    KernelDied,
    RunCancelled,
    RunOverlap,
    StepTimeout,
    WorkbenchError,
    nearest,
)
from workbench.hardware.health import Checkup
from workbench.jobs import promotion
from workbench.jobs.adhoc import name_of, pipeline_of_notebook
from workbench.jobs.binding import STRATEGY, Binding, bind
from workbench.jobs.engine import execute
from workbench.jobs.engine.redaction import blotted
from workbench.jobs.engine.tags import check_tags
from workbench.jobs.folders import unseal, write_record
from workbench.jobs.kernels import KernelPool
from workbench.jobs.pages import HtmlWriter
from workbench.jobs.parameters import read_parameters
from workbench.jobs.pipelines import Pipeline, load_pipeline
from workbench.jobs.provenance import provenance
from workbench.jobs.steps import Host, Job, Steps, Watcher
from workbench.journal import Claim, Ledger, Origin, Owner, RunJournal, RunKey, RunRecord
from workbench.journal.records import SLOT
from workbench.journal.states import RunState
from workbench.settings import account_name

_BY_HAND = Origin()


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a person, the scheduler or JupyterLab asks for.

    Parameters
    ----------
    pipeline
        Its name, or a notebook file: that is then run by itself. Or a pipeline that has been read already.
    session
        None is the latest one with complete data.
    slot
        Which of the session's scheduled moments it is for.
    allow_dirty
        Run what is not promoted, on a paper account.
    """

    pipeline: str | Path | Pipeline
    session: date | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    account: str | None = None
    amend: bool = False
    slot: int = 0
    origin: Origin = _BY_HAND
    allow_dirty: bool = False


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How it ended; ``already_done`` says that an earlier run of that session stands and nothing was done."""

    run: RunRecord
    already_done: bool
    resumed: bool
    others: bool = False  # the run that stands was given other parameters than were asked for now


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that has passed the preflight; nothing has been started or recorded."""

    request: RunRequest
    pipeline: Pipeline
    key: RunKey
    binding: Binding
    promotion: Mapping[str, Any]
    provenance: Mapping[str, Any]
    repeats: bool  # as often as somebody likes, each time as a new run: a notebook that places no orders
    steps: Steps | None = None  # whose first stands by
    claim: Claim | None = None  # of a run whose first step has begun


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
        self._checkup = Checkup(host.settings.data_dir, host.settings.machine)

    def run(self, request: RunRequest) -> RunOutcome:
        """Run a pipeline for a session, or report the run that did it already.

        On a day without a session nothing runs: the outcome's run is SKIPPED.

        Raises
        ------
        ConfigError
            For anything wrong with the request. Nothing has been started; of a request that no person made, the
            rejection is on record.
        RunOverlap
            If it is running elsewhere.
        WorkbenchError
            If the run ended badly; the journal says how, and the same request resumes it.
        """
        self._runs.reap()
        try:
            pipeline = self._pipeline(request)
            if request.session is not None and self._is_closed(request.session):
                return RunOutcome(self._skip(request, pipeline), already_done=False, resumed=False)
            prepared = self.prepare(request)
        except WorkbenchError as error:
            if request.origin.trigger != "manual" and not isinstance(error, RunOverlap):
                self._reject(request, error)
            raise
        return self.start(prepared)

    def run_each(self, requests: Sequence[RunRequest]) -> Iterator[RunOutcome]:
        """Run one after the other; the first notebook of each gets ready while the last but one of the run before ends.

        It begins beside the last one, too, if its pipeline says that it may (``overlap``); no other step does. If the
        run before then fails, it is recorded as cancelled.

        Raises
        ------
        WorkbenchError
            As :meth:`run` does; later requests have not been run.
        """
        ready: Prepared | None = None
        try:
            for number, request in enumerate(requests):
                prepared, ready = ready, None
                if prepared is None:
                    self._runs.reap()
                    prepared = self.prepare(request)

                def stage(left: int, number: int = number, overlap: bool = prepared.pipeline.overlap) -> None:
                    nonlocal ready
                    if left < 2 and ready is None:
                        ready = self._ahead(requests[number + 1])
                    if left == 0 and ready is not None and overlap:
                        ready = self._begun(ready)

                yield self.start(prepared, stage if number + 1 < len(requests) else None)
        finally:
            if ready is not None:
                self.dismiss(ready)

    def prepare(self, request: RunRequest) -> Prepared:
        """Check everything that can be checked before anything starts.

        Raises
        ------
        ConfigError
            For anything wrong with the request, a day without a session included.
        MachineUnfit
            If it may order, and this machine is too sick for that.
        """
        pipeline, settings = self._pipeline(request), self._host.settings
        notebooks = {s.name: read_parameters(pipeline.notebook_path(s)) for s in pipeline.steps}
        for notebook in pipeline.notebooks:
            check_tags(notebook)
        binding = bind(pipeline, notebooks, request.parameters)
        chosen = binding.record().get(STRATEGY)
        promoted = promotion.require(
            pipeline,
            settings,
            allow_dirty=request.allow_dirty,
            strategies=[] if chosen is None else [str(chosen)],
        )
        # The scheduler starts a job when the session has closed: its first step fetches the session's data.
        fetches = request.origin.trigger == "schedule" and not pipeline.steps[0].orders
        session = self._session(request.session, binding, fetches=fetches)
        key = RunKey(self._account(request), pipeline.name, session, request.slot * SLOT)
        may_order = any(step.orders for step in pipeline.steps)
        if may_order:
            self._check_time(key)
            self._checkup.require_fit()
        repeats = isinstance(request.pipeline, Path) and not may_order
        if repeats:
            key = replace(key, amendment=self._runs.next_repeat(key))
        elif request.amend:
            key = replace(key, amendment=self._runs.next_amendment(key))
        paths = {step.name: pipeline.notebook_path(step) for step in pipeline.steps}
        facts = {**provenance(settings.home, paths), "promotion": dict(promoted)}
        if not pipeline.quality.is_default:
            facts["quality"] = pipeline.quality.model_dump(mode="json")
        return Prepared(request, pipeline, key, binding.at(session), promoted, facts, repeats)

    def stand_by(self, prepared: Prepared) -> Prepared:
        """Get the first step ready for its moment: account open, kernel connected, notebook read. No cell has run.

        A run that is in the ledger already is left as it is. Call :meth:`start` or :meth:`dismiss` soon: the account
        is held.

        Raises
        ------
        WorkbenchError
            If that is not possible; nothing is left behind.
        """
        key = prepared.key
        if self._runs.find(key) is not None:
            return prepared
        run = RunRecord(
            run_id=key.run_id, key=key, state=RunState.PREFLIGHT, attempt=1, owner=Owner.current(), created_at="",
            ended_at=None, parameters={}, provenance={}, folder=self._folder(key), exit_code=None, reason="",
        )  # fmt: skip
        steps = self._steps(run, prepared)
        snapshot = steps.stand_by()
        facts = dict(prepared.provenance) if snapshot is None else {**prepared.provenance, "data_snapshot": snapshot}
        return replace(prepared, provenance=facts, steps=steps)

    def dismiss(self, prepared: Prepared) -> None:
        """Let go of what stands by; what has begun is recorded as cancelled."""
        if prepared.steps is not None:
            prepared.steps.dismiss()
        if prepared.claim is not None and prepared.claim.mine:
            run = prepared.claim.run
            self._record_failure(run, RunCancelled("cancelled: the run before it did not succeed"))
            self._seal(run, self._host.settings.home / run.folder)

    def _ahead(self, request: RunRequest) -> Prepared | None:
        """Get a request ready while another runs; None if that is not possible, which is told in its turn."""
        try:
            prepared = self.prepare(request)
            if prepared.pipeline.steps[0].orders:  # its account may be in use
                return prepared
            return self.stand_by(prepared)
        except WorkbenchError:
            return None

    def _begun(self, prepared: Prepared) -> Prepared | None:
        """Claim a run that stands by, and let its first step begin; None if that is not possible."""
        if prepared.steps is None or prepared.claim is not None:
            return prepared
        try:
            prepared, claim = self._claim(prepared)
        except BaseException as error:
            self.dismiss(prepared)
            if isinstance(error, WorkbenchError):  # it is told in its turn
                return None
            raise
        steps = prepared.steps
        if steps is None or not claim.mine or claim.resumed:  # somebody has been at it in between
            self.dismiss(prepared)
            return replace(prepared, steps=None, claim=claim)
        prepared = replace(prepared, claim=claim)
        try:
            steps.begin()
        except BaseException:
            self.dismiss(prepared)
            raise
        return prepared

    def start(self, prepared: Prepared, when_ready: Callable[[int], None] | None = None) -> RunOutcome:
        """Claim and run what was prepared.

        ``when_ready`` is called for each of its notebooks when something else may be got ready beside it, with the
        number of those that follow.

        Raises
        ------
        RunOverlap
            If it is running elsewhere.
        WorkbenchError
            If the run ended badly; the journal says how, and the same request resumes it.
        """
        try:
            if self._cancel.is_set() and prepared.steps is None:
                raise RunCancelled("cancelled before the run began")
            claim = prepared.claim
            if claim is None:
                prepared, claim = self._claim(prepared)
            self._require_same_notebook(prepared, claim)
        except BaseException:
            self.dismiss(prepared)
            raise
        if prepared.steps is not None and (not claim.mine or claim.resumed):
            prepared.steps.dismiss()
            prepared = replace(prepared, steps=None)
        if not claim.mine:
            asked = json.loads(json.dumps(blotted(prepared.binding.record()), default=str))
            return RunOutcome(claim.run, already_done=True, resumed=False, others=asked != claim.run.parameters)
        self._finish(claim.run, prepared, when_ready)
        run = self._runs.run(claim.run.run_id)
        assert run is not None
        return RunOutcome(run, already_done=False, resumed=claim.resumed)

    def rest(self) -> None:
        """Run nothing more: what makes kernels and pages ends while something else is done."""
        self._html.let_go()
        self._pool.let_go()

    def merge(self) -> str:
        """Merge what ran into the reports database; returns who holds it if the merge must wait for a later run."""
        from workbench.reports.projection import project

        host = self._host
        result = project(
            host.journal, host.settings.reports_file, lake=host.lake, trials=host.settings.trials_dir, clock=host.clock
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

    def _pipeline(self, request: RunRequest) -> Pipeline:
        settings = self._host.settings
        if isinstance(request.pipeline, Path):
            return pipeline_of_notebook(request.pipeline, self._host.calendar.name)
        pipeline = request.pipeline
        if isinstance(pipeline, str):
            pipeline = load_pipeline(pipeline, settings.pipelines_dir)
        if pipeline.calendar != self._host.calendar.name:
            raise ConfigError(
                f"{pipeline.name} is for {pipeline.calendar}, but this installation trades {settings.calendar}",
                hint=f"set calendar in {settings.config_file} or in the pipeline",
            )
        return pipeline

    def _account(self, request: RunRequest) -> str:
        return self._host.settings.account.name if request.account is None else account_name(request.account)

    def _is_closed(self, day: date) -> bool:
        """Whether a day that has come has no session; one outside the calendar is an error further on."""
        calendar = self._host.calendar
        known = calendar.first <= day <= min(calendar.last, self._host.clock.now().date())
        return known and not calendar.is_session(day)

    def _session(self, asked: date | None, binding: Binding, *, fetches: bool) -> date:
        """The session to run for, checked against calendar, clock and data; ``fetches``: its data may come later."""
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
        if asked is None and binding.symbols:
            return lake.last_common_session(symbols, on_or_before=closed)
        if asked is None:  # a notebook without a universe of its own: as far as any data goes
            return min(closed, lake.last_session())
        calendar.require_session(asked)
        if asked > closed:
            raise ConfigError(f"session {asked} has not closed yet", hint=f"the last closed one is {closed}")
        if not fetches and not lake.traded(asked, symbols):
            coverage = lake.coverage(symbols)
            spans = ", ".join(f"{n} {r['first']:%Y-%m-%d} to {r['last']:%Y-%m-%d}" for n, r in coverage.iterrows())
            raise ConfigError(f"no data for session {asked}", hint=f"the lake has {spans}")
        return asked

    def _check_time(self, key: RunKey) -> None:
        """A session before the one the account is at can be reported, but not traded any more."""
        mark = Ledger(self._host.journal).last_mark(key.account)
        if mark is not None and mark["session"] > key.session.isoformat() and self._runs.find(key) is None:
            raise ConfigError(
                f"account {key.account} is at the close of {mark['session']}; it cannot go back to {key.session}",
                hint="use --account NAME for a fresh one",
            )

    # ---- the ledger ------------------------------------------------------------------------------

    def _require_same_notebook(self, prepared: Prepared, claim: Claim) -> None:
        """Two notebooks of one name share a place in the ledger; that one has run does not mean that the other has."""
        if isinstance(prepared.request.pipeline, Path) and not claim.mine:
            ran, asked = claim.run.provenance.get("notebooks"), prepared.provenance["notebooks"]
            if ran != asked:
                raise ConfigError(
                    f"another notebook named {prepared.request.pipeline.name}, or another version of it, has run for"
                    f" {claim.run.key.session} as {claim.run.run_id}",
                    hint="rename the notebook, or use --amend",
                )

    def _claim(self, prepared: Prepared) -> tuple[Prepared, Claim]:
        while True:
            try:
                return prepared, self._runs.claim(
                    prepared.key,
                    Owner.current(),
                    run_id=prepared.key.run_id,
                    folder=self._folder(prepared.key),
                    parameters=blotted(prepared.binding.record()),
                    provenance=prepared.provenance,
                    steps=[(step.name, step.notebook) for step in prepared.pipeline.steps],
                    origin=prepared.request.origin,
                    running=prepared.steps is not None,
                    only_new=prepared.repeats,
                )
            except RunOverlap:
                if not prepared.repeats:
                    raise
                self.dismiss(prepared)  # another process was quicker with that number: take the next one
                key = replace(prepared.key, amendment=self._runs.next_repeat(prepared.key))
                prepared = replace(prepared, key=key, steps=None)

    def _folder(self, key: RunKey) -> str:
        """Where the run's files go, relative to the home folder if they are below it."""
        settings = self._host.settings
        folder = settings.runs_dir / key.pipeline / key.session.isoformat() / key.run_id
        return str(folder.relative_to(settings.home) if folder.is_relative_to(settings.home) else folder)

    def _skip(self, request: RunRequest, pipeline: Pipeline) -> RunRecord:
        calendar, day = self._host.calendar, request.session
        assert day is not None
        near = f"the nearest sessions are {calendar.previous(day)} and {calendar.next(day)}"
        return self._put_aside(
            request, pipeline.name, day, RunState.SKIPPED, f"{calendar.name} is closed on {day} ({day:%A}); {near}"
        )

    def _reject(self, request: RunRequest, error: WorkbenchError) -> None:
        """Nobody reads the error of a request that no person made: put it on record."""
        asked = request.pipeline
        name = name_of(asked) if isinstance(asked, Path) else asked if isinstance(asked, str) else asked.name
        session = request.session or self._host.calendar.last_closed(self._host.clock.now())
        self._put_aside(request, name, session, RunState.REJECTED, str(error))

    def _put_aside(self, request: RunRequest, pipeline: str, session: date, state: RunState, reason: str) -> RunRecord:
        key = RunKey(self._account(request), pipeline, session, request.slot * SLOT)
        return self._runs.put_aside(
            key, Owner.current(), state, reason, folder=self._folder(key), origin=request.origin
        )

    def _finish(self, run: RunRecord, prepared: Prepared, when_ready: Callable[[int], None] | None) -> None:
        """Run what is left of a run and record how it ended."""
        folder = self._host.settings.home / run.folder
        try:
            self._html.start()  # its imports overlap with the first notebook
            steps = prepared.steps or self._steps(run, prepared)
            if prepared.steps is None:
                unseal(folder)
                self._runs.set_state(run.run_id, RunState.RUNNING, attempt=run.attempt)
            steps.execute(when_ready)
            self._runs.set_state(run.run_id, RunState.SUCCEEDED, exit_code=0, attempt=run.attempt)
        except BaseException as error:
            if prepared.steps is not None:
                prepared.steps.dismiss()
            self._record_failure(run, error)
            raise
        finally:
            self._seal(run, folder)

    def _steps(self, run: RunRecord, prepared: Prepared) -> Steps:
        job = Job(run, prepared.pipeline, prepared.binding, prepared.promotion.get("code", {}))
        return Steps(self._host, self._pool, self._html, self._watcher, job, self._cancel)

    def _record_failure(self, run: RunRecord, error: BaseException) -> None:
        state, code = _verdict(error)
        try:
            self._runs.abandon(run.run_id, run.attempt, "the run has ended")
            self._runs.set_state(run.run_id, state, exit_code=code, reason=str(error), attempt=run.attempt)
        except JournalError as worse:  # the reaper will say that it is lost; why it failed is told here
            error.add_note(f"and it could not be recorded: {worse}")

    def _seal(self, run: RunRecord, folder: Path) -> None:
        """Write down what the run was, and have its folder sealed once its pages are written."""
        ended = self._runs.run(run.run_id)
        if ended is None or ended.attempt != run.attempt:
            return  # another process goes on with it
        cells = self._runs.cells(run.run_id, run.attempt)
        steps = [
            {**asdict(step), "cells": [asdict(cell) for cell in cells.get(step.name, [])]}
            for step in self._runs.steps(run.run_id)
        ]
        write_record(folder, {**asdict(ended), "steps": steps})
        self._html.seal(folder, run.attempt)


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


__all__ = ["Host", "Prepared", "RunOutcome", "RunRequest", "Runner", "Watcher"]
