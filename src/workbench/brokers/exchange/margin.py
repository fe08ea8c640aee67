"""What open orders lay claim to, and whether the account can carry one more.

Sums are kept per symbol as orders and holdings change, so that an order costs the same to check whether
three or three thousand others are open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from workbench.brokers.exchange.ticket import ZERO, Ticket
from workbench.domain import OrderType, Side

# Regulation T initial margin: what all positions may come to, in multiples of equity.
MARGIN = Decimal(2)


@dataclass(frozen=True, slots=True)
class Claim:
    """What orders of one symbol may still do.

    ``buys`` and ``sells`` are shares; ``buys_value`` is what buys with a worst price come to, in USD;
    ``buys_at_market`` are the shares of buys without one; ``sells_at_market`` are sold in the next auction.
    """

    buys: Decimal = ZERO
    buys_value: Decimal = ZERO
    buys_at_market: Decimal = ZERO
    sells: Decimal = ZERO
    sells_at_market: Decimal = ZERO

    def __add__(self, other: Claim) -> Claim:
        return Claim(
            self.buys + other.buys, self.buys_value + other.buys_value, self.buys_at_market + other.buys_at_market,
            self.sells + other.sells, self.sells_at_market + other.sells_at_market,
        )  # fmt: skip

    def __sub__(self, other: Claim) -> Claim:
        return Claim(
            self.buys - other.buys, self.buys_value - other.buys_value, self.buys_at_market - other.buys_at_market,
            self.sells - other.sells, self.sells_at_market - other.sells_at_market,
        )  # fmt: skip

    def exposure(self, held: Decimal, price: Decimal) -> Decimal:
        """What the position comes to in USD once every buy has filled, and every sell that opens a short one.

        Market sells of shares held count as done, because they fill before the buys of the same auction.

        >>> Claim(sells=Decimal(4), sells_at_market=Decimal(4)).exposure(Decimal(10), Decimal(5))
        Decimal('30')
        """
        long, short = max(held, ZERO), max(-held, ZERO)
        opened = self.buys_value + self.buys_at_market * price - min(self.buys, short) * price
        sold_short = max(self.sells - long, ZERO) * price
        return (long + short) * price + max(opened, ZERO) + sold_short - min(self.sells_at_market, long) * price


_NOTHING = Claim()


def claim_of(ticket: Ticket) -> Claim:
    """What one order lays claim to: nothing once it is final or while its entry has not filled.

    Of a bracket's two exits, which share their shares, only the stop counts.
    """
    if not ticket.is_live:
        return _NOTHING
    left, terms = ticket.open_quantity, ticket.terms
    if ticket.parent_id is not None:
        counts = ticket.side is Side.SELL and ticket.type is not OrderType.LIMIT
        return Claim(sells=left) if counts else _NOTHING
    if ticket.side is Side.SELL:
        return Claim(sells=left, sells_at_market=left if ticket.type is OrderType.MARKET else ZERO)
    if ticket.notional is not None:
        return Claim(buys=left, buys_value=max(ticket.notional - ticket.filled_value, ZERO))
    worst = terms.limit if terms.limit is not None else terms.stop_level
    return Claim(buys=left, buys_at_market=left) if worst is None else Claim(buys=left, buys_value=left * worst)


class Margin:
    """The claims of all open orders, and what the account is worth against them.

    Parameters
    ----------
    held
        Shares held by symbol, read when needed.
    price
        USD a share now; None if there is no price.
    """

    def __init__(self, held: Callable[[str], Decimal], price: Callable[[str], Decimal | None]) -> None:
        self._held = held
        self._price = price
        self._claims: dict[int, Claim] = {}
        self._sums: dict[str, Claim] = {}
        self._parts: dict[str, tuple[Decimal, Decimal]] = {}
        self._stale: set[str] = set()
        self._exposure = self._value = ZERO

    def settle(self, ticket: Ticket) -> None:
        """Count an order as it now stands."""
        before, after = self._claims.pop(ticket.id, _NOTHING), claim_of(ticket)
        if after != _NOTHING:
            self._claims[ticket.id] = after
        if before != after:
            self._sums[ticket.symbol] = self._sums.get(ticket.symbol, _NOTHING) - before + after
            self._stale.add(ticket.symbol)

    def touch(self, symbol: str) -> None:
        """Note that what is held of a symbol has changed."""
        self._stale.add(symbol)

    def reprice(self) -> None:
        """Note that every price has changed."""
        self._stale.update(self._parts)

    def value(self) -> Decimal:
        """What the holdings are worth, in USD."""
        self._refresh()
        return self._value

    def power(self, cash: Decimal) -> Decimal:
        """What the account can still buy for, in USD; never less than nothing."""
        self._refresh()
        return max(MARGIN * (cash + self._value) - self._exposure, ZERO)

    def free(self, symbol: str, instead_of: Ticket | None = None) -> Decimal:
        """Shares held that no open order is about to sell."""
        sells = self._sums.get(symbol, _NOTHING).sells
        if instead_of is not None:
            sells -= claim_of(instead_of).sells
        return max(self._held(symbol), ZERO) - sells

    def allows(self, ticket: Ticket, cash: Decimal, instead_of: Ticket | None = None) -> bool:
        """Whether the account can carry one more order; one that adds no exposure it always can."""
        self._refresh()
        symbol, held = ticket.symbol, self._held(ticket.symbol)
        price = self._price(symbol) or ZERO
        before = self._sums.get(symbol, _NOTHING)
        after = before + claim_of(ticket)
        if instead_of is not None:
            after -= claim_of(instead_of)
        added = after.exposure(held, price) - before.exposure(held, price)
        return added <= 0 or self._exposure + added <= MARGIN * (cash + self._value)

    def _refresh(self) -> None:
        for symbol in self._stale:
            exposure, value = self._parts.pop(symbol, (ZERO, ZERO))
            self._exposure -= exposure
            self._value -= value
            held, claim = self._held(symbol), self._sums.get(symbol, _NOTHING)
            if held or claim != _NOTHING:
                price = self._price(symbol) or ZERO
                part = (claim.exposure(held, price), held * price)
                self._parts[symbol] = part
                self._exposure += part[0]
                self._value += part[1]
        self._stale.clear()
