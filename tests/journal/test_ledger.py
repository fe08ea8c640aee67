from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.journals import AT, NEXT, SESSION, Desk, activity, fill

from workbench.domain import Activity, ActivityKind, Fill, Side
from workbench.errors import JournalError
from workbench.journal.ledger import NOBODY, Booked, Correction, Mark
from workbench.journal.orders import FLATTEN

D = Decimal
THIRD = date(2013, 1, 4)


def correction(
    kind: str,
    shares: str = "0",
    cash: str = "0",
    fill_id: str | None = None,
    *,
    symbol: str = "IBM",
    session: date = THIRD,
) -> Correction:
    return Correction(kind, symbol, session, D(shares), D(cash), "seen", fill_id)


def adopt(desk: Desk, *corrections: Correction) -> None:
    desk.ledger.correct("paper", "paper", corrections, "ada")


# ---- what the venue tells -------------------------------------------------------------------------


def test_a_fill_counts_once_however_often_the_venue_tells_it(desk: Desk) -> None:
    desk.proposed("c1")
    first, second = fill("f1", "60", "200"), fill("f2", "40", "201")
    assert desk.record(first) == (1, 0)
    assert desk.record(first, second) == (1, 0)
    assert desk.record(second, second, first) == (0, 0)
    books = desk.ledger.books("paper")
    # 60 x 200 + 40 x 201 = 20,040, and two fees of 1.
    assert books.cash == D(-20_042)
    assert books.holdings == {"IBM": D(100)}


def test_an_activity_counts_once_however_often_the_venue_tells_it(desk: Desk) -> None:
    paid = activity("a1", ActivityKind.DIVIDEND, "IBM", cash="85")
    desk.record(activities=[paid, paid])
    desk.record(activities=[paid])
    assert desk.ledger.books("paper").cash == 85


def test_executions_are_told_apart_ours_those_of_our_exits_and_those_of_others(desk: Desk) -> None:
    desk.proposed("c1")
    desk.ledger.add_leg("paper", "leg-1", "c1")
    desk.ledger.add_leg("paper", "leg-1", "c1")
    assert desk.ledger.legs("paper") == {"leg-1": "c1"}
    assert desk.ledger.legs("other") == {}
    stray = fill("f3", "5", "200", order="by-hand")
    assert desk.record(fill("f1", "100", "200"), fill("f2", "40", "210", Side.SELL, order="leg-1"), stray) == (2, 1)
    assert desk.record(stray) == (0, 0)
    assert [row["fill_id"] for row in desk.journal.read("SELECT fill_id FROM fills ORDER BY id")] == ["f1", "f2"]
    assert desk.ledger.external_fills("paper") == [stray]
    assert desk.ledger.external_fills("other") == []
    # 100 x 200 + 1 paid, 40 x 210 - 1 received; the stranger's 5 do not count
    assert desk.ledger.books("paper").cash == D(-11_602)
    assert desk.ledger.books("paper").holdings == {"IBM": D(60)}


def test_an_order_of_another_account_is_not_ours(desk: Desk) -> None:
    desk.proposed("c1")
    assert desk.ledger.record("other", "paper", [fill("f1", "100", "200")], []) == (0, 1)
    assert desk.ledger.books("other").holdings == {}


def test_a_leg_needs_an_order_of_ours(desk: Desk) -> None:
    with pytest.raises(JournalError, match="FOREIGN KEY"):
        desk.ledger.add_leg("paper", "leg-1", "nobody")


def test_the_same_execution_id_at_two_venues_or_in_two_accounts_is_two_executions(desk: Desk) -> None:
    for account, venue in (("paper", "paper"), ("paper", "alpaca"), ("other", "paper")):
        desk.ledger.record(account, venue, [], [activity("a1", ActivityKind.DEPOSIT, cash="10")])
    assert desk.ledger.books("paper").cash == 20
    assert desk.ledger.books("other").cash == 10


def test_the_cursor_moves_with_what_it_stands_for(desk: Desk) -> None:
    desk.proposed("c1")
    assert desk.ledger.cursor("paper", "paper") is None
    desk.record(fill("f1", "60", "200"), cursor="7")
    assert desk.ledger.cursor("paper", "paper") == "7"
    desk.record(fill("f2", "40", "200"))  # out of turn, from the drop copy
    assert desk.ledger.cursor("paper", "paper") == "7"
    desk.record(cursor="9")
    assert desk.ledger.cursor("paper", "paper") == "9"
    assert desk.ledger.cursor("paper", "alpaca") is None


