"""Which limits stand where, what is used of them, and what the gates would say to an order. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal

from workbench.domain import Decision, OrderIntent
from workbench.journal import Controls, Journal, Ledger
from workbench.journal.controls import BREAKER, EVERY_ACCOUNT, Stop
from workbench.settings import RiskSettings, Settings, StrategyLimits, ThrottleSettings
from workbench.trading import breakers, gates
from workbench.trading.exposures import ACCOUNT, Sums
from workbench.trading.riskbook import RiskBook
from workbench.trading.worst import buying_power_usd

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Line:
    """One limit, or one thing that stands in the way of orders.

    Parameters
    ----------
    limit
        The key in ``workbench.toml``, without ``risk.``; or what else it is.
    source
        Where the value comes from: default, the configuration file, an environment variable, or the journal.
    used, headroom
        How much of it is used now and what is left, in the unit of ``value``; None where it is about one order.
    note
        What is meant, in words.
    """

    limit: str
    value: object
    source: str
    used: object = None
    headroom: object = None
    note: str = ""

    def as_row(self) -> dict[str, object]:
        """The line as a row of a listing."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Standing:
    """An account as limits meet it: its risk book, what its breakers measure, and what stops it."""

    book: RiskBook
    daily_loss: Decimal
    drawdown: Decimal
    stops: tuple[Stop, ...]


def standing(journal: Journal, account: str, book: RiskBook) -> Standing:
    """Read what the breakers of an account measure and what stops it, to go with its risk book."""
    curve, resets = Ledger(journal).curve(account), breakers.resets(journal, account)
    loss, fall = (breakers.measure(name, curve, resets.get(name)) for name in (breakers.DAILY_LOSS, breakers.DRAWDOWN))
    stops = tuple(stop for stop in Controls(journal).halted() if stop.account in {account, EVERY_ACCOUNT})
    return Standing(book, loss, fall, stops)


def limits(settings: Settings, env: Mapping[str, str], now: Standing) -> list[Line]:
    """Every limit with its value, its source, what is used of it and what is left; then what stands in the way."""
    risk, book = settings.risk, now.book
    used = _used(risk, now)
    found = []
    for name in RiskSettings.model_fields:
        if name != "strategies":
            found.append(_line(name, risk, _source(settings, env, "risk", name), used))
    for strategy in sorted(risk.strategies):
        own = risk.strategies[strategy]
        shares = _exposures(book, strategy)
        for name in StrategyLimits.model_fields:
            source = _source(settings, env, "risk", "strategies", strategy, name)
            found.append(replace(_line(name, own, source, shares), limit=f"strategies.{strategy}.{name}"))
    for name in ThrottleSettings.model_fields:
        source = _source(settings, env, "throttle", name)
        found.append(Line(f"throttle.{name}", getattr(settings.throttle, name), source, note=_NOTES[name]))
    return [*found, *_hindrances(risk, now)]


def ask(intent: OrderIntent, book: RiskBook, risk: RiskSettings) -> list[Line]:
    """What every gate says to an order decided on the account's own session; ``used`` is ok, no or not asked."""
    lines = []
    for name, decision in gates.review(intent, book.session, book, risk):
        answer = "not asked" if decision is None else "ok" if decision.approved else "no"
        lines.append(Line(name, answer, "gate", note=_reason(decision)))
    return lines


def _used(risk: RiskSettings, now: Standing) -> dict[str, tuple[object, str]]:
    """What is used of each limit that fills up, and a note, by key."""
    book = now.book
    used = _exposures(book, ACCOUNT)
    used["max_orders_per_minute"] = (book.messages(), _NOTES["max_orders_per_minute"])
    used["max_daily_loss"] = (_rounded(max(now.daily_loss, _ZERO)), _latched(now, breakers.DAILY_LOSS))
    used["max_drawdown"] = (_rounded(now.drawdown), _latched(now, breakers.DRAWDOWN))
    if book.skew_s is not None:
        used["max_clock_skew_s"] = (abs(book.skew_s), _NOTES["max_clock_skew_s"])
    return used


