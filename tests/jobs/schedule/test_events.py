"""The scheduler's log."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from workbench.clock import ManualClock
from workbench.jobs.schedule import events
from workbench.jobs.schedule.events import EventLog

CLOCK = ManualClock(datetime(2013, 3, 1, 21, 30, tzinfo=UTC))


def test_the_file_and_the_terminal_say_the_same(tmp_path: Path) -> None:
    terminal = io.StringIO()
    log = EventLog(tmp_path / "runs" / "scheduler.log", CLOCK, terminal)
    log.write("skipped", "it came later", pipeline="daily", level="warning")
    assert terminal.getvalue() == "2013-03-01T21:30:00.000Z warning: daily: skipped, it came later\n"
    assert log.file.read_text() == terminal.getvalue()


def test_machines_get_an_object_per_line(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "scheduler.log", CLOCK, None, as_json=True)
    log.write("ended", "succeeded", pipeline="daily", code=0)
    assert json.loads(log.file.read_text()) == {
        "at": "2013-03-01T21:30:00.000Z", "level": "info", "event": "ended", "pipeline": "daily", "text": "succeeded",
        "code": 0,
    }  # fmt: skip


def test_the_log_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_MAX_BYTES", 200)
    log = EventLog(tmp_path / "scheduler.log", CLOCK, None)
    for number in range(100):
        log.write("tick", f"{number:04}")
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == ["scheduler.log", *(f"scheduler.log.{n}" for n in range(1, 6))]
    assert all(file.stat().st_size < 300 for file in tmp_path.iterdir())
    assert "0099" in log.file.read_text()


def test_what_is_said_once_is_said_again_when_it_is_new_or_was_over(tmp_path: Path) -> None:
    terminal = io.StringIO()
    log = EventLog(tmp_path / "scheduler.log", CLOCK, terminal)
    for text in ("full disk", "full disk", "locked"):
        log.once("journal", text)
    log.over("journal")
    log.once("journal", "locked")
    assert [line.split(", ")[1] for line in terminal.getvalue().splitlines()] == ["full disk", "locked", "locked"]


def test_a_log_that_cannot_be_written_is_said_once_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    terminal = io.StringIO()
    log = EventLog(tmp_path / "file" / "scheduler.log", CLOCK, terminal)
    log.write("one")
    log.write("two")
    assert [line.split(" ")[0] for line in terminal.getvalue().splitlines()] == [
        "warning:", "2013-03-01T21:30:00.000Z", "2013-03-01T21:30:00.000Z",
    ]  # fmt: skip


def test_a_terminal_that_is_closed_stops_nothing(tmp_path: Path) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    log = EventLog(tmp_path / "scheduler.log", CLOCK, Closed())
    log.write("one")
    log.write("two")
    assert len(log.file.read_text().splitlines()) == 2