@pytest.mark.parametrize("table", ["fills", "external_fills", "activities", "cursors"])
def test_a_record_that_fails_half_way_leaves_nothing_and_the_cursor_where_it_was(desk: Desk, table: str) -> None:
    desk.proposed("c1")
    desk.record(cursor="7")
    desk.journal._connection.execute(
        f"CREATE TRIGGER full BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    )
    feed = [fill("f1", "60", "200"), fill("f2", "5", "200", order="by-hand")]
    paid = activity("a1", ActivityKind.DIVIDEND, "IBM", cash="85")
    with pytest.raises(JournalError, match="the disk is full"):
        desk.record(*feed, activities=[paid], cursor="9")
    assert [desk.count(name) for name in ("fills", "external_fills", "activities")] == [0, 0, 0]
    assert desk.ledger.cursor("paper", "paper") == "7"
    desk.journal._connection.execute("DROP TRIGGER full")
    assert desk.record(*feed, activities=[paid], cursor="9") == (1, 1)
    assert desk.ledger.cursor("paper", "paper") == "9"


def test_what_an_account_held_when_it_was_first_seen_is_booked_once(desk: Desk) -> None:
    for _ in range(2):
        desk.ledger.record_opening("paper", "alpaca", SESSION, D("500.25"), {"IBM": D(10), "GE": D("-2.5")}, "c0")
    books = desk.ledger.books("paper")
    assert (books.cash, books.holdings) == (D("500.25"), {"GE": D("-2.5"), "IBM": D(10)})
    assert desk.ledger.cursor("paper", "alpaca") == "c0"


FEED = [
    Fill(
        f"f{n}", "c1" if n % 3 else "by-hand", ("IBM", "GE")[n % 2], (Side.BUY, Side.SELL)[n % 5 == 0],
        D(n + 1) / 4, D("10.25") + n, D(n) / 100, NEXT, AT,
    )
    for n in range(12)
]  # fmt: skip
PAID = [Activity(f"a{n}", ActivityKind.DIVIDEND, "IBM", NEXT, D(0), D(n) / 7, AT) for n in range(4)]


@settings(max_examples=40, deadline=None)
@given(
    calls=st.lists(
        st.tuples(st.lists(st.sampled_from(FEED), max_size=8), st.lists(st.sampled_from(PAID), max_size=3)), max_size=8
    )
)
def test_any_sequence_of_overlapping_feeds_gives_the_books_of_what_is_distinct(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[list[Fill], list[Activity]]]
) -> None:
    desk = Desk(tmp_path_factory.mktemp("feeds") / "journal.sqlite")
    desk.proposed("c1")
    new = [0, 0]
    for fills, activities in calls:
        ours, others = desk.record(*fills, activities=activities)
        new = [new[0] + ours, new[1] + others]
    seen = {one.fill_id: one for fills, _ in calls for one in fills}
    mine = [one for one in seen.values() if one.client_order_id == "c1"]
    received = {one.activity_id: one for _, activities in calls for one in activities}
    assert new == [len(mine), len(seen) - len(mine)]
    cash = sum((Fraction(one.cash_delta) for one in received.values()), Fraction(0))
    held: dict[str, Fraction] = {}
    for one in mine:
        sign = 1 if one.side == "buy" else -1
        cash -= sign * Fraction(one.quantity) * Fraction(one.price) + Fraction(one.fee)
        held[one.symbol] = held.get(one.symbol, Fraction(0)) + sign * Fraction(one.quantity)
    books = desk.ledger.books("paper")
    assert {symbol: Fraction(quantity) for symbol, quantity in books.holdings.items()} == {
        symbol: quantity for symbol, quantity in held.items() if quantity
    }
    assert abs(Fraction(books.cash) - cash) < Fraction(1, 10**20)
    assert {one.fill_id for one in desk.ledger.external_fills("paper")} == seen.keys() - {one.fill_id for one in mine}
    desk.close()


# ---- what an account holds ------------------------------------------------------------------------


def test_books_are_the_sum_of_fills_activities_and_corrections(desk: Desk) -> None:
    desk.proposed("c1")
    desk.record(
        fill("f1", "100", "200"),
        fill("f2", "200", "101", Side.SELL),
        activities=[
            activity("a1", ActivityKind.DEPOSIT, cash="100000"),
            activity("a2", ActivityKind.SPLIT, "IBM", "100"),
            activity("a3", ActivityKind.DIVIDEND, "IBM", cash="85"),
        ],
    )
    # 100,000 + 85 - (20,000 + 1) + (20,200 - 1); 100 bought, doubled by the split, 200 sold.
    assert desk.ledger.books("paper").cash == D(100_283)
    assert desk.ledger.books("paper").holdings == {}
    adopt(desk, correction("bust", "200", "-20199", "f2"), correction("cash", cash="-0.5", symbol=""))
    # the sale is taken back: 80,084 in cash, and half a dollar that nobody can explain
    assert desk.ledger.books("paper").cash == D("80083.5")
    assert desk.ledger.books("paper").holdings == {"IBM": D(200)}
    assert desk.ledger.books("other").holdings == {}


