"""Working through the combinations: on this machine's cores or on a cluster, in chunks, with an end at any time."""

# distributed has no types
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.hardware.budget import defaults_here
from workbench.research.sweeping.grid import Numbers
from workbench.research.sweeping.jobs import Job
from workbench.research.sweeping.window import Array

if TYPE_CHECKING:
    from distributed import Client

Range = tuple[int, int]
Computed = Generator[tuple[Range, Array]]
_TASKS_PER_WORKER = 2  # chunks given out ahead
_CHUNKS_PER_TASK = 8  # a cluster needs some milliseconds for each task
_TRIALS_IN_CHUNK = 8  # how threads do is tried on parts of so many to a chunk
_WORTH_THREADS = 1.1  # how much faster all threads have to be than one


@cache
def cores() -> int:
    """How many cores this process may use, by the machine's budget."""
    return defaults_here().threads


def chunks_of(ranges: list[Range], size: int) -> list[Range]:
    """Cut ranges into chunks of at most ``size``.

    >>> chunks_of([(0, 5), (7, 8)], 2)
    [(0, 2), (2, 4), (4, 5), (7, 8)]
    """
    return [(at, min(at + size, last)) for first, last in ranges for at in range(first, last, size)]


def missing(done: Numbers, total: int) -> list[Range]:
    """The ranges of 0..total that are not done.

    >>> missing(np.array([2, 3, 5]), 8)
    [(0, 2), (4, 5), (6, 8)]
    """
    open_ = np.ones(total + 2, dtype=np.int8)
    open_[[0, -1]] = 0
    open_[done + 1] = 0
    edges = np.diff(open_)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def cut(ranges: list[Range], sizes: list[int]) -> tuple[list[Range], list[Range]]:
    """Take parts of at most so many off the front of ranges: the parts, and what is left.

    >>> cut([(0, 5), (7, 20)], [1, 9, 4])
    ([(0, 1), (1, 5), (7, 11)], [(11, 20)])
    """
    parts, left = [], deque(ranges)
    for size in sizes:
        if left:
            first, last = left.popleft()
            at = min(first + size, last)
            parts.append((first, at))
            if at < last:
                left.appendleft((at, last))
    return parts, list(left)


def compute(
    job: Job,
    numbers: Numbers,
    ranges: list[Range],
    client: Client | None,
    timer: Callable[[], float] = time.perf_counter,
) -> Computed:
    """The sums of chunks of combinations, as they are done.

    When the caller stops, what is being computed is waited for or cancelled, and nothing is left running.
    """
    if client is None:
        return _here(job, numbers, ranges, cores(), timer)
    return _on_cluster(job, numbers, ranges, client)


def _here(job: Job, numbers: Numbers, ranges: list[Range], workers: int, timer: Callable[[], float]) -> Computed:
    """On as many threads as do it fastest.

    A strategy computes its weights in Python. On large frames that is numpy's work, which threads share; on small ones
    the interpreter's, where a second thread only waits for its turn and makes the first one slower. So a job in Python
    is tried both ways, on small parts of it, after one combination that warms it up.
    """
    if workers > 1 and job.in_python:
        few = max(1, job.chunk // _TRIALS_IN_CHUNK)
        parts, left = cut(ranges, [1, few, *[few] * workers])
        if left:  # so there are all parts
            warm, alone, *together = parts
            yield from _on_threads(job, numbers, [warm], 1)
            began = timer()
            yield from _on_threads(job, numbers, [alone], 1)
            between = timer()
            yield from _on_threads(job, numbers, together, workers)
            slow, fast = between - began, timer() - between
            done = sum(last - first for first, last in together)
            if done * slow < _WORTH_THREADS * (alone[1] - alone[0]) * fast:
                workers = 1
            ranges = left
    yield from _on_threads(job, numbers, chunks_of(ranges, job.chunk), workers)


def _on_threads(job: Job, numbers: Numbers, chunks: list[Range], workers: int) -> Computed:
    waiting, running = deque(chunks), dict[Future[Array], Range]()
    workers = max(1, min(workers, len(chunks)))
    pool = ThreadPoolExecutor(workers, thread_name_prefix="sweep")
    try:
        while waiting or running:
            while waiting and len(running) < workers * _TASKS_PER_WORKER:
                chunk = waiting.popleft()
                running[pool.submit(job.run, numbers[slice(*chunk)])] = chunk
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(done), done.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _on_cluster(job: Job, numbers: Numbers, ranges: list[Range], client: Client) -> Computed:
    """In tasks of some chunks, or of fewer where there would be too few for every worker to have its share."""
    from distributed import as_completed

    workers = sum(client.nthreads().values())
    share = math.ceil(sum(last - first for first, last in ranges) / max(1, workers * _TASKS_PER_WORKER))
    chunks = chunks_of(ranges, max(1, min(job.chunk * _CHUNKS_PER_TASK, share)))
    # Sent to every worker once; a task carries the numbers of its combinations only.
    sent = client.scatter(job, broadcast=True, hash=False)
    waiting, running = deque(chunks), dict[Any, Range]()

    def submit() -> Any:
        chunk = waiting.popleft()
        future = client.submit(_run, sent, numbers[slice(*chunk)], pure=False)
        running[future] = chunk
        return future

    ahead = max(1, workers * _TASKS_PER_WORKER)
    try:
        results = as_completed([submit() for _ in range(min(ahead, len(waiting)))], loop=client.loop)
        for done in results:
            chunk = running.pop(done)
            sums = done.result()
            done.release()
            if waiting:
                results.add(submit())
            yield chunk, sums
    finally:
        client.cancel(list(running))
        sent.release()


def _run(job: Job, numbers: Numbers) -> Array:
    """What a worker does. Arrays that came over the wire may be read-only, which compiled code takes for a new type."""
    return job.writable().run(numbers)
