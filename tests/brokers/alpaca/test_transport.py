"""What goes over the wire, and what every way of failing is taken for."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from brokers.alpaca.examples import EQUITY, equity
from brokers.alpaca.venue import DROP, HALF, HANG, KEY, SECRET, Request, Venue, refusal, reply

from workbench.brokers.alpaca import AlpacaBroker
from workbench.brokers.base import Pace
from workbench.calendars import calendar
from workbench.clock import ManualClock
from workbench.domain import OrderIntent, OrderType, Side, TimeInForce
from workbench.errors import (
    BrokerError,
    BrokerUnavailable,
    ConfigError,
    OrderRejected,
    OrderUnknown,
    RateLimited,
    WorkbenchError,
)
from workbench.settings import AlpacaSettings

Serve = Callable[[Callable[[Request], object]], Venue]
Connect = Callable[..., AlpacaBroker]

INTENT = OrderIntent(
    "c1", "AAPL", Side.BUY, Decimal(2), Decimal(150), "s", 0, OrderType.LIMIT, Decimal("150.10"), TimeInForce.GTC
)


def test_an_order_is_one_post_with_decimal_text_and_the_keys(serve: Serve, connect: Connect) -> None:
    venue = serve(lambda _: reply(equity(1)))
    order = connect(venue).submit(INTENT)
    assert order.client_order_id == "c1"
    (request,) = venue.requests
    assert request.line == "POST /v2/orders"
    assert request.body == {
        "symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "gtc", "client_order_id": "c1", "qty": "2",
        "limit_price": "150.10",
    }  # fmt: skip
    assert (request.headers["apca-api-key-id"], request.headers["apca-api-secret-key"]) == (KEY, SECRET)
    assert "authorization" not in request.headers


ANSWERS_TO_A_POST = [
    pytest.param(refusal(400, 40010000, "bad request"), OrderRejected, id="400"),
    pytest.param(reply({"message": "unauthorized."}, 401), OrderRejected, id="401"),
    pytest.param(refusal(403, 40310000, "insufficient buying power"), OrderRejected, id="403"),
    pytest.param(refusal(404, 40410000, "asset not found"), OrderRejected, id="404"),
    pytest.param(refusal(422, 42210000, "invalid order type"), OrderRejected, id="422"),
    pytest.param(refusal(422, 40010001, "qty is required"), OrderRejected, id="422 of another field"),
    pytest.param(refusal(422, 40010001, "client_order_id must be unique"), OrderUnknown, id="422 of a duplicate"),
    pytest.param(refusal(429, 42910000, "too many requests"), RateLimited, id="429"),
    pytest.param(reply("<html>slow down</html>", 429, kind="text/html"), RateLimited, id="429 of a proxy"),
    pytest.param(reply("<html>forbidden</html>", 403, kind="text/html"), OrderUnknown, id="403 of a proxy"),
    pytest.param(reply("<html>not found</html>", 404, kind="text/html"), OrderUnknown, id="404 of a proxy"),
    pytest.param(reply("", 422), OrderUnknown, id="422 without a word"),
    pytest.param(reply("", 408), OrderUnknown, id="408"),
    pytest.param(refusal(409, 40910000, "conflict"), OrderUnknown, id="409"),
    pytest.param(refusal(500, 50010000, "internal server error"), OrderUnknown, id="500"),
    pytest.param(reply("<html>bad gateway</html>", 502, kind="text/html"), OrderUnknown, id="502"),
    pytest.param(refusal(503, 50310000, "unavailable"), OrderUnknown, id="503"),
    pytest.param(reply({"message": "gateway timeout"}, 504), OrderUnknown, id="504"),
    pytest.param(reply("", 302, headers={"Location": "https://example.com/v2/orders"}), OrderUnknown, id="302"),
    pytest.param(reply("<html>ok</html>", kind="text/html"), OrderUnknown, id="200 with a page"),
    pytest.param(reply(""), OrderUnknown, id="200 without a word"),
    pytest.param(reply("null"), OrderUnknown, id="200 with null"),
    pytest.param(reply([EQUITY]), OrderUnknown, id="200 with a list"),
    pytest.param(reply({}), OrderUnknown, id="200 with no order"),
    pytest.param(reply({**EQUITY, "side": None}), OrderUnknown, id="200 with half an order"),
    pytest.param(reply(equity(2)), OrderUnknown, id="200 with another order"),
    pytest.param(reply('{"id": NaN}'), OrderUnknown, id="200 with NaN"),
    pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", OrderUnknown, id="no HTTP"),
    pytest.param(HALF, OrderUnknown, id="cut short"),
    pytest.param(DROP, OrderUnknown, id="dropped"),
]


@pytest.mark.parametrize(("answer", "error"), ANSWERS_TO_A_POST)
def test_each_answer_to_an_order_has_one_meaning_and_one_post(
    serve: Serve, connect: Connect, answer: object, error: type[WorkbenchError]
) -> None:
    venue = serve(lambda _: answer)
    with pytest.raises(BrokerError) as caught:
        connect(venue).submit(INTENT)
    assert type(caught.value) is error
    assert venue.lines() == ["POST /v2/orders"]


def test_an_order_that_gets_no_answer_in_time_is_in_doubt(serve: Serve, connect: Connect) -> None:
    venue = serve(lambda _: HANG)
    with pytest.raises(OrderUnknown, match=r"did not answer within 0\.2 s: POST /orders"):
        connect(venue, read_timeout_s=0.2).submit(INTENT)
    assert venue.lines() == ["POST /v2/orders"]


ANSWERS_TO_A_GET = [
    pytest.param(reply({"message": "unauthorized."}, 401), BrokerError, id="401"),
    pytest.param(refusal(403, 40310000, "forbidden."), BrokerError, id="403"),
    pytest.param(refusal(422, 40010001, "invalid client_order_id"), BrokerError, id="422"),
    pytest.param(refusal(429, 42910000, "too many requests"), RateLimited, id="429"),
    pytest.param(reply("<html>who?</html>", 404, kind="text/html"), BrokerUnavailable, id="404 of a proxy"),
    pytest.param(reply({"message": "Not Found"}, 404), BrokerUnavailable, id="404 without a code"),
    pytest.param(refusal(500, 50010000, "internal server error"), BrokerUnavailable, id="500"),
    pytest.param(reply("<html>bad gateway</html>", 502, kind="text/html"), BrokerUnavailable, id="502"),
    pytest.param(reply({"message": "gateway timeout"}, 504), BrokerUnavailable, id="504"),
    pytest.param(reply("", 301, headers={"Location": "https://example.com"}), BrokerUnavailable, id="301"),
    pytest.param(reply("<html>ok</html>", kind="text/html"), BrokerUnavailable, id="200 with a page"),
    pytest.param(reply(""), BrokerUnavailable, id="200 without a word"),
    pytest.param(reply([]), BrokerUnavailable, id="200 with a list"),
    pytest.param(reply({"id": "x"}), BrokerUnavailable, id="200 with half an order"),
    pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", BrokerUnavailable, id="no HTTP"),
    pytest.param(HALF, BrokerUnavailable, id="cut short"),
    pytest.param(DROP, BrokerUnavailable, id="dropped"),
]


@pytest.mark.parametrize(("answer", "error"), ANSWERS_TO_A_GET)
def test_each_answer_to_a_question_has_one_meaning(
    serve: Serve, connect: Connect, answer: object, error: type[WorkbenchError]
) -> None:
    venue = serve(lambda _: answer)
    with pytest.raises(BrokerError) as caught:
        connect(venue).order("c1")
    assert type(caught.value) is error
    assert venue.lines() == ["GET /v2/orders:by_client_order_id"]


def test_a_question_that_gets_no_answer_in_time_may_be_asked_again(serve: Serve, connect: Connect) -> None:
    with pytest.raises(BrokerUnavailable, match="did not answer"):
        connect(serve(lambda _: HANG), read_timeout_s=0.2).order("c1")


def test_only_the_venues_own_word_says_that_it_never_got_an_order(serve: Serve, connect: Connect) -> None:
    venue = serve(lambda _: refusal(404, 40410000, "order not found for c1"))
    assert connect(venue).order("c1") is None
    assert venue.requests[0].query == {"client_order_id": "c1"}


def test_wrong_credentials_say_what_to_check_and_never_show_them(serve: Serve, connect: Connect) -> None:
    broker = connect(serve(lambda _: reply({"message": "unauthorized."}, 401)))
    for call in (lambda: broker.submit(INTENT), broker.account, lambda: broker.order("c1")):
        with pytest.raises(BrokerError, match="check that APCA_API_KEY_ID and APCA_API_SECRET_KEY") as caught:
            call()
        assert SECRET not in str(caught.value)


def test_the_venues_own_words_reach_the_message(serve: Serve, connect: Connect) -> None:
    broker = connect(serve(lambda _: refusal(403, 40310000, "insufficient buying power")))
    with pytest.raises(OrderRejected) as caught:
        broker.submit(INTENT)
    assert str(caught.value) == "Alpaca refused POST /orders: insufficient buying power (status 403, code 40310000)"


def test_nobody_listening_means_nothing_was_sent(clock: ManualClock, connect: Connect) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    broker = broker_at(address, clock)
    for call in (lambda: broker.submit(INTENT), lambda: broker.order("c1"), broker.account):
        with pytest.raises(BrokerUnavailable, match="cannot be reached"):
            call()
    broker.close()


@pytest.fixture
def full_listener() -> Iterator[str]:
    """The address of a socket whose queue is full: connecting to it takes for ever."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(4):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for client in waiting:
            client.close()


