"""Opening a workbench: what a kernel has opened ahead is used once, for its own installation and run only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from support.homes import make_home

from workbench.app import open_ahead, open_workbench
from workbench.app.installation import ahead
from workbench.errors import ConfigError, DataError
from workbench.settings import load_settings


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("opening")
    made = make_home(folder / "one"), make_home(folder / "two")
    for home in made:
        wb = open_workbench(start=home, env={})
        wb.load_sample()
        assert wb.journal.read("SELECT 1 FROM runs") == []
        wb.close()
    return made


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    for part in (ahead.lake, ahead.journal):
        if part is not None:
            part.close()
    ahead.lake = ahead.journal = None


def test_what_was_opened_ahead_is_used_once(homes: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(homes[0])
    open_ahead()
    lake, journal = ahead.lake, ahead.journal
    assert lake is not None
    assert journal is not None
    first, second = open_workbench(env={}), open_workbench(env={})
    assert first.lake is lake
    assert first.journal is journal
    assert second.lake is not lake
    assert second.journal is not journal
    first.close()
    second.close()


def test_another_installation_gets_nothing_of_it(homes: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(homes[0])
    open_ahead()
    other = open_workbench(start=homes[1], env={})
    assert other.lake.folder.is_relative_to(homes[1])
    assert other.journal.file.is_relative_to(homes[1])
    other.close()


def test_a_run_that_nobody_knows_is_an_error_and_leaves_nothing_open(homes: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match="the journal has no run daily-x"):
        open_workbench(start=homes[0], env={"WORKBENCH_RUN": "daily-x"})
    with pytest.raises(ConfigError, match="2013-01-01"):
        open_workbench(session=date(2013, 1, 1), start=homes[0], env={})


def test_settings_are_those_of_the_file_and_the_environment_as_they_are(homes: tuple[Path, Path]) -> None:
    file = homes[1] / "workbench.toml"
    before = file.read_text()
    plain = load_settings(homes[1], {})
    assert load_settings(homes[1], {"WORKBENCH_JOBS__CELL_OUTPUT_KB": "7"}).jobs.cell_output_kb == 7
    plain.cleaning["spike"] = "somebody's own"
    assert load_settings(homes[1], {}).jobs.cell_output_kb == plain.jobs.cell_output_kb != 7
    assert load_settings(homes[1], {}).cleaning.get("spike") != "somebody's own"
    file.write_text(before.replace("\nburst = 10 ", "\nburst = 3 "))
    try:
        assert load_settings(homes[1], {}).throttle.burst == 3 != plain.throttle.burst
    finally:
        file.write_text(before)
