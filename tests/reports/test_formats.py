from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from workbench.reports import formats

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formats.usd(Decimal("-1234.567")), f"{MINUS}$1,234.57"),
        (formats.usd(-0.001), "$0.00"),
        (formats.pct(-0.1234, 1), f"{MINUS}12.3%"),
        (formats.signed_pct(0.1), "+10.00%"),
        (formats.signed_pct(-0.1), f"{MINUS}10.00%"),
        (formats.signed_pct(0.000001), "0.00%"),
        (formats.shares(Decimal("1250.500")), "1,250.5"),
        (formats.shares(Decimal("100")), "100"),
        (formats.price(Decimal("49.99")), "49.99"),
        (formats.price(Decimal("54.5109")), "54.5109"),
        (formats.moment(datetime(2013, 1, 2, 21, 30, tzinfo=UTC)), "2013-01-02 21:30:00 UTC"),
        (formats.day(date(2013, 1, 2)), "2013-01-02"),
        (formats.seconds(3.456), "3.5 s"),
        (formats.words("partially_filled"), "partially filled"),
    ],
)
def test_numbers_and_dates_are_written_for_people(written, expected):
    assert written == expected


@pytest.mark.parametrize("write", list(formats.FILTERS.values()))
def test_what_is_not_there_is_a_dash(write):
    assert write(None) == formats.GAP


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, Decimal("NaN")])
def test_what_is_not_a_number_is_a_dash(value):
    for write in (formats.usd, formats.pct, formats.signed_pct, formats.number, formats.shares, formats.price):
        assert write(value) == formats.GAP
