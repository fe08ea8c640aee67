"""``workbench risk``: which limits stand where, what is used of them, what the gates would say, and the reset."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.homes import REPOSITORY, make_home, workbench

from workbench.app import open_workbench
from workbench.cli.main import main
from workbench.clock import ManualClock, SystemClock
from workbench.domain import OrderIntent, OrderType, Side, TradingState
from workbench.journal import Controls, Journal, Ledger
from workbench.settings import RiskSettings, Settings, StrategyLimits, load_settings
from workbench.trading import explain, gates
from workbench.trading.exposures import Exposure, Working
from workbench.trading.riskbook import RiskBook, Sent

SESSION = date(2013, 1, 2)
NOW = datetime(2013, 1, 2, 22, tzinfo=UTC)
TOML = """
[risk]
max_gross_exposure = "0.90"
restricted = ["XYZ", "ABC"]
[risk.strategies.momentum]
max_gross_exposure = "0.50"
[throttle]
burst = 5
"""
ENV = {"WORKBENCH_RISK__MAX_NAME_EXPOSURE": "0.40", "WORKBENCH_RISK__STRATEGIES__MOMENTUM__MAX_NAME_EXPOSURE": "0.2"}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite", ManualClock(NOW)) as opened:
        yield opened


def configured(folder: Path) -> Settings:
    (folder / "workbench.toml").write_text(TOML, encoding="utf-8")
    return load_settings(folder, ENV)


def account() -> RiskBook:
    """50,000 USD of cash and 500 A at 100 USD, 100 of them bought by momentum, which has 200 more on order."""
    book = RiskBook(
        SESSION, TradingState.ACTIVE, Decimal(50_000), Decimal(100_000), {"A": Decimal(100), "B": Decimal(50)},
        {"A", "B"}, {"A": Exposure(Decimal(500))}, now=NOW, skew_s=-0.5,
        sleeves={"momentum": {"A": Exposure(Decimal(100))}},
    )  # fmt: skip
    book.place(Working("1", "B", Side.BUY, OrderType.MARKET, Decimal(200), "momentum"))
    book.sent.append(Sent(NOW, "B", Side.BUY, Decimal(200), SESSION, "1"))
    return book


def explained(settings: Settings, journal: Journal, book: RiskBook) -> dict[str, explain.Line]:
    lines = explain.limits(settings, ENV, explain.standing(journal, "paper", book))
    found = {line.limit: line for line in lines}
    assert len(found) == len(lines)
    return found


def test_every_limit_says_where_it_comes_from(tmp_path: Path, journal: Journal) -> None:
    found = explained(configured(tmp_path), journal, account())
    for name in RiskSettings.model_fields:
        assert name in found or name == "strategies"
    for name in StrategyLimits.model_fields:
        assert f"strategies.momentum.{name}" in found
    assert {name: found[name].source for name in found if found[name].source != "default"} == {
        "max_gross_exposure": "workbench.toml",
        "restricted": "workbench.toml",
        "max_name_exposure": "environment WORKBENCH_RISK__MAX_NAME_EXPOSURE",
        "strategies.momentum.max_gross_exposure": "workbench.toml",
        "strategies.momentum.max_name_exposure":
            "environment WORKBENCH_RISK__STRATEGIES__MOMENTUM__MAX_NAME_EXPOSURE",
        "throttle.burst": "workbench.toml",
        "buying_power_usd": "journal",
        "trading_state": "journal",
    }  # fmt: skip


def test_what_is_used_and_what_is_left_are_worked_out_by_hand(tmp_path: Path, journal: Journal) -> None:
    found = explained(configured(tmp_path), journal, account())
    used = {name: (line.used, line.headroom) for name, line in found.items() if line.used is not None}
    d = Decimal
    assert used == {
        "max_gross_exposure": (d("0.6"), d("0.3")),  # 50,000 held and 10,000 on order, of 100,000
        "max_net_exposure": (d("0.6"), d("0.45")),
        "max_name_exposure": (d("0.5"), d("-0.1")),
        "max_orders_per_minute": (1, d(1999)),
        "max_clock_skew_s": (0.5, d("1.5")),
        "max_daily_loss": (0, d("0.10")),
        "max_drawdown": (0, d("0.30")),
        "strategies.momentum.max_gross_exposure": (d("0.2"), d("0.3")),  # 10,000 and 10,000
        "strategies.momentum.max_net_exposure": (d("0.2"), None),  # no limit of its own
        "strategies.momentum.max_name_exposure": (d("0.1"), d("0.1")),
        "buying_power_usd": (d("10100"), d("39900")),  # 200 x 50 with the buffer of 1 %
    }
    assert found["max_name_exposure"].note == "largest: A"
    assert found["restricted"].value == "XYZ, ABC"


def test_what_stands_in_the_way_is_named_with_its_reason(tmp_path: Path, journal: Journal) -> None:
    controls, ledger = Controls(journal), Ledger(journal)
    ledger.mark("paper", date(2012, 12, 31), Decimal(100_000), {})
    ledger.mark("paper", SESSION, Decimal(60_000), {})
    controls.trip("paper", "drawdown", TradingState.REDUCING, "drawdown of 40.00% on 2013-01-02, over 30.00%")
    controls.set_trading_state("*", TradingState.HALTED, "fat finger", "ann")
    book = account()
    book.locks["B"] = "books say 0, the venue 10"
    book.unknown.add("A")
    book.state = controls.trading_state("paper")
    found = explained(configured(tmp_path), journal, book)
    assert (found["max_drawdown"].used, found["max_daily_loss"].used) == (Decimal("0.4"), Decimal("0.4"))
    assert "latched since 2013-01-02T22:00: drawdown of 40.00%" in found["max_drawdown"].note
    assert "`workbench risk reset drawdown`" in found["max_drawdown"].note
    assert found["max_daily_loss"].note == ""
    assert found["trading_state"].value == "halted"
    assert "every account halted by ann since 2013-01-02T22:00: fat finger" in found["trading_state"].note
    assert (found["lock"].value, found["lock"].note) == ("B", "books say 0, the venue 10")
    assert found["unknown_order"].value == "A"


def test_an_account_without_equity_has_no_exposure_to_state(tmp_path: Path, journal: Journal) -> None:
    broke = account()
    broke.equity = Decimal(0)
    found = explained(configured(tmp_path), journal, broke)
    assert (found["max_gross_exposure"].used, found["max_gross_exposure"].headroom) == (None, None)


def test_every_gate_is_asked_and_answers_in_words() -> None:
    order = OrderIntent("c", "A", Side.BUY, Decimal(800), Decimal(100), "momentum", 0)
    answers = {line.limit: (line.value, line.note) for line in explain.ask(order, account(), RiskSettings())}
    assert list(answers) == list(gates.GATES)
    assert answers["validity"] == ("ok", "")
    assert answers["max_order_value"] == ("no", "order value 80800.00 USD is over 75000 USD")
    assert answers["data_quality"] == ("no", "the data of A has no quality verdict")
    nothing = explain.ask(OrderIntent("c", "A", Side.BUY, Decimal(0), Decimal(100), "s", 0), account(), RiskSettings())
    assert [line.value for line in nothing] == ["no"] + ["not asked"] * (len(gates.GATES) - 1)


# ---- the configuration file ----------------------------------------------------------------------------------


def test_the_configuration_file_says_every_key_and_its_default() -> None:
    """A key that has no default to write down is there as a comment."""
    text = (REPOSITORY / "workbench.toml").read_text(encoding="utf-8")
    written = tomllib.loads(text)
    defaults = Settings(home=REPOSITORY, config_file=REPOSITORY / "workbench.toml")
    loaded = load_settings(REPOSITORY, {})
    # The section of a room above settings is held to that room's defaults in tests/data/cleaning/test_stored.py.
    assert loaded.model_copy(update={"cleaning": {}}) == defaults
    for section, field in Settings.model_fields.items():
        if section in {"home", "config_file", "calendar", "cleaning"}:
            continue
        for key in type(field.default).model_fields:
            if key == "strategies":
                assert all(f"# {name} = " in text for name in StrategyLimits.model_fields)
            elif getattr(field.default, key) is None:
                assert f"# {key} = " in text
            else:
                assert key in written[section]


# ---- the command ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation whose account has run one session and waits for two buys to fill."""
    folder = make_home(tmp_path_factory.mktemp("risk"))
    wb = open_workbench(start=folder, env={})
    wb.load_sample()
    wb.close()
    done = workbench(folder, "run", "daily", "--session", "2013-01-02")
    assert done.returncode == 0, done.stderr
    return folder


