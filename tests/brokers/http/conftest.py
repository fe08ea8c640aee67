from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from brokers.http.board import D2, market
from support.exchange_server import ExchangeServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ExchangeServer]:
    """An exchange at the close of the 2nd with 100,000 USD, no costs, no faults, a distant rate limit."""
    with ExchangeServer(tmp_path, market=market(), opened=D2) as running:
        yield running


@pytest.fixture
def client(server: ExchangeServer) -> Iterator[httpx.Client]:
    """A plain client that is signed in."""
    with server.http() as signed_in:
        yield signed_in


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeServer]:
    """One exchange for tests that leave it as they found it."""
    with ExchangeServer(tmp_path_factory.mktemp("steady"), market=market(), opened=D2) as running:
        yield running


@pytest.fixture(scope="module")
def visitor(steady: ExchangeServer) -> Iterator[httpx.Client]:
    with steady.http() as signed_in:
        yield signed_in
