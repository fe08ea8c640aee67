"""The Alpaca adapter against the paper exchange over a socket: the contract, and what only a network does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from brokers.contract import CALENDAR, CASH, COSTS, MARKET, MAX_VOLUME_SHARE, MON, BrokerContract
from support.exchange_server import ExchangeServer

from workbench.brokers.alpaca import AlpacaBroker
from workbench.brokers.base import Broker
from workbench.calendars import calendar
from workbench.clock import ManualClock
from workbench.domain import Fill, Side
from workbench.settings import AlpacaSettings


class AlpacaVenue:
    def __init__(self, server: ExchangeServer) -> None:
        self.server = server
        self.clock = ManualClock(datetime(2026, 1, 5, 22, tzinfo=UTC))
        self.broker: Broker = self._open()

    def reopen(self) -> Broker:
        self.broker.close()
        self.broker = self._open()
        return self.broker

    def open_market(self) -> None:
        self.server.open_market()

    def close_market(self) -> None:
        self.server.close_market()

    def manual_trade(self, symbol: str, side: Side, quantity: Decimal, price: Decimal) -> None:
        self.server.manual_trade(symbol, side.value, quantity, price)

    def bust(self, fill: Fill) -> None:
        self.server.bust(_engine_id(fill))

    def correct(self, fill: Fill, price: Decimal) -> None:
        self.server.correct(_engine_id(fill), price=price)

    def _open(self) -> AlpacaBroker:
        server = self.server
        settings = AlpacaSettings(base_url=server.url, stream=False)
        return AlpacaBroker(
            settings, account="paper", key=server.key, secret=server.secret, calendar=server.calendar, clock=self.clock
        )


def _engine_id(fill: Fill) -> str:
    """The exchange writes the number of its fill into the first digits of the activity's uuid."""
    return f"f{int(fill.fill_id.split('::')[1][:8], 16)}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ExchangeServer]:
    with ExchangeServer(
        tmp_path, market=MARKET, opened=MON, costs=COSTS, starting_cash=CASH, max_volume_share=MAX_VOLUME_SHARE,
        trading_calendar=calendar(CALENDAR),
    ) as running:  # fmt: skip
        yield running


class TestAlpaca(BrokerContract):
    @pytest.fixture
    def venue(self, server: ExchangeServer) -> Iterator[AlpacaVenue]:
        venue = AlpacaVenue(server)
        yield venue
        venue.broker.close()
