"""Pipelines: what runs each session, written as ``pipelines/NAME.toml``, checked before anything starts."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from workbench.calendars import Calendar
from workbench.data.rules import RULES
from workbench.errors import ConfigError, nearest
from workbench.jobs.schedule.when import (
    RUN_ONCE,
    SKIP,
    Every,
    Missed,
    check_deadline,
    parse_missed,
    parse_schedule,
)

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
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
    return parse_schedule(text).text


def _check_missed(text: str) -> str:
    return parse_missed(text).text


def _as_names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _check_after(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        _check_name(name)
    if len(set(names)) < len(names):
        raise ValueError("a pipeline is named twice")
    return names


def _check_parameters(values: dict[str, object]) -> dict[str, object]:
    for name in values:
        if not _CELLS.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of a parameter")
    return values


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False, strict=True)]


class Step(_Model):
    """One notebook of a pipeline. ``orders`` says that it may place orders; a step that may not, cannot.

    It is tried again up to ``retries`` times, but never once it has placed an order. ``stall_s`` is the longest time
    without any progress.
    """

    name: Annotated[str, AfterValidator(_check_name)]
    notebook: Annotated[str, AfterValidator(_check_notebook)]
    timeout_s: Seconds = 3600.0
    orders: Annotated[bool, Field(strict=True)] = False
    retries: Annotated[int, Field(ge=0, le=10, strict=True)] = 0
    retry_delay_s: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False, strict=True)] = 10.0
    stall_s: Seconds | None = None


def _check_rules(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in RULES:
            raise ValueError(f"no rule {name!r}; {nearest(name, RULES)}")
    return names


class Quality(_Model):
    """What a pipeline can live with in its data: rules whose findings do not count, the gravest verdict to order on.

    A step that may order is not begun on a verdict of this run that is worse than ``max_severity``.
    """

    tolerate: Annotated[tuple[str, ...], BeforeValidator(_as_names), AfterValidator(_check_rules)] = ()
    max_severity: Literal["pass", "warn"] = "warn"

    @property
    def is_default(self) -> bool:
        return self == Quality()


class Pipeline(_Model):
    """A job: its calendar, when it runs, values for the notebooks' parameters, and its steps in order.

    ``strategies`` holds, by name, the parameters of each strategy that the pipeline may be told to use. Of the
    schedule, ``missed`` says what becomes of a moment that nobody was there for, ``after`` which pipelines must have
    succeeded for the session first, and ``jitter_s`` how much later than its moment a run may be started, so that not
    everything starts at once. ``timeout_s`` is for the whole run. ``overlap`` lets, in a replay, the first step of a
    session run beside the last step of the session before; neither may order.
    """

    name: Annotated[str, AfterValidator(_check_name)]
    file: Path
    description: str
    calendar: Annotated[str, Field(pattern=r"^[A-Z0-9/]{3,8}$")] = "XNYS"
    schedule: Annotated[str, AfterValidator(_check_schedule)] | None = None
    missed: Annotated[str, AfterValidator(_check_missed)] | None = None
    after: Annotated[tuple[str, ...], BeforeValidator(_as_names), AfterValidator(_check_after)] = ()
    jitter_s: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False, strict=True)] = 0.0
    timeout_s: Seconds | None = None
    enabled: Annotated[bool, Field(strict=True)] = True
    overlap: Annotated[bool, Field(strict=True)] = False
    parameters: Annotated[dict[str, object], AfterValidator(_check_parameters)] = {}
    strategies: dict[str, dict[str, object]] = {}
    quality: Quality = Quality()
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]

    def notebook_path(self, step: Step) -> Path:
        """The notebook file of a step."""
        return self.file.parent / step.notebook

    @property
    def notebooks(self) -> tuple[Path, ...]:
        """The notebook files of all steps, in order."""
        return tuple(self.notebook_path(step) for step in self.steps)

    @property
    def places_orders(self) -> bool:
        """Whether any of its steps may place orders."""
        return any(step.orders for step in self.steps)

    @property
    def policy(self) -> Missed:
        """What becomes of a missed moment: what the file says, else nothing if it trades, else one run."""
        if self.missed is not None:
            return parse_missed(self.missed)
        return SKIP if self.places_orders else RUN_ONCE


@dataclass(frozen=True, slots=True)
class Loaded:
    """The pipelines of a folder by name, and what is wrong with the files that cannot be used."""

    good: dict[str, Pipeline]
    broken: dict[str, ConfigError]


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
    return _load(name, folder)[0]


def load_pipelines(folder: Path, calendars: Callable[[str], Calendar] | None = None) -> Loaded:
    """Read all files of a folder, each on its own, and then what they say of each other.

    With ``calendars``, a calendar that does not exist is found as well.
    """
    good: dict[str, Pipeline] = {}
    texts: dict[str, str] = {}
    broken: dict[str, ConfigError] = {}
    for name in pipeline_names(folder):
        try:
            good[name], texts[name] = _load(name, folder)
            if calendars is not None:
                _check_calendar(good[name], texts[name], calendars)
        except ConfigError as error:
            broken[name] = error
    for name, what in _conflicts({name: pipeline for name, pipeline in good.items() if name not in broken}).items():
        broken[name] = ConfigError(f"{good[name].file}, {_line(texts[name], ['after'])}: after: {what}")
    return Loaded({name: pipeline for name, pipeline in good.items() if name not in broken}, broken)


def _load(name: str, folder: Path) -> tuple[Pipeline, str]:
    file = folder / f"{name}.toml"
    if name.startswith("nb-"):
        raise ConfigError(f"{name!r} cannot be a pipeline", hint="nb- is for notebooks that are run by themselves")
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
    _check_timing(pipeline, text)
    return pipeline, text


def _check_calendar(pipeline: Pipeline, text: str, calendars: Callable[[str], Calendar]) -> None:
    try:
        calendars(pipeline.calendar)
    except ConfigError as error:
        where = f"{pipeline.file}, {_line(text, ['calendar'])}"
        raise ConfigError(f"{where}: calendar: {error.message}", hint=error.hint) from error


def _check_timing(pipeline: Pipeline, text: str) -> None:
    """What the keys of the schedule mean together."""

    def refuse(key: str, what: str, hint: str | None = None) -> ConfigError:
        return ConfigError(f"{pipeline.file}, {_line(text, [key])}: {key}: {what}", hint=hint)

    if pipeline.policy == RUN_ONCE and pipeline.places_orders:
        names = ", ".join(step.name for step in pipeline.steps if step.orders)
        raise refuse(
            "missed",
            f"run_once would trade late, however late it is: {names} places orders",
            'say skip, or until when: missed = "run_until 30min"',
        )
    ends = pipeline.steps[0], pipeline.steps[-1]
    if pipeline.overlap and (ends[0] is ends[1] or any(step.orders for step in ends)):
        raise refuse("overlap", "needs a first and a last step, and neither may order")
    if pipeline.after and pipeline.policy == SKIP:
        raise refuse("after", "a pipeline that waits for others needs a deadline", 'such as missed = "run_until 30min"')
    names_there = [name for name in pipeline_names(pipeline.file.parent) if name != pipeline.name]
    for name in pipeline.after:
        if name == pipeline.name:
            raise refuse("after", "a pipeline cannot come after itself")
        if name not in names_there:
            raise refuse("after", f"no pipeline {name!r}", nearest(name, names_there))
    if pipeline.schedule is None:
        return
    schedule = parse_schedule(pipeline.schedule)
    try:
        check_deadline(schedule, pipeline.policy)
    except ValueError as error:
        raise refuse("missed", str(error)) from error
    if isinstance(schedule, Every) and pipeline.jitter_s >= schedule.step.total_seconds():
        raise refuse("jitter_s", f"must be less than the {schedule.step.total_seconds():g} s between two moments")


def _conflicts(pipelines: Mapping[str, Pipeline]) -> dict[str, str]:
    """What ``after`` gets wrong between files: circles, and other calendars, whose sessions are not the same."""
    found: dict[str, str] = {}
    for name, pipeline in pipelines.items():
        for other in pipeline.after:
            if other in pipelines and pipelines[other].calendar != pipeline.calendar:
                found[name] = f"{other} is for {pipelines[other].calendar}, this one for {pipeline.calendar}"
        if circle := _circle(name, pipelines):
            found[name] = f"a circle: {' after '.join(circle)}"
    return found


def _circle(name: str, pipelines: Mapping[str, Pipeline]) -> list[str]:
    """The shortest way from a pipeline back to itself, both ends included; empty if there is none."""
    ways = [[name]]
    known = {name}
    for way in ways:  # grows while it is walked
        for other in pipelines[way[-1]].after if way[-1] in pipelines else ():
            if other == name:
                return [*way, name]
            if other not in known:
                known.add(other)
                ways.append([*way, other])
    return []


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
        tables = {"steps": Step.model_fields.keys(), "quality": Quality.model_fields.keys()}
        valid = tables.get(str(loc[0]) if len(loc) > 1 else "", Pipeline.model_fields.keys() - {"name", "file"})
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