def two_strategies(desk: Desk) -> None:
    """60 IBM of momentum and 40 of value, and 20 that were there before."""
    desk.proposed("m1")
    desk.proposed("v1", strategy="value")
    desk.ledger.record_opening("paper", "paper", SESSION, D(0), {"IBM": D(20)}, "c0")
    desk.record(fill("f1", "60", "200", order="m1"), fill("f2", "40", "200", order="v1"))


def test_sleeves_keep_apart_what_each_strategy_holds(desk: Desk) -> None:
    two_strategies(desk)
    assert desk.ledger.sleeves("paper") == {
        NOBODY: {"IBM": D(20)}, "momentum": {"IBM": D(60)}, "value": {"IBM": D(40)},
    }  # fmt: skip
    assert desk.ledger.sleeves("other") == {}


def test_a_split_is_shared_out_by_what_each_strategy_held(desk: Desk) -> None:
    two_strategies(desk)
    desk.record(
        fill("f3", "10", "70", order="v1", session=THIRD),  # after the split, at the open of that session
        activities=[activity("s", ActivityKind.SPLIT, "IBM", "240", session=THIRD)],  # 3 for 1 on 120 shares
    )
    assert desk.ledger.sleeves("paper") == {
        NOBODY: {"IBM": D(60)}, "momentum": {"IBM": D(180)}, "value": {"IBM": D(130)},
    }  # fmt: skip


def test_the_rounding_of_a_split_loses_nothing(desk: Desk) -> None:
    desk.proposed("m1")
    desk.proposed("v1", strategy="value")
    desk.record(fill("f1", "1", "200", order="m1"), fill("f2", "2", "200", order="v1"))
    # 10 for 9 on 3 shares is 3 1/3; the venue keeps 3.333333333 and pays out the rest
    desk.record(activities=[activity("s", ActivityKind.SPLIT, "IBM", "0.333333333", session=THIRD)])
    sleeves = desk.ledger.sleeves("paper")
    assert sleeves["momentum"]["IBM"] + sleeves["value"]["IBM"] == D("3.333333333")
    assert sleeves["momentum"]["IBM"] == pytest.approx(D("1.111111111"))


def test_a_split_that_shrinks_takes_from_every_strategy_alike(desk: Desk) -> None:
    two_strategies(desk)
    desk.record(activities=[activity("s", ActivityKind.SPLIT, "IBM", "-90", session=THIRD)])  # 1 for 4
    assert desk.ledger.sleeves("paper") == {
        NOBODY: {"IBM": D(5)}, "momentum": {"IBM": D(15)}, "value": {"IBM": D(10)},
    }  # fmt: skip


def test_an_exit_belongs_to_the_strategy_of_its_entry_and_so_does_its_bust(desk: Desk) -> None:
    two_strategies(desk)
    desk.ledger.add_leg("paper", "leg-1", "v1")
    desk.record(fill("f3", "40", "190", Side.SELL, order="leg-1", session=THIRD))
    assert desk.ledger.sleeves("paper").get("value", {}) == {}
    adopt(desk, correction("bust", "40", "-7599", "f3"))
    assert desk.ledger.sleeves("paper")["value"] == {"IBM": D(40)}
    assert desk.ledger.sleeves("paper")["momentum"] == {"IBM": D(60)}


def test_adopted_trades_of_somebody_else_and_shares_out_of_the_blue_are_nobodys(desk: Desk) -> None:
    two_strategies(desk)
    desk.record(fill("h1", "7", "201", order="by-hand"))
    assert desk.ledger.sleeves("paper")[NOBODY] == {"IBM": D(20)}
    adopt(desk, correction("external", fill_id="h1", session=NEXT), correction("position", "3"))
    assert desk.ledger.sleeves("paper")[NOBODY] == {"IBM": D(30)}
    assert desk.ledger.sleeves("paper")["momentum"] == {"IBM": D(60)}


def test_a_busted_purchase_leaves_the_sleeve_of_its_strategy(desk: Desk) -> None:
    two_strategies(desk)
    adopt(desk, correction("bust", "-60", "12001", "f1"))
    assert "IBM" not in desk.ledger.sleeves("paper").get("momentum", {})
    assert desk.ledger.sleeves("paper")["value"] == {"IBM": D(40)}


