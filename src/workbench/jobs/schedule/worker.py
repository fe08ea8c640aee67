"""The scheduler's child process: warm before the bell, on time at the bell, one job, gone.

The daemon holds two pipes of every worker. Orders come in as lines, see :class:`Order`. Out go what is to be shown and
how far the worker is. The end of the orders before the bell means that the daemon is gone or wants this
worker no more, and it exits without having started anything; after the bell the job goes on, whatever becomes of the
daemon.
"""

from __future__ import annotations

import io
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import IO

from workbench.clock import Clock
from workbench.errors import ConfigError, DeadlineMissed

_SLICE_S = 0.1  # the longest sleep: so soon a worker hears that it is not wanted, or sees that the clock was set
_FINE_S = 0.002  # sleeps are late by up to a millisecond or so: the last stretch is walked in small steps
_FINEST_S = 0.0001
_PREPARE_S = 0.5  # less than that before the bell, nothing else is begun
# A clock that has moved by this much more than time has passed was set, or the machine slept.
JUMP_S = 1.0
_ALLOW_DIRTY = "allow-dirty"


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is for; passed on its command line.

    ``at`` is the moment of the schedule, ``start`` the one at which it begins, which may be a little later.
    ``definition`` is the pipeline as JSON: as its file was when it was last valid.

    >>> at = datetime.fromisoformat("2013-03-01T21:30:00+00:00")
    >>> given = Assignment("daily", "paper", date(2013, 3, 1), 0, at, at)
    >>> Assignment.parse(given.arguments()) == given
    True
    """

    pipeline: str
    account: str
    session: date
    slot: int
    at: datetime
    start: datetime
    allow_dirty: bool = False
    definition: str = ""

    def arguments(self) -> list[str]:
        """The command line that says the same."""
        return [
            self.pipeline,
            self.account,
            self.session.isoformat(),
            str(self.slot),
            self.at.isoformat(),
            self.start.isoformat(),
            _ALLOW_DIRTY if self.allow_dirty else "",
            self.definition,
        ]

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Assignment:
        """Read :meth:`arguments`.

        Raises
        ------
        ConfigError
            If they are anything else: only the daemon starts workers.
        """
        try:
            pipeline, account, session, slot, at, start, dirty, definition = arguments
            return cls(
                pipeline,
                account,
                date.fromisoformat(session),
                int(slot),
                datetime.fromisoformat(at),
                datetime.fromisoformat(start),
                dirty == _ALLOW_DIRTY,
                definition,
            )
        except ValueError as error:
            raise ConfigError(f"not a worker's assignment: {error}", hint="use `workbench schedule run`") from error


@dataclass(frozen=True, slots=True)
class Order:
    """Begin at ``at``, and not at all from ``deadline`` on.

    Both by a time that is ``offset_s`` ahead of the machine's: 0 except in a rehearsal.
    """

    at: datetime
    deadline: datetime | None = None
    offset_s: float = 0.0

    def line(self) -> str:
        """What is written into the worker's pipe.

        >>> at = datetime.fromisoformat("2013-03-01T21:30:00+00:00")
        >>> Order.parse(Order(at, at).line()) == Order(at, at)
        True
        """
        deadline = self.deadline.isoformat() if self.deadline else None
        return json.dumps({"go": self.at.isoformat(), "deadline": deadline, "offset_s": self.offset_s})

    @classmethod
    def parse(cls, line: str) -> Order:
        """Read :meth:`line`."""
        told = json.loads(line)
        deadline = datetime.fromisoformat(told["deadline"]) if told["deadline"] else None
        return cls(datetime.fromisoformat(told["go"]), deadline, float(told["offset_s"]))


class ShiftedClock:
    """Another clock, ahead by so many seconds (behind, if negative): the time of a rehearsal.

    >>> from workbench.clock import ManualClock
    >>> ShiftedClock(ManualClock(datetime.fromisoformat("2025-03-01T00:00:00+00:00")), 60).now().minute
    1
    """

    def __init__(self, clock: Clock, offset_s: float) -> None:
        self._clock = clock
        self._offset = timedelta(seconds=offset_s)

    def now(self) -> datetime:
        return self._clock.now() + self._offset

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)


class Link(io.TextIOBase):
    """A worker's end of the pipes to its daemon; also the text file that its printed lines go to.

    When the daemon is gone, printed lines go to ``fallback``, and nothing else changes.
    """

    def __init__(self, orders: IO[str], events: IO[str], fallback: IO[str]) -> None:
        self._events = events
        self._fallback = fallback
        self._writing = threading.Lock()
        self._partial = ""
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self.gone = threading.Event()
        threading.Thread(target=self._read, args=(orders,), name="orders", daemon=True).start()

    @classmethod
    def of_this_process(cls) -> Link:
        """Take standard input and output for the link; what anything else prints goes where errors go, a log file."""
        events = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        orders = os.fdopen(os.dup(0), encoding="utf-8")
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)  # no child of the worker may hold the daemon's pipe, or read from it
        os.close(null)
        return cls(orders, events, sys.stderr)

    def report(self, **event: object) -> None:
        """Send an event to the daemon; nothing happens if it is gone."""
        with self._writing:
            self._send(event)

    def order(self, stopped: Callable[[], bool]) -> Order | None:
        """Wait for the order to go; None if it will not come."""
        while not stopped():
            try:
                return self._orders.get(timeout=_SLICE_S)
            except queue.Empty:
                continue
        return None

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        """What ``print`` calls: every full line becomes an event."""
        with self._writing:
            *lines, self._partial = (self._partial + text).split("\n")
            for line in lines:
                if line.strip() and not self._send({"text": line}):
                    self._fallback.write(f"{line}\n")
                    self._fallback.flush()
        return len(text)

    def _send(self, event: object) -> bool:
        try:
            self._events.write(json.dumps(event, default=str) + "\n")
            self._events.flush()
        except OSError:  # the daemon was killed: its jobs go on
            self.gone.set()
            return False
        return True

    def _read(self, orders: IO[str]) -> None:
        for line in orders:
            self._orders.put(Order.parse(line))
        self.gone.set()
        self._orders.put(None)


def await_bell(
    link: Link, machine_clock: Clock, stopped: Callable[[], bool], prepare: Callable[[], None] = lambda: None
) -> bool:
    """Wait until the daemon has said when, and it is then; False if the worker is not wanted.

    ``prepare`` is called in between, if there is time for it. A clock that is set forward does not ring the bell: the
    daemon is told, and decides again.

    Raises
    ------
    DeadlineMissed
        If this process was not ready in time.
    """
    link.report(ready=True)
    while (order := link.order(stopped)) is not None:
        clock = ShiftedClock(machine_clock, order.offset_s)
        if (order.at - clock.now()).total_seconds() > _PREPARE_S:
            prepare()
        jumped_s = wait_until(order.at, clock, lambda: stopped() or link.gone.is_set())
        if stopped() or link.gone.is_set():
            return False
        if jumped_s is not None:
            link.report(jumped_s=round(jumped_s, 3))
            continue
        now = clock.now()
        if order.deadline is not None and now >= order.deadline:
            raise DeadlineMissed(
                f"missed its deadline, {order.deadline:%Y-%m-%d %H:%M:%S} UTC: it was not ready in time"
            )
        link.report(begun=now.isoformat())
        return True
    return False


def wait_until(at: datetime, clock: Clock, stopped: Callable[[], bool]) -> float | None:
    """Wait until a moment, to a fraction of a millisecond; returns by how many seconds the clock was set forward.

    None is the ordinary end: the moment has come, or ``stopped`` said so. A clock that was set back is waited for.

    >>> from workbench.clock import ManualClock
    >>> clock = ManualClock(datetime.fromisoformat("2013-03-01T20:59:59+00:00"))
    >>> wait_until(datetime.fromisoformat("2013-03-01T21:00:00+00:00"), clock, lambda: False)
    >>> f"{clock.now():%H:%M}"
    '21:00'
    """
    began = clock.monotonic()
    planned_s = (at - clock.now()).total_seconds()
    while (left_s := (at - clock.now()).total_seconds()) > 0:
        if stopped():
            return None
        clock.sleep(min(left_s - _FINE_S, _SLICE_S) if left_s > 2 * _FINE_S else _FINEST_S)
    early_s = planned_s - (clock.monotonic() - began)
    return early_s if early_s > JUMP_S else None
