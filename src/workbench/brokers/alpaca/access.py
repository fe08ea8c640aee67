"""Which address may be used, and the two keys."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from workbench.errors import ConfigError
from workbench.settings import AlpacaSettings

PAPER_ADDRESS = "https://paper-api.alpaca.markets"
KEY_VARIABLE = "APCA_API_KEY_ID"
SECRET_VARIABLE = "APCA_API_SECRET_KEY"


def credentials(env: Mapping[str, str]) -> tuple[str, str]:
    """Read key and secret from the environment. Neither is ever part of a message.

    Raises
    ------
    ConfigError
        If one is missing or cannot be a key.

    >>> credentials({"APCA_API_KEY_ID": "PK1", "APCA_API_SECRET_KEY": "s3"})
    ('PK1', 's3')
    """
    missing = [name for name in (KEY_VARIABLE, SECRET_VARIABLE) if not env.get(name)]
    if missing:
        raise ConfigError(
            f"no credentials for Alpaca: the environment has no {' and no '.join(missing)}",
            hint="set both to the keys of the account, as its page at alpaca.markets shows them",
        )
    pair = (env[KEY_VARIABLE], env[SECRET_VARIABLE])
    require_usable(*pair)
    return pair


def require_usable(key: str, secret: str) -> None:
    """Refuse what cannot travel in a header: the HTTP library would print the whole value in its error.

    Raises
    ------
    ConfigError
        If one is empty or has a blank, a line end or a letter outside ASCII.
    """
    for name, value in ((KEY_VARIABLE, key), (SECRET_VARIABLE, secret)):
        if not re.fullmatch(r"[\x21-\x7e]+", value):
            raise ConfigError(f"{name} is not a key: it is empty or has a blank or a letter that no key has")


def require_allowed(settings: AlpacaSettings, account: str) -> None:
    """Refuse an address where an order could cost money, unless the settings arm this very account for it.

    Alpaca's paper address and this machine are free; every other address counts as live. Without TLS only this
    machine is spoken to.

    Raises
    ------
    ConfigError
        If the address is refused, or is not a plain ``https://host``.

    >>> require_allowed(AlpacaSettings(), "paper")
    """
    address = settings.base_url
    parts = urlsplit(address)
    if not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment or "\\" in address:
        raise ConfigError(f"alpaca.base_url: {address!r} is not the address of a host", hint=f"use {PAPER_ADDRESS}")
    if is_loopback(parts.hostname):
        return
    if parts.scheme != "https":
        raise ConfigError(f"alpaca.base_url: {address} would send the keys in the clear", hint="use https://")
    if address.lower() != PAPER_ADDRESS and (not account or settings.armed_account != account):
        raise ConfigError(
            f"alpaca.base_url: {address} is not Alpaca's paper address, and account {account!r} is not armed",
            hint=f"use {PAPER_ADDRESS}, or arm it with alpaca.armed_account to trade with real money",
        )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
