"""Whatever shape bars are written in, the same bars are read."""

from __future__ import annotations

import tempfile
from datetime import date, timedelta
from pathlib import Path

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.data.sources import Reading
from workbench.data.sources.files import FileSource

FIELDS = ("open", "high", "low", "close", "volume")
DATES = ("%Y-%m-%d", "%Y%m%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%b-%Y", "%b %d, %Y", "%Y-%m-%dT00:00:00Z")
NAMES = {
    "date": ("Date", "timestamp", "<DATE>"),
    "close": ("Close", "Price", "c", "Close/Last"),
    "volume": ("Vol.", "v"),
}
prices = st.integers(1, 99_999_999).map(lambda cents: cents / 100)
rows = st.lists(
    st.tuples(st.integers(0, 9000), *[prices] * 4, st.integers(0, 10**9)),
    min_size=1,
    max_size=30,
    unique_by=lambda r: r[0],
)


def written(value: float, comma: bool, thousands: bool) -> str:
    """A number as people in the United States or on the continent print it."""
    text = f"{value:,.2f}" if thousands else f"{value:.2f}"
    return text.replace(",", " ").replace(".", ",").replace(" ", ".") if comma else text


@settings(max_examples=30, deadline=None)
@given(data=st.data(), bars=rows, comma=st.booleans(), thousands=st.booleans(), day=st.sampled_from(DATES))
def test_bars_come_back_from_any_shape(
    data: st.DataObject, bars: list[tuple[float, ...]], comma: bool, thousands: bool, day: str
) -> None:
    order = data.draw(st.permutations(["date", *FIELDS]))
    header = [data.draw(st.sampled_from(NAMES.get(role, (role, role.upper())))) for role in order]
    separator = data.draw(st.sampled_from(";\t|" if comma else ",;\t"))
    lines = [separator.join(header)]
    expected = []
    for offset, *values in bars:
        session = date(1995, 1, 2) + timedelta(days=int(offset))
        cells = dict(zip(FIELDS, values, strict=True))
        texts = {"date": f"{session:{day}}"} | {name: written(value, comma, thousands) for name, value in cells.items()}
        lines.append(separator.join(f'"{texts[role]}"' for role in order))
        expected.append(("IBM", session, *(float(value) for value in values)))
    slashes = {"%d/%m/%Y": "day-first", "%m/%d/%Y": "month-first"}.get(day)
    declared = Reading(adjusted=False, date_format=slashes, decimal="," if comma else ".")
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        file = Path(folder) / "IBM.csv"
        file.write_text("\n".join(lines), encoding="utf-8")
        staged = FileSource(file, declared).stage(connection)
        found = connection.execute(f"SELECT symbol, session, {', '.join(FIELDS)} FROM {staged.bars}").fetchall()
    assert found == sorted(expected)
