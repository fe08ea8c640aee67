"""Whatever is wrong and whatever the policy: the ledger leads back to raw, and cleaning twice is cleaning once."""

from __future__ import annotations

from typing import Any, get_args

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.calendars import Calendar
from workbench.data.cleaning import CleaningPolicy, clean, undo
from workbench.data.cleaning.policy import rules
from workbench.data.dataset import FIELDS, no_actions
from workbench.data.rows import BarRows

ROWS = 120
# Multiplied into cells; NaN and what is not above zero are put there.
NUMBERS = st.sampled_from([0.0, -5.0, float("nan"), 0.001, 0.01, 0.97, 1.0, 1.02, 3.0, 100.0, 1000.0])
FAULTS = st.lists(
    st.tuples(
        st.sampled_from(["cell", "bar", "missing", "twice", "saturday"]),
        st.integers(min_value=0, max_value=ROWS - 1),
        st.sampled_from(FIELDS),
        NUMBERS,
        st.integers(min_value=1, max_value=7),
    ),
    max_size=6,
)
POLICIES = st.fixed_dictionaries(
    {name: st.sampled_from(get_args(CleaningPolicy.model_fields[name].annotation)) for name in rules()}
)


def spoil(frame: pd.DataFrame, faults: list[Any]) -> pd.DataFrame:
    frame = frame.reset_index(drop=True)
    gone: set[int] = set()
    added = []
    for kind, row, field, number, length in faults:
        put = number if not number > 0 else None
        rows = slice(row, row + length - 1)
        if kind == "cell":
            frame.loc[row, field] = put if put is not None else frame.loc[row, field] * number
        elif kind == "bar":
            frame.loc[rows, list(FIELDS[:4])] = (
                put if put is not None else frame.loc[rows, list(FIELDS[:4])].to_numpy() * number
            )
        elif kind == "missing":
            gone |= set(range(row, min(row + length, ROWS)))
        elif kind == "twice":
            copy = frame.loc[[row]].copy()
            copy[field] = copy[field] * (number if number > 0 else 1.0)
            added.append(copy)
        else:
            copy = frame.loc[[row]].copy()
            copy["at"] += pd.Timedelta(days=(5 - copy["at"].dt.dayofweek.iloc[0]) % 7)
            added.append(copy)
    return pd.concat([frame.drop(index=sorted(gone)), *added], ignore_index=True)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(faults=FAULTS, choices=POLICIES)
def test_undoing_the_ledger_gives_back_raw_and_cleaning_twice_is_cleaning_once(
    real: pd.DataFrame, xnys: Calendar, faults: list[Any], choices: dict[str, str]
) -> None:
    few = real[real["symbol"].isin(["IBM", "MSFT"]) & (real["at"] >= "2012-01-03")].groupby("symbol").head(ROWS // 2)
    raw = BarRows.from_frame(spoil(few, faults))
    policy = CleaningPolicy(**choices)
    cleaned = clean(raw, no_actions(), xnys, policy)
    back = undo(cleaned.rows, cleaned.repairs)
    # Of two bars at one time that say different things, which came first is part of raw.
    pd.testing.assert_frame_equal(back.frame(), raw.frame(), check_exact=True)
    again = clean(cleaned.rows, cleaned.actions, xnys, policy)
    if not any("found again" in one.because or "last pass" in one.because for one in cleaned.left):
        assert again.repairs.empty, again.repairs.to_string()
