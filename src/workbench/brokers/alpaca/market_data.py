"""Alpaca's data interface: historical bars and corporate actions. Reading costs no money and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from workbench.brokers.alpaca.access import is_loopback
from workbench.brokers.alpaca.client import AlpacaClient
from workbench.clock import Clock
from workbench.errors import BrokerUnavailable, ConfigError, RateLimited
from workbench.settings import AlpacaSettings

_WAITS = 5  # a page asked for too early is asked for again when the venue says so


class AlpacaData:
    """What :class:`workbench.data.sources.alpaca.AlpacaSource` asks, with the time-outs of the settings.

    A page that comes too early is asked for again when Alpaca says that it may be; nothing else is repeated.
    """

    def __init__(self, settings: AlpacaSettings, *, key: str, secret: str, clock: Clock) -> None:
        parts = urlsplit(settings.data_url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise ConfigError(f"alpaca.data_url: {settings.data_url} would send the keys in the clear")
        at = settings.model_copy(update={"base_url": settings.data_url})
        self._clock = clock
        self._bars = AlpacaClient(at, key=key, secret=secret, clock=clock)
        self._actions = AlpacaClient(at, key=key, secret=secret, clock=clock, version="v1")

    def bars(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """One page of ``/v2/stocks/bars``.

        Raises
        ------
        BrokerUnavailable
            No answer, or none that can be read.
        BrokerError
            Alpaca refused the question, for instance the credentials.
        """
        return self._page(self._bars, "/stocks/bars", params)

    def actions(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """One page of ``/v1/corporate-actions``; it raises as ``bars`` does."""
        return self._page(self._actions, "/corporate-actions", params)

    def close(self) -> None:
        self._bars.close()
        self._actions.close()

    def _page(self, client: AlpacaClient, path: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        for wait in range(_WAITS):
            try:
                page = client.get(path, params)
            except RateLimited as error:
                if wait == _WAITS - 1:
                    raise
                self._clock.sleep(error.retry_after_s)
                continue
            if not isinstance(page, dict):
                raise BrokerUnavailable(f"Alpaca answered {path} with something that is no page")
            return page
        raise AssertionError("unreachable")
