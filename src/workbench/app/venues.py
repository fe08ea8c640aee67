"""Builds what stands between an account and the market: its broker, its gateway, the exchange that is served."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from workbench.app import checking
from workbench.app.installation import QUALITY_SESSIONS
from workbench.app.workbench import Workbench
from workbench.errors import ConfigError, DataError
from workbench.journal import Owner

if TYPE_CHECKING:
    from workbench.brokers.base import Broker
    from workbench.brokers.exchange_http import Credentials, Venue
    from workbench.brokers.market import Market
    from workbench.trading.gateway import GatewayParts

# A venue beyond a network may be out of reach for so long.
_PATIENCE_S = 30.0
# An order in doubt may still be on its way there for so long after the call was given up.
_UNKNOWN_WAIT_S = 10.0
# More symbols than that are judged when they are ordered.
_JUDGED_AHEAD = 100
# Venues that trade fractions take nine decimals.
_FRACTION = Decimal("1e-9")
# Two jobs of one account at the same moment go one after the other.
_LEASE_WAIT_S = 60.0


def gateway_parts(
    workbench: Workbench, account: str, session: date, snapshot: int | None, tolerate: Sequence[str] = ()
) -> GatewayParts:
    """What the gateway of an account is built from; findings of the rules in ``tolerate`` deny nothing.

    Raises
    ------
    ConfigError
        If the broker's keys are missing, its address is live and not armed, or the account is not its own.
    """
    from workbench.trading.gateway import GatewayParts

    settings = workbench.settings
    market = workbench.market(session, snapshot)
    symbols = workbench.lake.symbols(snapshot)
    paper = settings.account.broker == "paper"
    return GatewayParts(
        account,
        _paper(workbench, account, market, session) if paper else _alpaca(workbench, account),
        market,
        workbench.calendar,
        settings.risk,
        Owner.current(),
        throttle=settings.throttle,
        reconcile=settings.reconcile,
        replays=paper,
        quality=partial(checking.faults, workbench, snapshot, tolerate, QUALITY_SESSIONS),
        unknown_wait_s=0.0 if paper else settings.alpaca.read_timeout_s + _UNKNOWN_WAIT_S,
        patience_s=0.0 if paper else _PATIENCE_S,
        lease_wait_s=_LEASE_WAIT_S,
        lot=Decimal(1) if paper and not settings.exchange.fractional else _FRACTION,
        universe=symbols if len(symbols) <= _JUDGED_AHEAD else (),
        sure_sales=not paper or settings.exchange.max_volume_share is None,
    )


def served(workbench: Workbench, account: str, wanted: date | None, credentials: Credentials) -> Venue:
    """A paper account's venue over all the data there is; it never shows more than it has reached.

    Parameters
    ----------
    wanted
        The session a new account is opened at, and an older one carried to; the last one of the data if left out.

    Raises
    ------
    DataError
        If there is no data.
    ConfigError
        If the data ends before the session, or the account is past it.
    """
    from workbench.brokers.exchange import Exchange
    from workbench.brokers.exchange_http import Venue

    if workbench.lake.is_empty():
        raise DataError("the lake is empty, so there is nothing to trade", hint="run: workbench data load")
    last = workbench.lake.last_session()
    if wanted is not None and wanted > last:
        raise ConfigError(
            f"the lake ends at {last}; an account cannot be at {wanted}", hint="choose an earlier session"
        )
    market = workbench.market(last)
    exchange = Exchange(
        workbench.settings.exchange_dir / f"{account}.sqlite", **_terms(workbench, account, market, wanted or last)
    )
    try:
        if wanted is not None:
            exchange.advance(wanted)
    except BaseException:
        exchange.close()
        raise
    return Venue(
        exchange,
        market=market,
        symbols=workbench.lake.symbols(),
        calendar=workbench.calendar,
        clock=workbench.clock,
        credentials=credentials,
        new_id=lambda: str(uuid4()),
        fractional=workbench.settings.exchange.fractional,
        shorting=workbench.settings.risk.allow_short,
        until=last,
    )


def _paper(workbench: Workbench, account: str, market: Market, opened: date) -> Broker:
    from workbench.brokers.paper import PaperExchange

    file = workbench.settings.exchange_dir / f"{account}.sqlite"
    return PaperExchange(file, **_terms(workbench, account, market, opened))


def _terms(workbench: Workbench, account: str, market: Market, opened: date) -> dict[str, Any]:
    """What the paper exchange is told, whether it is embedded or served."""
    from workbench.brokers.matching import Costs

    settings, costs = workbench.settings, workbench.settings.costs
    return {
        "account": account,
        "market": market,
        "calendar": workbench.calendar,
        "costs": Costs(costs.commission_per_share_usd, costs.commission_min_usd, costs.slippage_bps),
        "starting_cash": settings.account.starting_cash_usd,
        "opened": opened,
        "clock": workbench.clock,
        "max_volume_share": settings.exchange.max_volume_share,
        "fractional": settings.exchange.fractional,
        "shorting": settings.risk.allow_short,
    }


def _alpaca(workbench: Workbench, account: str) -> Broker:
    from workbench.brokers.alpaca import AlpacaBroker, credentials

    settings = workbench.settings
    if account != settings.account.name:
        raise ConfigError(
            f"account {account!r} is not the one at Alpaca, which is {settings.account.name!r}",
            hint='set broker = "paper" in [account] to use paper accounts of other names',
        )
    key, secret = credentials(os.environ)
    return AlpacaBroker(
        settings.alpaca, account=account, key=key, secret=secret, calendar=workbench.calendar, clock=workbench.clock
    )
