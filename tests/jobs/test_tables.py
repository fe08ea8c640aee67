"""What is written as TOML is read back as it was."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workbench.jobs.promotion.tables import to_toml

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLAIN = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    TEXT,
    st.dates(),
    st.lists(TEXT, max_size=9),
)
TABLE = st.recursive(
    st.dictionaries(TEXT, PLAIN, max_size=4),
    lambda inner: st.dictionaries(TEXT, st.one_of(PLAIN, inner, st.lists(inner, min_size=1, max_size=3)), max_size=4),
    max_leaves=8,
)


@given(TABLE)
def test_every_table_survives(values: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(values)) == values


def test_what_is_not_known_is_left_out() -> None:
    values: dict[str, Any] = {
        "at": datetime(2013, 1, 2, tzinfo=UTC),
        "on": date(2013, 1, 2),
        "commit": None,
        "empty": {},
    }
    assert tomllib.loads(to_toml(values)) == {key: value for key, value in values.items() if value is not None}
