"""Against real sockets on this machine: hosts that answer, refuse, hang, dawdle, lie, and speak TLS."""

from __future__ import annotations

import json
import ssl
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.certificates import self_signed
from support.hosts import Host, TimeServer, answer, closed_port

from workbench.clock import ManualClock, SystemClock
from workbench.errors import ConfigError
from workbench.hardware.latency import Timing, alarms, measure_latency, nearest, summarize
from workbench.hardware.network import address_of
from workbench.hardware.probe import Target, Try, attempt, parse_target
from workbench.hardware.sntp import ask_time

CLOCK = SystemClock()
NOW = datetime(2026, 6, 1, 14, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


def at(host: Host, scheme: str = "http", name: str = "127.0.0.1") -> Target:
    return parse_target(f"{scheme}://{name}:{host.port}/v2/clock")


# ---- where to ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("paper-api.alpaca.markets", ("https", "paper-api.alpaca.markets", 443, "/")),
        ("https://paper-api.alpaca.markets/v2/clock", ("https", "paper-api.alpaca.markets", 443, "/v2/clock")),
        ("wss://stream.data.alpaca.markets/v2/iex", ("https", "stream.data.alpaca.markets", 443, "/v2/iex")),
        ("https://venue.example/clock?tz=utc", ("https", "venue.example", 443, "/clock?tz=utc")),
        ("http://127.0.0.1:8765", ("http", "127.0.0.1", 8765, "/")),
        ("example.com:80", ("http", "example.com", 80, "/")),
        ("127.0.0.1:4002", ("tcp", "127.0.0.1", 4002, "/")),
        ("tcp://[::1]:4002", ("tcp", "::1", 4002, "/")),
    ],
)
def test_a_target_is_what_a_person_would_write(text: str, expected: tuple[str, str, int, str]) -> None:
    target = parse_target(text)
    assert (target.scheme, target.host, target.port, target.path) == expected


@pytest.mark.parametrize(
    "text", ["", "http://", "ftp://example.com", "tcp://example.com", "a b", "example.com:99999", "http://me@host/",
             "https://host/x\r\nX: y"],
)  # fmt: skip
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_target(text)


# ---- one try -------------------------------------------------------------------------------------


def test_every_stage_of_a_plain_host_is_timed() -> None:
    with Host() as host:
        made = attempt(at(host), CLOCK, timeout_s=5)
    assert made.failed_at is None
    assert made.address == "127.0.0.1"
    assert made.tls_ms is None
    assert all(t is not None and 0 < t < 5000 for t in (made.dns_ms, made.tcp_ms, made.first_byte_ms))
    assert host.requests[0].startswith(b"HEAD /v2/clock HTTP/1.1\r\nHost: 127.0.0.1:")


def test_encryption_is_timed_and_its_version_told(certificate: Path, trusting: ssl.SSLContext) -> None:
    with Host(certificate=str(certificate)) as host:
        made = attempt(at(host, "https", "localhost"), CLOCK, timeout_s=5, context=trusting)
    assert made.failed_at is None, made.reason
    assert made.tls_ms is not None
    assert made.tls_ms > 0
    assert made.tls_version == "TLSv1.3"


def test_a_certificate_that_nobody_vouches_for_fails_at_tls(certificate: Path) -> None:
    with Host(certificate=str(certificate)) as host:
        made = attempt(at(host, "https", "localhost"), CLOCK, timeout_s=5)
    assert made.failed_at == "tls"
    assert "self-signed certificate" in made.reason
    assert made.tcp_ms is not None  # how far it got is kept


def test_a_certificate_of_another_name_fails_at_tls(tmp_path: Path) -> None:
    other = self_signed(tmp_path, "venue.example")
    context = ssl.create_default_context(cafile=str(other))
    with Host(certificate=str(other)) as host:
        made = attempt(at(host, "https", "localhost"), CLOCK, timeout_s=5, context=context)
    assert made.failed_at == "tls"
    assert "Hostname mismatch" in made.reason


