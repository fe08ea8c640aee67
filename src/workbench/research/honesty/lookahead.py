"""The look-ahead check: a strategy's past must not change when later bars arrive, or when they had been others.

The weights of sessions long gone are worked out anew on bars that end there (truncation replay), on bars that go on
otherwise (noise, reversal, delisting), with other parameters, and on made-up markets, where other branches of its code
are taken. Data that it carries, files that it reads and state that it keeps are looked for, because a replay cannot
take them away. What the check reached, and what not, is part of the result.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from workbench.data.bars import Bars
from workbench.errors import DataError
from workbench.research.honesty import belongings, markets
from workbench.research.honesty.parameter_sets import ParameterSet, parameter_sets
from workbench.research.honesty.paths import CodePaths, PathRecorder
from workbench.research.honesty.replay import (
    EARLIEST,
    Decide,
    StrategyFailed,
    deciding,
    difference,
    places,
    replay,
    until,
)
from workbench.strategies.base import Strategy

CUTS = 100
_CUTS_OF_OTHERS = 15  # with other parameters, and in made-up markets
_FUTURES = 8  # rows after which the future is changed, in every way
_LONGEST_MARKET = 1_000  # sessions of a made-up market
_MOST_NAMED = 5

Progress = Callable[[list[Any]], Iterable[Any]]
Grid = Mapping[str, Iterable[object]] | Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Lookahead:
    """What the check looked at, and the first fault it found (empty if there is none).

    Attributes
    ----------
    sessions, cuts
        Rows there are, and rows that were decided as the last one, nothing later being known.
    rows
        Rows whose weights were worked out at least once without the last session.
    futures
        How many other futures were tried.
    parameters
        The parameter sets that were checked, the strategy's own first.
    refused
        Corners of the declared bounds that the strategy's own validation refuses.
    markets
        Names of the made-up markets it was replayed in.
    paths
        Lines and branches of its code that ran during the replays.
    cautions
        What is no proof of look-ahead but a reason to look, a sentence each.
    """

    sessions: int
    cuts: int
    fault: str = ""
    rows: int = 0
    futures: int = 0
    parameters: tuple[str, ...] = ()
    refused: int = 0
    markets: tuple[str, ...] = ()
    paths: CodePaths = field(default_factory=CodePaths)
    cautions: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether no fault was found; see ``paths`` for what was not reached."""
        return not self.fault

    @property
    def table(self) -> pd.DataFrame:
        """What was checked, one line each: columns ``checked`` and ``of``."""
        rows: dict[str, tuple[object, object]] = {
            "rows decided as the last one": (self.cuts, self.sessions),
            "rows worked out on fewer bars": (self.rows, self.sessions),
            "other futures": (self.futures, ""),
            "parameter sets": (len(self.parameters), len(self.parameters) + self.refused),
            "made-up markets": (len(self.markets), ""),
            "lines of its code": (self.paths.lines_run, self.paths.lines),
            "outcomes of branches": (self.paths.branches_run, self.paths.branches),
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=["checked", "of"])

    def to_dict(self) -> dict[str, object]:
        """All of it in plain values, for JSON."""
        return {
            "clean": self.clean,
            "fault": self.fault,
            "sessions": self.sessions,
            "cuts": self.cuts,
            "rows": self.rows,
            "futures": self.futures,
            "parameters": list(self.parameters),
            "parameter_corners_refused": self.refused,
            "markets": list(self.markets),
            "lines": self.paths.lines,
            "lines_run": self.paths.lines_run,
            "branch_outcomes": self.paths.branches,
            "branch_outcomes_run": self.paths.branches_run,
            "not_exercised": list(self.paths.missed),
            "paths_note": self.paths.note,
            "cautions": list(self.cautions),
        }

    def __str__(self) -> str:
        if self.fault:
            return self.fault
        text = (
            f"no look-ahead found: {self.cuts} of {self.sessions} rows decided as the last one, {self.futures} other"
            f" futures, {len(self.parameters)} parameter sets, {len(self.markets)} made-up markets; {self.paths}"
        )
        if self.paths.missed:
            text += f"; not exercised: {_listed(self.paths.missed)}"
        return text + "".join(f"; caution: {caution}" for caution in self.cautions)

    def _repr_html_(self) -> str:
        from html import escape

        head = escape(self.fault or "No look-ahead found.")
        lists = [("Not exercised", self.paths.missed), ("Cautions", self.cautions)]
        more = "".join(
            f"<p><b>{title}</b></p><ul>{''.join(f'<li><code>{escape(item)}</code></li>' for item in items)}</ul>"
            for title, items in lists
            if items
        )
        return f"<p><b>{head}</b></p>{self.table.to_html()}{more}"


