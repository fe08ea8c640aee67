"""The types that a notebook parameter may have, read from source text without running any of it.

``int``, ``float``, ``bool``, ``str``, ``date``, ``Decimal``, ``Path``, ``Literal[...]``, ``list[T]``,
``dict[str, T]``, ``Optional[T]`` or ``T | None``, and ``Annotated[T, Field(ge=1)]`` for bounds.
A date, decimal or path reaches the notebook as text, because that is what a literal can say.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import Field

_NAMES: Mapping[str, Any] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "date": date,
    "Decimal": Decimal,
    "Path": Path,
    "None": None,
}
_MODULES = {"typing", "datetime", "decimal", "pathlib", "dt", "t", "pydantic"}
_ORDER = {"ge", "gt", "le", "lt"}
_LENGTH = {"min_length", "max_length"}
# The bounds that a type can have; a list stands for every list and a dict for every dict.
_BOUNDS: Mapping[Any, set[str]] = {
    int: _ORDER | {"multiple_of"},
    float: _ORDER | {"multiple_of"},
    Decimal: _ORDER | {"multiple_of"},
    date: _ORDER,
    str: _LENGTH | {"pattern"},
    list: _LENGTH,
    dict: _LENGTH,
}
_AS_TEXT = (date, Decimal, Path)
_INTEGER = re.compile(r"[+-]?[0-9]+")


class AnnotationError(ValueError):
    """The annotation is none that a parameter may have."""


def resolve(node: ast.expr) -> Any:
    """The type that an annotation's syntax tree names.

    Raises
    ------
    AnnotationError
        If it is not one of the types above.

    Examples
    --------
    >>> resolve(ast.parse("list[int]", mode="eval").body)
    list[int]
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return resolve(_parse_quoted(node.value))
    if isinstance(node, ast.Constant) and node.value is None:
        return None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _optional(resolve(node.left), resolve(node.right), node)
    if isinstance(node, ast.Subscript):
        return _generic(node)
    name = _name(node)
    if name not in _NAMES:
        raise AnnotationError(f"{ast.unparse(node)} is not a type that a parameter may have")
    return _NAMES[name]


def read(value: object, kind: Any, *, text: bool) -> object:
    """Turn ``value`` into what ``kind`` calls for, and leave it as it is where that is not possible.

    ``text`` says that a string is what somebody typed, to be read by the declared type and nothing else.
    The result is still to be checked against the type.

    Raises
    ------
    ValueError
        If a string does not spell a value of the type.

    Examples
    --------
    >>> read("000001", str, text=True), read("3", int, text=True), read("3,5", list[int], text=True)
    ('000001', 3, [3, 5])
    """
    origin = get_origin(kind)
    if origin is Annotated:
        return read(value, get_args(kind)[0], text=text)
    inner = _inner(kind)
    if inner is not None:
        return None if value is None or (text and _says_none(value, inner)) else read(value, inner, text=text)
    if origin is Literal:
        return _choose(value, get_args(kind)) if text else value
    if origin is list:
        return _read_list(value, get_args(kind)[0], text=text)
    if origin is dict:
        return _read_dict(value, get_args(kind)[1], text=text)
    if isinstance(value, str) and (text or kind in _AS_TEXT):
        return _spell(value, kind)
    if kind is float and type(value) is int:
        return float(value)
    if kind is Decimal and type(value) in (int, float):
        return Decimal(str(value))
    if kind is date and isinstance(value, datetime):
        raise ValueError("a date has no time of day")
    return value


