"""Alpaca, through the library alpaca-trade-api: market, limit, stop, stop-limit, trailing and bracket orders.

access   which address may be used, and the keys
client   one HTTP request per call, with time-outs; every foreign exception mapped
wire     JSON <-> domain
orders   looking orders up and listing all of them
feed     account activities since a cursor
stream   trade updates by websocket
adapter  ``AlpacaBroker``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.brokers.alpaca.access import credentials, require_allowed

if TYPE_CHECKING:
    from workbench.brokers.alpaca.adapter import AlpacaBroker

__all__ = ["AlpacaBroker", "credentials", "require_allowed"]


def __getattr__(name: str) -> object:
    """Load the adapter on first use: the library behind it imports pandas."""
    if name == "AlpacaBroker":
        from workbench.brokers.alpaca.adapter import AlpacaBroker

        return AlpacaBroker
    raise AttributeError(f"module 'workbench.brokers.alpaca' has no attribute {name!r}")
