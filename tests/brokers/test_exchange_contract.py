"""The paper exchange, embedded, as a broker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from brokers.contract import CALENDAR, CASH, COSTS, MARKET, MAX_VOLUME_SHARE, MON, BrokerContract

from workbench.brokers.base import Broker
from workbench.brokers.paper import PaperExchange
from workbench.calendars import calendar
from workbench.clock import ManualClock
from workbench.domain import Fill, Side


class PaperVenue:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._clock = ManualClock(datetime(2026, 1, 5, 22, tzinfo=UTC))
        self.paper = self._open()

    @property
    def broker(self) -> Broker:
        return self.paper

    def reopen(self) -> Broker:
        self.paper.close()
        self.paper = self._open()
        return self.paper

    def open_market(self) -> None:
        self.paper.exchange.open_market()

    def close_market(self) -> None:
        self.paper.exchange.close_market()

    def manual_trade(self, symbol: str, side: Side, quantity: Decimal, price: Decimal) -> None:
        self.paper.exchange.manual_trade(symbol, side, quantity, price)

    def bust(self, fill: Fill) -> None:
        self.paper.exchange.bust(fill.fill_id)

    def correct(self, fill: Fill, price: Decimal) -> None:
        self.paper.exchange.correct(fill.fill_id, price=price)

    def _open(self) -> PaperExchange:
        return PaperExchange(
            self._file, account="paper", market=MARKET, calendar=calendar(CALENDAR), costs=COSTS,
            starting_cash=CASH, opened=MON, clock=self._clock, max_volume_share=MAX_VOLUME_SHARE,
        )  # fmt: skip


class TestPaperExchange(BrokerContract):
    @pytest.fixture
    def venue(self, tmp_path: Path) -> Iterator[PaperVenue]:
        venue = PaperVenue(tmp_path / "paper.sqlite")
        yield venue
        venue.paper.close()