def plain(value: object) -> object:
    """The value as a notebook gets it: a date, decimal or path as text."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal | Path):
        return str(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def _parse_quoted(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise AnnotationError(f"{text!r} is not a type") from error


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in _MODULES:
        return node.attr
    return ""


def _generic(node: ast.Subscript) -> Any:
    name = _name(node.value)
    arguments = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name in ("list", "List") and len(arguments) == 1:
        return list[resolve(arguments[0])]  # type: ignore[misc]  # built at run time
    if name in ("dict", "Dict") and len(arguments) == 2 and resolve(arguments[0]) is str:
        return dict[str, resolve(arguments[1])]  # type: ignore[misc]  # built at run time
    if name == "Optional" and len(arguments) == 1:
        return _optional(resolve(arguments[0]), None, node)
    if name == "Literal":
        return Literal[tuple(_literal(argument) for argument in arguments)]
    if name == "Annotated" and len(arguments) >= 2:
        kind = resolve(arguments[0])
        return Annotated[(kind, *(_bounds(argument, kind) for argument in arguments[1:]))]
    raise AnnotationError(f"{ast.unparse(node)} is not a type that a parameter may have")


def _optional(left: Any, right: Any, node: ast.expr) -> Any:
    kinds = [kind for kind in (left, right) if kind is not None]
    if len(kinds) != 1:
        raise AnnotationError(f"{ast.unparse(node)}: only one type or None can be told apart")
    return kinds[0] | None


def _literal(node: ast.expr) -> object:
    value = _constant(node)
    if not isinstance(value, str | int | bool):
        raise AnnotationError(f"Literal[{ast.unparse(node)}]: choices are texts, whole numbers or booleans")
    return value


def _bounds(node: ast.expr, kind: Any) -> Any:
    if not isinstance(node, ast.Call) or _name(node.func) != "Field" or node.args:
        raise AnnotationError(f"{ast.unparse(node)}: bounds are written Field(ge=1)")
    bounded = _inner(kind) or kind
    possible = _BOUNDS.get(get_origin(bounded) or bounded, set()) | {"description"}
    for keyword in node.keywords:
        if keyword.arg not in possible:
            raise AnnotationError(f"{ast.unparse(node)}: the type can have {', '.join(sorted(possible))}")
    return Field(**{str(keyword.arg): _constant(keyword.value) for keyword in node.keywords})


def _constant(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise AnnotationError(f"{ast.unparse(node)} is not a literal") from error


def _inner(kind: Any) -> Any:
    """T of ``T | None``, or None for any other type."""
    arguments = get_args(kind)
    if type(None) not in arguments or get_origin(kind) is Literal:
        return None
    return next(argument for argument in arguments if argument is not type(None))


def _says_none(value: object, inner: Any) -> bool:
    """Whether a text means None: an empty one, and the word where the type has no texts."""
    return value == "" or (isinstance(value, str) and inner is not str and value.lower() in ("none", "null"))


def _spell(text: str, kind: Any) -> object:
    try:
        if kind is int and _INTEGER.fullmatch(text):
            return int(text)
        if kind is float:
            return float(text)
        if kind is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if kind is date and len(text) == len("2013-01-02"):
            return date.fromisoformat(text)
        if kind is Decimal:
            return Decimal(text)
        if kind is Path and text:
            return Path(text)
    except (ValueError, InvalidOperation) as error:
        raise ValueError(f"{text!r} is not {_SPELLING[kind]}") from error
    if kind is str:
        return text
    raise ValueError(f"{text!r} is not {_SPELLING[kind]}")


_SPELLING: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    date: "a date such as 2013-01-02",
    Decimal: "a decimal number",
    Path: "a path",
}


def _choose(value: object, choices: tuple[object, ...]) -> object:
    """The choice that is spelled like ``value``."""
    for choice in choices:
        if value == choice and type(value) is type(choice):
            return choice
    spelled = {str(choice).lower() if isinstance(choice, bool) else str(choice): choice for choice in choices}
    return spelled.get(value, value) if isinstance(value, str) else value


def _read_list(value: object, item: Any, *, text: bool) -> object:
    """JSON, or items between commas."""
    if text and isinstance(value, str):
        if value.lstrip().startswith("["):
            return _read_list(_json(value), item, text=text)
        value = [part.strip() for part in value.split(",")] if value.strip() else []
    if isinstance(value, list | tuple):
        return [read(part, item, text=text) for part in value]
    return value


def _read_dict(value: object, item: Any, *, text: bool) -> object:
    if text and isinstance(value, str):
        value = _json(value)
    if isinstance(value, Mapping):
        return {key: read(part, item, text=text) for key, part in value.items()}
    return value


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{text!r} is not JSON: {error}") from error
