"""``workbench risk show | check | reset``: the limits, what they would say, and the circuit breakers."""

from __future__ import annotations

import os
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.halt import require_known
from workbench.cli.output import Account, Json, show
from workbench.cli.show import journal
from workbench.domain import OrderType, Side, TimeInForce

if TYPE_CHECKING:
    from workbench.app import Workbench
    from workbench.brokers.market import Market
    from workbench.domain import Bracket
    from workbench.trading.riskbook import RiskBook

app = typer.Typer(help="Limits on orders, and the circuit breakers.", no_args_is_help=True)

COLUMNS = ["limit", "value", "source", "used", "headroom", "note"]
Price = Annotated[str | None, typer.Option(metavar="USD")]


class Breaker(StrEnum):
    """What can trip."""

    DRAWDOWN = "drawdown"
    DAILY_LOSS = "daily_loss"


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="risk")


@app.command("show")
def limits(account: Account = None, as_json: Json = False) -> None:
    """Every limit: its value, where it comes from, what is used of it now and what is left."""
    from workbench.trading import explain

    wb, name = _open(account)
    try:
        book = _book(wb, name, wb.market(wb.session))
        now = explain.standing(wb.journal, name, book)
        lines = [line.as_row() for line in explain.limits(wb.settings, os.environ, now)]
    finally:
        wb.close()
    if not as_json:
        typer.echo(f"account {name} at the close of {book.session}: equity {book.equity:,.2f} USD\n")
    show(lines, COLUMNS, as_json=as_json, empty="no limits")


@app.command()
def check(
    symbol: str,
    side: Side,
    quantity: str,
    price: Annotated[
        str | None, typer.Option(metavar="USD", help="Reference price; the last close if left out.")
    ] = None,
    kind: Annotated[OrderType, typer.Option("--type", help="Type of the order.")] = OrderType.MARKET,
    limit: Price = None,
    stop: Price = None,
    trail: Annotated[str | None, typer.Option(metavar="USD", help="How far a trailing stop follows.")] = None,
    trail_percent: Annotated[str | None, typer.Option(metavar="PERCENT", help="The same in per cent.")] = None,
    notional: Annotated[
        str | None, typer.Option(metavar="USD", help="An amount; QUANTITY is then what it buys.")
    ] = None,
    take_profit: Price = None,
    stop_loss: Price = None,
    time_in_force: Annotated[TimeInForce, typer.Option(help="How long it stands.")] = TimeInForce.DAY,
    strategy: Annotated[str, typer.Option(help="Whose order it is.")] = "by_hand",
    account: Account = None,
    as_json: Json = False,
) -> None:
    """Ask every gate about an order that is not sent. Exits with 1 if one of them would refuse it."""
    from workbench.domain import OrderIntent
    from workbench.trading import explain
    from workbench.trading.reading import quote

    wb, name = _open(account)
    try:
        market = wb.market(wb.session)
        book = _book(wb, name, market)
        quote(book, market, symbol)
        _judge(wb, book, symbol)
        named = _number("--price", price)
        reference = book.prices.get(symbol, Decimal(1)) if named is None else named
        intent = OrderIntent(
            "risk-check", symbol, side, _required("QUANTITY", quantity), reference, strategy, 0, kind,
            _number("--limit", limit), time_in_force, _number("--stop", stop), _number("--trail", trail),
            _number("--trail-percent", trail_percent), _number("--notional", notional),
            _bracket(take_profit, stop_loss),
        )  # fmt: skip
        lines = explain.ask(intent, book, wb.settings.risk)
    finally:
        wb.close()
    rows = [{"gate": line.limit, "answer": line.value, "reason": line.note} for line in lines]
    show(rows, ["gate", "answer", "reason"], as_json=as_json, empty="no gates")
    raise typer.Exit(0 if all(line.value == "ok" for line in lines) else 1)


@app.command()
def reset(
    breaker: Breaker,
    by: Annotated[str, typer.Option(help="The person who answers for it; kept on record.")],
    reason: Annotated[str, typer.Option(help="Why; kept on record.")],
    account: Account = None,
) -> None:
    """Release a tripped circuit breaker. It measures anew from the last close."""
    from workbench.errors import ConfigError
    from workbench.journal import Controls, Ledger
    from workbench.settings import load_settings

    for option, value in (("--by", by), ("--reason", reason)):
        if not value.strip():
            raise ConfigError(f"{option} is blank; nothing was changed", hint="a reset needs a name and a reason")
    name = account or load_settings().account.name
    with journal() as opened:
        require_known(name, opened)
        controls = Controls(opened)
        if breaker.value not in controls.breakers(name):
            raise ConfigError(f"the breaker {breaker.value} of account {name} has not tripped; nothing was changed")
        mark = Ledger(opened).last_mark(name)
        session = date.fromisoformat(mark["session"]) if mark is not None else None
        controls.reset(name, breaker.value, actor=by.strip(), reason=reason.strip(), session=session)
        state = controls.trading_state(name)
    since = f"; it measures anew from the close of {session}" if session else ""
    typer.echo(f"{breaker.value} of account {name} is reset by {by.strip()}{since}. Trading is {state.value.upper()}.")


def _open(account: str | None) -> tuple[Workbench, str]:
    """The workbench at the session where an account stands, and the account's name.

    One that was never opened stands at the last session there is data of.
    """
    from workbench.app import open_workbench
    from workbench.journal import Ledger

    wb = open_workbench()
    try:
        if account is not None:
            require_known(account, wb.journal)
        name = account or wb.settings.account.name
        mark = Ledger(wb.journal).last_mark(name)
        last = wb.lake.last_session() if mark is None else date.fromisoformat(mark["session"])
    finally:
        wb.close()
    return open_workbench(session=last), name


def _book(wb: Workbench, account: str, market: Market) -> RiskBook:
    """The account as the gates see it; one that was never opened is all cash."""
    from workbench.journal import Ledger
    from workbench.trading.reading import read_book

    settings = wb.settings
    book = read_book(wb.journal, account, market, settings.risk, wb.session, lot=settings.planner.lot)
    if Ledger(wb.journal).last_mark(account) is None:
        book.cash = book.equity = settings.account.starting_cash_usd
    return book


def _judge(wb: Workbench, book: RiskBook, symbol: str) -> None:
    """Give the book the verdict on a symbol's data that a gateway would ask for before it decides."""
    if symbol in book.prices:
        report = wb.check([symbol])
        book.checked.add(symbol)
        if report.blocked:
            book.faults[symbol] = report.reasons()[0]


def _bracket(take_profit: str | None, stop_loss: str | None) -> Bracket | None:
    from workbench.domain import Bracket
    from workbench.errors import ConfigError

    if take_profit is None and stop_loss is None:
        return None
    if take_profit is None or stop_loss is None:
        raise ConfigError("a bracket has two exits", hint="give --take-profit and --stop-loss")
    return Bracket(_required("--take-profit", take_profit), _required("--stop-loss", stop_loss))


def _number(option: str, text: str | None) -> Decimal | None:
    return None if text is None else _required(option, text)


def _required(option: str, text: str) -> Decimal:
    """A number as typed; one that means nothing (NaN, -5) is for the gates to refuse."""
    from workbench.errors import ConfigError

    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ConfigError(f"{option} {text!r} is not a number", hint="write it as 1234.56") from error
