"""The parameters a strategy is checked with: its own, its defaults, the corners of its bounds, a grid."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from workbench.errors import ParameterError, nearest
from workbench.settings import describe_errors
from workbench.strategies.base import Strategy

# Where a bound is not declared, this multiple of the strategy's own value stands for it.
_FAR = 4
_MOST_CORNERS = 16


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """A strategy with the name of the set its parameters belong to: own, defaults, corner or grid."""

    kind: str
    strategy: Strategy

    @property
    def values(self) -> dict[str, object]:
        return self.strategy.model_dump()

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.values.items())
        return values or "no parameters"


def parameter_sets(
    strategy: Strategy, sessions: int, grid: Sequence[Mapping[str, object]] = ()
) -> tuple[list[ParameterSet], int]:
    """The parameter sets, each once, the strategy's own first; and how many corners its own validation refused.

    A corner is every combination of the lowest and the highest value of the parameters; with many parameters,
    each alone is moved to its lowest and highest value, and all together. An undeclared bound of a number is taken
    as a quarter or four times the strategy's own value, a whole number at most as half of ``sessions``.

    Raises
    ------
    ParameterError
        If the grid names a parameter that there is not, or a combination of it is invalid.

    Examples
    --------
    >>> from workbench.strategies import load
    >>> sets, refused = parameter_sets(load("momentum", {}), 1000)
    >>> [str(each) for each in sets]
    ['lookback=126, top=2', 'lookback=2, top=1', 'lookback=2, top=8', 'lookback=500, top=1', 'lookback=500, top=8']
    """
    model = type(strategy)
    own = strategy.model_dump()
    wanted = [ParameterSet("own", strategy)]
    refused = 0
    for kind, values in [("defaults", _defaults(model)), *(("corner", c) for c in _corners(strategy, sessions))]:
        try:
            wanted.append(ParameterSet(kind, model(**{**own, **values})))
        except ValidationError:
            refused += 1
    wanted += [ParameterSet("grid", _built(model, own, values)) for values in grid]
    once: dict[str, ParameterSet] = {}
    for each in wanted:
        once.setdefault(str(each), each)
    return list(once.values()), refused


def bounds(model: type[Strategy], name: str) -> tuple[float | None, float | None]:
    """The declared lowest and highest value of a parameter, None where there is none."""
    low: float | None = None
    high: float | None = None
    for rule in model.model_fields[name].metadata:
        step = 1 if model.model_fields[name].annotation is int else 1e-9
        for attribute, shift in (("ge", 0), ("gt", step)):
            if (value := getattr(rule, attribute, None)) is not None:
                low = value + shift
        for attribute, shift in (("le", 0), ("lt", -step)):
            if (value := getattr(rule, attribute, None)) is not None:
                high = value + shift
    return low, high


def _built(model: type[Strategy], own: Mapping[str, object], values: Mapping[str, object]) -> Strategy:
    for name in values:
        if name not in model.model_fields:
            raise ParameterError(f"{model.__name__} has no parameter {name!r}", hint=nearest(name, model.model_fields))
    try:
        return model(**{**own, **values})
    except ValidationError as error:
        raise ParameterError(f"strategy {model.__name__}: {describe_errors(error, model)}") from error


def _defaults(model: type[Strategy]) -> dict[str, object]:
    return {
        name: f.get_default(call_default_factory=True) for name, f in model.model_fields.items() if not _required(f)
    }


def _required(field: FieldInfo) -> bool:
    return field.is_required()


def _corners(strategy: Strategy, sessions: int) -> Iterator[dict[str, object]]:
    ends = {}
    for name, field in type(strategy).model_fields.items():
        choices = _ends(type(strategy), name, field, getattr(strategy, name), sessions)
        if choices:
            ends[name] = choices
    combinations = 1
    for choices in ends.values():
        combinations *= len(choices)
    if combinations <= _MOST_CORNERS:
        yield from (dict(zip(ends, values, strict=True)) for values in itertools.product(*ends.values()) if ends)
        return
    for name, choices in ends.items():
        yield from ({name: value} for value in choices)
    for at in (0, -1):
        yield {name: choices[at] for name, choices in ends.items()}


def _ends(model: type[Strategy], name: str, field: FieldInfo, own: Any, sessions: int) -> list[object]:
    kind = field.annotation
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return list(kind)
    if kind is bool:
        return [False, True]
    if kind not in (int, float) or isinstance(own, bool):
        return []
    low, high = bounds(model, name)
    if low is None:
        low = own // _FAR if kind is int else own / _FAR
    if high is None:
        high = max(min(own * _FAR, sessions // 2), low) if kind is int else own * _FAR
    return [low, high] if low != high else [low]
