"""What corrections of the books do to what is reported: executions as they count now, closes as they were in truth.

A mark is written once, with what was known at that moment. A correction that was put on record later and belongs
to that session or to one before it is added on reading, so that positions and cash are always those of the books.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from workbench.domain import Side
from workbench.journal import Journal


@dataclass(frozen=True, slots=True)
class Change:
    """What one correction did to the books. ``price`` is that of the trade it is about (USD); None without one."""

    session: str
    recorded_at: str
    symbol: str
    quantity: Decimal
    cash: Decimal
    price: Decimal | None


@dataclass(frozen=True, slots=True)
class Close:
    """An account at a close: USD, and symbol to shares and raw close (None if it was never priced)."""

    cash: Decimal
    equity: Decimal
    positions: Mapping[str, tuple[Decimal, Decimal | None]]


@dataclass(frozen=True, slots=True)
class Executed:
    """What counts of one execution: shares, their value at the price paid (USD) and the fee (USD)."""

    quantity: Decimal
    value: Decimal
    fee: Decimal


def changes(journal: Journal, account: str | None = None) -> dict[str, list[Change]]:
    """Corrections by account, oldest first; adopting an execution is the change that the execution made."""
    found: dict[str, list[Change]] = {}
    for row in journal.read(_CHANGES, (account, account)):
        quantity, cash = Decimal(row["quantity_delta"]), Decimal(row["cash_delta"])
        price = None if row["price"] is None else Decimal(row["price"])
        if row["kind"] == "external" and price is not None:
            signed = Side(row["side"]).sign * Decimal(row["quantity"])
            quantity += signed
            cash -= signed * price + Decimal(row["fee"])
        if quantity or cash:
            change = Change(row["session"], row["at"], row["symbol"], quantity, cash, price)
            found.setdefault(row["account"], []).append(change)
    return found


def after(mark: sqlite3.Row, found: Iterable[Change]) -> list[Change]:
    """Those of an account's changes that a row of ``marks`` lacks: recorded later, of its session or before."""
    return [change for change in found if change.session <= mark["session"] and change.recorded_at > mark["at"]]


def close_of(mark: sqlite3.Row, later: Iterable[Change]) -> Close:
    """A row of ``marks`` with the changes that it lacks (:func:`after`)."""
    held: dict[str, tuple[Decimal, Decimal | None]] = {
        symbol: (Decimal(quantity), Decimal(price))
        for symbol, (quantity, price) in json.loads(mark["positions"]).items()
    }
    cash, equity = Decimal(mark["cash"]), Decimal(mark["equity"])
    for change in later:
        cash, equity = cash + change.cash, equity + change.cash
        if change.quantity:
            quantity, price = held.get(change.symbol, (Decimal(0), change.price))
            held[change.symbol] = (quantity + change.quantity, price)
            equity += change.quantity * (price or Decimal(0))
    return Close(cash, equity, {symbol: held[symbol] for symbol in sorted(held) if held[symbol][0]})


def executed(fill: sqlite3.Row, corrections: Sequence[sqlite3.Row]) -> Executed:
    """What counts of a row of ``fills`` after the rows of ``corrections`` that are about it.

    A correction does not say what it changed the fee by: it is taken to be about shares and price, and a bust
    gives the fee back as far as it gives the cash back.
    """
    side, fee = Side(fill["side"]).sign, Decimal(fill["fee"])
    quantity, price = Decimal(fill["quantity"]), Decimal(fill["price"])
    if not corrections:
        return Executed(quantity, quantity * price, fee)
    cash = -side * quantity * price - fee + sum((Decimal(row["cash_delta"]) for row in corrections), Decimal(0))
    quantity += side * sum((Decimal(row["quantity_delta"]) for row in corrections), Decimal(0))
    return Executed(quantity, -side * (cash + fee), fee) if quantity else Executed(quantity, Decimal(0), -cash)


def corrections_of(
    journal: Journal, where: str = "1=1", values: Sequence[object] = ()
) -> dict[tuple[str, str], list[sqlite3.Row]]:
    """Corrections of executions by account and fill id, by a condition on ``c``; there are few."""
    found: dict[tuple[str, str], list[sqlite3.Row]] = {}
    for row in journal.read(
        f"SELECT c.* FROM corrections c WHERE c.fill_id IS NOT NULL AND {where} ORDER BY c.id", values
    ):
        found.setdefault((row["account"], row["fill_id"]), []).append(row)
    return found


_CHANGES = """
    SELECT c.*, f.side, f.quantity, f.price, f.fee FROM corrections c
    LEFT JOIN fills f ON f.account = c.account AND f.fill_id = c.fill_id
    WHERE (? IS NULL OR c.account = ?) ORDER BY c.id"""
