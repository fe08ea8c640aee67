"""kill -9 at random instants of the order path, between real processes, until nothing is left to chance.

    python benchmarks/crash_orders.py --kills 1000 --seed 1

One process is the paper exchange over HTTP, which answers wrongly, late or not at all, and is killed itself now and
then. Another is a job of the day: the real AlpacaBroker over loopback, the real gateway, a journal on disk, a batch of
orders a session. It is killed at random instants (or stopped for longer than its lease while another takes over), and
started again. After the kills of a session one life goes undisturbed; then every order must be where it belongs:

doubled       an order at the exchange that nobody proposed, an id twice, or more orders than intents of the same
              session, strategy, symbol and side
lost          an intent that is neither denied, rejected nor at the exchange, or still undecided
contradicted  an intent that is denied or rejected here and at the exchange all the same
filled wrong  an order whose executions in the journal are not those of the exchange
books wrong   cash or holdings of the journal that are not the exchange's

Any of them ends the campaign with exit code 1; what it happened in is kept. A short version runs in `make test`
(tests/trading/test_crash_orders.py).
"""

from __future__ import annotations

import argparse
import os
import random
import select
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a process with threads cannot be forked safely
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support import mortals
from support.mortals import CALENDAR, House, fork

SYMBOLS = tuple(letter * 3 for letter in "ABCDEFGHIJKLMNOP")
SESSIONS_A_HOUSE = 12
KILLS_A_SESSION = 6
_PATIENCE_S = 120.0
_POST: dict[str, Any] = {"method": "POST", "path": "/v2/orders", "times": None}
_GET: dict[str, Any] = {"method": "GET", "times": None}
# What the exchange does to requests, each with its probability.
REQUEST_FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 504, "accept": True, "rate": 0.03, **_POST},
    {"kind": "status", "status": 502, "accept": False, "rate": 0.01, **_POST},
    {"kind": "drop", "accept": True, "rate": 0.03, **_POST},
    {"kind": "drop", "accept": False, "rate": 0.03, **_POST},
    {"kind": "hang", "seconds": 1.0, "accept": True, "rate": 0.01, **_POST},
    {"kind": "hang", "seconds": 1.0, "accept": False, "rate": 0.01, **_POST},
    {"kind": "html", "accept": True, "rate": 0.02, **_POST},
    {"kind": "truncated", "accept": True, "rate": 0.02, **_POST},
    {"kind": "reject", "rate": 0.02, **_POST},
    {"kind": "rate_limit", "seconds": 1.0, "rate": 0.004, **_POST},
    {"kind": "status", "status": 500, "rate": 0.004, **_GET},
    {"kind": "drop", "rate": 0.004, **_GET},
    {"kind": "down", "times": 3, "rate": 0.001},
]
FILL_FAULTS: list[dict[str, Any]] = [
    {"kind": "duplicate_fills", "times": None, "rate": 0.2},
    {"kind": "reorder_fills", "times": None, "rate": 0.2},
    {"kind": "late_fills", "polls": 4, "times": None, "rate": 0.2},
    {"kind": "partial_fills", "pieces": 3, "times": None, "rate": 0.3},
]


@dataclass
class Tally:
    """What a campaign did, and what it found."""

    kills: int = 0
    pauses: int = 0
    exchange_kills: int = 0
    restarts: int = 0
    sessions: int = 0
    intents: int = 0
    orders: int = 0
    fills: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def lines(self, seed: int, seconds: float) -> Iterator[str]:
        yield (
            f"seed {seed}: {self.kills} kills ({self.pauses} of them pauses beyond the lease), {self.exchange_kills} of"
            f" the exchange, {self.restarts} restarts, {self.sessions} sessions, {self.intents} intents,"
            f" {self.orders} orders, {self.fills} fills, {seconds:.0f} s"
        )
        yield "killed: " + ", ".join(f"{moment} {n}" for moment, n in sorted(self.moments.items()))
        yield "faults: " + ", ".join(f"{kind} {n}" for kind, n in sorted(self.faults.items()))
        names = ("doubled", "lost", "contradicted", "filled wrong", "books wrong", "sent after its lease", "stuck")
        yield ", ".join(f"{self.wrong[name]} {name}" for name in names)


