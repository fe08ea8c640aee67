"""The paper exchange: an account's orders, matched against raw bars, with a database of its own."""

from workbench.brokers.exchange.engine import Exchange
from workbench.brokers.exchange.records import Holding, OrderRecord, Phase, VenueEvent

__all__ = ["Exchange", "Holding", "OrderRecord", "Phase", "VenueEvent"]
