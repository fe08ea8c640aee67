"""Interactive charts of what was found: plotly figures, to be shown in a notebook or written to a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.errors import DataError
from workbench.research.honesty.overfitting import BacktestOverfitting
from workbench.research.honesty.plateau import Plateau
from workbench.research.honesty.sharpe import ReturnShape, deflated_sharpe
from workbench.research.honesty.walk_forward import WalkForward

if TYPE_CHECKING:
    import plotly.graph_objects as go

BLUE, RED, GRAY, GREEN = "#4269d0", "#d1495b", "#9aa0a6", "#2a8f5b"
_HEIGHT = 380
_MOST_POINTS = 1_500  # of a cloud of splits
_LONGEST_CURVE = 500  # points; more are not seen on a screen and only make the notebook large
# What these charts use of plotly's white template: a figure carries its template whole wherever it is stored.
_USED = ("colorway", "font", "hoverlabel", "paper_bgcolor", "plot_bgcolor", "coloraxis", "xaxis", "yaxis", "title")


def equity_lines(
    curves: Mapping[str, pd.Series[float]], *, title: str, split: object = None, shade: pd.DataFrame | None = None
) -> go.Figure:
    """Equity curves by name on a logarithmic scale, each 1 at its beginning.

    Parameters
    ----------
    split
        A session to mark with a vertical line, such as the end of what was chosen on.
    shade
        Quantiles by session (see :func:`workbench.research.honesty.bands.equity_fan`): the outer pair is shaded.
    """
    import plotly.graph_objects as go

    figure = _figure(title, "equity, start = 1")
    if shade is not None:
        low, high = _thinned(shade.iloc[:, 0]), _thinned(shade.iloc[:, -1])
        line = {"width": 0}
        figure.add_scatter(x=high.index, y=high, line=line, showlegend=False, hoverinfo="skip")
        label = f"{shade.columns[0]:.0%} to {shade.columns[-1]:.0%} of drawn histories"
        figure.add_scatter(
            x=low.index, y=low, line=line, fill="tonexty", fillcolor="rgba(66,105,208,0.15)", name=label,
            hoverinfo="skip",
        )  # fmt: skip
    for (name, curve), color in zip(curves.items(), _colors(len(curves)), strict=True):
        drawn = _thinned(curve / curve.iloc[0])
        figure.add_trace(go.Scatter(x=drawn.index, y=drawn, name=name, line={"color": color}))
    if split is not None:
        figure.add_vline(x=pd.Timestamp(str(split)), line={"dash": "dot", "color": GRAY})
    return figure.update_yaxes(type="log")


def heat_maps(
    tables: Mapping[str, pd.DataFrame], *, mark: tuple[object, object] | None = None, unit: str = "Sharpe ratio"
) -> go.Figure:
    """Tables side by side on one scale of colours; ``mark`` is the row and column of a combination to frame."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    if not tables:
        raise DataError("there is no table to draw")
    figure = make_subplots(1, len(tables), subplot_titles=list(tables), shared_yaxes=True, horizontal_spacing=0.04)
    for number, table in enumerate(tables.values(), 1):
        columns, rows = [str(name) for name in table.columns], [str(name) for name in table.index]
        hover = f"{table.index.name} %{{y}}, {table.columns.name} %{{x}}<br>{unit} %{{z:.2f}}<extra></extra>"
        figure.add_trace(
            go.Heatmap(x=columns, y=rows, z=table.to_numpy(dtype=float), coloraxis="coloraxis", hovertemplate=hover),
            1, number,
        )  # fmt: skip
        figure.update_xaxes(title=str(table.columns.name), type="category", row=1, col=number)
        if mark is not None and str(mark[0]) in rows and str(mark[1]) in columns:
            x, y = columns.index(str(mark[1])), rows.index(str(mark[0]))
            frame = {"x0": x - 0.5, "x1": x + 0.5, "y0": y - 0.5, "y1": y + 0.5}
            figure.add_shape(type="rect", line={"color": "white", "width": 3}, row=1, col=number, **frame)
    figure.update_yaxes(title=str(next(iter(tables.values())).index.name), type="category", row=1, col=1)
    bar = {"colorscale": "Viridis", "colorbar": {"title": unit}}
    return figure.update_layout(template=_white(), height=_HEIGHT, coloraxis=bar, margin={"t": 50, "b": 40})


