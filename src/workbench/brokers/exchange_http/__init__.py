"""The paper exchange over HTTP, as Alpaca's v2 interface: REST, streams, errors, and faults on demand."""

from workbench.brokers.exchange_http.faults import Fault, FaultPlan, Kind
from workbench.brokers.exchange_http.server import Service, bind, hold
from workbench.brokers.exchange_http.venue import Credentials, Venue

__all__ = ["Credentials", "Fault", "FaultPlan", "Kind", "Service", "Venue", "bind", "hold"]
