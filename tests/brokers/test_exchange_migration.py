"""An account file of the first release, written down as it was then, opens and goes on."""

from __future__ import annotations

import sqlite3
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from brokers.contract_venue import MON, THU, TUE, WED
from support.markets import StaticMarket, bar

from workbench.brokers.exchange import schema
from workbench.brokers.market import CorporateAction
from workbench.brokers.matching import Costs
from workbench.brokers.paper import PaperExchange
from workbench.calendars import calendar
from workbench.domain import OrderState
from workbench.errors import BrokerUnavailable

FIRST_RELEASE = """
CREATE TABLE account (id INTEGER PRIMARY KEY CHECK (id = 1), name TEXT NOT NULL, cash TEXT NOT NULL,
    session TEXT) STRICT;
CREATE TABLE holdings (symbol TEXT PRIMARY KEY, quantity TEXT NOT NULL) STRICT;
CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, client_order_id TEXT NOT NULL UNIQUE,
    symbol TEXT NOT NULL, side TEXT NOT NULL, quantity TEXT NOT NULL, type TEXT NOT NULL, limit_price TEXT,
    time_in_force TEXT NOT NULL, state TEXT NOT NULL, filled_quantity TEXT NOT NULL DEFAULT '0',
    average_price TEXT, submitted TEXT NOT NULL) STRICT;
CREATE TABLE fills (id INTEGER PRIMARY KEY AUTOINCREMENT, client_order_id TEXT NOT NULL,
    symbol TEXT NOT NULL, side TEXT NOT NULL, quantity TEXT NOT NULL, price TEXT NOT NULL, fee TEXT NOT NULL,
    session TEXT NOT NULL, at TEXT NOT NULL) STRICT;
CREATE TABLE activities (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, symbol TEXT NOT NULL,
    session TEXT NOT NULL, quantity_delta TEXT NOT NULL, cash_delta TEXT NOT NULL, at TEXT NOT NULL) STRICT;
INSERT INTO account VALUES (1, 'paper', '98499', '2013-01-09');
INSERT INTO holdings VALUES ('SPL', '30'), ('IBM', '5');
INSERT INTO orders VALUES
    (1, 'c1', 'SPL', 'buy', '20', 'market', NULL, 'day', 'filled', '20', '50', '2013-01-07'),
    (2, 'c2', 'IBM', 'buy', '10', 'limit', '1', 'day', 'expired', '0', NULL, '2013-01-07'),
    (3, 'c3', 'IBM', 'buy', '5', 'market', NULL, 'day', 'filled', '5', '100', '2013-01-08'),
    (4, 'c4', 'IBM', 'sell', '5', 'market', NULL, 'day', 'accepted', '0', NULL, '2013-01-09'),
    (5, 'c5', 'SPL', 'sell', '12', 'limit', '40', 'day', 'accepted', '0', NULL, '2013-01-09');
INSERT INTO fills VALUES
    (1, 'c1', 'SPL', 'buy', '20', '50', '0.50', '2013-01-08', '2013-01-08T14:30:00+00:00'),
    (2, 'c3', 'IBM', 'buy', '5', '100', '0.50', '2013-01-09', '2013-01-09T14:30:00+00:00');
INSERT INTO activities VALUES
    (1, 'deposit', '', '2013-01-07', '0', '100000', '2013-01-07T14:30:00+00:00'),
    (2, 'split', 'SPL', '2013-01-09', '10', '0', '2013-01-09T14:30:00+00:00');
"""
DAYS = (MON, TUE, WED, THU)
HUNDRED = bar("100", "100", "100", "100")
MARKET = StaticMarket(
    {
        "IBM": dict.fromkeys(DAYS, HUNDRED),
        "SPL": {
            **dict.fromkeys((MON, TUE), bar("50", "50", "50", "50")),
            **dict.fromkeys((WED, THU), bar("34", "40", "33", "34")),
        },
    },
    {WED: [CorporateAction("SPL", "split", Decimal("1.5"))]},
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "paper.sqlite"
    db = sqlite3.connect(file)
    db.executescript(FIRST_RELEASE)
    db.close()
    return file


def start(file: Path) -> PaperExchange:
    return PaperExchange(
        file, account="paper", market=MARKET, calendar=calendar("XNYS"),
        costs=Costs(Decimal(0), Decimal("0.50"), Decimal(0)), starting_cash=Decimal(1), opened=date(2013, 1, 2),
    )  # fmt: skip


def test_an_account_of_the_first_release_goes_on(file: Path) -> None:
    start(file).close()
    broker = start(file)
    exchange = broker.exchange
    assert broker.account().holdings == {"IBM": Decimal(5), "SPL": Decimal(30)}
    assert [order.client_order_id for order in broker.open_orders()] == ["c4", "c5"]
    # 20 SPL at 50 cost 1,000 before the split and after it.
    assert {h.symbol: h.cost for h in exchange.holdings()} == {"IBM": Decimal(500), "SPL": Decimal(1000)}
    assert exchange.free_shares("SPL") == Decimal(18)
    first, second = broker.order("c1"), broker.order("c2")
    assert first is not None
    assert second is not None
    assert (first.state, first.average_price, first.filled_quantity) == (OrderState.FILLED, Decimal(50), Decimal(20))
    assert (second.state, second.average_price) == (OrderState.EXPIRED, None)
    # The ids that the journal knows executions by are still the same.
    feed = broker.feed(None)
    assert [fill.fill_id for fill in feed.fills] == ["f1", "f2"]
    assert [activity.activity_id for activity in feed.activities] == ["a1", "a2"]
    broker.advance(THU)
    # 98,499 + 5 x 100 + 12 x 40, less two fees.
    assert broker.account().cash == Decimal("99478")
    assert broker.account().holdings == {"SPL": Decimal(18)}
    broker.close()


def test_old_orders_get_a_time_of_their_session_and_an_id_each(file: Path) -> None:
    broker = start(file)
    records = broker.exchange.orders(newest_first=False)
    assert [record.order.client_order_id for record in records] == ["c1", "c2", "c3", "c4", "c5"]
    monday = datetime(2013, 1, 7, 21, tzinfo=UTC)
    assert [record.created_at for record in records][:2] == [monday, monday.replace(microsecond=1)]
    assert len({record.venue_id for record in records}) == 5
    assert records[0].filled_at == datetime(2013, 1, 8, 14, 30, tzinfo=UTC)
    assert broker.exchange.created_at == datetime(2013, 1, 7, 14, 30, tzinfo=UTC)
    for record in records:
        assert broker.exchange.order_by_venue_id(record.venue_id) == record
    broker.close()


def test_a_migration_that_fails_changes_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(db: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    before = list(_dump(file))
    monkeypatch.setattr(schema, "_lots", fail)
    with pytest.raises(BrokerUnavailable, match="disk is full"):
        start(file)
    assert list(_dump(file)) == before
    monkeypatch.undo()
    start(file).close()


def _dump(file: Path) -> list[str]:
    db = sqlite3.connect(file)
    lines = [*db.iterdump(), str(db.execute("PRAGMA user_version").fetchone())]
    db.close()
    return lines
