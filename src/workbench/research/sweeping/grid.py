"""The combinations of a sweep: a grid of values, less what the strategy itself refuses."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from workbench.errors import ConfigError, ParameterError, nearest
from workbench.settings import describe_errors
from workbench.strategies import strategy_class
from workbench.strategies.base import Strategy

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Grid:
    """Values by parameter, all combinations of which are meant; the last parameter runs fastest.

    Attributes
    ----------
    kind
        The strategy.
    values
        Different values of each swept parameter, in the order given, as the strategy's fields take them.
    held
        The other parameters.
    """

    kind: type[Strategy]
    values: Mapping[str, list[Any]]
    held: Mapping[str, Any]

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(values) for values in self.values.values())

    @cached_property
    def allowed(self) -> Numbers:
        """Numbers of the combinations that the strategy accepts, ascending."""
        at_once = self._accepted_at_once()
        if at_once is not None:
            return np.flatnonzero(at_once)
        valid = self.kind.__pydantic_validator__.isinstance_python
        names, rows = [*self.held, *self.values], itertools.product(*self.values.values())
        held = tuple(self.held.values())
        keep = (valid(dict(zip(names, held + row))) for row in rows)  # noqa: B905  # a check per row costs a tenth
        return np.flatnonzero(np.fromiter(keep, dtype=np.bool_, count=int(np.prod(self.shape))))

    def _accepted_at_once(self) -> npt.NDArray[np.bool_] | None:
        """Whether each combination is accepted, if the class itself can say it of arrays."""
        if "accepts" not in vars(self.kind):
            return None
        axes = [np.array(values) for values in self.values.values()]
        if any(axis.dtype.kind not in "iuf" for axis in axes):
            return None
        mesh = np.meshgrid(*axes, indexing="ij")
        fit = self.kind.accepts({**self.held, **dict(zip(self.values, mesh, strict=True))})
        if fit is None:
            return None
        alone = [_valid(self.kind, name, values) for name, values in self.values.items()]
        valid = np.logical_and.reduce(np.meshgrid(*alone, indexing="ij"))
        accepted: npt.NDArray[np.bool_] = np.broadcast_to(np.asarray(fit, dtype=np.bool_), self.shape) & valid
        return accepted.ravel()

    @property
    def refused(self) -> int:
        """How many combinations the strategy refuses."""
        return int(np.prod(self.shape)) - len(self.allowed)

    @cached_property
    def refusal(self) -> str:
        """The first combination that is refused and why; empty if none is."""
        if not self.refused:
            return ""
        gaps = np.flatnonzero(self.allowed != np.arange(len(self.allowed)))
        number = int(gaps[0]) if gaps.size else len(self.allowed)
        chosen = self.parameters(np.array([number]))[0]
        try:
            self.kind(**chosen)
        except ValidationError as error:
            return f"{words({name: chosen[name] for name in self.values})}: {describe_errors(error, self.kind)}"
        raise ConfigError(f"{self.kind.__name__} accepts {words(chosen)} only now and then")

    def parameters(self, numbers: Numbers) -> list[dict[str, Any]]:
        """All parameters of some combinations, by their numbers in the grid."""
        places = np.unravel_index(numbers, self.shape)
        axes = zip(self.values.values(), places, strict=True)
        columns = [[values[at] for at in place.tolist()] for values, place in axes]
        return [{**self.held, **dict(zip(self.values, row, strict=True))} for row in zip(*columns, strict=True)]

    def strategies(self, numbers: Numbers) -> list[Strategy]:
        """The strategies of some combinations."""
        return [self.kind(**chosen) for chosen in self.parameters(numbers)]

    def index(self, numbers: Numbers) -> pd.Index[Any]:
        """The swept parameters of some combinations as an index: of one level by parameter."""
        places = np.unravel_index(numbers, self.shape)
        if len(self.values) == 1:
            ((name, values),) = self.values.items()
            return pd.Index(np.array(values)[places[0]], name=name)
        levels = [pd.Index(values) for values in self.values.values()]
        codes: Any = list(places)
        return pd.MultiIndex(levels=levels, codes=codes, names=list(self.values), verify_integrity=False)


def grid_of(strategy: str | type[Strategy] | Strategy, grid: Mapping[str, Iterable[Any]]) -> Grid:
    """Read a grid: values that are not a list of values stand for themselves.

    Raises
    ------
    ConfigError
        If there is no such strategy.
    ParameterError
        If a parameter is unknown, has no values or the same one twice, or no combination is left.

    Examples
    --------
    >>> made = grid_of("moving_average", {"fast": [5, 10], "slow": [10, 20]})
    >>> made.parameters(made.allowed)
    [{'fast': 5, 'slow': 10}, {'fast': 5, 'slow': 20}, {'fast': 10, 'slow': 20}]
    >>> made.refusal
    'fast=10 slow=10: slow: must be above fast, which is 10 (got 10)'
    """
    kind, base = _kind(strategy)
    if not grid:
        raise ParameterError(f"the grid of {kind.__name__} is empty", hint=_names(kind))
    for name in grid:
        if name not in kind.model_fields:
            raise ParameterError(f"{kind.__name__} has no parameter {name!r}", hint=nearest(name, kind.model_fields))
    values = {name: _values(kind, name, given) for name, given in grid.items()}
    made = Grid(kind, values, {name: value for name, value in base.items() if name not in values})
    if not len(made.allowed):
        raise ParameterError(f"{kind.__name__} refuses all {made.refused} combinations of the grid", hint=made.refusal)
    return made


def words(parameters: Mapping[str, Any]) -> str:
    """Parameters as they are typed.

    >>> words({"fast": 5, "slow": 20})
    'fast=5 slow=20'
    """
    return " ".join(f"{name}={value}" for name, value in parameters.items())


def _kind(strategy: str | type[Strategy] | Strategy) -> tuple[type[Strategy], dict[str, Any]]:
    """The class, and the values of the parameters that are not swept."""
    if isinstance(strategy, Strategy):
        return type(strategy), dict(strategy)
    kind = strategy_class(strategy) if isinstance(strategy, str) else strategy
    if not (isinstance(kind, type) and issubclass(kind, Strategy)):
        raise ConfigError(f"{strategy!r} is no strategy", hint="give its name, its class, or one with parameters")
    fields = kind.model_fields.items()
    return kind, {
        name: field.get_default(call_default_factory=True) for name, field in fields if not field.is_required()
    }


def _values(kind: type[Strategy], name: str, given: object) -> list[Any]:
    listed = list(given) if isinstance(given, Iterable) and not isinstance(given, str | bytes) else [given]
    if not listed:
        raise ParameterError(f"the grid has no values for {name}")
    adapter = _adapter(kind, name)
    values = [_taken(adapter, value.item() if isinstance(value, np.generic) else value) for value in listed]
    for at, value in enumerate(values):
        if value in values[:at] if len(values) < 200 else values.count(value) > 1:
            raise ParameterError(f"the grid has {name}={value} twice")
    return values


def _adapter(kind: type[Strategy], name: str) -> TypeAdapter[Any]:
    """What a parameter takes by itself, without the validators of its class."""
    field = kind.model_fields[name]
    annotation: Any = field.annotation
    return TypeAdapter[Any](Annotated[annotation, *field.metadata] if field.metadata else annotation)


def _valid(kind: type[Strategy], name: str, values: list[Any]) -> list[bool]:
    adapter = _adapter(kind, name)
    return [bool(adapter.validator.isinstance_python(value)) for value in values]


def _taken(adapter: TypeAdapter[Any], value: object) -> Any:
    """The value as the field keeps it; one that it refuses stays as it is and is counted with its combinations."""
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return value


def _names(kind: type[Strategy]) -> str:
    return f"its parameters: {', '.join(kind.model_fields)}"
