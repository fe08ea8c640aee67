"""Strategies are found by name and refuse wrong parameters in one clear line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from workbench import strategies
from workbench.errors import ConfigError, ParameterError
from workbench.strategies.momentum import Momentum


def test_every_strategy_file_loads_with_its_defaults() -> None:
    assert {"momentum", "moving_average"} <= set(strategies.names())
    for name in strategies.names():
        assert strategies.load(name, {}).model_dump().keys() == strategies.parameter_types(name).keys()


def test_every_parameter_is_documented() -> None:
    for name in strategies.names():
        for key, field in strategies.strategy_class(name).model_fields.items():
            assert field.description, f"{name}.{key}"


def test_naming_the_strategies_imports_none_of_them() -> None:
    code = (
        "import sys, workbench.strategies as s; s.names();"
        "print([m for m in sys.modules if m.startswith('workbench.strategies.') or m == 'pandas'])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_text_from_the_command_line_becomes_numbers() -> None:
    assert strategies.load("momentum", {"lookback": "20", "top": "3"}) == Momentum(lookback=20, top=3)


def test_an_unknown_strategy_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no strategy 'momentun'; did you mean momentum") as caught:
        strategies.load("momentun", {})
    assert caught.value.exit_code == 64
    with pytest.raises(ConfigError, match="no strategy 'base'"):
        strategies.load("base", {})


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("momentum", {"tpo": 3}, "strategy momentum: unknown key 'tpo', did you mean top"),
        ("momentum", {"top": "many"}, "strategy momentum: top: .* valid integer.*'many'"),
        ("momentum", {"top": 2.5}, "top: .*integer.*2.5"),
        ("momentum", {"top": 0}, "top: .*greater than or equal to 1 .got 0"),
        ("momentum", {"lookback": 1}, "lookback: .*greater than or equal to 2"),
        ("moving_average", {"fast": 50, "slow": "20"}, "slow: must be above fast, which is 50 .got '20'"),
        ("moving_average", {"fast": 200}, "slow: must be above fast, which is 200 .got 200"),
    ],
)
def test_wrong_parameters_are_named_with_what_is_allowed(
    name: str, parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        strategies.load(name, parameters)
    assert caught.value.exit_code == 64
    assert "\n" not in str(caught.value)


def test_a_strategy_cannot_be_changed_after_it_was_made() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Momentum().top = 5  # type: ignore[misc]  # that is what is tested
