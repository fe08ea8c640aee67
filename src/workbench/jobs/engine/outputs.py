"""What of a notebook's output is kept: streams as a terminal shows them, and not more than the limits allow.

Two sides keep to one set of limits. The kernel cuts what a cell prints (:mod:`workbench.jobs.kernels.streams`), so that
two gigabytes never cross a socket; the runner cuts all else (:class:`Outputs`), and whatever a kernel lets pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import ConfigError, JobError

if TYPE_CHECKING:
    from nbformat import NotebookNode

_OVERWRITTEN = re.compile(r"[^\n]*\r(?=[^\n\r])")  # a line up to a carriage return that something follows
_OUTPUT_BYTES = 100  # what every output costs beside its data
_NOTICE_BYTES = 500  # the kernel's own line about what it cut comes on top
_TRACE_BYTES = 100_000  # of an exception's text


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """How much output a notebook keeps, in bytes of UTF-8.

    Attributes
    ----------
    cell_bytes
        Of printed text in one cell, and again of everything else that it shows.
    run_bytes
        Of all cells together; the cell that reaches it may still exceed it by ``cell_bytes``.
    log_bytes
        Of the log with the full text; a notebook that prints more is stopped before it fills the disk.

    Raises
    ------
    ConfigError
        If one of them is not positive.
    """

    cell_bytes: int = 1_000_000
    run_bytes: int = 20_000_000
    log_bytes: int = 10_000_000_000

    def __post_init__(self) -> None:
        for name in ("cell_bytes", "run_bytes", "log_bytes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")


class Screen:
    r"""Text as a terminal shows it: what a carriage return or a backspace overwrites is gone.

    Adding costs the length of what is added, however much there is.

    >>> screen = Screen()
    >>> for text in ("loading\n", " 10%", "\r100%", "\n"):
    ...     screen.add(text)
    >>> screen.text, screen.size
    ('loading\n100%\n', 13)
    """

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.size = 0

    @property
    def text(self) -> str:
        """Everything shown."""
        self._parts = ["".join(self._parts)] if self._parts else []
        return self._parts[0] if self._parts else ""

    def add(self, text: str) -> None:
        """Show ``text`` after what is there."""
        if "\r" in text or "\b" in text or (self._parts and self._parts[-1].endswith("\r")):
            line = self._take_line()
            text = _overwrite(line + text)
            self.size -= size_of(line)
        if text:
            self._parts.append(text)
            self.size += size_of(text)

    def _take_line(self) -> str:
        """Remove and return the line that is not finished yet."""
        tail: list[str] = []
        while self._parts:
            part = self._parts.pop()
            done, newline, rest = part.rpartition("\n")
            tail.append(rest)
            if newline:
                self._parts.append(done + newline)
                break
        return "".join(reversed(tail))


class Outputs:
    """The outputs of the cells of one run, on the runner's side."""

    def __init__(self, limits: OutputLimits, log: Path | None) -> None:
        self._limits = limits
        self._log = log
        self._run_bytes = 0  # of the cells before this one
        self._text_bytes = 0  # printed by this cell
        self._rich_bytes = 0  # of all else that this cell shows
        self._screens: dict[int, tuple[NotebookNode, Screen]] = {}
        self._allow = 0
        self._cut = False

    @property
    def allow(self) -> int:
        """Bytes that the next or the running cell may print."""
        return max(0, min(self._limits.cell_bytes, self._limits.run_bytes - self._run_bytes))

    def begin(self) -> None:
        """A cell begins, with no output."""
        self.clear()
        self._cut = False
        self._allow = self.allow

    def end(self) -> None:
        """The cell has ended: put its text in place and add it up."""
        self.settle()
        self._run_bytes += self._rich_bytes + self._text_bytes
        self.clear()

    def clear(self) -> None:
        """The cell's outputs were cleared."""
        self._screens.clear()
        self._text_bytes = self._rich_bytes = 0

    def settle(self) -> None:
        """Put what was printed so far into the notebook's own structure."""
        for output, screen in self._screens.values():
            output["text"] = screen.text

    def printed(self, outputs: list[NotebookNode], stream: str, text: str) -> bool:
        """Add text to the stream at the end of ``outputs``; False if it has to be put there first.

        One output for each stream stands between any two others, stdout first: the two arrive in no set order.
        """
        for output in reversed(outputs[-2:]):
            if output.get("output_type") != "stream":
                return False
            if output["name"] == stream:
                self._add(output, text)
                return True
        return False

    def first(self, outputs: list[NotebookNode]) -> None:
        """The last of ``outputs`` is the first text of its stream."""
        output = outputs[-1]
        text, output["text"] = output["text"], ""
        if output["name"] == "stdout" and len(outputs) > 1 and outputs[-2].get("name") == "stderr":
            outputs[-2:] = [output, outputs[-2]]
        self._add(output, text)

    def rich(self, data: dict[str, Any], *, replaces: bool) -> dict[str, Any]:
        """The part of a bundle of representations that may be kept, with a notice of what is left out.

        ``replaces`` says that it takes the place of an earlier one, as a live display does.
        """
        sizes = {kind: _data_size(value) for kind, value in data.items()}
        room = self._allow - (0 if replaces else self._rich_bytes)
        left_out: list[str] = []
        for kind in sorted(sizes, key=sizes.__getitem__, reverse=True):
            if sum(sizes.values()) + _OUTPUT_BYTES <= room:
                break
            left_out.append(f"{kind} of {sizes.pop(kind):,} bytes")
        kept = {kind: value for kind, value in data.items() if kind in sizes}
        if left_out:
            notice = f"[workbench] left out, over the limit of output: {', '.join(left_out)}"
            kept["text/plain"] = f"{kept['text/plain']}\n{notice}" if "text/plain" in kept else notice
        if not replaces and sizes:
            self._rich_bytes += sum(sizes.values()) + _OUTPUT_BYTES
        return kept

    def error(self, content: dict[str, Any]) -> None:
        """Shorten an exception that carries its data in its text."""
        content["evalue"] = _shortened(content["evalue"])
        content["traceback"] = [_shortened(line) for line in content["traceback"]]

    def _add(self, output: NotebookNode, text: str) -> None:
        _, screen = self._screens.setdefault(id(output), (output, Screen()))
        room = self._allow + _NOTICE_BYTES - self._text_bytes
        if not self._cut:
            self._cut = size_of(text) > room
            shown = f"{head(text, max(0, room))}\n{notice(self._allow, self._log)}" if self._cut else text
            before = screen.size
            screen.add(shown)
            self._text_bytes += screen.size - before
        if self._cut and self._log is not None:
            try:
                with self._log.open("ab") as file:
                    file.write(text.encode(errors="backslashreplace"))
            except OSError as error:
                raise JobError(f"{self._log.name} cannot be written: {error.strerror}") from error


