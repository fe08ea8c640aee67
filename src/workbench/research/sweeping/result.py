"""What a sweep gives back: a table of metrics by combination, and ways to look at it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import ParameterError, nearest
from workbench.research.costs import Assumptions
from workbench.research.sweeping import kernels
from workbench.research.sweeping.window import Array

if TYPE_CHECKING:
    import plotly.graph_objects as go

METRICS = ("total_return", "sharpe", "sortino", "max_drawdown", "trades", "win_rate", "exposure")
NEVER, RUINED, EXPLODED = "never invested", "equity at or below zero", "exploding equity"
_DOUBLED = 1.0  # a session's return from which on a price, not the strategy, is to blame
_MILLIONFOLD = 1e6


@dataclass(frozen=True)
class SweepResult:
    """The metrics of every combination.

    Attributes
    ----------
    table
        One row per combination in the order of the grid, indexed by the swept parameters; columns as described in
        :func:`workbench.research.sweep`.
    strategy
        Name that the trials are counted under.
    held
        Parameters that were not swept.
    refused, refusal
        Combinations of the grid that the strategy refuses, and the first of them with the reason.
    resumed
        Combinations that an earlier, interrupted sweep had computed.
    trials
        Different combinations that the ledger counts for this strategy and these symbols; None without a ledger.
    compile_s, seconds
        Time for compiling or loading the compiled loops, and for the sweep itself, in seconds.
    """

    table: pd.DataFrame
    sweep_id: str
    strategy: str
    symbols: list[str]
    first_session: date
    last_session: date
    sessions: int
    snapshot: int
    assumptions: Assumptions
    held: dict[str, Any] = field(default_factory=dict)
    refused: int = 0
    refusal: str = ""
    resumed: int = 0
    trials: int | None = None
    compile_s: float = 0.0
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.table)

    def best(self, count: int = 10, by: str = "sharpe") -> pd.DataFrame:
        """The rows with the highest value of a metric; none that is flagged or has no value."""
        sound = self.table[(self.table["flag"] == "") & np.isfinite(self.table[metric_name(by)].astype(float))]
        return sound.sort_values(by, ascending=False, kind="stable").head(count)

    def surface(self, by: str = "sharpe") -> pd.DataFrame:
        """A metric over two swept parameters: the first down, the last across; NaN where the strategy refuses.

        With more than two, each cell is the median over the others; with one, the frame has one row.
        """
        values = self.table[metric_name(by)].astype(float)
        names = [str(name) for name in self.table.index.names]
        if len(names) == 1:
            return values.to_frame(by).T.rename_axis(columns=names[0])
        if len(names) > 2:
            values = values.groupby(level=[names[0], names[-1]], sort=False).median()
        across: pd.DataFrame = values.unstack(names[-1])
        across = across.sort_index().sort_index(axis="columns")
        return across

    def plateau(self, by: str = "sharpe") -> pd.DataFrame:
        """How each combination stands among its neighbours in the grid: those one step away in any parameters.

        Returns
        -------
        Indexed as the table, best neighbourhood first: the metric itself, ``neighbours`` (the median of the metric
        over the combination and its neighbours) and ``lowest`` among them. A peak without a plateau around it is luck
        until shown otherwise.
        """
        index = self.table.index
        codes = [np.unique(index.get_level_values(level), return_inverse=True) for level in range(index.nlevels)]
        places = tuple(np.asarray(code) + 1 for _, code in codes)
        cube = np.full([len(values) + 2 for values, _ in codes], np.nan)
        cube[places] = self.table[metric_name(by)].where(self.table["flag"] == "").to_numpy(dtype=float)
        around = np.stack(
            [
                cube[tuple(place + step for place, step in zip(places, steps, strict=True))]
                for steps in itertools.product((-1, 0, 1), repeat=index.nlevels)
            ]
        )
        known = ~np.isnan(around)
        median = np.full(len(index), np.nan)
        some = known.any(axis=0)
        median[some] = np.nanmedian(around[:, some], axis=0)
        lowest = np.where(some, np.where(known, around, np.inf).min(axis=0), np.nan)
        made = pd.DataFrame({by: cube[places], "neighbours": median, "lowest": lowest}, index=index)
        return made.dropna(subset=[by]).sort_values("neighbours", ascending=False, kind="stable")

    def heatmap(self, by: str = "sharpe") -> go.Figure:
        """An interactive heat map of :meth:`surface`; the star marks the middle of the best plateau."""
        import plotly.graph_objects as go

        surface, top = self.surface(by), self.plateau(by).index[0]
        label = by.replace("_", " ")
        down, across = surface.index.name or by, surface.columns.name
        figure = go.Figure(
            go.Heatmap(
                z=surface.to_numpy(),
                x=surface.columns,
                y=surface.index,
                colorscale="Viridis",
                colorbar_title=label,
                hovertemplate=f"{down} %{{y}}, {across} %{{x}}<br>{label} %{{z:.3f}}<extra></extra>",
            )
        )
        star = top if isinstance(top, tuple) else (surface.index[0], top)
        marker = {"symbol": "star", "size": 16, "color": "white", "line": {"color": "black", "width": 1}}
        hover = f"best plateau<br>{down} {star[0]}, {across} {star[-1]}<extra></extra>"
        figure.add_scatter(x=[star[-1]], y=[star[0]], mode="markers", marker=marker, hovertemplate=hover)
        figure.update_layout(xaxis_title=str(across), yaxis_title=str(down), showlegend=False)
        return figure

    def __repr__(self) -> str:
        flagged = int((self.table["flag"] != "").sum())
        parts = [f"{len(self):,} combinations of {self.strategy} in {self.seconds:.2f} s"]
        parts += [f"{self.refused:,} refused, e.g. {self.refusal}"] if self.refused else []
        parts += [f"{self.resumed:,} of them from before"] if self.resumed else []
        parts += [f"{flagged:,} flagged"] if flagged else []
        parts += [f"{self.trials:,} trials on record"] if self.trials is not None else []
        return f"<SweepResult: {'; '.join(parts)}>"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<p>{escape(repr(self)[len('<SweepResult: ') : -1])}</p>{self.best()._repr_html_()}"  # type: ignore[operator]  # pandas' stubs lack it


def metrics_of(sums: Array, sessions: int, assumptions: Assumptions) -> tuple[Array, npt.NDArray[np.object_]]:
    """The metrics of simulations from their sums, rows x :data:`METRICS`, and what is absurd about each row.

    Definitions in :func:`workbench.research.sweep`.
    """
    capital, year = assumptions.capital_usd, assumptions.sessions_per_year
    excess = sums[:, kernels.MEAN] - assumptions.risk_free_rate / year
    trades, final = sums[:, kernels.TRADES], sums[:, kernels.FINAL]
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = np.sqrt(sums[:, kernels.M2] / (sessions - 1.0))
        below = np.sqrt(sums[:, kernels.DOWNSIDE] / sessions)
        columns = {
            "total_return": final / capital - 1.0,
            "sharpe": np.where(deviation > 0.0, excess / deviation, np.nan) * np.sqrt(year),
            "sortino": np.where(below > 0.0, excess / below, np.nan) * np.sqrt(year),
            "max_drawdown": sums[:, kernels.DRAWDOWN],
            "trades": trades,
            "win_rate": np.where(trades > 0.0, sums[:, kernels.WINS] / trades, np.nan),
            "exposure": sums[:, kernels.EXPOSURE] / sessions,
        }
    flags = np.full(len(sums), "", dtype=object)
    flags[sums[:, kernels.ORDERS] == 0.0] = NEVER
    flags[(sums[:, kernels.JUMP] > _DOUBLED) | (final > _MILLIONFOLD * capital)] = EXPLODED
    flags[~(sums[:, kernels.LOWEST] > 0.0)] = RUINED
    return np.column_stack([columns[name] for name in METRICS]), flags


def metric_name(by: str) -> str:
    """The name of a metric, checked.

    Raises
    ------
    ParameterError
        If there is none of that name.

    >>> metric_name("sharpe")
    'sharpe'
    """
    if by not in METRICS:
        raise ParameterError(f"{by!r} is no metric of a sweep", hint=nearest(by, METRICS))
    return by
