"""The part of compiling that needs numba: imported where nothing is kept yet, and for what cannot be kept."""

# numba has types of its own for some of this, and none for the rest.
# mypy: disable-error-code="no-untyped-call,call-overload"

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numba
from llvmlite import binding as llvm
from numba.core import cgutils, compiler, types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from workbench.compiling.arguments import Form, llvm_types
from workbench.compiling.machine_code import Made

if TYPE_CHECKING:
    from workbench.compiling.loop import Loop

_COMMON = {"nogil": True, "error_model": "numpy"}
_RETURNS = {types.none: "none", types.int64: "int", types.float64: "float", types.boolean: "bool"}
# What code may call that is kept: functions of C, which every process has.
_ALWAYS_THERE = {
    "memset", "memcpy", "memmove", "floor", "ceil", "trunc", "rint", "round", "nearbyint", "fabs", "fmod", "sqrt",
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "pow", "sin", "cos", "tan", "copysign", "ldexp", "fma",
}  # fmt: skip


def dispatcher_of(loop: Loop) -> Any:
    """The function as numba runs it, and as it calls it from compiled code."""
    if not loop.kept:
        try:
            return numba.njit(cache=True, **_COMMON, **loop.options)(loop.function)
        except RuntimeError:  # "cannot cache function": no place for the cache can be written
            pass
    return numba.njit(**_COMMON, **loop.options)(loop.function)


def compile_alone(loop: Loop, form: Form, arguments: tuple[Any, ...]) -> Made | None:
    """Compile a function without what lets Python call it; None if it cannot do without numba's own library."""
    flags = compiler.Flags()
    options = {"nopython": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, **_COMMON, **loop.options}
    cpu_target.options.parse_as_flags(flags, options)
    typing, target = cpu_target.typing_context, cpu_target.target_context
    with global_compiler_lock:
        typing.refresh()
        target.refresh()
        kinds = tuple(numba.typeof(argument) for argument in arguments)
        made = compiler.compile_extra(typing, target, loop.function, kinds, None, flags, {})
        module = llvm.parse_bitcode(made.library.serialize_using_bitcode()[2])  # optimised as numba runs it
        code = target.codegen()._tm.emit_object(module)
    name, returns = made.fndesc.llvm_func_name, _RETURNS.get(made.signature.return_type)
    called = {one.name for one in module.functions if one.is_declaration and not one.name.startswith("llvm.")}
    taken = [str(one.type) for one in module.get_function(name).arguments]
    if returns is None or called - _ALWAYS_THERE or taken != llvm_types(form):
        return None
    return Made(code, name, returns)


@cache
def instruction_type(name: str) -> Any:
    """The type by which numba calls one of LLVM's functions on bits."""

    def build(_context: Any, builder: Any, _signature: Any, given: Any) -> Any:
        counts = {"cttz": builder.cttz, "ctlz": builder.ctlz}
        return counts[name](given[0], cgutils.false_bit) if name in counts else builder.ctpop(given[0])

    def typed(_context: Any, word: Any) -> Any:
        return types.int64(word), build

    function, typing = intrinsic(typed), cpu_target.typing_context
    typing.refresh()
    return typing.resolve_value_type(function)
