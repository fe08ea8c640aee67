"""A home to try things in: the pipelines, settings and prices of an installation, and a paper account of its own.

Notebooks under test run here, so that they never touch the journal, the account or the reports of the user,
whatever broker the settings name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from workbench.errors import ConfigError, DataError
from workbench.jobs.files import write_atomically
from workbench.jobs.parameters import read_parameters
from workbench.jobs.pipelines import Pipeline, load_pipeline, pipeline_names
from workbench.jobs.promotion import lock_file, lock_table, pins, strategies_of
from workbench.jobs.promotion.tables import to_toml
from workbench.settings import CONFIG_NAME, Settings, load_settings

# What a notebook's result depends on. Not: where alerts go, and how a broker is reached.
_SECTIONS = ("calendar", "account", "costs", "exchange", "planner", "risk", "throttle", "reconcile")
# DuckDB's SQLite must not meet Python's in one process (see the lake), hence a process for the copy.
_COPY_CATALOG = """\
import sqlite3, sys
source = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, timeout=30)
target = sqlite3.connect(sys.argv[2])
source.backup(target)
target.close()
"""
_COPY_TIMEOUT_S = 120


def make_scratch(
    settings: Settings, folder: Path, pipelines: Path | None = None, *, with_lake: bool = True
) -> Settings:
    """Lay out ``folder`` as a home like that of ``settings``; returns its settings.

    Pipelines and their notebooks are copies (``pipelines`` names other ones), and count as promoted; the lake is
    the user's as of now, read through links, or an empty one; whatever else lies in the home is linked to.

    Raises
    ------
    DataError
        If the lake cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = (pipelines or settings.pipelines_dir).resolve()
    if source.is_dir():
        shutil.copytree(source, folder / "pipelines", ignore=shutil.ignore_patterns(".*"))
    (folder / "data").mkdir()
    _link_rest(settings, folder)
    if with_lake:
        _copy_lake(settings.lake_dir, folder / "data" / "lake")
    write_atomically(folder / CONFIG_NAME, to_toml(_configuration(settings)))
    made = load_settings(folder, {})
    for name in pipeline_names(made.pipelines_dir):
        _promote(name, made)
    return made


def copy_scratch(made: Settings, folder: Path) -> Settings:
    """A second home with the same content; nothing may be running in the first."""
    shutil.copytree(made.home, folder, symlinks=True, ignore=shutil.ignore_patterns("*-shm", ".*.part"))
    return load_settings(folder, {})


def default_session(pipeline: Pipeline) -> str | None:
    """The session that the notebooks of a pipeline name as their default."""
    for notebook in pipeline.notebooks:
        found = read_parameters(notebook).defaults.get("session")
        if found is not None:
            return str(found)
    return None


def command(*arguments: str) -> list[str]:
    """The command line of a ``workbench`` command, in this interpreter."""
    return [sys.executable, "-P", "-m", "workbench.cli.main", *arguments]


def load_sample(made: Settings) -> None:
    """Put the sample into the lake, if that is empty and there is a sample."""
    from workbench.data.lake import Lake
    from workbench.data.sample import load_sample as load

    with Lake(made.lake_dir) as lake:
        if lake.is_empty() and any(made.sample_dir.glob("wiki_*")):
            load(lake, made.sample_dir)


def _configuration(settings: Settings) -> dict[str, object]:
    values = settings.model_dump(mode="json", include=set(_SECTIONS), exclude_defaults=True)
    values.get("account", {}).pop("broker", None)
    values["paths"] = {
        "data": "data",
        "sample": str(settings.sample_dir.resolve()),
        "pipelines": "pipelines",
        "notebooks": str(settings.notebooks_dir.resolve()),
    }
    return values


def _link_rest(settings: Settings, folder: Path) -> None:
    taken = {path.name for path in folder.iterdir()} | {settings.config_file.name, CONFIG_NAME}
    own = {settings.data_dir.resolve(), settings.pipelines_dir.resolve()}
    for entry in settings.home.iterdir():
        if entry.name not in taken and not entry.name.startswith(".") and entry.resolve() not in own:
            (folder / entry.name).symlink_to(entry.resolve())


def _copy_lake(source: Path, target: Path) -> None:
    """The catalog as it stands, and a link to every file it names; the files themselves never change."""
    catalog = source / "catalog.sqlite"
    if not catalog.is_file():
        return
    target.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-I", "-c", _COPY_CATALOG, str(catalog.resolve()), str(target / catalog.name)],
        capture_output=True, text=True, timeout=_COPY_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        why = done.stderr.strip().splitlines()
        raise DataError(f"the lake in {source} cannot be copied: {why[-1] if why else done.returncode}")
    files = source.resolve() / "files"
    for folder, _, names in os.walk(files):
        here = target / "files" / Path(folder).relative_to(files)
        here.mkdir(parents=True, exist_ok=True)
        for name in names:
            (here / name).symlink_to(Path(folder) / name)


def _promote(name: str, made: Settings) -> None:
    """Let the runner of this home accept a pipeline as it is; a broken one is found when it is run."""
    try:
        pipeline = load_pipeline(name, made.pipelines_dir)
        pinned = pins(pipeline, made, strategies_of(pipeline))
    except ConfigError:
        return
    write_atomically(lock_file(pipeline), to_toml(lock_table(pipeline, pinned)))
