"""An installation in a folder of its own: the repository's pipelines and sample, everything else new."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
REPOSITORY = Path(__file__).resolve().parents[2]


def make_home(folder: Path) -> Path:
    """Lay out ``folder`` as a fresh clone would be, without the Python parts."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / "workbench.toml", folder)
    shutil.copytree(REPOSITORY / "pipelines", folder / "pipelines")
    shutil.copytree(REPOSITORY / "notebooks", folder / "notebooks")
    shutil.copytree(REPOSITORY / "data" / "sample", folder / "data" / "sample")
    return folder


def environment(**more: str) -> dict[str, str]:
    """The test's environment without any setting of the product in it."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("WORKBENCH_")}
    return {**clean, **more}


def workbench(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command in ``home`` as a user would, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "workbench.cli.main", *arguments],
        cwd=home, env=environment(**more), capture_output=True, text=True, timeout=300, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def start(home: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    """The same without waiting, in a process group of its own, so that the test can kill it."""
    return subprocess.Popen(
        [sys.executable, "-m", "workbench.cli.main", *arguments],
        cwd=home, env=environment(**more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def write_notebook(file: Path, *cells: str, parameters: str = "") -> Path:
    """A notebook of these code cells; ``parameters`` is the source of its tagged cell."""
    import nbformat

    made = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
    made.cells = [nbformat.v4.new_code_cell(source) for source in cells]
    if parameters:
        made.cells.insert(0, nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(nbformat.v4.writes(made) + "\n", encoding="utf-8")
    return file


def write_pipeline(home: Path, name: str, steps: dict[str, list[str]], *, more: str = "", step_more: str = "") -> Path:
    """A pipeline with a notebook per step; ``more`` are lines of the file, ``step_more`` of its last step."""
    lines = [f'description = "{name}"', more]
    for number, (step, cells) in enumerate(steps.items(), 1):
        write_notebook(home / "pipelines" / f"{name}_{step}.ipynb", *cells)
        lines += ["[[steps]]", f'name = "{step}"', f'notebook = "{name}_{step}.ipynb"']
        if number == len(steps):
            lines.append(step_more)
    file = home / "pipelines" / f"{name}.toml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file
