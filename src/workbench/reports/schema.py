"""The tables of the reports file: every column with type, unit and meaning, which the file carries too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# Raised whenever a table changes: an older file is filled again from the journal on the next projection.
VERSION = 5

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
_NUMBER = Column("id", "BIGINT", "number in the journal")
_ACTOR = Column("actor", "VARCHAR", "who or what put it on record")
_RECORDED = Column("recorded_at", "TIMESTAMPTZ", "put on record")
_MARKED = Column("session", "DATE", "session whose close it is valued at")

EXECUTION = Table(
    "execution",
    "What every order that was sent cost and how long it took; prices and shares are those of the session judged in",
    ("client_order_id",),
    (
        _ORDER,
        Column("run_id", "VARCHAR", "run that proposed it"),
        _ACCOUNT,
        Column("broker", "VARCHAR", "venue; NULL if the account has had several and nothing filled"),
        Column("strategy", "VARCHAR", "strategy"),
        _PIPELINE,
        _DECIDED,
        Column("fill_session", "DATE", "session of the last fill; NULL if nothing filled"),
        Column("close_session", "DATE", "session at whose close the rest is valued; NULL if there is none, or not yet"),
        _SYMBOL,
        _SIDE,
        Column("type", "VARCHAR", "market, limit, stop, stop_limit or trailing_stop"),
        Column("time_in_force", "VARCHAR", "day, gtc, opg or cls"),
        Column("state", "VARCHAR", "state of the order"),
        Column("quantity", _MONEY, "shares ordered"),
        Column("filled_quantity", _MONEY, "shares filled, corrections counted"),
        Column("unfilled_quantity", _MONEY, "shares that did not fill, or are still to fill"),
        Column("reference_price", _MONEY, "price it was sized on, USD per share"),
        Column("arrival_price", _MONEY, "market's price when it was sent, less dividends gone ex since, USD per share"),
        Column("arrival_source", "VARCHAR", "close, or reference where the lake has no recent close"),
        Column("open_price", _MONEY, "open of the session filled in, USD per share"),
        Column("vwap_price", _MONEY, "volume-weighted average price of the session filled in, USD per share"),
        Column("vwap_source", "VARCHAR", "typical price: (high + low + close) / 3 stands for it"),
        Column("fill_price", _MONEY, "average over the fills, USD per share; NULL if none"),
        Column("close_price", _MONEY, "close that the rest is valued at, USD per share"),
        Column("fee", _MONEY, "fees of the fills, USD"),
        Column("decided_at", "TIMESTAMPTZ", "proposed"),
        Column("approved_at", "TIMESTAMPTZ", "approved by the gates, to be sent at once"),
        Column("acknowledged_at", "TIMESTAMPTZ", "first answer of the venue; NULL if none"),
        Column("first_fill_at", "TIMESTAMPTZ", "first fill by the venue's clock, which a simulated venue sets back"),
        Column("last_fill_at", "TIMESTAMPTZ", "last fill by the venue's clock"),
        Column("decision_to_send_s", "DOUBLE", "from proposed to approved, s"),
        Column("send_to_ack_s", "DOUBLE", "from approved to the first answer, s"),
        Column("ack_to_fill_s", "DOUBLE", "from the first answer to the first fill, s; NULL if its time is simulated"),
        Column("slippage_arrival_bps", "DOUBLE", "fill against arrival, basis points; positive is a cost, as below"),
        Column("gap_bps", "DOUBLE", "open against arrival, basis points: the move overnight"),
        Column("slippage_open_bps", "DOUBLE", "fill against the open, basis points"),
        Column("slippage_vwap_bps", "DOUBLE", "fill against the average price, basis points"),
        Column("fee_bps", "DOUBLE", "fees over the value traded, basis points"),
        Column("delay_usd", _MONEY, "filled shares, from arrival to the open, USD"),
        Column("trading_usd", _MONEY, "filled shares, from the open to the fill, USD"),
        Column("opportunity_usd", _MONEY, "unfilled shares, from arrival to the close, USD; NULL while it may fill"),
        Column("shortfall_usd", _MONEY, "implementation shortfall: delay + trading + fee + opportunity, USD"),
        Column("final", "BOOLEAN", "whether the order has ended and its prices were known: nothing is still to come"),
    ),
)

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
            Column("kind", "VARCHAR", "plan, or flatten for an order of the kill switch"),
            _SYMBOL,
            _SIDE,
            Column("quantity", _MONEY, "shares ordered"),
            Column("type", "VARCHAR", "market, limit, stop, stop_limit or trailing_stop"),
            Column("time_in_force", "VARCHAR", "day, gtc, opg or cls"),
            Column("limit_price", _MONEY, "USD per share; NULL for an order without a limit"),
            Column("stop_price", _MONEY, "USD per share; NULL for an order without a stop"),
            Column("trail_price", _MONEY, "distance of a trailing stop, USD per share; NULL if there is none"),
            Column("trail_percent", _MONEY, "distance of a trailing stop, 1 is one per cent; NULL if there is none"),
            Column("notional_usd", _MONEY, "amount asked for instead of shares, USD; NULL if none was"),
            Column("bracket", "JSON", "exits that stand once it fills: prices, USD per share; NULL without them"),
            Column("replaces", "VARCHAR", "order whose place it takes; NULL if it takes none"),
            Column("reference_price", _MONEY, "raw close sized on, USD per share"),
            Column("state", "VARCHAR", "denied is our refusal, rejected the venue's"),
            Column("approved", "BOOLEAN", "decision of the gates; NULL while undecided"),
            Column("gate", "VARCHAR", "gate that refused; NULL if none"),
            Column("reason", "VARCHAR", "why it was denied, rejected, cancelled or expired"),
            Column("filled_quantity", _MONEY, "shares filled, corrections counted"),
            Column("fill_price", _MONEY, "average over the fills, corrections counted, USD per share; NULL if none"),
            Column("fee", _MONEY, "fees of the fills, USD"),
            Column("fill_session", "DATE", "session of the last fill"),
        ),
    ),
    Table(
        "fills",
        "Executions as the venue told them; corrections change what counts of them",
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
    EXECUTION,
    Table(
        "activities",
        "Changes of shares or cash that are not trades: dividends, splits, fees, deposits, the opening balance",
        ("broker", "account", "activity_id"),
        (
            _ACCOUNT,
            Column("broker", "VARCHAR", "venue"),
            Column("activity_id", "VARCHAR", "id at the venue"),
            Column("kind", "VARCHAR", "dividend, split, cash_in_lieu, deposit, fee, interest, opening or other"),
            Column("symbol", "VARCHAR", "instrument; empty if it concerns cash alone"),
            _HAPPENED,
            Column("quantity_delta", _MONEY, "change of shares held"),
            Column("cash_delta", _MONEY, "change of cash, USD"),
            Column("recorded_at", "TIMESTAMPTZ", "moment at the venue"),
        ),
    ),
    Table(
        "corrections",
        "Changes of the books on a person's word; with fills and activities they add up to what is held",
        ("id",),
        (
            _NUMBER,
            _ACCOUNT,
            Column("kind", "VARCHAR", "bust, correct, external (adopted), position, cash or overfill"),
            Column("fill_id", "VARCHAR", "execution, or for an overfill order, it is about; NULL if none"),
            Column("symbol", "VARCHAR", "instrument; empty if it concerns cash alone"),
            Column("session", "DATE", "session it belongs to"),
            Column("quantity_delta", _MONEY, "change of shares held; an adopted execution is in fills"),
            Column("cash_delta", _MONEY, "change of cash, USD; an adopted execution is in fills"),
            Column("reason", "VARCHAR", "what differed"),
            _ACTOR,
            _RECORDED,
        ),
    ),
    Table(
        "external_fills",
        "Executions of orders that are not ours; they count once adopted",
        ("broker", "account", "fill_id"),
        (
            _ACCOUNT,
            Column("broker", "VARCHAR", "venue"),
            Column("fill_id", "VARCHAR", "id at the venue"),
            Column("client_order_id", "VARCHAR", "id of the order at the venue"),
            _SYMBOL,
            _SIDE,
            Column("quantity", _MONEY, "shares"),
            Column("price", _MONEY, "USD per share"),
            Column("fee", _MONEY, "USD"),
            _HAPPENED,
            Column("executed_at", "TIMESTAMPTZ", "moment of execution at the venue"),
            Column("adopted", "BOOLEAN", "whether it is in fills, too, and counts"),
        ),
    ),
    Table(
        "legs",
        "Exits that the venue made of our brackets",
        ("account", "client_order_id"),
        (
            _ACCOUNT,
            Column("client_order_id", "VARCHAR", "id of the exit at the venue"),
            Column("parent", "VARCHAR", "our order that it is an exit of"),
            _RECORDED,
        ),
    ),
    Table(
        "trading_states",
        "Halts, breakers and their ends; for each account and cause the last one stands",
        ("id",),
        (
            _NUMBER,
            Column("account", "VARCHAR", "account; * for every one"),
            Column("state", "VARCHAR", "active, reducing or halted"),
            Column("cause", "VARCHAR", "hand, breaker:NAME, or what else set it"),
            Column("reason", "VARCHAR", "why"),
            _ACTOR,
            _RECORDED,
        ),
    ),
    Table(
        "locks",
        "Symbols that reconciliation locked and freed; for each account and symbol the last one stands",
        ("id",),
        (
            _NUMBER,
            _ACCOUNT,
            Column("symbol", "VARCHAR", "instrument; * for all of them"),
            Column("locked", "BOOLEAN", "whether it takes no orders"),
            Column("reason", "VARCHAR", "what differed, and the way out"),
            _ACTOR,
            _RECORDED,
        ),
    ),
    Table(
        "reconciliations",
        "Comparisons of the books with the venue",
        ("id",),
        (
            _NUMBER,
            _ACCOUNT,
            Column("moment", "VARCHAR", "start, open, end or asked"),
            Column("agrees", "BOOLEAN", "whether nothing differed"),
            Column("differences", "JSON", "what differed"),
            _RECORDED,
        ),
    ),
    Table(
        "quality",
        "Verdicts on the data that runs and people looked at; of a snapshot and its symbols the last one stands",
        ("id",),
        (
            _NUMBER,
            Column("run_id", "VARCHAR", "run that asked; empty if a person did"),
            Column("snapshot", "BIGINT", "lake snapshot judged"),
            Column("session", "DATE", "session decided on; NULL: all of history"),
            Column("symbols", "JSON", "symbols judged, sorted"),
            Column("verdict", "VARCHAR", "pass, warn or block"),
            Column("found", "INTEGER", "findings that count"),
            Column("findings", "JSON", "the gravest of them: symbol, sessions, rule, severity, detail"),
            Column("accepted", "JSON", "findings that do not count, each with who accepted it and why"),
            _RECORDED,
        ),
    ),
    Table(
        "acceptances",
        "Findings of the quality rules that people said they can live with, and what was taken back",
        ("id",),
        (
            _NUMBER,
            Column("rule", "VARCHAR", "quality rule"),
            _SYMBOL,
            Column("first", "DATE", "first session covered"),
            Column("last", "DATE", "last session covered"),
            Column("why", "VARCHAR", "why it is harmless"),
            Column("until", "DATE", "last day on which it counts"),
            _ACTOR,
            _RECORDED,
            Column("revoked_by", "VARCHAR", "who took it back; NULL if it stands"),
            Column("revoked_why", "VARCHAR", "why"),
            Column("revoked_at", "TIMESTAMPTZ", "when"),
        ),
    ),
    Table(
        "positions",
        "Holdings at each close, corrections counted",
        ("account", "session", "symbol"),
        (
            _ACCOUNT,
            _MARKED,
            _SYMBOL,
            Column("quantity", _MONEY, "shares held"),
            Column("price", _MONEY, "raw close, USD per share; NULL if it was never priced"),
            Column("value", _MONEY, "quantity x price, USD; NULL without a price"),
            Column("weight", "DOUBLE", "fraction of equity; NULL without a price"),
        ),
    ),
    Table(
        "equity",
        "Value of each account at each close, corrections counted",
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
    Table(
        "sweeps",
        "Every parameter combination tried in research, one row each, from the ledger of trials",
        ("sweep_id", "number"),
        (
            Column("sweep_id", "VARCHAR", "sweep or backtest it belongs to"),
            Column("number", "BIGINT", "number of the combination in it"),
            Column("at", "TIMESTAMPTZ", "put on record"),
            Column("strategy", "VARCHAR", "strategy"),
            Column("symbols", "JSON", "symbols traded, sorted"),
            Column("parameters", "JSON", "all parameters of the strategy"),
            Column("first_session", "DATE", "first session simulated"),
            Column("last_session", "DATE", "last session simulated"),
            Column("sessions", "BIGINT", "sessions simulated"),
            Column("snapshot", "BIGINT", "snapshot of the lake; 0 for bars from elsewhere"),
            Column("total_return", "DOUBLE", "simple return over all sessions"),
            Column("sharpe_per_session", "DOUBLE", "mean over standard deviation of the returns, not annualised"),
            Column("sortino", "DOUBLE", "annualised; NULL: not defined, as below"),
            Column("max_drawdown", "DOUBLE", "deepest fall below the highest close so far, zero or negative"),
            Column("trades", "BIGINT", "closed trades"),
            Column("win_rate", "DOUBLE", "fraction of the closed trades that gained after fees"),
            Column("exposure", "DOUBLE", "mean invested fraction of equity"),
            Column("flag", "VARCHAR", "what makes it worthless, such as exploding equity; empty if nothing"),
            Column("engine", "VARCHAR", "program that computed it"),
            Column("assumptions", "JSON", "costs and conventions"),
        ),
    ),
    Table(
        "profiles",
        "Looks at the machine, one row each; from files below data/hardware, not from the journal",
        ("measured_at",),
        (
            Column("measured_at", "TIMESTAMPTZ", "when it was looked at"),
            Column("cpu", "VARCHAR", "model of the processor"),
            Column("cores", "DOUBLE", "cores that could be used, limits counted"),
            Column("memory_bytes", "BIGINT", "memory that could be used, limits counted"),
            Column("disk", "VARCHAR", "kind of the disk of the data folder"),
            Column("fsync_ms", "DOUBLE", "median of a durable write, ms"),
            Column("gflops", "DOUBLE", "10^9 operations of float64 a second, on all cores"),
            Column("memory_gb_per_s", "DOUBLE", "10^9 bytes copied a second, read and written, on all cores"),
            Column("scan_rows_per_s", "DOUBLE", "rows of daily bars a second that DuckDB aggregates"),
            Column("sweep_bars_per_s", "DOUBLE", "combinations x bars of a sweep a second; NULL after a quick look"),
            Column("zipline_year_s", "DOUBLE", "a year of zipline, s; NULL after a quick look"),
            Column("notebook_s", "DOUBLE", "a notebook of one cell on a warm helper, s; NULL after a quick look"),
            Column("order_ms", "DOUBLE", "an order from proposal to answer, ms; NULL after a quick look"),
            Column("details", "JSON", "all of it, as it was kept"),
        ),
    ),
    Table(
        "latency",
        "Measured ways to venues, one row for each target; from files below data/hardware, not from the journal",
        ("measured_at", "target", "source"),
        (
            Column("measured_at", "TIMESTAMPTZ", "when it was measured"),
            Column("target", "VARCHAR", "as it was named"),
            Column("source", "VARCHAR", "local address left by; empty if none was asked for"),
            Column("address", "VARCHAR", "address that answered; NULL if none did"),
            Column("tries", "INTEGER", "how often"),
            Column("loss", "DOUBLE", "fraction of tries that failed"),
            Column("dns_ms", "DOUBLE", "median of the name's look-up, ms"),
            Column("tcp_ms", "DOUBLE", "median of the connection, ms: one round trip"),
            Column("tcp_p99_ms", "DOUBLE", "99th percentile of the connection, ms"),
            Column("tcp_jitter_ms", "DOUBLE", "mean difference from one connection to the next, ms"),
            Column("tls_ms", "DOUBLE", "median of the encryption's handshake, ms"),
            Column("first_byte_ms", "DOUBLE", "median from the request to the first byte, ms"),
            Column("order_ms", "DOUBLE", "median of an order and its answer, ms; NULL if none was sent"),
            Column("clock_offset_ms", "DOUBLE", "our clock less the venue's, ms"),
            Column("clock_error_ms", "DOUBLE", "how far that may be off, ms"),
            Column("failures", "JSON", "how many tries failed at what"),
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
    yield "CREATE OR REPLACE TABLE sweep_parts (name VARCHAR PRIMARY KEY)"
    yield "COMMENT ON TABLE sweep_parts IS 'Parts of the ledger of trials that are in the table sweeps'"
    yield "COMMENT ON TABLE watermarks IS 'Last row of each append-only journal table that is in here'"


def _text(words: str) -> str:
    return "'" + words.replace("'", "''") + "'"
