"""A scheduled job with a warm kernel: from its moment to its first cell, and to its first order at the venue's socket.

The worker is the process that `workbench schedule run` starts; the venue is `workbench exchange serve` behind a relay
that notes when the first order's bytes arrive.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

from measurement import Measurement, kept_bytecode

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.homes import environment, make_home, start, workbench

from workbench.jobs.schedule.crew import Event, Worker
from workbench.jobs.schedule.dispatcher import Limits
from workbench.jobs.schedule.worker import Assignment, Order

TRIES = 10
SESSION = date(2013, 2, 28)
AHEAD_S = Limits().arm_s
KEYS = {"APCA_API_KEY_ID": "a-key", "APCA_API_SECRET_KEY": "a-secret"}
PIPELINE = """
description = "One order"
schedule = "close"
[[steps]]
name = "order"
notebook = "bell.ipynb"
orders = true
"""
FIRST = "import time\nfrom pathlib import Path\nPath('begun').write_text(repr(time.time()))"
ORDER = (
    "import workbench\n"
    "wb = workbench.open(session=session)\n"
    "outcome = wb.propose(wb.orders([wb.ticket('AAPL', 'buy', 1)]))"
)


def run() -> list[Measurement]:
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as scratch:
        home = make_home(Path(scratch) / "home", cold=True)
        write_job(home)
        ready = workbench(home, "run", "daily", "--session", SESSION.isoformat(), "--allow-dirty")
        if ready.returncode:
            raise RuntimeError(f"the run before failed: {ready.stderr}")
        with venue(home) as port, Relay(port) as relay:
            wired = {
                "WORKBENCH_ACCOUNT__NAME": "wire",
                "WORKBENCH_ACCOUNT__BROKER": "alpaca",
                "WORKBENCH_ALPACA__BASE_URL": f"http://127.0.0.1:{relay.port}",
                "WORKBENCH_RISK__DUPLICATE_WINDOW_S": "0",
            }
            tries = [attempt(home, relay, wired, number) for number in range(TRIES + 1)][1:]
    cells, orders = [cell for cell, _ in tries], [order for _, order in tries]
    return [
        Measurement.at_most("scheduled moment to the first cell, warm kernel", median(cells), "ms", 50.0),
        Measurement.at_most("scheduled moment to the first order at the venue", median(orders), "ms", 100.0),
        Measurement.shown("the slowest first cell", max(cells), "ms"),
        Measurement.shown("the slowest first order", max(orders), "ms"),
    ]


def write_job(home: Path) -> None:
    session = f'session: "date" = "{SESSION}"  # the session whose close is decided on'
    cells = [([], FIRST), (["parameters"], session), ([], ORDER)]
    notebook = {
        "cells": [
            {"cell_type": "code", "id": f"c{n}", "metadata": {"tags": tags}, "source": source,
             "execution_count": None, "outputs": []}
            for n, (tags, source) in enumerate(cells)
        ],
        "metadata": {}, "nbformat": 4, "nbformat_minor": 5,
    }  # fmt: skip
    (home / "pipelines" / "bell.ipynb").write_text(json.dumps(notebook))
    (home / "pipelines" / "bell.toml").write_text(PIPELINE)


def attempt(home: Path, relay: Relay, wired: dict[str, str], slot: int) -> tuple[float, float]:
    """Milliseconds from the moment to the first cell and to the first order."""
    (home / "begun").unlink(missing_ok=True)
    relay.first = None
    ready, ended = threading.Event(), threading.Event()
    told: list[Event] = []

    def report(event: Event) -> None:
        told.append(event)
        if "ready" in event:
            ready.set()
        if "ended" in event:
            ended.set()

    at = datetime.now(UTC) + timedelta(minutes=1)
    assignment = Assignment("bell", "wire", SESSION, slot, at, at, allow_dirty=True)
    command = [sys.executable, "-P", "-m", "workbench.cli.schedule_worker"]
    env = {**kept_bytecode(environment(**KEYS, **wired)), "WORKBENCH_CONFIG": str(home / "workbench.toml")}
    with (home / "worker.log").open("ab") as log:
        worker = Worker(command, assignment, env=env, log=log, report=report)
    ready.wait(120)
    time.sleep(1.0)  # its kernel has had a minute in production
    relay.await_room()
    at = datetime.now(UTC) + timedelta(seconds=AHEAD_S)
    worker.go(Order(at))
    ended.wait(120)
    worker.dismiss()
    if told[-1].get("ended") != 0 or relay.first is None:
        raise RuntimeError(f"the job failed: {told} {(home / 'worker.log').read_text()[-2000:]}")
    moment = at.timestamp()
    return (float((home / "begun").read_text()) - moment) * 1000, (relay.first - moment) * 1000


@contextmanager
def venue(home: Path) -> Iterator[int]:
    process = start(home, "exchange", "serve", "--account", "venue", "--session", SESSION.isoformat(), "--port", "0",
                    **KEYS)  # fmt: skip
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("Serving at "):
                yield int(line.rpartition(":")[2])
                return
        raise RuntimeError("the exchange did not start")
    finally:
        process.terminate()
        process.communicate(timeout=30)


class Relay:
    """Passes bytes on to the venue; ``first`` is when an order's arrived."""

    def __init__(self, port: int) -> None:
        self.first: float | None = None
        self._calls: list[float] = []
        self._venue = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])

    def __enter__(self) -> Relay:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def await_room(self) -> None:
        """Keep away from the venue's limit of 200 calls a minute."""
        while sum(time.time() - called < 60 for called in self._calls) > 120:
            time.sleep(0.5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._venue)) as far, selectors.DefaultSelector() as ready:
            for end in (client, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ready.register(end, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(1 << 16)
                    if key.fileobj is client:
                        self._calls.append(time.time())
                        if self.first is None and data.startswith(b"POST /v2/orders"):
                            self.first = time.time()
                    if not data:
                        return
                    (far if key.fileobj is client else client).sendall(data)
