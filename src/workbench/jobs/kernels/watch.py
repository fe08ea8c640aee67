"""What goes wrong in a kernel without the cell's noticing, told to the runner with the answer to each cell.

A notebook that ends is not yet one that worked: a thread or a task may have died alone, the result of a pool
may never have been looked at, work may still go on. Commands that fail and early exits become exceptions of
their cell (:mod:`workbench.jobs.kernels.app`); all else is collected here and travels in the reply's metadata,
so that it costs no round trip.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

_SETTLE_S = 1.0  # for threads and tasks that are about to end with the notebook
_POLL_S = 0.01
_KEPT = 20  # faults of one cell; the first one already fails the run
_TEXT_CHARACTERS = 300
_TRACE_CHARACTERS = 20_000


class Watch:
    """The kernel's own record of one notebook. One for each kernel."""

    def __init__(self) -> None:
        self.cell: int | None = None  # the running cell, or the last one that ran
        self.cells = 0
        self._faults: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        # Threads, tasks and pools' work, and the cell that started them; None for the kernel's own.
        self._origins: WeakKeyDictionary[Any, int | None] = WeakKeyDictionary()
        self._unseen: set[Future[Any]] = set()  # that failed in a pool

    def install(self) -> None:
        """Listen to all threads, event loops and pools of this process from now on."""
        self._listen_to_threads()
        self._listen_to_loops()
        self._listen_to_pools()

    def begin(self, cell: int) -> None:
        """Cell number ``cell`` is about to run."""
        self._note_origins(None)
        self.cell = cell
        self.cells += 1

    def end(self) -> None:
        """The running cell has ended."""
        self._note_origins(self.cell)

    def report(self) -> dict[str, Any]:
        """What the runner is told: the faults since the last report."""
        faults = list(self._faults)
        self._faults.clear()
        return {"cells": self.cells, "faults": faults}

    def fault(self, text: str, *, cell: int | None = None, trace: list[str] | None = None, log: bool = False) -> None:
        """Note that something went wrong, in ``cell`` if that is known. ``log`` says that the log failed."""
        text, *lines = (line.encode("utf-8", "backslashreplace").decode() for line in [text, *(trace or [])])
        text = " ".join(text.split())[:_TEXT_CHARACTERS]
        fault = {"cell": cell or self.cell, "text": text, "trace": lines, "log": log}
        self._faults.append(fault)

    async def settle(self) -> None:
        """The notebook is over: give what still runs a moment to end, and note what does not."""
        deadline = time.monotonic() + _SETTLE_S
        while (self._tasks() or self._threads()) and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_S)
        for task in self._tasks():
            self.fault(f"task {task.get_name()!r} was still running at the end", cell=self._origins.get(task))
        for thread in self._threads():
            self.fault(f"thread {thread.name!r} was still running at the end", cell=self._origins.get(thread))
        known = [ref() for ref in self._origins.keyrefs()]  # in one step: other threads may go on submitting
        for task in [item for item in known if isinstance(item, asyncio.Task) and _failed_unseen(item)]:
            self._task_failed(task, task.exception())
        for future in list(self._unseen):
            error, cell = future.exception(), self._origins.get(future)
            self.fault(f"nobody looked at the result of a pool's work: {_words(error)}", cell=cell, trace=_trace(error))
        gc.collect()  # a task in a cycle tells of its exception when it is collected

    # ---- what to listen to -----------------------------------------------------------------------

    def _listen_to_threads(self) -> None:
        before = threading.excepthook

        def hook(args: threading.ExceptHookArgs) -> None:
            before(args)
            if args.exc_type is SystemExit:  # a thread's way to end itself
                return
            name = args.thread.name if args.thread else "?"
            cell = self._origins.get(args.thread)
            self.fault(f"thread {name!r}: {_words(args.exc_value)}", cell=cell, trace=_trace(args.exc_value))

        threading.excepthook = hook

    def _listen_to_loops(self) -> None:
        before = asyncio.BaseEventLoop.default_exception_handler

        def handler(loop: asyncio.BaseEventLoop, context: dict[str, Any]) -> None:
            before(loop, context)
            task, error = context.get("task"), context.get("exception")
            if isinstance(task, asyncio.Task) and error is None:
                self.fault(f"task {task.get_name()!r} was dropped unfinished", cell=self._origins.get(task))
            elif isinstance(future := context.get("future", task), asyncio.Task):
                self._task_failed(future, error)
            elif error is not None:
                self.fault(f"event loop callback: {_words(error)}", trace=_trace(error))

        asyncio.BaseEventLoop.default_exception_handler = handler  # type: ignore[method-assign, assignment]

    def _listen_to_pools(self) -> None:
        """Remember the exceptions of work handed to a pool until somebody asks for them."""
        result, exception = Future.result, Future.exception

        def note(future: Future[Any]) -> None:
            if not future.cancelled() and exception(future) is not None:
                self._unseen.add(future)

        def seen_result(future: Future[Any], timeout: float | None = None) -> Any:
            try:
                return result(future, timeout)
            finally:
                self._unseen.discard(future)

        def seen_exception(future: Future[Any], timeout: float | None = None) -> BaseException | None:
            try:
                return exception(future, timeout)
            finally:
                self._unseen.discard(future)

        def listened(submit: Callable[..., Future[Any]]) -> Callable[..., Future[Any]]:
            @functools.wraps(submit)
            def submit_and_note(pool: Executor, /, *args: Any, **kwargs: Any) -> Future[Any]:
                future = submit(pool, *args, **kwargs)
                if self.cell is not None:
                    self._origins[future] = self.cell
                    future.add_done_callback(note)
                return future

            return submit_and_note

        Future.result = seen_result  # type: ignore[method-assign, assignment]
        Future.exception = seen_exception  # type: ignore[method-assign, assignment]
        for pool in (ThreadPoolExecutor, ProcessPoolExecutor):
            pool.submit = listened(pool.submit)  # type: ignore[method-assign]

    # ---- who is still there ----------------------------------------------------------------------

    def _note_origins(self, cell: int | None) -> None:
        for item in (*threading.enumerate(), *asyncio.all_tasks()):
            self._origins.setdefault(item, cell)

    def _tasks(self) -> list[asyncio.Task[Any]]:
        return [task for task in asyncio.all_tasks() if self._origins.get(task) is not None]

    def _threads(self) -> list[threading.Thread]:
        return [
            thread
            for thread in threading.enumerate()
            if not thread.daemon and self._origins.get(thread) is not None and not _idles(thread)
        ]

    def _task_failed(self, task: asyncio.Task[Any], error: BaseException | None) -> None:
        text = f"nobody awaited task {task.get_name()!r}: {_words(error)}"
        self.fault(text, cell=self._origins.get(task), trace=_trace(error))


def _failed_unseen(task: asyncio.Task[Any]) -> bool:
    """Whether a task ended with an exception that nobody has asked for. asyncio itself goes by this attribute."""
    return task.done() and bool(getattr(task, "_log_traceback", False))


def _idles(thread: threading.Thread) -> bool:
    """Whether a thread is a pool's worker that waits for work, as it does until the interpreter ends."""
    if type(thread).__name__ == "_ExecutorManagerThread":  # of a pool of processes
        return not getattr(thread, "pending_work_items", True)
    frame = sys._current_frames().get(thread.ident or 0)
    code = frame.f_code if frame is not None else None
    return code is not None and code.co_name == "_worker" and code.co_filename.endswith("thread.py")


def _words(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _trace(error: BaseException | None) -> list[str]:
    if error is None:
        return []
    link: TracebackType | None = error.__traceback__
    lines = "".join(traceback.format_exception(type(error), error, link)).splitlines()
    text = "\n".join(lines)
    return text[-_TRACE_CHARACTERS:].splitlines()
