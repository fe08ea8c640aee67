"""``workbench lab``: JupyterLab on this installation."""

from __future__ import annotations

import os
import sys

import typer


def register(app: typer.Typer) -> None:
    app.command("lab", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(lab)


def lab(context: typer.Context) -> None:
    """Start JupyterLab in the workbench folder; further options go to `jupyter lab`."""
    from workbench.settings import load_settings

    settings = load_settings()
    # The notebooks find the same configuration wherever they are opened from.
    environment = {**os.environ, "WORKBENCH_CONFIG": str(settings.config_file)}
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={settings.home}", *context.args]
    sys.stdout.flush()
    os.execve(sys.executable, command, environment)  # JupyterLab takes this process over, signals included
