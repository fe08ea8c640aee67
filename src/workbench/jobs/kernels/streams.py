"""Standard output and error of a kernel, cut at their source.

A cell that prints without end would fill the memory of the kernel, of the sockets and of the runner, in this
order. So the kernel sends only what the notebook keeps, and writes the whole text into a log file itself.
"""

# ipykernel has no types:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import _thread
import codecs
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ipykernel.iostream import OutStream

from workbench.jobs.engine.outputs import Screen, head, notice

_SIGN_OF_LIFE_S = 0.5
_PIPE_BYTES = 1 << 16
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


class Stream(OutStream):
    """One of the two standard streams."""

    _last_sign = 0.0

    def write(self, string: str) -> int:
        if not isinstance(string, str) or not self._is_master_process():
            super().write(string)  # a forked child's text is limited by the runner
            return len(string)
        shown, is_cut = meter.take(string)
        if shown:
            super().write(shown)
        elif is_cut:
            self._show_life()
        return len(string)

    def flush(self) -> None:
        """Send what was written. ipykernel asks for it six times a cell, and waits for its thread each time."""
        if self._flush_pending or not self._is_master_process():
            super().flush()

    def _watch_pipe_fd(self) -> None:
        """Read what is written past Python, by libraries in C and by children. In a thread of its own.

        Unlike ipykernel's it does not copy everything into the kernel's own log as well.
        """
        pipe = self._fid
        assert pipe is not None
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        try:
            while self._should_watch and (data := os.read(pipe, _PIPE_BYTES)):
                self.write(decoder.decode(data))
        except Exception:  # shown when the stream is closed, as ipykernel has it
            self._exc = sys.exc_info()

    def _show_life(self) -> None:
        """Let the runner know now and then that the cell still prints, though nothing of it is sent."""
        now = time.monotonic()
        if now - self._last_sign > _SIGN_OF_LIFE_S:
            self._last_sign = now
            parent: dict[str, Any] = self.parent_header
            self.pub_thread.schedule(lambda: self._send_busy(parent))

    def _send_busy(self, parent: dict[str, Any]) -> None:
        message = self.session.msg("status", {"execution_state": "busy"}, parent=parent)
        self.session.send(self.pub_thread, message, ident=b"status")
