"""A market written down by hand: bars and actions as literals, so that expected fills can be worked out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

from workbench.brokers.market import Bar, CorporateAction


def bar(open_: str, high: str, low: str, close: str, volume: str = "1000000") -> Bar:
    return Bar(Decimal(open_), Decimal(high), Decimal(low), Decimal(close), Decimal(volume))


class StaticMarket:
    """Bars by symbol and session, actions by session."""

    def __init__(
        self,
        bars: Mapping[str, Mapping[date, Bar]],
        actions: Mapping[date, Sequence[CorporateAction]] | None = None,
    ) -> None:
        self._bars = bars
        self._actions = actions or {}

    def bar(self, symbol: str, session: date) -> Bar | None:
        return self._bars.get(symbol, {}).get(session)

    def last_close(self, symbol: str, session: date) -> tuple[date, Decimal] | None:
        days = [day for day in self._bars.get(symbol, {}) if day <= session]
        if not days:
            return None
        price = self._bars[symbol][max(days)].close
        for action in self.actions(max(days), session):
            if action.symbol == symbol and action.kind == "split":
                price /= action.value
        return max(days), price

    def average_volume(self, symbol: str, session: date, sessions: int) -> Decimal | None:
        days = sorted(day for day in self._bars.get(symbol, {}) if day <= session)[-sessions:]
        total = Decimal(0)
        for day in days:
            volume = self._bars[symbol][day].volume
            for action in self.actions(day, session):
                if action.symbol == symbol and action.kind == "split":
                    volume *= action.value
            total += volume
        return total / len(days) if days else None

    def actions(self, after: date, through: date) -> Sequence[CorporateAction]:
        days = (day for day in sorted(self._actions) if after < day <= through)
        return [action for day in days for action in self._actions[day]]
