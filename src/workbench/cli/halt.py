"""``workbench halt`` and ``workbench resume``: the kill switch."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.show import journal

if TYPE_CHECKING:
    from workbench.domain import TradingState
    from workbench.journal import Journal

Scope = Annotated[str | None, typer.Option(help="Only this account; every account if left out.")]
Reason = Annotated[str, typer.Option(help="Why; kept on record.")]


def register(app: typer.Typer) -> None:
    app.command()(halt)
    app.command()(resume)


def halt(account: Scope = None, reason: Reason = "halted by hand") -> None:
    """Stop all trading at once. It stays stopped, restarts included, until `workbench resume`."""
    from workbench.domain import OrderState, TradingState
    from workbench.journal import OrderJournal

    _latch(account, TradingState.HALTED, reason)
    typer.echo(f"HALTED: {account or 'every account'}. No order is sent until `workbench resume`.")
    with journal() as book:
        open_orders = OrderJournal(book).intents(account=account, states=[s for s in OrderState if s.may_fill])
    if open_orders:
        typer.echo(f"{len(open_orders)} orders are at the venue already and may still fill.")


def resume(account: Scope = None, reason: Reason = "resumed by hand") -> None:
    """Let orders pass again."""
    from workbench.domain import TradingState
    from workbench.journal import OrderJournal
    from workbench.journal.orders import EVERY_ACCOUNT

    _latch(account, TradingState.ACTIVE, reason)
    with journal() as book:
        left = OrderJournal(book).halted()
    typer.echo(f"ACTIVE: {account or 'every account'}.")
    for name, state, why, actor, at in left:
        scope = "every account" if name == EVERY_ACCOUNT else f"account {name}"
        typer.echo(f"still {state.value}: {scope}, by {actor} at {at}: {why}")


def _latch(account: str | None, state: TradingState, reason: str) -> None:
    from workbench.domain import TradingState
    from workbench.journal import OrderJournal
    from workbench.journal.orders import EVERY_ACCOUNT

    with journal() as book:
        if account is not None:
            _require_known(account, book)
        orders = OrderJournal(book)
        scopes = [account or EVERY_ACCOUNT]
        if account is None and state is TradingState.ACTIVE:
            # "Every account" means it: the ones halted by name are freed too.
            scopes += [name for name, *_ in orders.halted() if name != EVERY_ACCOUNT]
        for scope in scopes:
            orders.set_trading_state(scope, state, reason, _who())


def _require_known(account: str, book: Journal) -> None:
    """A kill switch on a mistyped name would stop nothing."""
    from workbench.errors import ConfigError, nearest
    from workbench.settings import load_settings

    settings = load_settings()
    known = {settings.account.name, *(row["account"] for row in book.read("SELECT DISTINCT account FROM runs"))}
    if account not in known:
        raise ConfigError(f"no account {account!r}; nothing was changed", hint=nearest(account, known))


def _who() -> str:
    """The person at the keyboard; a user without a name is known by number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
