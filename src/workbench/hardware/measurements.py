"""Where measurements of the machine are kept: one file each, written once, never changed.

The reports database shows them, too; it can be made again from these files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from workbench.errors import DataError

FOLDER = "hardware"
Kind = Literal["profile", "latency"]


@dataclass(frozen=True, slots=True)
class Measurements:
    """The files of one installation, below its data folder."""

    folder: Path

    @classmethod
    def of(cls, data_dir: Path) -> Measurements:
        return cls(data_dir / FOLDER)

    def add(self, kind: Kind, measured_at: datetime, content: dict[str, Any]) -> Path:
        """Keep a measurement; the file is complete, or not there at all.

        >>> kept = Measurements(getfixture("tmp_path"))
        >>> kept.add("profile", datetime(2026, 6, 1, 14, 30, tzinfo=UTC), {"cores": 2}).name
        '20260601T143000.000000Z.json'
        """
        measured_at = measured_at.astimezone(UTC)
        name = f"{measured_at:%Y%m%dT%H%M%S.%f}Z.json"
        file = self.folder / kind / f"{measured_at:%Y-%m}" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"measured_at": measured_at.isoformat(), **content}, allow_nan=False)
        made = file.with_name(f".{name}.{os.getpid()}")
        with made.open("w", encoding="utf-8") as out:
            out.write(text + "\n")
            out.flush()
            os.fsync(out.fileno())
        os.replace(made, file)
        return file

    def files(self, kind: Kind) -> list[Path]:
        """Every file of a kind, oldest first."""
        return sorted(self.folder.glob(f"{kind}/*/*.json"), key=lambda file: file.name)

    def read(self, kind: Kind, *, last: int | None = None) -> Iterator[dict[str, Any]]:
        """Measurements of a kind, oldest first; only the ``last`` ones if asked.

        Raises
        ------
        DataError
            If a file is not what was written.
        """
        files = self.files(kind)
        for file in files if last is None else files[max(0, len(files) - last) :]:
            yield read_measurement(file)


def read_measurement(file: Path) -> dict[str, Any]:
    """One measurement.

    Raises
    ------
    DataError
        If the file is not what was written.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        datetime.fromisoformat(content["measured_at"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is not a measurement: {error}", hint="move it away") from error
    assert isinstance(content, dict)
    return content
