"""The tables of the reports file: every column with type, unit and meaning, which the file carries too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# Raised whenever a table changes: an older file is filled again from the journal on the next projection.
VERSION = 1

# Twelve places hold every price the exchange makes; the journal keeps the exact text.
_MONEY = "DECIMAL(38,12)"


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class Table:
    name: str
    comment: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


_ACCOUNT = Column("account", "VARCHAR", "account traded")
_RUN = Column("run_id", "VARCHAR", "run that proposed it; NULL if none of ours did")
_PIPELINE = Column("pipeline", "VARCHAR", "pipeline of the run")
_SYMBOL = Column("symbol", "VARCHAR", "instrument")
_ORDER = Column("client_order_id", "VARCHAR", "id under which the order is known for ever")
_SIDE = Column("side", "VARCHAR", "buy or sell")
_DECIDED = Column("session", "DATE", "session whose close was decided on; orders fill at the next")
_HAPPENED = Column("session", "DATE", "session it happened in")
_MARKED = Column("session", "DATE", "session whose close it is valued at")

TABLES = (
    Table(
        "runs",
        "Pipeline runs, one row each, as they stand",
        ("run_id",),
        (
            Column("run_id", "VARCHAR", "id of the run"),
            _ACCOUNT,
            _PIPELINE,
            _DECIDED,
            Column("amendment", "INTEGER", "0, or the number of a deliberate further run of the session"),
            Column("state", "VARCHAR", "state of the run"),
            Column("attempt", "INTEGER", "how many times it was started"),
            Column("created_at", "TIMESTAMPTZ", "first claimed"),
            Column("ended_at", "TIMESTAMPTZ", "ended; NULL while it runs"),
            Column("seconds", "DOUBLE", "duration of the last attempt, s; NULL while it runs"),
            Column("exit_code", "INTEGER", "exit code; NULL while it runs"),
            Column("reason", "VARCHAR", "why it did not succeed"),
            Column("parameters", "JSON", "parameters it ran with"),
            Column("provenance", "JSON", "code, data and environment it ran on"),
            Column("folder", "VARCHAR", "where its notebooks are"),
        ),
    ),
    Table(
        "targets",
        "What a strategy wanted to hold",
        ("batch_id", "symbol"),
        (
            Column("batch_id", "VARCHAR", "one rebalance"),
            Column("run_id", "VARCHAR", "run that proposed it"),
            _ACCOUNT,
            _PIPELINE,
            _DECIDED,
            Column("strategy", "VARCHAR", "strategy"),
            _SYMBOL,
            Column("weight", "DOUBLE", "fraction of equity wanted"),
            Column("price", _MONEY, "raw close sized on, USD per share"),
            Column("held", _MONEY, "shares held before"),
            Column("quantity", _MONEY, "shares wanted"),
            Column("data_snapshot", "BIGINT", "lake snapshot decided on"),
        ),
    ),
    Table(
        "orders",
        "Orders proposed, with the decision of the risk gates and what filled",
        ("client_order_id",),
        (
            _ORDER,
            Column("run_id", "VARCHAR", "run that proposed it"),
            _ACCOUNT,
            _PIPELINE,
            _DECIDED,
            Column("strategy", "VARCHAR", "strategy"),
            _SYMBOL,
            _SIDE,
            Column("quantity", _MONEY, "shares ordered"),
            Column("type", "VARCHAR", "market or limit"),
            Column("limit_price", _MONEY, "USD per share; NULL for a market order"),
            Column("reference_price", _MONEY, "raw close sized on, USD per share"),
            Column("state", "VARCHAR", "denied is our refusal, rejected the venue's"),
            Column("approved", "BOOLEAN", "decision of the gates; NULL while undecided"),
            Column("gate", "VARCHAR", "gate that refused; NULL if none"),
            Column("reason", "VARCHAR", "why it was denied, rejected, cancelled or expired"),
            Column("filled_quantity", _MONEY, "shares filled"),
            Column("fill_price", _MONEY, "average over the fills, USD per share; NULL if none"),
            Column("fee", _MONEY, "fees of the fills, USD"),
            Column("fill_session", "DATE", "session of the last fill"),
        ),
    ),
    Table(
        "fills",
        "Executions",
        ("broker", "account", "fill_id"),
        (
            _ACCOUNT,
            Column("broker", "VARCHAR", "venue"),
            Column("fill_id", "VARCHAR", "id at the venue"),
            _ORDER,
            _RUN,
            _SYMBOL,
            _SIDE,
            Column("quantity", _MONEY, "shares"),
            Column("price", _MONEY, "USD per share"),
            Column("fee", _MONEY, "USD"),
            _HAPPENED,
            Column("executed_at", "TIMESTAMPTZ", "moment of execution at the venue"),
        ),
    ),
    Table(
        "activities",
        "Changes of shares or cash that are not trades: dividends, splits, cash in lieu, deposits",
        ("broker", "account", "activity_id"),
        (
            _ACCOUNT,
            Column("broker", "VARCHAR", "venue"),
            Column("activity_id", "VARCHAR", "id at the venue"),
            Column("kind", "VARCHAR", "dividend, split, cash_in_lieu or deposit"),
            Column("symbol", "VARCHAR", "instrument; empty for a deposit"),
            _HAPPENED,
            Column("quantity_delta", _MONEY, "change of shares held"),
            Column("cash_delta", _MONEY, "change of cash, USD"),
            Column("recorded_at", "TIMESTAMPTZ", "moment at the venue"),
        ),
    ),
    Table(
        "positions",
        "Holdings at each close",
        ("account", "session", "symbol"),
        (
            _ACCOUNT,
            _MARKED,
            _SYMBOL,
            Column("quantity", _MONEY, "shares held"),
            Column("price", _MONEY, "raw close, USD per share"),
            Column("value", _MONEY, "quantity x price, USD"),
            Column("weight", "DOUBLE", "fraction of equity"),
        ),
    ),
    Table(
        "equity",
        "Value of each account at each close",
        ("account", "session"),
        (
            _ACCOUNT,
            _MARKED,
            Column("cash", _MONEY, "USD"),
            Column("positions_value", _MONEY, "USD"),
            Column("equity", _MONEY, "cash + positions, USD"),
            Column("deposits", _MONEY, "paid in since the session before, USD"),
            Column("return", "DOUBLE", "simple return since the session before, deposits taken out"),
        ),
    ),
    Table(
        "metrics",
        "What each account is judged by, from its first marked session to its last",
        ("account", "metric"),
        (
            _ACCOUNT,
            Column("metric", "VARCHAR", "name; the definitions are in workbench.research.metrics"),
            Column("session", "DATE", "last session that counts"),
            Column("value", "DOUBLE", "USD if the name ends in _usd, else fraction or ratio; NULL: none"),
        ),
    ),
)

_VERSION_TABLE = "schema_version"


def ddl() -> Iterator[str]:
    """The statements that make every table anew, dropping what was there."""
    for table in TABLES:
        columns = ", ".join(f'"{column.name}" {column.type}' for column in table.columns)
        key = ", ".join(f'"{name}"' for name in table.key)
        yield f"CREATE OR REPLACE TABLE {table.name} ({columns}, PRIMARY KEY ({key}))"
        yield f"COMMENT ON TABLE {table.name} IS {_text(table.comment)}"
        for column in table.columns:
            yield f'COMMENT ON COLUMN {table.name}."{column.name}" IS {_text(column.comment)}'
    yield f"CREATE OR REPLACE TABLE {_VERSION_TABLE} (version INTEGER)"
    yield f"COMMENT ON TABLE {_VERSION_TABLE} IS 'Layout of this file, a projection of the order journal'"
    yield f"INSERT INTO {_VERSION_TABLE} VALUES ({VERSION})"
    yield "CREATE OR REPLACE TABLE watermarks (source VARCHAR PRIMARY KEY, last_id BIGINT, last_at VARCHAR)"
    yield "COMMENT ON TABLE watermarks IS 'Last row of each append-only journal table that is in here'"


def _text(words: str) -> str:
    return "'" + words.replace("'", "''") + "'"
