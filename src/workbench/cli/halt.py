"""``workbench halt``, ``resume`` and ``cancel``: the kill switch, and one order taken back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.output import who
from workbench.cli.show import journal

if TYPE_CHECKING:
    from workbench.domain import TradingState
    from workbench.journal import Journal

Scope = Annotated[str | None, typer.Option(help="Only this account; every account if left out.")]
Reason = Annotated[str, typer.Option(help="Why; kept on record.")]


def register(app: typer.Typer) -> None:
    app.command()(halt)
    app.command()(resume)
    app.command()(cancel)


def halt(
    account: Scope = None,
    reason: Reason = "halted by hand",
    cancel: Annotated[bool, typer.Option("--cancel", help="Also cancel every open order.")] = False,
    flatten: Annotated[bool, typer.Option("--flatten", help="Also cancel, and close every position.")] = False,
) -> None:
    """Stop all trading at once. It stays stopped, restarts included, until `workbench resume`."""
    from workbench.domain import OrderState, TradingState
    from workbench.journal import OrderJournal

    _latch(account, TradingState.HALTED, reason)
    typer.echo(f"HALTED: {account or 'every account'}. No order is sent until `workbench resume`.")
    if cancel or flatten:
        _demand(account, flatten=flatten)
        return
    with journal() as book:
        open_orders = OrderJournal(book).intents(account=account, states=[s for s in OrderState if s.may_fill])
    if open_orders:
        typer.echo(f"{len(open_orders)} orders are at the venue already and may still fill; --cancel takes them back.")


def resume(account: Scope = None, reason: Reason = "resumed by hand") -> None:
    """Let orders pass again. A circuit breaker stays latched until `workbench risk reset`."""
    from workbench.domain import TradingState
    from workbench.journal import Controls
    from workbench.journal.controls import BY_HAND, EVERY_ACCOUNT

    _latch(account, TradingState.ACTIVE, reason)
    with journal() as book:
        left = Controls(book).halted()
    typer.echo(f"ACTIVE: {account or 'every account'}.")
    for stop in left:
        scope = "every account" if stop.account == EVERY_ACCOUNT else f"account {stop.account}"
        typer.echo(f"still {stop.state.value}: {scope}, by {stop.actor} at {stop.at}: {stop.reason}")
        if stop.cause != BY_HAND:
            typer.echo(f"  `workbench risk reset {stop.cause.partition(':')[2]} --by NAME --reason WHY` releases it")


def cancel(order: Annotated[str, typer.Argument(help="Its client order id, as `workbench orders` lists it.")]) -> None:
    """Cancel one open order. Trading goes on."""
    from workbench.app import open_workbench
    from workbench.errors import ConfigError
    from workbench.journal import OrderJournal
    from workbench.trading.killswitch import CANCEL, demand

    wb = open_workbench()
    try:
        record = OrderJournal(wb.journal).intent(order)
        if record is None:
            raise ConfigError(f"no order {order!r}", hint="`workbench orders` lists them")
        if record.state.is_final:
            raise ConfigError(f"order {order} is {record.state.value} already")
        gateway = partial(wb.gateway, record.account)
        for answer in demand(wb.journal, record.account, [CANCEL], who(), gateway, target=order):
            typer.echo(f"{record.account}: {answer}")
    finally:
        wb.close()


def _latch(account: str | None, state: TradingState, reason: str) -> None:
    from workbench.domain import TradingState
    from workbench.journal import Controls
    from workbench.journal.controls import BY_HAND, EVERY_ACCOUNT

    with journal() as book:
        if account is not None:
            require_known(account, book)
        controls = Controls(book)
        scopes = [account or EVERY_ACCOUNT]
        if account is None and state is TradingState.ACTIVE:
            # "Every account" means it: the ones halted by name are freed too.
            scopes += [s.account for s in controls.halted() if s.account != EVERY_ACCOUNT and s.cause == BY_HAND]
        for scope in scopes:
            controls.set_trading_state(scope, state, reason, who())


def _demand(account: str | None, *, flatten: bool) -> None:
    """Have every account (or the one) cancelled and, if wanted, closed; one that fails stops none of the others."""
    from workbench.app import open_workbench
    from workbench.errors import BrokerError, WorkbenchError
    from workbench.journal.orders import FLATTEN
    from workbench.trading.killswitch import CANCEL, NOT_CLOSED, demand

    wb = open_workbench()
    failures: list[str] = []
    try:
        opened = [row["account"] for row in wb.journal.read("SELECT DISTINCT account FROM marks ORDER BY account")]
        for name in opened if account is None else [name for name in opened if name == account]:
            kinds = [CANCEL, FLATTEN] if flatten else [CANCEL]
            try:
                answers = demand(wb.journal, name, kinds, who(), partial(wb.gateway, name))
            except WorkbenchError as failure:
                failures.append(f"{name}: {failure}")
                continue
            for answer in answers:
                typer.echo(f"{name}: {answer}")
            failures += [f"{name}: {answer}" for answer in answers if NOT_CLOSED in answer]
    finally:
        wb.close()
    if failures:
        raise BrokerError("trading is halted, but not everything was done: " + "; ".join(failures))


def require_known(account: str, book: Journal) -> None:
    """Refuse a mistyped name: a kill switch on it would stop nothing."""
    from workbench.errors import ConfigError, nearest
    from workbench.settings import load_settings

    settings = load_settings()
    known = {settings.account.name, *(row["account"] for row in book.read("SELECT DISTINCT account FROM runs"))}
    if account not in known:
        raise ConfigError(f"no account {account!r}; nothing was changed", hint=nearest(account, known))
