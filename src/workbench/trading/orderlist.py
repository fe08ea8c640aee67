"""Tickets become order intents: what a notebook proposes when it wants orders and not weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from workbench.domain import Order, OrderIntent, Snapshot, Target, client_order_id
from workbench.errors import ConfigError, DataError
from workbench.trading.planner import PlanKey
from workbench.trading.tickets import DIGITS, Ticket

if TYPE_CHECKING:
    import pandas as pd

_HINT = 'write them as [wb.ticket("AAPL", "buy", 10), ...]'


@dataclass(frozen=True, slots=True)
class OrderList:
    """Tickets as order intents, in the order they were written: what ``wb.propose`` sends like a plan.

    ``note`` says why there are none.
    """

    key: PlanKey
    snapshot: Snapshot
    intents: tuple[OrderIntent, ...]
    note: str = ""

    @property
    def targets(self) -> tuple[Target, ...]:
        """None: a ticket asks for an order, not for a position."""
        return ()

    def to_frame(self) -> pd.DataFrame:
        """One row per order: what is traded, its prices (USD; NaN where it has none), and the id it will have."""
        import pandas as pd

        return pd.DataFrame([_row(intent) for intent in self.intents], columns=_COLUMNS)


def orders(key: PlanKey, tickets: Sequence[Ticket], snapshot: Snapshot, prices: Mapping[str, Decimal]) -> OrderList:
    """Turn tickets into order intents; position in the list and ``key`` give each the same id in every rerun.

    Parameters
    ----------
    prices
        Symbol to raw close of the session in USD.

    Raises
    ------
    ConfigError
        If there is no ticket, something is none, or two of them replace the same order or one that differs in more
        than quantity and prices.
    DataError
        If a symbol did not trade in the session.

    Examples
    --------
    >>> from datetime import date
    >>> key = PlanKey("paper", "daily", date(2013, 3, 1), 0, "by_hand")
    >>> account = Snapshot("paper", date(2013, 3, 1), Decimal(100_000))
    >>> made = orders(key, [Ticket("AAPL", "buy", 10)], account, {"AAPL": Decimal("430.47")})
    >>> [(i.side.value, str(i.quantity), str(i.reference_price)) for i in made.intents]
    [('buy', '10', '430.47')]
    """
    symbols = symbols_of(tickets)
    silent = sorted(symbols - prices.keys())
    if silent:
        raise DataError(f"{', '.join(silent)} did not trade on {key.session}, so nothing can be ordered of it")
    waiting = {order.client_order_id: order for order in snapshot.open_orders}
    replaced: set[str] = set()
    for ticket in tickets:
        if ticket.replaces is not None:
            _check_replaced(ticket, waiting.get(ticket.replaces), replaced)
    made = (_intent(key, ticket, at, prices[ticket.symbol]) for at, ticket in enumerate(tickets))
    return OrderList(key, snapshot, tuple(made))


def nothing(key: PlanKey, snapshot: Snapshot, reason: str) -> OrderList:
    """The decision not to order.

    Raises
    ------
    ConfigError
        If no reason is given.
    """
    if not isinstance(reason, str) or not reason.strip():
        raise ConfigError(f"{reason!r} is not a reason", hint="say in words why nothing is to be ordered")
    return OrderList(key, snapshot, (), note=reason.strip())


def symbols_of(tickets: Sequence[Ticket]) -> set[str]:
    """The symbols that tickets trade.

    Raises
    ------
    ConfigError
        If there is no ticket, or something is none.

    >>> sorted(symbols_of([Ticket("IBM", "sell", 5), Ticket("AAPL", "buy", 10)]))
    ['AAPL', 'IBM']
    """
    if not isinstance(tickets, Sequence) or not tickets:
        raise ConfigError(f"{tickets!r} is not a list of tickets", hint=_HINT)
    for ticket in tickets:
        if not isinstance(ticket, Ticket):
            raise ConfigError(f"{ticket!r} is not a ticket", hint=_HINT)
    return {ticket.symbol for ticket in tickets}


def _check_replaced(ticket: Ticket, order: Order | None, replaced: set[str]) -> None:
    """An order that is not waiting any more is for the venue to refuse: a resumed run may have replaced it itself."""
    assert ticket.replaces is not None
    if ticket.replaces in replaced:
        raise ConfigError(f"two tickets replace {ticket.replaces}", hint="an order has one place")
    replaced.add(ticket.replaces)
    if order is None:
        return
    for name in ("symbol", "side", "type", "time_in_force"):
        old, new = getattr(order, name), getattr(ticket, name)
        if old != new:
            raise ConfigError(
                f"{ticket.replaces} has {name} {old}, and the ticket to replace it {new}",
                hint="only quantity and prices may differ",
            )


def _intent(key: PlanKey, t: Ticket, at: int, price: Decimal) -> OrderIntent:
    quantity = t.quantity
    if quantity is None:
        assert t.notional is not None
        quantity = (t.notional / price).quantize(Decimal(1).scaleb(-DIGITS), ROUND_DOWN)
    identifier = client_order_id(
        key.account, key.pipeline, key.session, key.amendment, key.strategy, t.symbol, t.side, at
    )
    return OrderIntent(
        identifier,
        t.symbol,
        t.side,
        quantity,
        price,
        key.strategy,
        at,
        t.type,
        t.limit,
        t.time_in_force,
        stop_price=t.stop,
        trail_price=t.trail,
        trail_percent=t.trail_percent,
        notional_usd=t.notional,
        bracket=t.bracket,
        replaces=t.replaces,
    )


_COLUMNS = [
    "side", "quantity", "symbol", "type", "limit", "stop", "trail", "trail_percent", "notional", "take_profit",
    "stop_loss", "stop_loss_limit", "time_in_force", "replaces", "reference_price", "client_order_id",
]  # fmt: skip


def _row(intent: OrderIntent) -> dict[str, object]:
    bracket = intent.bracket
    values = {
        "quantity": intent.quantity,
        "limit": intent.limit_price,
        "stop": intent.stop_price,
        "trail": intent.trail_price,
        "trail_percent": intent.trail_percent,
        "notional": intent.notional_usd,
        "take_profit": bracket.take_profit if bracket else None,
        "stop_loss": bracket.stop_loss if bracket else None,
        "stop_loss_limit": bracket.stop_loss_limit if bracket else None,
        "reference_price": intent.reference_price,
    }
    return {
        **{name: float("nan") if value is None else float(value) for name, value in values.items()},
        "side": intent.side.value,
        "symbol": intent.symbol,
        "type": intent.type.value,
        "time_in_force": intent.time_in_force.value,
        "replaces": intent.replaces or "",
        "client_order_id": intent.client_order_id,
    }
