"""How a sweep shows how far it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

# Makes a bar from ``total``, ``initial`` and ``unit``; the bar has ``update`` and ``close``.
Progress = Callable[..., Any]


def bar(progress: Progress | bool, *, total: int, initial: int, unit: str = " combinations") -> Any:
    """A bar where somebody watches: in a notebook, or on a terminal; otherwise one that shows nothing.

    >>> bar(False, total=3, initial=0).disable
    True
    """
    if not isinstance(progress, bool):
        return progress(total=total, initial=initial, unit=unit)
    from tqdm import tqdm

    notebook = _in_notebook()
    watched = notebook or sys.stderr.isatty()
    return tqdm(
        total=total,
        initial=initial,
        unit=unit,
        unit_scale=True,
        mininterval=1.0 if notebook else 0.1,
        disable=not (progress and watched),
        file=sys.stdout if notebook else sys.stderr,  # a notebook shows its error stream as an error
        leave=notebook,
    )


def _in_notebook() -> bool:
    kernel = sys.modules.get("ipykernel.kernelapp")
    return kernel is not None and kernel.IPKernelApp.initialized()
