"""``workbench exchange serve``: a paper account behind Alpaca's interface, for any client of Alpaca's."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from workbench.brokers.exchange_http import Credentials, Venue

KEY, SECRET = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"

app = typer.Typer(help="The paper exchange, over HTTP as Alpaca's v2 interface.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="exchange")


@app.callback()
def group() -> None:
    """The paper exchange, over HTTP as Alpaca's v2 interface."""


@app.command()
def serve(
    account: Annotated[str | None, typer.Option(help="The paper account; the configured one if left out.")] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")] = 8765,
    session: Annotated[
        str | None, typer.Option(help="The session a new account is opened at, and an older one carried to.")
    ] = None,
) -> None:
    """Serve a paper account until Ctrl-C."""
    from workbench.app import open_workbench
    from workbench.app.venues import served
    from workbench.brokers.exchange_http import Service, bind, hold
    from workbench.settings import account_name

    workbench = open_workbench(session=session)
    try:
        name = account_name(account or workbench.settings.account.name)
        credentials, generated = _credentials(os.environ)
        wanted = None if session is None else workbench.session
        with hold(workbench.settings.exchange_dir / f"{name}.sqlite"):
            listening = bind(host, port)

            def ready(venue: Venue) -> None:
                shown = f"[{host}]" if ":" in host else host
                _announce(venue, f"http://{shown}:{listening.getsockname()[1]}", credentials, generated)

            Service(listening, lambda: served(workbench, name, wanted, credentials), ready).run()
    finally:
        workbench.close()


def _credentials(env: Mapping[str, str]) -> tuple[Credentials, bool]:
    """The two keys clients must send: those of the environment, or new ones; and whether they are new."""
    import secrets

    from workbench.brokers.exchange_http import Credentials
    from workbench.errors import ConfigError

    given = [name for name in (KEY, SECRET) if env.get(name)]
    if len(given) == 1:
        raise ConfigError(f"only {given[0]} is set", hint=f"set both {KEY} and {SECRET}, or neither to get new ones")
    if given:
        return Credentials(env[KEY], env[SECRET]), False
    return Credentials("PK" + secrets.token_hex(9).upper(), secrets.token_urlsafe(30)), True


def _announce(venue: Venue, address: str, credentials: Credentials, generated: bool) -> None:
    exchange = venue.exchange
    typer.echo(f"Account {exchange.account_name}, {exchange.phase.value} at {exchange.session}. To use it:")
    for name in ("APCA_API_BASE_URL", "APCA_API_DATA_URL", "APCA_API_STREAM_URL"):
        typer.echo(f"  export {name}={address}")
    if generated:
        typer.echo(f"  export {KEY}={credentials.key}")
        typer.echo(f"  export {SECRET}={credentials.secret}")
    else:
        typer.echo(f"  with {KEY} and {SECRET} as they are set here")
    typer.echo("To trade the next session:")
    typer.echo(f"  curl -H 'Content-Type: application/json' -d '{{}}' {address}/_exchange/advance")
    typer.echo("Ctrl-C ends it.")
    # last, so that whoever waits for this line knows that requests are answered
    typer.echo(f"Serving at {address}")
    sys.stdout.flush()
