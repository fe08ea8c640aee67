"""What production may run: a pipeline whose notebooks, values and strategies are those that were promoted.

``workbench promote`` (:mod:`workbench.jobs.promotion.promoting`) tests them and writes ``pipelines/NAME.lock``; the
runner asks :func:`require` before it claims a run. Only what is executed counts: saving a notebook with other outputs,
or a change of a comment in the pipeline's file, leaves it promoted.
"""

from __future__ import annotations

import ast
import hashlib
import json
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import workbench
from workbench.errors import ConfigError
from workbench.jobs.parameters import read_cells, read_parameters, source_of
from workbench.jobs.pipelines import Pipeline, Step
from workbench.settings import Settings, toml

FORMAT = 1
_SHORT = 12  # characters of a hash that tells cells and values apart for a person
_NAMED = 4  # differences that a message spells out


@dataclass(frozen=True, slots=True)
class Code:
    """What a notebook executes: ``sha256`` of it all, and a short hash of each code cell that is not empty."""

    notebook: str
    sha256: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pins:
    """Everything that a promotion holds fast."""

    values: Mapping[str, str]  # key of the pipeline's file -> short hash of its value
    steps: Mapping[str, Code]
    strategies: Mapping[str, str]
    workbench: str
    requirements: str  # SHA-256 of requirements.lock, empty if there is none

    @property
    def digest(self) -> str:
        """SHA-256 of all of it: the name under which a promotion appears in a run's provenance."""
        steps = {name: [code.notebook, code.sha256] for name, code in self.steps.items()}
        return _sha256([self.values, steps, self.strategies, self.workbench, self.requirements])


def require(
    pipeline: Pipeline, settings: Settings, *, allow_dirty: bool, strategies: Collection[str] = ()
) -> dict[str, Any]:
    """Refuse a pipeline that is not promoted as it stands.

    Parameters
    ----------
    allow_dirty
        Run it all the same. Only where no money is at stake: never on a live address.
    strategies
        Names of strategies that the run was told to use, beside those that the pipeline names.

    Returns
    -------
    For the run's provenance: ``promoted`` (the promotion's digest, None if something differs), ``dirty`` (what
    differs), ``drift`` (package or lock file other than at the promotion, tolerated on paper) and ``code`` (SHA-256
    of each step's code; see :func:`require_same`).

    Raises
    ------
    ConfigError
        If it was never promoted, or a notebook, a value or a strategy differs: the message names what, and the ways
        out.
    """
    live = is_live(settings)
    if allow_dirty and live:
        raise ConfigError(
            f"--allow-dirty is for paper: account {settings.account.name} trades at {settings.alpaca.base_url}",
            hint=f"`workbench promote {pipeline.name}` tests and pins what is there",
        )
    now = pins(pipeline, settings, strategies)
    promoted, dirty, drift = _compare(pipeline, now)
    harmless = not _has_file(pipeline) and not live and not any(step.orders for step in pipeline.steps)
    if dirty and not allow_dirty and not harmless:
        raise ConfigError(f"pipeline {pipeline.name} is not promoted: {_listed(dirty)}", hint=_way_out(pipeline, live))
    if drift and live:
        raise ConfigError(
            f"pipeline {pipeline.name} was promoted with another installation: {_listed(drift)}",
            hint=_way_out(pipeline, live),
        )
    code = {name: step.sha256 for name, step in now.steps.items()}
    return {"promoted": None if dirty else promoted, "dirty": dirty, "drift": drift, "code": code}


def require_same(pipeline: Pipeline, step: Step, code: Mapping[str, str]) -> None:
    """Refuse a step whose notebook has changed since :func:`require` looked at it.

    Raises
    ------
    ConfigError
        If it has.
    """
    if code_of(pipeline.notebook_path(step)).sha256 != code.get(step.name):
        raise ConfigError(f"{step.notebook} was changed while the run was under way", hint=_way_out(pipeline, True))


