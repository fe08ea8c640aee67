"""Exchanges for tests, and the contract that every broker passes: its asserts explain themselves as a test's do."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("brokers.contract", "brokers.contract_venue")

from brokers.contract_venue import MARKET, MON  # noqa: E402
from brokers.exchanges import FREE, NOW, Opener  # noqa: E402

from workbench.brokers.exchange import Exchange  # noqa: E402
from workbench.brokers.market import Market  # noqa: E402
from workbench.calendars import calendar  # noqa: E402
from workbench.clock import ManualClock  # noqa: E402


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Opener]:
    """Open an exchange without costs; opened again it is the same account."""
    opened: list[Exchange] = []

    def opener(market: Market = MARKET, cash: str = "100000", **options: Any) -> Exchange:
        options = {"costs": FREE, "clock": ManualClock(NOW), "account": "paper", **options}
        exchange = Exchange(
            tmp_path / "paper.sqlite", market=market, calendar=calendar("XNYS"), starting_cash=Decimal(cash),
            opened=MON, **options,
        )  # fmt: skip
        opened.append(exchange)
        return exchange

    yield opener
    for exchange in opened:
        exchange.close()
