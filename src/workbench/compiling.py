"""How numerical loops are compiled: by numba, once per machine and not once per process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core import cgutils, types
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a loop for the types it is first called with; it releases the GIL, so threads run it side by side.

    The machine code is kept beside the source, or in the user's cache folder if the installation cannot be written
    (numba's own rules; ``NUMBA_CACHE_DIR`` names another place). If neither can be, every process compiles for itself.
    """
    return _jit(function, fastmath=False)


def inlined(function: F) -> F:
    """Compile a small function into each that calls it: a call would cost more than what it does."""
    return _jit(function, fastmath=False, forceinline=True, _nrt=False)


def bare(function: F) -> F:
    """Compile a loop that makes no arrays: it is spared the counting of references to those that it is given."""
    return _jit(function, fastmath=False, _nrt=False)


def vectorised(function: F) -> F:
    """Compile a loop whose sums may be taken in any order, several at once; none of its values may be NaN."""
    return _jit(function, fastmath={"reassoc", "contract", "nsz", "nnan"})


def _jit(function: F, **options: Any) -> F:
    try:
        made: Any = numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    except RuntimeError:  # "cannot cache function": no place for the cache can be written
        made = numba.njit(nogil=True, error_model="numpy", **options)(function)
    return cast(F, made)


def _trailing_zeros(_context: Any, word: Any) -> Any:
    return types.int64(word), lambda _c, builder, _s, given: builder.cttz(given[0], cgutils.false_bit)


def _leading_zeros(_context: Any, word: Any) -> Any:
    return types.int64(word), lambda _c, builder, _s, given: builder.ctlz(given[0], cgutils.false_bit)


def _set_bits(_context: Any, word: Any) -> Any:
    return types.int64(word), lambda _c, builder, _s, given: builder.ctpop(given[0])


# In compiled code, of a uint64: the place of the lowest bit set, how many bits are above the highest set (64 of each
# where none is set), and how many are set. Each is one instruction, which no loop of ours is compiled to.
trailing_zeros: Any = intrinsic(_trailing_zeros)
leading_zeros: Any = intrinsic(_leading_zeros)
set_bits: Any = intrinsic(_set_bits)
