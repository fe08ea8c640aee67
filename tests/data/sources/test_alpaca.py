"""Bars through the real alpaca-trade-api over a socket, from a server that speaks Alpaca's data interface."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from data.sources.conftest import Desk
from support.alpaca_data import Venue, serving

from workbench.brokers.alpaca.market_data import AlpacaData
from workbench.data.sources.alpaca import AlpacaSource
from workbench.errors import BrokerError, BrokerUnavailable, ConfigError, DataError, RateLimited
from workbench.settings import AlpacaSettings


@pytest.fixture
def venue() -> Iterator[Venue]:
    with serving() as known:
        yield known


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
