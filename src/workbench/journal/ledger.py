"""The money side of the journal: fills, activities and corrections, and what an account holds by them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from workbench.domain import Activity, ActivityKind, Fill, Side
from workbench.errors import JournalError
from workbench.journal.leases import Lease, require_held
from workbench.journal.store import Journal

# The sleeve of what no strategy of ours bought: the opening balance and adopted trades of somebody else.
NOBODY = ""
_FILL = (
    "(account, broker, fill_id, client_order_id, symbol, side, quantity, price, fee, session, at)"
    " VALUES (?,?,?,?,?,?,?,?,?,?,?)"
)


@dataclass(frozen=True, slots=True)
class Books:
    """What the journal says an account holds: the sum of all fills, activities and corrections."""

    cash: Decimal
    holdings: dict[str, Decimal]


@dataclass(frozen=True, slots=True)
class Booked:
    """An execution as the books count it: its fill and every correction of it. ``quantity`` is signed by side."""

    fill: Fill
    quantity: Decimal
    cash: Decimal


@dataclass(frozen=True, slots=True)
class Mark:
    """An account at a close: equity in USD, and the money that came in (or went out) since the mark before."""

    session: date
    equity: Decimal
    flow: Decimal


@dataclass(frozen=True, slots=True)
class Correction:
    """A change of the books on a person's word. ``kind``: bust, correct, external, overfill, position or cash.

    ``fill_id`` names the execution (of an overfill, the order) that it is about.
    """

    kind: str
    symbol: str
    session: date
    quantity_delta: Decimal
    cash_delta: Decimal
    reason: str
    fill_id: str | None = None


class Ledger:
    """Fills, activities, corrections and marks of all accounts."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._totals: dict[str, _Total] = {}
        self._shares: dict[str, _Shares] = {}

    # ---- what the venue tells --------------------------------------------------------------------

    def cursor(self, account: str, broker: str) -> str | None:
        """Up to where the venue's feed has been recorded; None before the first time."""
        rows = self._journal.read("SELECT cursor FROM cursors WHERE account=? AND broker=?", (account, broker))
        return str(rows[0]["cursor"]) if rows else None

    def other_venue(self, account: str, broker: str) -> str | None:
        """Another venue that an account has books of; None if it has none."""
        rows = self._journal.read("SELECT broker FROM cursors WHERE account=? AND broker<>?", (account, broker))
        return str(rows[0]["broker"]) if rows else None

    def record(
        self,
        account: str,
        broker: str,
        fills: Sequence[Fill],
        activities: Sequence[Activity],
        cursor: str | None = None,
    ) -> tuple[int, int]:
        """Book what happened, each thing once, and move the cursor in the same transaction.

        An execution of an order that is not ours is kept aside: it counts once somebody adopts it.

        Returns
        -------
        How many executions of ours, and how many of others, were new.
        """
        with self._journal.transaction() as connection:
            ours, others = 0, 0
            for fill in fills:
                if _is_ours(connection, account, fill.client_order_id):
                    ours += _insert_fill(connection, "fills", account, broker, fill)
                else:
                    others += _insert_fill(connection, "external_fills", account, broker, fill)
            connection.executemany(
                "INSERT OR IGNORE INTO activities (account, broker, activity_id, kind, symbol, session,"
                " quantity_delta, cash_delta, at) VALUES (?,?,?,?,?,?,?,?,?)",
                [
                    (
                        account, broker, a.activity_id, a.kind.value, a.symbol, a.session.isoformat(),
                        str(a.quantity_delta), str(a.cash_delta), a.at.isoformat(),
                    )
                    for a in activities
                ],
            )  # fmt: skip
            if cursor is not None:
                connection.execute("INSERT OR REPLACE INTO cursors VALUES (?,?,?)", (account, broker, cursor))
        return ours, others

    def record_opening(
        self, account: str, broker: str, session: date, cash: Decimal, holdings: Mapping[str, Decimal], cursor: str
    ) -> None:
        """Book what an account held when it was first seen, and start its feed at that moment."""
        at = self._journal.clock.now()
        opened = [Activity("opening:cash", ActivityKind.OPENING, "", session, Decimal(0), cash, at)]
        opened += [
            Activity(f"opening:{symbol}", ActivityKind.OPENING, symbol, session, quantity, Decimal(0), at)
            for symbol, quantity in sorted(holdings.items())
        ]
        self.record(account, broker, [], opened, cursor)

    def add_leg(self, account: str, client_order_id: str, parent: str) -> None:
        """Remember an order that the venue made as the exit of a bracket of ours."""
        with self._journal.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO legs VALUES (?,?,?,?)", (account, client_order_id, parent, self._journal.now())
            )

    def legs(self, account: str) -> dict[str, str]:
        """Exits of our brackets: client order id to that of the entry."""
        rows = self._journal.read("SELECT client_order_id, parent FROM legs WHERE account=?", (account,))
        return {row["client_order_id"]: row["parent"] for row in rows}

    # ---- what an account holds -------------------------------------------------------------------

    def books(self, account: str, *, until: date | None = None) -> Books:
        """Cash (USD) and shares by symbol: the sum of all entries, never a stored balance.

        Entries are added up once and kept as long as this object lives; what is new is added to them.

        Parameters
        ----------
        until
            Leave out what happened in later sessions.
        """
        total = self._totals.setdefault(account, _Total())
        total.add(self._entries(account, "id > ?", total.seen))
        later: list[_Entry] = []
        if until is not None:
            later = self._entries(account, "session > ?", (until.isoformat(),) * 3)
        cash, holdings = total.cash, dict(total.holdings)
        for entry in later:
            cash -= entry.cash
            holdings[entry.symbol] = holdings.get(entry.symbol, Decimal(0)) - entry.quantity
        return Books(cash, {symbol: q for symbol, q in sorted(holdings.items()) if q})

    def _entries(self, account: str, where: str, values: Sequence[object]) -> list[_Entry]:
        """Entries of fills, activities and corrections, a condition on each of the three tables."""
        found = []
        for row in self._journal.read(
            f"SELECT id, symbol, side, quantity, price, fee FROM fills WHERE account=? AND {where} ORDER BY id",
            (account, values[0]),
        ):
            signed = Side(row["side"]).sign * Decimal(row["quantity"])
            cash = -(signed * Decimal(row["price"]) + Decimal(row["fee"]))
            found.append(_Entry(0, row["id"], row["symbol"], signed, cash))
        for turn, table in enumerate(("activities", "corrections"), start=1):
            for row in self._journal.read(
                f"SELECT id, symbol, quantity_delta, cash_delta FROM {table} WHERE account=? AND {where} ORDER BY id",
                (account, values[turn]),
            ):
                delta = Decimal(row["quantity_delta"])
                found.append(_Entry(turn, row["id"], row["symbol"], delta, Decimal(row["cash_delta"])))
        return found

    def sleeves(self, account: str) -> dict[str, dict[str, Decimal]]:
        """Shares by strategy and symbol; a split is shared out by what each strategy held.

        What no strategy of ours bought is in the sleeve ``NOBODY``.
        """
        shares = self._shares.setdefault(account, _Shares())
        if not shares.add(self._journal.read(_MOVES, _thrice(account, shares.seen))):
            shares = self._shares[account] = _Shares()  # something older has come in: all over again
            shares.add(self._journal.read(_MOVES, _thrice(account, shares.seen)))
        held = shares.held
        return {name: {s: q for s, q in sorted(sleeve.items()) if q} for name, sleeve in sorted(held.items())}

    def last_price(self, account: str, symbol: str) -> Decimal | None:
        """What the account last paid or got for a share, in USD; None if it never traded the symbol."""
        rows = self._journal.read(
            "SELECT price FROM fills WHERE account=? AND symbol=? ORDER BY id DESC LIMIT 1", (account, symbol)
        )
        return Decimal(rows[0]["price"]) if rows else None

    # ---- corrections -----------------------------------------------------------------------------

    def booked(self, account: str, broker: str, since: date) -> dict[str, Booked]:
        """Executions from the session ``since`` on as the books count them, by fill id."""
        rows = self._journal.read(
            "SELECT * FROM fills WHERE account=? AND broker=? AND session>=? ORDER BY id",
            (account, broker, since.isoformat()),
        )
        found = {row["fill_id"]: _as_fill(row) for row in rows}
        counted = {
            identifier: Booked(fill, fill.side.sign * fill.quantity, fill.cash_delta)
            for identifier, fill in found.items()
        }
        for row in self._journal.read("SELECT * FROM corrections WHERE account=? AND fill_id IS NOT NULL", (account,)):
            before = counted.get(row["fill_id"])
            if before is not None:
                counted[row["fill_id"]] = Booked(
                    before.fill,
                    before.quantity + Decimal(row["quantity_delta"]),
                    before.cash + Decimal(row["cash_delta"]),
                )
        return counted

    def external_fills(self, account: str) -> list[Fill]:
        """Executions of orders that are not ours and that nobody has adopted yet."""
        rows = self._journal.read(
            "SELECT e.* FROM external_fills e LEFT JOIN fills f ON f.broker = e.broker AND f.account = e.account"
            " AND f.fill_id = e.fill_id WHERE e.account=? AND f.fill_id IS NULL ORDER BY e.id",
            (account,),
        )
        return [_as_fill(row) for row in rows]

    def correct(
        self,
        account: str,
        broker: str,
        corrections: Sequence[Correction],
        actor: str,
        lease: Lease | None = None,
    ) -> None:
        """Change the books on a person's word: adopted executions join the fills, the rest are entries of their own.

        Raises
        ------
        JournalError
            If an execution to be adopted was never recorded, or ``lease`` is given and has passed to another
            process; nothing is changed then.
        """
        with self._journal.transaction() as connection:
            if lease is not None:
                require_held(connection, lease, "nothing was adopted")
            for c in corrections:
                if c.kind == "external":
                    done = connection.execute(
                        f"INSERT OR IGNORE INTO fills {_FILL.partition(' VALUES')[0]}"
                        " SELECT account, broker, fill_id, client_order_id, symbol, side, quantity, price, fee,"
                        " session, at FROM external_fills WHERE account=? AND broker=? AND fill_id=?",
                        (account, broker, c.fill_id),
                    )
                    if done.rowcount == 0:
                        _require_adopted(connection, account, broker, c)
                        continue
                connection.execute(
                    "INSERT INTO corrections (account, kind, fill_id, symbol, session, quantity_delta, cash_delta,"
                    " reason, actor, at) VALUES (?,?,?,?,?,?,?,?,?,?)",
                    (
                        account, c.kind, c.fill_id, c.symbol, c.session.isoformat(), str(c.quantity_delta),
                        str(c.cash_delta), c.reason, actor, self._journal.now(),
                    ),
                )  # fmt: skip

    def acknowledged(self, account: str) -> set[str]:
        """Orders whose overfill somebody has adopted."""
        rows = self._journal.read("SELECT fill_id FROM corrections WHERE account=? AND kind='overfill'", (account,))
        return {row["fill_id"] for row in rows}

    # ---- marks -----------------------------------------------------------------------------------

    def mark(
        self, account: str, session: date, cash: Decimal, positions: Mapping[str, tuple[Decimal, Decimal]]
    ) -> None:
        """Write the account's value at the close of a session, once. ``positions``: symbol to (shares, raw close)."""
        equity = cash + sum((quantity * price for quantity, price in positions.values()), Decimal(0))
        held = {symbol: [str(quantity), str(price)] for symbol, (quantity, price) in sorted(positions.items())}
        with self._journal.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO marks (account, session, cash, equity, positions, at) VALUES (?,?,?,?,?,?)",
                (account, session.isoformat(), str(cash), str(equity), json.dumps(held), self._journal.now()),
            )

    def last_mark(self, account: str) -> sqlite3.Row | None:
        rows = self._journal.read("SELECT * FROM marks WHERE account=? ORDER BY session DESC LIMIT 1", (account,))
        return rows[0] if rows else None

    def curve(self, account: str) -> list[Mark]:
        """The account at every close it was marked at, with the money that came in since the one before.

        Shares that were moved in or out are a flow at the price they were marked at. The first mark is its own
        flow, whatever came before it.
        """
        kinds = [kind.value for kind in ActivityKind if kind.is_flow]
        flows = self._journal.read(
            "SELECT session, symbol, quantity_delta, cash_delta FROM activities"
            f" WHERE account=? AND kind IN ({','.join('?' * len(kinds))}) ORDER BY session",
            (account, *kinds),
        )
        marks: list[Mark] = []
        before, prices = "", dict[str, Decimal]()
        for row in self._journal.read("SELECT * FROM marks WHERE account=? ORDER BY session", (account,)):
            held = json.loads(row["positions"])
            prices.update({symbol: Decimal(price) for symbol, (_, price) in held.items()})
            came = Decimal(0)
            for flow in flows:
                if before < flow["session"] <= row["session"]:
                    moved = Decimal(flow["quantity_delta"]) * prices.get(flow["symbol"], Decimal(0))
                    came += Decimal(flow["cash_delta"]) + moved
            equity = Decimal(row["equity"])
            marks.append(Mark(date.fromisoformat(row["session"]), equity, came if marks else equity))
            before = row["session"]
        return marks