def plateau_map(made: Plateau) -> go.Figure:
    """Sharpe ratios of the trials: a heat map over two parameters, or a curve over one; the chosen one is marked.

    With more than two parameters that vary, the others are held at the chosen one's values.

    Raises
    ------
    DataError
        If no parameter varies.
    """
    names = made.varying
    if not names:
        raise DataError("no parameter varies between the trials: there is no plateau to draw")
    own = made.table[made.table["chosen"]].iloc[0]
    table = made.table
    for name in names[2:]:
        table = table[table[name] == own[name]]
    if len(names) == 1:
        line = table.sort_values(names[0])
        figure = _figure("Sharpe ratio of the parameter and its neighbours", "Sharpe ratio, a year")
        figure.add_scatter(
            x=line[names[0]], y=line["sharpe"], mode="lines+markers", name="trials", line={"color": BLUE}
        )
        figure.add_scatter(
            x=[own[names[0]]], y=[own["sharpe"]], mode="markers", name="chosen",
            marker={"size": 14, "color": RED, "symbol": "diamond"},
        )  # fmt: skip
        return figure.update_xaxes(title=names[0], type="linear")
    grid = table.pivot(index=names[0], columns=names[1], values="sharpe")
    return heat_maps({"Sharpe ratio, a year": grid}, mark=(own[names[0]], own[names[1]]))


def walk_forward_bars(made: WalkForward) -> go.Figure:
    """Sharpe ratio of every choice where it was chosen and afterwards, window by window."""
    figure = _figure("Every choice, where it was made and afterwards", "Sharpe ratio, a year")
    when = made.folds["test_from"]
    fixed = ("train_from", "train_to", "test_from", "test_to", "in_sample", "out_of_sample")
    names = [name for name in made.folds.columns if name not in fixed]
    chosen = [", ".join(f"{name} {row[name]}" for name in names) for row in made.folds.to_dict("records")]
    for name, color in (("in_sample", GRAY), ("out_of_sample", BLUE)):
        figure.add_bar(
            x=when, y=made.folds[name], name=name.replace("_", " "), marker={"color": color}, customdata=chosen,
            hovertemplate="from %{x|%Y-%m-%d}: %{y:.2f}<br>%{customdata}<extra></extra>",
        )  # fmt: skip
    return figure.update_layout(barmode="group", hovermode="closest")


def deflation_curve(
    shape: ReturnShape, variance: float, marks: Mapping[str, float], *, confidence: float = 0.95
) -> go.Figure:
    """The deflated Sharpe ratio against the number of trials behind it; ``marks`` are numbers to point out, by name."""
    most = max(1_000.0, 3.0 * max(marks.values(), default=1.0))
    counts = np.unique(np.geomspace(1, most, 120))
    probability = [deflated_sharpe(shape, trials=float(n), variance=variance).probability for n in counts]
    figure = _figure("How sure is a Sharpe ratio above zero?", "deflated Sharpe ratio")
    figure.add_scatter(x=counts, y=probability, name="deflated Sharpe ratio", line={"color": BLUE}, showlegend=False)
    for (name, count), color in zip(marks.items(), _colors(len(marks) + 1)[1:], strict=True):
        found = deflated_sharpe(shape, trials=count, variance=variance).probability
        figure.add_scatter(
            x=[count], y=[found], mode="markers+text", text=[f"{name}: {found:.0%}"], textposition="top right",
            marker={"size": 12, "color": color}, name=name, showlegend=False,
        )  # fmt: skip
    figure.add_hline(y=confidence, line={"dash": "dot", "color": GRAY})
    lowest = max(0.0, np.floor(10 * min(probability)) / 10 - 0.1)
    figure.update_xaxes(title="independent trials", type="log")
    return figure.update_yaxes(tickformat=".0%", range=[lowest, 1.0 + 0.15 * (1.0 - lowest)])


