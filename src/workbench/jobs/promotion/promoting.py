"""``workbench promote``: a pipeline is linted, tested and looked over for look-ahead, and then pinned.

Everything is tried on a copy. Only if all of it holds is anything written: for a notebook that is no pipeline yet
its copy and the pipeline's file, and always ``pipelines/NAME.lock``. The lock is committed with git; its difference
shows cell by cell what was promoted.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.clock import Clock
from workbench.errors import ConfigError, JobError
from workbench.jobs.binding import bind
from workbench.jobs.files import write_atomically
from workbench.jobs.lint import lint
from workbench.jobs.nbtest import NotebookTest, run_tests
from workbench.jobs.parameters import read_cells, read_parameters, source_of
from workbench.jobs.pipelines import Pipeline, load_pipeline, pipeline_names
from workbench.jobs.promotion import Pins, code_of, differences, lock_file, lock_table, pins, read_pins, strategies_of
from workbench.jobs.promotion.tables import to_toml
from workbench.jobs.provenance import provenance
from workbench.research.honesty.lookahead import Lookahead, check_lookahead
from workbench.settings import Settings

if TYPE_CHECKING:
    from workbench.data.bars import Bars

_HEAD = """\
# Written by `workbench promote {name}`, to be committed with the pipeline: production runs what this names, and
# nothing else. After a change, promote it again.

