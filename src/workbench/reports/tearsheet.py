"""The tear sheet: one HTML page that says what an account did and why, readable without a network."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.reports import charts, figures, formats
from workbench.reports.tables import Row

if TYPE_CHECKING:
    import jinja2
    import pandas as pd
    from jinja2.bccache import Bucket
    from markupsafe import Markup

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# A month of this size has the full colour, so that two reports are coloured alike.
_FULL_HEAT = 0.10


@dataclass(frozen=True)
class TearsheetData:
    """Everything the page shows, of one account from ``first`` to the close of ``session``.

    ``equity`` has float columns cash, equity and wealth (USD) by session (``figures.equity_frame``);
    ``benchmark`` is buy and hold in USD on the same sessions, or None, and ``benchmark_note`` names its
    symbols or says why there is none. ``values`` and ``benchmark_values`` are metrics by name, NaN where
    undefined. ``trades`` counts orders that filled, ``traded_usd`` is what they were worth. The rows are
    those of ``reports.tables``, newest orders, runs and activities first, orders with
    ``gap_bps`` and ``slippage_open_bps``.
    """

    account: str
    pipeline: str
    first: date
    session: date
    mode: str
    run_id: str
    data_snapshot: int | None
    made_at: datetime
    equity: pd.DataFrame
    benchmark: pd.Series[float] | None
    benchmark_note: str
    values: Mapping[str, float]
    benchmark_values: Mapping[str, float]
    traded_usd: Decimal
    trades: int
    denied: int
    holdings: Sequence[Row]
    targets: Sequence[Row]
    orders: Sequence[Row]
    orders_total: int
    activities: Sequence[Row]
    runs: Sequence[Row]
    runs_total: int


@dataclass(frozen=True)
class Card:
    """One key figure: what it is, its value, and a word on it."""

    label: str
    value: str
    note: str


def write_tearsheet(data: TearsheetData, file: Path, *, assets: Path | None = None, standalone: bool = False) -> Path:
    """Write the page; it opens from ``file://`` without a network.

    Parameters
    ----------
    file
        Replaced in one step if it is there.
    assets
        Folder for plotly's script (4.8 MB), copied there once and shared by all pages; ``assets`` beside the
        account's folder if left out.
    standalone
        Put the script into the page instead, so that it can be sent as one file.

    Returns
    -------
    ``file``.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    script = ""
    if not standalone:
        shared = _shared_script(assets or file.parent.parent / "assets")
        script = Path(os.path.relpath(shared, file.parent)).as_posix()
    page = render(data, script=script)
    made = file.with_name(f".{file.name}.{os.getpid()}")
    made.write_text(page, encoding="utf-8")
    os.replace(made, file)
    return file


def render(data: TearsheetData, *, script: str) -> str:
    """The page as text; ``script`` is the relative address of plotly's script, empty to put it inside."""
    import markupsafe

    template = _environment().get_template("tearsheet.html")
    return template.render(
        data=data,
        cards=cards(data),
        months=MONTHS,
        monthly=_monthly(data),
        chart=inline_json(_figure(data)),
        style=markupsafe.Markup(_text("tearsheet.css")),
        code=markupsafe.Markup(_text("tearsheet.js")),
        script=script,
        plotly=markupsafe.Markup(plotly_script()) if not script else "",
        sharpe_from=figures.SESSIONS_FOR_SHARPE,
        cagr_from=figures.SESSIONS_FOR_CAGR,
    )


