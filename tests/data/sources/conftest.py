from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from workbench.data.dataset import Source, Staged
from workbench.data.sources import Reading
from workbench.data.sources.files import FileSource


@dataclass
class Desk:
    """A DuckDB to stage into, and a folder to write files to."""

    connection: duckdb.DuckDBPyConnection
    folder: Path
    staged: Staged = field(default_factory=Staged)

    def write(self, name: str, *lines: str) -> Path:
        file = self.folder / name
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return file

    def read(self, source: Source) -> list[tuple[Any, ...]]:
        """The bars of a source, times as text, by symbol and time."""
        self.staged = source.stage(self.connection)
        time = "session" if self.staged.frequency == "daily" else "start"
        return self.connection.execute(
            f"SELECT symbol, {time}::VARCHAR, open, high, low, close, volume FROM {self.staged.bars} ORDER BY 1, 2"
        ).fetchall()

    def bars(self, name: str, *lines: str, **declared: Any) -> list[tuple[Any, ...]]:
        """The bars of a file of text, taken as traded unless something else is declared."""
        return self.read(FileSource(self.write(name, *lines), Reading(**{"adjusted": False} | declared)))

    def table(self, name: str | None, columns: str = "*") -> list[tuple[Any, ...]]:
        return self.connection.execute(f"SELECT {columns} FROM {name}").fetchall() if name else []


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with duckdb.connect(config={"allow_unsigned_extensions": True}) as connection:
        connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        yield Desk(connection, tmp_path)


Bars = Callable[..., list[tuple[Any, ...]]]
