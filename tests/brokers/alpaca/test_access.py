from __future__ import annotations

import pytest

from workbench.brokers.alpaca import credentials, require_allowed
from workbench.errors import ConfigError
from workbench.settings import AlpacaSettings

PAPER = "https://paper-api.alpaca.markets"
LIVE = "https://api.alpaca.markets"


def settings(address: str, armed: str = "") -> AlpacaSettings:
    return AlpacaSettings(base_url=address, armed_account=armed)


@pytest.mark.parametrize(
    "address",
    [PAPER, "https://PAPER-API.alpaca.markets", "http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:9"],
)
def test_paper_and_this_machine_need_no_arming(address: str) -> None:
    require_allowed(settings(address), "paper")


def test_the_default_is_the_paper_address() -> None:
    assert AlpacaSettings().base_url == PAPER
    require_allowed(AlpacaSettings(), "main")


@pytest.mark.parametrize("armed", ["", "other", "Main"])
def test_the_live_address_is_refused_unless_this_account_is_armed(armed: str) -> None:
    with pytest.raises(ConfigError, match="not armed"):
        require_allowed(settings(LIVE, armed), "main")
    require_allowed(settings(LIVE, "main"), "main")


def test_an_account_without_a_name_is_never_armed() -> None:
    with pytest.raises(ConfigError, match="not armed"):
        require_allowed(settings(LIVE, ""), "")


@pytest.mark.parametrize(
    "address",
    [
        "https://paper-api.alpaca.markets.example.com",
        "https://paper-api.alpaca.markets:8443",
        "https://127.0.0.1.example.com",
        "https://localhost.example.com",
        "https://2130706433",
    ],
)
def test_an_address_that_only_looks_free_counts_as_live(address: str) -> None:
    with pytest.raises(ConfigError, match="not armed"):
        require_allowed(settings(address), "paper")


@pytest.mark.parametrize(
    "address",
    ["https://paper-api.alpaca.markets@example.com", "http://127.0.0.1:80@example.com", "https://example.com#127.0.0.1",
     "https://example.com?127.0.0.1", "https://example.com\\127.0.0.1"],
)  # fmt: skip
def test_an_address_with_more_than_a_host_is_refused_even_armed(address: str) -> None:
    with pytest.raises(ConfigError, match="not the address of a host"):
        require_allowed(settings(address, "main"), "main")


def test_keys_never_travel_in_the_clear_beyond_this_machine() -> None:
    with pytest.raises(ConfigError, match="in the clear"):
        require_allowed(settings("http://paper-api.alpaca.markets", "main"), "main")


def test_missing_keys_are_named_and_none_is_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        credentials({"APCA_API_KEY_ID": "PKVISIBLE"})
    assert "no APCA_API_SECRET_KEY" in str(caught.value)
    assert "PKVISIBLE" not in str(caught.value)
    with pytest.raises(ConfigError, match="no APCA_API_KEY_ID and no APCA_API_SECRET_KEY"):
        credentials({"APCA_API_KEY_ID": ""})


@pytest.mark.parametrize("secret", ["hush\n", "hu sh", "hüsh", "hush\r\nHost: example.com"])
def test_a_secret_that_cannot_be_a_header_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        credentials({"APCA_API_KEY_ID": "PK", "APCA_API_SECRET_KEY": secret})
    assert "APCA_API_SECRET_KEY is not a key" in str(caught.value)
    assert secret.strip() not in str(caught.value)
