"""One try to reach a host: names, connection, encryption, first byte, each timed, under one deadline."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urlsplit

from workbench.clock import Clock
from workbench.errors import ConfigError

Scheme = Literal["https", "http", "tcp"]
_PORTS = {"https": 443, "http": 80}
_ALIASES = {"wss": "https", "ws": "http"}
_HEAD_BYTES = 65_536
_HINT = "write a host, host:port or an address such as https://paper-api.alpaca.markets"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to: scheme ``tcp`` is connected to and asked nothing. ``source`` is the local address to leave by."""

    name: str
    scheme: Scheme
    host: str
    port: int
    path: str = "/"
    source: str | None = None

    @property
    def label(self) -> str:
        """The name, with the source address if there is one."""
        return f"{self.name} from {self.source}" if self.source else self.name


@dataclass(frozen=True, slots=True)
class Try:
    """How one try went. Times in milliseconds, each of its own stage; None for one that was not reached.

    ``failed_at`` is "dns", "tcp", "tls" or "http", and ``reason`` says why. ``date_s`` is what the host said the time
    was (seconds since 1970, whole), between our ``asked_s`` and ``answered_s``.
    """

    dns_ms: float | None = None
    tcp_ms: float | None = None
    tls_ms: float | None = None
    first_byte_ms: float | None = None
    failed_at: str | None = None
    reason: str = ""
    address: str | None = None
    tls_version: str | None = None
    date_s: float | None = None
    asked_s: float = 0.0
    answered_s: float = 0.0


class _Failed(Exception):
    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(reason)
        self.stage, self.reason = stage, reason


def parse_target(text: str, *, source: str | None = None) -> Target:
    """Read what a person writes: a host (then over HTTPS), ``host:port``, or an address with its scheme.

    A port other than 443 and 80 without a scheme is only connected to, as for a broker's gateway.

    Raises
    ------
    ConfigError
        If it is none of these.

    >>> target = parse_target("https://paper-api.alpaca.markets/v2/clock")
    >>> target.host, target.port, target.path
    ('paper-api.alpaca.markets', 443, '/v2/clock')
    >>> parse_target("127.0.0.1:4002").scheme
    'tcp'
    """
    has_scheme = "://" in text
    try:
        parts = urlsplit(text if has_scheme else f"//{text}")
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{text!r} is not a host: {error}", hint=_HINT) from error
    if not parts.hostname or parts.username or re.search(r"[\s\x00-\x1f]", text):
        raise ConfigError(f"{text!r} is not a host", hint=_HINT)
    named = _ALIASES.get(parts.scheme, parts.scheme)
    if not has_scheme:
        named = {None: "https", 443: "https", 80: "http"}.get(port, "tcp")
    if named not in ("https", "http", "tcp") or (named == "tcp" and port is None):
        raise ConfigError(f"{text!r} is not a host that can be measured", hint=_HINT)
    scheme: Scheme = named  # type: ignore[assignment]
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(text, scheme, parts.hostname, port or _PORTS[scheme], path, source)


def attempt(target: Target, clock: Clock, *, timeout_s: float, context: ssl.SSLContext | None = None) -> Try:
    """Try to reach ``target`` once; whatever goes wrong is in the answer.

    Parameters
    ----------
    timeout_s
        For the whole try.
    context
        Whom to trust; the system's certificates if left out.
    """
    seen: dict[str, object] = {}
    try:
        _stages(target, clock, clock.monotonic() + timeout_s, context, seen)
    except _Failed as failure:
        return Try(failed_at=failure.stage, reason=failure.reason, **seen)  # type: ignore[arg-type]
    return Try(**seen)  # type: ignore[arg-type]


def _stages(
    target: Target, clock: Clock, deadline: float, context: ssl.SSLContext | None, seen: dict[str, object]
) -> None:
    start = clock.monotonic()
    addresses = _resolve(target, deadline - start)
    looked_up = clock.monotonic()
    seen["dns_ms"] = (looked_up - start) * 1000
    channel, address, connected_in = _connect(target, addresses, clock, deadline)
    try:
        seen |= {"tcp_ms": connected_in * 1000, "address": address}
        if target.scheme == "https":
            began = clock.monotonic()
            channel = _encrypt(channel, target.host, clock, deadline, context)
            seen |= {"tls_ms": (clock.monotonic() - began) * 1000}
            seen["tls_version"] = channel.version() if isinstance(channel, ssl.SSLSocket) else None
        if target.scheme != "tcp":
            _ask(channel, target, clock, deadline, seen)
    finally:
        channel.close()


