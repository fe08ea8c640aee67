"""From target weights and a snapshot to order intents: steps 1 to 3 of the convention ``next_open``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from workbench.domain import OrderIntent, Side, Snapshot, Target, client_order_id
from workbench.errors import DataError
from workbench.settings import PlannerSettings

if TYPE_CHECKING:
    import pandas as pd

_WEIGHT_DIGITS = Decimal("1e-9")


@dataclass(frozen=True, slots=True)
class PlanKey:
    """What makes a rebalance the same one again, so that a rerun proposes the same order ids."""

    account: str
    pipeline: str
    session: date
    amendment: int
    strategy: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Targets (by symbol) and the orders that lead to them, sells before buys, by symbol.

    ``untouched`` names holdings that the strategy says nothing about or that did not trade in the session.
    """

    key: PlanKey
    snapshot: Snapshot
    targets: tuple[Target, ...]
    intents: tuple[OrderIntent, ...]
    untouched: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row per target: weight, price (USD), shares held and wanted, and the order between them."""
        import pandas as pd

        rows = [
            {
                "symbol": target.symbol,
                "weight": float(target.weight),
                "price": float(target.price),
                "held": int(target.held),
                "wanted": int(target.quantity),
                "order": int(target.quantity - target.held),
            }
            for target in self.targets
        ]
        columns = ["symbol", "weight", "price", "held", "wanted", "order"]
        return pd.DataFrame(rows, columns=columns).set_index("symbol")


def plan(
    key: PlanKey,
    weights: Mapping[str, float],
    snapshot: Snapshot,
    prices: Mapping[str, Decimal],
    settings: PlannerSettings,
) -> Plan:
    """Size orders in whole shares.

    Parameters
    ----------
    weights
        Symbol to fraction of equity, rounded here to 9 decimals; zero means out.
    prices
        Symbol to raw close of the session in USD; a symbol that is not in it did not trade and is left alone.

    Raises
    ------
    DataError
        If a weight is not finite or negative, the weights exceed 1 in sum, a weight is wanted without a
        price, or equity is not positive.

    Examples
    --------
    >>> key = PlanKey("paper", "daily", date(2013, 1, 2), 0, "momentum")
    >>> flat = Snapshot("paper", date(2013, 1, 2), Decimal(100_000))
    >>> made = plan(key, {"IBM": 0.5}, flat, {"IBM": Decimal("196.35")}, PlannerSettings())
    >>> [(i.side.value, str(i.quantity), i.symbol) for i in made.intents]
    [('buy', '249', 'IBM')]
    """
    exact = _check(key, weights, snapshot, prices)
    investable = snapshot.equity * (1 - settings.cash_buffer)
    smallest = max(settings.min_trade_value_usd, settings.tolerance * snapshot.equity)
    targets, intents = [], []
    for symbol in sorted(exact):
        price = prices.get(symbol)
        if price is None:
            continue
        held = snapshot.expected(symbol)  # what is on its way is not ordered again
        wanted = (investable * exact[symbol] / price).to_integral_value(ROUND_DOWN)
        change = wanted - held
        if change and wanted and abs(change) * price < smallest:
            change, wanted = Decimal(0), held
        targets.append(Target(symbol, exact[symbol], price, held, wanted))
        if change:
            intents.append(_intent(key, symbol, change, price))
    intents.sort(key=lambda intent: (intent.side is Side.BUY, intent.symbol))
    traded = {target.symbol for target in targets}
    untouched = tuple(sorted(set(snapshot.positions) - traded))
    return Plan(key, snapshot, tuple(targets), tuple(intents), untouched)


def _check(
    key: PlanKey, weights: Mapping[str, float], snapshot: Snapshot, prices: Mapping[str, Decimal]
) -> dict[str, Decimal]:
    where = f"{key.strategy} on {key.session}"
    if not snapshot.equity > 0:
        raise DataError(f"{where}: the account's equity is {snapshot.equity} USD; nothing can be sized on it")
    exact = {}
    for symbol, weight in weights.items():
        if not math.isfinite(weight):
            raise DataError(f"{where}: the weight of {symbol} is {weight}")
        if weight < 0:
            raise DataError(f"{where}: the weight of {symbol} is {weight}", hint="short positions are not supported")
        exact[symbol] = Decimal(repr(float(weight))).quantize(_WEIGHT_DIGITS)
        if exact[symbol] and symbol not in prices:
            raise DataError(f"{where}: {symbol} is wanted but did not trade in that session")
    total = sum(exact.values(), Decimal(0))
    if total > 1 + len(exact) * _WEIGHT_DIGITS:
        raise DataError(f"{where}: the weights add up to {total}, more than the account", hint="leverage is off")
    return exact


def _intent(key: PlanKey, symbol: str, change: Decimal, price: Decimal) -> OrderIntent:
    side = Side.BUY if change > 0 else Side.SELL
    identifier = client_order_id(
        key.account, key.pipeline, key.session, key.amendment, key.strategy, symbol, side, sequence=0
    )
    return OrderIntent(identifier, symbol, side, abs(change), price, key.strategy, sequence=0)
