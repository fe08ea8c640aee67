"""The heart of the engine: it runs cells, under time limits, a cancel flag and a watch on the kernel."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from workbench.errors import JobError, KernelDied, NotebookFailed, RunCancelled, StepTimeout
from workbench.jobs.engine import Gate, Job, NotebookResult
from workbench.jobs.engine.client import CellClient
from workbench.jobs.engine.record import Record
from workbench.jobs.engine.tags import may_raise, runs, timeout_s

_POLL_S = 0.05  # how often the cancel flag and the limits are looked at
_LATE_S = 1.0  # for a cell that has not begun within the grace time
_LAST_WORDS_S = 0.2  # for output of a dead kernel that is still on its way
_CLOSING_S = 30.0  # for the kernel's closing record
_EXIT_S = 30.0  # for its exit functions after a notebook that succeeded
_FAILED_EXIT_S = 5.0  # and after one that did not
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_MESSAGE_CHARACTERS = 300


def run(nb: NotebookNode, job: Job) -> NotebookResult:
    """Execute ``nb`` in place and save it to ``job.output``; raises what :func:`engine.execute` does."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_Execution(nb, job).run())
    # Called from inside a running loop, for example from a notebook: a loop of our own needs a thread.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _Execution(nb, job).run()).result()


class _Execution:
    """One run of one notebook."""

    def __init__(self, nb: NotebookNode, job: Job) -> None:
        self._nb = nb
        self._job = job
        self._record = Record(nb, job)
        self._timeouts = {
            index: timeout_s(cell, f"{job.name}, cell [{self._record.number(index)}]") or job.cell_timeout_s
            for index, cell in enumerate(nb.cells)
            if runs(cell)
        }
        self._manager = job.pool.manager()
        self._client = CellClient(nb, job)
        self._index: int | None = None  # of the code cell that is running
        self._over = False  # whether every cell has run
        self._waiting = job.gate is not None
        self._hung = False  # whether the running cell ignored its interruption
        self._has_left = False  # whether the kernel has said that it ends, having run its exit functions
        self._death: asyncio.Task[int] | None = None

    async def run(self) -> NotebookResult:
        self._stop = asyncio.create_task(self._wait_for_stop())
        error: JobError | None = None
        if self._job.gate is not None:
            await self._stand_by(self._job.gate)
            self._waiting = False
        try:
            self._record.start()
            if self._job.gate is None:
                await self._unless_stopped(self._start())
            for index in range(len(self._nb.cells)):
                await self._cell(index)
            self._over = True
            self._require_go()
            await self._close()
            await self._leave()
            self._client.set_widgets_metadata()
        except JobError as caught:
            error = caught
            error.message = self._job.redaction.text(error.message)
            raise
        except BaseException as caught:
            error = JobError(f"{self._where()}: {_line(type(caught).__name__, str(caught))}")
            raise
        finally:
            self._stop.cancel()
            if self._has_left:
                await self._see_off(error)
            else:
                await self._end_kernel()
                self._end_record(error)
        return NotebookResult(self._record.seconds, self._record.cells)

    async def _stand_by(self, gate: Gate) -> None:
        """Get the kernel ready, and wait at the gate. What goes wrong before it leaves nothing behind."""
        try:
            await self._unless_stopped(self._start())
            if self._job.ahead:
                async with self._start_limit():
                    await self._unless_stopped(self._client.silently(self._job.ahead))
            await self._unless_stopped(gate.passed())
        except BaseException:
            self._stop.cancel()
            await self._end_kernel()
            raise

    # ---- beginning and end -----------------------------------------------------------------------

    @asynccontextmanager
    async def _start_limit(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._job.start_timeout_s):
                yield
        except TimeoutError:
            raise JobError(f"{self._job.name}: no kernel after {self._job.start_timeout_s:g} s") from None

    async def _start(self) -> None:
        async with self._start_limit():
            await self._manager.start_kernel(env=dict(self._job.env), cwd=str(self._job.cwd))
        self._death = asyncio.create_task(self._manager.exited())
        self._nb.metadata["language_info"] = self._manager.language_info
        line = self._manager.client()
        line.start_channels()
        self._client.connect(line)

    async def _close(self) -> None:
        """Ask the kernel how the notebook went as a whole. Without its answer nothing has succeeded."""
        records: list[dict[str, Any]] = []

        async def ask() -> None:
            try:
                records.append(await asyncio.wait_for(self._client.close(), _CLOSING_S))
            except TimeoutError:
                raise NotebookFailed(
                    f"{self._job.name}: no closing record of the kernel within {_CLOSING_S:g} s", hint=self._see()
                ) from None

        await self._unless_stopped(ask())
        ran = sum(progress.state == "ok" for progress in self._record.cells)
        if records[0].get("cells") != ran:
            raise NotebookFailed(
                f"{self._job.name}: the kernel's closing record has {records[0].get('cells')} cells, not {ran}",
                hint=self._see(),
            )
        self._judge(records[0]["faults"])

    async def _leave(self) -> None:
        """Let the kernel run its exit functions and end by itself."""
        assert self._death is not None
        await self._manager.request_shutdown()
        over = asyncio.create_task(self._client.line.over.wait())
        await self._first_of(self._stop, self._death, over, timeout=_EXIT_S)
        self._has_left = over.done()
        over.cancel()
        if self._has_left:
            return
        if not self._death.done():
            self._hung = True
            if self._stop.done():
                raise self._stopped()
            raise NotebookFailed(f"{self._where()}: an exit function did not end", hint=self._see())
        if self._death.result() != 0:
            raise await self._died()

    async def _see_off(self, error: JobError | None) -> None:
        """Save the notebook while the system takes the kernel's memory back, which takes longer."""
        try:
            self._keep_logs()
            self._end_record(error)
            if error is None:
                self._job.when_over()
        finally:
            await self._end_kernel()

    async def _end_kernel(self) -> None:
        """Let the kernel run its exit functions; after that, or if it does not listen, kill its group."""
        if self._manager.has_kernel:
            death = self._death or asyncio.create_task(self._manager.exited())
            heeds = self._client.kc is not None and not self._hung and not self._has_left
            if not death.done() and heeds:
                await self._manager.request_shutdown()
                await asyncio.wait({death}, timeout=min(self._job.grace_s, _FAILED_EXIT_S))
            if not death.done():
                await self._manager.signal_kernel(signal.SIGKILL)
            await death
            if not self._waiting and not self._has_left:  # one that never began leaves nothing behind
                self._keep_logs()
        await self._manager.cleanup_resources()

    def _keep_logs(self) -> None:
        """Keep what the kernel wrote past the notebook, if anything."""
        log = self._manager.log_file
        if self._job.kernel_log is not None and log.exists() and log.stat().st_size:
            with self._job.kernel_log.open("a", encoding="utf-8") as file:
                file.write(self._job.redaction.text(log.read_text(encoding="utf-8", errors="replace")))
        if self._job.output_log is not None:
            self._job.redaction.file(self._job.output_log)

    def _end_record(self, error: JobError | None) -> None:
        self._client.outputs.settle()
        try:
            self._record.end(error)
        except JobError as unsaved:
            if error is None:
                raise
            error.hint = unsaved.message  # what went wrong first is the error
        if self._job.is_command:
            self._record.redact()

    # ---- cells -----------------------------------------------------------------------------------

    async def _cell(self, index: int) -> None:
        cell = self._nb.cells[index]
        if not runs(cell):
            self._record.passed(index)
            return
        self._require_go()
        self._client.begin(self._record.number(index))
        self._record.cell_start(index)
        self._index = index
        raised: CellExecutionError | None = None
        try:
            await self._unless_stopped(self._client.async_execute_cell(cell, index))
        except CellExecutionError as error:
            raised = error
        except JobError as error:
            self._client.outputs.end()
            self._record.cell_end(index, "error", error)
            raise
        self._client.outputs.end()
        self._client.changed = True
        self._end_cell(index, raised)
        self._index = None
        self._judge(self._client.faults)

    def _end_cell(self, index: int, raised: CellExecutionError | None) -> None:
        """Record how a cell ended that was not stopped; raises if it failed."""
        log = next((fault["text"] for fault in self._client.faults if fault["log"]), None)
        shown = None if may_raise(self._nb.cells[index]) else self._client.shown
        if log is not None:
            error = NotebookFailed(f"{self._where()}: {log}", hint=self._see())
        elif raised is not None and raised.ename == "SystemExit":
            error = NotebookFailed(f"{self._where()}: ended the notebook early ({_one_line(raised)})", hint=self._see())
        elif raised is not None and (shown is None or raised.ename != "NoneType"):
            error = NotebookFailed(f"{self._where()}: {_one_line(raised)}", hint=self._see())
        elif shown is not None:  # what a magic or a representation shows instead of raising it
            error = NotebookFailed(f"{self._where()}: {_line(shown['ename'], shown['evalue'])}", hint=self._see())
        else:
            self._record.cell_end(index, "ok")
            return
        is_shown = log is None and self._client.shown is not None and self._client.shown["ename"] != "SystemExit"
        self._record.cell_end(index, "error", error, show=not is_shown)
        raise error from raised

    def _judge(self, faults: list[dict[str, Any]]) -> None:
        """Fail the cells in whose threads, tasks or pools something went wrong."""
        failed: NotebookFailed | None = None
        for fault in faults:
            index = self._record.index(fault["cell"])
            if index is not None and may_raise(self._nb.cells[index]):
                continue
            where = self._job.name if index is None else f"{self._job.name}, cell [{fault['cell']}]"
            error = NotebookFailed(f"{where}: {fault['text']}", hint=self._see())
            if index is not None:
                self._record.fault(index, error, fault["trace"])
            failed = failed or error
        if failed is not None:
            raise failed

    # ---- what ends a cell from outside -----------------------------------------------------------

    async def _unless_stopped(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do ``work`` until it is done, the run is stopped or the kernel is dead."""
        if self._stop.done():
            work.close()
            raise self._stopped()
        task = asyncio.create_task(work)
        try:
            await self._first_of(task, self._stop, self._death)
        except asyncio.CancelledError:
            if self._index is not None:
                await self._interrupt(task)
            await _give_up(task)
            raise
        if task.done():
            task.result()
            return
        if self._stop.done():
            if self._index is not None:
                await self._interrupt(task)
            error = self._stopped()
        else:
            await asyncio.wait({task}, timeout=_LAST_WORDS_S)
            error = await self._died()
        await _give_up(task)
        raise error

    async def _interrupt(self, task: asyncio.Task[None]) -> None:
        """Interrupt the running cell, and give it time to clean up after itself."""
        # A kernel that has not begun the cell yet, as on a machine that is busy, would not notice the signal.
        begun = asyncio.create_task(self._client.begun.wait())
        await self._first_of(begun, task, self._death, timeout=self._job.grace_s)
        grace_s = self._job.grace_s if begun.done() else _LATE_S
        begun.cancel()
        await self._manager.interrupt_kernel()
        await self._first_of(task, self._death, timeout=grace_s)
        self._hung = not task.done()

    async def _first_of(self, *tasks: asyncio.Task[Any] | None, timeout: float | None = None) -> None:
        present = {task for task in tasks if task is not None}
        await asyncio.wait(present, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)

    async def _wait_for_stop(self) -> JobError:
        """Return when the run has to stop, with the kind of error that it ends with. Saves now and then."""
        while True:
            try:
                self._save_if_due()
            except JobError as error:
                return error
            reason = self._reason_to_stop()
            if reason is not None:
                return reason
            await asyncio.sleep(_POLL_S)

    def _require_go(self) -> None:
        """Stop here if something says so: between the cells nothing has to be interrupted."""
        reason = self._reason_to_stop()
        if reason is not None:
            raise self._located(reason)

    def _reason_to_stop(self) -> JobError | None:
        job, record = self._job, self._record
        if job.cancel.is_set():
            return RunCancelled("cancelled")
        if self._waiting:
            return None  # nobody has said yet that it may begin
        if job.timeout_s is not None and record.seconds >= job.timeout_s:
            return StepTimeout(f"ran longer than {job.timeout_s:g} s")
        if self._index is None:
            return None
        limit = self._timeouts[self._index]
        if limit is not None and record.cell_seconds >= limit:
            return StepTimeout(f"the cell ran longer than its {limit:g} s")
        if job.stall_s is not None and job.clock.monotonic() - self._client.heard >= job.stall_s:
            return StepTimeout(f"no progress for {job.stall_s:g} s")
        return None

    def _save_if_due(self) -> None:
        every = self._job.autosave_s
        if every > 0 and self._client.changed and self._job.clock.monotonic() - self._record.saved >= every:
            self._client.changed = False
            self._client.outputs.settle()
            self._record.save(pretty=False)

    def _stopped(self) -> JobError:
        return self._located(self._stop.result())

    def _located(self, reason: JobError) -> JobError:
        return type(reason)(f"{self._where()}: {reason.message}", hint=reason.hint or self._see())

    async def _died(self) -> KernelDied:
        assert self._death is not None
        code = await self._death
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        memory = " (out of memory?)" if code == -signal.SIGKILL else ""
        return KernelDied(f"{self._where()}: the kernel {how}{memory}", hint=self._see())

    def _where(self) -> str:
        if self._index is not None:
            return f"{self._job.name}, cell [{self._record.number(self._index)}]"
        return f"{self._job.name}, after its last cell" if self._over else self._job.name

    def _see(self) -> str | None:
        return f"see {self._job.output}" if self._job.output else None


async def _give_up(task: asyncio.Task[None]) -> None:
    """Cancel a task and take note of how it ended, which nobody needs to know."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


def _one_line(error: CellExecutionError) -> str:
    return _line(str(error.ename), str(error.evalue))


def _line(name: str, message: str) -> str:
    """Name and message of an exception in one line without colours."""
    text = " ".join(_ANSI.sub("", message).split())
    if len(text) > _MESSAGE_CHARACTERS:
        text = f"{text[:_MESSAGE_CHARACTERS]}…"
    return f"{name}: {text}" if text else name
