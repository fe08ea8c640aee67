"""How numerical loops are compiled: by numba, once per machine and not once per process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a loop for the types it is first called with; it releases the GIL, so threads run it side by side.

    The machine code is kept beside the source, or in the user's cache folder if the installation cannot be written
    (numba's own rules; ``NUMBA_CACHE_DIR`` names another place). If neither can be, every process compiles for itself.
    """
    return _jit(function, fastmath=False)


def vectorised(function: F) -> F:
    """Compile a loop whose sums may be taken in any order, several at once; none of its values may be NaN."""
    return _jit(function, fastmath={"reassoc", "contract", "nsz", "nnan"})


def _jit(function: F, **options: Any) -> F:
    try:
        made: Any = numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    except RuntimeError:  # "cannot cache function": no place for the cache can be written
        made = numba.njit(nogil=True, error_model="numpy", **options)(function)
    return cast(F, made)