def cards(data: TearsheetData) -> list[Card]:
    """The key figures; one that says nothing yet is a dash with the reason."""
    values, other, sessions = data.values, data.benchmark_values, len(data.equity)
    last = data.equity.iloc[-1]
    invested = 1.0 - last["cash"] / last["equity"] if last["equity"] else None
    long_enough, has_ratio = sessions > figures.SESSIONS_FOR_CAGR, sessions > figures.SESSIONS_FOR_SHARPE
    fee_bps = values["fees_usd"] / float(data.traded_usd) * 10_000 if data.traded_usd else None
    return [
        Card("Equity", formats.usd(last["equity"]), f"cash {formats.usd(last['cash'])}"),
        Card("Total return", formats.signed_pct(values["total_return"]), f"{sessions} sessions"),
        Card(
            "Buy and hold",
            formats.signed_pct(other.get("total_return")),
            "equal weights" if other else "no benchmark",
        ),
        Card(
            "CAGR",
            formats.signed_pct(values["cagr"]) if long_enough else formats.GAP,
            "a year" if long_enough else f"shown after {figures.SESSIONS_FOR_CAGR} sessions",
        ),
        Card(
            "Sharpe ratio",
            formats.number(values["sharpe"]) if has_ratio else formats.GAP,
            f"buy and hold {formats.number(other.get('sharpe'))}"
            if has_ratio
            else f"shown after {figures.SESSIONS_FOR_SHARPE} sessions",
        ),
        Card(
            "Max drawdown",
            formats.pct(values["max_drawdown"]),
            f"buy and hold {formats.pct(other.get('max_drawdown'))}",
        ),
        Card("Invested", formats.pct(invested, 1), f"mean {formats.pct(values['exposure'], 1)}"),
        Card("Trades", formats.number(data.trades, 0), f"{data.denied} denied"),
        Card("Turnover", _times(values["turnover"]), f"a year; {formats.usd(data.traded_usd, 0)} traded"),
        Card("Fees", formats.usd(values["fees_usd"]), f"{formats.number(fee_bps, 1)} bps of value traded"),
    ]


def inline_json(value: object) -> Markup:
    r"""JSON that is inert inside a script element, whatever text it carries.

    >>> print(inline_json({"name": "</script>"}))
    {"name":"\u003c/script\u003e"}
    """
    import markupsafe

    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return markupsafe.Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def plotly_script() -> str:
    """The JavaScript of the installed plotly."""
    return _plotly_file().read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _plotly_file() -> Path:
    return Path(str(resources.files("plotly"))) / "package_data" / "plotly.min.js"


@lru_cache(maxsize=1)
def _plotly_version() -> str:
    from importlib.metadata import version

    return version("plotly")


def _shared_script(assets: Path) -> Path:
    """Put plotly's script into the folder, named by its version, unless it is there."""
    shared = assets / f"plotly-{_plotly_version()}.min.js"
    source = _plotly_file()
    if not shared.is_file() or shared.stat().st_size != source.stat().st_size:
        assets.mkdir(parents=True, exist_ok=True)
        made = shared.with_name(f".{shared.name}.{os.getpid()}")
        made.write_bytes(source.read_bytes())
        os.replace(made, shared)
    return shared


def _figure(data: TearsheetData) -> dict[str, Any]:
    from workbench.research import metrics

    wealth = data.equity["wealth"]
    drawdowns = {"strategy": metrics.drawdown(wealth)}
    if data.benchmark is not None:
        drawdowns["benchmark"] = metrics.drawdown(data.benchmark)
    return charts.equity_figure(wealth, data.benchmark, drawdowns)


def _monthly(data: TearsheetData) -> list[tuple[int, list[tuple[float | None, float]]]]:
    """Year and 13 cells, months and the year: the return, if there is one, and the heat of its colour."""
    rows = []
    for year, found in sorted(figures.monthly_returns(data.equity["wealth"]).items()):
        values = [figures.finite(found.get(month)) for month in (*range(1, 13), 0)]
        rows.append((year, [(value, min(abs(value or 0.0) / _FULL_HEAT, 1.0)) for value in values]))
    return rows


def prepare() -> None:
    """Compile the template and find its parts, so that the first tear sheet is as quick as the others."""
    _environment().get_template("tearsheet.html")
    _plotly_file()
    _plotly_version()
    for name in ("tearsheet.css", "tearsheet.js"):
        _text(name)


def _times(value: float) -> str:
    text = formats.number(value, 1)
    return text if text == formats.GAP else f"{text}\N{MULTIPLICATION SIGN}"


@lru_cache(maxsize=4)
def _text(name: str) -> str:
    return (resources.files("workbench.reports") / "templates" / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    """The templates; compiled ones are kept beside their source, as Python's own, if that can be written to."""
    import jinja2

    class Kept(jinja2.FileSystemBytecodeCache):
        """A cache that costs time where it cannot be written, and nothing else."""

        def dump_bytecode(self, bucket: Bucket) -> None:
            with suppress(OSError):
                Path(self.directory).mkdir(exist_ok=True)
                super().dump_bytecode(bucket)

    environment = jinja2.Environment(
        bytecode_cache=Kept(str(Path(__file__).parent / "templates" / "__pycache__"), "%s.jinja"),
        loader=jinja2.PackageLoader("workbench.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: formats.GAP if value is None else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(formats.FILTERS)
    return environment
