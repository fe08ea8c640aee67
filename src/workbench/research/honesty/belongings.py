"""What a strategy carries or reads beside its bars: no replay can take that away from it.

A table captured when the strategy was built, a model that was fitted before, a file that is read while it decides:
any of them may hold the future. They are found by looking, not by replaying.
"""

from __future__ import annotations

import dis
import functools
import os
import sys
import sysconfig
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import pandas as pd

from workbench.data.bars import Bars
from workbench.research.honesty.paths import reachable_functions
from workbench.strategies.base import Strategy

# So many numbers or dates are a table of data; fewer are constants of a rule.
_MANY = 50
_DEPTH = 4
_MACHINERY = ("builtins", "functools", "pydantic", "pydantic_core", "abc", "numba", "logging", "typing", "re", "enum")
_OUTSIDE = ("duckdb", "sqlite3", "requests", "httpx", "urllib.request", "socket", "subprocess", "ftplib", "sqlalchemy")
_OUTSIDE_HERE = ("workbench.app", "workbench.data.lake", "workbench.data.sources", "workbench.data.sample")
_EVENTS = ("open", "socket.connect", "sqlite3.connect", "subprocess.Popen", "os.posix_spawn")
_LIBRARY_SUFFIXES = (".py", ".pyc", ".so", ".nbi", ".nbc", ".code", ".pyd")
_IGNORED = ("/proc/", "/sys/", "/dev/", "/usr/share/zoneinfo", "/etc/")

_watching: list[tuple[int, list[str]]] = []


def carried(strategy: Strategy) -> list[str]:
    """Data that the strategy holds: in itself, its class, its closures, or variables that its code names.

    Returns
    -------
    A phrase for each: where it is and what it is. Parameters, short constants and texts are not data.
    """
    found: dict[str, str] = {}
    for where, value in _places(strategy):
        what = _data(value, _DEPTH, set())
        if what:
            found.setdefault(where, what)
    return [f"{where} holds {what}" for where, what in found.items()]


def reached_for(strategy: Strategy) -> list[str]:
    """Modules and stores outside its bars that the strategy's code names."""
    found = []
    for function in reachable_functions(type(strategy)):
        for code in _codes(function.__code__):
            imported = {str(made.argval) for made in dis.get_instructions(code) if made.opname == "IMPORT_NAME"}
            values = (function.__globals__.get(name) for name in code.co_names)
            named = {value.__name__ if isinstance(value, ModuleType) else _home(value) for value in values}
            found += [name for name in sorted(imported | named) if _is_outside(name)]
    return list(dict.fromkeys(found))


def named_symbols(strategy: Strategy, symbols: list[str]) -> list[str]:
    """Symbols that the strategy's code names, sorted: a choice of names is knowledge too."""
    texts: set[str] = set()
    for function in reachable_functions(type(strategy)):
        for code in _codes(function.__code__):
            texts |= set(_texts(code.co_consts))
            for name in code.co_names:
                value = function.__globals__.get(name, getattr(type(strategy), name, None))
                if isinstance(value, str | list | tuple | set | frozenset | Mapping):
                    texts |= set(_texts(value))
    return sorted(texts & set(symbols))


@contextmanager
def watched() -> Iterator[list[str]]:
    """Note every file, database, process or connection that this thread opens meanwhile, libraries' own aside.

    Python's audit events tell. Files that are opened by a library's compiled code raise none.
    """
    _install()
    noted: list[str] = []
    entry = (threading.get_ident(), noted)
    _watching.append(entry)
    try:
        yield noted
    finally:
        _watching.remove(entry)


@functools.cache
def _install() -> None:
    # A hook cannot be taken away again; it does nothing while nobody watches.
    sys.addaudithook(_note)


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching or event not in _EVENTS:
        return
    thread = threading.get_ident()
    for watcher, noted in list(_watching):
        if watcher == thread and (what := _described(event, arguments)) and what not in noted:
            noted.append(what)


def _described(event: str, arguments: tuple[Any, ...]) -> str:
    if event != "open":
        return f"{event} {arguments[0] if arguments else ''}".strip()
    path = arguments[0]
    if not isinstance(path, str | bytes | os.PathLike):
        return ""  # a file descriptor that is open already
    text = os.fsdecode(path)
    if text.endswith(_LIBRARY_SUFFIXES) or text.startswith(_IGNORED) or _of_library(text):
        return ""
    return f"file {text}"