# Every change of shares in the order it happened; a strategy of NULL (a split, the kill switch) is
# shared out by what was held.
_MOVES = """
    SELECT f.session, 1 AS turn, f.id AS id, f.symbol AS symbol,
        CASE b.kind WHEN 'flatten' THEN NULL ELSE coalesce(i.strategy, p.strategy, '') END AS strategy,
        CASE f.side WHEN 'buy' THEN '' ELSE '-' END || f.quantity AS delta
    FROM fills f LEFT JOIN intents i ON i.client_order_id = f.client_order_id AND i.account = f.account
    LEFT JOIN batches b ON b.batch_id = i.batch_id
    LEFT JOIN legs l ON l.client_order_id = f.client_order_id AND l.account = f.account
    LEFT JOIN intents p ON p.client_order_id = l.parent WHERE f.account=? AND f.id > ?
    UNION ALL
    SELECT session, 0, id, symbol, CASE kind WHEN 'opening' THEN '' END, quantity_delta
    FROM activities WHERE account=? AND id > ? AND symbol <> '' AND quantity_delta <> '0'
    UNION ALL
    SELECT c.session, 2, c.id, c.symbol,
        CASE b.kind WHEN 'flatten' THEN NULL ELSE coalesce(i.strategy, p.strategy, '') END, c.quantity_delta
    FROM corrections c LEFT JOIN fills f ON f.fill_id = c.fill_id AND f.account = c.account
    LEFT JOIN intents i ON i.client_order_id = f.client_order_id AND i.account = f.account
    LEFT JOIN batches b ON b.batch_id = i.batch_id
    LEFT JOIN legs l ON l.client_order_id = f.client_order_id AND l.account = f.account
    LEFT JOIN intents p ON p.client_order_id = l.parent
    WHERE c.account=? AND c.id > ? AND c.quantity_delta <> '0'
    ORDER BY session, turn, id"""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One change of the books: ``table`` 0 fills, 1 activities, 2 corrections."""

    table: int
    number: int
    symbol: str
    quantity: Decimal
    cash: Decimal


class _Total:
    """Entries added up so far; ``seen`` are the last numbers of fills, activities and corrections."""

    def __init__(self) -> None:
        self.cash = Decimal(0)
        self.holdings: dict[str, Decimal] = {}
        self.seen = [0, 0, 0]

    def add(self, entries: Sequence[_Entry]) -> None:
        for entry in entries:
            self.seen[entry.table] = entry.number
            self.cash += entry.cash
            if entry.quantity:
                self.holdings[entry.symbol] = self.holdings.get(entry.symbol, Decimal(0)) + entry.quantity


class _Shares:
    """Shares by strategy so far; a split needs what was held before it, so entries are added in their order."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Decimal]] = {}
        self.seen = [0, 0, 0]  # by turn: activities, fills, corrections
        self._last: tuple[str, int, int] = ("", 0, 0)

    def add(self, rows: Sequence[sqlite3.Row]) -> bool:
        """Add what is new; False, and nothing is added, if some of it comes before what was added already."""
        if rows and (rows[0]["session"], rows[0]["turn"], rows[0]["id"]) < self._last:
            return False
        for row in rows:
            symbol, delta = row["symbol"], Decimal(row["delta"])
            parts = {row["strategy"]: delta}
            if row["strategy"] is None:
                parts = _shared_out(self.held, symbol, delta)
            for strategy, part in parts.items():
                sleeve = self.held.setdefault(strategy, {})
                sleeve[symbol] = sleeve.get(symbol, Decimal(0)) + part
            self.seen[row["turn"]] = max(self.seen[row["turn"]], row["id"])
            self._last = (row["session"], row["turn"], row["id"])
        return True


