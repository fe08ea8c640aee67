"""What may be traded: trading states and breakers, locks, and what a person asks of the gateway."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from workbench.domain import TradingState
from workbench.journal.store import Journal

# A halt without an account stops all of them.
EVERY_ACCOUNT = "*"
# A lock without a symbol stops every order of the account.
EVERY_SYMBOL = "*"
BY_HAND = "hand"
# A breaker's cause is this and its name.
BREAKER = "breaker:"
_STRICTNESS = (TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED)


@dataclass(frozen=True, slots=True)
class Stop:
    """One reason why an account (or ``EVERY_ACCOUNT``) is not ACTIVE, and who or what set it."""

    account: str
    state: TradingState
    cause: str
    reason: str
    actor: str
    at: str


@dataclass(frozen=True, slots=True)
class Command:
    """Something asked of the gateway: ``cancel`` (``target``: an order, or ``*``) or ``flatten``."""

    number: int
    account: str
    kind: str
    target: str
    actor: str


class Controls:
    """The controls side of the journal. Nothing here is ever changed in place."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    # ---- trading states --------------------------------------------------------------------------

    def trading_state(self, account: str) -> TradingState:
        """The strictest state that stands for an account; an unreadable one means HALTED."""
        rows = self._journal.read(_STANDING, (account, EVERY_ACCOUNT))
        return _strictest(str(row["state"]) for row in rows)

    def set_trading_state(
        self, account: str, state: TradingState, reason: str, actor: str, *, cause: str = BY_HAND
    ) -> None:
        """Latch a trading state until somebody sets another for the same cause; ``EVERY_ACCOUNT`` speaks for all."""
        with self._journal.transaction() as connection:
            _insert_state(connection, account, state, reason, actor, cause, self._journal.now())

    def halted(self) -> list[Stop]:
        """Every standing reason why something is not ACTIVE, oldest first."""
        rows = self._journal.read(
            "SELECT * FROM trading_states WHERE id IN (SELECT max(id) FROM trading_states GROUP BY account, cause)"
            " AND state <> ? ORDER BY id",
            (TradingState.ACTIVE.value,),
        )
        return [Stop(r["account"], _known(r["state"]), r["cause"], r["reason"], r["actor"], r["at"]) for r in rows]

    # ---- breakers --------------------------------------------------------------------------------

    def trip(self, account: str, name: str, state: TradingState, reason: str) -> bool:
        """Latch a breaker; False if it is latched already."""
        cause = _breaker(name)
        with self._journal.transaction() as connection:
            row = connection.execute(
                "SELECT state FROM trading_states WHERE account=? AND cause=? ORDER BY id DESC LIMIT 1",
                (account, cause),
            ).fetchone()
            if row is not None and row["state"] != TradingState.ACTIVE.value:
                return False
            _insert_state(connection, account, state, reason, cause, cause, self._journal.now())
        return True

    def reset(self, account: str, name: str, *, actor: str, reason: str, session: date | None) -> None:
        """Release a breaker on a person's word; what it measures starts anew after ``session``."""
        with self._journal.transaction() as connection:
            now = self._journal.now()
            _insert_state(connection, account, TradingState.ACTIVE, reason, actor, _breaker(name), now)
            connection.execute(
                "INSERT INTO breaker_resets (account, name, session, reason, actor, at) VALUES (?,?,?,?,?,?)",
                (account, name, session.isoformat() if session else None, reason, actor, now),
            )

    def last_reset(self, account: str, name: str) -> date | None:
        """The session after which a breaker measures; None if it was never reset."""
        rows = self._journal.read(
            "SELECT session FROM breaker_resets WHERE account=? AND name=? ORDER BY id DESC LIMIT 1", (account, name)
        )
        return date.fromisoformat(rows[0]["session"]) if rows and rows[0]["session"] else None

    def breakers(self, account: str) -> dict[str, Stop]:
        """Latched breakers of an account by name."""
        return {
            stop.cause.removeprefix(BREAKER): stop
            for stop in self.halted()
            if stop.account == account and stop.cause.startswith(BREAKER)
        }

    # ---- locks -----------------------------------------------------------------------------------

    def locks(self, account: str) -> dict[str, str]:
        """Symbols (or ``EVERY_SYMBOL``) that reconciliation has locked, with the reason."""
        rows = self._journal.read(
            "SELECT symbol, reason FROM locks WHERE id IN (SELECT max(id) FROM locks WHERE account=? GROUP BY symbol)"
            " AND locked = 1 ORDER BY symbol",
            (account,),
        )
        return {row["symbol"]: row["reason"] for row in rows}

    def set_locks(self, account: str, wanted: Mapping[str, str], actor: str, *, release: bool) -> None:
        """Lock what is in ``wanted`` (symbol to reason); with ``release`` also free what is not."""
        standing = self.locks(account)
        changes = [(symbol, 1, reason) for symbol, reason in wanted.items() if standing.get(symbol) != reason]
        if release:
            changes += [(symbol, 0, "agrees again") for symbol in standing if symbol not in wanted]
        if not changes:
            return
        with self._journal.transaction() as connection:
            connection.executemany(
                "INSERT INTO locks (account, symbol, locked, reason, actor, at) VALUES (?,?,?,?,?,?)",
                [(account, symbol, on, reason, actor, self._journal.now()) for symbol, on, reason in changes],
            )

    def record_reconciliation(self, account: str, moment: str, differences: Sequence[Mapping[str, str]]) -> None:
        """Put on record what a comparison of the books with the venue found."""
        with self._journal.transaction() as connection:
            connection.execute(
                "INSERT INTO reconciliations (account, moment, agrees, differences, at) VALUES (?,?,?,?,?)",
                (
                    account,
                    moment,
                    int(not differences),
                    json.dumps([dict(d) for d in differences]),
                    self._journal.now(),
                ),
            )

    # ---- commands --------------------------------------------------------------------------------

    def ask(self, account: str, kind: str, actor: str, target: str = EVERY_SYMBOL) -> int:
        """Ask the gateway of an account for something; returns the command's number."""
        with self._journal.transaction() as connection:
            done = connection.execute(
                "INSERT INTO commands (account, kind, target, actor, at) VALUES (?,?,?,?,?)",
                (account, kind, target, actor, self._journal.now()),
            )
            assert done.lastrowid is not None
            return done.lastrowid

    def asked(self, account: str) -> list[Command]:
        """What has been asked and not been done, oldest first."""
        rows = self._journal.read("SELECT * FROM commands WHERE account=? AND done_at IS NULL ORDER BY id", (account,))
        return [Command(r["id"], r["account"], r["kind"], r["target"], r["actor"]) for r in rows]

    def finish(self, number: int, answer: str) -> None:
        """Record that a command has been carried out."""
        with self._journal.transaction() as connection:
            connection.execute(
                "UPDATE commands SET done_at=?, answer=? WHERE id=? AND done_at IS NULL",
                (self._journal.now(), answer, number),
            )

    def answer(self, number: int) -> str | None:
        """What came of a command; None while it waits."""
        rows = self._journal.read("SELECT done_at, answer FROM commands WHERE id=?", (number,))
        return str(rows[0]["answer"]) if rows and rows[0]["done_at"] is not None else None


_STANDING = """
    SELECT state FROM trading_states WHERE id IN
        (SELECT max(id) FROM trading_states WHERE account IN (?,?) GROUP BY account, cause)"""


def standing_state(connection: sqlite3.Connection, account: str) -> TradingState:
    """:meth:`Controls.trading_state` inside a transaction of the caller."""
    rows = connection.execute(_STANDING, (account, EVERY_ACCOUNT)).fetchall()
    return _strictest(str(row["state"]) for row in rows)


def _strictest(states: Iterable[str]) -> TradingState:
    return max([TradingState.ACTIVE, *map(_known, states)], key=_STRICTNESS.index)


def _known(state: str) -> TradingState:
    """A state that this version does not know stops everything."""
    return TradingState(state) if state in set(TradingState) else TradingState.HALTED


def _breaker(name: str) -> str:
    return f"{BREAKER}{name}"


def _insert_state(
    connection: sqlite3.Connection, account: str, state: TradingState, reason: str, actor: str, cause: str, at: str
) -> None:
    connection.execute(
        "INSERT INTO trading_states (account, state, reason, actor, cause, at) VALUES (?,?,?,?,?,?)",
        (account, state.value, reason, actor, cause, at),
    )
