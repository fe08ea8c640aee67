"""The tear sheet's chart as a plotly figure: plain dictionaries, so that plotly itself is not imported here.

Colours are given by role in ``meta``; the page fills them in for light, dark and print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def equity_figure(
    wealth: pd.Series[float], benchmark: pd.Series[float] | None, drawdowns: Mapping[str, pd.Series[float]]
) -> dict[str, Any]:
    """Equity against the benchmark (USD) above, drawdown (fraction) below, on one time axis.

    ``drawdowns`` has the keys ``strategy`` and, with a benchmark, ``benchmark``; every series is indexed by
    session.
    """
    traces = [_line("Strategy", "strategy", wealth, "$%{y:,.2f}", width=2.2)]
    if benchmark is not None:
        traces.append(_line("Buy and hold", "benchmark", benchmark, "$%{y:,.2f}", width=1.6, dash="dash"))
    names = {"strategy": "Strategy drawdown", "benchmark": "Buy and hold drawdown"}
    for role, series in drawdowns.items():
        dash = "dash" if role == "benchmark" else "solid"
        line = _line(names[role], role, series, "%{y:.2%}", width=1.2, dash=dash, axis="y2")
        traces.append({**line, "showlegend": False, **({"fill": "tozeroy"} if role == "strategy" else {})})
    return {"data": traces, "layout": _layout()}


def _line(
    name: str,
    role: str,
    series: pd.Series[float],
    hover: str,
    *,
    width: float,
    dash: str = "solid",
    axis: str = "y",
) -> dict[str, Any]:
    days: Sequence[date] = [day.date() for day in series.index]
    return {
        "type": "scatter",
        # A single session is a point, which a line would not show.
        "mode": "lines" if len(days) > 1 else "markers",
        "name": name,
        "meta": role,
        "x": [day.isoformat() for day in days],
        "y": [None if value != value else round(float(value), 6) for value in series],
        "line": {"width": width, "dash": dash},
        "marker": {"size": 8},
        "hovertemplate": hover,
        "yaxis": axis,
    }


def _layout() -> dict[str, Any]:
    axis = {"zeroline": False, "showline": False, "automargin": True, "fixedrange": True}
    heading = {"text": "Drawdown", "showarrow": False, "xref": "paper", "yref": "paper", "x": 0, "y": 0.275}
    return {
        "annotations": [{**heading, "xanchor": "left", "yanchor": "bottom"}],
        "font": {"family": _FONT, "size": 12},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 8, "t": 36, "b": 8},
        "hovermode": "x unified",
        "dragmode": "zoom",
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
        "xaxis": {"type": "date", "anchor": "y2", "showgrid": False, "automargin": True, "showspikes": False},
        "yaxis": {**axis, "domain": [0.38, 1.0], "tickprefix": "$", "tickformat": ",.0f"},
        "yaxis2": {**axis, "domain": [0.0, 0.27], "tickformat": ".1%", "rangemode": "tozero", "nticks": 4},
    }
