"""The production job against a venue behind a socket: the real Alpaca client, the exchange served over HTTP."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.homes import make_home, start, workbench

KEYS = {"APCA_API_KEY_ID": "a-key", "APCA_API_SECRET_KEY": "a-secret"}
FIRST, SECOND = "2013-02-27", "2013-02-28"


class Venue:
    """`workbench exchange serve` in a process of its own."""

    def __init__(self, home: Path) -> None:
        self.process: subprocess.Popen[str] = start(
            home, "exchange", "serve", "--account", "venue", "--session", FIRST, "--port", "0", **KEYS
        )
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if line.startswith("Serving at "):
                self.url = line.removeprefix("Serving at ").strip()
                return
        raise AssertionError("".join(said))

    def orders(self) -> list[dict[str, object]]:
        """Every order the venue ever took, as Alpaca's interface lists them."""
        told: list[dict[str, object]] = self._get("/v2/orders?status=all&limit=500")
        return told

    def ask(self, path: str, body: object = None) -> dict[str, object]:
        told: dict[str, object] = self._get(path, body)
        return told

    def _get(self, path: str, body: object = None) -> Any:
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                "APCA-API-KEY-ID": KEYS["APCA_API_KEY_ID"],
                "APCA-API-SECRET-KEY": KEYS["APCA_API_SECRET_KEY"],
            },
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def stop(self) -> int:
        self.process.terminate()
        self.process.communicate(timeout=300)
        return self.process.returncode


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One session traded on the embedded paper exchange, so that the data is loaded."""
    folder = make_home(tmp_path_factory.mktemp("wire") / "home", loaded=True)
    for session in (FIRST, SECOND):
        done = workbench(folder, "run", "daily", "--session", session)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def venue(home: Path) -> Iterator[Venue]:
    served = Venue(home)
    yield served
    served.stop()


def over_the_wire(home: Path, venue: Venue, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "WORKBENCH_ACCOUNT__NAME": "wire",
        "WORKBENCH_ACCOUNT__BROKER": "alpaca",
        "WORKBENCH_ALPACA__BASE_URL": venue.url,
    }
    return workbench(home, *arguments, **{**settings, **KEYS, **more})


def listed(home: Path, what: str, account: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(workbench(home, what, "--account", account, "--json").stdout)
    return rows


def test_two_sessions_over_the_wire_are_those_of_the_embedded_exchange(home: Path, venue: Venue) -> None:
    for session in (FIRST, SECOND):
        if session != FIRST:
            venue.ask("/_exchange/advance", {"session": session})
        done = over_the_wire(home, venue, "run", "daily", "--session", session)
        assert done.returncode == 0, done.stderr
    same = ("session", "side", "symbol", "quantity", "status", "fill_session")
    for mine, theirs in zip(listed(home, "orders", "wire"), listed(home, "orders", "paper"), strict=True):
        assert [mine[key] for key in same] == [theirs[key] for key in same]
        if theirs["fill_price"] is not None:
            assert Decimal(str(mine["fill_price"])) == Decimal(str(theirs["fill_price"]))
    (wired,) = (row for row in json.loads(workbench(home, "status", "--json").stdout) if row["account"] == "wire")
    (paper,) = (row for row in json.loads(workbench(home, "status", "--json").stdout) if row["account"] == "paper")
    assert wired["equity"] == paper["equity"]  # the venue's fees come as entries of their own, to the last digit
    agreed = over_the_wire(home, venue, "reconcile")
    assert (agreed.returncode, agreed.stdout.strip()) == (0, "books and venue agree")


def test_a_session_that_the_venue_has_not_reached_is_refused(home: Path, venue: Venue) -> None:
    refused = over_the_wire(home, venue, "run", "daily", "--session", "2013-03-01")
    assert refused.returncode == 64
    assert refused.stderr.count("\n") == 1
    assert "has not come yet" in refused.stderr


def test_wrong_keys_are_one_clear_line(home: Path, venue: Venue) -> None:
    refused = over_the_wire(home, venue, "reconcile", APCA_API_SECRET_KEY="wrong")
    assert refused.returncode == 69
    assert refused.stderr.count("\n") == 1
    assert "wrong" not in refused.stderr.replace("wrong key", "")


def test_missing_keys_are_one_clear_line(home: Path, venue: Venue) -> None:
    refused = over_the_wire(home, venue, "reconcile", APCA_API_KEY_ID="")
    assert refused.returncode == 64
    assert refused.stderr.count("\n") == 1
    assert "APCA_API_KEY_ID" in refused.stderr


def test_a_live_address_is_refused_unless_armed(home: Path, venue: Venue) -> None:
    refused = over_the_wire(home, venue, "reconcile", WORKBENCH_ALPACA__BASE_URL="https://api.alpaca.markets")
    assert refused.returncode == 64
    assert refused.stderr.count("\n") == 1
    assert "armed" in refused.stderr


def test_a_venue_that_is_down_is_one_clear_line(home: Path, venue: Venue) -> None:
    refused = over_the_wire(home, venue, "reconcile", WORKBENCH_ALPACA__BASE_URL="http://127.0.0.1:9")
    assert refused.returncode == 69
    assert refused.stderr.count("\n") == 1


def test_a_clock_that_is_five_minutes_off_denies_every_order(home: Path, venue: Venue) -> None:
    venue.ask("/_exchange/faults", {"faults": [{"kind": "skew", "seconds": 300, "times": None}]})
    done = over_the_wire(home, venue, "run", "daily", "--session", SECOND, "--amend", "-p", "top=1")
    venue.ask("/_exchange/faults", {"faults": []})
    assert done.returncode == 0, done.stderr
    denied = [row for row in listed(home, "orders", "wire") if row["status"] == "denied"]
    assert denied
    assert {row["gate"] for row in denied} == {"clock_skew"}


def test_a_venue_that_answers_badly_gets_every_order_once(home: Path, venue: Venue) -> None:
    before = len(listed(home, "orders", "wire"))
    plan = [
        {"kind": "status", "status": 504, "accept": True, "method": "POST"},
        {"kind": "drop", "method": "POST"},
    ]
    venue.ask("/_exchange/faults", {"faults": plan})
    done = over_the_wire(home, venue, "run", "daily", "--session", SECOND, "--amend", "-p", "top=3")
    assert done.returncode == 0, done.stderr
    proposed = listed(home, "orders", "wire")[before:]
    by_id = {str(row["client_order_id"]): row["status"] for row in proposed}
    # The sale whose answer was lost, the one that never arrived, and the buys that waited for both.
    assert set(by_id.values()) == {"accepted"}, proposed
    at_venue = [order["client_order_id"] for order in venue.orders() if order["client_order_id"] in by_id]
    assert sorted(at_venue) == sorted(by_id)
    state = venue.ask("/_exchange/state")
    assert state["played"] == ["status POST /v2/orders", "drop POST /v2/orders"]
    agreed = over_the_wire(home, venue, "reconcile")
    assert (agreed.returncode, agreed.stdout.strip()) == (0, "books and venue agree")


def test_going_flat_over_the_wire_leaves_nothing(home: Path, venue: Venue) -> None:
    done = over_the_wire(home, venue, "halt", "--flatten", "--account", "wire")
    assert done.returncode == 0, done.stderr
    assert "orders cancelled" in done.stdout
    venue.ask("/_exchange/advance", {"session": "2013-03-01"})
    assert venue.ask("/_exchange/state")["holdings"] == {}, listed(home, "orders", "wire")
    assert over_the_wire(home, venue, "resume", "--account", "wire").returncode == 0
