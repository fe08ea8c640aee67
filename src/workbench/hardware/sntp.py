"""How far this clock is from a time server's: one small datagram there and back.

Source: RFC 5905 (NTP version 4), sections 7.3 (packet), 8 (offset and delay from four time stamps) and 14 (a client
that only asks).
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from workbench.clock import Clock
from workbench.errors import ConfigError

PORT = 123
_TO_1900_S = 2_208_988_800  # from NTP's epoch to Unix's
_PACKET = struct.Struct("!BBbb11I")
_ASK = 0x23  # no warning, version 4, client
_SERVER, _UNSYNCHRONIZED = 4, 3


@dataclass(frozen=True, slots=True)
class TimeOffset:
    """Our clock less the server's, in milliseconds: positive if ours is ahead. It is right to half of ``delay_ms``."""

    server: str
    offset_ms: float
    delay_ms: float


def ask_time(server: str, clock: Clock, *, tries: int = 4, timeout_s: float = 1.0) -> TimeOffset | None:
    """Ask a time server some times and believe the quickest answer; None if none came that can be believed.

    Parameters
    ----------
    server
        A host, or ``host:port``.

    Raises
    ------
    ConfigError
        If that is not the name of a server.
    """
    host, port = _parse(server)
    answers: list[tuple[float, float]] = []
    for _ in range(tries):
        answer = _ask(host, port, clock, timeout_s)
        if answer is None and not answers:
            break  # a server that is not there is not asked again
        if answer is not None:
            answers.append(answer)
    if not answers:
        return None
    delay_s, offset_s = min(answers)
    return TimeOffset(server, offset_s * 1000, delay_s * 1000)


def _parse(server: str) -> tuple[str, int]:
    host, separator, port = server.rpartition(":")
    if not separator or ":" in host:
        return server, PORT
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"machine.time_server: {server!r} is not a host or host:port")
    return host, int(port)


def _ask(host: str, port: int, clock: Clock, timeout_s: float) -> tuple[float, float] | None:
    """Delay and offset in seconds, or None."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as channel:
            channel.settimeout(timeout_s)
            channel.connect(address)  # answers of others are not heard
            sent = clock.now().timestamp()
            ours = _stamp(sent)
            channel.send(_PACKET.pack(_ASK, 0, 0, 0, *[0] * 9, *ours))
            answer = channel.recv(512)
            received = clock.now().timestamp()
    except OSError:
        return None
    if len(answer) < _PACKET.size:
        return None
    head, stratum, _, _, *words = _PACKET.unpack_from(answer)
    # An answer to something else, one of a server that is lost itself, or a "kiss of death" (stratum 0).
    if head & 7 != _SERVER or head >> 6 == _UNSYNCHRONIZED or not 0 < stratum < 16 or tuple(words[5:7]) != ours:
        return None
    came, left = _seconds(words[7], words[8]), _seconds(words[9], words[10])
    delay = (received - sent) - (left - came)
    return max(0.0, delay), -((came - sent) + (left - received)) / 2


def _stamp(moment: float) -> tuple[int, int]:
    whole, fraction = divmod(moment + _TO_1900_S, 1)
    return int(whole) & 0xFFFFFFFF, int(fraction * 2**32)


def _seconds(whole: int, fraction: int) -> float:
    return whole - _TO_1900_S + fraction / 2**32
