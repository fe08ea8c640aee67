"""alpaca-trade-api 3.2.0, unchanged, over a socket: every call of it that the exchange serves."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pandas as pd
import pytest
from alpaca_trade_api.rest import REST, APIError, TimeFrame, TimeFrameUnit
from brokers.http.board import D3, D4, D7, D8
from support.exchange_server import ExchangeServer


@pytest.fixture
def rest(server: ExchangeServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[REST]:
    monkeypatch.setenv("APCA_API_DATA_URL", server.url)
    monkeypatch.setenv("APCA_RETRY_MAX", "0")
    with REST(server.key, server.secret, server.url) as client:
        yield client


def test_an_order_is_sent_looked_up_and_filled(server: ExchangeServer, rest: REST):
    sent = rest.submit_order("AAPL", qty=10, side="buy", type="market", time_in_force="day", client_order_id="c1")
    assert (sent.status, sent.qty, sent.filled_qty, sent.symbol) == ("accepted", "10", "0", "AAPL")
    assert isinstance(sent.submitted_at, pd.Timestamp)
    assert rest.get_order_by_client_order_id("c1").id == rest.get_order(sent.id).id == sent.id
    server.advance(D3)
    filled = rest.get_order(sent.id)
    assert (filled.status, filled.filled_qty, filled.filled_avg_price) == ("filled", "10", "103")
    position = rest.get_position("AAPL")
    assert (position.qty, position.avg_entry_price, position.current_price) == ("10", "103", "108")
    assert (position.market_value, position.unrealized_pl, position.side) == ("1080", "50", "long")
    assert [p.symbol for p in rest.list_positions()] == ["AAPL"]
    account = rest.get_account()
    assert (account.cash, account.equity, account.last_equity) == ("98970", "100050", "100000")


def test_every_type_of_order_is_taken(server: ExchangeServer, rest: REST):
    rest.submit_order("AAPL", qty=20)
    server.advance(D3)
    limit = rest.submit_order("AAPL", qty=1, side="buy", type="limit", time_in_force="gtc", limit_price="90.5")
    stop = rest.submit_order("AAPL", qty=1, side="sell", type="stop", time_in_force="gtc", stop_price="90")
    both = rest.submit_order(
        "AAPL", qty=1, side="sell", type="stop_limit", time_in_force="day", stop_price="90", limit_price="89"
    )
    trail = rest.submit_order("AAPL", qty=1, side="sell", type="trailing_stop", time_in_force="gtc", trail_percent="5")
    by_value = rest.submit_order("MSFT", notional=1000, side="buy")
    at_close = rest.submit_order("MSFT", qty=1, side="buy", type="market", time_in_force="cls")
    at_open = rest.submit_order("MSFT", qty=1, side="buy", type="limit", time_in_force="opg", limit_price="25")
    assert (limit.limit_price, stop.stop_price, both.limit_price, trail.trail_percent) == ("90.5", "90", "89", "5")
    assert (by_value.notional, by_value.qty) == ("1000", None)
    assert len(rest.list_orders()) == 7
    server.open_market()
    assert rest.get_order(at_open.id).filled_avg_price == "20"
    assert rest.get_order(by_value.id).filled_qty == "50"
    assert rest.get_order(at_close.id).status == "new"
    server.close_market()
    assert rest.get_order(at_close.id).filled_avg_price == "21"


def test_a_bracket_has_two_legs_and_one_of_them_fills(server: ExchangeServer, rest: REST):
    entry = rest.submit_order(
        "AAPL", qty=10, side="buy", type="market", time_in_force="gtc", order_class="bracket",
        take_profit={"limit_price": "111"}, stop_loss={"stop_price": "95", "limit_price": "94"},
    )  # fmt: skip
    assert [leg.status for leg in entry.legs] == ["held", "held"]
    assert [leg.type for leg in entry.legs] == ["limit", "stop_limit"]
    server.advance(D3)  # opens at 103, high 110: no exit in reach
    assert [leg.status for leg in rest.get_order(entry.id).legs] == ["accepted", "accepted"]
    server.advance(D4)  # high 112
    assert [leg.status for leg in rest.get_order(entry.id).legs] == ["filled", "canceled"]
    assert rest.get_account().cash == str(100_000 - 10 * 103 + 10 * 111)


def test_an_order_is_replaced_and_cancelled(rest: REST):
    first = rest.submit_order("AAPL", qty=5, side="buy", type="limit", time_in_force="gtc", limit_price="90")
    second = rest.replace_order(first.id, qty="6", limit_price="91", client_order_id="second")
    assert (second.qty, second.limit_price, second.replaces, second.client_order_id) == ("6", "91", first.id, "second")
    old = rest.get_order(first.id)
    assert (old.status, old.replaced_by) == ("replaced", second.id)
    rest.cancel_order(second.id)
    assert rest.get_order(second.id).status == "canceled"
    assert rest.list_orders() == []
    assert {o.id for o in rest.list_orders(status="closed")} == {first.id, second.id}


def test_all_orders_are_cancelled_and_all_positions_closed(server: ExchangeServer, rest: REST):
    rest.submit_order("AAPL", qty=10)
    rest.submit_order("MSFT", qty=10)
    server.advance(D3)
    rest.submit_order("AAPL", qty=1, side="buy", type="limit", time_in_force="gtc", limit_price="50")
    rest.cancel_all_orders()
    assert rest.list_orders() == []
    assert rest.close_position("AAPL", qty=4).qty == "4"
    rest.cancel_all_orders()
    closing = rest.close_all_positions()
    assert {(c.symbol, c.status, c.body["side"], c.body["qty"]) for c in closing} == {
        ("AAPL", 200, "sell", "10"),
        ("MSFT", 200, "sell", "10"),
    }
    server.advance(D4)
    assert rest.list_positions() == []


def test_activities_tell_fills_dividends_splits_and_the_deposit(server: ExchangeServer, rest: REST):
    rest.submit_order("AAPL", qty=11)
    server.advance(D8)
    found = rest.get_activities(direction="asc")
    assert [a.activity_type for a in found] == ["CSD", "FILL", "SPLIT", "DIV"]
    assert (found[1].qty, found[1].price, found[1].side, found[1].type) == ("11", "103", "buy", "fill")
    assert (found[2].qty, found[2].symbol, found[3].net_amount) == ("11", "AAPL", "11")
    assert [a.symbol for a in rest.get_activities(activity_types="FILL")] == ["AAPL"]
    assert [a.id for a in rest.get_activities(activity_types=["DIV", "SPLIT"])] == [found[3].id, found[2].id]
    assert [a.activity_type for a in rest.get_activities(date="2013-01-07")] == ["SPLIT"]


def test_reference_data(server: ExchangeServer, rest: REST):
    assert [a.symbol for a in rest.list_assets(status="active")] == ["AAPL", "MSFT"]
    asset = rest.get_asset("AAPL")
    assert (asset.tradable, asset.fractionable, asset.status) == (True, True, "active")
    days = rest.get_calendar("2013-01-01", "2013-01-07")
    assert [str(day.date.date()) for day in days] == ["2013-01-02", "2013-01-03", "2013-01-04", "2013-01-07"]
    assert (str(days[0].open), str(days[0].close)) == ("09:30:00", "16:00:00")
    assert not rest.get_clock().is_open
    assert rest.get_clock().next_open == pd.Timestamp("2013-01-03 09:30", tz="America/New_York")
    server.open_market()
    clock = rest.get_clock()
    assert clock.is_open
    assert clock.next_close == pd.Timestamp("2013-01-03 16:00", tz="America/New_York")
    assert clock.next_open == pd.Timestamp("2013-01-04 09:30", tz="America/New_York")


def test_account_configuration_is_changed(rest: REST):
    assert rest.get_account_configurations().suspend_trade is False
    assert rest.update_account_configurations(suspend_trade=True).suspend_trade is True
    with pytest.raises(APIError, match="rejected by user request"):
        rest.submit_order("AAPL", qty=1)
    assert rest.get_account().trade_suspended_by_user


def test_the_equity_curve(server: ExchangeServer, rest: REST):
    rest.submit_order("AAPL", qty=10)
    server.advance(D4)
    history = rest.get_portfolio_history(period="1M", timeframe="1D")
    assert history.equity == [100_000, 100_050, 100_070]  # 10 shares from 103: 108, then 110
    assert history.profit_loss == [0, 50, 20]
    assert [str(day.date()) for day in history.df.index] == ["2013-01-02", "2013-01-03", "2013-01-04"]


def test_bars_quotes_trades_and_snapshots(server: ExchangeServer, rest: REST):
    server.advance(D7)
    frame = rest.get_bars("AAPL", TimeFrame.Day, "2013-01-01", "2013-12-31").df
    assert list(frame["close"]) == [102, 108, 110, 58]
    split = rest.get_bars("AAPL", TimeFrame.Day, "2013-01-01", "2013-12-31", adjustment="split").df
    assert list(split["close"]) == [51, 54, 55, 58]
    assert list(split["volume"]) == [2000, 4000, 6000, 4000]
    several = rest.get_bars(["AAPL", "MSFT"], TimeFrame.Day, "2013-01-03", "2013-01-04").df
    assert sorted(zip(several["symbol"], several["close"], strict=True)) == [
        ("AAPL", 108), ("AAPL", 110), ("MSFT", 21), ("MSFT", 21),
    ]  # fmt: skip
    assert rest.get_latest_bar("AAPL").c == 58
    assert rest.get_latest_bars(["AAPL", "MSFT"])["MSFT"].c == 21
    assert rest.get_latest_trade("AAPL").p == 58
    assert rest.get_latest_trades(["AAPL"])["AAPL"].p == 58
    quote = rest.get_latest_quote("AAPL")
    assert (quote.bp, quote.ap) == (58, 58)
    assert rest.get_latest_quotes(["AAPL"])["AAPL"].ap == 58
    snapshot = rest.get_snapshot("AAPL")
    assert (snapshot.daily_bar.c, snapshot.prev_daily_bar.c, snapshot.latest_trade.p) == (58, 110, 58)
    assert rest.get_snapshots(["AAPL", "MSFT"])["MSFT"].daily_bar.c == 21


def test_bars_come_in_pages(server: ExchangeServer, rest: REST):
    server.advance(D8)
    pages = rest._data_get(
        "bars", ["AAPL", "MSFT"], page_limit=3, limit=8, timeframe="1Day", start="2013-01-01", end="2013-12-31"
    )
    found = [(b["S"], b["t"][:10]) for b in pages]
    assert found == [("AAPL", f"2013-01-{day}") for day in ("02", "03", "04", "07", "08")] + [
        ("MSFT", f"2013-01-{day}") for day in ("02", "03", "04")
    ]


def test_minutes_are_refused_because_the_data_is_daily(rest: REST):
    with pytest.raises(APIError, match="daily bars"):
        rest.get_bars("AAPL", TimeFrame(5, TimeFrameUnit.Minute), "2013-01-02", "2013-01-03")


def test_an_error_carries_status_and_code(rest: REST):
    with pytest.raises(APIError, match="insufficient buying power") as caught:
        rest.submit_order("AAPL", qty=1_000_000)
    assert (caught.value.status_code, caught.value.code) == (403, 40310000)
    with pytest.raises(APIError) as caught:
        rest.get_position("AAPL")
    assert (caught.value.status_code, caught.value.code) == (404, 40410000)


def test_a_fraction_is_bought_and_sold_to_the_last_digit(server: ExchangeServer, rest: REST):
    rest.submit_order("MSFT", qty=0.123456789, side="buy")
    server.advance(D3)
    assert rest.get_position("MSFT").qty == "0.123456789"
    assert Decimal(rest.get_account().cash) == Decimal(100_000) - 20 * Decimal("0.123456789")
    rest.close_position("MSFT")
    server.advance(D4)
    assert rest.list_positions() == []
