"""What the scheduler says: one line per event, to the terminal and to a log file that does not grow for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO

from workbench.clock import Clock

_MAX_BYTES = 10_000_000
_KEPT = 5


class EventLog:
    """Writes events with UTC time; ``as_json`` writes one JSON object per line instead of text.

    A terminal that is closed is no reason to stop, and neither is a full disk under the log: that is said once.

    Examples
    --------
    >>> import sys
    >>> from datetime import datetime
    >>> from workbench.clock import ManualClock
    >>> clock = ManualClock(datetime.fromisoformat("2013-03-01T21:30:00+00:00"))
    >>> log = EventLog(getfixture("tmp_path") / "scheduler.log", clock, sys.stdout)
    >>> log.write("started", "worker 17 for 2013-03-01", pipeline="daily", pid=17)
    2013-03-01T21:30:00.000Z daily: started, worker 17 for 2013-03-01
    """

    def __init__(self, file: Path, clock: Clock, terminal: IO[str] | None, *, as_json: bool = False) -> None:
        self.file = file
        self._clock = clock
        self._terminal = terminal
        self._as_json = as_json
        self._complained = False
        self._said: dict[object, str] = {}

    def write(self, event: str, text: str = "", *, pipeline: str = "", level: str = "info", **facts: object) -> None:
        """Log an event. ``facts`` are for machines; ``text`` says the same to people."""
        at = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self._as_json:
            said = {"at": at, "level": level, "event": event, "pipeline": pipeline or None, "text": text, **facts}
            line = json.dumps(said, default=str)
        else:
            mark = "" if level == "info" else f"{level}: "
            what = ", ".join(part for part in (event, text) if part)
            line = f"{at} {mark}{pipeline}: {what}" if pipeline else f"{at} {mark}{what}"
        self._to_file(line)
        self._to_terminal(line)

    def once(self, event: str, text: str, *, pipeline: str = "", level: str = "info", about: object = None) -> None:
        """Log what would otherwise be said at every look, when it is new. ``about`` tells subjects apart."""
        if self._said.get((event, about)) != text:
            self._said[event, about] = text
            self.write(event, text, pipeline=pipeline, level=level)

    def over(self, event: str, about: object = None) -> None:
        """What was said once has passed, and is worth saying when it comes back."""
        self._said.pop((event, about), None)

    def stream(self) -> IO[bytes]:
        """The file, opened for what a child process prints past its daemon; the caller closes it."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        return self.file.open("ab")

    def _to_file(self, line: str) -> None:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._rotate()
            with self.file.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            if not self._complained:
                self._to_terminal(f"warning: {self.file} cannot be written: {error.strerror or error}")
            self._complained = True
        else:
            self._complained = False

    def _rotate(self) -> None:
        if not self.file.is_file() or self.file.stat().st_size < _MAX_BYTES:
            return
        for number in range(_KEPT, 0, -1):
            older = self.file.with_name(f"{self.file.name}.{number}")
            newer = self.file.with_name(f"{self.file.name}.{number - 1}") if number > 1 else self.file
            if newer.is_file():
                newer.replace(older)

    def _to_terminal(self, line: str) -> None:
        if self._terminal is None:
            return
        try:
            print(line, file=self._terminal, flush=True)
        except OSError:
            self._terminal = None


__all__ = ["EventLog"]
