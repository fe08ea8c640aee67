"""Which value goes to which notebook: typed, complete and checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from workbench.errors import ParameterError, nearest
from workbench.jobs.parameters import NotebookParameters
from workbench.jobs.pipelines import Pipeline

# What the runner or the strategy supplies; see "Pipelines" in the README.
SESSION, STRATEGY, STRATEGY_PARAMETERS, SYMBOLS = "session", "strategy", "strategy_parameters", "symbols"


@dataclass(frozen=True, slots=True)
class Binding:
    """Every step's parameters, and the two that the runner itself has to know."""

    steps: Mapping[str, dict[str, Any]]
    symbols: tuple[str, ...]

    def at(self, session: date) -> Binding:
        """The same with the session filled in where a notebook asks for it."""
        steps = {
            step: {**values, SESSION: session.isoformat()} if SESSION in values else dict(values)
            for step, values in self.steps.items()
        }
        return Binding(steps, self.symbols)

    def record(self) -> dict[str, Any]:
        """What the run ledger keeps: all values by name (steps agree on the ones they share)."""
        return {name: value for values in self.steps.values() for name, value in values.items()}


def bind(
    pipeline: Pipeline,
    notebooks: Mapping[str, NotebookParameters],
    overrides: Mapping[str, object],
) -> Binding:
    """Give every step its parameters.

    Precedence: the notebook's default, the pipeline's ``[parameters]``, ``overrides`` (``-p key=value``). A name
    that no notebook declares must be a parameter of the chosen strategy, whose defaults come from the pipeline's
    ``[strategies.NAME]``. ``session`` is the runner's, see :meth:`Binding.at`.

    Raises
    ------
    ParameterError
        If a name is unknown, or a value mistyped or out of range.
    ConfigError
        If there is no such strategy.
    """
    if SESSION in overrides:
        raise ParameterError("session is not a parameter", hint="use --session DATE")
    if STRATEGY_PARAMETERS in overrides:
        raise ParameterError("strategy_parameters are given one by one", hint="for example -p top=3")
    declared = {name for parameters in notebooks.values() for name in parameters.names}
    _check_file(pipeline, declared - {SESSION, STRATEGY_PARAMETERS})
    own = {name: value for name, value in overrides.items() if name not in declared}
    values = {**pipeline.parameters, **{n: v for n, v in overrides.items() if n in declared}}
    if STRATEGY_PARAMETERS in declared:
        chosen = str(values.get(STRATEGY, _default(notebooks, STRATEGY)))
        values[STRATEGY_PARAMETERS] = _strategy_parameters(pipeline, chosen, own, declared)
    elif own:
        raise _unknown(next(iter(own)), declared)
    steps = {
        step: parameters.bind({name: values[name] for name in parameters.names if name in values})
        for step, parameters in notebooks.items()
    }
    if any(SYMBOLS in values and not values[SYMBOLS] for values in steps.values()):
        raise ParameterError("symbols is empty", hint="for example -p symbols=AAPL,MSFT")
    symbols: Any = next((values[SYMBOLS] for values in steps.values() if SYMBOLS in values), ())
    return Binding(steps, tuple(symbols))


def _check_file(pipeline: Pipeline, valid: set[str]) -> None:
    """Every name in the pipeline's file means something: a typing error must not fall back to a default."""
    from workbench.strategies import load

    for name in pipeline.parameters.keys() - valid:
        raise ParameterError(f"pipeline {pipeline.name}, [parameters]: unknown {name!r}", hint=nearest(name, valid))
    for strategy, values in pipeline.strategies.items():
        load(strategy, values)


def _strategy_parameters(
    pipeline: Pipeline, name: str, own: Mapping[str, object], declared: set[str]
) -> dict[str, Any]:
    from workbench.strategies import load, parameter_types

    fields = parameter_types(name)
    for unknown in own.keys() - set(fields):
        raise _unknown(unknown, declared | set(fields))
    strategy = load(name, {**pipeline.strategies.get(name, {}), **own})
    return strategy.model_dump(mode="json")


def _default(notebooks: Mapping[str, NotebookParameters], name: str) -> object:
    for parameters in notebooks.values():
        if name in parameters.defaults:
            return parameters.defaults[name]
    raise ParameterError(f"the pipeline names no {name}")


def _unknown(name: str, valid: set[str]) -> ParameterError:
    return ParameterError(f"unknown parameter {name!r}", hint=nearest(name, valid - {STRATEGY_PARAMETERS}))
