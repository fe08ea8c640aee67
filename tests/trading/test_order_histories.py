"""Any history of an account: nothing doubled, lost, over a limit, through a lock or past a halt, and the books true."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.histories import ACCOUNT, PIPELINE, SESSIONS, SYMBOLS, Life, World, price
from support.houses import Crash

from workbench.brokers.paper import PaperExchange
from workbench.domain import (
    Bracket,
    OrderIntent,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
    TradingState,
    client_order_id,
)
from workbench.errors import BrokerUnavailable, JournalError
from workbench.journal.orders import FLATTEN
from workbench.trading.killswitch import CANCEL

BUY, SELL = Side.BUY, Side.SELL
FAULTS = ["", "crash before", "crash after", "answer lost", "lost", "late", "unavailable", "refused", "busy"]
KINDS = ["market", "market", "limit", "stop", "stop_limit", "trail", "bracket", "fraction", "amount", "replace"]
_CENT = Decimal("0.01")
# In memory where there is such a place: what a disk does is the crash campaign's business.
_SCRATCH = "/dev/shm" if Path("/dev/shm").is_dir() else None

# One order as a notebook might write it down: kind, symbol, side, shares, how far from the market (per cent), time.
orders = st.tuples(
    st.sampled_from(KINDS),
    st.sampled_from(SYMBOLS), st.sampled_from([BUY, BUY, SELL]), st.integers(1, 600), st.integers(-3, 3),
    st.sampled_from([*TimeInForce, TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTC]),
)  # fmt: skip


batches = st.lists(orders, min_size=1, max_size=4)
faults = st.lists(st.sampled_from(FAULTS), max_size=5)
# After how many commits the process dies.
fuses = st.sampled_from([None, None, None, *range(1, 9)])
tellings = st.lists(st.sampled_from(["again", "reversed", "late", "missing"]), max_size=2)


class AnyHistory(RuleBasedStateMachine):
    """Sessions, proposals, faults, deaths, halts and mishaps in any order."""

    @initialize(
        live=st.booleans(), thin=st.booleans(), lot=st.sampled_from([Decimal(1), Decimal("0.001")]),
        invested=st.sampled_from([True, True, False]),
    )  # fmt: skip
    def begin(self, live: bool, thin: bool, lot: Decimal, invested: bool) -> None:
        self.scratch = tempfile.TemporaryDirectory(dir=_SCRATCH)
        self.world = World(Path(self.scratch.name), live=live, thin=thin, lot=lot)
        self.life: Life | None = None
        self.asleep: list[Life] = []
        self.batches = 0
        if invested:
            for symbol in SYMBOLS[:2]:
                self.propose([("market", symbol, BUY, 250, 0, TimeInForce.DAY)], again=False)
            self.work([], None, [], 0)
            for _ in range(1 + live):
                self.the_market_moves()
            self.the_gateway_ends("closes")

    # ---- gateways --------------------------------------------------------------------------------

    def attempt(self, life: Life, what: Callable[[], object]) -> bool:
        """Let a gateway do something; False if it or its process ended over it."""
        try:
            what()
        except (Crash, BrokerUnavailable, JournalError):
            life.end()
            if life is self.life:
                self.life = None
            return False
        return True

    def gateway(self, fuse: int | None = None, silent: int = 0) -> Life | None:
        """The gateway that lives, or a new one; None if it did not survive its opening."""
        if self.life is None:
            world = self.world
            if world.live:
                world.session = world.closed
            self.life = life = world.born()
            life.journal.fuse, world.silent = fuse, silent
            self.attempt(life, lambda: life.gateway.open(world.session, world.run_id))
            life.journal.fuse, world.silent = None, 0
        return self.life

    def work(self, faults: list[str], fuse: int | None, telling: list[str], silent: int) -> None:
        """One look of the gateway under faults; if it survives them, one without."""
        world, life = self.world, self.gateway()
        assert life is not None
        world.faults, world.telling, world.silent, life.journal.fuse = list(faults), list(telling), silent, fuse
        alive = self.attempt(life, life.gateway.step)
        world.faults, world.telling, world.silent, life.journal.fuse = [], [], 0, None
        if alive and self.attempt(life, life.gateway.step) and not life.line.changed():
            world.same_books(life)

    @rule(fuse=st.none() | st.integers(1, 12), silent=st.sampled_from([0, 0, 0, 1, 2]))
    def a_gateway_opens(self, fuse: int | None, silent: int) -> None:
        self.gateway(fuse, silent)

    @rule(faults=faults, fuse=fuses, telling=tellings, silent=st.sampled_from([0, 0, 0, 1]))
    def a_gateway_works(self, faults: list[str], fuse: int | None, telling: list[str], silent: int) -> None:
        self.work(faults, fuse, telling, silent)

    @rule(how=st.sampled_from(["dies", "closes", "is paused, and another takes over"]))
    def the_gateway_ends(self, how: str) -> None:
        life, self.life = self.life, None
        if life is None:
            return
        if how == "dies":
            life.end()
        elif how == "closes":
            self.attempt(life, life.gateway.close)
            life.end()
        else:
            self.asleep.append(life)
            self.gateway()

    @rule()
    def a_paused_gateway_wakes(self) -> None:
        if not self.asleep:
            return
        life, sent = self.asleep.pop(), sum(self.world.taken.values())
        self.attempt(life, life.gateway.step)
        assert sum(self.world.taken.values()) == sent, "a gateway whose lease has passed on sent something"
        life.end()

    # ---- notebooks -------------------------------------------------------------------------------

    def propose(self, wanted: list[tuple[Any, ...]], again: bool) -> None:
        """A batch of a new strategy, or once more of the last one."""
        world = self.world
        self.batches += not again or not self.batches
        strategy = f"s{self.batches}"
        before = [record.intent for record in world.orders.intents()]
        made = [self._intent(strategy, number, *order) for number, order in enumerate(wanted)]
        known = world.orders.batch_of(ACCOUNT, PIPELINE, world.session, 0, strategy) is not None
        assert world.propose(strategy, made) is not known
        if known:
            assert [record.intent for record in world.orders.intents()] == before

    @rule(wanted=batches, again=st.booleans())
    def a_notebook_proposes(self, wanted: list[tuple[Any, ...]], again: bool) -> None:
        self.propose(wanted, again)

    @rule(wanted=batches, faults=faults, fuse=fuses, telling=tellings)
    def a_notebook_proposes_to_a_gateway(
        self, wanted: list[tuple[Any, ...]], faults: list[str], fuse: int | None, telling: list[str]
    ) -> None:
        self.gateway()
        self.propose(wanted, again=False)
        self.work(faults, fuse, telling, 0)

    def _intent(
        self, strategy: str, number: int, kind: str, symbol: str, side: Side, shares: int, off: int, tif: TimeInForce
    ) -> OrderIntent:  # fmt: skip
        world, quantity, more = self.world, Decimal(shares), dict[str, Any]()
        last = price(symbol, world.session)
        near = (last * (100 + off) / 100).quantize(_CENT)
        if kind == "replace":
            waiting = [o for o in PaperExchange.open_orders(world.venue) if o.type.has_limit and not o.is_exit]
            if waiting:
                old = waiting[shares % len(waiting)]
                symbol, side, tif, last = old.symbol, old.side, old.time_in_force, price(old.symbol, world.session)
                more = {"type": old.type, "limit_price": old.limit_price, "stop_price": old.stop_price,
                        "replaces": old.client_order_id}  # fmt: skip
        elif kind == "limit":
            more = {"type": OrderType.LIMIT, "limit_price": near}
        elif kind in {"stop", "stop_limit"}:
            stop = (last * (100 + side.sign * (1 + abs(off))) / 100).quantize(_CENT)
            more = {"type": OrderType(kind), "stop_price": stop}
            if kind == "stop_limit":
                more["limit_price"] = stop
        elif kind == "trail":
            more = {"type": OrderType.TRAILING_STOP, "trail_percent": Decimal(1 + abs(off))}
        elif kind == "bracket":
            around = [(last * (100 + side.sign * way) / 100).quantize(_CENT) for way in (2 + abs(off), -2 - abs(off))]
            more = {"bracket": Bracket(*around)}
        elif kind == "fraction":
            quantity, tif = quantity / 8, TimeInForce.DAY
        elif kind == "amount":
            quantity, tif = (Decimal(shares * 50) / last).quantize(Decimal("1e-9")), TimeInForce.DAY
            more = {"notional_usd": Decimal(shares * 50)}
        identifier = client_order_id(ACCOUNT, PIPELINE, world.session, 0, strategy, symbol, side, number)
        return OrderIntent(
            identifier, symbol, side, quantity, last, strategy, number, time_in_force=tif, **more
        )  # fmt: skip

    # ---- time ------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 4, 11, 31, 61]))
    def time_passes(self, seconds: int) -> None:
        self.world.clock.advance(seconds)
        self.world.arrive()

    @rule()
    def the_market_moves(self) -> None:
        """It opens or closes by itself; one that waits for gateways has its next session asked for."""
        world, exchange = self.world, self.world.venue.exchange
        if SESSIONS.index(world.session) > 20:
            return
        if world.live and world.exchange_is_open:
            exchange.close_market()
        elif world.live:
            exchange.open_market()
        else:
            self.the_gateway_ends("closes")
            world.session = SESSIONS[SESSIONS.index(world.session) + 1]

    # ---- people ----------------------------------------------------------------------------------

    @rule(state=st.sampled_from([TradingState.ACTIVE, TradingState.ACTIVE, *TradingState]), in_a_wait=st.booleans())
    def a_person_sets_the_trading_state(self, state: TradingState, in_a_wait: bool) -> None:
        controls = self.world.controls

        def latch() -> None:
            controls.set_trading_state(ACCOUNT, state, "drill", "me")

        if in_a_wait:
            self.world.clock.meanwhile = [latch]
        else:
            latch()

    @rule(cancel=st.booleans(), flatten=st.booleans(), resume=st.sampled_from([True, True, True, False]))
    def a_person_halts(self, cancel: bool, flatten: bool, resume: bool) -> None:
        controls = self.world.controls
        controls.set_trading_state(ACCOUNT, TradingState.HALTED, "drill", "me")
        for kind in [CANCEL] * (cancel or flatten) + [FLATTEN] * flatten:
            controls.ask(ACCOUNT, kind, "me")
        self.work([], None, [], 0)
        if resume:
            controls.set_trading_state(ACCOUNT, TradingState.ACTIVE, "drill", "me")

    @rule(which=st.integers(0, 5), at_the_venue=st.booleans())
    def a_person_cancels(self, which: int, at_the_venue: bool) -> None:
        waiting = PaperExchange.open_orders(self.world.venue)
        if waiting:
            chosen = waiting[which % len(waiting)].client_order_id
            if at_the_venue:
                self.world.venue.cancel(chosen)
            else:
                self.world.controls.ask(ACCOUNT, CANCEL, "me", chosen)

    @rule(adopt=st.booleans())
    def a_person_reconciles(self, adopt: bool) -> None:
        life = self.gateway()
        assert life is not None
        if adopt:
            self._adopt(life)
        elif not life.gateway.reconcile():
            self.world.agrees()
            self.world.disturbed = False

    def _adopt(self, life: Life) -> None:
        found = life.gateway.reconcile()
        life.gateway.adopt(found, "me")
        left = life.gateway.reconcile()
        assert not [d for d in left if d.corrections], f"adopting {found} left {left}"
        life.gateway.refresh()
        self.world.agrees()
        self.world.disturbed = False

    # ---- what the venue can do -------------------------------------------------------------------

    @rule(symbol=st.sampled_from(SYMBOLS), side=st.sampled_from([BUY, SELL]), shares=st.integers(1, 300))
    def somebody_trades_by_hand(self, symbol: str, side: Side, shares: int) -> None:
        venue = self.world.venue
        if side is BUY or venue.exchange.free_shares(symbol) >= shares:
            venue.exchange.manual_trade(symbol, side, Decimal(shares), price(symbol, self.world.closed))

    @rule(symbol=st.sampled_from(SYMBOLS), shares=st.integers(1, 50))
    def somebody_elses_order_waits(self, symbol: str, shares: int) -> None:
        number = len(self.world.venue.exchange.orders())
        intent = OrderIntent(
            f"theirs-{number}", symbol, BUY, Decimal(shares), Decimal(0), "", 0, OrderType.LIMIT, Decimal("1.00"),
            TimeInForce.GTC,
        )  # fmt: skip
        PaperExchange.submit(self.world.venue, intent)

    @rule(which=st.integers(0, 9), how=st.sampled_from(["bust", "price", "quantity", "overfill"]))
    def a_trade_is_changed(self, which: int, how: str) -> None:
        exchange = self.world.venue.exchange
        fills = [fill for _, fill in exchange.fills()]
        buys = [o for o in PaperExchange.open_orders(self.world.venue) if o.side is BUY and not o.is_exit]
        if how == "overfill" and buys:
            exchange.overfill(buys[which % len(buys)].client_order_id, Decimal(1))
        elif how == "overfill" or not fills:
            return
        elif how == "bust":
            exchange.bust(fills[which % len(fills)].fill_id)
        elif how == "price":
            exchange.correct(fills[which % len(fills)].fill_id, price=fills[which % len(fills)].price + 1)
        else:
            exchange.correct(fills[which % len(fills)].fill_id, quantity=fills[which % len(fills)].quantity + 1)
        self.world.disturbed = self.world.changed = True

    # ---- what must hold --------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        try:
            for life in (self.life, *self.asleep):
                if life is not None:
                    life.end()
            self._undisturbed()
        finally:
            world.close()
            self.scratch.cleanup()

    def _undisturbed(self) -> None:
        """One life in which nothing goes wrong: nothing is left in doubt, and the books are the venue's."""
        world = self.world
        world.clock.meanwhile = []
        world.controls.set_trading_state(ACCOUNT, TradingState.ACTIVE, "", "me")
        world.clock.advance(60)
        if world.live:
            world.session = world.closed
        life = world.born()
        life.gateway.open(world.session, world.run_id)
        for _ in range(6):
            life.gateway.step()
            world.clock.advance(11)
        world.check()
        world.same_books(life)
        left = {OrderState.INTENDED, OrderState.SUBMITTING, OrderState.UNKNOWN}
        assert not [r for r in world.orders.intents() if r.state in left]
        self._adopt(life)
        life.gateway.close()
        life.journal.close()


