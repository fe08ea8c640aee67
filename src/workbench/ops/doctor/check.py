"""One line of the doctor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from workbench.clock import Clock
from workbench.settings import Settings

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was found and, if it is not well, the way out."""

    name: str
    state: State
    found: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined: an installation, in an environment, at a moment."""

    settings: Settings
    clock: Clock
    env: Mapping[str, str]


Examination = Callable[[Patient], Iterator[Check]]