def _exposures(book: RiskBook, scope: str) -> dict[str, tuple[object, str]]:
    """Gross, net and largest exposure as multiples of equity; nothing if there is no equity."""
    if book.equity <= 0:
        return {}
    sums = book.sums(scope)
    held = book.exposures if scope == ACCOUNT else book.sleeves.get(scope, {})
    values = {symbol: exposure.most * book.prices.get(symbol, _ZERO) for symbol, exposure in held.items()}
    largest = max(values, key=lambda symbol: (values[symbol], symbol), default="")
    return {
        "max_gross_exposure": (_rounded(sums.gross / book.equity), f"{sums.gross:,.2f} USD at the worst"),
        "max_net_exposure": (_rounded(_net(sums) / book.equity), f"{_net(sums):,.2f} USD at the worst"),
        "max_name_exposure": (_rounded(values.get(largest, _ZERO) / book.equity), largest and f"largest: {largest}"),
    }


def _line(
    name: str, section: RiskSettings | StrategyLimits, source: str, used: Mapping[str, tuple[object, str]]
) -> Line:
    value = getattr(section, name)
    amount, note = used.get(name, (None, _NOTES.get(name, "")))
    if isinstance(value, tuple):
        value = ", ".join(value) or "none"
    left = None
    if isinstance(amount, int | float | Decimal) and isinstance(value, int | float | Decimal):
        left = Decimal(str(value)) - Decimal(str(amount))
    return Line(name, value, source, amount, left, note)


def _hindrances(risk: RiskSettings, now: Standing) -> list[Line]:
    """Buying power, the trading state and its reasons, locks, orders in doubt."""
    book = now.book
    reserved = book.cash - buying_power_usd(book.cash, book.sums(), risk)
    found = [
        Line("buying_power_usd", book.cash, "journal", reserved, book.cash - reserved, "cash, less open buys"),
        Line("trading_state", book.state.value, "journal", note="; ".join(_stop(stop) for stop in now.stops)),
    ]
    found += [Line("lock", symbol, "journal", note=reason) for symbol, reason in sorted(book.locks.items())]
    found += [Line("unknown_order", symbol, "journal", note=_NOTES["unknown"]) for symbol in sorted(book.unknown)]
    return found


def _source(settings: Settings, env: Mapping[str, str], *path: str) -> str:
    """Where a setting's value comes from. The environment wins over the file, the file over the default."""
    wanted = "WORKBENCH_" + "__".join(path)
    for variable in env:
        if variable.lower() == wanted.lower():
            return f"environment {variable}"
    section: object = settings
    for key in path[:-1]:
        section = section[key] if isinstance(section, dict) else getattr(section, key)
    given: set[str] = getattr(section, "model_fields_set", set())
    return settings.config_file.name if path[-1] in given else "default"


def _net(sums: Sums) -> Decimal:
    return max(abs(sums.high), abs(sums.low))


def _latched(now: Standing, name: str) -> str:
    for stop in now.stops:
        if stop.cause == f"{BREAKER}{name}":
            return f"latched since {stop.at[:16]}: {stop.reason}; `workbench risk reset {name}` releases it"
    return ""


def _stop(stop: Stop) -> str:
    scope = "every account " if stop.account == EVERY_ACCOUNT else ""
    return f"{scope}{stop.state.value} by {stop.actor} since {stop.at[:16]}: {stop.reason}"


def _reason(decision: Decision | None) -> str:
    return decision.reason if decision is not None else "the order means nothing"


def _rounded(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.000001"))


_NOTES = {
    "max_order_value_usd": "USD, of one order at its worst price",
    "max_order_quantity": "shares of one order",
    "max_volume_share": "of the average volume of 20 sessions, for one order",
    "market_order_buffer": "added to the price of market and stop orders",
    "price_collar": "from the market's own close; stops and exits 5 times as far",
    "allow_short": "sales beyond what is held",
    "restricted": "symbols that are not traded at all",
    "max_orders_per_minute": "sent in the last minute",
    "duplicate_window_s": "seconds between two of the same order",
    "max_clock_skew_s": "seconds between the venue's clock and ours",
    "breaker": "what a tripped breaker leaves",
    "require_quality": "no verdict on the data, no order",
    "per_s": "orders a second on average; none: only the venue's own rate limit",
    "burst": "orders at once",
    "unknown": "in doubt at the venue: no order of this symbol until it is looked up",
}
