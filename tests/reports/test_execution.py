"""What orders cost, worked out by hand.

All but the last few tests share one market, decided on at the close of 2013-01-02 and traded the session after:

======  ===========  ========================================  ==============================
symbol  close before  open, high, low, close of 2013-01-03      ex on 2013-01-03
======  ===========  ========================================  ==============================
AAA     100          101, 104, 100, 102 (typical 102)
BBB     50           49.5, 51, 48, 48.9 (typical 49.3)
SPL     90           31, 33, 30, 33 (typical 32)               3 for 1: the close was 30
DIV     40           39.2, 40, 38, 39 (typical 39)             1 USD: the close was 39
======  ===========  ========================================  ==============================
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from workbench.app import Workbench
from workbench.clock import ManualClock
from workbench.data.dataset import Dataset
from workbench.data.lake import Lake
from workbench.domain import Fill, OrderIntent, OrderState, OrderType, Side, TimeInForce, TradingState
from workbench.journal import Batch, Journal, Ledger, OrderJournal, Owner, RunJournal, RunKey
from workbench.journal.ledger import Correction
from workbench.reports.execution import by, executions, frame, worst
from workbench.reports.projection import project, rebuild
from workbench.settings import Settings

DECIDED, NEXT, THIRD, FOURTH = date(2013, 1, 2), date(2013, 1, 3), date(2013, 1, 4), date(2013, 1, 7)
# session, open, high, low, close
BARS = {
    "AAA": [(DECIDED, 99, 101, 98, 100), (NEXT, 101, 104, 100, 102), (THIRD, 103, 105, 101, 103),
            (FOURTH, 50, 53, 49, 54)],
    "BBB": [(DECIDED, 50, 51, 49, 50), (NEXT, 49.5, 51, 48, 48.9), (THIRD, 49, 49, 49, 49)],
    "SPL": [(DECIDED, 90, 90, 90, 90), (NEXT, 31, 33, 30, 33)],
    "DIV": [(DECIDED, 40, 40, 40, 40), (NEXT, 39.2, 40, 38, 39)],
    "OLD": [(date(2012, 10, 1), 7, 7, 7, 7), (NEXT, 10, 10, 10, 10)],
}  # fmt: skip
ACTIONS = [("SPL", NEXT, "split", 3.0), ("DIV", NEXT, "dividend", 1.0), ("AAA", FOURTH, "split", 2.0)]


def dataset(name: str, until: date = FOURTH, symbols: tuple[str, ...] = tuple(BARS)) -> Dataset:
    bars = [
        (symbol, pd.Timestamp(bar[0]), *map(float, bar[1:]), 1e6)
        for symbol in symbols
        for bar in BARS[symbol]
        if bar[0] <= until
    ]
    actions = [
        (symbol, pd.Timestamp(day), kind, value, "published")
        for symbol, day, kind, value in ACTIONS
        if symbol in symbols and day <= until
    ]
    return Dataset(
        pd.DataFrame(bars, columns=["symbol", "session", "open", "high", "low", "close", "volume"]),
        pd.DataFrame(actions, columns=["symbol", "ex_date", "kind", "value", "origin"]),
        name,
        name,
    )


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with Lake(tmp_path_factory.mktemp("market")) as lake:
        lake.load(dataset("whole"))
        yield lake


class Desk:
    """Orders written into a journal as gateway and venue would."""

    def __init__(self, journal: Journal, clock: ManualClock) -> None:
        self.journal, self.clock = journal, clock
        self.orders, self.ledger, self.runs = OrderJournal(journal), Ledger(journal), RunJournal(journal)
        self._fills = self._batches = 0

    def propose(self, *intents: OrderIntent, session: date = DECIDED) -> None:
        self._batches += 1
        run_id, strategy = f"run-{self._batches}", intents[0].strategy
        self.runs.claim(
            RunKey("paper", "daily", session, self._batches), Owner("host", 1, 1.0), run_id=run_id, folder="",
            parameters={}, provenance={}, steps=[],
        )  # fmt: skip
        batch = Batch(
            f"B{self._batches}", run_id, "paper", "daily", session, self._batches, strategy, Decimal(1), Decimal(1), 1
        )
        self.orders.propose(batch, [], intents)

    def approve(self, *identifiers: str) -> None:
        lease = self.runs.acquire("gateway:paper", Owner("host", 1, 1.0), 60)
        assert self.orders.authorize(identifiers, lease, TradingState.ACTIVE) is None

    def send(self, intent: OrderIntent, session: date = DECIDED) -> None:
        """Propose, approve 2 s later, and hear from the venue half a second after that."""
        self.propose(intent, session=session)
        self.clock.advance(2)
        self.approve(intent.client_order_id)
        self.clock.advance(0.5)
        self.orders.move(intent.client_order_id, OrderState.ACCEPTED)

    def fill(
        self,
        intent: OrderIntent,
        quantity: str,
        price: str,
        fee: str,
        *,
        session: date = NEXT,
        at: datetime | None = None,
    ) -> str:
        self._fills += 1
        identifier = f"F{self._fills}"
        at = at or datetime(session.year, session.month, session.day, 14, 30, tzinfo=UTC)
        done = Fill(
            identifier, intent.client_order_id, intent.symbol, intent.side, Decimal(quantity), Decimal(price),
            Decimal(fee), session, at,
        )  # fmt: skip
        self.ledger.record("paper", "exchange", [done], [], cursor=identifier)
        return identifier

    def end(self, intent: OrderIntent, state: OrderState = OrderState.FILLED) -> None:
        self.orders.move(intent.client_order_id, state)

    def mark(self, session: date) -> None:
        self.ledger.mark("paper", session, Decimal(100_000), {})


def order(name: str, side: str, quantity: str, symbol: str, reference: str, **more: object) -> OrderIntent:
    given = {"strategy": "momentum", **more}
    return OrderIntent(name, symbol, Side(side), Decimal(quantity), Decimal(reference), sequence=0, **given)


BOUGHT = order("bought", "buy", "100", "AAA", "100")
SOLD = order("sold", "sell", "200", "BBB", "50")
PART = order(
    "part", "buy", "100", "AAA", "100", strategy="reversal", type=OrderType.LIMIT, limit_price=Decimal("100.50")
)
UNFILLED = order(
    "unfilled", "sell", "10", "BBB", "50", strategy="reversal", type=OrderType.LIMIT, limit_price=Decimal(55)
)
SPLIT = order("split", "buy", "10", "SPL", "90")
DIVIDEND = order("dividend", "sell", "10", "DIV", "40")


@pytest.fixture
def desk(journal: Journal, clock: ManualClock) -> Desk:
    return Desk(journal, clock)


@pytest.fixture
def traded(desk: Desk) -> Desk:
    """Six orders of two strategies and what became of them the session after."""
    for sent in (BOUGHT, SOLD, PART, UNFILLED, SPLIT, DIVIDEND):
        desk.send(sent)
    desk.clock.advance(17 * 3600)
    desk.fill(BOUGHT, "100", "101.20", "0.50")
    desk.fill(SOLD, "150", "49.40", "0.75")
    desk.fill(SOLD, "50", "49.00", "0.25")
    desk.fill(PART, "40", "100.50", "0.20")
    desk.fill(SPLIT, "30", "31.10", "0.30")
    desk.fill(DIVIDEND, "10", "39.10", "0.10")
    for filled in (BOUGHT, SOLD, SPLIT, DIVIDEND):
        desk.end(filled)
    desk.end(PART, OrderState.EXPIRED)
    desk.end(UNFILLED, OrderState.EXPIRED)
    desk.mark(NEXT)
    return desk


def rows_of(desk: Desk, lake: Lake | None) -> dict[str, dict[str, object]]:
    return {row["client_order_id"]: row for row in executions(desk.journal, lake, account="paper")}


def shown(row: dict[str, object], *names: str) -> list[object]:
    """Values as they are, basis points to four places."""
    return [round(float(row[name]), 4) if name.endswith("bps") else row[name] for name in names]  # type: ignore[arg-type]


BPS = ("slippage_arrival_bps", "gap_bps", "slippage_open_bps", "slippage_vwap_bps", "fee_bps")
USD = ("delay_usd", "trading_usd", "fee", "opportunity_usd", "shortfall_usd")


def test_a_buy_is_held_against_arrival_open_and_average_price(traded, market):
    row = rows_of(traded, market)["bought"]
    prices = ("arrival_price", "open_price", "vwap_price", "fill_price", "reference_price")
    assert shown(row, *prices) == [Decimal(100), Decimal(101), Decimal(102), Decimal("101.20"), Decimal(100)]
    assert (row["arrival_source"], row["vwap_source"]) == ("close", "typical price")
    # 1.20/100, 1.00/100, 0.20/101, -0.80/102, 0.50/10120
    assert shown(row, *BPS) == [120.0, 100.0, 19.802, -78.4314, 0.4941]
    # 100 x 1.00 overnight, 100 x 0.20 of trading
    assert shown(row, *USD) == [Decimal(100), Decimal(20), Decimal("0.50"), Decimal(0), Decimal("120.50")]
    assert shown(row, "broker", "strategy", "pipeline", "session", "fill_session", "close_session") == [
        "exchange", "momentum", "daily", DECIDED, NEXT, None,
    ]  # fmt: skip
    assert shown(row, "quantity", "filled_quantity", "unfilled_quantity", "state", "final") == [
        Decimal(100), Decimal(100), Decimal(0), "filled", True,
    ]  # fmt: skip


def test_a_sale_in_several_executions_has_their_average_price_and_costs_where_it_got_less(traded, market):
    row = rows_of(traded, market)["sold"]
    # (150 x 49.40 + 50 x 49.00) / 200 = 49.30, which is also the typical price
    assert row["fill_price"] == Decimal("49.30")
    # 0.70/50, 0.50/50, 0.20/49.5, 0, 1.00/9860
    assert shown(row, *BPS) == [140.0, 100.0, 40.404, 0.0, 1.0142]
    assert shown(row, *USD) == [Decimal(100), Decimal(40), Decimal("1.00"), Decimal(0), Decimal(141)]
    assert f"{row['slippage_vwap_bps']:.1f}" == "0.0"  # and no minus in front


def test_what_did_not_fill_of_an_order_costs_what_the_market_did_until_the_close(traded, market):
    row = rows_of(traded, market)["part"]
    assert shown(row, "filled_quantity", "unfilled_quantity", "close_session", "close_price") == [
        Decimal(40), Decimal(60), NEXT, Decimal(102),
    ]  # fmt: skip
    # 40 x 1.00 overnight, 40 x -0.50 of trading, 60 x 2.00 missed: 40 x 0.50 + 0.20 + 120
    assert shown(row, *USD) == [Decimal(40), Decimal(-20), Decimal("0.20"), Decimal(120), Decimal("140.20")]


def test_an_order_that_did_not_fill_at_all_has_only_the_opportunity(traded, market):
    row = rows_of(traded, market)["unfilled"]
    assert shown(row, "fill_session", "close_session", "fill_price", "open_price", "vwap_source", "final") == [
        None, NEXT, None, None, None, True,
    ]  # fmt: skip
    # 10 x (50.00 - 48.90) that selling at once would have saved
    assert shown(row, *USD) == [Decimal(0), Decimal(0), Decimal(0), Decimal("11.0"), Decimal("11.0")]
    assert row["slippage_arrival_bps"] is None
    assert (row["broker"], row["time_in_force"], row["type"]) == ("exchange", "day", "limit")


def test_an_order_over_a_split_is_counted_in_new_shares(traded, market):
    row = rows_of(traded, market)["split"]
    assert shown(row, "quantity", "filled_quantity", "unfilled_quantity", "reference_price", "arrival_price") == [
        Decimal(30), Decimal(30), Decimal(0), Decimal(30), Decimal(30),
    ]  # fmt: skip
    # 1.10/30, 1.00/30, 0.10/31
    assert shown(row, *BPS)[:3] == [366.6667, 333.3333, 32.2581]
    assert shown(row, *USD) == [Decimal(30), Decimal("3.0"), Decimal("0.30"), Decimal(0), Decimal("33.30")]


def test_a_fall_by_the_dividend_is_not_a_cost_of_selling_later(traded, market):
    row = rows_of(traded, market)["dividend"]
    # 40 less 1.00 is 39; it opened 0.20 above that: -0.20/39, then 0.10/39.20
    assert shown(row, "arrival_price", "reference_price") == [Decimal(39), Decimal(40)]
    assert shown(row, *BPS)[:3] == [-25.641, -51.2821, 25.5102]


def test_moments_are_those_of_the_journal_and_the_venue(traded, market):
    row = rows_of(traded, market)["sold"]
    # the clock starts at 21:30; the order before took 2.5 s
    start = datetime(2013, 1, 2, 21, 30, tzinfo=UTC)
    assert [
        (row[name] - start).total_seconds() for name in ("decided_at", "approved_at", "acknowledged_at")
    ] == [2.5, 4.5, 5.0]  # fmt: skip
    assert row["first_fill_at"] == row["last_fill_at"] == datetime(2013, 1, 3, 14, 30, tzinfo=UTC)
    # 21:30:05 to 14:30 is 16 h 59 min 55 s
    assert shown(row, "decision_to_send_s", "send_to_ack_s", "ack_to_fill_s") == [2.0, 0.5, 61195.0]


def test_a_fill_that_a_simulated_venue_dates_before_the_order_has_no_waiting_time(desk, market):
    desk.send(BOUGHT)
    desk.fill(BOUGHT, "100", "101", "0", at=datetime(2013, 1, 2, 14, 30, tzinfo=UTC))
    assert rows_of(desk, market)["bought"]["ack_to_fill_s"] is None


def test_a_fill_before_its_acknowledgement_arrived_waited_for_nothing(desk, market):
    desk.send(BOUGHT)
    desk.fill(BOUGHT, "100", "101", "0", at=datetime(2013, 1, 2, 21, 30, 2, 100000, tzinfo=UTC))
    assert rows_of(desk, market)["bought"]["ack_to_fill_s"] == 0.0


def test_an_order_sent_again_counts_from_the_second_time(desk, market):
    desk.propose(BOUGHT)
    desk.approve("bought")
    desk.clock.advance(1)
    desk.orders.move("bought", OrderState.INTENDED, "the venue does not have it")
    desk.clock.advance(6)
    desk.approve("bought")
    desk.clock.advance(3)
    desk.orders.move("bought", OrderState.UNKNOWN, "no answer")
    desk.clock.advance(5)
    desk.orders.move("bought", OrderState.ACCEPTED)
    row = rows_of(desk, market)["bought"]
    assert shown(row, "decision_to_send_s", "send_to_ack_s", "ack_to_fill_s", "first_fill_at") == [7.0, 8.0, None, None]


def test_an_order_that_was_never_sent_is_left_out(desk, market):
    desk.propose(BOUGHT, SOLD)
    desk.approve("sold")
    assert list(rows_of(desk, market)) == ["sold"]


def test_an_order_that_may_still_fill_has_no_opportunity_yet(desk, market):
    desk.send(PART)
    desk.fill(PART, "40", "100.50", "0.20")
    desk.end(PART, OrderState.PARTIALLY_FILLED)
    row = rows_of(desk, market)["part"]
    assert shown(row, "unfilled_quantity", "opportunity_usd", "shortfall_usd", "close_session", "final") == [
        Decimal(60), None, None, None, False,
    ]  # fmt: skip
    assert row["trading_usd"] == Decimal(-20)


def test_a_rejected_order_is_valued_at_the_first_close_after_it(desk, market):
    desk.mark(DECIDED)
    desk.propose(BOUGHT)
    desk.approve("bought")
    desk.orders.move("bought", OrderState.REJECTED, "AAA is halted")
    row = rows_of(desk, market)["bought"]
    assert shown(row, "opportunity_usd", "close_session", "final") == [None, None, False]
    desk.mark(NEXT)
    row = rows_of(desk, market)["bought"]
    # 100 shares that went from 100 to 102
    assert shown(row, "opportunity_usd", "close_session", "final") == [Decimal(200), NEXT, True]


def test_fills_in_several_sessions_are_held_against_the_prices_of_each(desk, market):
    lasting = order("lasting", "buy", "40", "AAA", "100", time_in_force=TimeInForce.GTC)
    desk.send(lasting)
    desk.fill(lasting, "10", "101", "0")
    desk.fill(lasting, "20", "51.5", "0", session=FOURTH)
    desk.end(lasting, OrderState.CANCELED)
    desk.mark(FOURTH)
    row = rows_of(desk, market)["lasting"]
    # AAA split 2 for 1 in between: 10 old shares are 20 new ones at 50.50, and the 40 ordered are 80
    assert shown(row, "quantity", "filled_quantity", "unfilled_quantity", "reference_price", "fill_session") == [
        Decimal(80), Decimal(40), Decimal(40), Decimal(50), FOURTH,
    ]  # fmt: skip
    # paid 10 x 101 + 20 x 51.5 = 2040, opens 10 x 101 + 20 x 50 = 2010, arrival 10 x 100 + 20 x 50 = 2000,
    # typical 10 x 102 + 20 x (53 + 49 + 54) / 3 = 2060; over 40 new shares
    prices = ("fill_price", "open_price", "arrival_price", "vwap_price", "close_price")
    assert shown(row, *prices) == [Decimal(51), Decimal("50.25"), Decimal(50), Decimal("51.5"), Decimal(54)]
    assert shown(row, *USD) == [Decimal(10), Decimal("30.0"), Decimal(0), Decimal(160), Decimal("200.0")]


def test_a_busted_execution_counts_as_not_filled(traded, market):
    bust = Correction("bust", "BBB", NEXT, Decimal(50), Decimal("-2449.75"), "busted", "F3")
    traded.ledger.correct("paper", "exchange", [bust], "ann")
    row = rows_of(traded, market)["sold"]
    # 150 at 49.40 are left; 50 x 49.00 less the fee of 0.25 went back
    assert shown(row, "filled_quantity", "unfilled_quantity", "fill_price", "fee", "opportunity_usd") == [
        Decimal(150), Decimal(50), Decimal("49.40"), Decimal("0.75"), Decimal("55.0"),
    ]  # fmt: skip


def test_a_corrected_price_is_the_one_that_counts(traded, market):
    correction = Correction("correct", "AAA", NEXT, Decimal(0), Decimal("20"), "now 101.00", "F1")
    traded.ledger.correct("paper", "exchange", [correction], "ann")
    row = rows_of(traded, market)["bought"]
    assert shown(row, "fill_price", "trading_usd", "fee") == [Decimal(101), Decimal(0), Decimal("0.50")]


def test_the_rest_of_a_replaced_order_is_that_of_its_replacement(desk, market):
    desk.send(PART)
    desk.fill(PART, "40", "100.50", "0.20")
    better = order("better", "buy", "60", "AAA", "100", type=OrderType.LIMIT, limit_price=Decimal(101), replaces="part")
    desk.send(better)
    desk.end(PART, OrderState.CANCELED)
    rows = rows_of(desk, market)
    assert shown(rows["part"], "unfilled_quantity", "opportunity_usd", "final") == [Decimal(0), Decimal(0), True]
    assert rows["better"]["unfilled_quantity"] == Decimal(60)


def test_an_order_rounded_down_by_a_split_lacks_nothing_once_the_venue_calls_it_filled(desk, market):
    odd = order("odd", "buy", "0.5", "SPL", "90")
    desk.send(odd)
    desk.fill(odd, "1", "31", "0")
    desk.end(odd)
    assert shown(rows_of(desk, market)["odd"], "quantity", "unfilled_quantity") == [Decimal("1.5"), Decimal(0)]


def test_a_close_of_months_ago_is_no_arrival_price(desk, market):
    sleepy = order("sleepy", "buy", "10", "OLD", "9")
    desk.send(sleepy)
    desk.fill(sleepy, "10", "10", "0")
    desk.end(sleepy)
    row = rows_of(desk, market)["sleepy"]
    assert shown(row, "arrival_price", "arrival_source", "gap_bps") == [Decimal(9), "reference", 1111.1111]


@pytest.mark.parametrize("symbol", ["ZZZ", "BBB"])
def test_without_prices_up_to_the_fill_nothing_is_compared(desk, market, symbol):
    # ZZZ is not in the lake at all, BBB only up to two sessions before: a split may be missing
    stray = order("stray", "buy", "10", symbol, "50")
    desk.send(BOUGHT)
    desk.send(stray)
    desk.fill(stray, "10", "50.10", "1", session=FOURTH)
    desk.end(stray)
    row = rows_of(desk, market)["stray"]
    names = ("arrival_price", "arrival_source", "open_price", "slippage_arrival_bps", "shortfall_usd", "vwap_source")
    assert [row[name] for name in names] == [None] * 6
    assert shown(row, "fill_price", "filled_quantity", "fee", "final") == [
        Decimal("50.10"), Decimal(10), Decimal(1), False,
    ]  # fmt: skip
    assert rows_of(desk, market)["bought"]["arrival_price"] == Decimal(100)


def test_without_a_lake_times_and_fees_remain(traded, tmp_path):
    with Lake(tmp_path / "empty") as empty:
        for lake in (None, empty):
            row = rows_of(traded, lake)["bought"]
            assert shown(row, "fill_price", "fee", "send_to_ack_s") == [Decimal("101.20"), Decimal("0.50"), 0.5]
            assert row["slippage_open_bps"] is None


def test_orders_can_be_chosen_by_account_and_session(traded, market):
    assert len(executions(traded.journal, market, session=DECIDED)) == 6
    assert executions(traded.journal, market, session=NEXT) == []
    assert executions(traded.journal, market, until=date(2013, 1, 1)) == []
    assert executions(traded.journal, market, account="other") == []


# ---- summed up -----------------------------------------------------------------------------------


def test_a_summary_weighs_slippage_by_value(traded, market):
    table = by(frame(executions(traded.journal, market)), "strategy")
    assert table.index.tolist() == ["momentum", "reversal"]
    momentum, reversal = table.loc["momentum"], table.loc["reversal"]
    assert (momentum["orders"], reversal["orders"], reversal["waiting"]) == (4, 2, 0)
    # value at the open: 10100, 9900, 930, 392; cost of trading: 20, 40, 3, 1
    assert momentum["slippage_open_bps"] == pytest.approx(64 / 21322 * 1e4)
    # value at arrival: 10000, 10000, 900, 390; overnight: 100, 100, 30, -2
    assert momentum["gap_bps"] == pytest.approx(228 / 21290 * 1e4)
    assert momentum["slippage_arrival_bps"] == pytest.approx((228 + 64) / 21290 * 1e4)
    # at typical prices 10200, 9860, 960, 390; cost -80, 0, -27, -1
    assert momentum["slippage_vwap_bps"] == pytest.approx(-108 / 21410 * 1e4)
    # 10120 + 9860 + 933 + 391 traded, fees 0.50 + 1.00 + 0.30 + 0.10
    assert momentum["traded_usd"] == pytest.approx(21304)
    assert momentum["fee_bps"] == pytest.approx(1.90 / 21304 * 1e4)
    # 4000 of the 10000 + 500 wanted, at reference prices
    assert reversal["filled_share"] == pytest.approx(4000 / 10500)
    assert reversal["opportunity_usd"] == pytest.approx(131)
    assert reversal["shortfall_usd"] == pytest.approx(151.20)


def test_a_summary_knows_median_and_95th_percentile_of_each_time(desk, market):
    # acknowledged after 1, 2, 3, 4 and 10 s
    for n, seconds in enumerate((1, 2, 3, 4, 10)):
        name = f"o{n}"
        desk.propose(order(name, "buy", "1", "AAA", "100"))
        desk.approve(name)
        desk.clock.advance(seconds)
        desk.orders.move(name, OrderState.ACCEPTED)
    (row,) = by(frame(executions(desk.journal, market))).to_dict("records")
    # rank 0.95 x 4 = 3.8, between 4 and 10: 4 + 0.8 x 6
    assert (row["orders"], row["send_to_ack_median_s"], row["send_to_ack_p95_s"]) == (5, 3.0, pytest.approx(8.8))
    assert pd.isna(row["ack_to_fill_median_s"])
    assert (row["waiting"], row["traded_usd"]) == (5, 0.0)
    assert pd.isna(row["filled_share"])  # what may still fill is no failure
    assert pd.isna(row["slippage_open_bps"])


def test_a_summary_by_several_columns_has_a_row_for_each_combination(traded, market):
    table = by(frame(executions(traded.journal, market)), "broker", "symbol", "side")
    assert table.index.tolist() == [
        ("exchange", "AAA", "buy"), ("exchange", "BBB", "sell"), ("exchange", "DIV", "sell"),
        ("exchange", "SPL", "buy"),
    ]  # fmt: skip
    assert table["orders"].tolist() == [2, 2, 1, 1]


def test_the_worst_orders_come_first_and_gains_are_none(traded, market):
    orders = frame(executions(traded.journal, market))
    assert worst(orders, most=3).index.tolist() == ["sold", "part", "bought"]
    assert worst(orders, "trading_usd").index.tolist() == ["sold", "bought", "split", "dividend"]


def test_nothing_to_review_is_an_empty_frame_that_can_be_summed_up(journal, market):
    orders = frame(executions(journal, market))
    assert orders.empty
    assert orders["slippage_open_bps"].dtype == "float64"
    assert by(orders).empty
    assert by(orders, "broker", "strategy").empty
    assert worst(orders).empty


# ---- in the reports file -------------------------------------------------------------------------


def projected(file: Path) -> list[tuple[object, ...]]:
    with duckdb.connect(file, read_only=True) as connection:
        return connection.execute("SELECT * FROM execution ORDER BY client_order_id").fetchall()


def one(file: Path, sql: str) -> tuple[object, ...]:
    with duckdb.connect(file, read_only=True) as connection:
        return connection.execute(sql).fetchall()[0]


def test_the_reports_file_has_the_exact_numbers(traded, market, tmp_path):
    file = tmp_path / "reports.duckdb"
    assert project(traded.journal, file, lake=market).rows["execution"] == 6
    found = one(
        file, "SELECT fill_price, shortfall_usd, broker, final, ack_to_fill_s FROM execution WHERE symbol='SPL'"
    )
    # acknowledged at 21:30:12.5
    assert found == (Decimal("31.10"), Decimal("33.30"), "exchange", True, 61187.5)
    totals = one(file, "SELECT sum(delay_usd + trading_usd + fee + opportunity_usd), sum(shortfall_usd) FROM execution")
    assert totals[0] == totals[1]


def test_a_row_is_written_again_until_it_is_final(desk, tmp_path):
    file, late = tmp_path / "reports.duckdb", tmp_path / "late"
    with Lake(late) as lake:
        lake.load(dataset("early", until=DECIDED))
        desk.send(BOUGHT)
        assert project(desk.journal, file, lake=lake).rows["execution"] == 1
        desk.fill(BOUGHT, "100", "101.20", "0.50")
        desk.end(BOUGHT)
        assert project(desk.journal, file, lake=lake).rows["execution"] == 1
        assert one(file, "SELECT fill_price, open_price, final FROM execution") == (Decimal("101.2"), None, False)
        assert project(desk.journal, file, lake=lake).total == 0  # nothing new, no more prices
        lake.load(dataset("later"))
        written = project(desk.journal, file, lake=lake).rows
        assert {name: rows for name, rows in written.items() if rows} == {"execution": 1}
        assert one(file, "SELECT open_price, trading_usd, final FROM execution") == (Decimal(101), Decimal(20), True)
        lake.load(dataset("again", symbols=("BBB",)))
        desk.mark(NEXT)
        assert project(desk.journal, file, lake=lake).rows["execution"] == 0  # it is final


def test_prices_that_were_missing_in_one_call_are_filled_in_by_the_next(traded, market, tmp_path):
    file = tmp_path / "reports.duckdb"
    project(traded.journal, file, lake=market)
    traded.ledger.correct(
        "paper", "exchange", [Correction("correct", "AAA", NEXT, Decimal(0), Decimal(20), "now 101", "F1")], "ann"
    )
    assert project(traded.journal, file).rows["execution"] == 1
    assert one(file, "SELECT fill_price, open_price FROM execution WHERE client_order_id='bought'") == (101, None)
    project(traded.journal, file, lake=market)
    assert one(file, "SELECT trading_usd, open_price FROM execution WHERE client_order_id='bought'") == (0, 101)


def test_step_by_step_ends_where_a_rebuild_does(desk, market, tmp_path):
    file, whole = tmp_path / "reports.duckdb", tmp_path / "whole.duckdb"
    for sent in (BOUGHT, SOLD, PART, UNFILLED):
        desk.send(sent)
        project(desk.journal, file, lake=market)
    desk.fill(BOUGHT, "60", "101.20", "0.50")
    desk.end(BOUGHT, OrderState.PARTIALLY_FILLED)
    project(desk.journal, file, lake=market)
    desk.fill(BOUGHT, "40", "101.30", "0.50")
    desk.end(BOUGHT)
    desk.fill(PART, "40", "100.50", "0.20")
    desk.send(order("better", "buy", "60", "AAA", "100", replaces="part"))
    project(desk.journal, file, lake=market)
    desk.end(PART, OrderState.CANCELED)
    desk.end(UNFILLED, OrderState.EXPIRED)
    project(desk.journal, file, lake=market)
    desk.mark(NEXT)
    project(desk.journal, file, lake=market)
    desk.orders.move("better", OrderState.REJECTED)  # so the rest of the first one was lost after all
    desk.ledger.correct(
        "paper", "exchange", [Correction("bust", "AAA", NEXT, Decimal(-40), Decimal("4052.50"), "busted", "F2")], "ann"
    )
    project(desk.journal, file, lake=market)
    rebuild(desk.journal, whole, lake=market)
    assert projected(file) == projected(whole)
    assert one(file, "SELECT unfilled_quantity FROM execution WHERE client_order_id='part'") == (60,)
    assert one(file, "SELECT unfilled_quantity FROM execution WHERE client_order_id='bought'") == (40,)


def test_a_notebook_asks_the_workbench(traded, market, tmp_path):
    settings = Settings(home=tmp_path, config_file=tmp_path / "workbench.toml")
    opened = Workbench(settings, traded.clock)
    opened.__dict__.update(journal=traded.journal, lake=market)
    orders = opened.executions()
    assert orders.loc["bought", "trading_usd"] == 20.0
    assert orders.loc["bought", "fill_session"] == pd.Timestamp(NEXT)
    assert opened.executions("other").empty
    earlier = Workbench(settings, traded.clock, session=date(2012, 12, 31))
    earlier.__dict__.update(journal=traded.journal, lake=market)
    assert earlier.executions().empty
