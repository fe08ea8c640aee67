"""What compiled code is made of, as a name that changes whenever any of it does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from workbench.compiling.loop import Instruction, Loop


def digest_of(loop: Loop) -> str:
    """Name a loop by its code, how it is compiled, and all that it refers to, to any depth and in any file.

    Raises
    ------
    TypeError
        If it refers to something of which a change would go unnoticed.
    """
    made = hashlib.sha256()
    for part in _of_loop(loop, set()):
        made.update(part.encode() + b"\n")
    return made.hexdigest()


def _of_loop(loop: Loop, seen: set[int]) -> Iterator[str]:
    yield f"{sorted((name, _plain(value)) for name, value in loop.options.items())}"
    yield from _of_function(loop.function, seen)


def _plain(value: object) -> str:
    return repr(sorted(value) if isinstance(value, set) else value)


def _of_function(function: Any, seen: set[int]) -> Iterator[str]:
    yield f"function {function.__qualname__} {function.__defaults__}"
    if id(function) in seen:
        return
    seen.add(id(function))
    yield from _of_code(function.__code__)
    for cell in function.__closure__ or ():
        yield from _of_value("cell", cell.cell_contents, seen)
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            yield from _of_value(name, function.__globals__[name], seen)


def _of_code(code: CodeType) -> Iterator[str]:
    yield f"code {code.co_code.hex()} {code.co_varnames} {code.co_names} {code.co_freevars}"
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _of_code(constant)
        else:
            yield f"{type(constant).__name__} {constant!r}"


def _names(code: CodeType) -> set[str]:
    inner = (one for one in code.co_consts if isinstance(one, CodeType))
    return set(code.co_names).union(*(_names(one) for one in inner))


def _of_value(name: str, value: Any, seen: set[int]) -> Iterator[str]:
    """What a function refers to by a name."""
    yield name
    if isinstance(value, Loop):
        yield from _of_loop(value, seen)
    elif isinstance(value, FunctionType):
        yield from _of_function(value, seen)
    elif isinstance(value, Instruction):
        yield value.name
    elif isinstance(value, bool | int | float | str | np.generic) or type(value) is tuple:
        yield f"{type(value).__name__} {value!r}"
    elif isinstance(value, ModuleType):
        yield f"{value.__name__} {getattr(value, '__version__', '')}"
    elif isinstance(value, type | BuiltinFunctionType):
        yield f"{value.__module__} {value.__qualname__} {getattr(value, '_fields', '')}"
    else:
        raise TypeError(f"compiled code refers to {name}, a {type(value).__name__}: its changes would go unnoticed")
