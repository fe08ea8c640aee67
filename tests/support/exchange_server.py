"""The paper exchange as a real server on a free loopback port: in a thread of the test, or in a process of its own.

with ExchangeServer(folder, market=market, opened=date(2013, 1, 2)) as server:
    client = REST(server.key, server.secret, server.url)
    server.advance(date(2013, 1, 3))
    server.faults({"kind": "drop", "method": "POST", "path": "/v2/orders"})
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
from support.homes import environment

from workbench.brokers.exchange import Exchange
from workbench.brokers.exchange_http import Credentials, Service, Venue, bind
from workbench.brokers.market import Market
from workbench.brokers.matching import Costs
from workbench.calendars import Calendar, calendar
from workbench.clock import Clock, SystemClock

T = TypeVar("T")
FREE = Costs(Decimal(0), Decimal(0), Decimal(0))
_PATIENCE_S = 60.0


class _Server:
    """What both variants offer: the address, the keys, and the admin interface."""

    key = "test-key"
    secret = "test-secret"

    def __init__(self) -> None:
        self.port = 0
        # Without verify, which nothing here needs: it reads the machine's certificates, which takes longer than a test.
        # Nor does it keep a connection, so that there is nothing to close.
        self._admin = httpx.Client(
            trust_env=False, timeout=_PATIENCE_S, verify=False, limits=httpx.Limits(max_keepalive_connections=0)
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def stream_url(self) -> str:
        """Where alpaca-py's TradingStream connects; alpaca-trade-api makes it from ``url`` itself."""
        return f"ws://127.0.0.1:{self.port}/stream"

    @property
    def headers(self) -> dict[str, str]:
        """The keys as a client sends them."""
        return {"APCA-API-KEY-ID": self.key, "APCA-API-SECRET-KEY": self.secret}

    def http(self, timeout: float = _PATIENCE_S) -> httpx.Client:
        """A plain client that is signed in."""
        return httpx.Client(base_url=self.url, headers=self.headers, trust_env=False, timeout=timeout, verify=False)

    def admin(self, action: str, **body: Any) -> dict[str, Any]:
        """Post to the admin interface; a refusal raises."""
        answer = self._admin.post(f"{self.url}/_exchange/{action}", json=body)
        if answer.status_code != 200:
            raise AssertionError(f"{action}: {answer.status_code} {answer.text}")
        found: dict[str, Any] = answer.json()
        return found

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self._admin.get(f"{self.url}/_exchange/state").json()
        return found

    def advance(self, session: date | None = None) -> dict[str, Any]:
        """To after the close of ``session``; of the next one without it."""
        return self.admin("advance", **({} if session is None else {"session": session.isoformat()}))

    def open_market(self) -> dict[str, Any]:
        return self.admin("open")

    def close_market(self) -> dict[str, Any]:
        return self.admin("close")

    def faults(self, *faults: dict[str, Any], seed: int = 0) -> dict[str, Any]:
        """Play these from now on, in place of what was left; none stops all faults."""
        return self.admin("faults", faults=list(faults), seed=seed)

    def release(self) -> dict[str, Any]:
        """Let requests that hang go on."""
        return self.admin("release")

    def cut(self) -> dict[str, Any]:
        """Close all streams."""
        return self.admin("cut")

    def manual_trade(self, symbol: str, side: str, quantity: Decimal | int, price: Decimal | int) -> str:
        """A trade of somebody else on the account; the engine's id of the fill."""
        return str(self.admin("manual_trade", symbol=symbol, side=side, qty=str(quantity), price=str(price))["fill"])

    def bust(self, fill_id: str) -> dict[str, Any]:
        return self.admin("bust", fill=fill_id)

    def correct(self, fill_id: str, *, price: Decimal | None = None, quantity: Decimal | None = None) -> dict[str, Any]:
        given = {"price": price, "qty": quantity}
        return self.admin("correct", fill=fill_id, **{k: str(v) for k, v in given.items() if v is not None})

    def overfill(self, client_order_id: str, quantity: Decimal | int) -> dict[str, Any]:
        return self.admin("overfill", client_order_id=client_order_id, qty=str(quantity))


