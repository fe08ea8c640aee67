"""A socket that answers as a test says: with Alpaca's JSON, with rubbish, too late, or not at all."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from workbench.settings import AlpacaSettings

KEY, SECRET = "PKTEST", "s3cr3t"


@dataclass(frozen=True)
class Request:
    """One HTTP request as it came over the wire."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


HANG = object()  # hold the connection, say nothing
DROP = object()  # close it
HALF = object()  # promise 100 bytes, send few, close


@dataclass
class Venue:
    """``answer`` gets each request and says what comes back: bytes, or one of the three above."""

    answer: Callable[[Request], object]
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closing = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def settings(self, **changes: Any) -> AlpacaSettings:
        limits = {"connect_timeout_s": 2.0, "read_timeout_s": 5.0, "stream": False}
        return AlpacaSettings(base_url=self.address, **{**limits, **changes})

    def lines(self, method: str = "") -> list[str]:
        return [request.line for request in self.requests if request.line.startswith(method)]

    def close(self) -> None:
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._sockets:
            with contextlib.suppress(OSError):  # it is closed already
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(60)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while (request := _read(stream)) is not None:
                self.requests.append(request)
                answer = self.answer(request)
                if answer is HANG:
                    self._closing.wait()
                if answer is HALF:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
                if not isinstance(answer, bytes):
                    return
                connection.sendall(answer)


def reply(
    body: object, status: int = 200, *, headers: dict[str, str] | None = None, kind: str = "application/json"
) -> bytes:
    """An HTTP answer; text goes out as it is, anything else as JSON."""
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + content


def refusal(status: int, code: int, message: str, **headers: str) -> bytes:
    """An answer with Alpaca's error body."""
    return reply(
        {"code": code, "message": message}, status, headers={n.replace("_", "-"): v for n, v in headers.items()}
    )


def _read(stream: Any) -> Request | None:
    try:
        first = stream.readline().decode().split()
        if not first:
            return None
        headers = {}
        while (line := stream.readline().decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        content = stream.read(int(headers.get("content-length", 0)))
    except (OSError, ValueError):  # the client went away
        return None
    parts = urlsplit(first[1])
    return Request(
        first[0], parts.path, dict(parse_qsl(parts.query)), headers, json.loads(content) if content else None
    )