def check_lookahead(
    strategy: Strategy | Callable[[Bars], Strategy],
    bars: Bars,
    *,
    cuts: int | None = CUTS,
    grid: Grid = (),
    seed: int = 0,
    progress: Progress = list,
) -> Lookahead:
    """Look for a use of the future in a strategy.

    Parameters
    ----------
    strategy
        A strategy, or, if building one needs data (a model that is fitted before), a function that builds it from bars:
        then it is built anew from what each replay shows.
    cuts
        How many sessions are decided as the last one with the strategy's own parameters; None for every session.
    grid
        Further parameters to check: values by name (every combination), or a sequence of combinations.
    seed
        For the cuts, futures and markets that are drawn.
    progress
        Wraps the list of stages that is worked through, such as ``tqdm.tqdm``.

    Returns
    -------
    The first fault stops the check; what was reached until then is in the result.

    Raises
    ------
    DataError
        If there are too few bars to cut.
    ParameterError
        If the grid is invalid.

    Examples
    --------
    >>> from workbench.strategies import load
    >>> days = pd.bdate_range("2013-01-02", periods=60, name="session")
    >>> close = pd.DataFrame({"A": np.linspace(9, 12, 60), "B": np.linspace(9, 7, 60)}, index=days)
    >>> bars = Bars(close, close, close, close, close, "total", 0)
    >>> look = check_lookahead(load("momentum", {"lookback": 5}), bars, cuts=10)
    >>> look.clean, look.paths.complete
    (True, True)
    """
    if len(bars) <= EARLIEST:
        raise DataError(f"{len(bars)} sessions are too few for a look-ahead check", hint="load more data")
    if not bars.symbols:
        raise DataError("there are no symbols to check for look-ahead")
    check = _Check(strategy, bars, cuts, _combinations(grid), seed)
    try:
        for stage in progress(check.stages()):
            if check.fault:
                continue  # the bar runs to its end
            stage()
    except StrategyFailed as failed:
        check.fault = str(failed)
    return check.result()


