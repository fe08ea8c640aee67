from __future__ import annotations

from datetime import date
from decimal import Decimal

from workbench.domain import Activity, ActivityKind, Fill, OrderState, Side
from workbench.reports import tables


def test_an_order_carries_its_decision_fill_and_run(told):
    (row,) = tables.orders(told.journal, session=told.sessions[12])
    assert row == {
        "client_order_id": told.order_id(12, "sell", "BBB"),
        "run_id": "daily-20130118",
        "account": "paper",
        "pipeline": "daily",
        "session": date(2013, 1, 18),
        "strategy": "momentum",
        "kind": "plan",
        "symbol": "BBB",
        "side": "sell",
        "quantity": Decimal(30),
        "type": "market",
        "time_in_force": "day",
        "limit_price": None,
        "stop_price": None,
        "trail_price": None,
        "trail_percent": None,
        "notional_usd": None,
        "bracket": None,
        "replaces": None,
        "reference_price": Decimal(50),
        "status": "filled",
        "decision": "approved",
        "gate": None,
        "reason": "",
        "filled_quantity": Decimal(30),
        "fill_price": Decimal("49.99"),
        "fee": Decimal("1.00"),
        "fill_session": date(2013, 1, 22),
    }


def test_a_denied_order_names_the_gate_and_the_reason(told):
    denied = [row for row in tables.orders(told.journal) if row["decision"] == "denied"]
    assert [(row["symbol"], row["status"], row["gate"]) for row in denied] == [("CCC", "denied", "max_order_value")]
    assert denied[0]["reason"] == "order value 2,000.00 USD is above the limit of 1,500.00 USD"
    assert (denied[0]["fill_price"], denied[0]["fill_session"], denied[0]["fee"]) == (None, None, Decimal(0))


def test_an_order_that_is_waiting_has_no_fill(told):
    (row,) = tables.orders(told.journal, run_id="daily-20130130")
    assert (row["status"], row["decision"], row["filled_quantity"]) == ("accepted", "approved", Decimal(0))


def test_an_undecided_order_has_no_decision(story):
    story.play(1)
    story.journal._connection.execute("DROP TRIGGER decisions_no_delete")
    story.journal._connection.execute("DELETE FROM decisions")
    assert {row["decision"] for row in tables.orders(story.journal)} == {None}


def test_the_average_price_weighs_partial_fills(story):
    story.play(1)
    known = story.order_id(0, "buy", "AAA")
    moment, day = story.clock.now(), story.sessions[1]
    story.ledger.record(
        "paper",
        "paper",
        [
            Fill("P1", known, "AAA", Side.BUY, Decimal(10), Decimal("100"), Decimal("1"), day, moment),
            Fill("P2", known, "AAA", Side.BUY, Decimal(30), Decimal("102"), Decimal("0.5"), day, moment),
        ],
        [],
    )
    story.orders.move(known, OrderState.FILLED)
    row = next(row for row in tables.orders(story.journal) if row["client_order_id"] == known)
    # (10 x 100 + 30 x 102) / 40 = 101.5
    assert (row["fill_price"], row["filled_quantity"], row["fee"]) == (Decimal("101.5"), Decimal(40), Decimal("1.5"))


def test_a_rejection_says_what_the_venue_said(story):
    story.play(1)
    known = story.order_id(0, "buy", "AAA")
    story.orders.move(known, OrderState.REJECTED, "AAA is not listed here")
    row = next(row for row in tables.orders(story.journal) if row["client_order_id"] == known)
    assert (row["decision"], row["status"], row["reason"]) == (
        "approved", "rejected", "AAA is not listed here",
    )  # fmt: skip


def test_orders_can_be_cut_off_at_a_session(told):
    assert len(tables.orders(told.journal)) == 6
    assert len(tables.orders(told.journal, until=told.sessions[9])) == 4
    assert tables.orders(told.journal, account="other") == []


def test_positions_are_those_of_the_last_close_unless_a_session_is_named(told):
    last = tables.positions(told.journal)
    assert [(row["symbol"], row["quantity"], row["price"]) for row in last] == [
        ("AAA", Decimal(90), Decimal("59.5")),
        ("BBB", Decimal(50), Decimal("50")),
    ]
    assert [row["value"] for row in last] == [Decimal("5355.0"), Decimal("2500")]
    assert float(last[0]["weight"]) == 5355 / 10883.991
    (early, _) = tables.positions(told.journal, session=told.sessions[1])
    assert (early["quantity"], early["price"]) == (Decimal(40), Decimal(101))


def test_cash_and_equity_are_those_worked_out_by_hand(told):
    rows = tables.equity(told.journal, account="paper")
    by_session = [(row["cash"], row["equity"]) for row in rows]
    assert by_session[0] == (Decimal(10000), Decimal(10000))
    assert by_session[1] == (Decimal("1996.40"), Decimal("10036.40"))  # 40 x 101 + 80 x 50 = 8040
    assert by_session[7][0] == Decimal("2076.40")
    assert by_session[10] == (Decimal("1530.2910"), Decimal("10480.2910"))  # 90 x 55 + 80 x 50 = 8950
    assert by_session[19] == (Decimal("3028.9910"), Decimal("10883.9910"))
    assert rows[0]["return"] is None
    assert rows[1]["return"] == Decimal("0.00364")
    assert rows[0]["deposits"] == Decimal(10000)


def test_money_paid_in_is_no_return(story):
    story.play(2)
    moment, day = story.clock.now(), story.sessions[2]
    story.ledger.record(
        "paper", "paper", [], [Activity("D2", ActivityKind.DEPOSIT, "", day, Decimal(0), Decimal(5000), moment)]
    )
    story.play(3)
    last = tables.equity(story.journal)[-1]
    # 40 AAA gained 1 each on 10,036.40 + 5,000 at work
    assert (last["deposits"], last["equity"]) == (Decimal(5000), Decimal("15076.40"))
    assert last["return"] == Decimal("15076.40") / Decimal("15036.40") - 1


def test_runs_count_attempts_and_time_the_last_one(told):
    rows = tables.runs(told.journal, account="paper")
    assert len(rows) == 20
    assert [row["attempt"] for row in rows[4:7]] == [1, 2, 1]
    # the first attempt was lost after 60 s; the second took 4 s
    assert [row["seconds"] for row in rows[4:7]] == [4.0, 4.0, 4.0]
    assert rows[0]["parameters"] == {"top": 2}
    assert tables.runs(told.journal, pipeline="weekly") == []


def test_a_run_that_is_going_on_has_no_duration(story):
    story.play(1)
    story.journal._connection.execute("UPDATE runs SET ended_at=NULL, state='running'")
    assert tables.runs(story.journal)[0]["seconds"] is None


def test_activities_and_targets_and_fills_are_listed(told):
    assert [(row["kind"], row["symbol"], row["cash_delta"]) for row in tables.activities(told.journal)] == [
        ("deposit", "", Decimal(10000)),
        ("dividend", "BBB", Decimal(80)),
        ("split", "AAA", Decimal(0)),
    ]
    assert [row["weight"] for row in tables.targets(told.journal, session=told.sessions[3])] == [
        Decimal("0.5"), Decimal("0.25"), Decimal("0"),
    ]  # fmt: skip
    (fill,) = tables.fills_where(told.journal, "f.session = ?", [told.sessions[10].isoformat()])
    assert (fill["run_id"], fill["price"], fill["quantity"]) == ("daily-20130115", Decimal("54.5109"), Decimal(10))