def test_what_the_kill_switch_sells_leaves_every_sleeve(desk: Desk) -> None:
    two_strategies(desk)
    desk.proposed("flat", strategy="kill switch", kind=FLATTEN)
    desk.record(fill("f9", "60", "190", Side.SELL, order="flat", session=THIRD))  # half of the 120
    assert {name: sleeve["IBM"] for name, sleeve in desk.ledger.sleeves("paper").items()} == {
        NOBODY: D(10), "momentum": D(30), "value": D(20),
    }  # fmt: skip
    desk.record(fill("f10", "60", "190", Side.SELL, order="flat", session=THIRD))
    assert [sleeve for sleeve in desk.ledger.sleeves("paper").values() if sleeve] == []


HAPPENINGS = st.lists(
    st.tuples(st.sampled_from(["m1", "v1", "leg-1", "split", "bust", "position"]), st.integers(-40, 60)),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(happenings=HAPPENINGS)
def test_sleeves_always_add_up_to_the_books(
    tmp_path_factory: pytest.TempPathFactory, happenings: Sequence[tuple[str, int]]
) -> None:
    desk = Desk(tmp_path_factory.mktemp("sleeves") / "journal.sqlite")
    desk.proposed("m1")
    desk.proposed("v1", strategy="value")
    desk.ledger.add_leg("paper", "leg-1", "v1")
    for n, (what, amount) in enumerate(happenings):
        day = date(2013, 1, 3 + n)
        if what == "split":
            desk.record(activities=[activity(f"s{n}", ActivityKind.SPLIT, "IBM", str(D(amount) / 7), session=day)])
        elif what == "position":
            adopt(desk, correction("position", str(amount), session=day))
        elif what == "bust":
            known = [row for row in desk.journal.read("SELECT * FROM fills ORDER BY id")]
            if known:
                last = known[-1]
                gone = D(last["quantity"]) * (-1 if last["side"] == "buy" else 1)
                adopt(desk, correction("bust", str(gone), "0", last["fill_id"], session=day))
        elif amount:
            side = Side.BUY if amount > 0 else Side.SELL
            desk.record(fill(f"f{n}", str(abs(amount)), "10", side, order=what, session=day))
    total = sum((sleeve.get("IBM", D(0)) for sleeve in desk.ledger.sleeves("paper").values()), D(0))
    assert abs(total - desk.ledger.books("paper").holdings.get("IBM", D(0))) <= D("1e-20")
    desk.close()


# ---- corrections ----------------------------------------------------------------------------------


def test_an_execution_is_booked_with_every_correction_of_it(desk: Desk) -> None:
    desk.proposed("c1")
    desk.record(fill("f1", "100", "200"), fill("f2", "50", "210", Side.SELL, session=THIRD))
    assert desk.ledger.booked("paper", "paper", NEXT) == {
        "f1": Booked(fill("f1", "100", "200"), D(100), D(-20_001)),
        "f2": Booked(fill("f2", "50", "210", Side.SELL, session=THIRD), D(-50), D(10_499)),
    }
    adopt(desk, correction("correct", "-10", "2000", "f1"), correction("correct", "0", "90", "f1"))
    adopt(desk, correction("bust", "50", "-10499", "f2"))
    now = desk.ledger.booked("paper", "paper", NEXT)
    assert (now["f1"].quantity, now["f1"].cash) == (D(90), D(-17_911))
    assert (now["f2"].quantity, now["f2"].cash) == (D(0), D(0))
    assert now["f1"].fill == fill("f1", "100", "200")  # as the venue told it
    assert set(desk.ledger.booked("paper", "paper", THIRD)) == {"f2"}
    assert desk.ledger.booked("paper", "alpaca", NEXT) == {}
    assert desk.ledger.booked("other", "paper", NEXT) == {}


def test_an_adopted_execution_joins_the_fills_once(desk: Desk) -> None:
    stray = fill("h1", "7", "201", order="by-hand")
    desk.record(stray)
    adopt(desk, correction("external", fill_id="h1"))
    adopt(desk, correction("external", fill_id="h1"))
    assert desk.ledger.external_fills("paper") == []
    assert desk.ledger.booked("paper", "paper", NEXT) == {"h1": Booked(stray, D(7), D(-1408))}
    assert desk.ledger.books("paper").holdings == {"IBM": D(7)}
    assert desk.count("corrections") == 1
    desk.record(stray)  # told once more, it is known
    assert desk.ledger.books("paper").holdings == {"IBM": D(7)}


def test_adopting_what_nobody_has_seen_is_refused_and_nothing_else_is_corrected(desk: Desk) -> None:
    with pytest.raises(JournalError, match="account paper has no execution h9 of paper to adopt"):
        adopt(desk, correction("cash", cash="5", symbol=""), correction("external", fill_id="h9"))
    assert desk.ledger.books("paper").cash == 0
    assert desk.count("corrections") == 0


def test_an_adopted_execution_can_be_busted(desk: Desk) -> None:
    desk.record(fill("h1", "7", "201", order="by-hand"))
    adopt(desk, correction("external", fill_id="h1"), correction("bust", "-7", "1408", "h1"))
    assert (desk.ledger.books("paper").cash, desk.ledger.books("paper").holdings) == (D(0), {})


def test_shares_and_cash_are_corrected_on_record_with_who_and_why(desk: Desk) -> None:
    adopt(desk, correction("position", "12.5"), correction("cash", cash="-3.25", symbol=""))
    assert desk.ledger.books("paper").holdings == {"IBM": D("12.5")}
    assert desk.ledger.books("paper").cash == D("-3.25")
    rows = desk.journal.read("SELECT kind, symbol, session, reason, actor FROM corrections ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("position", "IBM", "2013-01-04", "seen", "ada"), ("cash", "", "2013-01-04", "seen", "ada"),
    ]  # fmt: skip


def test_an_overfill_is_acknowledged_by_order(desk: Desk) -> None:
    desk.proposed("c1")
    assert desk.ledger.acknowledged("paper") == set()
    adopt(desk, correction("overfill", fill_id="c1"))
    assert desk.ledger.acknowledged("paper") == {"c1"}
    assert desk.ledger.acknowledged("other") == set()
    assert desk.ledger.books("paper").holdings == {}


# ---- marks ----------------------------------------------------------------------------------------


def test_a_session_is_marked_once(desk: Desk) -> None:
    desk.ledger.mark("paper", SESSION, D(1000), {"IBM": (D(2), D(200))})
    desk.ledger.mark("paper", SESSION, D(9999), {})
    mark = desk.ledger.last_mark("paper")
    assert mark is not None
    assert (mark["cash"], mark["equity"]) == ("1000", "1400")
    assert desk.ledger.last_mark("other") is None


def test_the_last_mark_is_that_of_the_last_session_whenever_it_was_written(desk: Desk) -> None:
    for day in (THIRD, SESSION, NEXT):
        desk.ledger.mark("paper", day, D(day.day), {})
    mark = desk.ledger.last_mark("paper")
    assert mark is not None
    assert mark["session"] == "2013-01-04"


def test_the_curve_takes_deposits_and_withdrawals_as_flows(desk: Desk) -> None:
    friday, monday, tuesday = date(2013, 1, 4), date(2013, 1, 7), date(2013, 1, 8)
    desk.record(
        activities=[
            activity("a1", ActivityKind.DEPOSIT, cash="1000", session=SESSION),
            activity("a2", ActivityKind.DEPOSIT, cash="500", session=date(2013, 1, 5)),  # a Saturday
            activity("a3", ActivityKind.DEPOSIT, cash="-200", session=monday),
            activity("a4", ActivityKind.DIVIDEND, "IBM", cash="7", session=tuesday),
            activity("a5", ActivityKind.FEE, cash="-1", session=tuesday),
            activity("a6", ActivityKind.DEPOSIT, cash="40", session=date(2013, 1, 9)),  # not marked yet
        ]
    )
    for day, equity in ((SESSION, "1000"), (friday, "1010"), (monday, "1300"), (tuesday, "1306")):
        desk.ledger.mark("paper", day, D(equity), {})
    assert desk.ledger.curve("paper") == [
        Mark(SESSION, D(1000), D(1000)), Mark(friday, D(1010), D(0)), Mark(monday, D(1300), D(300)),
        Mark(tuesday, D(1306), D(0)),
    ]  # fmt: skip
    assert desk.ledger.curve("other") == []


def test_an_opening_balance_is_the_flow_of_the_first_mark(desk: Desk) -> None:
    desk.ledger.record_opening("paper", "alpaca", SESSION, D(500), {"IBM": D(10)}, "c0")
    desk.ledger.mark("paper", NEXT, D(500), {"IBM": (D(10), D(200))})
    desk.ledger.mark("paper", THIRD, D(500), {"IBM": (D(10), D(205))})
    assert desk.ledger.curve("paper") == [Mark(NEXT, D(2500), D(2500)), Mark(THIRD, D(2550), D(0))]