def test_an_expired_certificate_fails_at_tls(tmp_path: Path) -> None:
    old = self_signed(tmp_path, "localhost", until="20210101000000Z")
    context = ssl.create_default_context(cafile=str(old))
    with Host(certificate=str(old)) as host:
        made = attempt(at(host, "https", "localhost"), CLOCK, timeout_s=5, context=context)
    assert (made.failed_at, made.reason) == ("tls", "the certificate is not trusted: certificate has expired")


def test_a_host_without_tls_fails_at_tls(trusting: ssl.SSLContext) -> None:
    with Host() as host:
        made = attempt(at(host, "https", "localhost"), CLOCK, timeout_s=5, context=trusting)
    assert made.failed_at == "tls"


def test_a_closed_port_is_refused() -> None:
    made = attempt(parse_target(f"127.0.0.1:{closed_port()}"), CLOCK, timeout_s=5)
    assert (made.failed_at, made.reason, made.tcp_ms) == ("tcp", "refused", None)


def test_a_host_that_hangs_times_out_at_the_first_byte() -> None:
    with Host(hang=True) as host:
        before = CLOCK.monotonic()
        made = attempt(at(host), CLOCK, timeout_s=0.2)
        took = CLOCK.monotonic() - before
    assert (made.failed_at, made.reason) == ("http", "timed out")
    assert took < 5


def test_a_host_that_hangs_in_the_handshake_times_out_there(trusting: ssl.SSLContext) -> None:
    with Host(hang=True) as host:
        made = attempt(at(host, "https", "localhost"), CLOCK, timeout_s=0.2, context=trusting)
    assert (made.failed_at, "timed out" in made.reason) == ("tls", True)


def test_a_slow_host_is_slow_at_the_first_byte_only() -> None:
    with Host(delay_s=0.15) as host:
        made = attempt(at(host), CLOCK, timeout_s=10)
    assert made.first_byte_ms is not None
    assert made.tcp_ms is not None
    assert made.first_byte_ms >= 150
    assert made.tcp_ms < 150


def test_a_name_that_nobody_knows_fails_at_dns() -> None:
    made = attempt(Target("x", "http", "localhost\udcff", 80), CLOCK, timeout_s=5)
    assert made.failed_at == "dns"
    assert made.dns_ms is None


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        (Host(fail=lambda number: True), "the connection was closed without an answer"),
        (Host(lambda: b"SSH-2.0-OpenSSH_9.2\r\n"), "the answer is not HTTP"),
    ],
    ids=["closes", "speaks something else"],
)
def test_an_answer_that_is_none_fails_at_http(host: Host, reason: str) -> None:
    with host:
        made = attempt(at(host), CLOCK, timeout_s=5)
    assert (made.failed_at, made.reason) == ("http", reason)


def test_a_tcp_target_is_only_connected_to() -> None:
    with Host(hang=True) as host:
        made = attempt(parse_target(f"127.0.0.1:{host.port}"), CLOCK, timeout_s=5)
    assert made.failed_at is None
    assert made.first_byte_ms is None


def test_the_connection_leaves_by_the_source_address() -> None:
    with Host() as host:
        target = parse_target(f"http://127.0.0.1:{host.port}", source="127.0.0.7")
        assert attempt(target, CLOCK, timeout_s=5).failed_at is None
    assert host.callers == ["127.0.0.7"]
    assert target.label == f"http://127.0.0.1:{host.port} from 127.0.0.7"


@pytest.mark.skipif(sys.platform != "linux", reason="the loopback interface has another name")
def test_a_source_may_be_an_interface() -> None:
    assert address_of("lo") == "127.0.0.1"
    assert address_of("::1") == "::1"
    with pytest.raises(ConfigError, match="neither an address nor an interface"):
        address_of("eth99")


def test_an_address_that_is_not_ours_cannot_be_left_by() -> None:
    with Host() as host:
        target = parse_target(f"http://127.0.0.1:{host.port}", source="192.0.2.99")
        made = attempt(target, CLOCK, timeout_s=5)
    assert made.failed_at == "tcp"


# ---- many tries ----------------------------------------------------------------------------------