def overfitting_charts(made: BacktestOverfitting, *, sessions_per_year: int = 252) -> go.Figure:
    """What became of the best in sample: its rank out of sample over all splits, and its Sharpe ratios."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    yearly = np.sqrt(sessions_per_year)
    ranks = 1.0 / (1.0 + np.exp(-made.logits))
    titles = (
        f"Rank out of sample (below the middle: {made.probability:.0%})",
        f"Sharpe ratio (lost money: {made.loss_probability:.0%})",
    )
    figure = make_subplots(1, 2, subplot_titles=titles, horizontal_spacing=0.1)
    counts, edges = np.histogram(ranks, bins=20, range=(0.0, 1.0))
    middle = (edges[:-1] + edges[1:]) / 2
    colors = [RED if at < 0.5 else GREEN for at in middle]
    bars = go.Bar(x=middle, y=counts, width=0.05, marker={"color": colors}, showlegend=False)
    figure.add_trace(bars, 1, 1)
    step = max(1, len(ranks) // _MOST_POINTS)
    inside, outside = (np.round(each[::step] * yearly, 3) for each in (made.in_sample, made.out_of_sample))
    points = go.Scattergl(
        x=inside, y=outside, mode="markers", marker={"size": 4, "color": BLUE, "opacity": 0.35}, showlegend=False
    )
    figure.add_trace(points, 1, 2)
    figure.add_hline(y=0, line={"color": GRAY, "dash": "dot"}, row=1, col=2)
    figure.update_xaxes(title="0 is the worst of the trials, 1 the best", row=1, col=1)
    figure.update_yaxes(title="splits", row=1, col=1)
    figure.update_xaxes(title="in sample", row=1, col=2)
    figure.update_yaxes(title="out of sample", row=1, col=2)
    return figure.update_layout(template=_white(), height=_HEIGHT, margin={"t": 50, "b": 40})


def stress_charts(costs: pd.DataFrame, delays: pd.DataFrame) -> go.Figure:
    """Sharpe ratio against the multiple of costs and the delay in sessions."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(1, 2, subplot_titles=("Costs", "Delay"), shared_yaxes=True, horizontal_spacing=0.06)
    for number, (table, what) in enumerate(((costs, "times the costs"), (delays, "sessions later")), 1):
        style: dict[str, Any] = {"mode": "lines+markers", "line": {"color": BLUE}, "showlegend": False}
        hover = f"%{{x}} {what}<br>Sharpe ratio %{{y:.2f}}, growth %{{customdata:.1%}} a year<extra></extra>"
        line = go.Scatter(x=table.index, y=table["sharpe"], customdata=table["cagr"], hovertemplate=hover, **style)
        figure.add_trace(line, 1, number)
        figure.update_xaxes(title=what, row=1, col=number)
    figure.update_yaxes(title="Sharpe ratio, a year", rangemode="tozero", row=1, col=1)
    return figure.update_layout(template=_white(), height=_HEIGHT - 60, margin={"t": 50, "b": 40})


def _figure(title: str, unit: str) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(
        template=_white(), title=title, height=_HEIGHT, hovermode="x unified", margin={"t": 60, "b": 40},
        legend={"orientation": "h", "y": 1.08, "x": 1, "xanchor": "right"},
    )  # fmt: skip
    return figure.update_yaxes(title=unit)


def _white() -> go.layout.Template:
    import plotly.graph_objects as go
    import plotly.io as pio

    whole = pio.templates["plotly_white"].layout
    return go.layout.Template(layout={name: whole[name] for name in _USED})


def _thinned(curve: pd.Series[float]) -> pd.Series[float]:
    """Every n-th point and the last one, to five digits."""
    rows = np.unique(np.linspace(0, len(curve) - 1, min(_LONGEST_CURVE, len(curve))).astype(int))
    drawn = curve.iloc[rows]
    return drawn.round(5)


def _colors(many: int) -> Sequence[str]:
    palette = (BLUE, RED, GREEN, "#efb118", "#6cc5b0", "#a463f2", "#9c6b4e", GRAY)
    return [palette[number % len(palette)] for number in range(many)]
