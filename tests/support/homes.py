"""An installation in a folder of its own: the repository's pipelines and sample, everything else new."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
REPOSITORY = Path(__file__).resolve().parents[2]


# What a first command makes and every later one finds: computed once, for all the homes of a process.
_SEED = """
import sys
from pathlib import Path
from workbench.calendars import calendar
from workbench.data.lake import Lake
from workbench.data.sample import load_sample
from workbench.jobs.notebooks import prepare

home = Path(sys.argv[1])
calendar("XNYS", cache=home / "data" / "cache")
prepare(home / "data" / "cache")
with Lake(home / "data" / "lake") as lake:
    load_sample(lake, home / "data" / "sample")
"""


def make_home(folder: Path, *, loaded: bool = False, cold: bool = False) -> Path:
    """Lay out ``folder`` as a fresh clone would be, without the Python parts.

    Calendars and compiled templates are there, as after a first command, unless it is ``cold``; and the sample is in
    the lake, as after ``workbench data load``, if it is ``loaded``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / "workbench.toml", folder)
    shutil.copytree(REPOSITORY / "pipelines", folder / "pipelines")
    shutil.copytree(REPOSITORY / "notebooks", folder / "notebooks")
    shutil.copytree(REPOSITORY / "data" / "sample", folder / "data" / "sample")
    for name in ([] if cold else ["cache"]) + (["lake"] if loaded else []):
        shutil.copytree(_seed() / "data" / name, folder / "data" / name)
    return folder


def forget_seed() -> None:
    """Remove what was computed for the homes of this process, if it was."""
    if _seed.cache_info().currsize:
        shutil.rmtree(_seed().parent)
        _seed.cache_clear()


@lru_cache(maxsize=1)
def _seed() -> Path:
    home = make_home(Path(tempfile.mkdtemp(prefix="workbench-seed-")) / "home", cold=True)
    subprocess.run([sys.executable, "-c", _SEED, str(home)], env=environment(), check=True)
    return home


def environment(**more: str) -> dict[str, str]:
    """The test's environment without any setting of the product in it."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("WORKBENCH_")}
    return {**clean, **more}


def workbench(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command in ``home`` as a user would, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "workbench.cli.main", *arguments],
        cwd=home, env=environment(**more), capture_output=True, text=True, timeout=900, check=False,
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