def test_a_connection_that_is_not_made_in_time_means_nothing_was_sent(full_listener: str, clock: ManualClock) -> None:
    broker = broker_at(full_listener, clock, connect_timeout_s=0.2)
    with pytest.raises(BrokerUnavailable, match="cannot be reached: POST /orders"):
        broker.submit(INTENT)
    broker.close()


@pytest.mark.parametrize("status", [429, 504])
def test_the_environment_cannot_turn_retries_on(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("APCA_RETRY_MAX", "5")
    monkeypatch.setenv("APCA_RETRY_WAIT", "0")
    monkeypatch.setenv("APCA_RETRY_CODES", "429,500,504")
    venue = serve(lambda _: refusal(status, 1, "again"))
    with pytest.raises(BrokerError):
        connect(venue).submit(INTENT)
    assert len(venue.requests) == 1


def test_a_broken_retry_variable_is_one_clear_line(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APCA_RETRY_MAX", "three")
    with pytest.raises(ConfigError, match=r"APCA_RETRY_MAX.* is not a number"):
        connect(serve(lambda _: DROP))


def test_the_environment_cannot_send_an_order_elsewhere(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = serve(lambda _: reply(equity(1)))
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n", encoding="utf-8")
    for name in ("APCA_API_BASE_URL", "APCA_API_DATA_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, elsewhere.address)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("APCA_API_VERSION", "v9")
    monkeypatch.setenv("APCA_API_OAUTH_TOKEN", "of another account")
    monkeypatch.setenv("APCA_API_KEY_ID", "another")
    venue = serve(lambda _: reply(equity(1)))
    connect(venue).submit(INTENT)
    assert elsewhere.requests == []
    (request,) = venue.requests
    assert request.line == "POST /v2/orders"
    assert request.headers["apca-api-key-id"] == KEY
    assert "authorization" not in request.headers


def test_a_connection_the_venue_closed_meanwhile_is_replaced_before_an_order_is_sent(
    serve: Serve, connect: Connect
) -> None:
    once = {"Connection": "close"}
    venue = serve(lambda _: reply(equity(1), headers=once))
    broker = connect(venue)
    assert broker.order("c1") is not None
    assert broker.submit(INTENT).client_order_id == "c1"
    assert venue.lines() == ["GET /v2/orders:by_client_order_id", "POST /v2/orders"]


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "{now+17}"}, 17),
        ({"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "{now-300}"}, 1),  # our clock runs ahead
        ({"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "{now+300}"}, 60),  # ours runs behind
        ({"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "soon"}, 1),
        ({}, 1),
    ],
)
def test_too_many_calls_say_when_to_come_back(
    serve: Serve, connect: Connect, clock: ManualClock, headers: dict[str, str], wait_s: float
) -> None:
    now = int(clock.now().timestamp())
    written = {name: str(now + int(value[4:-1])) if value.startswith("{") else value for name, value in headers.items()}
    broker = connect(serve(lambda _: refusal(429, 42910000, "too many requests", **written)))
    with pytest.raises(RateLimited) as caught:
        broker.submit(INTENT)
    assert caught.value.retry_after_s == wait_s


def test_the_pace_is_what_the_headers_said_last(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    reset = int(clock.now().timestamp()) + 40
    headers = [{"X-RateLimit-Remaining": "7", "X-RateLimit-Reset": str(reset)}, {}]
    broker = connect(serve(lambda _: reply(equity(1), headers=headers.pop(0))))
    assert broker.pace() is None
    broker.order("c1")
    assert broker.pace() == Pace(7, 40.0)
    clock.advance(15)
    broker.order("c1")  # an answer without the headers
    assert broker.pace() == Pace(7, 25.0)
    clock.advance(60)
    assert broker.pace() == Pace(7, 0.0)


def test_the_live_address_is_refused_before_anything_is_sent(clock: ManualClock) -> None:
    with pytest.raises(ConfigError, match="not armed"):
        broker_at("https://api.alpaca.markets", clock)


def test_keys_that_cannot_travel_are_refused_without_being_shown(clock: ManualClock) -> None:
    with pytest.raises(ConfigError, match="APCA_API_SECRET_KEY is not a key") as caught:
        AlpacaBroker(
            AlpacaSettings(), account="paper", key=KEY, secret="hush\n", calendar=calendar("XNYS"), clock=clock
        )
    assert "hush" not in str(caught.value)


def broker_at(address: str, clock: ManualClock, **changes: float) -> AlpacaBroker:
    settings = AlpacaSettings.model_validate({"base_url": address, "stream": False, **changes})
    return AlpacaBroker(settings, account="paper", key=KEY, secret=SECRET, calendar=calendar("XNYS"), clock=clock)