def test_percentiles_and_jitter_are_those_of_numpy() -> None:
    samples = [12.0, 10.5, 30.0, 11.0, 11.5, 10.0, 12.5]
    timing = Timing.of(samples)
    assert timing is not None
    for name, percent in (("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99), ("min", 0), ("max", 100)):
        assert getattr(timing, name) == pytest.approx(np.percentile(samples, percent))
    assert timing.jitter == pytest.approx(np.abs(np.diff(samples)).mean())
    assert Timing.of([]) is None


def test_lost_tries_are_counted_by_what_they_failed_at() -> None:
    with Host(fail=lambda number: number % 5 == 4) as host:
        found = measure_latency(at(host), CLOCK, tries=20, pause_s=0)
    assert (found.tries, found.loss) == (20, 0.2)
    assert found.failures == {"http: the connection was closed without an answer": 4}
    assert found.first_byte_ms is not None
    assert found.tcp_ms is not None
    assert (found.first_byte_ms.count, found.tcp_ms.count) == (16, 20)
    assert json.loads(json.dumps(found.to_dict()))["target"]["port"] == host.port


def test_a_host_that_takes_nothing_is_given_up_after_three_tries() -> None:
    found = measure_latency(parse_target(f"127.0.0.1:{closed_port()}"), CLOCK, tries=20, pause_s=0)
    assert (found.tries, found.loss, found.tcp_ms) == (3, 1.0, None)


def test_the_nearest_of_several_hosts_is_named() -> None:
    far, near = (
        summarize(Target(name, "tcp", name, 1), NOW, [Try(dns_ms=1, tcp_ms=ms) for ms in times])
        for name, times in (("far", [9.0, 10.0, 11.0]), ("near", [2.0, 2.5, 90.0]))
    )
    unreached = summarize(Target("gone", "tcp", "gone", 1), NOW, [Try(failed_at="tcp", reason="refused")])
    assert nearest([far, unreached, near]) is near
    assert nearest([unreached]) is None


# ---- clocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead_s", [0.0, 90.0, -7.25])
def test_the_clocks_are_compared_to_within_what_is_said(ahead_s: float) -> None:
    with Host(answer(ahead_s=ahead_s)) as host:
        found = measure_latency(at(host), CLOCK, tries=8, pause_s=0)
    assert found.clock_offset_ms is not None
    assert found.clock_error_ms is not None
    # a venue ahead of us is our clock behind it
    assert abs(found.clock_offset_ms + ahead_s * 1000) <= found.clock_error_ms
    assert found.clock_error_ms <= 800


def test_answers_in_different_parts_of_a_second_narrow_the_difference() -> None:
    # The venue is 10.25 s ahead. Asked at our .00, .25, .50 and .75, it writes seconds 10, 10, 10, 11:
    # 1000.70 + 10.25 = 1010.95 is still second 1010, 1000.76 + 10.25 = 1011.01 is 1011.
    made = [Try(asked_s=t, answered_s=t + 0.02, date_s=d) for t, d in ((1000.70, 1010.0), (1000.76, 1011.0))]
    found = summarize(Target("v", "http", "v", 80), NOW, made)
    # before: asked - date - 1 >= -10.30 of the first; after: answered - date <= -10.22 of the second
    assert found.clock_offset_ms == pytest.approx(-10_260)
    assert found.clock_error_ms == pytest.approx(40)


def test_hosts_behind_one_name_whose_clocks_disagree_say_nothing() -> None:
    made = [Try(asked_s=100.0, answered_s=100.1, date_s=d) for d in (100.0, 105.0)]
    assert summarize(Target("v", "http", "v", 80), NOW, made).clock_offset_ms is None


def test_a_host_that_tells_no_time_has_no_offset() -> None:
    with Host(answer(date=False)) as host:
        assert measure_latency(at(host), CLOCK, tries=2, pause_s=0).clock_offset_ms is None


@pytest.mark.parametrize("ahead_s", [0.0, 5.0, -3600.0])
def test_a_time_server_tells_how_far_the_clock_is_off(ahead_s: float) -> None:
    with TimeServer(ahead_s) as server:
        found = ask_time(server.address, CLOCK)
    assert found is not None
    assert abs(found.offset_ms + ahead_s * 1000) <= found.delay_ms / 2 + 1
    assert server.asked == 4


def test_four_time_stamps_give_offset_and_delay_as_the_standard_says() -> None:
    # RFC 5905, section 8: with T1 = 10.0, T2 = T3 = 13.1 (server), T4 = 10.2: offset ((3.1)+(2.9))/2 = 3.0, delay 0.2.
    # The clock stands still here, so T4 = T1 and both legs are equal: the offset is the server's whole lead.
    clock = ManualClock(datetime.now(UTC) - timedelta(seconds=3))
    with TimeServer(0.0) as server:
        found = ask_time(server.address, clock, tries=1)
    assert found is not None
    assert found.offset_ms == pytest.approx(-3000, abs=500)
    assert found.delay_ms == 0


@pytest.mark.parametrize(
    "server",
    [TimeServer(stratum=0), TimeServer(stratum=16), TimeServer(warning=3), TimeServer(echo=False)],
    ids=["kiss of death", "lost", "unsynchronised", "an answer to somebody else"],
)
def test_an_answer_that_cannot_be_believed_is_none(server: TimeServer) -> None:
    with server:
        assert ask_time(server.address, CLOCK) is None


def test_a_time_server_that_is_not_there_is_none() -> None:
    with TimeServer(silent=True) as server:
        assert ask_time(server.address, CLOCK, timeout_s=0.1) is None
    assert server.asked == 1  # not asked again
    assert ask_time(f"127.0.0.1:{closed_port()}", CLOCK, timeout_s=0.5) is None
    with pytest.raises(ConfigError, match="time_server"):
        ask_time("127.0.0.1:many", CLOCK)


# ---- alarms --------------------------------------------------------------------------------------


def latency(*times_ms: float, lost: int = 0, offset_ms: float | None = None, error_ms: float = 100.0) -> Any:
    made = [Try(dns_ms=1, tcp_ms=ms, first_byte_ms=3 * ms) for ms in times_ms]
    made += [Try(failed_at="http", reason="timed out")] * lost
    found = summarize(Target("venue", "https", "venue", 443), NOW, made)
    from dataclasses import replace

    return replace(found, clock_offset_ms=offset_ms, clock_error_ms=None if offset_ms is None else error_ms)


USUAL = [latency(10.0, 11.0, 12.0).to_dict()] * 5


def test_a_venue_that_has_moved_away_raises_an_alarm() -> None:
    assert alarms(latency(21.0), USUAL, factor=2.0, max_offset_s=2.0) == []
    said = alarms(latency(23.0), USUAL, factor=2.0, max_offset_s=2.0)
    assert said == [
        "a connection to venue takes 23.0 ms, usually 11.0 ms (median of 5 measurements)",
        "the first byte of venue takes 69.0 ms, usually 33.0 ms (median of 5 measurements)",
    ]


def test_two_measurements_are_no_habit_yet() -> None:
    assert alarms(latency(90.0), USUAL[:2], factor=2.0, max_offset_s=2.0) == []


def test_a_difference_below_a_millisecond_is_noise() -> None:
    usual = [latency(0.1, 0.1, 0.1).to_dict()] * 5
    assert alarms(latency(0.4), usual, factor=2.0, max_offset_s=2.0) == []


def test_losing_more_than_ever_before_raises_an_alarm() -> None:
    said = alarms(latency(11.0, 11.0, 11.0, lost=1), USUAL, factor=2.0, max_offset_s=2.0)
    assert said == ["venue lost 25% of 4 tries: http: timed out"]
    used_to_it = [latency(11.0, 11.0, 11.0, lost=1).to_dict()] * 3
    assert alarms(latency(11.0, 11.0, 11.0, lost=1), used_to_it, factor=2.0, max_offset_s=2.0) == []


def test_a_clock_that_is_certainly_off_raises_an_alarm() -> None:
    assert alarms(latency(11.0, offset_ms=2050), [], factor=2.0, max_offset_s=2.0) == []  # may be 1950
    assert alarms(latency(11.0, offset_ms=-2200), [], factor=2.0, max_offset_s=2.0) == [
        "this clock is at least 2.1 s behind that of venue"
    ]
