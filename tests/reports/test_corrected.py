"""Reports after the books were corrected; what is expected is worked out in the conftest."""

from __future__ import annotations

from decimal import Decimal

import pytest

from workbench.domain import Activity, ActivityKind, Bracket, Fill, OrderIntent, OrderType, Side, TimeInForce
from workbench.journal import Batch
from workbench.journal.ledger import Correction
from workbench.reports import tables
from workbench.reports.projection import _metrics


def at(story, i):
    return {row["symbol"]: row for row in tables.positions(story.journal, session=story.sessions[i])}


def test_closes_before_a_correction_stay_as_they_were(told):
    before = tables.equity(told.journal)[:18]
    told.correct()
    assert tables.equity(told.journal)[:18] == before


def test_cash_and_equity_count_corrections_from_their_session_on(corrected):
    (eighteenth, last) = tables.equity(corrected.journal)[-2:]
    # 10,838.991 - 144 + 7 x 20.50
    assert (eighteenth["cash"], eighteenth["equity"]) == (Decimal("2884.991"), Decimal("10838.491"))
    # 93 x 59.50 + 80 x 50 + 7 x 20.50 = 9,677
    assert (last["cash"], last["positions_value"]) == (Decimal("1390.041"), Decimal("9677"))
    assert last["equity"] == Decimal("11067.041")
    assert last["return"] == Decimal("11067.041") / Decimal("10838.491") - 1
    assert last["cash"] == corrected.ledger.books("paper").cash


def test_positions_count_corrections(corrected):
    shares = {symbol: (row["quantity"], row["price"]) for symbol, row in at(corrected, 19).items()}
    assert shares == {
        "AAA": (Decimal(93), Decimal("59.5")),
        "BBB": (Decimal(80), Decimal(50)),
        "CCC": (Decimal(7), Decimal("20.5")),  # valued at what was paid: the mark has no price
    }
    assert {symbol: row["quantity"] for symbol, row in at(corrected, 19).items()} == corrected.ledger.books(
        "paper"
    ).holdings
    assert {symbol: row["quantity"] for symbol, row in at(corrected, 18).items()} == {"AAA": 90, "BBB": 50, "CCC": 7}
    assert float(at(corrected, 19)["BBB"]["weight"]) == pytest.approx(4000 / 11067.041, abs=1e-15)


def test_a_correction_that_was_known_at_the_close_is_not_counted_twice(story):
    story.play(19)
    story.adopt()
    story.play(20)  # the books that this session is marked with have the corrections
    assert {symbol: row["quantity"] for symbol, row in at(story, 19).items()} == {"AAA": 93, "BBB": 80, "CCC": 7}
    assert tables.equity(story.journal)[-1]["cash"] == Decimal("1390.041")


def test_a_position_that_a_correction_takes_away_is_not_listed(told):
    gone = Correction("position", "BBB", told.sessions[19], Decimal(-50), Decimal(0), "the venue has none")
    told.ledger.correct("paper", "paper", [gone], "ada")
    assert set(at(told, 19)) == {"AAA"}
    assert tables.equity(told.journal)[-1]["equity"] == Decimal("10883.991") - 2500


def test_shares_that_were_never_priced_are_listed_without_a_value(told):
    found = Correction("position", "ZZZ", told.sessions[19], Decimal(4), Decimal(0), "the venue has 4")
    told.ledger.correct("paper", "paper", [found], "ada")
    row = at(told, 19)["ZZZ"]
    assert (row["quantity"], row["price"], row["value"], row["weight"]) == (Decimal(4), None, None, None)
    assert tables.equity(told.journal)[-1]["equity"] == Decimal("10883.991")


def test_an_order_counts_its_fills_as_corrected(corrected):
    orders = {row["client_order_id"]: row for row in tables.orders(corrected.journal)}
    busted = orders[corrected.order_id(12, "sell", "BBB")]
    assert (busted["filled_quantity"], busted["fill_price"], busted["fee"]) == (0, None, 0)
    assert (busted["status"], busted["fill_session"]) == ("filled", None)
    cheaper = orders[corrected.order_id(9, "buy", "AAA")]
    assert (cheaper["filled_quantity"], cheaper["fill_price"], cheaper["fee"]) == (
        Decimal(10),
        Decimal("54.0109"),
        Decimal(1),
    )


def test_a_fill_corrected_to_fewer_shares_keeps_its_price(told):
    # 40 of the 80 BBB bought at 50.01 are taken back with what they cost.
    fewer = Correction("correct", "BBB", told.sessions[19], Decimal(-40), Decimal("2000.40"), "now 40", "F1-1")
    told.ledger.correct("paper", "paper", [fewer], "ada")
    row = next(r for r in tables.orders(told.journal) if r["client_order_id"] == told.order_id(0, "buy", "BBB"))
    assert (row["filled_quantity"], row["fill_price"], row["fee"]) == (Decimal(40), Decimal("50.01"), Decimal(1))


