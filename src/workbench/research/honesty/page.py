"""The verdict as a page: for the terminal and for a notebook."""

from __future__ import annotations

import textwrap
from html import escape
from typing import TYPE_CHECKING

from workbench.research.costs import RAW

if TYPE_CHECKING:
    import pandas as pd

    from workbench.research.honesty.evidence import Evidence
    from workbench.research.honesty.verdict import Verdict

_WIDTH = 110
_SIGNS = {"supports": "+", "undermines": "-", "open": "?"}
_HEADINGS = {
    "supports": "What supports it",
    "undermines": "What undermines it",
    "open": "What stays open",
}
# dark enough on white and light enough on black to be read in either theme of a notebook
_COLORS = {"supports": "#2a8f5b", "undermines": "#c8503c", "open": "#a67c1a"}
_WORD_COLORS = {"supported": "#2a8f5b", "undermined": "#c8503c", "not enough evidence": "#a67c1a"}
_CHART = (640, 120)
_POINTS = 320


def text_page(made: Verdict) -> str:
    """The verdict in plain text, at most 110 characters wide."""
    lines = [
        f"{_name(made)}: {made.word.upper()}",
        *textwrap.wrap(f"Because {made.reason}.", _WIDTH),
        "",
        *textwrap.wrap(_subject(made), _WIDTH),
        *textwrap.wrap(_figures(made), _WIDTH),
    ]
    for finding, heading in _HEADINGS.items():
        pieces = [piece for piece in made.pieces if piece.finding == finding]
        if pieces:
            lines += ["", f"{heading} ({len(pieces)}; * is decisive)"]
        for piece in pieces:
            head = f"  {_SIGNS[finding]} {piece.title}{'*' if piece.decisive else ''}"
            indent = " " * 27
            body = textwrap.wrap(piece.sentence, _WIDTH, initial_indent=indent, subsequent_indent=indent)
            lines += [f"{head:<27}{body[0].lstrip()}", *body[1:]]
    return "\n".join(lines)


def html_page(made: Verdict) -> str:
    """The verdict as HTML without scripts, with the equity curve drawn as a vector graphic."""
    color = _WORD_COLORS[made.word]
    groups = "".join(
        _group(_HEADINGS[finding], finding, [piece for piece in made.pieces if piece.finding == finding])
        for finding in _HEADINGS
    )
    return (
        '<div style="max-width:60em;line-height:1.45">'
        f'<p style="margin:0"><b>{escape(_name(made))}</b></p>'
        f'<p style="margin:.2em 0;font-size:1.6em;font-weight:600;color:{color}">{escape(made.word)}</p>'
        f'<p style="margin:.2em 0">Because {escape(made.reason)}.</p>'
        f'<p style="margin:.6em 0;opacity:.75">{escape(_subject(made))} {escape(_figures(made))}</p>'
        f'{_chart(made)}{groups}<p style="opacity:.75;font-size:.9em">* decisive for the word above</p></div>'
    )


def html_document(made: Verdict) -> str:
    """The page as a file of its own."""
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(_name(made))}: {escape(made.word)}</title></head>"
        '<body style="font-family:system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em">'
        f"{html_page(made)}</body></html>\n"
    )


def _name(made: Verdict) -> str:
    values = ", ".join(f"{name}={value}" for name, value in made.parameters.items())
    return f"{made.strategy}({values})"


def _subject(made: Verdict) -> str:
    names = ", ".join(made.symbols[:8]) + (f" and {len(made.symbols) - 8} more" if len(made.symbols) > 8 else "")
    snapshot = f", data snapshot {made.snapshot}" if made.snapshot else ""
    data = made.result.assumptions.data
    snapshot += f", bars {data}" if data != RAW else ""
    recorded = f", {made.count.recorded:,} of them in earlier work" if made.count.recorded else ""
    return (
        f"{names}; {made.first} to {made.last}, {len(made.result.equity):,} sessions{snapshot};"
        f" {made.count.trials:,} combinations tried{recorded}."
    )


def _figures(made: Verdict) -> str:
    figures = made.result.metrics
    return (
        f"Growth {figures['cagr']:.1%} a year, Sharpe ratio {figures['sharpe']:.2f}, deepest drawdown"
        f" {figures['max_drawdown']:.0%}, after costs."
    )


def _group(heading: str, finding: str, pieces: list[Evidence]) -> str:
    if not pieces:
        return ""
    color = _COLORS[finding]
    rows = "".join(
        f'<tr><td style="vertical-align:top;text-align:left;width:10em;padding:.25em 1em .25em .6em;'
        f'border-left:3px solid {color}">{escape(piece.title)}{"&nbsp;*" if piece.decisive else ""}</td>'
        f'<td style="text-align:left;padding:.25em 0">{escape(piece.sentence)}</td></tr>'
        for piece in pieces
    )
    return (
        f'<p style="margin:1em 0 .3em;color:{color};font-weight:600">{heading}</p>'
        f'<table style="border-collapse:collapse;width:100%">{rows}</table>'
    )


def _chart(made: Verdict) -> str:
    """Equity and benchmark on one logarithmic scale."""
    import numpy as np

    width, height = _CHART
    curves = {"the strategy": (made.result.equity, "#4269d0"), "equal parts held": (made.benchmark, "#a0a0a0")}
    logs = {name: np.log((_thinned(curve) / curve.iloc[0]).to_numpy()) for name, (curve, _) in curves.items()}
    low = min(float(values.min()) for values in logs.values())
    high = max(float(values.max()) for values in logs.values())
    span = high - low or 1.0
    lines = []
    for name, values in logs.items():
        steps = np.linspace(0, width, len(values))
        points = " ".join(
            f"{x:.1f},{height - (y - low) / span * height:.1f}" for x, y in zip(steps, values, strict=True)
        )
        color = curves[name][1]
        lines.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.6"/>')
    legend = " &nbsp; ".join(
        f'<span style="color:{color}">&#9644;</span> {escape(name)} {np.expm1(float(logs[name][-1])):+.0%}'
        for name, (_, color) in curves.items()
    )
    return (
        f'<svg viewBox="-2 -2 {width + 4} {height + 4}" style="width:100%;max-width:{width}px;height:{height}px"'
        f' role="img" aria-label="equity">{"".join(lines)}</svg>'
        f'<p style="margin:0;opacity:.75;font-size:.9em">{legend} (logarithmic)</p>'
    )


def _thinned(curve: pd.Series[float]) -> pd.Series[float]:
    import numpy as np

    return curve.iloc[np.unique(np.linspace(0, len(curve) - 1, min(_POINTS, len(curve))).astype(int))]
