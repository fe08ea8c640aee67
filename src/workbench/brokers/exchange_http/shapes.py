"""Orders, positions, the account and assets as Alpaca's JSON. Source: Alpaca's OpenAPI document of the trading API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from workbench.brokers.exchange import Holding, OrderRecord, Phase
from workbench.brokers.exchange_http.wire import (
    Json,
    identifier,
    optional,
    optional_stamp,
    stamp,
    text,
)
from workbench.domain import Order, Side

ZERO = Decimal(0)
CLASS = "us_equity"
# The lake does not say where a symbol is listed; every calendar with US equities is of this one.
EXCHANGE = "NYSE"
_RATIO = Decimal("0.0000000001")


def asset_id(symbol: str) -> str:
    """The id under which the exchange lists a symbol, the same in every run."""
    return str(identifier("asset", symbol))


def status(order: Order, phase: Phase) -> str:
    """Alpaca's word for where an order is: ``accepted`` until the market opens, ``new`` then."""
    if order.venue_state == "new" and phase is Phase.CLOSED:
        return "accepted"
    return order.venue_state or order.state.value


def order_json(record: OrderRecord, phase: Phase, *, nested: bool = True, entry: OrderRecord | None = None) -> Json:
    """One order; ``entry`` is the bracket's entry if the order is its exit, ``nested`` puts the exits inside."""
    order = record.order
    group = entry or record
    in_bracket = entry is not None or record.bracket is not None
    shape: dict[str, Json] = {
        "id": record.venue_id,
        "client_order_id": order.client_order_id,
        "created_at": stamp(record.created_at),
        "updated_at": stamp(record.updated_at),
        "submitted_at": stamp(record.created_at),
        "filled_at": optional_stamp(record.filled_at),
        "expired_at": optional_stamp(record.expired_at),
        "canceled_at": optional_stamp(record.canceled_at),
        "failed_at": None,
        "replaced_at": optional_stamp(record.replaced_at),
        "replaced_by": order.replaced_by,
        "replaces": record.replaces,
        "asset_id": asset_id(order.symbol),
        "symbol": order.symbol,
        "asset_class": CLASS,
        "notional": optional(order.notional_usd),
        "qty": None if order.notional_usd is not None else text(order.quantity),
        "filled_qty": text(order.filled_quantity),
        "filled_avg_price": optional(order.average_price),
        "order_class": "bracket" if in_bracket else record.extra.get("order_class", ""),
        "order_type": order.type.value,
        "type": order.type.value,
        "side": order.side.value,
        "position_intent": record.extra.get("position_intent") or _intent(order.side),
        "time_in_force": order.time_in_force.value,
        "limit_price": optional(order.limit_price),
        "stop_price": optional(order.stop_price),
        "status": status(order, phase),
        "extended_hours": False,
        "legs": [order_json(leg, phase, entry=record) for leg in record.legs] if nested and record.legs else None,
        "trail_percent": optional(order.trail_percent),
        "trail_price": optional(order.trail_price),
        "hwm": None,
        "subtag": None,
        "source": None,
    }
    if in_bracket:
        shape["group_id"] = str(identifier("group", group.venue_id))
        shape["group_role"] = _role(order, entry)
    return shape


@dataclass(frozen=True, slots=True)
class Quoted:
    """What a symbol is worth: now and at the close of the session before, in USD."""

    price: Decimal
    previous: Decimal


