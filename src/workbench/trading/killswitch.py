"""What a halt can do beyond stopping new orders: cancel everything that is open, and go flat.

A command is written to the journal, and whoever holds the account carries it out: the gateway of a running job
within one look (2 ms), or the command line itself if nobody does. A command is done when the venue confirms that
nothing of it is left; until then it is tried again, by the next gateway of the account too.

Source: RTS 6 (Commission Delegated Regulation (EU) 2017/589) Art. 12, kill functionality.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from workbench.domain import Decision, OrderIntent, OrderState, Side, client_order_id
from workbench.errors import BrokerUnavailable, RunOverlap
from workbench.journal import Batch, Controls, IntentRecord, Journal, Ledger, OrderJournal, Owner, RunJournal, RunKey
from workbench.journal.controls import EVERY_SYMBOL, Command
from workbench.journal.orders import FLATTEN
from workbench.journal.states import RunState
from workbench.trading.bookkeeping import IN_FLIGHT

if TYPE_CHECKING:
    from workbench.trading.gateway import Gateway

CANCEL = "cancel"
PIPELINE = "halt"
STRATEGY = FLATTEN
NOT_CLOSED = "not closed"
# The run that an exit belongs to is nobody's process: whoever holds the account goes on with it.
_NOBODY = Owner("kill-switch", 0, 0.0)
_PATIENCE_S = 30.0
_LOOK_S = 0.01
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_NO_PRICE = Decimal("0.01")  # of an exit whose symbol has no price anywhere; it is a market order


class KillSwitch:
    """Carries out what people ask of one gateway's account."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._journal = gateway.journal
        self._controls = Controls(gateway.journal)
        self._orders = OrderJournal(gateway.journal)
        self._seen: dict[int, set[str]] = {}
        self._again_at, self._pause = 0.0, _FIRST_PAUSE_S
        self.pending = False

    def obey(self) -> int:
        """Try everything that is asked once more, less and less often; returns how many commands are left."""
        now = self._journal.clock.monotonic()
        if self.pending and now < self._again_at:
            return len(self._controls.asked(self._gateway.account))
        left = 0
        for command in self._controls.asked(self._gateway.account):
            answer = self._carry_out(command)
            if answer is None:
                left += 1
                break  # what was asked later waits: nobody goes flat before everything is cancelled
            self._controls.finish(command.number, answer)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_S) if left else _FIRST_PAUSE_S
        self._again_at = now + self._pause
        self.pending = left > 0
        return left

    def _carry_out(self, command: Command) -> str | None:
        try:
            return self._flatten(command) if command.kind == FLATTEN else self._cancel(command)
        except BrokerUnavailable:  # asked again in a moment; the command stays on record
            return None

    # ---- cancel ----------------------------------------------------------------------------------

    def _cancel(self, command: Command) -> str | None:
        """Cancel what is open of the target; None while something of it is open or in doubt."""
        withdrawn = self._withdraw(command)
        seen = self._seen.setdefault(command.number, set())
        broker = self._gateway.broker
        for order in broker.open_orders():
            if command.target in (EVERY_SYMBOL, order.client_order_id):
                seen.add(order.client_order_id)
                broker.cancel(order.client_order_id)
                self._gateway.keep_lease()
        self._gateway.settle()
        self._gateway.refresh()
        left = {o.client_order_id for o in broker.open_orders()} & seen
        doubtful = [r for r in self._in_flight() if command.target in (EVERY_SYMBOL, r.intent.client_order_id)]
        return None if left or doubtful else f"{len(seen) + withdrawn} orders cancelled"

    def _withdraw(self, command: Command) -> int:
        """Deny a single order that has not been sent yet; a halt denies all of them anyway."""
        if command.target == EVERY_SYMBOL:
            return 0
        record = self._orders.intent(command.target)
        if record is None or record.state is not OrderState.INTENDED:
            return 0
        reason = f"cancelled by {command.actor} before it was sent"
        self._orders.deny({command.target: Decision(approved=False, gate="cancel", reason=reason)})
        return 1

    # ---- flatten ---------------------------------------------------------------------------------

    def _flatten(self, command: Command) -> str | None:
        """Send an exit for every position that the venue has, once; None while one of them is not answered.

        What an order in doubt may close is left to it, and named. The command's number makes the batch the same
        one again, should this die half-way.
        """
        self._gateway.settle()
        key = RunKey(self._gateway.account, PIPELINE, self._gateway.session, command.number)
        run_id = f"{PIPELINE}-{key.session:%Y%m%d}-{command.number}-{key.account}"
        batch = self._orders.batch_of(key.account, PIPELINE, key.session, command.number, STRATEGY)
        if batch is None:
            intents, doubtful = self._exits(command)
            if not intents:
                return "0 positions are being closed" + _named(doubtful)
            batch = self._propose(key, run_id, command, intents)
        self._gateway.pump()
        records = self._orders.intents(batch_id=batch)
        if any(r.state in {OrderState.INTENDED, *IN_FLIGHT} for r in records):
            return None
        failed = [r for r in records if r.state in {OrderState.DENIED, OrderState.REJECTED}]
        doubtful = [r.intent.symbol for r in self._in_flight()]
        RunJournal(self._journal).set_state(run_id, RunState.SUCCEEDED, exit_code=0, reason=f"by {command.actor}")
        open_now = [f"{r.intent.symbol} ({r.state.value})" for r in failed]
        return f"{len(records) - len(failed)} positions are being closed" + _named(doubtful, open_now)

    def _exits(self, command: Command) -> tuple[list[OrderIntent], list[str]]:
        """What closes every position at the venue, less what open orders close already; and symbols in doubt."""
        gateway = self._gateway
        waiting = [(o.symbol, o.side, o.open_quantity) for o in gateway.broker.open_orders()]
        in_flight = self._in_flight()
        waiting += [(r.intent.symbol, r.intent.side, r.open_quantity) for r in in_flight]
        closing: dict[str, Decimal] = {}
        for symbol, side, quantity in waiting:
            closing[symbol] = closing.get(symbol, Decimal(0)) - side.sign * quantity
        intents = []
        for symbol, held in sorted(gateway.broker.account().holdings.items()):
            side = Side.SELL if held > 0 else Side.BUY
            already = max(closing.get(symbol, Decimal(0)) * (1 if held > 0 else -1), Decimal(0))
            quantity = abs(held) - already
            if quantity > 0:
                identifier = client_order_id(
                    gateway.account, PIPELINE, gateway.session, command.number, STRATEGY, symbol, side, 0
                )
                price = gateway.price(symbol) or _NO_PRICE
                intents.append(OrderIntent(identifier, symbol, side, quantity, price, STRATEGY, 0))
        return intents, sorted({record.intent.symbol for record in in_flight})

    def _propose(self, key: RunKey, run_id: str, command: Command, intents: Sequence[OrderIntent]) -> str:
        RunJournal(self._journal).claim(
            key, _NOBODY, run_id=run_id, folder="", parameters={"by": command.actor}, provenance={}, steps=[]
        )
        cash = Ledger(self._journal).books(key.account).cash
        batch = Batch(
            f"{run_id}:{STRATEGY}", run_id, key.account, PIPELINE, key.session, key.amendment, STRATEGY,
            Decimal(0), cash, 0, FLATTEN,
        )  # fmt: skip
        self._orders.propose(batch, [], intents)
        return batch.batch_id

    def _in_flight(self) -> list[IntentRecord]:
        """Orders in doubt, but for those that the venue knows as others: no look-up will ever settle them."""
        found = self._orders.intents(account=self._gateway.account, states=IN_FLIGHT)
        return [record for record in found if record.intent.client_order_id not in self._gateway.mismatched]


