"""Files of prices: one, many, a folder or a pattern; text, JSON, Parquet and Excel, packed or not."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from workbench.data.dataset import Staged
from workbench.data.sources import tables, text
from workbench.data.sources.reading import Reading
from workbench.data.sources.staging import keep_rows, stage
from workbench.errors import DataError

if TYPE_CHECKING:
    import duckdb

TEXTS = (".csv", ".txt", ".tsv")
PARQUETS = (".parquet", ".pq")
SHEETS = (".xlsx",)
JSONS = (".json", ".jsonl", ".ndjson")
_READ = (*TEXTS, *PARQUETS, *SHEETS, *JSONS)
# What is read as it is packed by gzip.
_PACKED = (*TEXTS, *JSONS)
_BLOCK_BYTES = 1 << 20
_MOST_UNPACKED_BYTES = 64 << 30
# Called with the number of files looked at, the number of all, and the name of the next.
Progress = Callable[[int, int, str], None]


class FileSource:
    """Every file that a location names, as one load.

    Parameters
    ----------
    location
        A file, a folder (all files of prices in it), or a pattern such as ``prices/*.csv.gz``.
    reading
        What is declared about them.
    name
        What messages and the lake call it; the file's or folder's own name if left out.
    progress
        Told while the files are looked at.

    Raises
    ------
    DataError
        If there is no such file.
    """

    def __init__(
        self,
        location: str | os.PathLike[str],
        reading: Reading | None = None,
        *,
        name: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.reading = reading or Reading()
        self.files = find(location)
        self.name = name or Path(location).name or str(location)
        self._progress = progress or (lambda _done, _total, _name: None)

    @cached_property
    def digest(self) -> str:
        """Of the bytes of all files, their names (a symbol may come from one), and how they are read."""
        found = hashlib.sha256(self.reading.key().encode())
        for file in self.files:
            found.update(f"\n{file.name}\n".encode() if len(self.files) > 1 or self.reading.symbol is None else b"\n")
            for block in _blocks(file):
                found.update(block)
        return found.hexdigest()

    def stage(self, connection: duckdb.DuckDBPyConnection) -> Staged:
        """Read all files into temporary tables; see :func:`workbench.data.sources.staging.stage`."""
        with _unpacked(self.files) as files:
            staged = stage(connection, self.name, list(self._tables(connection, files)), self.reading)
            if any(file.suffix.lower() == ".zip" for file in self.files):
                keep_rows(connection)  # what was unpacked goes now
            return staged

    def _tables(self, connection: duckdb.DuckDBPyConnection, files: Mapping[Path, str]) -> Iterator[tables.Table]:
        """One table for all files of one shape."""
        texts: dict[tuple[object, ...], list[text.TextFile]] = {}
        parquets: dict[tuple[tables.Column, ...], dict[str, str]] = {}
        for done, (path, name) in enumerate(files.items()):
            self._progress(done, len(files), name)
            kind = _kind(path)
            if kind in SHEETS:
                yield tables.sheet(connection, path, name, done)
            elif kind in JSONS:
                yield tables.documents(connection, path, name, done)
            elif kind in PARQUETS:
                columns = tables.parquet(connection, {str(path): name}).columns
                parquets.setdefault(columns, {})[str(path)] = name
            else:
                looked = text.look(path, name)
                texts.setdefault(looked.shape, []).append(looked)
        self._progress(len(files), len(files), "")
        for group in texts.values():
            yield tables.TextTable(group)
        for paths in parquets.values():
            yield tables.parquet(connection, paths)


def find(location: str | os.PathLike[str]) -> list[Path]:
    """The files that a location names, by name.

    Raises
    ------
    DataError
        If there are none, or a named one is of a kind that cannot be read.
    """
    path = Path(location)
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.is_file() and _kind(file) in _READ)
        if not found:
            raise DataError(f"{path}: no file of prices in this folder", hint=_readable())
        return found
    if path.is_file():
        if _kind(path) not in (*_READ, ".zip"):
            raise DataError(f"{path.name}: a file of this kind cannot be read", hint=_readable())
        return [path]
    found = sorted(Path(each) for each in glob.glob(str(location), recursive=True) if os.path.isfile(each))
    if found and any(sign in str(location) for sign in "*?["):
        return found
    raise DataError(f"{location}: there is no such file, and none that fits it", hint="name a file, a folder or *.csv")


def _kind(path: Path) -> str:
    """What is in it: the ending, without what it is packed in."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        return suffixes[-2] if len(suffixes) > 1 and suffixes[-2] in _PACKED else ".csv"
    if suffixes[-1:] == [".zip"]:
        return ".zip" if len(suffixes) < 2 or suffixes[-2] not in TEXTS else suffixes[-2]
    return suffixes[-1] if suffixes else ""


def _readable() -> str:
    return f"{', '.join(kind[1:] for kind in _READ)} can be read, text and JSON also in gz or zip"


@contextmanager
def _unpacked(files: Sequence[Path]) -> Iterator[dict[Path, str]]:
    """The files with what messages call them; those in a zip lie in a folder that goes away at the end."""
    with TemporaryDirectory(prefix="workbench-load-") as folder:
        found: dict[Path, str] = {}
        for number, file in enumerate(files):
            if file.suffix.lower() == ".zip":
                found |= _unzip(file, Path(folder) / str(number))
            else:
                found[file] = file.name
        yield found


def _unzip(file: Path, folder: Path) -> dict[Path, str]:
    found = {}
    try:
        with zipfile.ZipFile(file) as packed:
            members = [each for each in packed.infolist() if _is_wanted(each)]
            if sum(member.file_size for member in members) > _MOST_UNPACKED_BYTES:
                raise DataError(f"{file.name}: it would unpack to more than 64 GiB", hint="unpack it yourself")
            for number, member in enumerate(members):
                inner = folder / str(number) / Path(member.filename).name
                inner.parent.mkdir(parents=True)
                with packed.open(member) as source, inner.open("wb") as target:
                    shutil.copyfileobj(source, target, _BLOCK_BYTES)
                found[inner] = f"{file.name}: {member.filename}"
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError) as error:  # RuntimeError: a password is needed
        raise DataError(f"{file.name}: cannot be unpacked: {error}") from error
    if not found:
        raise DataError(f"{file.name}: no file of prices in it", hint=_readable())
    return found


def _is_wanted(member: zipfile.ZipInfo) -> bool:
    name = member.filename
    hidden = Path(name).name.startswith(".") or name.startswith("__MACOSX/")
    return not member.is_dir() and not hidden and _kind(Path(name)) in _READ


def _blocks(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                yield block
    except OSError as error:
        raise DataError(f"{file.name}: cannot be read: {error.strerror}") from error
