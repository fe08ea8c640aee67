"""What a job of the screen is on the command line: ``workbench run NOTEBOOK``, and nothing beside it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from workbench.errors import ParameterError
from workbench.settings import Settings

SESSION = "session"


def run_command(notebook: Path, parameters: Mapping[str, str], *, scheduled_at: datetime | None = None) -> list[str]:
    """The command of a job. ``parameters`` are the form's, as text; the one named ``session`` is the runner's.

    Raises
    ------
    ParameterError
        If a name or a value of the form could not reach the runner as it stands.

    Examples
    --------
    >>> run_command(Path("x.ipynb"), {"top": "3", "session": "2013-03-01"})[3:]
    ['run', 'x.ipynb', '--trigger=jupyter', '--session=2013-03-01', '--parameter=top=3']
    """
    command = [sys.executable, "-m", "workbench.cli.main", "run", str(notebook), "--trigger=jupyter"]
    if scheduled_at is not None:
        command.append(f"--scheduled-at={scheduled_at.isoformat()}")
    if SESSION in parameters:
        command.append(f"--session={parameters[SESSION]}")
    for name, value in parameters.items():
        if not name.isidentifier():
            raise ParameterError(f"{name!r} cannot be the name of a parameter")
        if "\0" in value:
            raise ParameterError(f"{name}: a value cannot hold a zero character")
        if name != SESSION:
            command.append(f"--parameter={name}={value}")
    return command


def run_environment(settings: Settings) -> dict[str, str]:
    """The server's environment, with this installation named."""
    return {**os.environ, "WORKBENCH_CONFIG": str(settings.config_file)}