"""
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_SHOWN = 5  # violations that a message spells out
# A look-ahead shows on a few symbols as well as on all.
_MOST_SYMBOLS = 50


@dataclass(frozen=True)
class Promotion:
    """What a promotion did. ``changed`` says what differs from the one before; nothing is ``written`` without one."""

    pipeline: str
    digest: str
    lock: Path
    written: tuple[Path, ...] = ()
    changed: tuple[str, ...] = ()
    tests: tuple[NotebookTest, ...] = ()
    lookahead: Mapping[str, Lookahead] = field(default_factory=dict)

    @property
    def unchanged(self) -> bool:
        return not self.written


def promote(
    target: str,
    settings: Settings,
    *,
    clock: Clock,
    who: str,
    name: str | None = None,
    schedule: str | None = None,
    orders: bool = False,
    workers: int = 2,
    cancel: threading.Event | None = None,
    on_result: Callable[[NotebookTest], None] = lambda result: None,
) -> Promotion:
    """Test a pipeline as it stands and pin it; a notebook becomes a pipeline first.

    Parameters
    ----------
    target
        The name of a pipeline, or the path of a notebook.
    name, schedule, orders
        Of the new pipeline; a pipeline that exists has them in its file.
    who
        Whose word it is, for the record.

    Raises
    ------
    ConfigError
        If there is no such pipeline or notebook, or a name, value or parameter is wrong.
    JobError
        If a rule, a test or the look-ahead check fails. Nothing was written.
    RunCancelled
        If ``cancel`` was set.
    """
    with tempfile.TemporaryDirectory(prefix="wb-promote-") as folder:
        stage = Path(folder).resolve() / "pipelines"
        staged = settings.model_copy(update={"paths": settings.paths.model_copy(update={"pipelines": stage})})
        try:
            candidate = _stage(target, settings, stage, name, schedule, orders)
        except ConfigError as error:  # the copy is nobody's business
            message = error.message.replace(str(stage), str(settings.pipelines_dir))
            raise type(error)(message, hint=error.hint) from error
        pipeline = candidate.pipeline
        pinned = pins(pipeline, staged, strategies_of(pipeline))
        lock = settings.pipelines_dir / f"{pipeline.name}.lock"
        changed = _changed(lock, pinned)
        if not changed and not candidate.new:
            return Promotion(pipeline.name, pinned.digest, lock)
        _lint(pipeline)
        check = _Lookaheads(pipeline, settings)
        tests = run_tests(
            list(dict.fromkeys(pipeline.notebooks)), settings, pipelines=stage, workers=workers, cancel=cancel,
            on_result=on_result, on_home=check,
        )  # fmt: skip
        if failed := [f"{test.notebook.name}{_where(test)}: {test.reason}" for test in tests if not test.passed]:
            raise _refusal(pipeline, failed)
        _require_unchanged(candidate, settings, pinned)
        record = _record(pipeline, pinned, settings, clock, who, tests, check)
        written = _write(settings.pipelines_dir, stage, candidate.new, lock, record)
    return Promotion(pipeline.name, pinned.digest, lock, written, tuple(changed), tuple(tests), check.found)


# ---- what is promoted ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Candidate:
    """A pipeline in the stage, the files that the stage has new for it, and the notebook they were made of."""

    pipeline: Pipeline
    new: tuple[str, ...] = ()
    source: Path | None = None


def _stage(
    target: str, settings: Settings, stage: Path, name: str | None, schedule: str | None, orders: bool
) -> _Candidate:
    """Copy the pipelines, and add the one to promote if it is new."""
    if settings.pipelines_dir.is_dir():
        shutil.copytree(settings.pipelines_dir, stage, ignore=shutil.ignore_patterns(".*"))
    stage.mkdir(exist_ok=True)
    notebook = _notebook(target, settings)
    owner = target if notebook is None else _owner(notebook, settings)
    if notebook is None or owner is not None:
        assert owner is not None
        pipeline = load_pipeline(owner, stage)
        if name is not None or schedule is not None or orders:
            raise ConfigError(f"{owner} is a pipeline already", hint=f"change {settings.pipelines_dir / owner}.toml")
        return _Candidate(pipeline)
    made = _name(notebook, name)
    copy, file = settings.pipelines_dir / f"{made}.ipynb", settings.pipelines_dir / f"{made}.toml"
    if file.is_file():
        if schedule is not None or orders:
            raise ConfigError(f"pipeline {made} exists already", hint=f"change {file}, or choose another --name")
        _check_copy(load_pipeline(made, settings.pipelines_dir), notebook, copy)
        new: tuple[str, ...] = () if copy.read_bytes() == notebook.read_bytes() else (copy.name,)
    else:
        if copy.exists() and copy.resolve() != notebook:
            raise ConfigError(f"{copy} exists already", hint="choose another --name")
        new = (file.name,) if copy.resolve() == notebook else (copy.name, file.name)
        step = {"name": made, "notebook": copy.name, "timeout_s": 3600, "orders": orders}
        table = {"description": _title(notebook), "calendar": settings.calendar, "schedule": schedule, "steps": [step]}
        (stage / file.name).write_text(to_toml(table), encoding="utf-8")
    shutil.copyfile(notebook, stage / copy.name)
    return _Candidate(load_pipeline(made, stage), new, notebook)


def _notebook(target: str, settings: Settings) -> Path | None:
    """The notebook that is meant; None for the name of a pipeline."""
    if not target.endswith(".ipynb"):
        return None
    for folder in (Path.cwd(), settings.home, settings.notebooks_dir):
        if (folder / target).is_file():
            return (folder / target).resolve()
    raise ConfigError(f"no notebook {target}", hint="name it as notebooks/mine.ipynb, or name a pipeline")


def _owner(notebook: Path, settings: Settings) -> str | None:
    """The pipeline that a notebook is a step of."""
    owners = []
    for name in pipeline_names(settings.pipelines_dir):
        try:
            pipeline = load_pipeline(name, settings.pipelines_dir)
        except ConfigError:
            continue  # a broken one owns nothing
        if notebook in {path.resolve() for path in pipeline.notebooks}:
            owners.append(name)
    if len(owners) > 1:
        raise ConfigError(f"{notebook.name} is a step of {' and '.join(owners)}", hint="promote these by name")
    return owners[0] if owners else None


def _name(notebook: Path, name: str | None) -> str:
    made = re.sub(r"[^a-z0-9_-]+", "_", notebook.stem.lower()).lstrip("0123456789_-") if name is None else name
    if not _NAME.fullmatch(made):
        rule = "up to 32 of a-z, 0-9, _ and -, beginning with a letter"
        raise ConfigError(f"{made!r} cannot be the name of a pipeline: it is {rule}", hint="give another --name")
    return made


def _title(notebook: Path) -> str:
    cells = read_cells(notebook)
    first = source_of(cells[0]).strip().splitlines() if cells else []
    return first[0].lstrip("# ") if first else notebook.stem


def _check_copy(pipeline: Pipeline, notebook: Path, copy: Path) -> None:
    """A pipeline made of this notebook may get it anew, unless its copy was worked on."""
    if [path.resolve() for path in pipeline.notebooks] != [copy.resolve()]:
        raise ConfigError(f"pipeline {pipeline.name} exists already", hint="choose another --name")
    try:
        (then,) = read_pins(lock_file(pipeline)).steps.values()
    except (ConfigError, ValueError):
        then = None
    if then is None or then.sha256 != code_of(copy).sha256:
        raise ConfigError(
            f"{copy} is not as it was promoted, and {notebook.name} would replace it",
            hint=f"promote it with `workbench promote {pipeline.name}`, or remove it",
        )


# ---- what has to hold ------------------------------------------------------------------------------


def _lint(pipeline: Pipeline) -> None:
    broken = [str(violation) for path in dict.fromkeys(pipeline.notebooks) for violation in lint(path, is_job=True)]
    for step in pipeline.steps:
        says = _says_orders(pipeline.notebook_path(step))
        if says is not None and says != step.orders:
            title, file = "yes" if says else "no", str(step.orders).lower()
            broken.append(
                f"{step.notebook}: its title says 'places orders: {title}', but step {step.name} has orders = {file}"
            )
    if broken:
        raise _refusal(pipeline, broken)
    bind(pipeline, {step.name: read_parameters(pipeline.notebook_path(step)) for step in pipeline.steps}, {})


def _says_orders(notebook: Path) -> bool | None:
    found = re.search(r"places orders\W{1,6}(yes|no)\b", source_of(read_cells(notebook)[0]), re.IGNORECASE)
    return None if found is None else found[1].lower() == "yes"


class _Lookaheads:
    """The look-ahead check of a pipeline's strategies, on the prices that its notebooks were tested on."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self.found: dict[str, Lookahead] = {}
        self.snapshot: int | None = None
        self._pipeline = pipeline
        self._has_lake = (settings.lake_dir / "catalog.sqlite").is_file()

    def __call__(self, home: Settings) -> None:
        from workbench.data.lake import Lake
        from workbench.strategies import load

        names = strategies_of(self._pipeline)
        with Lake(home.lake_dir) as lake:
            if self._has_lake:  # else the sample is tested on, and its number means nothing here
                self.snapshot = lake.snapshot()
            bars = self._bars(lake) if names else None
        for name in names:
            assert bars is not None
            look = check_lookahead(load(name, self._pipeline.strategies.get(name, {})), bars)
            if look.fault:
                raise _refusal(self._pipeline, [f"strategy {name}: {look.fault}"])
            self.found[name] = look

    def _bars(self, lake: Any) -> Bars:
        asked = self._pipeline.parameters.get("symbols")
        for notebook in self._pipeline.notebooks:
            asked = asked or read_parameters(notebook).defaults.get("symbols")
        symbols = [str(symbol) for symbol in asked] if isinstance(asked, list) else lake.symbols()
        bars: Bars = lake.bars(symbols[:_MOST_SYMBOLS], adjustment="total")
        return bars