class Exchange:
    """The exchange's process: started, told, killed, started again on its port."""

    def __init__(self, house: House, max_volume_share: Decimal | None) -> None:
        self.house = house
        self._share = max_volume_share
        self._pid = 0
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{house.port}", trust_env=False, timeout=_PATIENCE_S)

    def start(self) -> None:
        reader, writer = os.pipe()
        serve = partial(mortals.serve_exchange, self.house, writer, max_volume_share=self._share)
        self._pid = fork(serve, self.house.folder / "exchange.log")
        os.close(writer)
        with closing(os.fdopen(reader, "rb", buffering=0)) as ready:
            if not select.select([ready], [], [], _PATIENCE_S)[0] or ready.read(1) != b"r":
                raise SystemExit(f"the exchange did not start: {self.house.folder / 'exchange.log'}")

    def kill(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def ask(self, action: str, **body: Any) -> dict[str, Any]:
        answer = self._client.post(f"/_exchange/{action}", json=body)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def played(self) -> Counter[str]:
        """The faults that were played since the last plan, by kind."""
        state = self._client.get("/_exchange/state").json()
        return Counter(line.split()[0] for line in state["played"])

    def close(self) -> None:
        self._client.close()
        self.kill()


class Worker:
    """One life of a job, as its killer sees it."""

    def __init__(self, house: House, session: date, batch: int, *, claim: bool, stream: bool) -> None:
        reader, writer = os.pipe()
        life = partial(mortals.work, house, session, batch, writer, claim=claim, stream=stream)
        self.pid = fork(life, house.folder / "worker.log")
        os.close(writer)
        self._told = os.fdopen(reader, "rb", buffering=0)
        self.letters = b""
        self.code: int | None = None

    def wait(self, letter: bytes, seconds: float) -> bool:
        """Wait until it has told ``letter``; False if it ended before, or time is up."""
        deadline = time.monotonic() + seconds
        while self.code is None and letter not in self.letters:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._told], [], [], left)[0]:
                return False
            said = self._told.read(1)
            if not said:
                self._reap()
                return False
            self.letters += said
        return letter in self.letters

    def sleep(self, seconds: float) -> bool:
        """Let it live for a while; False if it has ended by itself."""
        self.wait(b"?", seconds)
        return self.code is None

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._reap()

    def end(self, seconds: float = _PATIENCE_S) -> int | None:
        """Ask it to end, and wait for it; None if it does not."""
        if self.code is None:
            self.signal(signal.SIGTERM)
            self.sleep(seconds)
        return self.code

    def _reap(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        self.code = os.waitstatus_to_exitcode(status)
        self._told.close()


class Campaign:
    """Kills until there were enough, in one house after the other."""

    def __init__(self, seed: int, scratch: Path) -> None:
        self._chance = random.Random(seed)
        self._seed = seed
        self._scratch = scratch
        self._deciding_s = 0.2  # how long a batch takes from proposal to the last answer, as seen so far
        self._opening_s = 0.2
        self._batch = 0
        self._workers: list[Worker] = []
        self.tally = Tally()

    def run(self, kills: int) -> Tally:
        number = 0
        while self.tally.kills < kills and not self.tally.wrong:
            self._house(number, kills)
            number += 1
        return self.tally

    # ---- one house -------------------------------------------------------------------------------

    def _house(self, number: int, kills: int) -> None:
        """An account from its opening over some sessions; every other one has an exchange that dies too.

        A fill that was told in pieces would be told whole by an exchange that comes back, so the exchange is killed
        only where fills are told as they are.
        """
        folder = self._scratch / f"house{number}"
        folder.mkdir()
        sessions = CALENDAR.sessions(date(2013, 1, 7), date(2013, 3, 28))
        seed = self._chance.randrange(2**32)
        market = mortals.random_market(seed, SYMBOLS, sessions)
        self.house = House(folder, seed, sessions, market, mortals.free_port())
        self._mortal_exchange = number % 2 == 1
        self.exchange = Exchange(self.house, Decimal("0.02") if self._chance.random() < 0.5 else None)
        self.exchange.start()
        try:
            for session in sessions[:SESSIONS_A_HOUSE]:
                if self.tally.kills >= kills:
                    break
                self._session(session, kills)
                if self.tally.wrong:
                    return
        finally:
            for worker in self._workers:
                if worker.code is None:
                    worker.kill()
            self.exchange.close()
            self._count()
        shutil.rmtree(folder)

    def _session(self, session: date, kills: int) -> None:
        """Kill the session's job before, while and after it sends; let it finish; check; trade the next session."""
        self._plan(REQUEST_FAULTS)
        for _ in range(min(self._chance.randint(KILLS_A_SESSION - 3, KILLS_A_SESSION + 3), kills - self.tally.kills)):
            if self._chance.random() < 0.04:
                self._pause(session)
            else:
                self._kill(session)
        self._plan([])
        worker = self._undisturbed(session)
        if worker is None:
            return
        self._check()
        self._plan([] if self._mortal_exchange else FILL_FAULTS)
        self.exchange.ask("open")
        if not worker.sleep(self._chance.uniform(0, 0.2)) or self._chance.random() < 0.5:
            self._killed(worker, "the market open, ")
            worker = self._born(session)
            worker.sleep(self._chance.uniform(0, 0.3))
        self.exchange.ask("close")
        worker.sleep(self._chance.uniform(0, 0.1))
        self._killed(worker, "the market closed again, ")
        self.tally.sessions += 1

    # ---- lives and deaths ------------------------------------------------------------------------

    def _born(self, session: date, *, claim: bool = True) -> Worker:
        self.tally.restarts += 1
        if not self._undecided():  # it has a batch to send, whoever proposed it
            self._batch += 1
        worker = Worker(self.house, session, self._batch, claim=claim, stream=self._chance.random() < 0.3)
        self._workers = [other for other in self._workers if other.code is None] + [worker]
        return worker

    def _kill(self, session: date) -> None:
        """One life, killed at a random instant: anywhere in it, or anywhere after it has proposed."""
        kill_exchange = self._mortal_exchange and self._chance.random() < 0.1
        worker, began = self._born(session), time.monotonic()
        if self._chance.random() < 0.25:
            worker.sleep(self._chance.uniform(0, self._opening_s + self._deciding_s))
        elif worker.wait(mortals.PROPOSED, _PATIENCE_S):
            self._opening_s = 0.9 * self._opening_s + 0.1 * (time.monotonic() - began)
            proposed, span = time.monotonic(), self._chance.uniform(0, 1.2 * self._deciding_s)
            if worker.wait(mortals.DECIDED, span):
                self._deciding_s = 0.9 * self._deciding_s + 0.1 * (time.monotonic() - proposed)
                worker.sleep(max(0.0, span - (time.monotonic() - proposed)) / 4)
        if kill_exchange:
            self._restart_exchange(worker)
        self._killed(worker, "")

    def _killed(self, worker: Worker, when: str) -> None:
        """Kill it and note in which moment; one that had ended by itself does not count."""
        if worker.code is not None:
            self.tally.moments["ended by itself over a fault (no kill)"] += 1
            if worker.code not in {mortals.UNREACHABLE, mortals.PAST}:
                self._found("stuck", f"a worker ended with {worker.code}")
            return
        worker.kill()
        self.tally.kills += 1
        self.tally.moments[when + self._moment(worker)] += 1

    def _pause(self, session: date) -> None:
        """Stop a life for longer than its lease; another one takes over; what was stopped sends nothing any more."""
        first = self._born(session)
        if not first.wait(mortals.PROPOSED, _PATIENCE_S) or not first.sleep(
            self._chance.uniform(0, self._deciding_s)
        ):  # fmt: skip
            self._killed(first, "")
            return
        first.signal(signal.SIGSTOP)
        self._plan([])  # for the one that follows: what is looked for here is what the first does when it wakes
        second = self._born(session, claim=False)
        decided = second.wait(mortals.DECIDED, _PATIENCE_S)
        before = self._orders_at_exchange()
        first.signal(signal.SIGCONT)
        first.sleep(1.5)
        if self._orders_at_exchange() != before and decided:
            self._found("sent after its lease", f"{self._orders_at_exchange() - before} orders")
        self.tally.kills += 1
        self.tally.pauses += 1
        self.tally.moments["stopped beyond its lease" if decided else "stopped, its follower failed"] += 1
        for worker in (first, second):
            if worker.code is None:
                worker.kill()
        self._plan(REQUEST_FAULTS)

    def _restart_exchange(self, worker: Worker) -> None:
        self.tally.faults.update(self.exchange.played())
        self.exchange.kill()
        self.tally.exchange_kills += 1
        worker.sleep(self._chance.uniform(0, 0.05))
        self.exchange.start()
        self.exchange.ask("faults", faults=REQUEST_FAULTS, seed=self._chance.randrange(2**31))

    def _undisturbed(self, session: date) -> Worker | None:
        """A life in which nothing goes wrong, up to when its books agree with the exchange's."""
        worker = self._born(session)
        if worker.wait(mortals.AGREES, _PATIENCE_S):
            return worker
        told = "its books do not agree" if mortals.DECIDED in worker.letters else "not all is decided"
        self._found("stuck", f"an undisturbed life of {session} did not finish ({told}, ended with {worker.code})")
        if worker.code is None:
            worker.kill()
        self._check()  # says what it is
        return None

    def _plan(self, faults: Sequence[dict[str, Any]]) -> None:
        self.tally.faults.update(self.exchange.played())
        self.exchange.ask("faults", faults=list(faults), seed=self._chance.randrange(2**31))

    # ---- looking ---------------------------------------------------------------------------------

    def _moment(self, worker: Worker) -> str:
        """What the journal had got to when the worker died."""
        if mortals.OPENED not in worker.letters:
            return "opening"
        if mortals.PROPOSED not in worker.letters:
            return "proposing"
        with closing(_open(self.house.journal)) as journal, closing(_open(self.house.exchange)) as exchange:
            flying = [r[0] for r in journal.execute("SELECT client_order_id FROM intents WHERE state='submitting'")]
            there = {row[0] for row in exchange.execute("SELECT client_order_id FROM orders")}
            last = journal.execute("SELECT to_state FROM order_events ORDER BY id DESC LIMIT 1").fetchone()
        if flying:
            sent = len(there & set(flying))
            how = "none" if not sent else "all" if sent == len(flying) else "some"
            return f"submitting, {how} of them sent"
        return f"last state {last[0]}" if last else "proposing"

    def _undecided(self) -> bool:
        """Whether an earlier life has left something to send."""
        if not self.house.journal.exists():
            return False
        with closing(_open(self.house.journal)) as journal:
            if not journal.execute("SELECT 1 FROM sqlite_master WHERE name='intents'").fetchone():
                return False
            sql = "SELECT 1 FROM intents WHERE state IN ('intended', 'submitting', 'unknown') LIMIT 1"
            return journal.execute(sql).fetchone() is not None

    def _orders_at_exchange(self) -> int:
        with closing(_open(self.house.exchange)) as exchange:
            return int(exchange.execute("SELECT count(*) FROM orders WHERE parent_id IS NULL").fetchone()[0])

    def _check(self) -> None:
        """Compare journal and exchange after an undisturbed life."""
        with closing(_open(self.house.journal)) as journal, closing(_open(self.house.exchange)) as exchange:
            for name, what in check(journal, exchange):
                self._found(name, what)

    def _found(self, name: str, what: str) -> None:
        self.tally.wrong[name] += 1
        print(f"{name.upper()}: {what}; kept in {self.house.folder}", flush=True)

    def _count(self) -> None:
        with closing(_open(self.house.journal)) as journal, closing(_open(self.house.exchange)) as exchange:
            self.tally.intents += journal.execute("SELECT count(*) FROM intents").fetchone()[0]
            self.tally.fills += exchange.execute("SELECT count(*) FROM fills").fetchone()[0]
        self.tally.orders += self._orders_at_exchange()


def check(journal: sqlite3.Connection, exchange: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """What is wrong between a journal and an exchange, as name and description; reads nothing but their tables."""
    intents = {
        row[0]: tuple(row[1:])
        for row in journal.execute(
            "SELECT client_order_id, state, session, i.strategy, symbol, side FROM intents i"
            " JOIN batches USING (batch_id)"
        )
    }
    orders = [row[0] for row in exchange.execute("SELECT client_order_id FROM orders WHERE parent_id IS NULL")]
    for identifier, times in Counter(orders).items():
        if times > 1 or identifier not in intents:
            yield "doubled", f"order {identifier} is at the exchange {times} times, proposed: {identifier in intents}"
    proposed = Counter(key[1:] for key in intents.values())
    for key, times in Counter(intents[identifier][1:] for identifier in orders if identifier in intents).items():
        if times > proposed[key]:
            yield "doubled", f"{times} orders for the {proposed[key]} intents of {key}"
    there = set(orders)
    for identifier, (state, *_) in intents.items():
        if state in {"intended", "submitting", "unknown"}:
            yield "lost", f"intent {identifier} is still {state}"
        elif state in {"denied", "rejected"}:
            if identifier in there:
                yield "contradicted", f"order {identifier} is {state} here and at the exchange"
        elif identifier not in there:
            yield "lost", f"order {identifier} is {state} here and not at the exchange"
    yield from _check_fills(journal, exchange)


def _check_fills(journal: sqlite3.Connection, exchange: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    ours, theirs = _executed(journal, "fills"), _executed(exchange, "fills")
    for identifier in sorted(ours.keys() | theirs.keys()):
        if ours.get(identifier) != theirs.get(identifier):
            yield "filled wrong", f"{identifier}: {ours.get(identifier)} here, {theirs.get(identifier)} there"
    cash, holdings = _books(journal)
    their_cash = Decimal(exchange.execute("SELECT cash FROM account").fetchone()[0])
    theirs_held = {row[0]: Decimal(row[1]) for row in exchange.execute("SELECT symbol, quantity FROM holdings")}
    if holdings != theirs_held or abs(cash - their_cash) > Decimal("0.005"):
        yield "books wrong", f"{cash} USD and {holdings} here, {their_cash} USD and {theirs_held} there"


def _executed(connection: sqlite3.Connection, table: str) -> dict[str, tuple[Decimal, Decimal]]:
    """Shares and USD of each order's executions."""
    found: dict[str, tuple[Decimal, Decimal]] = {}
    for identifier, quantity, price in connection.execute(f"SELECT client_order_id, quantity, price FROM {table}"):
        shares, value = found.get(identifier, (Decimal(0), Decimal(0)))
        found[identifier] = (shares + Decimal(quantity), value + Decimal(quantity) * Decimal(price))
    return found


def _books(journal: sqlite3.Connection) -> tuple[Decimal, dict[str, Decimal]]:
    """Cash and shares as the sum of everything on record, summed here and not by the code under test."""
    cash, held = Decimal(0), dict[str, Decimal]()
    for symbol, side, quantity, price, fee in journal.execute("SELECT symbol, side, quantity, price, fee FROM fills"):
        signed = Decimal(quantity) * (1 if side == "buy" else -1)
        cash -= signed * Decimal(price) + Decimal(fee)
        held[symbol] = held.get(symbol, Decimal(0)) + signed
    for symbol, quantity, amount in journal.execute(
        "SELECT symbol, quantity_delta, cash_delta FROM activities UNION ALL"
        " SELECT symbol, quantity_delta, cash_delta FROM corrections"
    ):
        cash += Decimal(amount)
        held[symbol] = held.get(symbol, Decimal(0)) + Decimal(quantity)
    return cash, {symbol: quantity for symbol, quantity in held.items() if quantity}


def _open(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)


def _histories(count: int) -> int:
    """Many more, and longer, histories of ``test_order_histories.py`` than the test suite has time for."""
    import runpy

    from hypothesis import settings
    from hypothesis.stateful import run_state_machine_as_test

    file = Path(__file__).parents[1] / "tests" / "trading" / "test_order_histories.py"
    machine = runpy.run_path(str(file))["AnyHistory"]
    run_state_machine_as_test(
        machine, settings=settings(max_examples=count, stateful_step_count=60, deadline=None, print_blob=True)
    )
    print(f"{count} histories of 60 steps: nothing doubled, lost, over a limit, through a lock or past a halt")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="25 kills")
    parser.add_argument("--histories", type=int, default=0, help="so many histories of the stateful test instead")
    options = parser.parse_args(arguments)
    if options.histories:
        return _histories(options.histories)
    scratch = Path(tempfile.mkdtemp(prefix="workbench-crash-orders-"))
    began = time.monotonic()
    tally = Campaign(options.seed, scratch).run(25 if options.quick else options.kills)
    for line in tally.lines(options.seed, time.monotonic() - began):
        print(line, flush=True)
    if not tally.wrong:
        shutil.rmtree(scratch)
    return int(bool(tally.wrong))


if __name__ == "__main__":
    raise SystemExit(main())
