"""Where settings become objects. A notebook starts here: ``wb = workbench.open(session=session)``."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.app.installation import RunContext, ahead, as_date
from workbench.app.research_desk import ResearchDesk
from workbench.calendars import calendar
from workbench.clock import SystemClock
from workbench.errors import ConfigError, DataError
from workbench.journal import Journal, RunJournal
from workbench.settings import load_settings

if TYPE_CHECKING:
    import pandas as pd

    from workbench.app.machine import MachineReport
    from workbench.domain import Snapshot
    from workbench.hardware.latency import Latency
    from workbench.hardware.profile import HardwareProfile
    from workbench.reports.report import Report
    from workbench.trading.gateway import Gateway, GatewayParts
    from workbench.trading.orderlist import OrderList
    from workbench.trading.planner import Plan, PlanKey
    from workbench.trading.proposal import Outcome
    from workbench.trading.tickets import Ticket


class Workbench(ResearchDesk):
    """One installation: its data and its research, its account, its reports and its machine."""

    # ---- orders ----------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """The account at the close of the session, as the gateway left it in the journal.

        A notebook that a person opened gets a fresh account if there is no mark of that session.
        """
        from workbench.domain import Snapshot
        from workbench.trading.proposal import read_snapshot

        starting = self.settings.account.starting_cash_usd
        if self.run is None:
            rows = self.journal.read(
                "SELECT 1 FROM marks WHERE account=? AND session=?", (self.account, self.session.isoformat())
            )
            if not rows:
                return Snapshot(self.account, self.session, starting)
        return read_snapshot(self.journal, self.account, self.session, starting, self._close)

    def plan(self, strategy: str, weights: Mapping[str, float] | pd.Series, snapshot: Snapshot) -> Plan:
        """Turn target weights of the session into order intents on its raw closes, sells before buys.

        Raises
        ------
        DataError
            If a weight is no number, or cannot be traded: negative while short sales are off, more than 1 in sum,
            unknown to the lake, or without a bar in the session.
        """
        from workbench.brokers.matching import Costs
        from workbench.trading.planner import plan
        from workbench.trading.sizing import Bounds

        try:
            wanted = {str(symbol): float(weight) for symbol, weight in weights.items()}
        except (TypeError, ValueError) as error:
            raise DataError(f"{strategy}: a weight is not a number: {error}") from error
        # Another strategy's orders use cash too, at prices that its own symbols have.
        others = {order.symbol for order in snapshot.open_orders} - wanted.keys()
        if others:
            others &= set(self.lake.symbols(self.data_snapshot))
        costs, risk = self.settings.costs, self.settings.risk
        fee = Costs(costs.commission_per_share_usd, costs.commission_min_usd, costs.slippage_bps).fee
        bounds = Bounds.of(risk, strategy, fee)
        prices = self._closes({*wanted, *others})
        return plan(self._plan_key(strategy), wanted, snapshot, prices, self.settings.planner, bounds)

    @property
    def ticket(self) -> type[Ticket]:
        """One particular order: ``wb.ticket("AAPL", "buy", 10, type="limit", limit=430.5)``.

        ``type`` is market, limit, stop, stop_limit or trailing_stop; ``time_in_force`` day, gtc, opg or cls. The
        docstring of the class has all arguments (``wb.ticket?`` shows it).
        """
        from workbench.trading.tickets import Ticket

        return Ticket

    def orders(
        self, tickets: Sequence[Ticket], *, strategy: str = "by_hand", snapshot: Snapshot | None = None
    ) -> OrderList:
        """Turn tickets into order intents on the raw closes of the session; :meth:`propose` sends them like a plan.

        Parameters
        ----------
        strategy
            The name they are booked under; one proposal of a name in each run.
        snapshot
            The account at the close of the session, read if left out.

        Raises
        ------
        ConfigError
            If something is no ticket, or a replacement does not fit the order it replaces.
        DataError
            If a symbol is unknown to the lake or did not trade in the session.
        """
        from workbench.trading.orderlist import orders, symbols_of

        prices = self._closes(symbols_of(tickets))
        return orders(self._plan_key(strategy), tickets, snapshot or self.snapshot(), prices)

    def stand_aside(self, reason: str, *, strategy: str = "by_hand") -> Outcome:
        """Say that nothing is to be ordered, and why; a step that may order and says nothing at all has failed.

        Raises
        ------
        ConfigError
            If there is no reason, the step may not place orders, or it has proposed for that strategy before.
        """
        from workbench.trading.orderlist import nothing

        return self.propose(nothing(self._plan_key(strategy), self.snapshot(), reason))

    def propose(self, plan: Plan | OrderList) -> Outcome:
        """Hand a plan or a list of orders to the gateway and wait for the outcome; outside a run nothing is sent.

        Raises
        ------
        ConfigError
            If the step may not place orders, or the notebook has proposed for that strategy before.
        """
        from workbench.trading.proposal import dry_run, propose

        if self.run is None:
            return dry_run(plan)
        if not self.run.may_order:
            raise ConfigError("this step may not place orders", hint="set orders = true for it in the pipeline")
        if plan.key.strategy in self._proposed:
            raise ConfigError(f"{plan.key.strategy} has proposed in this run already", hint="propose one plan for it")
        self._proposed.add(plan.key.strategy)
        snapshot = self.data_snapshot or self.lake.snapshot()
        return propose(self.journal, self.run.run_id, plan, snapshot, step=self.run.step)

    def cancel(self, client_order_id: str, *, timeout_s: float = 60.0) -> str:
        """Have the gateway cancel one of the account's open orders; what came of it, in words.

        Raises
        ------
        ConfigError
            Outside a run, if the step may not place orders, or if the account has no such order.
        BrokerUnavailable
            If the gateway has not answered in ``timeout_s``; the order stays marked for cancelling.
        """
        from workbench.journal import Controls, OrderJournal
        from workbench.journal.runs import acting
        from workbench.trading.killswitch import CANCEL, await_answer

        if self.run is None:
            raise ConfigError("a notebook outside a run cancels nothing", hint="use `workbench cancel ORDER`")
        if not self.run.may_order:
            raise ConfigError("this step may not place orders", hint="set orders = true for it in the pipeline")
        record = OrderJournal(self.journal).intent(client_order_id)
        if record is None or record.account != self.account:
            raise ConfigError(f"account {self.account} has no order {client_order_id}")
        actor = acting(self.run.run_id, self.run.step)
        number = Controls(self.journal).ask(self.account, CANCEL, actor, client_order_id)
        return await_answer(self.journal, number, timeout_s)

    def _plan_key(self, strategy: str) -> PlanKey:
        from workbench.trading.planner import PlanKey

        if not isinstance(strategy, str) or not strategy.strip():
            raise ConfigError(f"strategy {strategy!r} is not a name", hint="orders are booked under it")
        run = self.run
        pipeline, amendment = (run.pipeline, run.amendment) if run else ("by_hand", 0)
        return PlanKey(self.account, pipeline, self.session, amendment, strategy)

    def _close(self, symbol: str) -> Decimal | None:
        known = symbol in self.lake.symbols(self.data_snapshot)
        return self._closes([symbol]).get(symbol) if known else None

    def _closes(self, symbols: Collection[str]) -> dict[str, Decimal]:
        """Raw closes of the session, in USD, of those symbols that traded in it."""
        from workbench.brokers.market import exact

        if not symbols:
            return {}
        names, day = sorted(symbols), self.session
        raw = self.lake.bars(names, start=day, end=day, adjustment="raw", snapshot=self.data_snapshot)
        return {symbol: exact(price) for symbol, price in raw.prices_on(day).items()}

    # ---- what only the runner and the command line ask for ---------------------------------------

    def gateway_parts(
        self, account: str, session: date, snapshot: int | None, tolerate: Sequence[str] = ()
    ) -> GatewayParts:
        """What the gateway of an account is built from; see :func:`workbench.app.venues.gateway_parts`."""
        from workbench.app import venues

        return venues.gateway_parts(self, account, session, snapshot, tolerate)

    def blocked_by_data(self, run_id: str, max_severity: str, tolerate: Sequence[str] = ()) -> str:
        """Why a run's own verdict on its data keeps it from ordering; empty if it does not."""
        from workbench.app import checking

        return checking.blocked_by_data(self, run_id, max_severity, tolerate)

    def gateway(self, account: str) -> Gateway:
        """A gateway of an account where it stands, on the latest data: to look, to cancel, to go flat.

        Raises
        ------
        ConfigError
            If the account was never opened, or its broker cannot be used.
        """
        from workbench.journal import Ledger
        from workbench.trading.gateway import Gateway

        mark = Ledger(self.journal).last_mark(account)
        if mark is None:
            raise ConfigError(f"account {account} was never opened", hint="`workbench run daily` opens it")
        parts = self.gateway_parts(account, date.fromisoformat(mark["session"]), None)
        return Gateway(self.journal, replace(parts, lease_wait_s=0.0))

    # ---- seeing ----------------------------------------------------------------------------------

    def report(self, *, merge: bool | None = None) -> Report:
        """Write the tear sheet of the account, and bring the reports database up to date.

        Parameters
        ----------
        merge
            Whether to bring the database up to date here and now. Left out: not in a run, whose runner does it once
            the run has ended (and a replay's, once its last run has).
        """
        from workbench.reports.report import write_report

        return write_report(
            self.journal, self.lake, self.settings, account=self.account, session=self._session,
            merge=self.run is None if merge is None else merge,
        )  # fmt: skip

    def equity(self) -> pd.DataFrame:
        """The account's equity curve up to the session, by session, in USD."""
        import pandas as pd

        from workbench.reports import tables

        rows = tables.equity(self.journal, account=self.account, until=self._session)
        columns = ["session", "cash", "positions_value", "equity"]
        return pd.DataFrame(rows, columns=columns).set_index("session")

    def executions(self, account: str | None = None) -> pd.DataFrame:
        """What every order that was sent up to the session cost against the market, and how long it took.

        One row per order of the account (this one if left out), by client order id; the columns are those of the
        reports table ``execution``, numbers as floats. `workbench.reports.execution` sums them up.
        """
        from workbench.reports.execution import executions, frame

        rows = executions(
            self.journal,
            self.lake,
            account=account or self.account,
            until=self._session,
            snapshot=self.data_snapshot,
        )
        return frame(rows)

    def holdings(self) -> pd.DataFrame:
        """What the account holds at its last mark: shares, price and value in USD, weight, by symbol."""
        import pandas as pd

        from workbench.reports import tables

        rows = tables.positions(self.journal, account=self.account)
        columns = ["symbol", "quantity", "price", "value", "weight"]
        return pd.DataFrame(rows, columns=columns).set_index("symbol")

    def hardware(self) -> HardwareProfile:
        """What this machine is."""
        from workbench.hardware.profile import profile

        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        return profile(self.settings.data_dir)

    def machine(self, *, quick: bool = False, keep: bool = True) -> MachineReport:
        """What this machine is, can do and can carry: some 20 s; ``quick``: in under 5 s, without the product's parts.

        It is kept among the measurements, so that ``workbench profile --compare`` knows it.
        """
        from workbench.app import machine

        report = machine.look(self.settings, self.calendar, self.clock, quick=quick)
        if keep:
            machine.keep(self.settings, report)
        return report

    def latency(self, hosts: Sequence[str] | None = None, *, tries: int | None = None) -> list[Latency]:
        """How far the paper exchange on this machine and some hosts are; the configured ones if none are named."""
        from workbench.app import machine

        wanted = machine.venues(self.settings) if hosts is None else hosts
        here = machine.measure_practice(self.settings, self.calendar, self.clock, tries=tries)
        return [here, *machine.measure_hosts(self.settings, self.clock, wanted, tries=tries)]


