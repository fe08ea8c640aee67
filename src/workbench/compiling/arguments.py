"""How arguments reach machine code: the types that it is made for, and the plain numbers that it takes.

numba's functions follow the calling convention of C once their arguments are taken apart: of an array an owner and its
object (none here), its elements and bytes per element, where the data are, its shape and its strides; of a named tuple
what is in it, one after the other. The first two are where the result and where an exception goes.

Source: ``numba.core.datamodel.models`` and ``numba.core.callconv.CPUCallConv``. ``numba_side.compile_alone`` sees for
every function that it is so.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import numpy as np

Form = Hashable

_ELEMENTS = {"<f8", "<i8", "<u8", "|u1", "|b1"}
_NUMBERS: dict[type, str] = {
    float: "float", np.float64: "float", int: "int", np.int64: "int", bool: "bool", np.bool_: "bool",
}  # fmt: skip
_C: dict[str, Any] = {
    "float": ctypes.c_double, "int": ctypes.c_int64, "bool": ctypes.c_bool, "pointer": ctypes.c_void_p,
}  # fmt: skip
_LLVM = {"float": "double", "int": "i64", "bool": "i1", "pointer": "ptr"}
_TOO_LARGE = 2**63
_FINE = (0, -2)  # what functions return that have a result, or none


def form_of(arguments: tuple[Any, ...]) -> Form | None:
    """The types of arguments; None if there is one that only numba takes.

    >>> form_of((np.zeros((2, 3)), 1.0, True))
    ('<f8 2 C', 'float', 'bool')
    >>> form_of(("text",)) is None
    True
    """
    forms: list[Form] = []
    for value in arguments:
        kind = type(value)
        form: Form | None
        if kind is np.ndarray:
            flags, element = value.flags, value.dtype.str
            layout = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
            fine = flags.writeable and flags.aligned and element in _ELEMENTS
            form = f"{element} {value.ndim} {layout}" if fine else None
        elif isinstance(value, tuple) and hasattr(kind, "_fields"):
            parts = form_of(value)
            form = None if parts is None else (kind, parts)
        else:
            form = None if kind is int and not -_TOO_LARGE <= value < _TOO_LARGE else _NUMBERS.get(kind)
        if form is None:
            return None
        forms.append(form)
    return tuple(forms)


def caller(name: str, address: int, form: Form, returns: str) -> Callable[..., Any]:
    """A function of Python that calls machine code with arguments of this form; the GIL is released meanwhile."""
    kinds = [_C[kind] for kind in _kinds(form)]
    function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *kinds)(address)
    kind = _C["pointer"] if returns == "none" else _C[returns]

    def call(*arguments: Any) -> Any:
        result, trouble = kind(), ctypes.c_void_p()
        status = function(ctypes.byref(result), ctypes.byref(trouble), *_numbers(arguments))
        if status not in _FINE:
            raise RuntimeError(f"{name} raised an exception in compiled code (status {status})")
        return None if returns == "none" else result.value

    return call


def llvm_types(form: Form) -> list[str]:
    """What a function of this form takes, in the words of LLVM."""
    return ["ptr", "ptr", *(_LLVM[kind] for kind in _kinds(form))]


def _kinds(form: Any) -> Iterator[str]:
    """The kinds of the plain numbers that arguments of this form are taken apart into."""
    for one in form:
        if isinstance(one, tuple):
            yield from _kinds(one[1])
        elif one in _C:
            yield one
        else:
            dimensions = int(one.split()[1])
            yield from ("pointer", "pointer", "int", "int", "pointer", *["int"] * 2 * dimensions)


def _numbers(arguments: tuple[Any, ...]) -> Iterator[Any]:
    for value in arguments:
        if isinstance(value, np.ndarray):
            yield from (None, None, value.size, value.itemsize, value.ctypes.data, *value.shape, *value.strides)
        elif isinstance(value, tuple):
            yield from _numbers(value)
        else:
            yield value.item() if isinstance(value, np.generic) else value
