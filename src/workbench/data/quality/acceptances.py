"""Findings that do not count: a person accepted them for a time, or the pipeline says that it can live with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from workbench.data.quality.report import Finding
from workbench.data.rules import RULES, Severity
from workbench.errors import ConfigError, nearest


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What a person can live with: one rule on one symbol, from ``first`` to ``last`` session, ``until`` a day.

    It covers findings whose sessions all lie in the range. ``until`` is the last day on which it counts.
    """

    rule: str
    symbol: str
    first: date
    last: date
    who: str
    why: str
    until: date

    def __post_init__(self) -> None:
        """Refuse what would accept more than one thing, or nothing.

        Raises
        ------
        ConfigError
            If rule or symbol are none, nobody answers for it, or the dates are out of order.
        """
        if self.rule not in RULES:
            raise ConfigError(f"no rule {self.rule!r}", hint=nearest(self.rule, RULES))
        if not self.symbol.strip() or self.symbol in ("*", "all"):
            raise ConfigError("an acceptance names one symbol", hint="accept each by itself")
        if not self.who.strip() or not self.why.strip():
            raise ConfigError("an acceptance needs a person and a reason")
        if self.first > self.last:
            raise ConfigError(f"from {self.first} is after to {self.last}")

    def covers(self, finding: Finding, today: date) -> bool:
        """Whether it counts today, and for that finding."""
        return (
            today <= self.until
            and finding.rule == self.rule
            and finding.symbol == self.symbol
            and bool(np.datetime64(self.first) <= finding.session)
            and bool(finding.last < np.datetime64(self.last, "ns") + np.timedelta64(1, "D"))
        )

    def __str__(self) -> str:
        return f"accepted by {self.who} until {self.until}: {self.why}"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a pipeline can live with: rules by name, and the gravest verdict that its order step runs on.

    A tolerated rule warns where it would block. ``max_severity`` ``warn`` lets warnings pass, ``pass`` does not.
    """

    tolerate: frozenset[str] = field(default_factory=frozenset)
    max_severity: Severity | str = "warn"


def excuses(acceptances: Sequence[Acceptance], today: date | None) -> Callable[[Finding], str | None]:
    """Why a finding does not count, as :meth:`QualityReport.excuse` asks it; None is it counts."""

    def because(finding: Finding) -> str | None:
        for acceptance in acceptances:
            if acceptance.covers(finding, acceptance.until if today is None else today):
                return str(acceptance)
        return None

    return because
