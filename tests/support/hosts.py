"""Hosts on this machine that answer as a test wants: at once, late, never, wrongly, encrypted; and a time server."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from types import TracebackType
from typing import Self

_PATIENCE_S = 60.0


def answer(*, ahead_s: float = 0.0, date: bool = True, status: str = "200 OK") -> Callable[[], bytes]:
    """A complete answer, dated as by a clock so many seconds ahead of ours."""

    def make() -> bytes:
        stamp = f"Date: {formatdate(time.time() + ahead_s, usegmt=True)}\r\n" if date else ""
        return f"HTTP/1.1 {status}\r\n{stamp}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()

    return make


class Host:
    """Accepts connections on a free loopback port and does with each what ``serve`` says.

    Parameters
    ----------
    say
        The bytes of the answer.
    hang
        Take the connection and never say a word.
    delay_s
        Wait so long before the answer.
    fail
        Which connections, counted from 0, are dropped without an answer.
    certificate
        A file with certificate and key: connections are encrypted.
    """

    def __init__(
        self,
        say: Callable[[], bytes] | None = None,
        *,
        hang: bool = False,
        delay_s: float = 0.0,
        fail: Callable[[int], bool] = lambda number: False,
        certificate: str | None = None,
    ) -> None:
        self._say = say or answer()
        self._hang, self._delay_s, self._fail = hang, delay_s, fail
        self._context = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._stopped = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listening.getsockname()[1]
        self.requests: list[bytes] = []
        self.callers: list[str] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        with socket.create_connection(("127.0.0.1", self.port), _PATIENCE_S):
            pass  # wakes the thread
        self._thread.join(_PATIENCE_S)
        self._listening.close()
        assert not self._thread.is_alive()

    def _accept(self) -> None:
        number = 0
        held: list[socket.socket] = []
        while True:
            channel, caller = self._listening.accept()
            if self._stopped.is_set():
                channel.close()
                break
            self.callers.append(caller[0])
            if self._hang:
                held.append(channel)
                continue
            with channel:
                channel.settimeout(_PATIENCE_S)
                with suppress(OSError):  # the other side gave up: that is what some tests are about
                    self._serve(channel, number)
            number += 1
        for channel in held:
            channel.close()

    def _serve(self, channel: socket.socket, number: int) -> None:
        if self._context is not None:
            channel = self._context.wrap_socket(channel, server_side=True)
        with channel:
            request = channel.recv(65_536)
            if self._fail(number) or not request:
                return
            self.requests.append(request)
            self._stopped.wait(self._delay_s)
            channel.sendall(self._say())


class TimeServer:
    """An SNTP server whose clock is ``ahead_s`` ahead of ours; the other arguments make it one not to be believed."""

    def __init__(
        self, ahead_s: float = 0.0, *, stratum: int = 2, warning: int = 0, echo: bool = True, silent: bool = False
    ) -> None:
        self._ahead_s, self._stratum, self._warning, self._echo = ahead_s, stratum, warning, echo
        self._silent = silent
        self._channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._channel.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._channel.getsockname()[1]}"
        self.asked = 0
        self._thread = threading.Thread(target=self._answer, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            channel.sendto(b"stop", self._channel.getsockname())
        self._thread.join(_PATIENCE_S)
        self._channel.close()
        assert not self._thread.is_alive()

    def _answer(self) -> None:
        while True:
            request, caller = self._channel.recvfrom(512)
            if request == b"stop":
                return
            self.asked += 1
            if self._silent:
                continue
            # RFC 5905, figure 8: the client's transmit time stamp (bytes 40 to 47) comes back as the origin
            origin = request[40:48] if self._echo else b"\1" * 8
            now = time.time() + self._ahead_s + 2_208_988_800
            stamp = struct.pack("!II", int(now), int(now % 1 * 2**32))
            head = struct.pack("!BBbbIII", self._warning << 6 | 4 << 3 | 4, self._stratum, 6, -20, 0, 0, 0)
            self._channel.sendto(head + stamp + origin + stamp + stamp, caller)


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as channel:
        channel.bind(("127.0.0.1", 0))
        port: int = channel.getsockname()[1]
    return port