def _named(doubtful: Sequence[str], failed: Sequence[str] = ()) -> str:
    """What was not closed, in words; empty if all was."""
    parts = [*failed, *(f"{symbol} (an order is in doubt)" for symbol in sorted(set(doubtful)))]
    return f"; {NOT_CLOSED}: {', '.join(parts)}" if parts else ""


def demand(
    journal: Journal,
    account: str,
    kinds: Sequence[str],
    actor: str,
    gateway: Callable[[], Gateway],
    target: str = EVERY_SYMBOL,
) -> list[str]:
    """Ask for commands of an account and see to it that they are carried out; returns what came of each.

    Parameters
    ----------
    kinds
        ``CANCEL``, ``FLATTEN``, in the order they are to be done.
    gateway
        Makes a gateway, for the case that no running job holds the account.
    target
        The one order to cancel; every one if left out.

    Raises
    ------
    BrokerUnavailable
        If the venue has not confirmed in 30 s, or a job that holds the account has not answered. What was asked
        stays asked, and the next gateway of the account goes on with it.
    """
    controls, clock = Controls(journal), journal.clock
    numbers = [controls.ask(account, kind, actor, target) for kind in kinds]
    deadline, made = clock.monotonic() + _PATIENCE_S, None
    try:
        while True:
            if made is None:
                made = _attached(gateway)
            if made is not None:
                made.kill_switch.obey()
            answers = [controls.answer(number) for number in numbers]
            told = [answer for answer in answers if answer is not None]
            if len(told) == len(answers):
                return told
            if clock.monotonic() >= deadline:
                raise BrokerUnavailable(_unfinished(account, made), hint="it stays asked for; see `workbench orders`")
            clock.sleep(_FIRST_PAUSE_S)
    finally:
        if made is not None:
            made.close()


def await_answer(journal: Journal, number: int, timeout_s: float) -> str:
    """Wait until the gateway has carried a command out; what came of it.

    Raises
    ------
    BrokerUnavailable
        If it has not in ``timeout_s``; the command stays asked.
    """
    controls, clock = Controls(journal), journal.clock
    deadline = clock.monotonic() + timeout_s
    while (answer := controls.answer(number)) is None:
        if clock.monotonic() >= deadline:
            raise BrokerUnavailable(f"the gateway has not answered in {timeout_s:g} s", hint="it stays asked for")
        clock.sleep(_LOOK_S)
    return answer


def _attached(gateway: Callable[[], Gateway]) -> Gateway | None:
    """A gateway that holds the account; None while a running job does, which looks for commands every 2 ms."""
    made = gateway()
    try:
        made.attach()
    except RunOverlap:
        made.close()
        return None
    except BaseException:
        made.close()
        raise
    return made


def _unfinished(account: str, made: Gateway | None) -> str:
    if made is None:
        return f"the job that holds {account} has not answered in {_PATIENCE_S:g} s"
    left = made.broker.open_orders()
    return f"{account}: the venue has not confirmed in {_PATIENCE_S:g} s; {len(left)} orders are open there"
