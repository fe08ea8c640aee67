"""Pipeline files while people edit them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.jobs.schedule.folder import Edit, PipelineFolder

GOOD = 'description = "a test"\nschedule = "close"\n[[steps]]\nname = "one"\nnotebook = "one.ipynb"\n'


@pytest.fixture
def pipelines(tmp_path: Path) -> Path:
    (tmp_path / "one.ipynb").write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return tmp_path


def write(pipelines: Path, name: str, text: str = GOOD) -> Path:
    file = pipelines / f"{name}.toml"
    file.write_text(text)
    return file


def changes(folder: PipelineFolder) -> list[tuple[str, str]]:
    return [(edit.change, edit.name) for edit in folder.look()]


def test_what_is_there_is_added_and_then_nothing_is_new(pipelines: Path) -> None:
    write(pipelines, "daily")
    folder = PipelineFolder(pipelines)
    assert changes(folder) == [("added", "daily")]
    assert changes(folder) == []
    assert folder.pipelines["daily"].schedule == "close"


def test_a_change_of_a_pipeline_is_seen_and_one_of_a_comment_is_none(pipelines: Path) -> None:
    write(pipelines, "daily")
    folder = PipelineFolder(pipelines)
    folder.look()
    write(pipelines, "daily", f"# a comment\n{GOOD}")
    assert changes(folder) == []
    write(pipelines, "daily", GOOD.replace("close", "open"))
    assert changes(folder) == [("changed", "daily")]
    assert folder.pipelines["daily"].schedule == "open"


def test_a_file_that_breaks_is_told_at_the_second_look_once_and_keeps_its_pipeline(pipelines: Path) -> None:
    write(pipelines, "daily")
    folder = PipelineFolder(pipelines)
    folder.look()
    file = write(pipelines, "daily", "description = ")
    assert folder.look() == []  # an editor may be at it
    (edit,) = folder.look()
    assert (edit.change, edit.name) == ("broken", "daily")
    assert str(file) in edit.detail
    assert folder.look() == []
    assert folder.pipelines["daily"].schedule == "close"
    assert set(folder.broken) == {"daily"}
    write(pipelines, "daily", GOOD.replace("schedule", "shedule"))
    folder.look()
    (edit,) = folder.look()  # another fault is worth saying
    assert "shedule" in edit.detail
    write(pipelines, "daily")
    assert changes(folder) == [("mended", "daily")]
    assert not folder.broken


def test_a_file_that_was_never_good_is_told_at_the_first_look(pipelines: Path) -> None:
    write(pipelines, "daily", "nonsense")
    folder = PipelineFolder(pipelines)
    assert changes(folder) == [("broken", "daily")]
    assert not folder.pipelines


def test_a_notebook_that_goes_missing_breaks_its_pipeline(pipelines: Path) -> None:
    write(pipelines, "daily")
    folder = PipelineFolder(pipelines)
    folder.look()
    (pipelines / "one.ipynb").unlink()
    folder.look()
    assert changes(folder) == [("broken", "daily")]
    assert set(folder.pipelines) == {"daily"}


def test_a_file_that_an_editor_swaps_is_not_taken_for_removed(pipelines: Path) -> None:
    file = write(pipelines, "daily")
    folder = PipelineFolder(pipelines)
    folder.look()
    file.unlink()
    assert folder.look() == []
    write(pipelines, "daily")
    assert folder.look() == []
    file.unlink()
    folder.look()
    assert folder.look() == [Edit("removed", "daily")]
    assert not folder.pipelines


def test_a_folder_that_is_away_keeps_every_pipeline(pipelines: Path) -> None:
    write(pipelines, "daily")
    folder = PipelineFolder(pipelines)
    folder.look()
    away = pipelines.rename(pipelines.with_name("away"))
    folder.look()
    (edit,) = folder.look()
    assert (edit.change, edit.name) == ("broken", str(pipelines))
    assert set(folder.pipelines) == {"daily"}
    away.rename(pipelines)
    assert changes(folder) == [("mended", str(pipelines))]


def test_a_file_that_no_pipeline_can_be_named_after_is_told(pipelines: Path) -> None:
    write(pipelines, "My Job")
    write(pipelines, ".#daily")  # an editor's lock
    (edit,) = PipelineFolder(pipelines).look()
    assert (edit.change, edit.name) == ("broken", "My Job")
    assert "never runs" in edit.detail
