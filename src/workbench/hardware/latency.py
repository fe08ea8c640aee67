"""How far a venue is: many tries, their percentiles, what is lost, and how its clock and ours differ."""

from __future__ import annotations

import itertools
import ssl
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from workbench.clock import Clock
from workbench.hardware.diskspeed import percentile
from workbench.hardware.probe import Target, Try, attempt

if TYPE_CHECKING:
    import pandas as pd

STAGES = ("dns_ms", "tcp_ms", "tls_ms", "first_byte_ms")
ORDER = "order_ms"
# The stage by which hosts are compared: one round trip, free of what the host does with a request.
NEAREST_BY = "tcp_ms"
# Differences below this are the machine's own, not the network's.
_NOISE_MS = 1.0
_WATCHED = {"tcp_ms": "a connection to", "first_byte_ms": "the first byte of", ORDER: "an order at"}
_HISTORY = 20
_LEAST_HISTORY = 3


@dataclass(frozen=True, slots=True)
class Timing:
    """One stage over all tries that reached it, in milliseconds.

    ``jitter`` is the mean absolute difference between one try and the next.
    """

    count: int
    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    jitter: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Timing | None:
        """None of no samples.

        >>> Timing.of([1.0, 3.0, 2.0]).jitter
        1.5
        """
        if not samples:
            return None
        steps = [abs(after - before) for before, after in itertools.pairwise(samples)]
        p50, p90, p95, p99 = (percentile(samples, percent) for percent in (50, 90, 95, 99))
        jitter = statistics.fmean(steps) if steps else 0.0
        return cls(len(samples), min(samples), p50, p90, p95, p99, max(samples), jitter)


@dataclass(frozen=True, slots=True)
class Latency:
    """What was measured of one target. ``loss`` is the fraction of tries that failed, ``failures`` says at what.

    ``clock_offset_ms`` is our clock less the venue's, right to ``clock_error_ms``; None if the venue did not tell its
    time. ``order_ms`` is an order there and its answer back, where orders were sent.
    """

    target: Target
    measured_at: datetime
    tries: int
    loss: float
    failures: dict[str, int]
    dns_ms: Timing | None
    tcp_ms: Timing | None
    tls_ms: Timing | None
    first_byte_ms: Timing | None
    address: str | None
    tls_version: str | None
    clock_offset_ms: float | None
    clock_error_ms: float | None
    order_ms: Timing | None = None

    def to_dict(self) -> dict[str, Any]:
        """All of it as values that JSON can hold."""
        return {**asdict(self), "measured_at": self.measured_at.isoformat()}

    def to_frame(self) -> pd.DataFrame:
        """Milliseconds by percentile (rows ``min`` to ``max``, and ``jitter``) and stage that was reached (columns)."""
        import pandas as pd

        timings = {stage: getattr(self, stage) for stage in (*STAGES, ORDER)}
        frame = pd.DataFrame({stage: asdict(timing) for stage, timing in timings.items() if timing is not None})
        return frame.drop(index="count") if len(frame) else frame


def measure_latency(
    target: Target,
    clock: Clock,
    *,
    tries: int = 20,
    timeout_s: float = 3.0,
    pause_s: float = 0.05,
    context: ssl.SSLContext | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Latency:
    """Try to reach a target many times.

    Parameters
    ----------
    timeout_s
        For each try. A host that does not take a single one of the first three is given up.
    pause_s
        Between two tries. It also spreads them over the second, which is how finely a host tells its time.
    context
        Whom to trust; the system's certificates if left out.
    progress
        Shows the tries gone through, such as ``tqdm.tqdm``.
    """
    made: list[Try] = []
    began = clock.now()
    for number in progress(range(tries)):
        if number:
            clock.sleep(pause_s)
        made.append(attempt(target, clock, timeout_s=timeout_s, context=context))
        if len(made) == _LEAST_HISTORY and all(one.failed_at for one in made):
            break
    return summarize(target, began, made)


def summarize(target: Target, measured_at: datetime, made: Sequence[Try]) -> Latency:
    """The figures of some tries."""
    failed = [one for one in made if one.failed_at]
    stages = {stage: Timing.of([t for one in made if (t := getattr(one, stage)) is not None]) for stage in STAGES}
    offset, error = _clock_offset(made)
    return Latency(
        target, measured_at, len(made), len(failed) / len(made) if made else 0.0,
        dict(Counter(f"{one.failed_at}: {one.reason}" for one in failed)), **stages,
        address=next((one.address for one in reversed(made) if one.address), None),
        tls_version=next((one.tls_version for one in reversed(made) if one.tls_version), None),
        clock_offset_ms=offset, clock_error_ms=error,
    )  # fmt: skip


def nearest(found: Sequence[Latency]) -> Latency | None:
    """The target with the shortest median round trip; None if none was reached."""
    reached = [(timing.p50, number) for number, one in enumerate(found) if (timing := one.tcp_ms) is not None]
    return found[min(reached)[1]] if reached else None


def alarms(now: Latency, earlier: Sequence[dict[str, Any]], *, factor: float, max_offset_s: float) -> list[str]:
    """What has changed for the worse, in words; empty if nothing has.

    Parameters
    ----------
    earlier
        Older measurements of the same target, as :meth:`Latency.to_dict` gives them, oldest first. The last twenty
        count, and fewer than three raise no alarm.
    factor
        How many times the usual median is too slow.
    max_offset_s
        How far the clocks may differ, beyond what the measurement itself leaves open.
    """
    found = []
    label = now.target.label
    for stage, what in _WATCHED.items():
        timing = getattr(now, stage)
        usual = [row[stage]["p50"] for row in earlier[-_HISTORY:] if row.get(stage)]
        if timing is None or len(usual) < _LEAST_HISTORY:
            continue
        before = statistics.median(usual)
        if timing.p50 > factor * before and timing.p50 - before > _NOISE_MS:
            usually = f"usually {before:.1f} ms (median of {len(usual)} measurements)"
            found.append(f"{what} {label} takes {timing.p50:.1f} ms, {usually}")
    lost = [row["loss"] for row in earlier[-_HISTORY:]]
    if now.loss > 0 and (not lost or now.loss > max(lost)):
        found.append(f"{label} lost {now.loss:.0%} of {now.tries} tries: {', '.join(now.failures)}")
    if now.clock_offset_ms is not None and now.clock_error_ms is not None:
        certain_ms = abs(now.clock_offset_ms) - now.clock_error_ms
        if certain_ms > max_offset_s * 1000:
            side = "ahead of" if now.clock_offset_ms > 0 else "behind"
            found.append(f"this clock is at least {certain_ms / 1000:.1f} s {side} that of {label}")
    return found


def _clock_offset(made: Sequence[Try]) -> tuple[float | None, float | None]:
    """Our clock less the venue's and how far that may be off, in milliseconds.

    A host that writes second D was asked before D + 1 and answered after D, by its own clock. So every answer bounds
    the difference from both sides, and answers in different parts of a second bound it more tightly than one second.
    """
    dated = [(one.asked_s, one.answered_s, one.date_s) for one in made if one.date_s is not None]
    if not dated:
        return None, None
    low = max(asked - date - 1 for asked, _, date in dated)
    high = min(answered - date for _, answered, date in dated)
    if low > high:  # several machines answer, and their clocks differ; or ours was set meanwhile
        return None, None
    return (low + high) / 2 * 1000, (high - low) / 2 * 1000
