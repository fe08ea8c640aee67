"""Cleaning what is in the lake: in groups of symbols that the machine can carry, written as one snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.app import checking
from workbench.data.cleaning import CleaningPolicy, CleaningResult, clean, policy_of, read_policy
from workbench.data.cleaning.report import joined
from workbench.errors import ConfigError, DataError
from workbench.hardware.budget import defaults_here

if TYPE_CHECKING:
    from workbench.app.installation import Installation
    from workbench.data.rows import Frequency

# Is told how many rows are done, how many there are, and what is being done.
Progress = Callable[[int, int, str], None]


def find_policy(
    workbench: Installation, file: Path | None = None, options: Sequence[str] | Mapping[str, Any] = ()
) -> CleaningPolicy:
    """The policy of a file, else of ``[cleaning]`` in ``workbench.toml``, with some choices changed.

    Raises
    ------
    ConfigError
        If a key or value is wrong.
    """
    settings = workbench.settings
    where = f"{settings.config_file}: [cleaning]"
    policy = policy_of(settings.cleaning, where) if file is None else read_policy(file)
    pairs = [f"{key}={value}" for key, value in options.items()] if isinstance(options, Mapping) else options
    return policy.with_options(pairs)


def run(
    workbench: Installation,
    symbols: Sequence[str] | None,
    policy: CleaningPolicy,
    *,
    frequency: Frequency = "daily",
    write: bool = True,
    rows_at_once: int | None = None,
    progress: Progress | None = None,
) -> CleaningResult:
    """Clean raw bars of the newest snapshot, and keep what differs beside them.

    Raises
    ------
    ConfigError
        If the policy looks ahead in a run: what a run writes is traded on.
    DataError
        If there are no bars, a symbol is unknown, or its bars were loaded anew meanwhile.
    """
    if policy.looks_ahead and workbench.run is not None:
        raise ConfigError("a run does not interpolate: it looks ahead", hint="choose previous, or keep")
    lake, tell = workbench.lake, progress or (lambda *_: None)
    snapshot = lake.snapshot()
    counts = _counts(workbench, symbols, frequency, snapshot)
    total, done = sum(counts.values()), 0
    parts: list[CleaningResult] = []
    for names in groups(counts, rows_at_once or defaults_here().cleaning_rows):
        tell(done, total, f"{names[0]} to {names[-1]}")
        parts.append(_clean(workbench, names, policy, frequency, snapshot))
        done += sum(counts[name] for name in names)
    tell(done, total, "")
    whole = joined(parts)
    if not write:
        return whole
    stored = lake.write_cleaned(
        whole.changes,
        whole.repairs,
        symbols=list(counts),
        frequency=frequency,
        policy=policy.digest,
        raw_snapshot=snapshot,
        actions=whole.action_changes if frequency == "daily" else None,
    )
    return replace(whole, stored=stored)


def groups(counts: Mapping[str, int], rows_at_once: int) -> Iterator[list[str]]:
    """Symbols in order, as many at a time as have ``rows_at_once`` rows; one with more stands alone.

    >>> [group for group in groups({"AAPL": 3, "IBM": 2, "MSFT": 9, "ZEN": 1}, 5)]
    [['AAPL', 'IBM'], ['MSFT'], ['ZEN']]
    """
    group: list[str] = []
    size = 0
    for name, rows in counts.items():
        if group and size + rows > rows_at_once:
            yield group
            group, size = [], 0
        group.append(name)
        size += rows
    if group:
        yield group


def require_past_only(workbench: Installation, symbols: Sequence[str] | None, *, until: date | None = None) -> None:
    """Refuse cleaned bars that look ahead to whoever decides on a session: ``until``, or that of the workbench.

    Raises
    ------
    DataError
        If a value up to the session was interpolated; the first is named.
    """
    until = until or workbench.visible_until
    if until is None:
        return
    repairs = workbench.lake.repairs(symbols, snapshot=workbench.data_snapshot)
    ahead = repairs[(repairs["action"] == "interpolate") & (repairs["at"].dt.date <= until)]
    if len(ahead):
        first = ahead.iloc[0]
        raise DataError(
            f"{first['symbol']} {first['at']:%Y-%m-%d} {first['rule']}: the cleaned {first['field']} was interpolated "
            f"from a later price",
            hint="clean with previous or keep, or read raw bars",
        )


def _clean(
    workbench: Installation, names: list[str], policy: CleaningPolicy, frequency: Frequency, snapshot: int
) -> CleaningResult:
    lake = workbench.lake
    cleaned = clean(
        lake.rows(names, frequency=frequency, snapshot=snapshot),
        lake.actions(names, snapshot=snapshot, listed=True),
        workbench.calendar,
        policy,
        notices=lake.notices(names, snapshot=snapshot),
        listings=lake.listings(names, snapshot=snapshot),
        acceptances=checking.acceptances(workbench.journal),
        today=workbench.clock.now().date(),
    )
    # The rows themselves are let go: what differs is enough.
    return CleaningResult(
        cleaned.repairs,
        cleaned.changes,
        cleaned.action_changes,
        cleaned.left,
        policy,
        cleaned.before,
        cleaned.after,
    )


def _counts(
    workbench: Installation, symbols: Sequence[str] | None, frequency: Frequency, snapshot: int
) -> dict[str, int]:
    """The number of rows by symbol, sorted."""
    coverage = workbench.lake.coverage(symbols, snapshot, frequency=frequency)
    return {str(name): int(rows) for name, rows in sorted(coverage["rows"].items())}
