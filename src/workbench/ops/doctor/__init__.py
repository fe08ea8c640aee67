"""Is everything there that the product needs? Each check says what it found and, if it is not well, the way out."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping

from workbench.clock import Clock
from workbench.errors import ConfigError, WorkbenchError, nearest
from workbench.hardware import health
from workbench.ops.doctor import installation, stores, trading
from workbench.ops.doctor.check import Check, Examination, Patient, State
from workbench.settings import Settings


def _machine(patient: Patient) -> Iterator[Check]:
    """The same that a run which may order asks before it starts."""
    for finding in health.examine(patient.settings.data_dir, patient.settings.machine):
        yield Check(finding.name, finding.state, finding.found, finding.fix)


# Every examination by its name, in the order of the lines; one may make several lines.
EXAMINATIONS: dict[str, Examination] = {
    "python": installation.python,
    "packages": installation.packages,
    "lock": installation.lock,
    "engines": installation.engines,
    "extensions": installation.extensions,
    "kernel": installation.kernel,
    "lab": installation.lab,
    "credentials": installation.credentials,
    "calendar": installation.calendar,
    "folders": stores.folders,
    "data folder": stores.place,
    "machine": _machine,
    "lake": stores.lake,
    "journal": trading.journal,
    "reports": stores.reports,
    "measurements": stores.measurements,
}
# Those that take seconds.
SLOW = frozenset({"engines"})


def examine(
    settings: Settings,
    clock: Clock,
    *,
    only: Collection[str] | None = None,
    quick: bool = False,
    env: Mapping[str, str] | None = None,
) -> list[Check]:
    """Run every examination; one that breaks is a failure with its error, never an exception.

    Parameters
    ----------
    only
        Names of :data:`EXAMINATIONS`; all of them if left out.
    quick
        Without those that take seconds.
    env
        Where credentials are looked for; the process's own environment if left out.

    Raises
    ------
    ConfigError
        If there is no examination of a name.
    """
    for name in only or ():
        if name not in EXAMINATIONS:
            raise ConfigError(f"the doctor has no examination {name!r}", hint=nearest(name, EXAMINATIONS))
    patient = Patient(settings, clock, os.environ if env is None else env)
    found: list[Check] = []
    for name, examination in EXAMINATIONS.items():
        if (only and name not in only) or (quick and name in SLOW):
            continue
        try:
            found.extend(examination(patient))
        except WorkbenchError as error:
            found.append(Check(name, "fail", error.message, error.hint or ""))
        except Exception as error:  # the doctor must tell of a fault it was not written for, too
            found.append(Check(name, "fail", f"{type(error).__name__}: {error}"))
    return found


__all__ = ["EXAMINATIONS", "SLOW", "Check", "State", "examine"]
