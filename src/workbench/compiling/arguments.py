"""How arguments reach machine code: the types that it is made for, and the plain numbers that it takes.

numba's functions follow the calling convention of C once their arguments are taken apart: of an array an owner and its
object (none here), its elements and bytes per element, where the data are, its shape and its strides; of a named tuple
what is in it, one after the other. Where the result and where an exception goes stand before them. A function before
it takes all of these from one block of memory, eight bytes each, which Python fills at once.

Source: ``numba.core.datamodel.models`` and ``numba.core.callconv.CPUCallConv``. ``numba_side.compile_alone`` sees for
every function that it is so.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Hashable, Iterator
from typing import Any, cast

import numpy as np

Form = Hashable

_ELEMENTS = {np.dtype(kind): kind for kind in ("float64", "int64", "uint64", "uint8", "bool")}
_NUMBERS: dict[object, str] = {
    float: "double", np.float64: "double", int: "i64", np.int64: "i64", bool: "i1", np.bool_: "i1",
}  # fmt: skip
_RESULTS: dict[str, Any] = {
    "none": ctypes.c_void_p, "double": ctypes.c_double, "i64": ctypes.c_int64, "i1": ctypes.c_bool,
}  # fmt: skip
_LETTERS = {"double": "d", "i64": "q", "i1": "q", "ptr": "P"}
# Of numpy's flags of an array: contiguous as in C and as in Fortran, aligned, to be written to.
_C, _F, _ALIGNED, _WRITEABLE = 0x1, 0x2, 0x100, 0x400
_FLAGS = _C | _F | _ALIGNED | _WRITEABLE
_TOO_LARGE = 2**63
_FINE = (0, -2)  # what functions return that have a result, or none
_byte, _address = ctypes.c_char.from_buffer, ctypes.addressof


def form_of(arguments: tuple[Any, ...]) -> Form:
    """What a function is compiled for anew: types, and of arrays dimensions and layout."""
    forms: list[Form] = []
    for value in arguments:
        kind = type(value)
        if kind is np.ndarray:
            forms.append((value.dtype, value.ndim, value.flags.num & _FLAGS))
        elif isinstance(value, tuple):
            forms.append((kind, form_of(value)))
        else:
            too_large = kind is int and not -_TOO_LARGE <= value < _TOO_LARGE
            forms.append("too large" if too_large else cast(Hashable, kind))
    return tuple(forms)


def words(form: Any) -> str | None:
    """A form as text; None if there is something in it that only numba takes.

    >>> words(form_of((np.zeros((2, 3)), 1.0, True)))
    'float64 2 C, double, i1'
    >>> words(form_of(("text",))) is None
    True
    """
    said: list[str | None] = []
    for one in form:
        if not isinstance(one, tuple):
            said.append(_NUMBERS.get(one))
        elif len(one) == 3:
            said.append(_array(*one))
        else:
            fields, inner = getattr(one[0], "_fields", None), words(one[1])
            said.append(None if fields is None or inner is None else f"{one[0].__qualname__}{fields} ({inner})")
    return None if None in said else ", ".join(map(str, said))


def _array(element: np.dtype[Any], dimensions: int, flags: int) -> str | None:
    fine = element in _ELEMENTS and flags & _ALIGNED and flags & _WRITEABLE
    layout = "C" if flags & _C else "F" if flags & _F else "A"
    return f"{_ELEMENTS[element]} {dimensions} {layout}" if fine else None


def llvm_types(form: Form) -> list[str]:
    """What a function of this form takes, in the words of LLVM."""
    return ["ptr", "ptr", *_kinds(form)]


def _kinds(form: Any) -> Iterator[str]:
    """The kinds of the plain numbers that arguments of this form are taken apart into."""
    for one in form:
        if not isinstance(one, tuple):
            yield _NUMBERS[one]
        elif len(one) == 3:
            yield from ("ptr", "ptr", "i64", "i64", "ptr", *["i64"] * 2 * one[1])
        else:
            yield from _kinds(one[1])


def entry(name: str, target: str, form: Form) -> str:
    """A function in the words of LLVM that takes the numbers of a form from a block of memory, and calls another."""
    lines, given = [], ["ptr %result", "ptr %trouble"]
    for place, kind in enumerate(_kinds(form)):
        stored = "i64" if kind == "i1" else kind
        lines.append(f"%p{place} = getelementptr i8, ptr %block, i64 {8 * place}")
        lines.append(f"%v{place} = load {stored}, ptr %p{place}, align 1")
        if kind == "i1":
            lines.append(f"%b{place} = trunc i64 %v{place} to i1")
        given.append(f"{kind} %{'b' if kind == 'i1' else 'v'}{place}")
    return "\n".join([
        f'declare i32 @"{target}"({", ".join(llvm_types(form))})',
        f'define i32 @"{name}"(ptr %block, ptr %result, ptr %trouble) {{', *lines,
        f'%status = call i32 @"{target}"({", ".join(given)})', "ret i32 %status", "}",
    ])  # fmt: skip


def preparer(name: str, address: int, form: Form, returns: str) -> Callable[..., Callable[[], Any]]:
    """What makes of arguments of this form a call of an :func:`entry`; the GIL is released while it runs."""
    function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)(address)
    pack = struct.Struct("".join(_LETTERS[kind] for kind in _kinds(form))).pack
    kind, by_reference = _RESULTS[returns], ctypes.byref

    def prepare(*arguments: Any) -> Callable[[], Any]:
        numbers: list[Any] = []
        _take_apart(arguments, numbers)
        block = pack(*numbers)

        def call() -> Any:
            _ = arguments  # they live as long as the call that has their addresses
            result, trouble = kind(), ctypes.c_void_p()
            status = function(block, by_reference(result), by_reference(trouble))
            if status not in _FINE:
                raise RuntimeError(f"{name} raised an exception in compiled code (status {status})")
            return None if returns == "none" else result.value

        return call

    return prepare


def _take_apart(arguments: tuple[Any, ...], numbers: list[Any]) -> None:
    for value in arguments:
        kind = type(value)
        if kind is np.ndarray:
            whole = value.flags.c_contiguous and value.size > 0
            data = _address(_byte(value)) if whole else value.ctypes.data
            numbers += (0, 0, value.size, value.itemsize, data)
            numbers += value.shape
            numbers += value.strides
        elif isinstance(value, tuple):
            _take_apart(value, numbers)
        else:
            numbers.append(value.item() if isinstance(value, np.generic) else value)
