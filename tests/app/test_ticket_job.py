"""A pipeline notebook with tickets places them on the paper exchange: real process, real kernel, real stores."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from support.homes import make_home, workbench

from workbench.app import open_workbench
from workbench.domain import Order, OrderState, OrderType, Side, Snapshot, TimeInForce
from workbench.errors import ConfigError, DataError

FIRST, SECOND = "2013-02-28", "2013-03-01"
PIPELINE = """
description = "Orders by hand"
calendar = "XNYS"
schedule = "close + 30min"

[parameters]
symbols = ["AAPL", "IBM", "MSFT"]

[[steps]]
name = "update_data"
notebook = "update_data.ipynb"
timeout_s = 600

[[steps]]
name = "tickets"
notebook = "tickets.ipynb"
timeout_s = 300
orders = true
"""
TICKETS = """
tickets = [
    wb.ticket("AAPL", "buy", 10),
    wb.ticket("IBM", "buy", 5, type="limit", limit=192, time_in_force="gtc"),
    wb.ticket("MSFT", "buy", 100, take_profit=34, stop_loss=21),
    wb.ticket("AAPL", "buy", notional=1000),
    wb.ticket("IBM", "sell", 6, type="trailing_stop", trail_percent=2),
]
"""
REPLACEMENT = """
(old,) = [order for order in wb.snapshot().open_orders if order.symbol == "IBM"]
ticket = wb.ticket("IBM", "buy", 7, type="limit", limit=193, time_in_force="gtc", replaces=old.client_order_id)
tickets = [ticket]
"""


def write_notebook(home: Path, cell: str) -> None:
    parameters = new_code_cell(
        f'session: "date" = "{FIRST}"\nsymbols: list[str] = ["AAPL"]', metadata={"tags": ["parameters"]}
    )
    rest = (
        "import workbench\n\nwb = workbench.open(session=session)",
        cell.strip(),
        "orders = wb.orders(tickets)\norders.to_frame()",
        "outcome = wb.propose(orders)\noutcome.to_frame()",
        "assert outcome.settled",
    )
    notebook = new_notebook(cells=[parameters, *map(new_code_cell, rest)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, home / "pipelines" / "tickets.ipynb")


def orders(home: Path, session: str) -> dict[tuple[str, float], dict[str, Any]]:
    """Orders of a session by symbol and quantity."""
    done = workbench(home, "orders", "--json")
    assert done.returncode == 0, done.stderr
    return {(row["symbol"], row["quantity"]): row for row in json.loads(done.stdout) if row["session"] == session}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation that has run tickets for two sessions; the second replaces what the first left waiting."""
    home = make_home(tmp_path_factory.mktemp("tickets"), loaded=True)
    (home / "pipelines" / "by_hand.toml").write_text(PIPELINE)
    for session, cell in ((FIRST, TICKETS), (SECOND, REPLACEMENT)):
        write_notebook(home, cell)
        asked = ("by_hand", "--session", session, "--allow-dirty")
        done = workbench(home, "run", *asked, WORKBENCH_PLANNER__LOT="0.000000001")
        assert done.returncode == 0, done.stderr + done.stdout
    return home


def test_every_ticket_is_sent_or_denied_as_it_was_written(home: Path) -> None:
    rows = orders(home, FIRST)
    # The raw opens of 2013-03-01 are 438.00 for AAPL and 27.72 for MSFT; slippage is 2 basis points.
    shares, amount = rows["AAPL", 10.0], rows["AAPL", 2.265518803]  # 1,000 / 441.40
    assert [row["status"] for row in (shares, amount)] == ["filled", "filled"]
    assert shares["fill_price"] == pytest.approx(438.00 * 1.0002)
    assert amount["filled_quantity"] == pytest.approx(1000 / (438.00 * 1.0002))
    assert rows["MSFT", 100.0]["status"] == "filled"
    assert rows["MSFT", 100.0]["fill_price"] == pytest.approx(27.72 * 1.0002)
    sale = rows["IBM", 6.0]
    assert (sale["status"], sale["gate"]) == ("denied", "exposure")


def test_a_replacement_takes_the_place_of_the_order(home: Path) -> None:
    before, after = orders(home, FIRST)["IBM", 5.0], orders(home, SECOND)["IBM", 7.0]
    assert before["status"] == "canceled"
    assert (after["status"], after["limit_price"]) == ("accepted", 193)
    assert after["replaces"] == before["client_order_id"]


def test_the_notebook_shows_the_tickets_and_what_became_of_them(home: Path) -> None:
    (notebook,) = (home / "data" / "runs" / "by_hand" / FIRST).glob("*/02_tickets.ipynb")
    shown = [
        output["data"]["text/html"]
        for cell in nbformat.read(notebook, as_version=4).cells
        for output in cell.get("outputs", [])
        if "text/html" in output.get("data", {})
    ]
    assert "trailing_stop" in shown[0]
    assert "2.265519" in shown[0]
    assert "denied" in shown[1]


def test_opened_by_hand_nothing_is_sent(home: Path) -> None:
    before = orders(home, SECOND)
    wb = open_workbench(session=SECOND, start=home, env={})
    try:
        outcome = wb.propose(wb.orders([wb.ticket("AAPL", "sell", 1)]))
        assert outcome.to_frame()["status"].tolist() == ["dry run"]
        with pytest.raises(DataError, match="no bars of AAPK in the lake; did you mean AAPL"):
            wb.orders([wb.ticket("AAPK", "buy", 1)])
        with pytest.raises(ConfigError, match="strategy ' ' is not a name"):
            wb.orders([wb.ticket("AAPL", "buy", 1)], strategy=" ")
    finally:
        wb.close()
    assert orders(home, SECOND) == before


def test_a_plan_by_hand_keeps_the_cash_of_another_strategys_waiting_buy(home: Path) -> None:
    # 90 % of 98,000 USD are wanted of AAPL at 430.47, 204 shares. 300 IBM at 202.91 with 1 % buffer may cost 61,481.73:
    # 38,518.27 buy 88 AAPL at 434.7747.
    waiting = Order(
        "o1", "c1", "IBM", Side.BUY, Decimal(300), OrderType.MARKET, None, TimeInForce.DAY, OrderState.ACCEPTED,
        Decimal(0), None,
    )  # fmt: skip
    wb = open_workbench(session=SECOND, start=home, env={})
    try:
        account = Snapshot("paper", wb.session, Decimal(100_000))
        assert [int(t.quantity) for t in wb.plan("momentum", {"AAPL": 0.9}, account).targets] == [204]
        plan = wb.plan("momentum", {"AAPL": 0.9}, replace(account, open_orders=(waiting,)))
        assert [int(t.quantity) for t in plan.targets] == [88]
        assert plan.short_of_cash == ("AAPL",)
        with pytest.raises(DataError, match="momentum: a weight is not a number"):
            wb.plan("momentum", {"AAPL": "much"}, account)  # type: ignore[dict-item]
    finally:
        wb.close()