def pins(pipeline: Pipeline, settings: Settings, strategies: Collection[str] = ()) -> Pins:
    """What a promotion of the pipeline would hold fast now."""
    used = {*pipeline.strategies, *strategies}
    chosen = pipeline.parameters.get("strategy")
    if isinstance(chosen, str):
        used.add(chosen)
    values = pipeline.model_dump(mode="json", exclude={"name", "file", "description"}, exclude_unset=True)
    lock = settings.home / "requirements.lock"
    return Pins(
        values={key: _sha256(value)[:_SHORT] for key, value in sorted(values.items())},
        steps={step.name: code_of(pipeline.notebook_path(step)) for step in pipeline.steps},
        strategies={name: strategy_sha256(name) for name in sorted(used)},
        workbench=workbench.__version__,
        requirements=hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else "",
    )


def strategies_of(pipeline: Pipeline) -> list[str]:
    """The strategies that a pipeline can use: those its file names, and those its notebooks have as a default.

    Raises
    ------
    ParameterError
        If a notebook's parameters cannot be read.
    """
    names = [pipeline.parameters.get("strategy"), *pipeline.strategies]
    names += [read_parameters(notebook).defaults.get("strategy") for notebook in pipeline.notebooks]
    return sorted({str(name) for name in names if name is not None})


def code_of(notebook: Path) -> Code:
    """What a notebook executes: sources and tags of its code cells, without outputs, counts and empty cells.

    Raises
    ------
    ParameterError
        If it is not a notebook.
    """
    cells = []
    for cell in read_cells(notebook):
        source = source_of(cell).replace("\r\n", "\n").rstrip()
        if cell.get("cell_type") == "code" and source:
            tags = sorted(str(tag) for tag in cell.get("metadata", {}).get("tags", []))
            cells.append(_sha256([source, tags]))
    return Code(notebook.name, _sha256(cells), tuple(cell[:_SHORT] for cell in cells))


def strategy_sha256(name: str) -> str:
    """SHA-256 of a strategy's source and of what it imports from its folder; empty if there is no such strategy."""
    from workbench import strategies

    for folder in map(Path, strategies.__path__):
        if (folder / f"{name}.py").is_file():
            sources: dict[str, str] = {}
            _collect(folder, name, sources)
            return _sha256(sources)
    return ""


def is_live(settings: Settings) -> bool:
    """Whether orders of this installation could cost money."""
    from workbench.brokers.alpaca.access import require_allowed

    if settings.account.broker == "paper":
        return False
    try:
        require_allowed(settings.alpaca.model_copy(update={"armed_account": ""}), settings.account.name)
    except ConfigError:
        return True
    return False


def lock_file(pipeline: Pipeline) -> Path:
    """Where a pipeline's promotion is written: beside its file, for git."""
    return pipeline.file.with_suffix(".lock")


def read_pins(file: Path) -> Pins:
    """What the promotion in ``file`` holds fast.

    Raises
    ------
    ConfigError
        If it is no promotion, or not as it was written.
    """
    try:
        lock = toml(file.read_text(encoding="utf-8"))
        found = Pins(
            values=lock["values"],
            steps={s["name"]: Code(s["notebook"], s["code_sha256"], tuple(s["cells"])) for s in lock["steps"]},
            strategies=lock.get("strategies", {}),
            workbench=lock["workbench"],
            requirements=lock["requirements_sha256"],
        )
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file.name} cannot be read: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{file.name} is not complete") from error
    if lock.get("format") != FORMAT or lock.get("digest") != found.digest:
        raise ConfigError(f"{file.name} is not as `workbench promote` wrote it")
    return found


def lock_table(pipeline: Pipeline, pinned: Pins) -> dict[str, Any]:
    """The pinned part of the lock file, to be written by :func:`workbench.jobs.promotion.tables.to_toml`."""
    return {
        "format": FORMAT,
        "pipeline": pipeline.name,
        "digest": pinned.digest,
        "workbench": pinned.workbench,
        "requirements_sha256": pinned.requirements,
        "values": dict(pinned.values),
        "strategies": dict(pinned.strategies),
        "steps": [
            {"name": name, "notebook": code.notebook, "code_sha256": code.sha256, "cells": list(code.cells)}
            for name, code in pinned.steps.items()
        ],
    }


