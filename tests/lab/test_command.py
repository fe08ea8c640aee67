"""What the form says reaches the runner as it stands, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from workbench.errors import ParameterError
from workbench.lab.command import run_command

NOTEBOOK = Path("/srv/wb/x.ipynb")


def arguments(parameters: dict[str, str], moment: datetime | None = None) -> list[str]:
    command = run_command(NOTEBOOK, parameters, scheduled_at=moment)
    assert command[1:5] == ["-m", "workbench.cli.main", "run", str(NOTEBOOK)]
    assert command[5] == "--trigger=jupyter"
    return command[6:]


def test_the_session_of_the_form_is_the_runners_and_the_rest_the_notebooks() -> None:
    assert arguments({"top": "3", "session": "2013-03-01"}) == ["--session=2013-03-01", "--parameter=top=3"]


def test_a_value_is_one_argument_whatever_is_in_it() -> None:
    assert arguments({"a": "-x = 'y' --amend; $(rm)\n"}) == ["--parameter=a=-x = 'y' --amend; $(rm)\n"]


def test_a_scheduled_job_says_for_which_moment() -> None:
    moment = datetime(2026, 3, 9, 19, 55, tzinfo=UTC)
    assert arguments({}, moment) == ["--scheduled-at=2026-03-09T19:55:00+00:00"]


@pytest.mark.parametrize("name", ["", "a b", "a=b", "-a", "1a"])
def test_a_name_that_could_be_read_as_another_is_refused(name: str) -> None:
    with pytest.raises(ParameterError, match="cannot be the name"):
        run_command(NOTEBOOK, {name: "1"})


def test_a_value_that_no_command_line_can_hold_is_refused() -> None:
    with pytest.raises(ParameterError, match="zero character"):
        run_command(NOTEBOOK, {"a": "1\x002"})
