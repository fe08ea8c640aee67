"""The helper process of kernels, started before the command line itself is imported: both take half a second.

Only the standard library is imported here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.jobs.kernels import KernelPool

_RUNNING = {"run", "replay", "demo"}
_pools: list[KernelPool] = []


@contextmanager
def started_early(arguments: Sequence[str]) -> Iterator[None]:
    """Start the helper if a command line needs it; whatever becomes of the command, it is gone at the end."""
    if not arguments or arguments[0] not in _RUNNING or "--help" in arguments:
        yield
        return
    with undecided_pool() as pool:
        _pools.append(pool)
        try:
            yield
        finally:
            _pools.clear()


def undecided_pool() -> KernelPool:
    """The pool that was started early, or a new one. Somebody has to say what it prepares."""
    if _pools:
        return _pools.pop()
    from workbench.jobs.kernels import KernelPool

    return KernelPool(preload=None, pages=True)
