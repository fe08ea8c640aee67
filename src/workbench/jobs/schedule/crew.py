"""Worker processes as the daemon holds them: started, listened to, told to go, stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from workbench.jobs.schedule.worker import Assignment, Order
from workbench.journal import RunKey

Event = Mapping[str, object]


class Worker:
    """One child process in a session of its own.

    ``report`` is called in a thread of this object's: with every event the worker tells, and at its end with
    ``{"ended": EXIT_CODE}``, minus the signal that killed it.
    """

    def __init__(
        self,
        command: Sequence[str],
        assignment: Assignment,
        *,
        env: Mapping[str, str],
        log: IO[bytes],
        report: Callable[[Event], None],
    ) -> None:
        self._report = report
        self._process = subprocess.Popen(
            [*command, *assignment.arguments()],
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C on the terminal is the daemon's business
        )
        threading.Thread(target=self._listen, name=f"worker-{self.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def go(self, order: Order) -> None:
        """Have it begin at a moment, or at once if that has passed."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has died, which its end tells
            self._process.stdin.write(f"{order.line()}\n")
            self._process.stdin.flush()

    def dismiss(self) -> None:
        """Close its orders: a worker that has not begun exits, one that has goes on."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()

    def terminate(self) -> None:
        """Ask for a clean stop: the notebook's ``finally`` blocks run, the output is saved, the truth is recorded."""
        self._process.terminate()

    def kill(self) -> None:
        """End it and its process group now; its kernels end with it."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._report(_parsed(line))
        self._report({"ended": self._process.wait()})


@dataclass(eq=False)
class Job:
    """A scheduled moment that has a process."""

    key: RunKey
    assignment: Assignment
    worker: Worker
    made_of: str
    told: bool = False  # to go: from here on it takes its account's place
    begun: bool = False
    dismissed: bool = False
    error: str = ""

    @property
    def pipeline(self) -> str:
        return self.assignment.pipeline


class Crew:
    """The workers of one daemon.

    Parameters
    ----------
    command
        What starts a worker; its assignment is added.
    report
        Gets (job, event) from other threads.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        open_log: Callable[[], IO[bytes]],
        report: Callable[[Job, Event], None],
    ) -> None:
        self._command = list(command)
        self._env = dict(env)
        self._open_log = open_log
        self._report = report
        self._jobs: dict[RunKey, Job] = {}

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def __len__(self) -> int:
        return len(self._jobs)

    def get(self, key: RunKey) -> Job | None:
        return self._jobs.get(key)

    @property
    def told(self) -> list[Job]:
        """The jobs that run, or are about to."""
        return [job for job in self if job.told]

    def start(self, key: RunKey, assignment: Assignment, made_of: str) -> Job:
        """Start a worker; it warms up and waits."""
        box: list[Job] = []
        known = threading.Event()

        def report(event: Event) -> None:
            known.wait()
            self._report(box[0], event)

        with self._open_log() as log:
            worker = Worker(self._command, assignment, env=self._env, log=log, report=report)
        job = Job(key, assignment, worker, made_of)
        box.append(job)
        known.set()
        self._jobs[key] = job
        return job

    def go(self, job: Job, order: Order) -> None:
        """Tell a worker to run its job."""
        job.told = True
        job.worker.go(order)

    def dismiss(self, job: Job) -> None:
        """Let go of a worker that has not begun; another may take its place at once."""
        job.dismissed = True
        job.worker.dismiss()
        if self._jobs.get(job.key) is job:
            del self._jobs[job.key]

    def forget(self, job: Job) -> None:
        """A worker has ended."""
        job.worker.dismiss()
        if self._jobs.get(job.key) is job:
            del self._jobs[job.key]


def _parsed(line: str) -> Event:
    """An event; what is none was printed before the worker could take its output over."""
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    return event if isinstance(event, dict) else {"text": line.rstrip()}
