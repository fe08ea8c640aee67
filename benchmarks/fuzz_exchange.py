"""schemathesis on all that the paper exchange serves of Alpaca's OpenAPI documents: the long version.

    python benchmarks/fuzz_exchange.py --examples 500

A short version runs in `make test` (tests/brokers/http/test_documents.py). For each operation: how often each status
was answered; the first answer that does not conform ends the run with exit code 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from brokers.http import documents
from brokers.http.board import D2, market
from support.exchange_server import ExchangeServer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=200, help="of each operation, valid and as many invalid ones")
    options = parser.parse_args()
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "localhost,127.0.0.1"
    failed = 0
    with tempfile.TemporaryDirectory(prefix="workbench-fuzz-") as scratch:
        for name in documents.SERVED:
            with ExchangeServer(Path(scratch) / name, market=market(), opened=D2) as server:
                documents.trade(server)
                for operation in documents.operations(documents.document(name), server.url, server.headers):
                    failed += _fuzz(operation, server, options.examples)
    print(f"{failed} operations do not conform", flush=True)
    return int(failed > 0)


def _fuzz(operation: documents.Operation, server: ExchangeServer, examples: int) -> int:
    try:
        seen = documents.fuzz(operation, server.headers, documents.rest(server), examples=examples)
    except BaseExceptionGroup as group:
        print(f"{operation.label}: {group}\n{group.exceptions[0]}", flush=True)
        return 1
    print(
        f"{operation.label}: " + ", ".join(f"{status} x {count}" for status, count in sorted(seen.items())), flush=True
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
