from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from brokers.alpaca.venue import KEY, SECRET, Request, Venue

from workbench.brokers.alpaca import AlpacaBroker
from workbench.calendars import calendar
from workbench.clock import ManualClock

# 20 minutes after the open, New York
NOW = datetime(2025, 6, 24, 13, 50, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Request], object]], Venue]]:
    """Open a venue that answers as the function says."""
    opened: list[Venue] = []

    def opener(answer: Callable[[Request], object]) -> Venue:
        opened.append(Venue(answer))
        return opened[-1]

    yield opener
    for venue in opened:
        venue.close()


@pytest.fixture
def connect(clock: ManualClock) -> Iterator[Callable[..., AlpacaBroker]]:
    """Open a broker at a venue; ``changes`` are settings."""
    opened: list[AlpacaBroker] = []

    def opener(venue: Venue, **changes: Any) -> AlpacaBroker:
        broker = AlpacaBroker(
            venue.settings(**changes), account="paper", key=KEY, secret=SECRET, calendar=calendar("XNYS"), clock=clock
        )
        opened.append(broker)
        return broker

    yield opener
    for broker in opened:
        broker.close()
