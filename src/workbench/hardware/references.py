"""Other machines to hold this one against: what their makers' figures allow at most, and what others have measured.

A peak is a limit that no program reaches; half to nine tenths of it is usual for arithmetic and for copying memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

Figure = Literal["arithmetic, GFLOP/s", "memory, GB/s", "durable write, ms"]


@dataclass(frozen=True, slots=True)
class Reference:
    """One figure of another machine, and where it comes from."""

    figure: Figure
    machine: str
    value: float
    source: str


_AVX2 = "cores x 3.0 GHz x 16 operations a cycle: two units of four float64 lanes, multiply and add"
_TRANSFERS = "transfers a second x 8 bytes x channels (JEDEC names)"
_OURS = "`workbench profile` on the machine this notebook was written on, November 2026"
# A cycle of AVX2 with two FMA units: Intel 64 and IA-32 Architectures Optimization Reference Manual, Haswell and later.
REFERENCES = (
    Reference("arithmetic, GFLOP/s", "cloud guest, 2 cores of AMD EPYC 7003", 68.0, _OURS),
    Reference("arithmetic, GFLOP/s", "4 cores with AVX2 at 3 GHz, peak", 192.0, _AVX2),
    Reference("arithmetic, GFLOP/s", "16 cores with AVX2 at 3 GHz, peak", 768.0, _AVX2),
    Reference("memory, GB/s", "cloud guest, 2 cores of AMD EPYC 7003", 20.7, _OURS),
    Reference("memory, GB/s", "two channels of DDR4-3200, peak", 51.2, _TRANSFERS),
    Reference("memory, GB/s", "two channels of DDR5-4800, peak", 76.8, _TRANSFERS),
    Reference("durable write, ms", "hard disk of 7,200 rpm, one turn", 8.33, "60 s / 7,200"),
    Reference(
        "durable write, ms", "Samsung 960 Pro (consumer SSD)", 3.5,
        "P. Zaitsev, Why Consumer SSD Reviews are Useless for Database Performance Use Case, percona.com, 2018",
    ),
    Reference(
        "durable write, ms", "Samsung 990 Pro (consumer SSD)", 0.89,
        "M. Callaghan, SSDs, power loss protection and fsync latency, smalldatum.blogspot.com, January 2026,"
        " as engineered.at sums it up: 16 KB",
    ),
    Reference(
        "durable write, ms", "SSD with power-loss protection", 0.058,
        "the same: 12 to 58 microseconds, the slowest of them",
    ),
)  # fmt: skip


def beside(figure: Figure, value: float) -> pd.Series[float]:
    """Hold this machine's figure against the references': by machine, in ascending order.

    >>> beside("durable write, ms", 1.0).index.get_loc("this machine")
    2
    """
    import pandas as pd

    found = {"this machine": value} | {one.machine: one.value for one in REFERENCES if one.figure == figure}
    return pd.Series(found, name=figure).sort_values()
