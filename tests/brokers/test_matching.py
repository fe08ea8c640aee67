from __future__ import annotations

from decimal import Decimal

import pytest
from support.markets import bar

from workbench.brokers.matching import Costs, fill_price
from workbench.domain import OrderType, Side, TimeInForce

COSTS = Costs(Decimal("0.005"), Decimal("1.00"), Decimal(2))
DAY, OPG = TimeInForce.DAY, TimeInForce.OPG
SESSION = bar("100.00", "103.00", "98.00", "101.00")


@pytest.mark.parametrize(
    ("side", "expected"),
    # 2 basis points of 100.00 are 0.02: a buyer pays more, a seller gets less.
    [(Side.BUY, "100.0200"), (Side.SELL, "99.9800")],
)
def test_a_market_order_pays_the_open_and_the_slippage(side: Side, expected: str) -> None:
    assert fill_price(side, OrderType.MARKET, None, DAY, SESSION, COSTS) == Decimal(expected)


@pytest.mark.parametrize(
    ("side", "limit", "time_in_force", "expected"),
    [
        (Side.BUY, "101.00", DAY, "100.00"),  # the open is better than the limit
        (Side.BUY, "100.00", OPG, "100.00"),  # the open is the limit
        (Side.BUY, "98.00", DAY, "98.00"),  # the low touches it
        (Side.BUY, "97.99", DAY, None),  # the low does not
        (Side.BUY, "99.00", OPG, None),  # the opening auction is over
        (Side.SELL, "99.00", DAY, "100.00"),
        (Side.SELL, "103.00", DAY, "103.00"),
        (Side.SELL, "103.01", DAY, None),
        (Side.SELL, "102.00", OPG, None),
    ],
)
def test_a_limit_order_never_does_worse_than_its_limit(
    side: Side, limit: str, time_in_force: TimeInForce, expected: str | None
) -> None:
    price = fill_price(side, OrderType.LIMIT, Decimal(limit), time_in_force, SESSION, COSTS)
    assert price == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(("shares", "fee"), [("1", "1.00"), ("200", "1.00"), ("201", "1.005"), ("1000", "5.00")])
def test_the_fee_is_per_share_with_a_minimum(shares: str, fee: str) -> None:
    assert COSTS.fee(Decimal(shares)) == Decimal(fee)