def _of_library(path: str) -> bool:
    absolute = os.path.abspath(path)
    return absolute.startswith(_library_folders())


@functools.cache
def _library_folders() -> tuple[str, ...]:
    package = Path(__file__).resolve().parents[2]
    folders = {*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, str(package)}
    return tuple(sorted(f"{folder}{os.sep}" for folder in folders if folder not in ("", os.sep, "/usr")))


def _places(strategy: Strategy) -> Iterator[tuple[str, object]]:
    for name, value in vars(strategy).items():
        yield f"its field {name}", value
    for name, value in (strategy.__pydantic_private__ or {}).items():
        yield f"its private attribute {name}", value
    for owner in type(strategy).__mro__:
        if issubclass(owner, Strategy) and owner is not Strategy:
            for name, value in vars(owner).items():
                if not name.startswith(("__", "model_", "_abc_")):
                    yield f"its class attribute {name}", value
    for function in reachable_functions(type(strategy)):
        yield from _held_by(function)


def _held_by(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"the enclosing variable {name}", cell.cell_contents
        except ValueError:  # not bound yet
            continue
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    for value in defaults:
        yield f"a default of {function.__name__}", value
    for code in _codes(function.__code__):
        for name in code.co_names:
            if name in function.__globals__:
                yield f"the variable {name}", function.__globals__[name]


def _data(value: object, depth: int, met: set[int]) -> str:
    """What data a value is or contains, in words; empty if none."""
    if isinstance(value, ModuleType | type | FunctionType | str | bytes | int | float | None) or id(value) in met:
        return ""
    met.add(id(value))
    if isinstance(value, Bars):
        return f"bars of {len(value)} sessions"
    if isinstance(value, pd.DataFrame | pd.Series | pd.Index | np.ndarray):
        sizes = " x ".join(str(number) for number in value.shape)
        return f"{type(value).__name__} of {sizes}" if value.size >= _MANY and not _only_texts(value) else ""
    if _fitted(value):
        return f"a fitted {type(value).__name__}"
    parts = _parts(value)
    numbers = sum(isinstance(part, int | float | date | np.generic) and not isinstance(part, bool) for part in parts)
    if numbers >= _MANY:
        return f"{type(value).__name__} of {numbers} numbers or dates"
    if depth:
        return next((what for part in parts if (what := _data(part, depth - 1, met))), "")
    return ""


def _parts(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if isinstance(value, functools.partial):
        return [*value.args, *value.keywords.values()]
    if _is_library(value):
        return []
    slots = [getattr(value, name, None) for name in getattr(type(value), "__slots__", ()) if isinstance(name, str)]
    return [*getattr(value, "__dict__", {}).values(), *slots]


def _is_library(value: object) -> bool:
    """Descriptors, validators and other machinery of the language and of pydantic."""
    module = type(value).__module__
    return module.startswith("workbench.compiling") or module.split(".")[0] in (
        "builtins",
        "functools",
        "pydantic",
        "pydantic_core",
        "abc",
        "numba",
    )


def _fitted(value: object) -> bool:
    """Whether it can predict and has learned: scikit-learn marks what was learned by a trailing underscore."""
    if not hasattr(type(value), "predict"):
        return False
    learned = any(name.endswith("_") and not name.startswith("_") for name in vars(value)) if _has_dict(value) else True
    return learned or hasattr(value, "get_weights")


def _has_dict(value: object) -> bool:
    return hasattr(value, "__dict__")


def _only_texts(value: object) -> bool:
    kind = getattr(value, "dtype", None)
    return kind is not None and getattr(kind, "kind", "") in ("O", "U", "S") and not isinstance(value, pd.DataFrame)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _texts(values: object) -> Iterator[str]:
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping):
        yield from _texts([*values.keys(), *values.values()])
    elif isinstance(values, list | tuple | set | frozenset):
        for value in values:
            yield from _texts(value)


def _home(value: object) -> str:
    home = getattr(value, "__module__", None)
    return home if isinstance(home, str) else ""


def _is_outside(name: str) -> bool:
    outside = (*_OUTSIDE, *_OUTSIDE_HERE)
    return any(name == other or name.startswith(f"{other}.") for other in outside)
