"""Standard output and error of a kernel, cut at their source.

A cell that prints without end would fill the memory of the kernel, of the sockets and of the runner, in this
order. So the kernel sends only what the notebook keeps, and writes the whole text into a log file itself.
"""

from __future__ import annotations

import _thread
import codecs
import io
import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from workbench.jobs.engine.outputs import Screen, head, notice

_SIGN_OF_LIFE_S = 0.5
_LOG = logging.getLogger("workbench.kernel")
_READING_S = 1.0
_FLUSH_S = 0.1  # how long what is printed may wait for more
_PIPE_BYTES = 1 << 16
_PIPE_READS = 4  # more than a pipe holds: one that somebody goes on filling is not waited for
_CHUNK_CHARACTERS = 1 << 20


class Meter:
    """How much the running cell has printed, on both streams, and where the rest goes."""

    def __init__(self) -> None:
        self.broken: Callable[[str], None] = lambda reason: None  # told when the log cannot be written
        self._lock = threading.RLock()
        self._allow: int | None = None  # None: nobody asked for a limit
        self._log: Path | None = None
        self._log_left = 0
        self._cell = 0
        self._screen = Screen()
        self._file: int | None = None
        self._is_cut = False

    def begin(self, cell: int, allow: int, log: str | None, log_bytes: int) -> None:
        """Cell number ``cell`` begins and may show ``allow`` bytes."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
            self._cell, self._allow, self._log = cell, allow, Path(log) if log else None
            self._log_left = log_bytes
            self._screen = Screen()
            self._file = None
            self._is_cut = False

    def take(self, text: str) -> tuple[str, bool]:
        """What of ``text`` is shown, and whether some of it is not."""
        with self._lock:
            if self._allow is None:
                return text, False
            if self._is_cut:
                self._write(text)
                return "", True
            before, so_far = self._screen.size, self._screen
            if len(text) <= self._allow:
                so_far.add(text)
                if so_far.size <= self._allow:
                    return text, False
                text_left = ""
            else:  # a single text of this length is not copied
                text_left = text
            self._is_cut = True
            self._screen = Screen()
            self._write(f"==== cell [{self._cell}] ====\n")
            self._write(so_far.text)
            self._write(text_left)
            return head(text, max(0, self._allow - before)) + "\n" + notice(self._allow, self._log), True

    def _write(self, text: str) -> None:
        if self._log is None:
            return
        try:
            if self._file is None:
                self._file = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
                self._log_left -= os.fstat(self._file).st_size
            for start in range(0, len(text), _CHUNK_CHARACTERS):
                data = text[start : start + _CHUNK_CHARACTERS].encode(errors="backslashreplace")
                self._log_left -= len(data)
                if self._log_left < 0:
                    raise OSError("it has reached its limit of bytes")
                while data:
                    data = data[os.write(self._file, data) :]
        except OSError as error:
            self._give_up(f"{self._log.name} cannot be written: {error.strerror or error}")

    def _give_up(self, reason: str) -> None:
        """Without its log the text would be lost: stop the cell. No later print tries again."""
        self._log = None
        self.broken(reason)
        if threading.current_thread() is threading.main_thread():
            raise OSError(reason)
        # This thread reads what a child prints: it must live on, or the child would hang.
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        else:
            _thread.interrupt_main()


meter = Meter()


class Stream(io.TextIOBase):
    """One of the two standard streams: of Python, and of all that writes to its descriptor.

    What libraries in C and children write goes through a pipe, which a :class:`Watcher` reads.

    Parameters
    ----------
    name
        ``stdout`` or ``stderr``.
    descriptor
        Its number: 1 or 2. From now on it is the pipe's end.
    post
        Puts a text of this stream where ``deliver`` sends it from; waits for nothing and for nobody.
    deliver
        Sends what was posted.
    hold
        Keeps interruptions away for a block.
    show_life
        Called now and then while the cell prints what is not sent.

    A signal's handler may print wherever Python code runs, so no lock is held while something is sent, and none is
    needed to print.
    """

    encoding = "UTF-8"  # of what arrives through the pipe
    errors = "replace"

    def __init__(
        self,
        name: str,
        descriptor: int,
        post: Callable[[str, str], object],
        deliver: Callable[[], None],
        hold: Callable[[], AbstractContextManager[object]],
        show_life: Callable[[], None],
    ) -> None:
        self.name = name
        self._descriptor = descriptor
        self._post = post
        self._deliver = deliver
        self._hold = hold
        self._show_life = show_life
        self._posting = threading.RLock()
        self._reading = threading.RLock()
        self._parts: list[str] = []
        self._process = os.getpid()
        self._last_sign = 0.0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.pipe, end = os.pipe()
        os.set_blocking(self.pipe, False)
        os.dup2(end, descriptor)
        os.close(end)
        self.wake: Callable[[], None] = _nobody

    def fileno(self) -> int:
        return self._descriptor

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def write(self, string: str) -> int:
        if not isinstance(string, str):
            raise TypeError(f"write() argument must be str, not {type(string).__name__}")
        if os.getpid() != self._process:  # a forked child's goes the way of all children's
            _write_all(self._descriptor, string.encode(errors="backslashreplace"))
            return len(string)
        shown, is_cut = meter.take(string)
        if shown:
            self._parts.append(shown)
            if len(self._parts) == 1:
                self.wake()
        elif is_cut:
            now = time.monotonic()
            if now - self._last_sign > _SIGN_OF_LIFE_S:
                self._last_sign = now
                self._show_life()
        return len(string)

    def flush(self) -> None:
        """Send what was written, by Python and past it."""
        if os.getpid() == self._process:
            for _ in range(_PIPE_READS):
                if not self.take_in():
                    break
            self.send()

    def send(self) -> None:
        """Send what Python has written."""
        with self._hold(), self._posting:
            if count := len(self._parts):
                self._post(self.name, "".join(self._parts[:count]))
                del self._parts[:count]  # only now: what somebody has printed is never lost
        self._deliver()

    def take_in(self) -> bool:
        """Write what is in the pipe; whether there was anything. Never waits for more."""
        # Not for ever: a handler may have interrupted a print that the thread at the pipe waits for.
        if not self._reading.acquire(timeout=_READING_S):
            return False
        try:
            data = os.read(self.pipe, _PIPE_BYTES)
            self.write(self._decoder.decode(data))
            return bool(data)
        except BlockingIOError:
            return False
        finally:
            self._reading.release()


class Watcher:
    """A thread that takes in what is written past Python, and sends what was printed and got no company."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._streams = {stream.pipe: stream for stream in streams}
        self._awake, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        for stream in streams:
            stream.wake = self.wake
        threading.Thread(target=self._watch, name="wb-streams", daemon=True).start()

    def wake(self) -> None:
        """Something was printed."""
        try:
            os.write(self._wake, b"x")
        except BlockingIOError:  # it has been told often enough
            return

    def _watch(self) -> None:
        while True:  # without this thread children would wait for ever
            try:
                self._listen()
            except Exception:
                _LOG.exception("the streams' thread")

    def _listen(self) -> None:
        waits = select.poll()
        for descriptor in (self._awake, *self._streams):
            waits.register(descriptor, select.POLLIN)
        due: float | None = None
        while True:
            for descriptor, _ in waits.poll(None if due is None else max(0, 1000 * (due - time.monotonic()))):
                if descriptor == self._awake:
                    os.read(descriptor, _PIPE_BYTES)
                    due = due or time.monotonic() + _FLUSH_S
                elif not self._streams[descriptor].take_in() and not _is_open(descriptor):
                    waits.unregister(descriptor)  # the notebook has closed the descriptor
            if due is not None and time.monotonic() >= due:
                due = None
                for stream in self._streams.values():
                    stream.send()


def _is_open(pipe: int) -> bool:
    """Whether anybody can write to the pipe."""
    waits = select.poll()
    waits.register(pipe, select.POLLIN)
    return not any(event & select.POLLHUP for _, event in waits.poll(0))


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _nobody() -> None:
    """There is no watcher yet."""
