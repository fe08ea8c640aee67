"""The heart of the engine: nbclient runs cells, under a deadline, a cancel flag and a watch on the kernel."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from queue import Empty
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from workbench.errors import JobError, KernelDied, NotebookFailed, RunCancelled, StepTimeout
from workbench.jobs.engine import Job, NotebookResult
from workbench.jobs.managers import PoolKernelManager
from workbench.jobs.record import SKIP_TAG, Record, runs

_POLL_S = 0.05  # how often the cancel flag is looked at
_LAST_WORDS_S = 0.2  # for output of a dead kernel that is still on its way
_EXIT_S = 5.0  # for a kernel's exit functions after its last cell
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


class _Client(NotebookClient):
    """nbclient's execution of a cell, with word of what the kernel does."""

    def __init__(self, nb: NotebookNode, job: Job, record: Record, km: PoolKernelManager) -> None:
        super().__init__(nb, km=km, coalesce_streams=True, iopub_timeout=30, skip_cells_with_tag=SKIP_TAG)
        self.begun = asyncio.Event()  # the kernel works on the cell: from here on it can be interrupted
        self._job = job
        self._record = record

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        if msg["msg_type"] == "execute_input":
            self.begun.set()
        self._record.changed = True
        output = super().process_message(msg, cell, cell_index)
        if self._job.on_stream is not None and output is not None and output.output_type == "stream":
            self._job.on_stream(output.name, output.text)
        return output


