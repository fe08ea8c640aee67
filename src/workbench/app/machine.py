"""The machine as the product sees it: profile, what it can do, what it carries, advice; and how far the venues are."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.app.measuring import measure_all
from workbench.calendars import Calendar
from workbench.clock import Clock
from workbench.hardware.advice import Advice, advise, advise_costs
from workbench.hardware.budget import Budget, Workload, budget
from workbench.hardware.capability import Capability
from workbench.hardware.costs import Costs, monthly_costs
from workbench.hardware.latency import Latency, Timing, measure_latency
from workbench.hardware.measurements import Measurements
from workbench.hardware.network import address_of
from workbench.hardware.probe import Target, parse_target
from workbench.hardware.profile import HardwareProfile, profile
from workbench.settings import Settings

if TYPE_CHECKING:
    from workbench.app.workbench import Workbench

PRACTICE = "paper exchange"
_WRITES, _QUICK_WRITES = 200, 50


@dataclass(frozen=True, slots=True)
class MachineReport:
    """One look at the machine."""

    profile: HardwareProfile
    capability: Capability
    budget: Budget
    costs: Costs
    advice: tuple[Advice, ...]

    def to_dict(self) -> dict[str, Any]:
        """The profile's values, and ``capability``, ``budget``, ``costs`` and ``advice``, as JSON can hold them."""
        return {
            **self.profile.to_dict(),
            "capability": self.capability.to_dict(),
            "budget": self.budget.to_dict(),
            "costs": {name: float(value) for name, value in asdict(self.costs).items() if value.is_finite()},
            "advice": [asdict(advice) for advice in self.advice],
        }


def look(
    settings: Settings,
    calendar: Calendar,
    clock: Clock,
    *,
    quick: bool = False,
    tensorflow: bool = False,
    workload: Workload | None = None,
) -> MachineReport:
    """Describe and measure this machine: some 20 s, ``quick`` under 5 s without the product's own parts.

    Parameters
    ----------
    tensorflow
        Ask TensorFlow which cards it can use; ten seconds more.
    workload
        What the daily job does.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    writes = _QUICK_WRITES if quick else _WRITES
    found = profile(settings.data_dir, clock=clock, tensorflow=tensorflow, writes=writes)
    measured = measure_all(settings, calendar, found.cpu, clock, quick=quick)
    carries = budget(found.cpu.cores_usable, found.memory.total_bytes, measured, workload)
    costs = monthly_costs(settings.prices)
    said = (*advise(found, measured, carries, settings.machine), advise_costs(costs))
    return MachineReport(found, measured, carries, costs, said)


def keep(settings: Settings, report: MachineReport) -> Path:
    """Keep a report among the measurements; returns its file."""
    return Measurements.of(settings.data_dir).add("profile", report.profile.measured_at, report.to_dict())


def keep_latency(settings: Settings, found: Sequence[Latency]) -> Path:
    """Keep what was measured of some targets at one time; returns its file."""
    content = {"results": [one.to_dict() for one in found]}
    return Measurements.of(settings.data_dir).add("latency", found[0].measured_at, content)


def merge(workbench: Workbench) -> None:
    """Show what was kept in the reports database, if there is one; if another program holds it, a later run does."""
    from workbench.reports.projection import project

    file = workbench.settings.reports_file
    if file.is_file():
        project(workbench.journal, file, lake=workbench.lake, wait_s=0.5)


def earlier_latency(settings: Settings, target: Target, last: int = 100) -> list[dict[str, Any]]:
    """What was measured of a target before, by its name and source, oldest first."""
    kept = Measurements.of(settings.data_dir).read("latency", last=last)
    results = [one for row in kept for one in row["results"]]
    return [r for r in results if (r["target"]["name"], r["target"]["source"]) == (target.name, target.source)]


def venues(settings: Settings) -> list[str]:
    """What is measured if nobody says otherwise: the configured venue, and the hosts of the settings."""
    own = [f"{settings.alpaca.base_url}/v2/clock"] if settings.account.broker == "alpaca" else []
    return list(dict.fromkeys([*own, *settings.latency.hosts]))


def measure_hosts(
    settings: Settings,
    clock: Clock,
    hosts: Sequence[str],
    *,
    sources: Sequence[str] = (),
    tries: int | None = None,
    pause_s: float = 0.05,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[Latency]:
    """Measure every host, from every source (an address or an interface) if some are given.

    Raises
    ------
    ConfigError
        If a host or a source is none.
    """
    leaving: Sequence[str | None] = [address_of(source) for source in sources] or [None]
    targets = [parse_target(host, source=source) for host in dict.fromkeys(hosts) for source in leaving]
    given = settings.latency
    return [
        measure_latency(
            target, clock, tries=tries or given.tries, timeout_s=given.timeout_s, pause_s=pause_s, progress=progress
        )
        for target in targets
    ]


def measure_practice(
    settings: Settings, calendar: Calendar, clock: Clock, *, tries: int | None = None, pause_s: float = 0.0
) -> Latency:
    """Measure the paper exchange behind its HTTP interface on this machine: what no network can be faster than.

    The exchange is one of its own, in a scratch folder on the disk of the data; every order is cancelled again.
    """
    from workbench.app.practice import order_round_trips, served_exchange

    wanted = tries or settings.latency.tries
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=settings.data_dir, prefix=".exchange-") as scratch,
        served_exchange(Path(scratch), calendar, clock) as (broker, address),
    ):
        target = replace(parse_target(f"{address}/v2/clock"), name=PRACTICE)
        found = measure_latency(target, clock, tries=wanted, pause_s=pause_s, timeout_s=settings.latency.timeout_s)
        order_round_trips(broker, calendar, clock, 2, first=wanted)  # opens the connection
        orders = Timing.of(order_round_trips(broker, calendar, clock, wanted))
        there = broker.clock()
        offset_ms = (clock.now() - there).total_seconds() * 1000
    error_ms = orders.p50 if orders else 0.0
    return replace(found, order_ms=orders, clock_offset_ms=offset_ms, clock_error_ms=error_ms)
