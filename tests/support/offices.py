"""A scheduler at work in a home of its own: a clock that the test moves, and workers without notebooks."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support.homes import environment

from workbench.clock import Clock, ManualClock, SystemClock
from workbench.jobs.schedule.daemon import Daemon
from workbench.jobs.schedule.dispatcher import Limits, Post
from workbench.jobs.schedule.events import EventLog
from workbench.jobs.schedule.worker import ShiftedClock
from workbench.journal import Journal, RunJournal, RunRecord
from workbench.settings import Settings, load_settings

_HERE = Path(__file__).parents[1] / "jobs" / "schedule"
LIGHT_WORKER, LIGHT_DAEMON = _HERE / "light_worker.py", _HERE / "light_daemon.py"
DEADLINE_S = 60.0  # for what happens at once on an idle machine
NOTEBOOK = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


class NoAlarm:
    """An alarm that never rings: the test does."""

    def __init__(self, ring: Callable[[], object]) -> None:
        self.delay_s: float | None = None

    def set(self, delay_s: float) -> None:
        self.delay_s = delay_s

    def close(self) -> None:
        pass


class Office:
    """A home with pipelines, and the means to watch what a scheduler does there."""

    def __init__(self, home: Path, now: str = "2013-03-01T20:00:00") -> None:
        self.home = home
        if not home.exists():
            (home / "pipelines").mkdir(parents=True)
            (home / "workbench.toml").write_text('calendar = "XNYS"\n')
            (home / "pipelines" / "one.ipynb").write_text(json.dumps(NOTEBOOK))
        self.clock = ManualClock(datetime.fromisoformat(now).replace(tzinfo=UTC))
        self.settings: Settings = load_settings(env={"WORKBENCH_CONFIG": str(home / "workbench.toml")})
        self.said = io.StringIO()

    def recall(self, name: str) -> str | None:
        """What the scheduler remembers."""
        with Journal(self.settings.journal_file, SystemClock()) as journal:
            return RunJournal(journal).recall(name)

    @property
    def command(self) -> list[str]:
        """How a light worker is started; what it shall do is told by files, see there."""
        return [sys.executable, "-P", str(LIGHT_WORKER), str(self.home), str(self.home)]

    def pipeline(self, name: str, schedule: str, *, orders: bool = False, **more: Any) -> Path:
        """Write a pipeline of one step."""
        lines = ['description = "a test"', f'schedule = "{schedule}"']
        lines += [f"{key} = {json.dumps(value)}" for key, value in more.items()]
        lines += ["[[steps]]", 'name = "one"', 'notebook = "one.ipynb"', f"orders = {str(orders).lower()}"]
        file = self.home / "pipelines" / f"{name}.toml"
        file.write_text("\n".join(lines) + "\n")
        return file

    def hold(self, name: str) -> Path:
        """Make the pipeline's jobs run until the file is taken away."""
        file = self.home / f"{name}.hold"
        file.touch()
        return file

    def daemon(
        self, *, clock: Clock | None = None, drain: bool = False, name: str = "scheduler", **limits: Any
    ) -> Daemon:
        post = Post(self.settings, "paper", name, clock or self.clock, SystemClock())
        log = EventLog(self.settings.runs_dir / "scheduler.log", post.clock, self.said, as_json=True)
        return Daemon(
            post, log, command=self.command, env=environment(), drain=drain,
            limits=Limits(**{"look_s": 0.05, **limits}), alarm=NoAlarm,
        )  # fmt: skip

    def flowing(self, now: str) -> Clock:
        """A clock that shows that moment now and goes on by itself."""
        offset = datetime.fromisoformat(now).replace(tzinfo=UTC) - datetime.now(UTC)
        return ShiftedClock(SystemClock(), offset.total_seconds())

    def process(self, now: str, *arguments: str) -> subprocess.Popen[str]:
        """A daemon in a process of its own, at work from that moment on."""
        return subprocess.Popen(
            [sys.executable, "-P", str(LIGHT_DAEMON), str(self.home), now, *arguments],
            stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True,
            start_new_session=True, env=environment(PYTHONPATH=str(LIGHT_DAEMON.parents[2])),
        )  # fmt: skip

    def events(self, event: str, pipeline: str | None = None) -> list[dict[str, Any]]:
        """What was logged of a kind."""
        found = [json.loads(line) for line in self.log_lines()]
        return [e for e in found if e["event"] == event and pipeline in (None, e["pipeline"])]

    def log_lines(self) -> list[str]:
        file = self.settings.runs_dir / "scheduler.log"
        lines = file.read_text().splitlines() if file.is_file() else []
        return [line for line in lines if line.startswith("{")]

    def runs(self, pipeline: str | None = None) -> list[RunRecord]:
        with Journal(self.settings.journal_file, SystemClock()) as journal:
            return RunJournal(journal).runs(pipeline=pipeline)

    def worked(self) -> list[str]:
        """The jobs that were begun, in order: name and moment."""
        file = self.home / "worked"
        return file.read_text().splitlines() if file.is_file() else []


class Shift:
    """A daemon at work in a thread, while the block runs."""

    def __init__(self, daemon: Daemon, *, standby: bool = False) -> None:
        self.daemon = daemon
        self.code: int | BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(standby,), name="shift")

    def __enter__(self) -> Shift:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        while self._thread.is_alive():  # a test that failed must not wait for a job that is held
            self.daemon.stop()
            self._thread.join(5)

    def end(self, stops: int = 1) -> int | BaseException | None:
        """Ask it to stop, and wait until it has."""
        for _ in range(stops):
            self.daemon.stop()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        return self.code

    def _run(self, standby: bool) -> None:
        try:
            self.code = self.daemon.run(standby=standby)
        except BaseException as error:
            self.code = error


def until(condition: Callable[[], object]) -> None:
    """Look again and again until something is true."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {DEADLINE_S:g} s"
        time.sleep(0.01)