def notice(allow: int, log: Path | None) -> str:
    """The one line that stands where printed text was cut."""
    rest = f"all of it is in {log.name}" if log is not None else "the rest was not kept"
    return f"[workbench] output cut here, after {allow:,} bytes; {rest}\n"


def head(text: str, room: int) -> str:
    """The beginning of ``text``, at most ``room`` bytes long.

    >>> head("naïve", 3)
    'na'
    """
    return text[:room].encode(errors="backslashreplace")[:room].decode(errors="ignore")


def size_of(text: str) -> int:
    """Bytes of ``text`` in UTF-8."""
    return len(text) if text.isascii() else len(text.encode(errors="backslashreplace"))


def log_file(output: Path) -> Path:
    """Where the full text of cells goes whose printed text is cut in the notebook ``output``."""
    return output.with_suffix(".output.log")


def _overwrite(text: str) -> str:
    text = _OVERWRITTEN.sub("", text)
    if "\b" not in text:
        return text
    shown: list[str] = []
    for character in text:
        if character != "\b":
            shown.append(character)
        elif shown and shown[-1] != "\n":
            shown.pop()
    return "".join(shown)


def _data_size(value: object) -> int:
    if isinstance(value, str):
        return size_of(value)
    if isinstance(value, Mapping):
        return sum(_data_size(item) + len(str(key)) for key, item in value.items()) + 2
    if isinstance(value, list):
        return sum(_data_size(item) for item in value) + 2
    return len(str(value))


def _shortened(text: str) -> str:
    if size_of(text) <= _TRACE_BYTES:
        return text
    return f"{head(text, _TRACE_BYTES)}… [workbench] cut, {size_of(text):,} bytes in all"
