"""Bars through the real alpaca-trade-api over a socket, from a server that speaks Alpaca's data interface.

Answers have the fields of Alpaca's published OpenAPI documents (market data v2, corporate actions v1).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from data.sources.conftest import Desk

from workbench.brokers.alpaca.market_data import AlpacaData
from workbench.data.sources.alpaca import AlpacaSource
from workbench.errors import BrokerError, BrokerUnavailable, ConfigError, DataError, RateLimited
from workbench.settings import AlpacaSettings


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


@pytest.fixture
def venue() -> Iterator[Venue]:
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


class Clock:
    """Waits are noted, not slept."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2024, 1, 2, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def client(venue: Venue) -> Iterator[AlpacaData]:
    found = AlpacaData(AlpacaSettings(data_url=venue.address), key="PK1", secret="s3", clock=Clock())
    yield found
    found.close()


def test_daily_bars_come_page_by_page_under_the_session_of_new_york(
    desk: Desk, venue: Venue, client: AlpacaData
) -> None:
    source = AlpacaSource(client, ["IBM", "KO"], date(2013, 2, 5), date(2013, 2, 6))
    assert desk.read(source) == [
        ("IBM", "2013-02-05", 204.31, 204.75, 202.51, 202.79, 3_636_900.0),
        ("IBM", "2013-02-06", 200.39, 201.29, 199.56, 201.02, 3_624_200.0),
        ("KO", "2013-02-05", 37.0, 37.5, 36.9, 37.25, 1000.0),
    ]
    pages = [query for path, query in venue.asked if path == "/v2/stocks/bars"]
    assert [query.get("page_token") for query in pages] == [None, "2"]
    assert {query["adjustment"] for query in pages} == {"raw"}
    assert pages[0]["start"] == "2013-02-05T00:00:00-05:00"
    assert pages[0]["end"] == "2013-02-06T23:59:59-05:00"
    assert (venue.headers["apca-api-key-id"], venue.headers["apca-api-secret-key"]) == ("PK1", "s3")


def test_corporate_actions_come_with_the_bars(desk: Desk, client: AlpacaData) -> None:
    desk.read(AlpacaSource(client, ["IBM"], date(2013, 2, 5), date(2013, 2, 6)))
    found = desk.connection.execute(
        f"SELECT symbol, ex_date::VARCHAR, kind, value, origin FROM {desk.staged.actions} ORDER BY ALL"
    ).fetchall()
    assert found == [
        ("AAPL", "2020-08-31", "split", 4.0, "published"),
        ("COST", "2023-12-27", "special_dividend", 15.0, "published"),
        ("GE", "2021-08-02", "split", 0.125, "published"),
        ("IBM", "2013-02-06", "dividend", 0.85, "published"),
        ("TR", "2023-03-03", "stock_dividend", 0.03, "published"),
    ]
    assert "prices are as traded: asked for with adjustment=raw" in desk.staged.assumptions


def test_minute_bars_are_kept_in_utc(desk: Desk, venue: Venue, client: AlpacaData) -> None:
    source = AlpacaSource(client, ["SPY"], date(2013, 7, 1), date(2013, 7, 1), frequency="minute")
    assert desk.read(source) == [("SPY", "2013-07-01 13:30:00", 160.5, 160.6, 160.4, 160.55, 1000.0)]
    assert venue.asked[0][1]["timeframe"] == "1Min"


def test_the_same_answer_has_the_same_digest(client: AlpacaData) -> None:
    one, two = (AlpacaSource(client, ["IBM"], date(2013, 2, 5), date(2013, 2, 6)) for _ in range(2))
    assert one.digest == two.digest


def test_a_venue_that_wants_to_be_left_alone_is_asked_again_after_its_wait(desk: Desk, venue: Venue) -> None:
    clock = Clock()
    client = AlpacaData(AlpacaSettings(data_url=venue.address), key="PK1", secret="s3", clock=clock)
    venue.refusals = [429, 429]
    assert len(desk.read(AlpacaSource(client, ["KO"], date(2013, 2, 5), date(2013, 2, 5)))) == 1
    assert len(clock.slept) == 2
    venue.refusals = [429] * 5
    with pytest.raises(RateLimited):
        assert AlpacaSource(client, ["KO"], date(2013, 2, 5), date(2013, 2, 5)).digest
    client.close()


@pytest.mark.parametrize(("status", "error"), [(403, BrokerError), (500, BrokerUnavailable)])
def test_a_refusal_is_told_once_and_not_repeated(
    venue: Venue, client: AlpacaData, status: int, error: type[Exception]
) -> None:
    venue.refusals = [status]
    with pytest.raises(error):
        assert AlpacaSource(client, ["KO"], date(2013, 2, 5), date(2013, 2, 5)).digest
    assert len(venue.asked) == 1


def test_no_bars_and_a_span_that_ends_before_it_begins_are_refused(client: AlpacaData) -> None:
    with pytest.raises(DataError, match="alpaca: ZEN: no bars from 2013-02-05 to 2013-02-06"):
        assert AlpacaSource(client, ["ZEN"], date(2013, 2, 5), date(2013, 2, 6)).digest
    with pytest.raises(DataError, match="2013-02-06 is after 2013-02-05"):
        AlpacaSource(client, ["IBM"], date(2013, 2, 6), date(2013, 2, 5))


def test_keys_are_not_sent_in_the_clear() -> None:
    with pytest.raises(ConfigError, match="would send the keys in the clear"):
        AlpacaData(AlpacaSettings(data_url="http://data.example.com"), key="PK1", secret="s3", clock=Clock())