def _resolve(target: Target, timeout_s: float) -> list[tuple[int, tuple[object, ...]]]:
    """Addresses of the host; a thread waits for the answer, because the system's look-up knows no deadline."""
    family = socket.AF_UNSPEC
    if target.source:
        family = socket.AF_INET6 if ":" in target.source else socket.AF_INET
    box: list[object] = []

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(target.host, target.port, family, socket.SOCK_STREAM)
            box.append([(entry[0], entry[4]) for entry in found])
        except (OSError, UnicodeError) as error:
            box.append(error)

    thread = threading.Thread(target=look_up, daemon=True, name="name look-up")
    thread.start()
    thread.join(timeout_s)
    if not box:
        raise _Failed("dns", f"no answer in {timeout_s:g} s")
    if isinstance(box[0], Exception):
        raise _Failed("dns", _words(box[0]))
    return box[0]  # type: ignore[return-value]


def _connect(
    target: Target, addresses: list[tuple[int, tuple[object, ...]]], clock: Clock, deadline: float
) -> tuple[socket.socket, str, float]:
    """A connection to the first address that takes one, that address, and the seconds it took."""
    failure = _Failed("tcp", "no address")
    for family, address in addresses:
        channel = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        start = clock.monotonic()
        try:
            channel.settimeout(_left(deadline, clock))
            if target.source:
                channel.bind((target.source, 0))
            channel.connect(address)
        except OSError as error:
            channel.close()
            failure = _Failed("tcp", _words(error))
            continue
        return channel, str(address[0]), clock.monotonic() - start
    raise failure


def _encrypt(
    channel: socket.socket, host: str, clock: Clock, deadline: float, context: ssl.SSLContext | None
) -> socket.socket:
    try:
        channel.settimeout(_left(deadline, clock))
        return (context or ssl.create_default_context()).wrap_socket(channel, server_hostname=host)
    except (OSError, ValueError) as error:
        raise _Failed("tls", _words(error)) from error


def _ask(channel: socket.socket, target: Target, clock: Clock, deadline: float, seen: dict[str, object]) -> None:
    shown = f"[{target.host}]" if ":" in target.host else target.host
    port = "" if _PORTS.get(target.scheme) == target.port else f":{target.port}"
    request = (
        f"HEAD {target.path} HTTP/1.1\r\nHost: {shown}{port}\r\nUser-Agent: workbench\r\nConnection: close\r\n\r\n"
    )
    try:
        asked_s, start = clock.now().timestamp(), clock.monotonic()
        channel.sendall(request.encode())
        channel.settimeout(_left(deadline, clock))
        head = channel.recv(_HEAD_BYTES)
        answered_s, first = clock.now().timestamp(), clock.monotonic()
        while head and b"\r\n\r\n" not in head and len(head) < _HEAD_BYTES:
            channel.settimeout(_left(deadline, clock))
            more = channel.recv(_HEAD_BYTES)
            if not more:
                break
            head += more
    except OSError as error:
        raise _Failed("http", _words(error)) from error
    if not head:
        raise _Failed("http", "the connection was closed without an answer")
    if not head.startswith(b"HTTP/"):
        raise _Failed("http", "the answer is not HTTP")
    seen |= {"first_byte_ms": (first - start) * 1000, "asked_s": asked_s, "answered_s": answered_s}
    seen["date_s"] = _date(head.decode("latin-1"))


def _date(head: str) -> float | None:
    found = re.search(r"^date:\s*(.+?)\s*$", head, flags=re.IGNORECASE | re.MULTILINE)
    try:
        return parsedate_to_datetime(found[1]).timestamp() if found else None
    except ValueError:
        return None


def _left(deadline: float, clock: Clock) -> float:
    left = deadline - clock.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _words(error: Exception) -> str:
    """An error as a person says it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "the connection was reset"
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