def _thrice(account: str, seen: Sequence[int]) -> tuple[object, ...]:
    """The parameters of ``_MOVES``: fills, activities, corrections, each after the last one seen."""
    return (account, seen[1], account, seen[0], account, seen[2])


def _shared_out(held: Mapping[str, Mapping[str, Decimal]], symbol: str, delta: Decimal) -> dict[str, Decimal]:
    """A change of shares spread over the strategies by what they hold, nothing lost in rounding.

    All of it is nobody's where none holds the symbol.
    """
    owned = {name: sleeve[symbol] for name, sleeve in held.items() if sleeve.get(symbol)}
    total = sum(owned.values(), Decimal(0))
    if not total:
        return {NOBODY: delta}
    parts = {name: delta * quantity / total for name, quantity in owned.items()}
    last = next(reversed(parts))
    parts[last] += delta - sum(parts.values(), Decimal(0))
    return parts


def _is_ours(connection: sqlite3.Connection, account: str, client_order_id: str) -> bool:
    return (
        connection.execute(
            "SELECT 1 FROM intents WHERE client_order_id=? AND account=?"
            " UNION ALL SELECT 1 FROM legs WHERE client_order_id=? AND account=?",
            (client_order_id, account, client_order_id, account),
        ).fetchone()
        is not None
    )


