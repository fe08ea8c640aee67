"""A small lake's snapshots as plain files, so that reading one needs no DuckDB: attaching costs 0.1 s, a query 10 ms.

A file belongs to a state of the catalog, told by inode, size and times of its files without opening them (opening
would drop the locks of the SQLite inside DuckDB). Any commit changes that state, and with it every file here is
forgotten. A file is written beside its name and moved; a hash at its end tells a torn one. All of it can be deleted
at any time. Neither numpy nor pandas is imported by what only asks for symbols, sessions and plain rows.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.data.dataset import FIELDS, LoadResult
from workbench.data.instruments import Listings, Piece, Spell

if TYPE_CHECKING:
    from workbench.data._reading import Columns, Day, Rows

MOST_ROWS = 250_000  # 11 MB, hashed in 10 ms
_MAGIC = b"workbench lake 2\n"
_HASH_BYTES = 32
_MOST_FILES = 16
# A file system's times can be 10 ms coarse: a state that young might be changed again without a trace.
_SETTLED_NS = 1_000_000_000
_EPOCH = date(1970, 1, 1).toordinal()


class State(NamedTuple):
    """What tells one state of the catalog from another, and when it came to be."""

    name: str
    since_ns: int

    @classmethod
    def of(cls, catalog: Path) -> State | None:
        """The state of a catalog; None if there is none."""
        parts: list[int] = []
        since = 0
        for file in (catalog, catalog.with_name(f"{catalog.name}-wal")):
            try:
                found = os.stat(file)
            except FileNotFoundError:
                continue
            if file is not catalog and not found.st_size:
                continue  # a reader makes an empty log
            parts += [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
            since = max(since, found.st_mtime_ns, found.st_ctime_ns)
        if not parts:
            return None
        return cls(hashlib.sha256(repr(parts).encode()).hexdigest()[:24], since)

    def settled(self, now_ns: int) -> bool:
        """Whether a later change would be seen for sure."""
        return now_ns - self.since_ns > _SETTLED_NS


class Store:
    """The files of one state of a lake, in a folder of their own."""

    def __init__(self, folder: Path, state: State) -> None:
        self._all = folder
        self._folder = folder / state.name

    def newest(self) -> int | None:
        """The newest snapshot; None if that is not known."""
        try:
            return int((self._folder / "newest").read_text("ascii"))
        except (OSError, ValueError):
            return None

    def keep_newest(self, snapshot: int) -> None:
        self._write("newest", str(snapshot).encode("ascii"))

    def read(self, snapshot: int) -> SmallReader | None:
        """A snapshot; None if it is not kept, or its file is torn."""
        try:
            with (self._folder / f"{snapshot}.bars").open("rb") as file:
                content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError):  # there is none, or it is empty
            return None
        body, told = content[:-_HASH_BYTES], content[-_HASH_BYTES:]
        whole = bytes(body[: len(_MAGIC)]) == _MAGIC and hashlib.sha256(body).digest() == bytes(told)
        return SmallReader(body, snapshot) if whole else None

    def keep(self, snapshot: int, header: dict[str, Any], columns: Sequence[bytes]) -> None:
        """Keep a snapshot: ``columns`` are the days since 1970 (int32) and the fields (float64), by symbol and day."""
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-(len(_MAGIC) + 8 + len(text)) % 8)
        days = columns[0] + b"\0" * (-len(columns[0]) % 8)
        body = b"".join([_MAGIC, struct.pack("<q", len(text)), text, days, *columns[1:]])
        self._write(f"{snapshot}.bars", body + hashlib.sha256(body).digest())

    def _write(self, name: str, content: bytes) -> None:
        """Write a file whole, or not at all where the folder may not be written to."""
        part = self._folder / f".{name}.{os.getpid()}"
        with suppress(OSError):  # a full or read-only disk: the lake itself answers
            if not self._folder.is_dir():
                self._forget_others()
                self._folder.mkdir(parents=True, exist_ok=True)
            kept = sorted(self._folder.glob("*.bars"), key=lambda file: file.stat().st_mtime_ns)
            for file in kept[: 1 - _MOST_FILES]:
                file.unlink(missing_ok=True)
            part.write_bytes(content)
            part.replace(self._folder / name)

    def _forget_others(self) -> None:
        for other in self._all.glob("*"):
            shutil.rmtree(other, ignore_errors=True)


class SmallReader:
    """Answers from one file that is mapped into memory."""

    def __init__(self, body: memoryview, snapshot: int) -> None:
        self.snapshot = snapshot
        at = len(_MAGIC) + 8
        (length,) = struct.unpack_from("<q", body, len(_MAGIC))
        self._header: dict[str, Any] = json.loads(bytes(body[at : at + length]))
        at += length
        count = self._header["rows"]
        self._days = body[at : at + 4 * count].cast("i")
        at += 4 * count + (-4 * count % 8)
        self._fields = [body[at + 8 * count * k : at + 8 * count * (k + 1)].cast("d") for k in range(len(FIELDS))]
        self._offsets: list[int] = self._header["offsets"]

    @cached_property
    def symbols(self) -> list[str]:
        found: list[str] = self._header["symbols"]
        return found

    @cached_property
    def listings(self) -> Listings:
        spells = self._header["listings"]
        return Listings(Spell(who, symbol, _date(first), last and _date(last)) for who, symbol, first, last in spells)

    @property
    def has_quotes(self) -> bool:
        return bool(self._header["quotes"])

    def load(self, digest: str) -> LoadResult | None:
        """What loading the data of this digest again amounts to; None if it was not loaded by then."""
        found = self._header["loads"].get(digest)
        if found is None:
            return None
        source, count = found
        return LoadResult(source, count, 0, count, 0, 0, self.snapshot, repeated=True)

    def coverage(self, names: Sequence[str] | None) -> Rows:
        wanted = self.symbols if names is None else sorted(names)
        spans = [(name, *self._span(name)) for name in wanted]
        return [(name, self._day(start), self._day(end - 1), end - start) for name, start, end in spans if end > start]

    def last_session(self) -> date | None:
        return max((self._day(end - 1) for end in self._offsets[1:]), default=None)

    def traded(self, session: date, names: Sequence[str] | None) -> list[str]:
        wanted = self.symbols if names is None else sorted(names)
        return [name for name in wanted if self._has(name, _number(session))]

    def last_common(self, names: Sequence[str], until: date) -> date | None:
        day = _number(until)
        spans = [self._span(name) for name in names]
        while True:
            before = day
            for start, end in spans:
                at = bisect_right(self._days, day, start, end) - 1
                if at < start:
                    return None
                day = self._days[at]
            if day == before or all(self._has(name, day) for name in names):
                return date.fromordinal(day + _EPOCH)

    def bars(self, pieces: Sequence[Piece], first: date, last: date) -> Columns:
        import numpy as np

        found = [self._piece(piece, first, last) for piece in pieces]
        counts = [end - start for start, end in found]
        codes = np.repeat(np.array([piece.code for piece in pieces], dtype=np.int32), counts)
        columns = {"code": codes, "day": self._joined(self._days, found)}
        return columns | {name: self._joined(values, found) for name, values in zip(FIELDS, self._fields, strict=True)}

    def history(self, pieces: Sequence[Piece], first: date, last: date) -> list[Day]:
        rows: list[Day] = []
        for piece in sorted(pieces, key=lambda piece: piece.first):
            start, end = self._piece(piece, first, last)
            days = [date.fromordinal(day + _EPOCH) for day in self._days[start:end]]
            rows += zip(days, *(values[start:end].tolist() for values in self._fields), strict=True)
        return rows

    def actions(self, names: Sequence[str] | None, first: date, last: date) -> Rows:
        wanted = None if names is None else set(names)
        since, until = first.isoformat(), last.isoformat()
        return [
            (symbol, _date(day), kind, value, origin)
            for symbol, day, kind, value, origin in self._header["actions"]
            if since <= day <= until and (wanted is None or symbol in wanted)
        ]

    def notices(self, names: Sequence[str] | None) -> Rows:
        wanted = None if names is None else set(names)
        return [
            (symbol, _date(first), _date(last), detail)
            for symbol, first, last, detail in self._header["notices"]
            if wanted is None or symbol in wanted
        ]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: at for at, name in enumerate(self.symbols)}

    def _span(self, name: str) -> tuple[int, int]:
        """The rows of a ticker; none is an empty span."""
        at = self._places.get(name)
        return (0, 0) if at is None else (self._offsets[at], self._offsets[at + 1])

    def _piece(self, piece: Piece, first: date, last: date) -> tuple[int, int]:
        start, end = self._span(piece.ticker)
        since, until = _number(max(piece.first, first)), _number(min(piece.last, last))
        return bisect_left(self._days, since, start, end), bisect_right(self._days, until, start, end)

    def _has(self, name: str, day: int) -> bool:
        start, end = self._span(name)
        at = bisect_left(self._days, day, start, end)
        return at < end and self._days[at] == day

    def _day(self, at: int) -> date:
        return date.fromordinal(self._days[at] + _EPOCH)

    @staticmethod
    def _joined(values: memoryview[Any], spans: Sequence[tuple[int, int]]) -> Any:
        import numpy as np

        whole = np.frombuffer(values, dtype=values.format)
        return np.concatenate([whole[start:end] for start, end in spans]) if spans else whole[:0].copy()


def _number(day: date) -> int:
    return day.toordinal() - _EPOCH


def _date(text: str) -> date:
    return date.fromisoformat(text)
