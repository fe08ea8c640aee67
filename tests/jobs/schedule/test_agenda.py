"""What is decided about a moment: every policy, dependencies, changed files, two schedulers. XNYS, March 2024.

New York is 5 h behind UTC until 10 March, then 4 h; a session of that week after is 13:30 to 20:00 UTC.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import exchange_calendars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.calendars import Calendar
from workbench.jobs.pipelines import Pipeline
from workbench.jobs.schedule.agenda import MOST_SKIPPED, Action, Agenda, Kind, Past, Plan
from workbench.jobs.schedule.when import GRACE
from workbench.journal.states import RunState

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
MONDAY, TUESDAY = date(2024, 3, 11), date(2024, 3, 12)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2024-{text}").replace(tzinfo=UTC)


XNYS = Calendar("XNYS", exchange_calendars.get_calendar("XNYS", start="2023-06-01", end="2024-12-31"))


def pipeline(name: str, schedule: str | None, *, orders: bool = False, **keys: Any) -> Pipeline:
    step = {"name": "only", "notebook": "only.ipynb", "orders": orders}
    values = {"name": name, "file": Path(f"{name}.toml"), "description": "", "schedule": schedule, "steps": [step]}
    return Pipeline.model_validate({**values, **keys})


class House:
    """An agenda and a ledger in memory."""

    def __init__(self, *pipelines: Pipeline) -> None:
        self.ledger: dict[tuple[str, date], dict[int, Past]] = defaultdict(dict)
        self.seen: Mapping[str, datetime] = {}
        self.busy: set[str] = set()
        self.write(*pipelines)

    def write(self, *pipelines: Pipeline) -> None:
        self.agenda = Agenda(pipelines, lambda name: XNYS)

    def decide(self, now: datetime) -> Plan:
        plan = self.agenda.decide(self.seen, now, lambda name, session: self.ledger[name, session], self.busy)
        self.seen = plan.seen
        return plan

    def look(self, now: datetime) -> list[tuple[str, str]]:
        """Decide and carry out; who does what."""
        plan = self.decide(now)
        for action in plan.actions:
            self.carry_out(action)
        return [(action.due.pipeline, action.kind.value) for action in plan.actions]

    def carry_out(self, action: Action, state: RunState = RunState.SUCCEEDED) -> None:
        due = action.due
        if action.kind is not Kind.WAIT:
            state = state if action.kind is Kind.RUN else RunState.SKIPPED
            self.ledger[due.pipeline, due.session].setdefault(due.slot, Past(state, due.at))

    def record(self, name: str, session: date, state: RunState, at: datetime | None = None, slot: int = 0) -> None:
        self.ledger[name, session][slot] = Past(state, at)


def test_nothing_before_the_first_start_is_caught_up_and_the_moment_itself_is_run() -> None:
    house = House(pipeline("report", "close + 30min"))
    assert house.look(at("03-11T20:31")) == []
    house = House(pipeline("report", "close + 30min"))
    assert house.look(at("03-11T20:30")) == [("report", "run")]


@pytest.mark.parametrize(
    ("missed", "back", "kind"),
    [
        ("skip", "03-11T20:30:59", "run"),
        ("skip", "03-11T20:31:00", "skip"),
        ("run_until 2h", "03-11T22:29:59", "run"),
        ("run_until 2h", "03-11T22:30:00", "skip"),
        ("run_until close + 1h", "03-11T20:59:59", "run"),
        ("run_until close + 1h", "03-11T21:00:00", "skip"),
        ("run_until open - 5min", "03-12T13:24:59", "run"),
        ("run_until open - 5min", "03-12T13:25:00", "skip"),
        ("run_once", "03-12T20:29:58", "run"),
    ],
)
def test_a_missed_moment_is_run_late_exactly_as_long_as_its_policy_says(missed: str, back: str, kind: str) -> None:
    house = House(pipeline("report", "close + 30min", missed=missed))
    house.look(at("03-11T19:00"))
    assert house.look(at(back)) == [("report", kind)]
    assert house.look(at(back) + SECOND) == []


def test_an_outage_of_days_runs_a_report_once_and_puts_the_other_days_on_record() -> None:
    house = House(pipeline("report", "close + 30min"))
    house.look(at("03-11T19:00"))
    plan = house.decide(at("03-14T22:00"))
    assert [(a.due.session.day, a.kind.value, a.reason) for a in plan.actions] == [
        (11, "skip", "superseded by the moment at 2024-03-14 20:30 UTC"),
        (12, "skip", "superseded by the moment at 2024-03-14 20:30 UTC"),
        (13, "skip", "superseded by the moment at 2024-03-14 20:30 UTC"),
        (14, "run", ""),
    ]


def test_orders_never_outlive_the_session_that_they_were_decided_before() -> None:
    trade = pipeline("trade", "close - 15min", orders=True, missed="run_until 2h")
    house = House(trade, pipeline("report", "close - 15min", missed="run_until 2h"))
    house.look(at("03-11T19:00"))
    assert house.look(at("03-11T20:00")) == [("report", "run"), ("trade", "skip")]
    due = house.agenda.upcoming(at("03-12"), at("03-13"))[1]
    assert (due.pipeline, due.deadline) == ("trade", at("03-12T20:00"))


def test_orders_that_may_not_be_late_end_with_the_session_too() -> None:
    agenda = House(pipeline("trade", "close - 1min", orders=True, jitter_s=60.0)).agenda
    (due,) = agenda.upcoming(at("03-11"), at("03-12"))
    assert at("03-11T19:59") < due.start < at("03-11T19:59:30")
    assert due.deadline == at("03-11T20:00")


def test_a_deadline_is_after_its_moment_and_not_the_moment_itself() -> None:
    agenda = House(pipeline("report", "cron 30 13 * * * UTC", missed="run_until open")).agenda
    assert [due.deadline for due in agenda.upcoming(at("03-12"), at("03-13"))] == [at("03-13T13:30")]


def test_what_is_asked_for_begins_with_the_start_and_ends_before_the_end() -> None:
    agenda = House(pipeline("report", "close")).agenda
    assert [due.at for due in agenda.upcoming(at("03-11T20:00"), at("03-12T20:00"))] == [at("03-11T20:00")]


def test_a_deadline_that_has_passed_before_a_moment_of_the_session_lets_that_moment_go() -> None:
    house = House(pipeline("often", "every 30min", missed="run_until close - 1h"))
    house.look(at("03-11T18:00"))
    assert house.look(at("03-11T18:30")) == [("often", "run")]
    plan = house.decide(at("03-11T19:00"))
    assert [(a.kind, a.reason) for a in plan.actions] == [
        (Kind.SKIP, "missed its deadline, 2024-03-11 19:00:00 UTC: it came later")
    ]


def test_a_clock_that_jumps_back_runs_nothing_twice_and_forgets_nothing() -> None:
    house = House(pipeline("report", "close + 30min"), pipeline("early", "open"))
    house.look(at("03-11T19:00"))
    assert house.look(at("03-12T20:30")) == [("report", "skip"), ("early", "run"), ("report", "run")]
    assert house.look(at("03-12T20:31")) == []
    back = house.decide(at("03-11T20:30"))  # a day back, at the very moment
    assert (back.actions, back.wake) == ((), at("03-12T13:30"))
    assert house.look(at("03-12T20:30")) == []
    assert house.look(at("03-13T20:30")) == [("early", "run"), ("report", "run")]


def test_time_that_was_jumped_over_before_a_pipeline_existed_is_not_jumped_over_for_it() -> None:
    house = House(pipeline("report", "close + 30min"))
    house.look(at("03-12T22:00"))  # the clock was a day ahead
    house.look(at("03-11T19:00"))
    assert house.look(at("03-11T20:30")) == [("report", "run")]


def test_a_crash_before_anything_was_recorded_decides_the_same_again() -> None:
    house = House(pipeline("report", "close + 30min"))
    house.look(at("03-11T19:00"))
    first = house.decide(at("03-11T20:30:01"))
    again = house.decide(at("03-11T20:30:09"))
    assert first.actions == again.actions
    assert again.seen["report"] < at("03-11T20:30")


def test_two_schedulers_with_one_ledger_run_everything_once() -> None:
    pipelines = [pipeline("often", "every 15min"), pipeline("report", "close + 30min")]
    one, two = House(*pipelines), House(*pipelines)
    two.ledger = one.ledger
    now, runs = at("03-11T13:00"), []
    while now < at("03-12T13:00"):
        plans = [(house, house.decide(now)) for house in (one, two)]  # both look before either has acted
        for house, plan in plans:
            for action in plan.actions:
                if action.due.slot not in house.ledger[action.due.pipeline, action.due.session]:
                    runs.append((action.due.pipeline, action.due.at, action.kind))
                house.carry_out(action)
        now += 5 * MINUTE
    assert len(runs) == len(set(runs)) == 27
    assert {kind for _, _, kind in runs} == {Kind.RUN}


# ---- jitter --------------------------------------------------------------------------------------


def test_jitter_delays_a_moment_by_the_same_time_however_often_it_is_asked() -> None:
    house = House(pipeline("report", "close + 30min", jitter_s=600.0))
    house.look(at("03-11T19:00"))
    due = house.agenda.upcoming(at("03-11T20:00"), at("03-11T21:00"))[0]
    assert at("03-11T20:30") < due.start < at("03-11T20:40")
    assert House(pipeline("report", "close + 30min", jitter_s=600.0)).agenda.latest("report", due.at) == due
    plan = house.decide(at("03-11T20:30"))
    assert [(a.kind, a.reason) for a in plan.actions] == [(Kind.WAIT, "its jitter")]
    assert plan.wake == due.start
    assert house.look(due.start) == [("report", "run")]


def test_jitter_differs_between_moments_and_pipelines_but_leaves_half_of_the_time_before_the_deadline() -> None:
    names = [f"p{number}" for number in range(20)]
    keys: dict[str, Any] = {"orders": True, "missed": "run_until close - 5min", "jitter_s": 3600.0}
    agenda = Agenda([pipeline(name, "close - 15min", **keys) for name in names], lambda name: XNYS)
    dues = agenda.upcoming(at("03-11"), at("03-16"))
    delays = [due.start - due.at for due in dues]
    assert len(delays) == len(set(delays)) == 100
    assert all(timedelta(0) <= delay <= 5 * MINUTE for delay in delays)
    assert max(delays) > 4 * MINUTE > 1 * MINUTE > min(delays)


# ---- dependencies --------------------------------------------------------------------------------

UPDATE = pipeline("update", "close + 30min")
TRADE = pipeline("trade", "close + 30min", orders=True, missed="run_until 2h", after="update")


def test_what_comes_after_another_waits_for_it_in_the_right_order() -> None:
    house = House(TRADE, UPDATE)
    house.look(at("03-11T19:00"))
    plan = house.decide(at("03-11T20:30"))
    assert [(a.due.pipeline, a.kind, a.reason) for a in plan.actions] == [
        ("update", Kind.RUN, ""),
        ("trade", Kind.WAIT, "waits for update"),
    ]
    assert plan.wake == at("03-11T22:30")  # its deadline, if nothing happens before
    house.record("update", MONDAY, RunState.RUNNING, at("03-11T20:30"))
    assert house.look(at("03-11T20:40")) == [("trade", "wait")]
    house.record("update", MONDAY, RunState.SUCCEEDED, at("03-11T20:30"))
    assert house.look(at("03-11T20:41")) == [("trade", "run")]


@pytest.mark.parametrize(
    "state", [s for s in RunState if not s.is_active and s is not RunState.SUCCEEDED], ids=lambda s: s.value
)
def test_what_comes_after_one_that_did_not_succeed_is_skipped_and_says_why(state: RunState) -> None:
    house = House(TRADE, UPDATE)
    house.look(at("03-11T19:00"))
    house.record("update", MONDAY, state, at("03-11T20:30"))
    plan = house.decide(at("03-11T20:30"))
    assert [(a.kind, a.reason) for a in plan.actions] == [(Kind.SKIP, f"update for 2024-03-11: {state.value}")]


def test_what_waits_beyond_its_deadline_is_skipped_and_says_for_whom() -> None:
    house = House(TRADE, UPDATE)
    house.look(at("03-11T19:00"))
    house.look(at("03-11T20:30"))
    house.record("update", MONDAY, RunState.RUNNING, at("03-11T20:30"))
    plan = house.decide(at("03-11T22:30"))
    assert [(a.kind, a.reason) for a in plan.actions] == [
        (Kind.SKIP, "missed its deadline, 2024-03-11 22:30:00 UTC: update was not through")
    ]


def test_a_skipped_dependency_skips_what_comes_after_it_in_the_same_look() -> None:
    house = House(TRADE, pipeline("update", "close + 30min", missed="skip"))
    house.look(at("03-11T19:00"))
    plan = house.decide(at("03-11T21:00"))
    assert [(a.due.pipeline, a.kind) for a in plan.actions] == [("update", Kind.SKIP), ("trade", Kind.SKIP)]
    assert plan.actions[1].reason.startswith("update for 2024-03-11: skipped, missed its deadline")


def test_success_for_another_session_is_not_success_for_this_one() -> None:
    house = House(TRADE, UPDATE)
    house.look(at("03-12T19:00"))
    house.record("update", MONDAY, RunState.SUCCEEDED, at("03-11T20:30"))
    house.record("update", TUESDAY, RunState.RUNNING, at("03-12T20:30"))
    assert house.look(at("03-12T20:30")) == [("trade", "wait")]


def test_of_a_dependency_with_many_moments_the_last_one_before_counts() -> None:
    house = House(pipeline("often", "every 15min"), pipeline("sum", "close - 20min", after="often"))
    house.look(at("03-12T19:39"))
    slot = 24  # 9:30 is slot 0, 15:30 is slot 24; they decide on Monday
    house.record("often", MONDAY, RunState.SUCCEEDED, at("03-12T19:15"), slot=slot - 1)
    house.record("often", MONDAY, RunState.RUNNING, at("03-12T19:30"), slot=slot)
    assert house.look(at("03-12T19:40")) == [("sum", "wait")]
    house.record("often", MONDAY, RunState.SUCCEEDED, at("03-12T19:30"), slot=slot)
    assert house.look(at("03-12T19:41")) == [("sum", "run")]


@pytest.mark.parametrize("other", [pipeline("update", None), pipeline("update", "open", enabled=False)])
def test_a_dependency_without_a_schedule_is_the_run_that_a_person_starts(other: Pipeline) -> None:
    house = House(TRADE, other)
    house.look(at("03-11T19:00"))
    assert house.look(at("03-11T20:30")) == [("trade", "wait")]
    house.record("update", MONDAY, RunState.SUCCEEDED)
    assert house.look(at("03-11T21:00")) == [("trade", "run")]


def test_order_is_time_then_dependencies_then_name() -> None:
    after: dict[str, Any] = {"missed": "run_until 2h"}
    house = House(
        pipeline("a", "close", after="c", **after),
        pipeline("b", "close"),
        pipeline("c", "close", after="d", **after),
        pipeline("d", "close"),
        pipeline("z", "close - 1min"),
    )
    assert [due.pipeline for due in house.agenda.upcoming(at("03-11"), at("03-12"))] == ["z", "b", "d", "c", "a"]


def test_no_second_run_starts_beside_one_that_is_going_on() -> None:
    house = House(pipeline("often", "every 15min", orders=True))
    house.look(at("03-11T13:31"))
    house.busy = {"often"}
    plan = house.decide(at("03-11T13:45"))
    assert [(a.kind, a.reason) for a in plan.actions] == [(Kind.WAIT, "waits for an earlier run of it")]
    plan = house.decide(at("03-11T13:46"))
    assert [(a.kind, a.reason) for a in plan.actions] == [
        (Kind.SKIP, "missed its deadline, 2024-03-11 13:46:00 UTC: an earlier run of it was not through")
    ]


# ---- what people do ------------------------------------------------------------------------------


def test_a_run_that_a_person_started_counts_for_the_moment() -> None:
    house = House(pipeline("report", "close + 30min"))
    house.look(at("03-11T19:00"))
    house.record("report", MONDAY, RunState.SUCCEEDED)
    assert house.look(at("03-11T20:30")) == []


def test_a_daily_schedule_that_is_moved_does_not_run_the_session_again() -> None:
    house = House(pipeline("report", "close + 30min"))
    house.look(at("03-11T20:00"))
    house.look(at("03-11T20:30"))
    house.write(pipeline("report", "close + 1h"))
    assert house.look(at("03-11T21:00")) == []
    assert house.look(at("03-12T21:00")) == [("report", "run")]


def test_a_schedule_within_the_session_that_is_changed_goes_on_with_slots_of_its_own() -> None:
    house = House(pipeline("often", "every 15min"))
    now = at("03-11T13:30")
    while now <= at("03-11T16:00"):  # slots 0 to 10
        house.look(now)
        now += 15 * MINUTE
    house.write(pipeline("often", "every 30min"))
    runs = []
    while now < at("03-11T20:30"):
        plan = house.decide(now)
        runs += [(f"{a.due.at:%H:%M}", a.due.slot) for a in plan.actions if a.kind is Kind.RUN]
        for action in plan.actions:
            house.carry_out(action)
        now += 15 * MINUTE
    # 16:30 UTC is the 7th moment of the new schedule, but slots 6 to 10 are taken
    assert runs == [
        ("16:30", 11),
        ("17:00", 12),
        ("17:30", 13),
        ("18:00", 14),
        ("18:30", 15),
        ("19:00", 16),
        ("19:30", 17),
    ]
    house.write(pipeline("often", "every 15min"))
    house.seen = {"often": at("03-11T13:00")}  # everything is looked at once more, with the old schedule
    repeated = [a.due.at for a in house.decide(at("03-11T19:59")).actions if a.kind is Kind.RUN]
    assert repeated == [at("03-11T19:45")]


def test_a_pipeline_that_is_added_switched_on_or_renamed_begins_then() -> None:
    house = House(pipeline("old", "open"))
    house.look(at("03-11T13:00"))
    house.look(at("03-11T14:00"))
    house.write(pipeline("old", "open"), pipeline("new", "open + 10min"))
    assert house.look(at("03-11T14:01")) == []
    house.write(pipeline("old", "open", enabled=False), pipeline("new", "open + 10min"))
    assert house.look(at("03-12T14:00")) == [("new", "run")]
    house.write(pipeline("old", "open"), pipeline("new", "open + 10min"))
    assert house.look(at("03-12T14:01")) == []


def test_a_trading_cron_does_nothing_on_a_day_without_a_session_and_does_not_supersede() -> None:
    # Good Friday 2024 is 29 March: New York is closed, and 16:30 EDT is 20:30 UTC
    keys: dict[str, Any] = {"orders": True, "missed": "run_until 48h"}
    house = House(pipeline("trade", "cron 30 16 * * mon-fri America/New_York", **keys))
    house.look(at("03-28T19:00"))
    plan = house.decide(at("03-29T21:00"))
    assert [(f"{a.due.at:%d}", a.kind, a.reason) for a in plan.actions] == [
        ("28", Kind.RUN, ""),
        ("29", Kind.SKIP, "XNYS is closed on 2024-03-29"),
    ]


def test_a_long_outage_puts_a_bounded_number_of_moments_on_record() -> None:
    house = House(pipeline("always", "cron * * * * * UTC"))
    house.look(at("03-11T00:00"))
    plan = house.decide(at("03-12T00:00:30"))
    assert plan.dropped == {"always": 1440 - MOST_SKIPPED}
    assert [a.kind for a in plan.actions] == [Kind.SKIP] * (MOST_SKIPPED - 1) + [Kind.RUN]
    for action in plan.actions:
        house.carry_out(action)
    assert house.look(at("03-12T00:00:59")) == []


def test_the_next_wake_is_the_start_of_the_next_moment() -> None:
    house = House(pipeline("report", "close + 30min"), pipeline("early", "open"))
    assert house.agenda.next_wake(at("03-11T13:30")) == at("03-11T20:30")
    assert house.agenda.next_wake(at("03-15T20:30")) == at("03-18T13:30")
    assert House(pipeline("by_hand", None)).agenda.next_wake(at("03-11")) is None


# ---- whatever happens ----------------------------------------------------------------------------

SCHEDULES = [
    "open", "close", "open - 10min", "close + 30min", "close - 5min", "every 20min",
    "every 1h from open + 30min to close",
    "cron 30 16 * * mon-fri America/New_York", "cron 10 2 * * * America/New_York", "cron 0 */5 * * * Europe/London",
]  # fmt: skip
POLICIES = ["skip", "run_once", "run_until 90min", "run_until close - 1min"]


@st.composite
def pipelines(draw: st.DrawFn) -> list[Pipeline]:
    found = []
    for number in range(draw(st.integers(1, 4))):
        missed = draw(st.sampled_from(POLICIES))
        orders = missed != "run_once" and draw(st.booleans())
        after = draw(st.sets(st.sampled_from([f"p{n}" for n in range(number)]))) if number and missed != "skip" else []
        keys = {"missed": missed, "jitter_s": draw(st.sampled_from([0.0, 30.0, 600.0])), "after": tuple(after)}
        found.append(pipeline(f"p{number}", draw(st.sampled_from(SCHEDULES)), orders=orders, **keys))
    return found


MOVES = st.lists(
    st.timedeltas(timedelta(0), 3 * HOUR) | st.timedeltas(-2 * DAY, 4 * DAY) | st.just(SECOND), min_size=3, max_size=40
)
FATES = st.sampled_from([RunState.SUCCEEDED, RunState.SUCCEEDED, RunState.FAILED, RunState.RUNNING, RunState.LOST])


@settings(max_examples=80, deadline=None)
@given(first=pipelines(), second=pipelines(), moves=MOVES, data=st.data())
def test_whatever_the_clock_the_files_and_the_runs_do_every_moment_is_dealt_with_once_and_in_its_time(
    first: list[Pipeline], second: list[Pipeline], moves: list[timedelta], data: st.DataObject
) -> None:
    house, now = House(*first), at("03-07T15:00")
    change = data.draw(st.integers(0, len(moves)), label="files change at")
    dealt_with: set[tuple[str, datetime]] = set()
    keys: set[tuple[str, date, int]] = set()
    for number, move in enumerate(moves):
        now = max(now + move, at("03-01T00:00"))
        if number == change:
            house.write(*second)
        files = {p.name: p for p in (second if number >= change else first)}
        plan = house.decide(now)
        order = [action.due.at for action in plan.actions]
        assert order == sorted(order)
        for action in plan.actions:
            due = action.due
            assert due.at <= now
            assert due.session == XNYS.last_closed(due.at)
            if action.kind is Kind.WAIT:
                assert due.deadline is None or now < due.deadline
                assert plan.seen[due.pipeline] < due.at
                continue
            assert (due.pipeline, due.at) not in dealt_with
            assert (due.pipeline, due.session, due.slot) not in keys
            dealt_with.add((due.pipeline, due.at))
            keys.add((due.pipeline, due.session, due.slot))
            if action.kind is Kind.RUN:
                policy = files[due.pipeline].policy.word
                assert due.start <= now
                assert due.deadline is None or now < due.deadline
                assert policy != "skip" or now < due.start + GRACE
                if files[due.pipeline].places_orders:
                    assert now < XNYS.close(XNYS.next(due.session))
                    assert due.deadline is not None
                later = [a for a in plan.actions if a.due.pipeline == due.pipeline and a.due.at > due.at]
                assert all(a.kind is Kind.WAIT or "is closed" in a.reason for a in later)
                for other in files[due.pipeline].after:
                    assert RunState.SUCCEEDED in {past.state for past in house.ledger[other, due.session].values()}
            house.carry_out(action, data.draw(FATES, label="fate"))
        assert plan.wake is None or plan.wake > now
        assert all(seen <= now for seen in plan.seen.values())


@settings(max_examples=60, deadline=None)
@given(schedule=st.sampled_from(SCHEDULES), day=st.dates(date(2023, 7, 10), date(2024, 11, 20)), days=st.integers(1, 8))
def test_slots_count_the_moments_of_a_session_whatever_the_window(schedule: str, day: date, days: int) -> None:
    start = datetime(day.year, day.month, day.day, 11, 7, tzinfo=UTC)
    whole = Agenda([pipeline("p", schedule)], lambda name: XNYS).upcoming(start - 9 * DAY, start + 9 * DAY)
    part = Agenda([pipeline("p", schedule)], lambda name: XNYS).upcoming(start, start + days * DAY)
    assert part == [due for due in whole if start <= due.at < start + days * DAY]
    sessions: dict[date, list[int]] = defaultdict(list)
    for due in whole:
        sessions[due.session].append(due.slot)
        assert due.session == XNYS.last_closed(due.at)
    complete = list(sessions.values())[1:-1]
    assert all(slots == list(range(len(slots))) for slots in complete)