class Shell:
    """The command in this process, started in the installation's folder."""

    def __init__(self, home: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capture = capture
        patch.chdir(home)
        for name in [name for name in os.environ if name.startswith("WORKBENCH_")]:
            patch.delenv(name)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = self._capture.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    def rows(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        ended, out, err = self.run("risk", *arguments, "--json")
        assert ended == code, (out, err)
        found = json.loads(out)
        assert isinstance(found, list)
        return found


@pytest.fixture
def shell(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(home, monkeypatch, capsys)


def entries(home: Path) -> dict[str, int]:
    """How much is in the journal, by table."""
    with Journal(home / "data" / "journal.sqlite", SystemClock()) as opened:
        names = [r["name"] for r in opened.read("SELECT name FROM sqlite_master WHERE type='table'")]
        return {name: opened.read(f"SELECT count(*) AS n FROM {name}")[0]["n"] for name in names}


def test_show_lists_what_waiting_orders_use(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_RISK__MAX_GROSS_EXPOSURE", "0.99")
    found = {row["limit"]: row for row in shell.rows("show")}
    gross = found["max_gross_exposure"]
    assert gross["source"] == "environment WORKBENCH_RISK__MAX_GROSS_EXPOSURE"
    # The plan invests 98 % of equity, less what whole shares leave over.
    assert 0.9 < gross["used"] <= 0.98
    assert gross["headroom"] == pytest.approx(0.99 - gross["used"])
    assert found["max_net_exposure"]["source"] == "workbench.toml"
    done = workbench(shell.home, "risk", "show")
    assert done.returncode == 0
    assert "account paper at the close of 2013-01-02: equity 100,000.00 USD" in done.stdout


def test_check_asks_every_gate_and_leaves_no_trace(shell: Shell) -> None:
    before = entries(shell.home)
    answers = {row["gate"]: row for row in shell.rows("check", "AAPL", "buy", "1")}
    assert list(answers) == list(gates.GATES)
    assert {row["answer"] for row in answers.values()} == {"ok"}
    refused = {row["gate"]: row for row in shell.rows("check", "AAPL", "buy", "1000", code=1)}
    assert {gate for gate, row in refused.items() if row["answer"] == "no"} == {
        "max_order_value", "exposure", "buying_power",
    }  # fmt: skip
    assert entries(shell.home) == before


@pytest.mark.parametrize(
    ("arguments", "gate", "words"),
    [
        (["ZZZ", "buy", "1"], "validity", "'ZZZ' is not known"),
        (["AAPL", "buy", "NaN"], "validity", "quantity NaN is not a positive number"),
        (["AAPL", "buy", "0.5"], "validity", "fractions are off"),
        (["AAPL", "buy", "1", "--type", "limit", "--limit", "549.005"], "validity", "off the tick"),
        (["AAPL", "buy", "1", "--type", "stop"], "validity", "a stop order has a stop price"),
        (["AAPL", "buy", "1", "--price", "100"], "price_collar", "more than 5.00% from the market's"),
        (["AAPL", "buy", "1", "--take-profit", "800", "--stop-loss", "500"], "price_collar", "take profit 800"),
        (["AAPL", "sell", "1"], "exposure", "short sales are off"),
    ],
)
def test_check_names_the_gate_that_refuses(shell: Shell, arguments: list[str], gate: str, words: str) -> None:
    answers = {row["gate"]: row for row in shell.rows("check", *arguments, code=1)}
    assert answers[gate]["answer"] == "no"
    assert words in answers[gate]["reason"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "AAPL", "buy", "ten"], "QUANTITY 'ten' is not a number"),
        (["check", "AAPL", "buy", "1", "--limit", "x"], "--limit 'x' is not a number"),
        (["check", "AAPL", "hold", "1"], "'hold' is not one of"),
        (["check", "AAPL", "buy", "1", "--stop-loss", "500"], "give --take-profit and --stop-loss"),
        (["check", "AAPL", "buy", "1", "--account", "papr"], "did you mean paper?"),
        (["show", "--account", "papr"], "did you mean paper?"),
        (["reset", "drawdown", "--reason", "why"], "--by"),
        (["reset", "drawdown", "--by", "Ann"], "--reason"),
        (["reset", "drawdown", "--by", " ", "--reason", "why"], "--by is blank; nothing was changed"),
        (["reset", "drawdown", "--by", "Ann", "--reason", ""], "--reason is blank; nothing was changed"),
        (["reset", "drawdwn", "--by", "Ann", "--reason", "why"], "'drawdwn' is not one of"),
        (["reset", "drawdown", "--by", "Ann", "--reason", "why"], "has not tripped; nothing was changed"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_64(shell: Shell, arguments: list[str], words: str) -> None:
    code, out, err = shell.run("risk", *arguments)
    assert (code, out) == (64, "")
    (line,) = err.splitlines()
    assert words in line


def test_a_tripped_breaker_leaves_exits_only_until_a_named_person_resets_it(shell: Shell) -> None:
    with Journal(shell.home / "data" / "journal.sqlite", SystemClock()) as opened:
        Controls(opened).trip("paper", "drawdown", TradingState.REDUCING, "drawdown of 31.00%, over 30.00%")
    answers = {row["gate"]: row for row in shell.rows("check", "AAPL", "buy", "1", code=1)}
    assert answers["trading_state"]["reason"] == "only orders that reduce a position pass"
    assert "latched" in {row["limit"]: row for row in shell.rows("show")}["max_drawdown"]["note"]
    assert "still reducing" in shell.run("resume")[1]

    code, out, err = shell.run("risk", "reset", "drawdown", "--by", "Ann Lee", "--reason", "bad print, corrected")
    assert (code, err) == (0, "")
    assert "drawdown of account paper is reset by Ann Lee; it measures anew from the close of 2013-01-02" in out
    assert "Trading is ACTIVE" in out
    shell.rows("check", "AAPL", "buy", "1")
    with Journal(shell.home / "data" / "journal.sqlite", SystemClock()) as opened:
        (kept,) = opened.read("SELECT name, session, actor, reason FROM breaker_resets")
        assert tuple(kept) == ("drawdown", "2013-01-02", "Ann Lee", "bad print, corrected")


def test_an_account_that_was_never_opened_is_all_cash_at_the_last_session_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(make_home(tmp_path / "fresh"), monkeypatch, capsys)
    code, out, err = shell.run("risk", "check", "AAPL", "buy", "1")
    assert (code, out) == (65, "")
    assert "workbench data load" in err
    wb = open_workbench(start=shell.home, env={})
    wb.load_sample()
    wb.close()
    assert {row["answer"] for row in shell.rows("check", "AAPL", "buy", "1")} == {"ok"}
    assert "account paper at the close of 2014-12-31: equity 100,000.00 USD" in shell.run("risk", "show")[1]
