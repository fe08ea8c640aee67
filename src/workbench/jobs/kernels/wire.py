"""The wire between a runner and a kernel: Jupyter's messages, one after the other, over one stream socket.

Jupyter's own wire has five sockets and three threads on the kernel's side, and what a cell prints, its answer and
the word that it is done come on two of them, in any order. Here everything comes in the order in which it happened.
A frame is the length of the message and of all its buffers, the message as JSON, then the buffers.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any

_LENGTHS = struct.Struct(">QQ")
CHUNK_BYTES = 1 << 18
OVER = "over"  # a kernel's last message: its exit functions have run, and it lets go of everything


def pack(text: bytes, buffers: Sequence[Any] = ()) -> bytes:
    """The frame of a message that is JSON already; it names the lengths of its buffers as ``buffers``."""
    return b"".join((_LENGTHS.pack(len(text), sum(len(part) for part in buffers)), text, *buffers))


def encode(message: dict[str, Any]) -> bytes:
    """The frame of a message without buffers.

    >>> list(Unpacker().feed(encode({"msg_type": "ready"})))
    [{'msg_type': 'ready', 'buffers': []}]
    """
    return pack(json.dumps(message).encode())


class Unpacker:
    """Turns what comes out of the socket into messages again, whatever the pieces are.

    Examples
    --------
    >>> frame, unpacker = encode({"n": 1}), Unpacker()
    >>> [list(unpacker.feed(part)) for part in (frame[:5], frame[5:] + frame)]
    [[], [{'n': 1, 'buffers': []}, {'n': 1, 'buffers': []}]]
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._needed = _LENGTHS.size

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages that are complete with this piece."""
        self._data += data
        while len(self._data) >= self._needed:
            length, rest = _LENGTHS.unpack_from(self._data)
            end = _LENGTHS.size + length
            self._needed = end + rest
            if len(self._data) < self._needed:
                return
            text, rest_of_it = self._data[_LENGTHS.size : end], bytes(self._data[end : self._needed])
            del self._data[: self._needed]
            self._needed = _LENGTHS.size
            # Not all that Python takes for text is UTF-8: names of files, for example.
            message: dict[str, Any] = json.loads(text.decode(errors="replace"))
            parts, begin = [], 0
            for size in message.get("buffers", ()):
                parts.append(rest_of_it[begin : begin + size])
                begin += size
            message["buffers"] = parts
            yield message
