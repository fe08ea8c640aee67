"""``workbench lab``: JupyterLab on this installation."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from workbench.settings import Settings


def register(app: typer.Typer) -> None:
    app.command("lab", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(lab)


def lab(context: typer.Context) -> None:
    """Start JupyterLab in the workbench folder; further options go to `jupyter lab`."""
    from workbench.settings import load_settings

    settings = load_settings()
    command = [sys.executable, "-m", "jupyterlab", *options(settings), *context.args]
    sys.stdout.flush()
    # JupyterLab takes this process over, signals included
    os.execve(sys.executable, command, {**os.environ, **environment(settings)})


def options(settings: Settings) -> list[str]:
    """What a user's own Jupyter configuration cannot change here: notebook jobs go through our runner."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return [
        f"--ServerApp.root_dir={settings.home}",
        "--SchedulerApp.scheduler_class=workbench.lab.scheduler.LedgerScheduler",
        "--SchedulerApp.environment_manager_class=workbench.lab.environments.ThisEnvironment",
        "--SchedulerApp.job_files_manager_class=workbench.lab.files.LedgerFiles",
        f"--SchedulerApp.db_url=sqlite:///{settings.data_dir / 'jupyter_scheduler.sqlite'}",
    ]


def environment(settings: Settings) -> dict[str, str]:
    """The notebooks find the same configuration wherever they are opened from, and nobody asks about Jupyter's news.

    The folder named here comes before the user's own on Jupyter's search path, which otherwise stays as it is.
    """
    own = Path(__file__).parents[1] / "lab" / "jupyter"
    path = [str(own), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    return {"WORKBENCH_CONFIG": str(settings.config_file), "JUPYTER_CONFIG_PATH": os.pathsep.join(path)}