def _require_adopted(connection: sqlite3.Connection, account: str, broker: str, correction: Correction) -> None:
    """Adopting twice is harmless; adopting what nobody has seen is a mistake."""
    known = connection.execute(
        "SELECT 1 FROM fills WHERE account=? AND broker=? AND fill_id=?", (account, broker, correction.fill_id)
    ).fetchone()
    if known is None:
        raise JournalError(f"account {account} has no execution {correction.fill_id} of {broker} to adopt")


def _insert_fill(connection: sqlite3.Connection, table: str, account: str, broker: str, fill: Fill) -> int:
    done = connection.execute(
        f"INSERT OR IGNORE INTO {table} {_FILL}",
        (
            account, broker, fill.fill_id, fill.client_order_id, fill.symbol, fill.side.value, str(fill.quantity),
            str(fill.price), str(fill.fee), fill.session.isoformat(), fill.at.isoformat(),
        ),
    )  # fmt: skip
    return done.rowcount


def _as_fill(row: sqlite3.Row) -> Fill:
    return Fill(
        row["fill_id"], row["client_order_id"], row["symbol"], Side(row["side"]), Decimal(row["quantity"]),
        Decimal(row["price"]), Decimal(row["fee"]), date.fromisoformat(row["session"]),
        datetime.fromisoformat(row["at"]),
    )  # fmt: skip
