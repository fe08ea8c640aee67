"""Pipelines: what runs each session, written as ``pipelines/NAME.toml``, checked before anything starts."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from workbench.errors import ConfigError, nearest

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_SCHEDULE = re.compile(r"(open|close)(?:\s*([+-])\s*(\d+)\s*(min|h))?")
_CELLS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("a name is up to 32 of a-z, 0-9, _ and -, beginning with a letter")
    return name


def _check_notebook(notebook: str) -> str:
    path = PurePosixPath(notebook)
    if path.is_absolute() or ".." in path.parts or "\\" in notebook or path.suffix != ".ipynb":
        raise ValueError("a notebook is an .ipynb file inside the pipelines folder, named relative to it")
    return notebook


def _check_schedule(text: str) -> str:
    found = _SCHEDULE.fullmatch(text.strip())
    if not found:
        raise ValueError("a schedule is open or close, and may add or take time: close + 30min, open - 1h")
    anchor, sign, count, unit = found.groups()
    return f"{anchor} {sign} {count}{unit}" if sign else anchor


def _check_parameters(values: dict[str, object]) -> dict[str, object]:
    for name in values:
        if not _CELLS.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of a parameter")
    return values


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Step(_Model):
    """One notebook of a pipeline. ``orders`` says that it may place orders; a step that may not, cannot."""

    name: Annotated[str, AfterValidator(_check_name)]
    notebook: Annotated[str, AfterValidator(_check_notebook)]
    timeout_s: Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False, strict=True)] = 3600.0
    orders: Annotated[bool, Field(strict=True)] = False


class Pipeline(_Model):
    """A job: its calendar, when it runs, values for the notebooks' parameters, and its steps in order.

    ``strategies`` holds, by name, the parameters of each strategy that the pipeline may be told to use.
    """

    name: Annotated[str, AfterValidator(_check_name)]
    file: Path
    description: str
    calendar: Annotated[str, Field(pattern=r"^[A-Z0-9/]{3,8}$")] = "XNYS"
    schedule: Annotated[str, AfterValidator(_check_schedule)] | None = None
    parameters: Annotated[dict[str, object], AfterValidator(_check_parameters)] = {}
    strategies: dict[str, dict[str, object]] = {}
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]

    def notebook_path(self, step: Step) -> Path:
        """The notebook file of a step."""
        return self.file.parent / step.notebook

    @property
    def notebooks(self) -> tuple[Path, ...]:
        """The notebook files of all steps, in order."""
        return tuple(self.notebook_path(step) for step in self.steps)


def pipeline_names(folder: Path) -> list[str]:
    """The pipelines in a folder, sorted."""
    return sorted(file.stem for file in folder.glob("*.toml") if _NAME.fullmatch(file.stem))


def load_pipeline(name: str, folder: Path) -> Pipeline:
    """Read and check ``folder/name.toml``.

    Raises
    ------
    ConfigError
        If there is no such pipeline (the nearest is named), or something in the file is wrong: the message
        names file, line and key.
    """
    file = folder / f"{name}.toml"
    if not _NAME.fullmatch(name) or not file.is_file():
        raise ConfigError(f"no pipeline {name!r} in {folder}", hint=nearest(name, pipeline_names(folder)))
    try:
        text = file.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error
    for key in ("name", "file"):
        if key in values:
            raise ConfigError(f"{file}, {_line(text, [key])}: unknown key {key!r}", hint="the file's name is the name")
    try:
        pipeline = Pipeline(name=name, file=file, **values)
    except ValidationError as error:
        raise ConfigError(_describe(error, file, text)) from error
    _check_steps(pipeline, text)
    return pipeline


def _check_steps(pipeline: Pipeline, text: str) -> None:
    """What one step alone cannot know: its file is there, and its name is its own."""
    seen: set[str] = set()
    for number, step in enumerate(pipeline.steps):
        if step.name in seen:
            where = _line(text, ["steps", number, "name"])
            raise ConfigError(f"{pipeline.file}, {where}: two steps are named {step.name!r}")
        seen.add(step.name)
        if not pipeline.notebook_path(step).is_file():
            where = _line(text, ["steps", number, "notebook"])
            folder = pipeline.file.parent
            there = [path.relative_to(folder).as_posix() for path in folder.rglob("*.ipynb")]
            raise ConfigError(
                f"{pipeline.file}, {where}: steps.{step.name}.notebook: no file {step.notebook!r}",
                hint=nearest(step.notebook, (name for name in there if ".ipynb_checkpoints" not in name)),
            )


def _describe(error: ValidationError, file: Path, text: str) -> str:
    return "; ".join(f"{file}, {_line(text, item['loc'])}: {_one(dict(item))}" for item in error.errors())


def _one(item: dict[str, Any]) -> str:
    loc = item["loc"]
    key = ".".join(str(part + 1) if isinstance(part, int) else part for part in loc)
    if item["type"] == "extra_forbidden":
        valid = Step.model_fields if loc[0] == "steps" else Pipeline.model_fields.keys() - {"name", "file"}
        return f"unknown key {key!r}, {nearest(str(loc[-1]), valid)}"
    if item["type"] == "missing":
        return f"{key}: missing"
    message = str(item["ctx"]["error"]) if item["type"] == "value_error" else str(item["msg"])
    return f"{key}: {message[0].lower()}{message[1:]} (got {item['input']!r})"


def _line(text: str, loc: Sequence[str | int]) -> str:
    """Where a key is written, as well as a look at the text can tell: ``line 12``.

    A missing key is placed at the header of its table, or at the first line.
    """
    lines = text.splitlines()
    first, last = 1, len(lines)
    table, key = ("steps", loc[-1]) if loc[0] == "steps" else (str(loc[0]), loc[-1])
    headers = [n for n, line in enumerate(lines, 1) if re.match(rf"\s*\[+\s*{re.escape(table)}\s*\]+", line)]
    number = loc[1] if len(loc) > 1 and isinstance(loc[1], int) else 0
    if number < len(headers):
        first = headers[number]
        following = (n for n, line in enumerate(lines, 1) if n > first and re.match(r"\s*\[", line))
        last = next(following, last + 1) - 1
    written = re.compile(rf"\s*[\"']?{re.escape(str(key))}[\"']?\s*=")
    return f"line {next((n for n in range(first, last + 1) if written.match(lines[n - 1])), first)}"
