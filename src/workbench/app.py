"""Where settings become objects. A notebook starts here: ``wb = workbench.open(session=session)``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.calendars import Calendar, calendar
from workbench.clock import Clock, SystemClock
from workbench.errors import ConfigError, DataError
from workbench.journal import Journal, Owner, RunJournal
from workbench.settings import Settings, load_settings

if TYPE_CHECKING:
    import pandas as pd

    from workbench.brokers.market import LakeMarket
    from workbench.data.bars import Adjustment, Bars
    from workbench.data.lake import Lake, LoadResult
    from workbench.data.quality import QualityReport
    from workbench.domain import Snapshot
    from workbench.hardware.profile import HardwareProfile
    from workbench.reports.report import Report
    from workbench.research.result import Assumptions
    from workbench.strategies.base import Strategy
    from workbench.trading.gateway import GatewayParts
    from workbench.trading.planner import Plan
    from workbench.trading.proposal import Outcome


@dataclass(frozen=True, slots=True)
class RunContext:
    """The run that a kernel works for; None of it when a person opened the notebook."""

    run_id: str
    account: str
    pipeline: str
    session: date
    amendment: int
    data_snapshot: int | None
    may_order: bool


class Workbench:
    """The parts of one installation, each built on first use."""

    def __init__(
        self, settings: Settings, clock: Clock, *, session: date | None = None, run: RunContext | None = None
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.run = run
        self._session = session
        self._proposed: set[str] = set()

    # ---- parts -----------------------------------------------------------------------------------

    @property
    def account(self) -> str:
        return self.run.account if self.run else self.settings.account.name

    @cached_property
    def calendar(self) -> Calendar:
        return calendar(self.settings.calendar)

    @cached_property
    def lake(self) -> Lake:
        from workbench.data.lake import Lake

        return Lake(self.settings.lake_dir)

    @cached_property
    def journal(self) -> Journal:
        return Journal(self.settings.journal_file, self.clock)

    @property
    def session(self) -> date:
        """The session decided on.

        Raises
        ------
        ConfigError
            If the notebook was opened without one.
        """
        if self._session is None:
            raise ConfigError("no session", hint="open the workbench with workbench.open(session=...)")
        return self._session

    @property
    def data_snapshot(self) -> int | None:
        """The lake snapshot that this run reads; None means the latest."""
        return self.run.data_snapshot if self.run else None

    @cached_property
    def assumptions(self) -> Assumptions:
        """The costs and sizing rules of ``workbench.toml`` as a backtest takes them."""
        from workbench.research.backtest import Assumptions

        return Assumptions.from_settings(self.settings)

    # ---- data ------------------------------------------------------------------------------------

    def load_sample(self) -> list[LoadResult]:
        """Load the committed sample data; nothing changes if it is there already."""
        from workbench.data.sample import load_sample

        return load_sample(self.lake, self.settings.sample_dir)

    def bars(self, symbols: Sequence[str] | None = None, *, adjustment: Adjustment = "total") -> Bars:
        """Bars up to the session decided on, as known in the run's data snapshot; nothing later is visible."""
        return self.lake.bars(
            list(symbols) if symbols else None,
            end=self._session,
            adjustment=adjustment,
            snapshot=self.data_snapshot,
        )

    def check(self, symbols: Sequence[str], *, sessions: int = 252) -> QualityReport:
        """Check the raw bars of the last ``sessions`` sessions against the quality rules.

        A job is stopped by a fault in what its strategy reads, not by a gap of years ago.
        """
        from workbench.data.quality import check

        raw = self.bars(symbols, adjustment="raw")
        raw = raw.between(start=raw.sessions[-sessions:][0].date())
        actions = self.lake.actions(symbols, end=self._session, snapshot=self.data_snapshot)
        notices = self.lake.notices(symbols, snapshot=self.data_snapshot)
        return check(raw, actions, self.calendar, session=self._session, notices=notices)

    def market(self, session: date, snapshot: int | None = None) -> LakeMarket:
        """Raw market data up to ``session`` for the paper exchange and the gates."""
        from workbench.brokers.market import LakeMarket

        return LakeMarket(self.lake, session, snapshot=snapshot)

    # ---- strategy and orders ---------------------------------------------------------------------

    def strategy(self, name: str, **parameters: object) -> Strategy:
        """A strategy by name, its parameters checked."""
        from workbench.strategies import load

        return load(name, parameters)

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
        return read_snapshot(self.journal, self.account, self.session, starting)

    def plan(self, strategy: str, weights: Mapping[str, float] | pd.Series, snapshot: Snapshot) -> Plan:
        """Turn target weights of the session into order intents on its raw closes."""
        from workbench.brokers.market import exact
        from workbench.trading.planner import PlanKey, plan

        wanted = {str(symbol): float(weight) for symbol, weight in weights.items()}
        raw = self.bars(sorted(wanted), adjustment="raw")
        prices = {symbol: exact(price) for symbol, price in raw.prices_on(self.session).items()}
        run = self.run
        key = PlanKey(
            self.account,
            run.pipeline if run else "by_hand",
            self.session,
            run.amendment if run else 0,
            strategy,
        )
        return plan(key, wanted, snapshot, prices, self.settings.planner)

    def propose(self, plan: Plan) -> Outcome:
        """Hand the plan to the gateway and wait for the outcome; outside a run nothing is sent.

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
        return propose(self.journal, self.run.run_id, plan, self.data_snapshot or self.lake.snapshot())

    def gateway_parts(self, account: str, session: date, snapshot: int | None) -> GatewayParts:
        """What the gateway of an account is built from; only the runner asks for it."""
        from workbench.brokers.matching import Costs
        from workbench.brokers.paper import PaperExchange
        from workbench.trading.gateway import GatewayParts

        market, costs = self.market(session, snapshot), self.settings.costs
        broker = PaperExchange(
            self.settings.exchange_dir / f"{account}.sqlite",
            account=account,
            market=market,
            calendar=self.calendar,
            costs=Costs(costs.commission_per_share_usd, costs.commission_min_usd, Decimal(costs.slippage_bps)),
            starting_cash=self.settings.account.starting_cash_usd,
            opened=session,
        )
        return GatewayParts(account, broker, market, self.calendar, self.settings.risk, Owner.current())

    # ---- seeing ----------------------------------------------------------------------------------

    def report(self) -> Report:
        """Bring the reports database up to date and write the tear sheet of the account."""
        from workbench.reports.report import write_report

        return write_report(self.journal, self.lake, self.settings, account=self.account, session=self._session)

    def equity(self) -> pd.DataFrame:
        """The account's equity curve up to the session, by session, in USD."""
        import pandas as pd

        from workbench.reports import tables

        rows = tables.equity(self.journal, account=self.account, until=self._session)
        columns = ["session", "cash", "positions_value", "equity"]
        return pd.DataFrame(rows, columns=columns).set_index("session")

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

    def close(self) -> None:
        """Close the stores that were opened."""
        for name in ("journal", "lake"):
            part = self.__dict__.pop(name, None)
            if part is not None:
                part.close()


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
    wanted = _as_date(session)
    run = _run_context(settings, clock, env)
    if run is not None:
        if wanted is not None and wanted != run.session:
            raise ConfigError(f"the notebook asks for {wanted}, but its run is for {run.session}")
        wanted = run.session
    workbench = Workbench(settings, clock, session=wanted, run=run)
    if wanted is not None:
        workbench.calendar.require_session(wanted)
    return workbench


def _as_date(value: date | str | None) -> date | None:
    if value is None or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise ConfigError(f"{value!r} is not a date", hint="write it as 2013-03-01") from error


def _run_context(settings: Settings, clock: Clock, env: Mapping[str, str]) -> RunContext | None:
    run_id = env.get("WORKBENCH_RUN")
    if not run_id:
        return None
    with Journal(settings.journal_file, clock) as journal:
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
    )
