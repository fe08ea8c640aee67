"""What a share costs at the exchange right now, remembered until the session or the phase changes."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from workbench.brokers.exchange.records import Phase
from workbench.brokers.market import Bar, Market


class Quotes:
    """Current prices: the open while the session is open, then its close; the last close of what did not trade."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self._session = date.min
        self._phase = Phase.CLOSED
        self._prices: dict[str, Decimal | None] = {}

    def move_to(self, session: date, phase: Phase) -> None:
        self._session, self._phase = session, phase
        self._prices = {}

    def bar(self, symbol: str) -> Bar | None:
        """The session's bar; the whole of it, so not to be shown before the close."""
        return self.market.bar(symbol, self._session)

    def price(self, symbol: str) -> Decimal | None:
        """USD a share; None if the symbol never traded."""
        if symbol not in self._prices:
            self._prices[symbol] = self._read(symbol)
        return self._prices[symbol]

    def _read(self, symbol: str) -> Decimal | None:
        bar = self.bar(symbol)
        if bar is not None:
            return bar.open if self._phase is Phase.OPEN else bar.close
        last = self.market.last_close(symbol, self._session)
        return None if last is None else last[1]
