"""What the trading stream says: events of the engine as Alpaca's ``trade_updates``.

Source: https://docs.alpaca.markets/docs/websocket-streaming
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.brokers.exchange import Phase, VenueEvent
from workbench.brokers.exchange_http.ledger import Ledger, Telling
from workbench.brokers.exchange_http.shapes import order_json
from workbench.brokers.exchange_http.wire import Json, identifier, optional, stamp, text
from workbench.domain import Fill

TRADE_UPDATES = "trade_updates"
_EXECUTIONS = {"fill", "partial_fill"}


def trade_messages(events: Sequence[VenueEvent], ledger: Ledger, phase: Phase) -> list[Json]:
    """The messages of some events in their order, told as wrongly as the plan had it for each fill."""
    told: list[Json] = []
    swapped: list[int] = []
    for event in events:
        messages, out_of_place = _messages(event, ledger, phase)
        if out_of_place and messages:
            swapped.append(len(told))
        told += messages
    for place in swapped:
        if place + 1 < len(told):
            told[place], told[place + 1] = told[place + 1], told[place]
    return told


def _messages(event: VenueEvent, ledger: Ledger, phase: Phase) -> tuple[list[Json], bool]:
    """The messages of one event, and whether the first changes places with the next one."""
    data: dict[str, Json] = {
        "event": event.kind,
        "timestamp": stamp(event.at),
        "event_id": str(identifier("event", event.record.venue_id, str(event.number))),
        "order": order_json(event.record, phase),
    }
    if event.fill is None:
        return [_wrapped(data)], False
    data["position_qty"] = optional(event.position_quantity)
    if event.kind not in _EXECUTIONS:
        return [_wrapped({**data, **_executed(event.fill), "execution_id": ledger.execution_id(event.fill)})], False
    telling = ledger.telling(event.fill)
    messages = _told(event, telling, data)
    return (messages * 2 if telling.twice else messages), telling.swapped


def _told(event: VenueEvent, telling: Telling, data: dict[str, Json]) -> list[Json]:
    """One message for each piece of a fill; all but the last leave the order open. A late fill has none."""
    assert event.fill is not None
    if telling.late:
        return []
    messages = []
    for piece in telling.pieces:
        last = piece is telling.pieces[-1]
        order = data["order"]
        if not last:
            order = {**order, "status": "partially_filled", "filled_qty": text(piece.total), "filled_at": None}
        messages.append(
            _wrapped(
                {
                    **data,
                    **_executed(event.fill),
                    "event": event.kind if last else "partial_fill",
                    "qty": text(piece.quantity),
                    "execution_id": piece.execution_id,
                    "order": order,
                }
            )
        )
    return messages


def _executed(fill: Fill) -> dict[str, Json]:
    return {"price": text(fill.price), "qty": text(fill.quantity)}


def _wrapped(data: dict[str, Json]) -> Json:
    return {"stream": TRADE_UPDATES, "data": data}
