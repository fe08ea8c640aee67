"""Where the screen's jobs run: in this interpreter, as every other run does."""

# jupyter-scheduler has no types:
# mypy: disable-error-code="misc"

from __future__ import annotations

import platform
import sys

from jupyter_scheduler.environments import EnvironmentManager
from jupyter_scheduler.models import RuntimeEnvironment

NAME = "workbench"
FORMATS = {"ipynb": "Notebook", "html": "HTML"}


class ThisEnvironment(EnvironmentManager):
    """Exactly one environment: the one that JupyterLab itself runs in."""

    def list_environments(self) -> list[RuntimeEnvironment]:
        label = f"workbench (Python {platform.python_version()})"
        return [
            RuntimeEnvironment(
                name=NAME,
                label=label,
                description="The environment that this JupyterLab runs in",
                file_extensions=["ipynb"],
                output_formats=list(FORMATS),
                metadata={"path": sys.executable},
            )
        ]

    def output_formats_mapping(self) -> dict[str, str]:
        return dict(FORMATS)

    def manage_environments_command(self) -> str:
        return ""
