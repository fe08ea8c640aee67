"""alpaca-py 0.44, unchanged, over a socket: every call of it that the exchange serves."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockSnapshotRequest,
)
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderClass, OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)
from brokers.http.board import D3, D4, D7
from support.exchange_server import ExchangeServer


@pytest.fixture
def trading(server: ExchangeServer) -> TradingClient:
    return TradingClient(server.key, server.secret, url_override=server.url)


@pytest.fixture
def data(server: ExchangeServer) -> StockHistoricalDataClient:
    return StockHistoricalDataClient(server.key, server.secret, url_override=server.url)


def market_order(symbol: str, qty: float, side: OrderSide = OrderSide.BUY, **more: Any) -> MarketOrderRequest:
    return MarketOrderRequest(symbol=symbol, qty=qty, side=side, time_in_force=TimeInForce.DAY, **more)


def test_an_order_is_sent_looked_up_and_filled(server: ExchangeServer, trading: TradingClient):
    sent = trading.submit_order(market_order("AAPL", 10, client_order_id="c1"))
    assert sent.status is OrderStatus.ACCEPTED
    server.advance(D3)
    filled = trading.get_order_by_client_id("c1")
    assert filled.id == sent.id == trading.get_order_by_id(sent.id).id
    assert (filled.status, filled.filled_avg_price) == (OrderStatus.FILLED, "103")
    position = trading.get_open_position("AAPL")
    assert (position.qty, position.avg_entry_price) == ("10", "103")
    assert len(trading.get_all_positions()) == 1
    account = trading.get_account()
    assert (account.cash, account.equity, account.multiplier) == ("98970", "100050", "2")


def test_every_type_of_order_is_taken(server: ExchangeServer, trading: TradingClient):
    trading.submit_order(market_order("AAPL", 20))
    server.advance(D3)
    sell = {"symbol": "AAPL", "qty": 1, "side": OrderSide.SELL, "time_in_force": TimeInForce.GTC}
    requests = [
        LimitOrderRequest(**sell, limit_price=150),
        StopOrderRequest(**sell, stop_price=90),
        StopLimitOrderRequest(**sell, stop_price=90, limit_price=89.5),
        TrailingStopOrderRequest(**sell, trail_percent=5),
        TrailingStopOrderRequest(**sell, trail_price=2.5),
        MarketOrderRequest(symbol="MSFT", notional=250.5, side=OrderSide.BUY, time_in_force=TimeInForce.DAY),
        market_order("MSFT", 1.5),
    ]
    taken = [trading.submit_order(request) for request in requests]
    listed = trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN, direction="asc"))
    assert [o.id for o in listed] == [o.id for o in taken]
    assert [o.type.value for o in listed] == [
        "limit", "stop", "stop_limit", "trailing_stop", "trailing_stop", "market", "market",
    ]  # fmt: skip
    assert (listed[4].trail_price, listed[5].notional, listed[6].qty) == ("2.5", "250.5", "1.5")


def test_a_bracket_is_nested_or_flat_as_asked_for(server: ExchangeServer, trading: TradingClient):
    entry = trading.submit_order(
        market_order(
            "AAPL", 5, order_class=OrderClass.BRACKET, take_profit=TakeProfitRequest(limit_price=130),
            stop_loss=StopLossRequest(stop_price=95.5),
        )
    )  # fmt: skip
    assert [leg.status for leg in entry.legs] == [OrderStatus.HELD, OrderStatus.HELD]
    assert len(trading.get_orders(GetOrdersRequest(nested=True))) == 1
    flat = trading.get_orders(GetOrdersRequest(nested=False))
    assert {o.id for o in flat} == {entry.id, *(leg.id for leg in entry.legs)}
    assert all(o.legs is None for o in flat)
    assert all(o.order_class is OrderClass.BRACKET for o in flat)
    assert len(trading.get_order_by_id(entry.id, GetOrderByIdRequest(nested=True)).legs) == 2


def test_orders_are_filtered(trading: TradingClient):
    first = trading.submit_order(market_order("AAPL", 1))
    second = trading.submit_order(market_order("MSFT", 1))
    assert [o.id for o in trading.get_orders(GetOrdersRequest(symbols=["MSFT"]))] == [second.id]
    assert trading.get_orders(GetOrdersRequest(side=OrderSide.SELL)) == []
    assert [o.id for o in trading.get_orders(GetOrdersRequest(after=first.submitted_at))] == [second.id]
    assert [o.id for o in trading.get_orders(GetOrdersRequest(until=second.submitted_at))] == [first.id]
    assert [o.id for o in trading.get_orders(GetOrdersRequest(limit=1))] == [second.id]


def test_an_order_is_replaced_and_cancelled(trading: TradingClient):
    first = trading.submit_order(
        LimitOrderRequest(symbol="AAPL", qty=5, side=OrderSide.BUY, time_in_force=TimeInForce.GTC, limit_price=90)
    )
    second = trading.replace_order_by_id(first.id, ReplaceOrderRequest(qty=6, limit_price=91.25))
    assert (second.qty, second.limit_price, second.replaces) == ("6", "91.25", first.id)
    assert trading.get_order_by_id(first.id).status is OrderStatus.REPLACED
    trading.cancel_order_by_id(second.id)
    assert trading.get_order_by_id(second.id).status is OrderStatus.CANCELED
    third = trading.submit_order(market_order("AAPL", 1))
    assert [(c.id, c.status) for c in trading.cancel_orders()] == [(third.id, 200)]


def test_positions_are_closed_in_part_and_whole(server: ExchangeServer, trading: TradingClient):
    trading.submit_order(market_order("AAPL", 10))
    trading.submit_order(market_order("MSFT", 10))
    server.advance(D3)
    assert trading.close_position("AAPL", ClosePositionRequest(percentage="50")).qty == "5"
    assert trading.close_position("AAPL", ClosePositionRequest(qty="2")).qty == "2"
    answers = trading.close_all_positions(cancel_orders=True)
    assert [(a.symbol, a.status, a.body.qty) for a in answers] == [("AAPL", 200, "10"), ("MSFT", 200, "10")]
    refused = trading.close_all_positions(cancel_orders=False)
    assert [(a.status, a.body.code, a.body.available) for a in refused] == [(403, 40310000, 0.0)] * 2
    server.advance(D4)
    assert trading.get_all_positions() == []


def test_reference_data(trading: TradingClient):
    assert [a.symbol for a in trading.get_all_assets(GetAssetsRequest(status="active"))] == ["AAPL", "MSFT"]
    asset = trading.get_asset("MSFT")
    assert trading.get_asset(asset.id).symbol == "MSFT"
    days = trading.get_calendar(GetCalendarRequest(start=date(2012, 12, 24), end=date(2013, 1, 2)))
    assert [(day.date.day, day.close.hour) for day in days] == [
        (24, 13),
        (26, 16),
        (27, 16),
        (28, 16),
        (31, 16),
        (2, 16),
    ]
    assert len(trading.get_calendar()) > 9000
    assert trading.get_clock().is_open is False


def test_account_configuration_is_changed(trading: TradingClient):
    configuration = trading.get_account_configurations()
    configuration.suspend_trade = True
    assert trading.set_account_configurations(configuration).suspend_trade is True


def test_the_equity_curve(server: ExchangeServer, trading: TradingClient):
    trading.submit_order(market_order("AAPL", 10))
    server.advance(D4)
    history = trading.get_portfolio_history(
        GetPortfolioHistoryRequest(start=datetime(2013, 1, 2, tzinfo=UTC), cashflow_types="ALL")
    )
    assert history.equity == [100_000, 100_050, 100_070]
    assert [value for flow in history.cashflow.values() for value in flow] == [100_000, 0, 0]


def test_an_error_carries_status_and_code(trading: TradingClient):
    with pytest.raises(APIError) as caught:
        trading.submit_order(market_order("AAPL", 1, OrderSide.SELL))
    assert (caught.value.status_code, caught.value.code) == (403, 40310000)
    assert caught.value.message == "insufficient qty available for order (requested: 1, available: 0)"


def test_market_data(server: ExchangeServer, data: StockHistoricalDataClient):
    server.advance(D7)
    request = StockBarsRequest(
        symbol_or_symbols=["AAPL", "MSFT"], timeframe=TimeFrame.Day, start=datetime(2013, 1, 3), limit=5
    )
    bars = data.get_stock_bars(request)
    assert [(b.timestamp.day, b.close) for b in bars["AAPL"]] == [(3, 108), (4, 110), (7, 58)]
    assert [b.timestamp.day for b in bars["MSFT"]] == [3, 4]
    adjusted = StockBarsRequest(
        symbol_or_symbols="AAPL", timeframe=TimeFrame.Day, start=datetime(2013, 1, 4), adjustment=Adjustment.ALL
    )
    assert [b.close for b in data.get_stock_bars(adjusted)["AAPL"]] == [55, 58]
    assert data.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="AAPL"))["AAPL"].close == 58
    assert data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAPL"))["AAPL"].price == 58
    quote = data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="MSFT"))["MSFT"]
    assert (quote.bid_price, quote.ask_price) == (21, 21)
    snapshot = data.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="AAPL"))["AAPL"]
    assert (snapshot.daily_bar.close, snapshot.previous_daily_bar.close) == (58, 110)


def test_the_data_client_may_sign_in_by_basic_auth(server: ExchangeServer):
    client = StockHistoricalDataClient(server.key, server.secret, url_override=server.url, use_basic_auth=True)
    assert client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAPL"))["AAPL"].price == 102


def test_nothing_after_the_exchange_session_is_served(server: ExchangeServer, data: StockHistoricalDataClient):
    request = StockBarsRequest(
        symbol_or_symbols="AAPL", timeframe=TimeFrame.Day, start=datetime(2013, 1, 1), end=datetime(2013, 12, 31)
    )
    assert [b.timestamp.day for b in data.get_stock_bars(request)["AAPL"]] == [2]
    server.open_market()  # the session of the 3rd trades, its bar is not whole yet
    assert [b.timestamp.day for b in data.get_stock_bars(request)["AAPL"]] == [2]
    assert data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAPL"))["AAPL"].price == 103
    server.close_market()
    assert [b.timestamp.day for b in data.get_stock_bars(request)["AAPL"]] == [2, 3]
