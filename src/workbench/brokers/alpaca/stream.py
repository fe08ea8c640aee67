"""Trade updates by websocket, in a thread. It only says that something happened; what, :class:`ActivityFeed` reads.

The library's own loop (``TradingStream._run_forever``) reconnects every 10 ms for ever, and after a message that is
no JSON it stays connected but never listens again. So the connection is the library's and the loop is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from typing import Any

from alpaca_trade_api.stream import TradingStream

_LOG = logging.getLogger(__name__)

# Seconds between attempts to connect: doubled up to the longest.
_RETRY_S = 0.5
_LONGEST_RETRY_S = 30.0
# A connection that is cut without a word is noticed after two of them.
_PING_S = 10.0
_CLOSE_S = 1.0  # for the venue to answer a goodbye
_LOOK_S = 0.1  # between two attempts to end the thread


class TradeUpdates:
    """The stream of one account. ``heard`` is set whenever something may have happened, also on connecting.

    Parameters
    ----------
    timeout_s
        How long connecting, authenticating and subscribing may take together, in seconds.
    """

    def __init__(self, address: str, *, key: str, secret: str, timeout_s: float, retry_s: float = _RETRY_S) -> None:
        self.heard = threading.Event()
        self._listening = threading.Event()
        self._address = address
        self._credentials = (key, secret)
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None

    @property
    def up(self) -> bool:
        """Whether updates are being received."""
        return self._listening.is_set()

    def start(self) -> None:
        """Connect in the background, and again whenever the connection breaks; nothing if it does already."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._live, name="alpaca-stream", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Disconnect and end the thread."""
        if self._thread is None:
            return
        while self._thread.is_alive():  # the websocket library swallows a cancellation while it closes
            if self._loop is not None and self._task is not None:
                with contextlib.suppress(RuntimeError):  # the loop has ended in the meantime
                    self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(_LOOK_S)

    def _live(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        with contextlib.suppress(asyncio.CancelledError):  # how close() ends it
            await self._follow()

    async def _follow(self) -> None:
        wait_s, outage = self._retry_s, False
        while True:
            problem: Exception | None = None
            try:
                await _Connection(self).listen(self._timeout_s)
            except Exception as error:  # whatever it was, the updates are missing and polling takes over
                problem = error
            finally:
                was_up = self.up
                self._listening.clear()
            if was_up:
                wait_s, outage = self._retry_s, False
            if not outage:
                _LOG.warning("no trade updates from %s (%s): polling", self._address, problem or "it hung up")
                outage = True
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_RETRY_S)


class _Connection(TradingStream):  # type: ignore[misc]  # the library has no types
    """One connection: connect, authenticate, subscribe, then listen until it breaks."""

    def __init__(self, updates: TradeUpdates) -> None:
        limits = {"open_timeout": updates._timeout_s, "close_timeout": _CLOSE_S}
        pings = {"ping_interval": _PING_S, "ping_timeout": _PING_S}
        super().__init__(*updates._credentials, updates._address, raw_data=True, websocket_params={**limits, **pings})
        self._updates = updates
        self.subscribe_trade_updates(self._on_update)

    async def listen(self, timeout_s: float) -> None:
        try:
            await asyncio.wait_for(self._start_ws(), timeout_s)
            async for message in self._ws:
                await self._dispatch(json.loads(message))
        finally:
            await self.close()

    async def _dispatch(self, message: dict[str, Any]) -> None:
        if message.get("stream") == "listening":
            self._updates._listening.set()
            self._updates.heard.set()  # something may have happened while nobody listened
        await super()._dispatch(message)

    async def _on_update(self, message: dict[str, Any]) -> None:
        self._updates.heard.set()