class _Check:
    """One check under way; each stage adds to what was looked at."""

    def __init__(
        self,
        strategy: Strategy | Callable[[Bars], Strategy],
        bars: Bars,
        cuts: int | None,
        grid: Sequence[Mapping[str, object]],
        seed: int,
    ) -> None:
        self.fault = ""
        self._bars = bars
        self._random = np.random.default_rng(seed)
        self._built = None if isinstance(strategy, Strategy) else strategy
        self._own = strategy if isinstance(strategy, Strategy) else strategy(bars)
        sets, self._refused = parameter_sets(self._own, len(bars), grid) if self._built is None else (_alone(self), 0)
        self._sets: list[ParameterSet] = sets
        self._recorder = PathRecorder(type(self._own))
        self._rows = places(bars.sessions, cuts, self._random)
        self._tried = self._compared = self._futures = 0
        self._checked: list[str] = []
        self._markets: list[str] = []
        self._cautions: list[str] = []

    def stages(self) -> list[Callable[[], None]]:
        others = [_bound(self._other_parameters, each) for each in self._sets[1:]]
        made_up = self._bars if len(self._bars) <= _LONGEST_MARKET else until(self._bars, _LONGEST_MARKET - 1)
        invented = markets.made_up(made_up, self._random)
        in_markets = [_bound(self._in_market, name, market) for name, market in invented.items()]
        return [self._look_inside, self._cut, self._other_futures, *others, *in_markets, self._elsewhere]

    def result(self) -> Lookahead:
        return Lookahead(
            sessions=len(self._bars),
            cuts=self._tried,
            fault=self.fault,
            rows=self._compared,
            futures=self._futures,
            parameters=tuple(self._checked),
            refused=self._refused,
            markets=tuple(self._markets),
            paths=self._recorder.paths(),
            cautions=tuple(self._cautions),
        )

    # ---- stages ------------------------------------------------------------------------------------------------

    def _look_inside(self) -> None:
        """What it carries and names, before it has run."""
        self.fault = self._carried()
        if named := belongings.named_symbols(self._own, self._bars.symbols):
            self._cautions.append(
                f"its code names {_listed(named)}: a choice of names made today is knowledge that the past did not have"
            )

    def _cut(self) -> None:
        """Truncation replay, from the earliest cut to all bars; then one cut again, and what is left behind."""
        middle = self._rows[len(self._rows) // 2]
        decide = self._decide(self._own)
        given = markets.copied(self._bars)
        with belongings.watched() as opened:
            self.fault, self._tried, once = replay(decide, self._bars, self._rows, keep=middle)
        self._compared = self._rows[self._tried - 1] + 1 if self._tried else 0
        self._checked.append(str(self._sets[0]))
        if not markets.same(given, self._bars):
            self.fault = "it changes the bars that it is given"
        if not self.fault and opened:
            self.fault = f"it reads more than its bars while it decides: {_listed(opened)}"
        if self.fault or once is None:
            return
        again = decide(until(self._bars, middle))
        if changed := difference(once, again, "when it decides on the same bars again"):
            self.fault = changed.replace("it looks ahead", "it keeps state between calls, or is random")
            return
        self.fault = self._carried()

    def _other_futures(self) -> None:
        self.fault = self._futures_of(self._own, self._bars, self._evenly(self._bars, _FUTURES))

    def _other_parameters(self, each: ParameterSet) -> None:
        rows = places(self._bars.sessions, _CUTS_OF_OTHERS, self._random)
        try:
            fault = replay(self._decide(each.strategy), self._bars, rows)[0]
            fault = fault or self._futures_of(each.strategy, self._bars, self._evenly(self._bars, 2))
        except StrategyFailed as failed:
            self._cautions.append(f"with {each}, {failed}")
            return
        self._checked.append(str(each))
        self.fault = f"with {each}, {fault}" if fault else ""

    def _in_market(self, name: str, market: Bars) -> None:
        rows = places(market.sessions, _CUTS_OF_OTHERS, self._random)
        for each in self._sets:
            try:
                fault = replay(self._decide(each.strategy), market, rows)[0]
                fault = fault or self._futures_of(each.strategy, market, self._evenly(market, 1))
            except StrategyFailed as failed:
                self._cautions.append(f"in a made-up {name} market with {each}, {failed}")
                continue
            if fault:
                self.fault = f"in a made-up {name} market with {each}, {fault}"
                return
        self._markets.append(name)

    def _elsewhere(self) -> None:
        """Same prices on other dates, and other prices on other dates: does it depend on what it should?"""
        decide = self._decide(self._own)
        here = decide(self._bars).to_numpy(dtype=float)
        if np.ptp(here, axis=0).max(initial=0.0) <= 0.0:
            return  # the same weights for ever: nothing to learn from
        try:
            later = decide(markets.moved_dates(self._bars, markets.CALENDAR_CYCLE)).to_numpy(dtype=float)
            strange = decide(markets.strange(self._bars, self._random)).to_numpy(dtype=float)
        except StrategyFailed as failed:
            self._cautions.append(f"on other dates {failed}")
            return
        if not np.allclose(here, later, rtol=0.0, atol=1e-9):
            self._cautions.append(
                "its weights depend on the year: the same prices 28 years on, with the same weekdays, give others;"
                " look for dates or data that it knows"
            )
        if np.array_equal(here, strange):
            self._cautions.append("neither prices nor dates move its weights, which vary all the same")

    # ---- parts -------------------------------------------------------------------------------------------------

    def _decide(self, strategy: Strategy) -> Decide:
        """Weights, recorded; a strategy that is built from bars is built anew."""
        build = self._built

        def recorded(bars: Bars) -> pd.DataFrame:
            made = strategy if build is None else build(bars)
            with self._recorder:
                return made.weights(bars)

        return deciding(recorded)

    def _carried(self) -> str:
        if self._built is None and (found := belongings.carried(self._own)):
            return (
                f"it carries what no replay can take away: {_listed(found)}; give the check a function that builds the"
                " strategy from bars"
            )
        if found := belongings.reached_for(self._own):
            return f"its code reaches for more than its bars: {_listed(found)}"
        return ""

    def _futures_of(self, strategy: Strategy, bars: Bars, rows: Sequence[int]) -> str:
        decide = self._decide(strategy)
        if not rows:
            return ""
        actual = decide(bars)
        for last in rows:
            past = actual.iloc[: last + 1]
            for name, change in markets.FUTURES.items():
                now = decide(change(bars, last, self._random))
                self._futures += 1
                if fault := difference(past, now, f"if the bars after that had been others ({name})"):
                    return fault
        return ""

    def _evenly(self, bars: Bars, many: int) -> list[int]:
        """Rows after which the future is changed: the middle, or several and the last one but one."""
        last = len(bars) - 2
        if last < EARLIEST:
            return []
        if many == 1:
            return [(EARLIEST + last) // 2]
        drawn = self._random.integers(EARLIEST, last + 1, many - 1)
        return sorted({*(int(row) for row in drawn), last})


def _alone(check: _Check) -> list[ParameterSet]:
    return [ParameterSet("own", check._own)]


def _bound(function: Callable[..., None], *arguments: object) -> Callable[[], None]:
    return lambda: function(*arguments)


def _combinations(grid: Grid) -> list[Mapping[str, object]]:
    if isinstance(grid, Mapping):
        return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())] if grid else []
    return list(grid)


def _listed(items: Iterable[str]) -> str:
    found = list(items)
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return ", ".join(found[:_MOST_NAMED]) + more