AnyHistory.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyHistory = AnyHistory.TestCase


# ---- what these histories have found, one by one -------------------------------------------------


@pytest.fixture
def live(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, live=True)
    yield world
    world.close()


@pytest.fixture
def replayed(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def opened(world: World) -> Life:
    life = world.born()
    life.gateway.open(world.session, world.run_id)
    return life


def propose(world: World, strategy: str, symbol: str, side: Side, shares: int) -> None:
    identifier = client_order_id(ACCOUNT, PIPELINE, world.session, 0, strategy, symbol, side, 0)
    last = price(symbol, world.session)
    world.propose(strategy, [OrderIntent(identifier, symbol, side, Decimal(shares), last, strategy, 0)])


def states(world: World) -> list[str]:
    return [record.state.value for record in world.orders.intents()]


@pytest.mark.parametrize("how", ["late", "missing"])
def test_an_order_that_has_filled_counts_until_its_executions_are_booked(live: World, how: str) -> None:
    life = opened(live)
    live.venue.exchange.open_market()
    propose(live, "one", "A", BUY, 400)
    live.telling = [how, how]
    life.gateway.step()
    life.gateway.step()
    assert live.ledger.books(ACCOUNT).holdings == {}
    propose(live, "two", "A", BUY, 401)  # 801 x 99.49 of a hundred thousand are over 60%
    life.gateway.step()
    assert states(live) == ["accepted", "denied"]
    live.telling = []
    assert life.gateway.reconcile() == []  # the drop copy tells at the latest
    assert (states(live), live.ledger.books(ACCOUNT).holdings) == (["filled", "denied"], {"A": Decimal(400)})
    life.end()


def test_a_replacement_comes_on_top_of_what_has_filled_and_was_not_told(tmp_path: Path) -> None:
    live = World(tmp_path, live=True, thin=True)
    life, last = opened(live), price("A", live.session)
    limit = {"type": OrderType.LIMIT, "limit_price": last + 1, "time_in_force": TimeInForce.GTC}
    live.propose("one", [OrderIntent("old", "A", BUY, Decimal(400), last, "one", 0, **limit)])
    life.gateway.step()
    live.venue.exchange.open_market()
    (waiting,) = PaperExchange.open_orders(live.venue)
    assert (waiting.filled_quantity, waiting.open_quantity) == (300, 100)
    live.telling = ["missing"] * 3
    life.gateway.step()
    assert live.ledger.books(ACCOUNT).holdings == {}
    new = OrderIntent("new", "A", BUY, Decimal(350), last, "two", 0, **limit, replaces="old")
    live.propose("two", [new])  # 350 are 35% of the account, 650 are over 60%
    life.gateway.step()
    assert [row["gate"] for row in live.journal.read("SELECT gate FROM decisions ORDER BY id")] == ["", "exposure"]
    assert live.ledger.books(ACCOUNT).holdings == {}
    life.end()
    live.close()


def test_an_exit_that_only_the_drop_copy_tells_belongs_to_its_bracket(live: World) -> None:
    life = opened(live)
    last = price("A", live.session)
    bracket = Bracket(*((last * (100 + way) / 100).quantize(_CENT) for way in (20, -5)))
    gtc = TimeInForce.GTC
    entry = OrderIntent("entry", "A", BUY, Decimal(100), last, "one", 0, time_in_force=gtc, bracket=bracket)
    live.propose("one", [entry])
    life.gateway.step()
    live.venue.exchange.open_market()
    life.gateway.step()
    (_, stop) = live.venue.exchange.orders(open_only=True, newest_first=False)
    live.venue.exchange.overfill(stop.order.client_order_id, Decimal(0))
    live.telling = ["missing"] * 3
    assert life.gateway.reconcile() == []
    assert live.ledger.legs(ACCOUNT) == {stop.order.client_order_id: "entry"}
    assert live.ledger.sleeves(ACCOUNT) == {"one": {}}
    life.end()


def test_a_trade_by_hand_counts_and_locks_before_anybody_has_adopted_it(live: World) -> None:
    life = opened(live)
    live.venue.exchange.manual_trade("A", BUY, Decimal(700), Decimal(100))
    propose(live, "one", "A", BUY, 10)
    propose(live, "two", "B", BUY, 400)  # 70,000 and 40,000 USD
    propose(live, "three", "B", BUY, 100)
    life.gateway.step()
    gates = [row["gate"] for row in live.journal.read("SELECT gate FROM decisions ORDER BY id")]
    assert (states(live), gates) == (["denied", "denied", "accepted"], ["locked", "exposure", ""])
    life.end()


def test_a_trade_by_hand_that_was_corrected_is_adopted_as_it_stands_now(live: World) -> None:
    life = opened(live)
    fill = live.venue.exchange.manual_trade("A", BUY, Decimal(10), Decimal(100))
    life.gateway.step()
    live.venue.exchange.correct(fill.fill_id, price=Decimal(99), quantity=Decimal(9))
    (difference,) = life.gateway.reconcile()
    assert (difference.kind, difference.text) == ("external", "buy 9 A at 99 was not ours (order manual-1)")
    life.gateway.adopt([difference], "me")
    assert life.gateway.reconcile() == []
    live.agrees()
    life.end()


def test_reducing_is_heard_while_the_venue_asks_for_a_pause(live: World) -> None:
    life = opened(live)
    propose(live, "one", "A", BUY, 10)
    live.faults = ["busy"]
    live.clock.meanwhile = [
        lambda: live.controls.set_trading_state(ACCOUNT, TradingState.REDUCING, "drill", "me")
    ]  # fmt: skip
    life.gateway.step()
    assert states(live) == ["intended"]  # what the venue did not take is decided anew
    life.gateway.pump()
    assert (states(live), live.taken) == (["denied"], {})
    life.end()


@pytest.mark.parametrize("asleep_s", [5, 40])
def test_a_gateway_that_wakes_while_the_next_one_sends_does_not_call_the_order_back(
    replayed: World, asleep_s: int
) -> None:
    first = opened(replayed)
    propose(replayed, "one", "A", BUY, 10)
    replayed.faults, replayed.silent = ["lost"], 2
    first.gateway.step()
    assert states(replayed) == ["unknown"]
    replayed.clock.advance(asleep_s)
    second = opened(replayed)

    def wakes() -> None:
        with pytest.raises(JournalError, match="passed to another process"):
            first.gateway.step()

    replayed.as_it_leaves = [wakes]
    second.gateway.step()
    assert states(replayed) == ["accepted"]
    for life in (first, second):
        life.end()


def test_an_order_in_doubt_that_a_later_session_finds_unsent_is_denied(live: World) -> None:
    life = opened(live)
    propose(live, "one", "A", BUY, 10)
    live.faults = ["crash before"]
    with pytest.raises(Crash):
        life.gateway.step()
    life.end()
    live.venue.exchange.open_market()
    live.venue.exchange.close_market()
    live.session = live.closed
    life = opened(live)  # within the seconds in which it may still be on its way
    assert states(live) == ["unknown"]
    live.clock.advance(11)
    life.gateway.step()
    assert (states(live), live.taken) == (["denied"], {})
    life.end()
