"""schemathesis finds nothing against Alpaca's published OpenAPI documents.

A bounded number of requests with fixed seeds; ``benchmarks/fuzz_exchange.py`` sends many more.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from brokers.http import documents
from brokers.http.board import D2, market
from support.exchange_server import ExchangeServer

EXAMPLES = 12
OPERATIONS = [
    (name, method.upper(), path)
    for name, paths in documents.SERVED.items()
    for path in paths
    for method in ("get", "post", "patch", "delete")
    if method in documents.load(name)["paths"][path]
]


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeServer]:
    """An exchange that has positions and a history."""
    with ExchangeServer(tmp_path_factory.mktemp("documents"), market=market(), opened=D2) as server:
        documents.trade(server)
        yield server


@pytest.mark.parametrize(("name", "method", "path"), OPERATIONS)
def test_an_operation_conforms(traded: ExchangeServer, name: str, method: str, path: str):
    document = documents.document(name)
    [operation] = [
        found
        for found in documents.operations(document, traded.url, traded.headers)
        if (found.method.upper(), found.path) == (method, path)
    ]
    seen = documents.fuzz(operation, traded.headers, documents.rest(traded), examples=EXAMPLES)
    assert any(status < 300 for status in seen), seen