def differences(then: Pins, now: Pins) -> tuple[list[str], list[str]]:
    """What differs in what is run, and what in the installation that runs it; a sentence each."""
    dirty = []
    for key in sorted(then.values.keys() | now.values.keys()):
        if then.values.get(key) != now.values.get(key):
            dirty.append(f"{key} in the pipeline's file differs")
    for step in dict.fromkeys([*then.steps, *now.steps]):
        dirty += _step(step, then.steps.get(step), now.steps.get(step))
    for name, sha256 in now.strategies.items():
        if name not in then.strategies:
            dirty.append(f"strategy {name} is not part of the promotion")
        elif not sha256:
            dirty.append(f"strategy {name} is gone")
        elif then.strategies[name] != sha256:
            dirty.append(f"strategy {name} has other source")
    drift = []
    if then.workbench != now.workbench:
        drift.append(f"workbench {now.workbench} instead of {then.workbench}")
    if then.requirements != now.requirements:
        drift.append("another requirements.lock" if now.requirements else "there is no requirements.lock")
    return dirty, drift


def _compare(pipeline: Pipeline, now: Pins) -> tuple[str | None, list[str], list[str]]:
    """Digest of the promotion, if there is one, and what differs from it."""
    file = lock_file(pipeline)
    if not _has_file(pipeline):
        return None, [f"{', '.join(step.notebook for step in pipeline.steps)} is no pipeline"], []
    if not file.is_file():
        return None, [f"there is no {file.name}"], []
    try:
        then = read_pins(file)
    except ConfigError as error:
        return None, [str(error)], []
    # a strategy that only a notebook's default names is known from the promotion: the notebook is pinned
    more = {name: strategy_sha256(name) for name in then.strategies if name not in now.strategies}
    known = Pins(now.values, now.steps, {**now.strategies, **more}, now.workbench, now.requirements)
    return then.digest, *differences(then, known)


def _has_file(pipeline: Pipeline) -> bool:
    """Whether it is one of the pipelines' folder, and not a single notebook that somebody runs."""
    return pipeline.file.is_file() and pipeline.file.stem == pipeline.name


def _step(step: str, then: Code | None, now: Code | None) -> Iterator[str]:
    if then is None or now is None:
        yield f"step {step} is {'new' if then is None else 'gone'}"
    elif then.sha256 != now.sha256:
        if len(then.cells) != len(now.cells):
            yield f"{now.notebook} has {len(now.cells)} code cells instead of {len(then.cells)}"
            return
        pairs = zip(then.cells, now.cells, strict=True)
        changed = [f"[{number}]" for number, (old, new) in enumerate(pairs, 1) if old != new]
        yield f"{now.notebook} has another cell {', '.join(changed)}"


def _way_out(pipeline: Pipeline, live: bool) -> str:
    target = pipeline.name if _has_file(pipeline) else pipeline.notebook_path(pipeline.steps[0])
    promote = f"`workbench promote {target}` tests and pins what is there"
    return promote if live else f"{promote}; --allow-dirty runs it all the same, on paper only"


def _listed(sentences: list[str]) -> str:
    more = f" and {len(sentences) - _NAMED} more" if len(sentences) > _NAMED else ""
    return f"{', '.join(sentences[:_NAMED])}{more}"


def _collect(folder: Path, name: str, sources: dict[str, str]) -> None:
    """Put the source of a module of the strategies' folder, and of those it imports from there, into ``sources``."""
    file = folder / f"{name}.py"
    if name in sources or name == "base" or not file.is_file():
        return
    sources[name] = file.read_text(encoding="utf-8")
    for imported in _imported(sources[name]):
        _collect(folder, imported, sources)


@lru_cache(maxsize=256)
def _imported(source: str) -> tuple[str, ...]:
    """The modules of the strategies' folder that a source imports; a replay asks again for every session."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ()  # the hash of what cannot be imported is as good as any: the promotion's tests refuse it
    return tuple(imported for node in ast.walk(tree) for imported in _imports(node))


def _imports(node: ast.AST) -> Iterator[str]:
    package = "workbench.strategies"
    if isinstance(node, ast.ImportFrom):
        module = f"{package}.{node.module or ''}".rstrip(".") if node.level else node.module or ""
        if module == package:
            yield from (alias.name for alias in node.names)
        elif module.startswith(f"{package}."):
            yield module.removeprefix(f"{package}.").split(".")[0]
    elif isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.startswith(f"{package}."):
                yield alias.name.removeprefix(f"{package}.").split(".")[0]


def _sha256(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
