"""One strategy per file; a file's name is the strategy's name.

Nothing is imported or registered until a strategy is asked for by name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from workbench.errors import ConfigError, ParameterError, nearest
from workbench.settings import describe_errors

if TYPE_CHECKING:
    from workbench.strategies.base import Strategy

_NOT_STRATEGIES = frozenset({"base"})


def names() -> list[str]:
    """Names of all strategies, sorted, found by listing the files of this package.

    >>> "momentum" in names()
    True
    """
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in found if name not in _NOT_STRATEGIES and not name.startswith("_"))


def load(name: str, parameters: Mapping[str, object]) -> Strategy:
    """Build a strategy from its parameters; values may be text, as typed on a command line.

    Parameters left out keep their defaults.

    Raises
    ------
    ConfigError
        If there is no such strategy; the nearest name is suggested.
    ParameterError
        If a parameter is unknown, mistyped or out of range.

    >>> load("momentum", {"top": "3"})
    Momentum(lookback=126, top=3)
    """
    model = strategy_class(name)
    try:
        return model(**dict(parameters))
    except ValidationError as error:
        raise ParameterError(f"strategy {name}: {describe_errors(error, model)}") from error


def parameter_types(name: str) -> dict[str, Any]:
    """The parameters of a strategy, in order, with the type each is declared with.

    Raises
    ------
    ConfigError
        If there is no such strategy; the nearest name is suggested.

    >>> parameter_types("momentum")
    {'lookback': <class 'int'>, 'top': <class 'int'>}
    """
    return {key: field.annotation for key, field in strategy_class(name).model_fields.items()}


def strategy_class(name: str) -> type[Strategy]:
    """The model behind a name: its fields carry type, default, bounds and description.

    Raises
    ------
    ConfigError
        If there is no such strategy, or its file does not define exactly one.
    """
    from workbench.strategies.base import Strategy

    if name not in names():
        raise ConfigError(f"no strategy {name!r}", hint=nearest(name, names()))
    module = importlib.import_module(f"{__name__}.{name}")
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Strategy) and value.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise ConfigError(
            f"strategies/{name}.py defines {len(own)} strategies", hint="keep one Strategy class in each file"
        )
    return own[0]
