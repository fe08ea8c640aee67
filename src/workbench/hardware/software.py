"""Python, the linear algebra below NumPy, and the versions of what the product is built on."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass

# Distributions whose version can change a result or a speed.
PACKAGES = (
    "numpy", "pandas", "pyarrow", "duckdb", "numba", "scikit-learn", "tensorflow", "vectorbt", "zipline-reloaded",
    "exchange-calendars", "papermill", "jupyterlab", "alpaca-trade-api",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Blas:
    """The library that multiplies matrices, the processor it believes it runs on, and how many threads it takes."""

    name: str
    version: str | None
    target: str | None
    threads: int


@dataclass(frozen=True, slots=True)
class Software:
    python: str
    blas: tuple[Blas, ...]
    packages: dict[str, str]


def read_software() -> Software:
    """Read the versions that this process uses; NumPy is imported, because only then its library is loaded."""
    return Software(f"{platform.python_implementation()} {platform.python_version()}", _blas(), _packages())


def _blas() -> tuple[Blas, ...]:
    import numpy as np
    from threadpoolctl import threadpool_info

    np.dot(np.ones(2), np.ones(2))
    found = [
        Blas(pool["internal_api"], pool.get("version"), pool.get("architecture"), int(pool["num_threads"]))
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]
    return tuple(dict.fromkeys(found))  # NumPy and SciPy bring one each


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # the doctor says that it is missing
    return found
