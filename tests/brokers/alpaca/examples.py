"""What Alpaca's OpenAPI document shows, and orders built from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "alpaca" / "trading-api.json").read_text(encoding="utf-8")
)
_EXAMPLES = DOCUMENT["components"]["examples"]
SCHEMAS = DOCUMENT["components"]["schemas"]

EQUITY: dict[str, Any] = _EXAMPLES["EquityOrderResponse"]["value"]
BRACKET: dict[str, Any] = _EXAMPLES["BracketOrderResponse"]["value"]
FILL: dict[str, Any] = SCHEMAS["TradingActivities"]["examples"][0]
DIVIDEND: dict[str, Any] = SCHEMAS["NonTradeActivities"]["examples"][0]
POSITION: dict[str, Any] = SCHEMAS["Position"]["examples"][0]
ACCOUNT: dict[str, Any] = SCHEMAS["Account"]["examples"][0]
CLOCK: dict[str, Any] = SCHEMAS["legacy_clock"]["example"]


def venue_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def equity(number: int, **changes: Any) -> dict[str, Any]:
    """The documented limit order under ids of its own: order ``number`` is known to us as ``c<number>``."""
    return {**EQUITY, "id": venue_id(number), "client_order_id": f"c{number}", **changes}


def execution(identifier: str, order: int, **changes: Any) -> dict[str, Any]:
    """The documented execution, of order ``number``."""
    return {**FILL, "id": identifier, "order_id": venue_id(order), **changes}
