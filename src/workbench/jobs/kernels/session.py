"""The kernel's end of the wire. To ipykernel it is a session, so that whatever it sends finds its way."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import count
from typing import Any

from jupyter_client.jsonutil import json_clean
from jupyter_client.session import Session, json_packer

from workbench.jobs.kernels.wire import pack


class WireSession(Session):
    """Sends on one socket what ipykernel believes to send on several.

    Any thread may send; messages do not mix, and an interruption waits until its message is out.
    """

    def attach(self, line: socket.socket, hold: Callable[[], AbstractContextManager[object]]) -> None:
        """Send on ``line`` from now on, each time within ``hold``, which keeps interruptions away."""
        self._line: socket.socket | None = line
        self._hold = hold
        self._process = os.getpid()
        self._waiting: deque[tuple[bytes, list[int]]] = deque()  # messages, and how much of each has been sent
        self._lock = threading.RLock()
        self._numbers = count(1)

    def msg(  # type: ignore[no-untyped-def]  # as ipykernel calls it
        self, msg_type, content=None, parent=None, header=None, metadata=None
    ) -> dict[str, Any]:
        """A message, with no more of a header than somebody reads."""
        header = header or {"msg_id": f"k{next(self._numbers)}", "msg_type": msg_type}
        return {
            "header": header,
            "msg_id": header["msg_id"],
            "msg_type": msg_type,
            "parent_header": (parent or {}).get("header", parent or {}),
            "content": content or {},
            "metadata": metadata or {},
        }

    def send(  # type: ignore[no-untyped-def]  # as ipykernel calls it
        self,
        stream,
        msg_or_type,
        content=None,
        parent=None,
        ident=None,
        buffers=None,
        track=False,
        header=None,
        metadata=None,
    ) -> dict[str, Any] | None:
        """Send a message; from a forked child nothing goes out, as the answers are its parent's.

        The answer to a cell waits for the word that it is done, which follows at once: the runner needs both.
        """
        message = self.post(msg_or_type, content, parent, buffers, header, metadata)
        if message is not None and message["msg_type"] != "execute_reply":
            self.deliver()
        return message

    def post(  # type: ignore[no-untyped-def]
        self, msg_or_type, content=None, parent=None, buffers=None, header=None, metadata=None
    ) -> dict[str, Any] | None:
        """Put a message where :meth:`deliver` sends it from, whatever else is going on. Waits for nothing."""
        if isinstance(msg_or_type, dict):
            message = msg_or_type
            buffers = buffers or message.get("buffers")
        else:
            message = self.msg(msg_or_type, content, parent, header, metadata)
        if os.getpid() != self._process:
            return None
        views = [memoryview(buffer).cast("B") for buffer in buffers or ()]
        short = {
            "msg_type": message["msg_type"],
            "parent": message["parent_header"].get("msg_id"),
            "at": time.time(),
            "content": message["content"],
            "metadata": message["metadata"],
            "buffers": [view.nbytes for view in views],
        }
        self._waiting.append((pack(_as_json(short), views), []))
        return message

    def deliver(self) -> None:
        """Send what waits, unless this very thread is at it: in a signal's handler, or in a destructor."""
        if os.getpid() != self._process or self._lock._is_owned():  # type: ignore[attr-defined]  # as threading.Condition asks it
            return
        with self._hold(), self._lock:
            try:
                while self._line is not None and self._waiting:
                    message, sent = self._waiting[0]
                    done = sum(sent)
                    if done < len(message):
                        parts = [memoryview(message)[done:]]
                        if len(self._waiting) > 1:  # with the next one, so that the runner wakes up once
                            parts.append(memoryview(self._waiting[1][0]))
                        # In one step, as somebody's signal handler may raise as soon as ``sendmsg`` returns: what it
                        # has sent is noted by then, and the next message completes this one.
                        sent.extend(map(self._line.sendmsg, (parts,)))
                    else:
                        if done > len(message):  # to be noted twice does no harm
                            self._waiting[1][1][:] = [done - len(message)]
                        self._waiting.popleft()
            except (BrokenPipeError, ConnectionResetError):
                self._line = None  # the runner is gone, and this process soon


def _as_json(message: dict[str, Any]) -> bytes:
    try:
        return json_packer(message)
    except UnicodeEncodeError:  # half a pair of surrogates, which no encoding has
        return json.dumps(json_clean(message), ensure_ascii=False).encode(errors="replace")
