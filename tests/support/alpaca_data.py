"""A server that speaks Alpaca's data interface: bars (v2) and corporate actions (v1), page by page.

Answers have the fields of Alpaca's published OpenAPI documents; prices are those of the sample or made up by hand.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


def bar(start: str, *prices: float) -> dict[str, Any]:
    """A bar as Alpaca writes it."""
    return {"t": start, **dict(zip("ohlcv", prices, strict=True)), "n": 9, "vw": sum(prices[1:4]) / 3}


# Two pages of two bars.
DAILY = {
    "IBM": [
        bar("2013-02-05T05:00:00Z", 204.31, 204.75, 202.51, 202.79, 3636900),
        bar("2013-02-06T05:00:00Z", 200.39, 201.29, 199.56, 201.02, 3624200),
    ],
    "KO": [bar("2013-02-05T05:00:00Z", 37.0, 37.5, 36.9, 37.25, 1000)],
}
MINUTES = {"SPY": [bar("2013-07-01T13:30:00Z", 160.5, 160.6, 160.4, 160.55, 1000)]}
ACTIONS = {
    "forward_splits": [{"symbol": "AAPL", "new_rate": 4, "old_rate": 1, "ex_date": "2020-08-31", "cusip": "037833100"}],
    "reverse_splits": [{"symbol": "GE", "new_rate": 1, "old_rate": 8, "ex_date": "2021-08-02"}],
    "cash_dividends": [
        {"symbol": "IBM", "rate": 0.85, "special": False, "ex_date": "2013-02-06"},
        {"symbol": "COST", "rate": 15.0, "special": True, "ex_date": "2023-12-27"},
    ],
    "stock_dividends": [{"symbol": "TR", "rate": 0.03, "ex_date": "2023-03-03"}],
}


class Venue:
    """What was asked, and how many answers are to be refused first."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.headers: dict[str, str] = {}
        self.refusals: list[int] = []
        self.address = ""

    def answer(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        if path == "/v1/corporate-actions":
            return {"corporate_actions": ACTIONS, "next_page_token": None}
        bars = DAILY if query["timeframe"] == "1Day" else MINUTES
        listed = [(symbol, bar) for symbol in query["symbols"].split(",") for bar in bars.get(symbol, [])]
        first = int(query.get("page_token", "0"))
        page: dict[str, list[Any]] = {}
        for symbol, bar in listed[first : first + 2]:
            page.setdefault(symbol, []).append(bar)
        return {"bars": page, "next_page_token": str(first + 2) if first + 2 < len(listed) else None}


@contextmanager
def serving() -> Iterator[Venue]:
    """The venue on a socket of its own."""
    known = Venue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            known.asked.append((parts.path, query))
            known.headers = {name.lower(): value for name, value in self.headers.items()}
            status = known.refusals.pop(0) if known.refusals else 200
            body = known.answer(parts.path, query) if status == 200 else {"message": "no", "code": status * 100000}
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    known.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
