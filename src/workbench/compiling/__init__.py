"""How numerical loops are compiled: by numba, once per machine, and called in later processes without it.

A decorated function is called from Python with arrays, numbers and named tuples of them, in their order; or from
another such function, as part of its machine code. Nothing is imported until it is called.

:func:`bare` is for loops that make no arrays, and is what a hot path needs: their machine code depends on nothing, so
it is kept as it is, and a later process loads it with LLVM alone. numba takes half a second and 80 MB to be ready. What
a loop is made of is known exactly (its own code, the code and the constants of all that it calls, wherever they stand,
the types, the processor, the versions): a change anywhere compiles it anew.

:func:`compiled` is for loops that do make arrays. numba keeps their machine code by rules of its own, and has to be
imported to run them; of those that call each other, a change in one file is not noticed in another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from workbench.compiling.loop import Instruction, Loop

__all__ = ["bare", "compiled", "inlined", "leading_zeros", "prepared", "set_bits", "trailing_zeros", "vectorised"]

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a loop for the types it is first called with; it releases the GIL, so threads run it side by side.

    The machine code is kept beside the source, or in the user's cache folder if the installation cannot be written
    (numba's own rules; ``NUMBA_CACHE_DIR`` names another place). If neither can be, every process compiles for itself.
    """
    return cast(F, Loop(function, kept=False))


def bare(function: F) -> F:
    """Compile a loop that makes no arrays, neither itself nor in what it calls; later processes need no numba for it.

    Its arguments are float64, int64, uint64, uint8 and bool arrays that can be written to, numbers, and named tuples of
    these; it gives back a number, true or false, or nothing. With anything else it is compiled in every process. It is
    kept in the same places as what is :func:`compiled`.
    """
    return cast(F, Loop(function, kept=True, _nrt=False))


def prepared(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """The call of a compiled function with these arguments, taken apart once: for one that is made again and again.

    Each time it finds in the arrays what is in them then.
    """
    return cast(Loop, function).prepared(*arguments)


def inlined(function: F) -> F:
    """Compile a small function into each that calls it: a call would cost more than what it does."""
    return cast(F, Loop(function, kept=True, forceinline=True, _nrt=False))


def vectorised(function: F) -> F:
    """Compile a loop whose sums may be taken in any order, several at once; none of its values may be NaN."""
    return cast(F, Loop(function, kept=True, fastmath={"reassoc", "contract", "nsz", "nnan"}, _nrt=False))


# The place of the lowest bit set, how many bits are above the highest set (64 of each where none is set), and how many
# are set.
trailing_zeros: Any = Instruction("cttz")
leading_zeros: Any = Instruction("ctlz")
set_bits: Any = Instruction("ctpop")
