"""``workbench exchange serve``: a real process on the committed sample's lake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alpaca_trade_api.rest import REST
from brokers.http.board import Json
from support.exchange_server import ExchangeProcess
from support.homes import make_home, start, workbench

from workbench.app import open_workbench
from workbench.cli.main import main


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_home(tmp_path_factory.mktemp("serve") / "home")
    installation = open_workbench(start=folder, env={})
    installation.load_sample()
    installation.close()
    return folder


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[ExchangeProcess]:
    with ExchangeProcess(home, "--session", "2013-01-02") as process:
        yield process


def test_a_client_trades_on_the_lakes_prices(served: ExchangeProcess):
    with REST(served.key, served.secret, served.url) as rest:
        rest.submit_order("AAPL", qty=10)
        state = served.advance()
        assert state["session"] == "2013-01-03"
        assert rest.get_position("AAPL").qty == "10"
        # the open of 3 January 2013 in the sample is 547.88, bought 2 basis points worse, for the minimum of 1 USD
        assert state["cash"] == str(100_000 - 10 * 547.88 * 1.0002 - 1)


def test_a_second_server_is_refused_while_the_first_one_runs(home: Path, served: ExchangeProcess):
    same = workbench(home, "exchange", "serve", "--port", "0")
    assert same.returncode == 75
    assert "the account paper is served by another process" in same.stderr
    port = workbench(home, "exchange", "serve", "--account", "other", "--port", str(served.port))
    assert port.returncode == 75
    assert f"port {served.port} of 127.0.0.1 is taken" in port.stderr


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (["--port", "70000"], {}, "--port"),
        (["--host", "192.0.2.1"], {}, "cannot listen on 192.0.2.1"),
        (["--host", "no such host"], {}, "cannot listen on no such host"),
        (["--account", "No Good"], {}, "cannot be the name of an account"),
        (["--session", "2013-01-01"], {}, "not a XNYS session"),
        (["--session", "then"], {}, "not a date"),
        (["--session", "2020-01-02"], {}, "the lake ends at"),
        ([], {"APCA_API_KEY_ID": "alone"}, "only APCA_API_KEY_ID is set"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], variables: dict[str, str], words: str,
):  # fmt: skip
    monkeypatch.chdir(home)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    given = [] if "--port" in arguments else ["--port", "0"]
    with pytest.raises(SystemExit) as ended:
        main(["exchange", "serve", "--account", "fresh", *given, *arguments])
    said = capsys.readouterr()
    assert (ended.value.code, said.out, len(said.err.strip().splitlines())) == (64, "", 1), said.err
    assert words in said.err


def test_an_account_survives_its_server(home: Path):
    with ExchangeProcess(home, "--account", "lasting", "--session", "2013-01-02") as process:
        with REST(process.key, process.secret, process.url) as rest:
            rest.submit_order("IBM", qty=3, client_order_id="kept")
        assert process.kill() == -9
        process.start()
        with REST(process.key, process.secret, process.url) as rest:
            assert rest.get_order_by_client_order_id("kept").status == "accepted"
        assert process.stop() == 0
    refused = workbench(home, "exchange", "serve", "--account", "lasting", "--session", "2012-12-31")
    assert refused.returncode == 64
    assert "cannot go back" in refused.stderr


def test_keys_are_made_and_shown_once_where_none_are_given(home: Path):
    process = start(home, "exchange", "serve", "--account", "keys", "--port", "0", "--session", "2013-01-02")
    shown: Json = {}
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("  export "):
            name, _, value = line.removeprefix("  export ").strip().partition("=")
            shown[name] = value
        if line.startswith("Serving at"):
            break
    try:
        with REST(shown["APCA_API_KEY_ID"], shown["APCA_API_SECRET_KEY"], shown["APCA_API_BASE_URL"]) as rest:
            assert rest.get_account().status == "ACTIVE"
    finally:
        process.terminate()
        assert process.wait(60) == 0
        process.stdout.close()


def test_an_empty_lake_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(make_home(tmp_path / "home"))
    with pytest.raises(SystemExit) as ended:
        main(["exchange", "serve", "--port", "0"])
    assert ended.value.code == 65
    assert "workbench data load" in capsys.readouterr().err