def position_json(holding: Holding, quoted: Quoted, available: Decimal) -> Json:
    """One position; ``available`` is what no open order has promised away."""
    quantity, value = holding.quantity, holding.quantity * quoted.price
    gain = value - holding.cost
    today = quantity * (quoted.price - quoted.previous)
    return {
        "asset_id": asset_id(holding.symbol),
        "symbol": holding.symbol,
        "exchange": EXCHANGE,
        "asset_class": CLASS,
        "asset_marginable": True,
        "qty": text(quantity),
        "qty_available": text(available),
        "avg_entry_price": text(holding.cost / quantity),
        "side": "long" if quantity > 0 else "short",
        "market_value": text(value),
        "cost_basis": text(holding.cost),
        "unrealized_pl": text(gain),
        "unrealized_plpc": ratio(gain, abs(holding.cost)),
        "unrealized_intraday_pl": text(today),
        "unrealized_intraday_plpc": ratio(today, abs(quantity * quoted.previous)),
        "current_price": text(quoted.price),
        "lastday_price": text(quoted.previous),
        "change_today": ratio(quoted.price - quoted.previous, quoted.previous),
    }


@dataclass(frozen=True, slots=True)
class Funds:
    """What the account page is made of, in USD; ``last_equity`` is that of the close of ``last_session``."""

    cash: Decimal
    long_value: Decimal
    short_value: Decimal
    buying_power: Decimal
    last_equity: Decimal
    last_session: date

    @property
    def equity(self) -> Decimal:
        return self.cash + self.long_value + self.short_value


def account_json(name: str, created_at: str, funds: Funds, *, shorting: bool, suspended: bool) -> Json:
    """The account. Margins by Regulation T: half of a position to open it, a quarter (30 % short) to keep it."""
    gross = funds.long_value - funds.short_value
    maintenance = funds.long_value / 4 - funds.short_value * 3 / 10
    return {
        "id": str(identifier("account", name)),
        "account_number": "PA" + identifier("account", name).hex[:10].upper(),
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "cash": text(funds.cash),
        "equity": text(funds.equity),
        "portfolio_value": text(funds.equity),
        "last_equity": text(funds.last_equity),
        "balance_asof": funds.last_session.isoformat(),
        "buying_power": text(funds.buying_power),
        "effective_buying_power": text(funds.buying_power),
        "regt_buying_power": text(funds.buying_power),
        "non_marginable_buying_power": text(max(min(funds.cash, funds.buying_power), ZERO)),
        "options_buying_power": "0",
        "options_approved_level": 0,
        "options_trading_level": 0,
        "multiplier": "2",
        "long_market_value": text(funds.long_value),
        "short_market_value": text(funds.short_value),
        "position_market_value": text(gross),
        "initial_margin": text(gross / 2),
        "maintenance_margin": text(maintenance),
        "last_maintenance_margin": "0",
        "sma": "0",
        "accrued_fees": "0",
        "pending_reg_taf_fees": "0",
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "intraday_adjustments": "0",
        "shorting_enabled": shorting,
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": suspended,
        "created_at": created_at,
        "admin_configurations": {},
        "user_configurations": None,
        "crypto_tier": 0,
    }


def asset_json(symbol: str, *, shorting: bool, fractional: bool) -> Json:
    """One listed symbol; its name is not known, so the symbol stands for it."""
    return {
        "id": asset_id(symbol),
        "class": CLASS,
        "exchange": EXCHANGE,
        "symbol": symbol,
        "name": symbol,
        "status": "active",
        "tradable": True,
        "marginable": True,
        "maintenance_margin_requirement": 25,
        "margin_requirement_long": "25",
        "margin_requirement_short": "30",
        "shortable": shorting,
        "easy_to_borrow": shorting,
        "borrow_status": "easy_to_borrow" if shorting else "hard_to_borrow",
        "fractionable": fractional,
        "attributes": [],
    }


def ratio(part: Decimal, whole: Decimal) -> str:
    """A share of something, rounded to ten decimals; zero of nothing.

    >>> ratio(Decimal(1), Decimal(3)), ratio(Decimal(1), Decimal(0))
    ('0.3333333333', '0')
    """
    return text((part / whole).quantize(_RATIO)) if whole else "0"


def _intent(side: Side) -> str:
    return "buy_to_open" if side is Side.BUY else "sell_to_close"


def _role(order: Order, entry: OrderRecord | None) -> str:
    if entry is None:
        return "entry"
    return "stop_loss" if order.type.has_stop else "take_profit"
