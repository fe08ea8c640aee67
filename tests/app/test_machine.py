"""``workbench profile`` and ``workbench latency`` as a user runs them, on real sockets, stores and kernels."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.homes import make_home, workbench
from support.hosts import Host, answer, closed_port

from workbench.app import machine, measuring, open_workbench, practice
from workbench.calendars import calendar
from workbench.clock import SystemClock
from workbench.domain import OrderState, Side
from workbench.hardware.measurements import Measurements
from workbench.settings import load_settings

CLOCK = SystemClock()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path / "home")


def listing(home: Path, *arguments: str, code: int = 0, **env: str) -> Any:
    done = workbench(home, *arguments, "--json", **env)
    assert done.returncode == code, done.stderr + done.stdout
    return json.loads(done.stdout)


# ---- profile -------------------------------------------------------------------------------------


def test_the_whole_profile_measures_everything_and_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # on a machine that runs other tests, too, the usual half a minute may not suffice
    monkeypatch.setattr(measuring, "FULL_S", (600.0, 600.0))
    wb = open_workbench(start=home, env={})
    report = wb.machine()
    wb.close()
    measured = report.capability
    assert measured.skipped == {}
    for name in ("scan_rows_per_s", "zipline_year_s", "notebook_cold_s", "notebook_warm_s", "order_ms", "orders_per_s",
                 "sweep_bars_per_s"):  # fmt: skip
        assert getattr(measured, name) > 0, name
    assert measured.notebook_warm_s < measured.notebook_cold_s
    assert sum(report.budget.daily_job_parts_s.values()) == pytest.approx(report.budget.daily_job_s)
    assert report.budget.sweep_combinations == int(measured.sweep_bars_per_s * 3600 / 5000)
    assert {"orders", "universe", "sweeps", "local or cloud"} <= {one.topic for one in report.advice}
    [kept] = Measurements.of(home / "data").read("profile")
    assert kept == json.loads(json.dumps(report.to_dict()))
    # nothing of the practice is left, and no account was touched
    assert {path.name for path in (home / "data").iterdir()} <= {"sample", "hardware", "cache"}


def test_a_profile_is_compared_with_those_before(home: Path) -> None:
    nothing = workbench(home, "profile", "--quick", "--compare")
    assert nothing.returncode == 65
    assert nothing.stderr == (
        "workbench: no profile has been kept yet; run `workbench profile` once, and again later to compare\n"
    )
    done = workbench(home, "profile", "--quick")
    assert done.returncode == 0, done.stderr
    for words in ("usable cores", "durable write, median", "arithmetic, 1 thread", "jobs side by side",
                  "universe, 20 years of daily bars", "local or cloud: "):  # fmt: skip
        assert words in done.stdout, words
    assert re.search(r"^kept in .*hardware/profile/.*\.json$", done.stdout, flags=re.MULTILINE)
    [first] = Measurements.of(home / "data").read("profile")
    assert first["capability"]["blas_gflops"]
    assert first["capability"]["notebook_cold_s"] is None  # a part of the product
    # the machine of yesterday had one core more, and a disk that was a thousand times faster
    yesterday = {**first, "cpu": {**first["cpu"], "cores_usable": first["cpu"]["cores_usable"] + 1}}
    yesterday["fsync"] = {**first["fsync"], "median_ms": first["fsync"]["median_ms"] / 1000}
    [file] = Measurements.of(home / "data").files("profile")
    file.unlink()
    moment = datetime.fromisoformat(first["measured_at"]) - timedelta(days=1)
    Measurements.of(home / "data").add("profile", moment, {k: v for k, v in yesterday.items() if k != "measured_at"})
    found = {row["what"]: row["change"] for row in listing(home, "profile", "--quick", "--compare", code=1)}
    assert found["cpu.cores_usable"] == "worse"
    assert found["fsync.median_ms"] == "worse"


def test_no_measurement_begins_after_its_time(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.app.measuring.QUICK_S", (0.0, 0.0))
    with_nothing = machine.look(load_settings(home, {}), calendar("XNYS"), CLOCK, quick=True).capability
    assert with_nothing.skipped.keys() == {"arithmetic", "memory", "disk", "scan"}
    assert with_nothing.seconds == {}


# ---- practice ------------------------------------------------------------------------------------


def test_practice_orders_go_through_gates_journal_and_exchange(tmp_path: Path) -> None:
    times, rebalance_s = practice.order_path(tmp_path, calendar("XNYS"), CLOCK, singles=3, batch=30)
    assert len(times) == 3
    assert min(times) > 0
    assert rebalance_s > 0
    from workbench.journal import Journal

    with Journal(tmp_path / "journal.sqlite", CLOCK) as journal:
        assert journal.read("SELECT count(*) FROM decisions WHERE approved")[0][0] == 33
        # proposed, approved, answered: each is an event of its own in the journal
        assert journal.read("SELECT count(*) FROM order_events")[0][0] >= 3 * 33


def test_an_order_that_is_not_accepted_is_no_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(practice, "_PRICE", practice._PRICE * 10**9)  # more than the account can pay
    with pytest.raises(RuntimeError, match="practice orders were accepted"):
        practice.order_path(tmp_path, calendar("XNYS"), CLOCK, singles=1, batch=2)


def test_the_practice_exchange_takes_orders_of_the_real_client(tmp_path: Path) -> None:
    exchange = calendar("XNYS")
    with practice.served_exchange(tmp_path, exchange, CLOCK) as (broker, address):
        assert address.startswith("http://127.0.0.1:")
        times = practice.order_round_trips(broker, exchange, CLOCK, 4)
        assert len(times) == 4
        assert broker.open_orders() == []
        [intent] = practice._orders(exchange.last_closed(CLOCK.now()), "one", ["P000"]).intents
        order = broker.submit(intent)
        assert (order.state, order.side) == (OrderState.ACCEPTED, Side.BUY)


# ---- latency -------------------------------------------------------------------------------------


def test_the_paper_exchange_is_measured_with_orders(home: Path) -> None:
    [row] = listing(home, "latency", "--tries", "5")
    assert row["target"] == "paper exchange"
    assert row["loss"] == 0
    assert 0 < row["tcp_ms"] < row["order_ms"]
    assert abs(row["clock_offset_ms"]) < 2000  # it is this machine's own clock
    assert {path.name for path in (home / "data").iterdir()} <= {"sample", "hardware", "cache"}


def test_several_hosts_are_compared_and_the_nearest_named(home: Path) -> None:
    with Host() as one, Host(delay_s=0.02) as two:
        hosts = [f"http://127.0.0.1:{one.port}", f"http://127.0.0.1:{two.port}"]
        done = workbench(home, "latency", *hosts, "--tries", "3")
    assert done.returncode == 0, done.stderr
    named = re.search(r"^nearest: (.+)$", done.stdout, flags=re.MULTILINE)
    assert named is not None
    assert named[1] in hosts


def test_source_addresses_are_compared(home: Path) -> None:
    with Host() as host:
        rows = listing(
            home, "latency", f"http://127.0.0.1:{host.port}", "--source", "127.0.0.2", "--source", "127.0.0.3",
            "--tries", "2",
        )  # fmt: skip
    assert set(host.callers) == {"127.0.0.2", "127.0.0.3"}
    assert [row["target"].rpartition(" from ")[2] for row in rows] == ["127.0.0.2", "127.0.0.3"]


def test_a_host_that_is_not_reached_is_an_alarm_and_exit_code_1(home: Path) -> None:
    target = f"127.0.0.1:{closed_port()}"
    done = workbench(home, "latency", target)
    assert done.returncode == 1
    assert f"ALARM: {target} lost 100% of 3 tries: tcp: refused" in done.stdout


def test_a_venue_that_became_slow_is_an_alarm_by_its_history(home: Path) -> None:
    with Host() as host:
        target = f"http://127.0.0.1:{host.port}"
        for _ in range(3):
            assert listing(home, "latency", target, "--tries", "3")[0]["alarms"] == []
    with Host(delay_s=0.3) as slow:  # the same venue by name, half a second away now
        files = Measurements.of(home / "data").files("latency")
        for file in files:
            file.write_text(file.read_text().replace(str(host.port), str(slow.port)))
        [row] = listing(home, "latency", f"http://127.0.0.1:{slow.port}", "--tries", "3", code=1)
    assert len(row["alarms"]) == 1
    assert row["alarms"][0].startswith("the first byte of http://127.0.0.1:")
    assert "(median of 3 measurements)" in row["alarms"][0]
    history = listing(home, "latency", "--history")
    assert len(history) == 4
    assert history[-1]["first_byte_ms"] > 300


def test_a_venue_whose_clock_is_another_stops_the_next_trading_run(home: Path) -> None:
    with Host(answer(ahead_s=60)) as host:
        [row] = listing(home, "latency", f"http://127.0.0.1:{host.port}", "--tries", "3", code=1)
    # The host tells whole seconds: its clock is ahead by 59 to 60.
    assert re.match(r"this clock is at least (59\.\d|60\.0) s behind", row["alarms"][0])
    done = workbench(home, "run", "daily", "--session", "2013-03-01", "--allow-dirty")
    assert done.returncode == 71
    assert re.search(r"the clock is off by (59\.\d|60\.0)", done.stderr)


def test_configured_venues_are_measured_without_being_named(home: Path) -> None:
    config = home / "workbench.toml"
    config.write_text(config.read_text().replace("hosts = []", 'hosts = ["venue.example", "10.0.0.1:4002"]'))
    assert machine.venues(load_settings(home, {})) == ["venue.example", "10.0.0.1:4002"]
    alpaca = load_settings(home, {"WORKBENCH_ACCOUNT__BROKER": "alpaca"})
    assert machine.venues(alpaca)[0] == "https://paper-api.alpaca.markets/v2/clock"


@pytest.mark.parametrize("arguments", [["ftp://x"], ["localhost", "--tries", "0"]])
def test_bad_arguments_are_refused_in_one_line(home: Path, arguments: list[str]) -> None:
    done = workbench(home, "latency", *arguments)
    assert done.returncode == 64
    assert len(done.stderr.splitlines()) == 1