class _Execution:
    """One run of one notebook."""

    def __init__(self, nb: NotebookNode, job: Job) -> None:
        self._nb = nb
        self._job = job
        self._record = Record(nb, job)
        self._manager = job.pool.manager()
        self._index: int | None = None  # of the code cell that is running
        self._hung = False  # whether that cell ignored its interruption
        self._death: asyncio.Task[int] | None = None

    async def run(self) -> NotebookResult:
        self._client = _Client(self._nb, self._job, self._record, self._manager)
        self._stop = asyncio.create_task(self._wait_for_stop())
        autosave = asyncio.create_task(self._autosave())
        error: JobError | None = None
        self._record.start()
        try:
            await self._unless_stopped(self._start())
            await self._unless_stopped(self._connect())
            for index in range(len(self._nb.cells)):
                await self._cell(index)
            self._client.set_widgets_metadata()
        except JobError as caught:
            error = caught
            raise
        finally:
            autosave.cancel()
            self._stop.cancel()
            await self._end_kernel()
            self._record.end(error)
        return NotebookResult(self._record.seconds, self._record.cells)

    async def _start(self) -> None:
        start = self._manager.start_kernel(env=dict(self._job.env), cwd=str(self._job.cwd))
        try:
            await asyncio.wait_for(start, self._job.start_timeout_s)
        except TimeoutError:
            raise JobError(f"{self._job.name}: no kernel after {self._job.start_timeout_s:g} s") from None
        self._death = asyncio.create_task(self._manager.exited())

    async def _connect(self) -> None:
        """Open the channels and wait until both have answered."""
        client: AsyncKernelClient = self._manager.client()
        client.allow_stdin = False
        self._client.kc = client
        for channel in (client.shell_channel, client.iopub_channel):
            channel.start()
        info = await self._hear(client)
        self._nb.metadata["language_info"] = info["content"]["language_info"]

    async def _hear(self, client: AsyncKernelClient) -> dict[str, Any]:
        """Ask for the kernel's information until the answer and a first broadcast have come."""
        reply: dict[str, Any] | None = None
        while True:
            client.kernel_info()
            try:
                reply = reply or await client.get_shell_msg(timeout=1)
                await client.get_iopub_msg(timeout=1)
            except Empty:
                continue
            return reply

    async def _cell(self, index: int) -> None:
        cell = self._nb.cells[index]
        if not runs(cell):
            self._record.passed(index)
            return
        self._index = index
        self._record.cell_start(index)
        self._client.begun.clear()
        try:
            await self._unless_stopped(self._client.async_execute_cell(cell, index))
        except CellExecutionError as error:
            self._record.cell_end(index, "error")
            raise NotebookFailed(f"{self._where()}: {_one_line(error)}", hint=self._see()) from error
        except JobError as error:
            self._record.cell_end(index, "error", error)
            raise
        self._record.cell_end(index, "ok")
        self._index = None

    async def _unless_stopped(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do ``work`` until it is done, the run is stopped or the kernel is dead."""
        if self._stop.done():
            work.close()
            raise self._stopped()
        task = asyncio.create_task(work)
        await self._first_of(task, self._stop, self._death)
        if task.done():
            try:
                task.result()
            except DeadKernelError:
                raise await self._died() from None
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
        begun = asyncio.create_task(self._client.begun.wait())
        await self._first_of(begun, task, self._death, timeout=1)
        begun.cancel()
        await self._manager.interrupt_kernel()
        await self._first_of(task, self._death, timeout=self._job.grace_s)
        self._hung = not task.done()

    async def _first_of(self, *tasks: asyncio.Task[Any] | None, timeout: float | None = None) -> None:
        present = {task for task in tasks if task is not None}
        await asyncio.wait(present, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)

    async def _wait_for_stop(self) -> JobError:
        """Return when the run has to stop, with the kind of error that it ends with."""
        while True:
            left = self._left()
            if self._job.cancel.is_set():
                return RunCancelled("cancelled")
            if left is not None and left <= 0:
                return StepTimeout(f"ran longer than {self._job.timeout_s:g} s")
            await asyncio.sleep(_POLL_S if left is None else min(_POLL_S, left))

    def _left(self) -> float | None:
        return None if self._job.timeout_s is None else self._job.timeout_s - self._record.seconds

    def _stopped(self) -> JobError:
        reason = self._stop.result()
        return type(reason)(f"{self._where()}: {reason.message}", hint=self._see())

    async def _died(self) -> KernelDied:
        assert self._death is not None
        code = await self._death
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        memory = " (out of memory?)" if code == -signal.SIGKILL else ""
        return KernelDied(f"{self._where()}: the kernel {how}{memory}", hint=self._see())

    async def _end_kernel(self) -> None:
        """Let the kernel run its exit functions; after that, or if it does not listen, kill its group."""
        if self._manager.has_kernel:
            death = self._death or asyncio.create_task(self._manager.exited())
            if not death.done() and self._client.kc is not None and not self._hung:
                await self._manager.request_shutdown()
                await asyncio.wait({death}, timeout=_EXIT_S)
            if not death.done():
                await self._manager.signal_kernel(signal.SIGKILL)
            await death
            self._keep_log()
        if self._client.kc is not None:
            self._client.kc.stop_channels()
        await self._manager.cleanup_resources()

    async def _autosave(self) -> None:
        while self._job.autosave_s > 0:
            await asyncio.sleep(self._job.autosave_s)
            if self._record.changed:
                self._record.save()

    def _keep_log(self) -> None:
        """Keep what the kernel wrote past the notebook, if anything."""
        log = self._manager.log_file
        if self._job.kernel_log is not None and log.exists() and log.stat().st_size:
            with self._job.kernel_log.open("ab") as file:
                file.write(log.read_bytes())

    def _where(self) -> str:
        return self._job.name if self._index is None else f"{self._job.name}, cell [{self._record.number(self._index)}]"

    def _see(self) -> str | None:
        return f"see {self._job.output}" if self._job.output else None


async def _give_up(task: asyncio.Task[None]) -> None:
    """Cancel a task and take note of how it ended, which nobody needs to know."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


def _one_line(error: CellExecutionError) -> str:
    """Name and message of an exception in one line without colours."""
    text = " ".join(_ANSI.sub("", str(error.evalue)).split())
    if len(text) > _MESSAGE_CHARACTERS:
        text = f"{text[:_MESSAGE_CHARACTERS]}…"
    return f"{error.ename}: {text}" if text else str(error.ename)