def test_fills_are_told_as_they_happened_and_counted_as_corrected(corrected):
    told = [
        (row["fill_id"], row["quantity"], row["run_id"]) for row in tables.fills_where(corrected.journal, "1=1", [])
    ]
    assert told == [
        ("F1-0", 40, "daily-20130102"),
        ("F1-1", 80, "daily-20130102"),
        ("F10-0", 10, "daily-20130115"),
        ("F13-0", 30, "daily-20130118"),
        ("H1", 7, None),
    ]
    counted = tables.counted_fills(corrected.journal, account="paper")
    assert [(row["quantity"], row["price"], row["fee"]) for row in counted] == [
        (40, Decimal("100.02"), 1),
        (80, Decimal("50.01"), 1),
        (10, Decimal("54.0109"), 1),
        (7, Decimal("20.5"), Decimal("0.5")),
    ]
    early = tables.counted_fills(corrected.journal, account="paper", until=corrected.sessions[9])
    assert [row["quantity"] for row in early] == [40, 80]


def test_metrics_count_what_counts(corrected):
    values = {row["metric"]: row["value"] for row in _metrics(corrected.journal, "paper")}
    assert values["fees_usd"] == 3.5
    assert values["total_return"] == pytest.approx(0.1067041, abs=1e-12)


def test_an_execution_of_somebody_else_counts_only_once_it_is_adopted(told):
    told.ledger.record("paper", "paper", [told.stray()], [])
    assert [row["fill_id"] for row in tables.fills_where(told.journal, "1=1", [])] == ["F1-0", "F1-1", "F10-0", "F13-0"]
    assert set(at(told, 19)) == {"AAA", "BBB"}
    assert len(tables.counted_fills(told.journal, account="paper")) == 4


def test_the_exit_of_a_bracket_has_the_run_of_its_entry(told):
    entry = told.order_id(9, "buy", "AAA")
    told.ledger.add_leg("paper", "leg-1", entry)
    stop = Fill(
        "L1", "leg-1", "AAA", Side.SELL, Decimal(2), Decimal(58), Decimal(0), told.sessions[19], told.clock.now()
    )
    told.ledger.record("paper", "paper", [stop], [])
    assert tables.fills_where(told.journal, "1=1", [])[-1]["run_id"] == "daily-20130115"
    order = next(row for row in tables.orders(told.journal) if row["client_order_id"] == entry)
    assert order["filled_quantity"] == Decimal(10)  # the exit is not a fill of the entry


def test_every_price_of_an_order_is_told(story):
    story.play(1)
    bracket = Bracket(Decimal("110"), Decimal("90.5"), Decimal("90"))
    intents = [
        OrderIntent(
            "t1", "AAA", Side.BUY, Decimal("1.5"), Decimal(100), "tickets", 0, OrderType.LIMIT, Decimal("99.95"),
            TimeInForce.GTC, notional_usd=Decimal("150"), bracket=bracket,
        ),
        OrderIntent(
            "t2", "AAA", Side.SELL, Decimal(1), Decimal(100), "tickets", 1, OrderType.TRAILING_STOP,
            trail_percent=Decimal("2.5"), replaces="t1",
        ),
        OrderIntent(
            "t3", "AAA", Side.SELL, Decimal(1), Decimal(100), "tickets", 2, OrderType.STOP_LIMIT, Decimal("94"),
            stop_price=Decimal("95"),
        ),
        OrderIntent(
            "t4", "AAA", Side.SELL, Decimal(1), Decimal(100), "tickets", 3, OrderType.TRAILING_STOP,
            trail_price=Decimal("3"),
        ),
    ]  # fmt: skip
    batch = Batch(
        "T", "daily-20130102", "paper", "daily", story.sessions[0], 0, "tickets", Decimal(1), Decimal(1), 1, "flatten"
    )
    story.orders.propose(batch, [], intents)
    names = (
        "kind", "type", "time_in_force", "limit_price", "stop_price", "trail_price", "trail_percent", "notional_usd",
        "replaces",
    )  # fmt: skip
    rows = {row["client_order_id"]: row for row in tables.orders(story.journal)}
    assert [tuple(rows[name][column] for column in names) for name in ("t1", "t2", "t3", "t4")] == [
        ("flatten", "limit", "gtc", Decimal("99.95"), None, None, None, Decimal(150), None),
        ("flatten", "trailing_stop", "day", None, None, None, Decimal("2.5"), None, "t1"),
        ("flatten", "stop_limit", "day", Decimal(94), Decimal(95), None, None, None, None),
        ("flatten", "trailing_stop", "day", None, None, Decimal(3), None, None, None),
    ]
    assert rows["t1"]["bracket"] == {"take_profit": "110", "stop_loss": "90.5", "stop_loss_limit": "90"}
    assert rows["t2"]["bracket"] is None


def test_what_an_account_held_when_it_was_first_seen_is_no_gain(story):
    day, later = story.sessions[0], story.sessions[1]
    story.ledger.record_opening("paper", "alpaca", day, Decimal(500), {"AAA": Decimal(5)}, "c0")
    story.ledger.mark("paper", day, Decimal(500), {"AAA": (Decimal(5), Decimal(100))})
    paid_out = Activity("W", ActivityKind.DEPOSIT, "", later, Decimal(0), Decimal(-200), story.clock.now())
    story.ledger.record("paper", "alpaca", [], [paid_out])
    story.ledger.mark("paper", later, Decimal(300), {"AAA": (Decimal(5), Decimal(104))})
    rows = tables.equity(story.journal)
    # 1,000 at the first close; 300 + 520 at the second, after 200 were taken out of 1,000
    assert [(row["equity"], row["deposits"]) for row in rows] == [(1000, 1000), (820, -200)]
    assert [row["return"] for row in rows] == [None, Decimal("0.025")]
