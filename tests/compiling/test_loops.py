"""A compiled loop gives what numba gives, whatever it is called with."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from workbench.compiling import (
    Instruction,
    bare,
    compiled,
    inlined,
    leading_zeros,
    prepared,
    set_bits,
    trailing_zeros,
    vectorised,
)
from workbench.compiling.contents import digest_of
from workbench.compiling.loop import Loop

RATE = 0.1
TABLE = [1.0, 2.0]


class Inner(NamedTuple):
    counts: Any
    scale: float


class Given(NamedTuple):
    values: Any
    inner: Inner
    times: int
    flipped: bool


@inlined
def scaled(value: float, scale: float) -> float:
    return value * scale + RATE


@vectorised
def total(values: Any) -> float:
    found = 0.0
    for value in values:
        found += value
    return found


@bare
def mixed(table: Any, given: Given, words: Any, flags: Any, out: Any) -> float:
    """All that a loop takes: arrays of every type and layout, numbers, tuples in tuples."""
    for row in range(table.shape[0]):
        for column in range(table.shape[1]):
            out[row, column] = scaled(table[row, column], given.inner.scale)
    for at in range(len(words)):
        given.inner.counts[at] = (
            trailing_zeros(words[at]) + 100 * leading_zeros(words[at]) + 10_000 * set_bits(words[at])
        )
        flags[at] = (words[at] > np.uint64(5)) != given.flipped
    return total(given.values) * given.times


@bare
def larger(a: float, b: float) -> bool:
    return a > b


@bare
def places(values: Any) -> int:
    return len(values)


@bare
def fails(values: Any, at: int) -> None:
    if at > 1:
        raise ValueError("beyond")
    values[at] = 1.0


@bare
def raised(values: Any, out: Any) -> None:
    for at in range(len(values)):
        out[at] = values[at] + 1.0


@compiled
def doubled(values: Any) -> Any:
    return values * 2.0


@bare
def unknown(at: int) -> float:
    return TABLE[at]


def arguments(order: str, step: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(3)
    table = np.asarray(rng.normal(size=(6, 4 * step)), order=order)[:, ::step]
    words = np.array([0, 1, 6, 2**63, 2**64 - 1], dtype=np.uint64)
    given = Given(rng.normal(size=1001), Inner(np.zeros(5, dtype=np.int64), 1.5), 7, True)
    return table, given, words, np.zeros(5, dtype=np.bool_), np.zeros((6, 4))


@pytest.mark.parametrize(("order", "step"), [("C", 1), ("F", 1), ("C", 2)])
def test_machine_code_gives_the_bits_of_numba_and_the_instructions_are_right(order: Any, step: int) -> None:
    alone, by_numba = arguments(order, step), arguments(order, step)
    assert mixed(*alone) == mixed.dispatcher(*by_numba)  # type: ignore[attr-defined]
    for one, two in zip((alone[1].inner.counts, *alone[3:]), (by_numba[1].inner.counts, *by_numba[3:]), strict=True):
        np.testing.assert_array_equal(one, two, strict=True)
    np.testing.assert_array_equal(alone[4], alone[0] * 1.5 + 0.1)
    assert alone[1].inner.counts.tolist() == [6464, 1_6300, 2_6101, 1_0063, 64_0000]
    assert alone[3].tolist() == [True, True, False, False, False]


def test_results_are_numbers_truths_or_nothing() -> None:
    answers = larger(2.0, 1.0), larger(np.float64(1.0), 2.0), places(np.zeros(3)), fails(np.zeros(2), 1)
    assert answers == (True, False, 3, None)
    assert [type(answer) for answer in answers] == [bool, bool, int, type(None)]


def test_an_exception_in_machine_code_is_one() -> None:
    with pytest.raises(RuntimeError, match="fails raised an exception in compiled code"):
        fails(np.zeros(3), 2)


def test_what_may_not_be_written_to_and_other_types_are_numbas_affair() -> None:
    sealed = np.arange(4.0)
    sealed.flags.writeable = False
    assert places(sealed) == places(np.arange(4.0, dtype=np.float32)) == 4
    with pytest.raises(Exception, match="Cannot modify readonly array"):
        fails(sealed, 0)
    assert sealed[0] == 0.0
    assert larger(2**63, 1.0) is True


@pytest.mark.parametrize("element", ["float64", "float32"])
def test_a_prepared_call_finds_what_is_in_its_arrays_each_time(element: str) -> None:
    values, out = np.zeros(3, dtype=element), np.zeros(3)
    call = prepared(raised, values, out)
    call()
    assert out.tolist() == [1.0, 1.0, 1.0]
    values[1] = 5.0
    call()
    assert out.tolist() == [1.0, 6.0, 1.0]


def test_a_loop_that_makes_arrays_is_numbas_affair() -> None:
    assert doubled(np.array([1.0, 3.0])).tolist() == [2.0, 6.0]


def test_an_instruction_is_for_compiled_code_only() -> None:
    with pytest.raises(TypeError, match="ctpop is for compiled code only"):
        set_bits(3)


def test_code_whose_changes_would_go_unnoticed_is_refused() -> None:
    with pytest.raises(TypeError, match="refers to TABLE, a list"):
        unknown(0)


def again(source: str, **known: Any) -> Loop:
    """A loop from text, so that two versions of it can be compared."""
    space: dict[str, Any] = {"np": np, **known}
    exec(source, space)
    return Loop(space["loop"], kept=True)


def test_the_name_of_code_changes_with_all_that_it_is_made_of() -> None:
    helper, other = Loop(lambda a: a + 1.0, kept=True), Loop(lambda a: a + 2.0, kept=True)
    source = "def loop(a):\n    return helper(a) * RATE + np.floor(a)"
    versions = [
        again(source, helper=helper, RATE=0.1),
        again(source.replace("floor", "ceil"), helper=helper, RATE=0.1),
        again(source, helper=helper, RATE=0.2),
        again(source, helper=other, RATE=0.1),
        again(source, helper=Loop(helper.function, kept=True, fastmath={"nnan"}), RATE=0.1),
        again(source, helper=Instruction("ctpop"), RATE=0.1),
        again("def loop(a):\n    return helper(a) * RATE + np.floor(a) + (lambda b: b)(0.0)", helper=helper, RATE=0.1),
    ]
    assert len({digest_of(one) for one in versions}) == len(versions)
    moved = again(f"\n\n# a comment\n{source}", helper=helper, RATE=0.1)
    assert digest_of(moved) == digest_of(versions[0])