class ExchangeServer(_Server):
    """The server in a thread with an event loop of its own.

    The rate limit is far away unless a test brings it near. ``stop`` and ``start`` restart it on the same file and
    port, as a venue that comes back.
    """

    def __init__(
        self,
        folder: Path,
        *,
        market: Market,
        opened: date,
        symbols: Sequence[str] | None = None,
        account: str = "paper",
        starting_cash: Decimal = Decimal(100_000),
        costs: Costs = FREE,
        trading_calendar: Calendar | None = None,
        clock: Clock | None = None,
        per_minute: int = 1_000_000,
        max_volume_share: Decimal | None = None,
        fractional: bool = True,
        shorting: bool = False,
    ) -> None:
        super().__init__()
        self.file = folder / f"{account}.sqlite"
        self.clock = clock or SystemClock()
        self.calendar = trading_calendar or calendar("XNYS")
        self._symbols = list(symbols) if symbols is not None else sorted(market._bars)  # type: ignore[attr-defined]
        self._numbers = count(1)
        self._venue: Venue | None = None
        self._service: Service | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._account, self._market, self._opened, self._per_minute = account, market, opened, per_minute
        self._rules = {"max_volume_share": max_volume_share, "fractional": fractional, "shorting": shorting}
        self._money = {"costs": costs, "starting_cash": starting_cash}

    def __enter__(self) -> ExchangeServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        listening = bind("127.0.0.1", self.port)
        self.port = listening.getsockname()[1]
        ready = threading.Event()

        def started(venue: Venue) -> None:
            self._venue = venue
            ready.set()

        def run() -> None:
            try:
                service.run()
            except BaseException as failure:
                self._failure = failure
            finally:
                ready.set()

        self._service = service = Service(listening, self._make, started)
        self._thread = threading.Thread(target=run, name="exchange", daemon=True)
        self._thread.start()
        assert ready.wait(_PATIENCE_S), "the exchange did not start"
        self._raise()

    def stop(self) -> None:
        if self._service is not None and self._thread is not None:
            self._service.stop()
            self._thread.join(_PATIENCE_S)
            assert not self._thread.is_alive(), "the exchange did not stop"
        self._service = self._thread = self._venue = None
        self._raise()

    def call(self, function: Callable[[Venue], T]) -> T:
        """Run a function on the venue in the thread that it belongs to."""
        assert self._venue is not None
        venue, done, box = self._venue, threading.Event(), list[Any]()

        def run() -> None:
            try:
                box.append(function(venue))
            except BaseException as error:
                box.append(error)
            done.set()

        assert self._service is not None
        self._service.post(run)
        assert done.wait(_PATIENCE_S)
        if isinstance(box[0], BaseException):
            raise box[0]
        found: T = box[0]
        return found

    def _make(self) -> Venue:
        rules = self._rules
        exchange = Exchange(
            self.file, account=self._account, market=self._market, calendar=self.calendar, opened=self._opened,
            clock=self.clock, **self._money, **rules,
        )  # fmt: skip
        return Venue(
            exchange, market=self._market, symbols=self._symbols, calendar=self.calendar, clock=self.clock,
            credentials=Credentials(self.key, self.secret), new_id=lambda: f"venue-{next(self._numbers)}",
            per_minute=self._per_minute, fractional=bool(rules["fractional"]), shorting=bool(rules["shorting"]),
        )  # fmt: skip

    def _raise(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure


class ExchangeProcess(_Server):
    """``workbench exchange serve`` in a process of its own, over the lake of an installation (``support.homes``)."""

    def __init__(self, home: Path, *arguments: str, port: int = 0) -> None:
        super().__init__()
        self._command = [sys.executable, "-m", "workbench.cli.main", "exchange", "serve", *arguments]
        self._home = home
        self.port = port
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> ExchangeProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = process = subprocess.Popen(
            [*self._command, "--port", str(self.port)], cwd=self._home, stdin=subprocess.DEVNULL, text=True,
            env=environment(APCA_API_KEY_ID=self.key, APCA_API_SECRET_KEY=self.secret),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Serving at"):
                self.port = int(line.rsplit(":", 1)[1])
                return
        raise AssertionError(f"the exchange did not start: {''.join(said)}")

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        return self._end(signal.SIGINT)

    def kill(self) -> int:
        return self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        process.communicate(timeout=_PATIENCE_S)
        return process.returncode