def _refusal(pipeline: Pipeline, faults: Sequence[str]) -> JobError:
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    listed = "; ".join(faults[:_SHOWN])
    return JobError(f"{pipeline.name} is not promoted: {listed}{more}", hint="nothing was written")


def _where(test: NotebookTest) -> str:
    return "" if test.cell is None else f", cell [{test.cell}]"


def _require_unchanged(candidate: _Candidate, settings: Settings, pinned: Pins) -> None:
    """What was tested is still what is there: somebody may have worked on it meanwhile."""
    pipeline = candidate.pipeline
    if candidate.source is None:
        pipeline = load_pipeline(pipeline.name, settings.pipelines_dir)
    dirty, drift = differences(pinned, pins(pipeline, settings, strategies_of(candidate.pipeline)))
    if candidate.source is not None and code_of(candidate.source).sha256 != code_of(pipeline.notebooks[0]).sha256:
        dirty.append(f"{candidate.source.name} is another one")
    if dirty or drift:
        raise JobError(
            f"{pipeline.name} was changed while it was tested: {', '.join([*dirty, *drift])}", hint="promote it again"
        )


# ---- writing ---------------------------------------------------------------------------------------


def _changed(lock: Path, now: Pins) -> list[str]:
    """What differs from the promotion before; a sentence if there was none."""
    if not lock.is_file():
        return ["promoted for the first time"]
    try:
        then = read_pins(lock)
    except ConfigError as error:
        return [str(error)]
    dirty, drift = differences(then, now)
    gone = [f"strategy {name} is not used any more" for name in then.strategies if name not in now.strategies]
    return [*dirty, *drift, *gone]


def _record(
    pipeline: Pipeline, pinned: Pins, settings: Settings, clock: Clock, who: str, tests: Sequence[NotebookTest],
    check: _Lookaheads,
) -> str:  # fmt: skip
    source = provenance(settings.home, {})
    table = lock_table(pipeline, pinned)
    table["promoted"] = {
        "by": who,
        "at": clock.now().isoformat(timespec="seconds"),
        "git_commit": source["git_commit"],
        "git_dirty": source["git_dirty"],
        "python": source["python"],
        "data_snapshot": check.snapshot,
    }
    table["tests"] = [
        {"notebook": test.notebook.name, "cells": test.cells, "compared": test.compared, "seconds": test.seconds}
        for test in tests
    ]
    table["lookahead"] = {
        name: {
            "sessions": look.sessions,
            "cuts": look.cuts,
            "futures": look.futures,
            "parameter_sets": len(look.parameters),
            "markets": list(look.markets),
            "not_exercised": list(look.paths.missed),
            "cautions": list(look.cautions),
        }
        for name, look in check.found.items()
    }
    return _HEAD.format(name=pipeline.name) + to_toml(table)


def _write(folder: Path, stage: Path, new: tuple[str, ...], lock: Path, record: str) -> tuple[Path, ...]:
    """The lock last: until it is there, the pipeline is not promoted. What was there before comes back on an error."""
    files = [folder / name for name in new]
    before = {file: file.read_text(encoding="utf-8") if file.is_file() else None for file in files}
    try:
        for file in before:
            write_atomically(file, (stage / file.name).read_text(encoding="utf-8"))
        write_atomically(lock, record)
    except BaseException:
        for file, text in before.items():
            if text is None:
                file.unlink(missing_ok=True)
            else:
                write_atomically(file, text)
        raise
    return (*before, lock)
