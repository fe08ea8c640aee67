"""TOML, written: tables of plain values as text that a person can read and compare line by line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(values: Mapping[str, object]) -> str:
    """Write nested mappings as TOML; a value that is None is left out, a sequence of mappings becomes ``[[name]]``.

    >>> print(to_toml({"name": "daily", "steps": [{"name": "a", "cells": ["x"]}], "by": {"who": "ada", "why": None}}))
    name = "daily"
    <BLANKLINE>
    [[steps]]
    name = "a"
    cells = ["x"]
    <BLANKLINE>
    [by]
    who = "ada"
    <BLANKLINE>
    """
    return "\n".join(_table("", values)).lstrip("\n") + "\n"


def _table(path: str, values: Mapping[str, object]) -> list[str]:
    lines, tables = [], []
    for key, value in values.items():
        name = key if _BARE.fullmatch(key) else _text(key)
        inner = f"{path}.{name}" if path else name
        if isinstance(value, Mapping):
            inside = _table(inner, value)
            is_header_only = inside[:1] == [""]  # its tables say where they belong
            tables += inside if is_header_only else ["", f"[{inner}]", *inside]
        elif _is_tables(value):
            assert isinstance(value, Sequence)
            for item in value:
                tables += ["", f"[[{inner}]]", *_table(inner, item)]
        elif value is not None:
            lines.append(f"{name} = {_value(value)}")
    return lines + tables


def _is_tables(value: object) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        return False
    return all(isinstance(item, Mapping) for item in value)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, date):  # a datetime is one, too
        return value.isoformat()
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(key)} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return _list([_value(item) for item in value])
    raise TypeError(f"{type(value).__name__} has no TOML form")


def _list(items: list[str]) -> str:
    line = f"[{', '.join(items)}]"
    return line if len(line) <= 100 else "\n".join(["[", *(f"    {item}," for item in items), "]"])


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
