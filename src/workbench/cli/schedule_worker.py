"""The process that `workbench schedule run` starts for every job: ``python -P -m workbench.cli.schedule_worker ...``.

The same as `workbench run --trigger schedule`, except that everything is imported, opened and warm before the moment.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING

from workbench.clock import SystemClock
from workbench.errors import RunCancelled, WorkbenchError
from workbench.jobs.schedule.worker import Assignment, Link, await_bell

if TYPE_CHECKING:
    from workbench.app import Workbench
    from workbench.jobs.runner import Prepared, Runner, RunRequest

_STORAGE = 74


def main(arguments: Sequence[str]) -> int:
    """Wait for the bell, run the job; the exit code is that of `workbench run`, or 0 if the bell never rang."""
    link = Link.of_this_process()
    with contextlib.redirect_stdout(link):
        try:
            return _work(Assignment.parse(arguments), link)
        except WorkbenchError as error:
            link.report(error=" ".join(str(error).split()), code=error.exit_code)
            return error.exit_code
        except OSError as error:
            link.report(error=f"{error.filename or 'a file'}: {error.strerror or error}", code=_STORAGE)
            return _STORAGE
        except KeyboardInterrupt:
            return RunCancelled.exit_code


def _work(given: Assignment, link: Link) -> int:
    from workbench.cli import run
    from workbench.jobs.pipelines import Pipeline
    from workbench.journal import Origin

    pipeline = Pipeline.model_validate_json(given.definition) if given.definition else given.pipeline
    with run.opened_runner(pipeline) as (workbench, runner, watcher), _noticed() as stopped:
        from workbench.jobs.runner import RunRequest

        request = RunRequest(
            pipeline,
            given.session,
            account=given.account,
            slot=given.slot,
            origin=Origin("schedule", given.at),
            allow_dirty=given.allow_dirty,
        )
        ahead = _Ahead(workbench, runner, request)
        ahead.warm()
        with watcher:
            try:
                rung = await_bell(link, SystemClock(), stopped.is_set, ahead.stand_by)
            except WorkbenchError:
                ahead.dismiss()
                raise
            if not rung:
                ahead.dismiss()
                return RunCancelled.exit_code if stopped.is_set() else 0
            with run.failure_reported(runner):
                outcome = runner.run(request) if ahead.prepared is None else runner.start(ahead.prepared)
        run.describe(workbench, outcome)
        run.merge(workbench, runner)
    return 0


class _Ahead:
    """A run before its moment. What is wrong then may be right at the bell, which looks again and tells."""

    def __init__(self, workbench: Workbench, runner: Runner, request: RunRequest) -> None:
        self._settings = workbench.settings
        self._runner = runner
        self._request = request
        self.prepared: Prepared | None = None

    def warm(self) -> None:
        """Have everything imported and read once."""
        self._prepare()
        if self._settings.account.broker == "alpaca":
            import workbench.brokers.alpaca  # noqa: F401

    def stand_by(self) -> None:
        """The order to go has come: open the account, have the first notebook wait in its kernel."""
        self.dismiss()
        prepared = self._prepare()
        if prepared is not None:
            with contextlib.suppress(WorkbenchError):
                self.prepared = self._runner.stand_by(prepared)

    def dismiss(self) -> None:
        """The bell does not ring."""
        if self.prepared is not None:
            self._runner.dismiss(self.prepared)
            self.prepared = None

    def _prepare(self) -> Prepared | None:
        if not self._settings.lake_dir.is_dir():
            return None  # an installation that was never used is set up by its first run
        with contextlib.suppress(WorkbenchError):
            return self._runner.prepare(self._request)
        return None


@contextlib.contextmanager
def _noticed() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set beside what they do anyway, so that the wait for the bell ends."""
    event = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def notice(number: int, frame: FrameType | None) -> None:
        event.set()
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in before:
        signal.signal(number, notice)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