def open_ahead() -> None:
    """Open in a kernel, before its moment, what its notebook's first cells would wait for; changes nothing."""
    from workbench.data.lake import Lake

    settings = load_settings()
    calendar(settings.calendar, settings.cache_dir)
    if not settings.lake_dir.is_dir():
        return
    lake = Lake(settings.lake_dir)
    lake.snapshot()
    for symbol in lake.symbols()[:1]:
        last = lake.last_common_session([symbol])
        lake.bars([symbol], start=last, end=last, adjustment="raw")
    ahead.lake = lake
    if settings.journal_file.is_file():
        ahead.journal = Journal(settings.journal_file, SystemClock())


def open_workbench(
    *, session: date | str | None = None, start: Path | None = None, env: Mapping[str, str] | None = None
) -> Workbench:
    """Open the workbench of the folder one is in; every notebook's first call.

    Parameters
    ----------
    session
        The session whose close is decided on, as a date or ISO text. Nothing later can be read.
    start
        Where to look for ``workbench.toml`` from; the working directory if left out.

    Raises
    ------
    ConfigError
        If there is no valid ``workbench.toml``, the session is none, or not the one of the run.
    """
    env = os.environ if env is None else env
    settings = load_settings(start, env)
    clock = SystemClock()
    wanted = as_date(session)
    workbench = Workbench(settings, clock, session=wanted)
    try:
        run = _run_context(workbench.journal, env) if env.get("WORKBENCH_RUN") else None
        if run is not None:
            if wanted is not None and wanted != run.session:
                raise ConfigError(f"the notebook asks for {wanted}, but its run is for {run.session}")
            workbench.work_for(run)
            wanted = run.session
        if wanted is not None:
            workbench.calendar.require_session(wanted)
    except BaseException:
        workbench.close()
        raise
    return workbench


def _run_context(journal: Journal, env: Mapping[str, str]) -> RunContext:
    run_id = env["WORKBENCH_RUN"]
    record = RunJournal(journal).run(run_id)
    if record is None:
        raise DataError(f"the journal has no run {run_id}")
    return RunContext(
        run_id,
        record.key.account,
        record.key.pipeline,
        record.key.session,
        record.key.amendment,
        record.provenance.get("data_snapshot"),
        bool(env.get("WORKBENCH_ORDERS")),
        env.get("WORKBENCH_STEP", ""),
        tuple(record.provenance.get("quality", {}).get("tolerate", ())),
    )
