"""The pipelines of a folder while people edit them; a file that breaks keeps its last good pipeline."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workbench.calendars import Calendar, calendar
from workbench.jobs.pipelines import Pipeline, load_pipelines

Change = Literal["added", "changed", "removed", "broken", "mended"]
_SUFFIX = ".toml"
_GONE = "gone"


@dataclass(frozen=True, slots=True)
class Edit:
    """What has happened to a pipeline's file since the last look; ``detail`` says what is wrong with a broken one."""

    change: Change
    name: str
    detail: str = ""


class PipelineFolder:
    """What is scheduled. :meth:`look` reads what has changed; nothing is ever raised for a bad file.

    Examples
    --------
    >>> folder = PipelineFolder(Path("no/such/folder"))
    >>> [edit.change for edit in folder.look()], folder.look(), dict(folder.pipelines)
    (['broken'], [], {})
    """

    def __init__(self, folder: Path, calendars: Callable[[str], Calendar] = calendar) -> None:
        self._folder = folder
        self._calendars = calendars
        self._pipelines: dict[str, Pipeline] = {}
        self._broken: dict[str, str] = {}
        self._suspects: dict[str, str] = {}
        self._seen: dict[str, str] = {}
        self._looked = False

    @property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """Every pipeline as it was when its file was last valid, by name."""
        return self._pipelines

    @property
    def broken(self) -> Mapping[str, str]:
        """What is wrong with files that are not valid now, by name; the folder itself is named by its path."""
        return self._broken

    def look(self) -> list[Edit]:
        """Read the folder again; says what is new since the last look.

        A file that is broken or gone is believed to be so at the second look that finds it the same: an editor may
        have been in the middle of writing it. At the very first look there is nothing older to go on with, so it is
        told at once.
        """
        whole = str(self._folder)
        try:
            marks = self._marks()
            edits = self._mend(whole)
            if marks != self._seen or self._broken or self._suspects or not self._complete():
                edits += self._read(marks)
        except OSError as error:  # a share that is away for a moment must not look like a folder without jobs
            edits = self._complain(whole, f"{error.filename or whole}: cannot be read: {error.strerror or error}")
        self._looked = True
        return edits

    def _marks(self) -> dict[str, str]:
        """What every file says, as a hash: two edits within the clock's step and of one length still differ."""
        with os.scandir(self._folder) as entries:
            files = [entry.name for entry in entries if entry.name.endswith(_SUFFIX) and entry.name[0] != "."]
        return {name.removesuffix(_SUFFIX): _sha256(self._folder / name) for name in files}

    def _complete(self) -> bool:
        return all(path.is_file() for pipeline in self._pipelines.values() for path in pipeline.notebooks)

    def _read(self, marks: dict[str, str]) -> list[Edit]:
        loaded = load_pipelines(self._folder, calendars=self._calendars)
        self._seen = marks
        edits = []
        for name in sorted((self._pipelines.keys() | self._broken.keys() | self._suspects.keys()) - marks.keys()):
            edits += self._miss(name)
        for name in sorted(marks):
            if name in loaded.good:
                edits += self._take(name, loaded.good[name])
            elif name in loaded.broken:
                edits += self._complain(name, str(loaded.broken[name]))
            else:
                file = self._folder / f"{name}{_SUFFIX}"
                edits += self._complain(name, f"{file}: never runs; a pipeline's name is up to 32 of a-z, 0-9, _ and -")
        return edits

    def _take(self, name: str, pipeline: Pipeline) -> list[Edit]:
        known = self._pipelines.get(name)
        self._pipelines[name] = pipeline
        edits = self._mend(name)
        if edits or pipeline == known:
            return edits
        return [Edit("added" if known is None else "changed", name)]

    def _complain(self, name: str, what: str) -> list[Edit]:
        """Note that something is broken; told once for every distinct fault."""
        if self._broken.get(name) == what:
            return []
        if self._looked and self._suspects.get(name) != what:
            self._suspects[name] = what
            return []
        self._suspects.pop(name, None)
        self._broken[name] = what
        return [Edit("broken", name, what)]

    def _mend(self, name: str) -> list[Edit]:
        self._suspects.pop(name, None)
        return [Edit("mended", name)] if self._broken.pop(name, None) is not None else []

    def _miss(self, name: str) -> list[Edit]:
        if self._suspects.get(name) != _GONE:
            self._suspects[name] = _GONE
            return []
        del self._suspects[name]
        known = self._pipelines.pop(name, None), self._broken.pop(name, None)
        return [Edit("removed", name)] if any(known) else []


def _sha256(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:  # as good a mark as any: it is read again when it changes
        return str(error)
