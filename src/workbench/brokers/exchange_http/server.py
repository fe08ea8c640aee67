"""Serving one venue on a socket, in the thread that calls it, until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from workbench.brokers.exchange_http.app import create_app
from workbench.brokers.exchange_http.transport import HttpProtocol, SocketProtocol
from workbench.brokers.exchange_http.venue import CUT, Venue
from workbench.errors import ConfigError, RunOverlap

# How long a stop waits for answers that are on their way.
_GRACE_S = 2


def bind(host: str, port: int) -> socket.socket:
    """A listening address; port 0 takes a free one.

    Raises
    ------
    RunOverlap
        If the port is taken.
    ConfigError
        If the address cannot be used on this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named so that asyncio turns Nagle's algorithm off; answers would wait 40 ms for an ACK.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise RunOverlap(f"port {port} of {host} is taken", hint="choose another with --port") from error
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    listening.setblocking(False)
    return listening


@contextmanager
def hold(file: Path) -> Iterator[None]:
    """Keep other servers away from an account's file while this one serves it; a dead server's hold is gone.

    Raises
    ------
    RunOverlap
        If another server holds it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f"{file.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunOverlap(
                f"the account {file.stem} is served by another process", hint="end it, or choose another --account"
            ) from error
        yield


class Service:
    """The HTTP face of a venue on one socket.

    Parameters
    ----------
    make
        Builds the venue in the serving thread, which its database belongs to.
    ready
        Called there once requests are answered.
    """

    def __init__(
        self, listening: socket.socket, make: Callable[[], Venue], ready: Callable[[Venue], None] = lambda _: None
    ) -> None:
        self._listening = listening
        self._make = make
        self._ready = ready
        self._server: _Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self) -> None:
        """Serve until :meth:`stop`, or in the main thread until SIGINT or SIGTERM; then close venue and socket."""
        try:
            asyncio.run(self._serve())
        finally:
            self._listening.close()

    def stop(self) -> None:
        """Ask it to end; may be called from any thread."""
        if self._server is not None:
            self._server.should_exit = True

    def post(self, function: Callable[[], None]) -> None:
        """Have a function called in the serving thread; may be called from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(function)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        venue = self._make()
        try:
            config = uvicorn.Config(
                create_app(venue), http=HttpProtocol, ws=SocketProtocol, lifespan="off", log_config=None,
                proxy_headers=False, access_log=False, server_header=False, date_header=False,
                timeout_graceful_shutdown=_GRACE_S,
            )  # fmt: skip
            self._server = _Server(config, venue, self._ready)
            await self._server.serve(sockets=[self._listening])
        finally:
            venue.exchange.close()


class _Server(uvicorn.Server):
    """uvicorn's server, which tells when it has started and ends what would keep it from stopping."""

    def __init__(self, config: uvicorn.Config, venue: Venue, ready: Callable[[Venue], None]) -> None:
        super().__init__(config)
        self._venue = venue
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready(self._venue)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._venue.stopping = True
        self._venue.release()
        self._venue.trade_listeners.tell(CUT)
        self._venue.bar_listeners.tell(CUT)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal and return; uvicorn's own would raise the signal again when all is done."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        wanted = (signal.SIGINT, signal.SIGTERM)
        for number in wanted:
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in wanted:
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        self.should_exit = True
