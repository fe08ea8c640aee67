"""Which bars research reads, the raw ones or those with the repairs, and the words by which a result says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from workbench.errors import DataError
from workbench.research.costs import RAW

if TYPE_CHECKING:
    from workbench.app.installation import Installation


@dataclass(frozen=True)
class Chosen:
    """The snapshot that is read, whether with its repairs, and ``data``: what the assumptions of a result say of it."""

    snapshot: int | None
    cleaned: bool = False
    data: str = RAW


def choose(
    workbench: Installation, symbols: Sequence[str] | None, until: date | None = None, *, cleaned: bool = False
) -> Chosen:
    """Pin what a study reads.

    Parameters
    ----------
    until
        The last session that is read.
    cleaned
        With the repairs of ``workbench data clean``, daily bars and corporate actions.

    Raises
    ------
    DataError
        If nothing of the symbols was cleaned, or a cleaned value looks ahead: a study decides on every session.
    """
    if not cleaned:
        return Chosen(workbench.data_snapshot)
    from workbench.app.cleaning import require_past_only

    lake = workbench.lake
    snapshot = workbench.data_snapshot or lake.snapshot()
    wanted = list(symbols) if symbols else None
    repairs = lake.repairs(wanted, frequency="daily", snapshot=snapshot)
    if not len(repairs):
        raise DataError(
            f"nothing of {_named(wanted)} was cleaned: snapshot {snapshot} has no repairs of its daily bars",
            hint="workbench data clean, or read the raw bars",
        )
    require_past_only(workbench, wanted, until=until or date.max)
    policies = sorted({str(name) for name in repairs["policy"]})
    return Chosen(snapshot, True, f"cleaned by policy {' and '.join(policies)}")


def _named(symbols: Sequence[str] | None) -> str:
    if not symbols:
        return "the lake"
    return ", ".join(symbols[:5]) + (f" and {len(symbols) - 5} more" if len(symbols) > 5 else "")
