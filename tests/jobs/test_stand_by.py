"""A run that stands by for its moment: everything is open, and nothing has happened."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psutil
import pytest
from support.homes import make_home

from workbench.app import Workbench, open_workbench
from workbench.errors import ConfigError, JobError, NotebookFailed, RunCancelled
from workbench.jobs.kernels import KernelPool
from workbench.jobs.pages import HtmlWriter
from workbench.jobs.pipelines import Pipeline, load_pipeline
from workbench.jobs.preload import PRELOAD
from workbench.jobs.runner import Prepared, Runner, RunRequest
from workbench.journal import Owner, RunJournal
from workbench.journal.states import RunState, StepState

SESSION = date(2013, 2, 28)
PIPELINE = """
description = "One order"
[[steps]]
name = "order"
notebook = "order.ipynb"
orders = true
[[steps]]
name = "look"
notebook = "look.ipynb"
"""
ORDER = (
    "import workbench\n"
    "wb = workbench.open(session=session)\n"
    "outcome = wb.propose(wb.orders([wb.ticket('AAPL', 'buy', 1)]))"
)


class Silent:
    def step(self, *_: object) -> None: ...

    def cell(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_home(tmp_path_factory.mktemp("stand_by") / "home")
    session = f'session: "date" = "{SESSION}"  # the session'
    for name, code in (("order", ORDER), ("look", "session")):
        cells = [
            {"cell_type": "code", "id": f"c{n}", "metadata": {"tags": tags}, "source": source,
             "execution_count": None, "outputs": []}
            for n, (tags, source) in enumerate([(["parameters"], session), ([], code)])
        ]  # fmt: skip
        notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (folder / "pipelines" / f"{name}.ipynb").write_text(json.dumps(notebook))
    (folder / "pipelines" / "bell.toml").write_text(PIPELINE)
    return folder


@pytest.fixture(scope="module")
def pool() -> Iterator[KernelPool]:
    with KernelPool(PRELOAD, ("XNYS",)) as kernels:
        yield kernels


@pytest.fixture
def workbench(home: Path) -> Iterator[Workbench]:
    opened = open_workbench(start=home, env={})
    opened.load_sample()
    yield opened
    opened.close()


@pytest.fixture
def cancel() -> threading.Event:
    return threading.Event()


@pytest.fixture
def runner(workbench: Workbench, pool: KernelPool, cancel: threading.Event) -> Iterator[Runner]:
    with HtmlWriter() as html:
        yield Runner(workbench, pool, html, Silent(), cancel)


def request(account: str) -> RunRequest:
    return RunRequest("bell", SESSION, account=account, allow_dirty=True)


def test_what_stands_by_runs_as_if_it_had_been_started_then(runner: Runner, workbench: Workbench, home: Path) -> None:
    prepared = runner.stand_by(runner.prepare(request("ready")))
    runs = RunJournal(workbench.journal)
    assert prepared.steps is not None
    assert [thread.name for thread in threading.enumerate() if thread.name in {"gateway", "notebook"}] == [
        "gateway", "notebook",
    ]  # fmt: skip
    (held,) = workbench.journal.read("SELECT expires_at FROM leases WHERE name='gateway:ready'")
    assert held["expires_at"] > workbench.journal.now()
    assert runs.find(prepared.key) is None
    assert not (home / "data" / "runs" / "bell").exists()
    outcome = runner.start(prepared)
    assert outcome.run.state is RunState.SUCCEEDED
    assert [step.state.value for step in runs.steps(outcome.run.run_id)] == ["ok", "ok"]
    assert outcome.run.provenance["data_snapshot"] == workbench.lake.snapshot()
    events = workbench.journal.read("SELECT state FROM run_events WHERE run_id=?", (outcome.run.run_id,))
    assert [row["state"] for row in events] == ["preflight", "running", "succeeded"]
    orders = workbench.journal.read("SELECT symbol FROM intents WHERE account='ready'")
    assert [row["symbol"] for row in orders] == ["AAPL"]
    assert runner.run(request("ready")).already_done


def test_what_is_dismissed_leaves_nothing_and_frees_the_account(runner: Runner, workbench: Workbench) -> None:
    prepared = runner.stand_by(runner.prepare(request("dismissed")))
    runner.dismiss(prepared)
    runs = RunJournal(workbench.journal)
    assert runs.find(prepared.key) is None
    (lease,) = workbench.journal.read("SELECT expires_at FROM leases WHERE name LIKE '%dismissed'")
    assert lease["expires_at"] <= workbench.journal.now()  # given back


def test_a_cancelled_stand_by_is_a_cancelled_run(runner: Runner, workbench: Workbench, cancel: threading.Event) -> None:
    prepared = runner.stand_by(runner.prepare(request("cancelled")))
    cancel.set()
    with pytest.raises(RunCancelled):
        runner.start(prepared)
    run = RunJournal(workbench.journal).find(prepared.key)
    assert run is not None
    assert run.state is RunState.CANCELLED


def test_a_run_that_is_in_the_ledger_does_not_stand_by(runner: Runner, workbench: Workbench) -> None:
    done = runner.run(request("again")).run
    prepared = runner.stand_by(runner.prepare(request("again")))
    assert prepared.steps is None
    assert runner.start(prepared).run.run_id == done.run_id


def kernels() -> list[psutil.Process]:
    """The kernels that this process has."""
    return [p for p in psutil.Process().children(recursive=True) if p.name() == "wb-kernel"]


def steps_of(workbench: Workbench, run_id: str) -> dict[str, str]:
    return {step.name: step.state.value for step in RunJournal(workbench.journal).steps(run_id)}


def test_a_kernel_that_dies_while_it_waits_is_replaced(runner: Runner, workbench: Workbench) -> None:
    prepared = runner.stand_by(runner.prepare(request("replaced")))
    for kernel in kernels():
        kernel.kill()
    (waiting,) = [thread for thread in threading.enumerate() if thread.name == "notebook"]
    waiting.join(timeout=60)
    outcome = runner.start(prepared)
    assert steps_of(workbench, outcome.run.run_id) == {"order": "ok", "look": "ok"}


def test_a_stand_by_that_fails_half_way_gives_the_account_back(
    runner: Runner, workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = runner.prepare(request("half"))

    def no_kernel(*_: object, **__: object) -> None:
        raise JobError("no kernel")

    monkeypatch.setattr("workbench.jobs.steps.execute", no_kernel)
    with pytest.raises(JobError, match="no kernel"):
        runner.stand_by(prepared)
    assert not [thread for thread in threading.enumerate() if thread.name == "gateway"]
    (lease,) = workbench.journal.read("SELECT expires_at FROM leases WHERE name='gateway:half'")
    assert lease["expires_at"] <= workbench.journal.now()


def test_a_step_that_ended_well_stands_whatever_is_wrong_with_the_next(
    runner: Runner, workbench: Workbench, home: Path
) -> None:
    look = home / "pipelines" / "look.ipynb"
    before = look.read_text()
    prepared = runner.prepare(request("changed"))
    look.write_text(before.replace('"source": "session"', '"source": "session.upper()"'))
    try:
        with pytest.raises(ConfigError, match=r"look\.ipynb"):
            runner.start(prepared)
    finally:
        look.write_text(before)
    assert steps_of(workbench, prepared.key.run_id) == {"order": "ok", "look": "error"}
    orders = workbench.journal.read("SELECT 1 FROM intents WHERE account='changed'")
    assert len(orders) == 1
    assert runner.run(request("changed")).resumed
    assert len(workbench.journal.read("SELECT 1 FROM intents WHERE account='changed'")) == 1


def test_what_waits_is_gone_when_an_earlier_step_has_failed_often(
    runner: Runner, workbench: Workbench, home: Path
) -> None:
    fails = json.loads((home / "pipelines" / "look.ipynb").read_text())
    fails["cells"][-1]["source"] = "1 / 0"
    (home / "pipelines" / "fails.ipynb").write_text(json.dumps(fails))
    (home / "pipelines" / "often.toml").write_text(
        'description = "x"\n[[steps]]\nname = "fails"\nnotebook = "fails.ipynb"\nretries = 2\nretry_delay_s = 0.01\n'
        '[[steps]]\nname = "look"\nnotebook = "look.ipynb"\n'
    )
    with pytest.raises(NotebookFailed, match="ZeroDivisionError"):
        runner.run(RunRequest("often", SESSION, account="often", allow_dirty=True))
    assert not [thread for thread in threading.enumerate() if thread.name == "notebook"]
    run = RunJournal(workbench.journal).runs(account="often")[0]
    assert (run.state, steps_of(workbench, run.run_id)) == (RunState.FAILED, {"fails": "error", "look": "not_run"})


def test_a_pipeline_that_was_read_before_its_file_broke_runs_as_it_was(
    runner: Runner, workbench: Workbench, home: Path
) -> None:
    file = home / "pipelines" / "bell.toml"
    good = load_pipeline("bell", file.parent)
    again = Pipeline.model_validate_json(good.model_dump_json(exclude_unset=True))
    assert again == good
    file.write_text("schedule = [")
    try:
        outcome = runner.run(RunRequest(again, SESSION, account="broken", allow_dirty=True))
    finally:
        file.write_text(PIPELINE)
    assert steps_of(workbench, outcome.run.run_id) == {"order": "ok", "look": "ok"}


def test_a_malformed_tag_in_a_later_step_is_refused_before_the_first_runs(
    runner: Runner, workbench: Workbench, home: Path
) -> None:
    look = home / "pipelines" / "look.ipynb"
    before = look.read_text()
    look.write_text(before.replace('"tags": []', '"tags": ["timeout=soon"]'))
    try:
        with pytest.raises(ConfigError, match=r"look\.ipynb, cell \[2\]: 'timeout=soon' is not a time-out"):
            runner.run(request("tagged"))
    finally:
        look.write_text(before)
    assert RunJournal(workbench.journal).runs(account="tagged") == []


def test_another_notebook_of_the_same_name_is_not_taken_for_the_one_that_ran(
    runner: Runner, workbench: Workbench, home: Path
) -> None:
    title = {"cell_type": "markdown", "id": "t", "metadata": {}, "source": "# Order\nplaces orders: yes"}
    made = json.loads((home / "pipelines" / "order.ipynb").read_text())
    made["cells"].insert(0, title)
    for folder, extra in (("one", ""), ("two", "\n1 + 1")):
        made["cells"][-1]["source"] = ORDER + extra
        (home / folder).mkdir()
        (home / folder / "mine.ipynb").write_text(json.dumps(made))

    def asked(folder: str) -> RunRequest:
        return RunRequest(home / folder / "mine.ipynb", SESSION, account="names", allow_dirty=True)

    assert runner.run(asked("one")).run.state is RunState.SUCCEEDED
    assert runner.run(asked("one")).already_done
    with pytest.raises(ConfigError, match="another notebook named mine"):
        runner.run(asked("two"))


def each_of(home: Path, account: str, code: str = "session", *, overlap: bool = False) -> list[RunRequest]:
    """Requests for four sessions of a pipeline of two looks: a first, and one that runs ``code``."""
    made = json.loads((home / "pipelines" / "look.ipynb").read_text())
    made["cells"][-1]["source"] = code
    (home / "pipelines" / "then.ipynb").write_text(json.dumps(made))
    (home / "pipelines" / "each.toml").write_text(
        f'description = "x"\noverlap = {str(overlap).lower()}\n[[steps]]\nname = "look"\nnotebook = "look.ipynb"\n'
        '[[steps]]\nname = "then"\nnotebook = "then.ipynb"\n'
    )
    days = [date(2013, 2, day) for day in (20, 21, 22, 25)]
    return [RunRequest("each", day, account=account, allow_dirty=True) for day in days]


def test_the_next_session_gets_ready_while_this_ones_last_notebook_runs(
    runner: Runner, workbench: Workbench, home: Path
) -> None:
    ready: dict[str, bool] = {}
    requests = each_of(home, "ahead")
    for request, outcome in zip(requests, runner.run_each(requests), strict=True):
        assert outcome.run.state is RunState.SUCCEEDED
        ready[str(request.session)] = any(thread.name == "notebook" for thread in threading.enumerate())
    # between two sessions the next one's notebook stands at its gate, and after the last one nothing does
    assert list(ready.values()) == [True, True, True, False]
    ran = RunJournal(workbench.journal).runs(account="ahead")
    assert [(run.key.session, run.state) for run in ran] == [
        (request.session, RunState.SUCCEEDED) for request in requests
    ]
    assert all(set(steps_of(workbench, run.run_id).values()) == {"ok"} for run in ran)


def test_a_session_that_fails_ends_the_row_and_leaves_no_kernel(
    runner: Runner, workbench: Workbench, home: Path
) -> None:
    requests = each_of(home, "stops", "assert str(session) != '2013-02-21', 'not on this day'")
    row = runner.run_each(requests)
    assert next(row).run.state is RunState.SUCCEEDED
    with pytest.raises(NotebookFailed, match="not on this day"):
        next(row)
    assert not [thread for thread in threading.enumerate() if thread.name == "notebook"]
    ran = {run.key.session: run.state for run in RunJournal(workbench.journal).runs(account="stops")}
    assert ran == {requests[0].session: RunState.SUCCEEDED, requests[1].session: RunState.FAILED}


# Ends when the first notebook of the session after stands by, which its kernel's folder of marks says.
WAIT = """
import time
from pathlib import Path
ready = Path(FOLDER)
while str(session) == "2013-02-20" and not (ready / "2013-02-21").exists():
    time.sleep(0.02)
"""


def test_the_next_session_stands_by_while_the_last_notebook_but_one_runs(
    runner: Runner, workbench: Workbench, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_by = Runner.stand_by

    def marked(self: Runner, prepared: Prepared) -> Prepared:
        ready = stand_by(self, prepared)
        (tmp_path / str(prepared.key.session)).touch()
        return ready

    monkeypatch.setattr(Runner, "stand_by", marked)
    requests = each_of(home, "early-bird")
    look = home / "pipelines" / "look.ipynb"
    before = look.read_text()
    made = json.loads(before)
    made["cells"][-1]["source"] = WAIT.replace("FOLDER", repr(str(tmp_path)))
    look.write_text(json.dumps(made))
    try:
        outcomes = list(runner.run_each(requests[:2]))
    finally:
        look.write_text(before)
    assert [outcome.run.state for outcome in outcomes] == [RunState.SUCCEEDED, RunState.SUCCEEDED]


# Ends when the first step of the session after has run: that it ends shows that the two ran beside each other.
MEET = """
import sqlite3, time
journal = sqlite3.connect(JOURNAL)
cells = "SELECT count(*) FROM cells JOIN runs USING (run_id) WHERE account = 'meet' AND step = ? AND session > ? AND "
ran, begun = cells + "cells.state = 'ok'", cells + "cells.state <> 'pending'"
while str(session) != "2013-02-25" and not journal.execute(ran, ("look", str(session))).fetchone()[0]:
    time.sleep(0.05)
assert not journal.execute(begun, ("then", str(session))).fetchone()[0], "a later session has gone on"
"""


def test_an_overlapping_pipeline_begins_the_next_session_beside_the_last_step_and_goes_no_further(
    runner: Runner, workbench: Workbench, home: Path
) -> None:
    code = MEET.replace("JOURNAL", repr(str(workbench.settings.journal_file)))
    requests = each_of(home, "meet", code, overlap=True)
    seen: list[dict[str, RunState]] = []
    for outcome in runner.run_each(requests):
        assert outcome.run.state is RunState.SUCCEEDED
        seen.append({str(run.key.session): run.state for run in RunJournal(workbench.journal).runs(account="meet")})
    first, *_, last = seen
    assert first == {"2013-02-20": RunState.SUCCEEDED, "2013-02-21": RunState.RUNNING}
    assert last == {str(request.session): RunState.SUCCEEDED for request in requests}
    for run in RunJournal(workbench.journal).runs(account="meet"):
        assert set(steps_of(workbench, run.run_id).values()) == {"ok"}
        record = json.loads((home / run.folder / "run.json").read_text())
        assert record["state"] == "succeeded"


@pytest.mark.parametrize("how", ["fails", "is left"])
def test_what_has_begun_is_cancelled_if_the_session_before_does_not_end_well_and_runs_the_next_time(
    runner: Runner, workbench: Workbench, home: Path, how: str
) -> None:
    account = f"begun-{how.replace(' ', '-')}"
    flag = home / account
    fail = f"from pathlib import Path\nassert Path({str(flag)!r}).exists() or str(session) != '2013-02-21', 'not yet'"
    requests = each_of(home, account, fail if how == "fails" else "session", overlap=True)
    row = runner.run_each(requests)
    assert next(row).run.state is RunState.SUCCEEDED
    if how == "fails":
        with pytest.raises(NotebookFailed, match="not yet"):
            next(row)
        victim, states = requests[2], [RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED]
    else:
        row.close()
        victim, states = requests[1], [RunState.SUCCEEDED, RunState.CANCELLED]
    assert not [thread for thread in threading.enumerate() if thread.name in {"notebook", "pulse"}]
    ran = RunJournal(workbench.journal).runs(account=account)
    assert [run.state for run in ran] == states
    assert ran[-1].key.session == victim.session
    assert (ran[-1].exit_code, ran[-1].reason) == (143, "cancelled: the run before it did not succeed")
    assert "running" not in steps_of(workbench, ran[-1].run_id).values()
    flag.touch()
    outcomes = list(runner.run_each(requests))
    assert all(outcome.run.state is RunState.SUCCEEDED for outcome in outcomes)
    assert outcomes[requests.index(victim)].resumed


def test_a_first_step_that_fails_beside_the_session_before_fails_in_its_turn(
    runner: Runner, workbench: Workbench, home: Path
) -> None:
    requests = each_of(home, "early", "import time; time.sleep(0.3)", overlap=True)
    look = home / "pipelines" / "look.ipynb"
    before = look.read_text()
    made = json.loads(before)
    made["cells"][-1]["source"] = "assert str(session) != '2013-02-21', 'not on this day'"
    look.write_text(json.dumps(made))
    try:
        row = runner.run_each(requests)
        assert next(row).run.state is RunState.SUCCEEDED
        with pytest.raises(NotebookFailed, match="not on this day"):
            next(row)
    finally:
        look.write_text(before)
    ran = RunJournal(workbench.journal).runs(account="early")
    assert [run.state for run in ran] == [RunState.SUCCEEDED, RunState.FAILED]
    assert steps_of(workbench, ran[1].run_id) == {"look": "error", "then": "not_run"}


def test_sessions_that_have_run_are_reported_and_the_rest_is_run(
    runner: Runner, workbench: Workbench, home: Path
) -> None:
    requests = each_of(home, "some")
    runner.run(requests[1])
    outcomes = list(runner.run_each(requests))
    assert [outcome.already_done for outcome in outcomes] == [False, True, False, False]
    assert all(outcome.run.state is RunState.SUCCEEDED for outcome in outcomes)


def test_a_run_that_died_after_its_last_step_is_finished_and_runs_nothing(
    runner: Runner, workbench: Workbench, home: Path
) -> None:
    prepared, runs, me = runner.prepare(request("late")), RunJournal(workbench.journal), Owner.current()
    key = prepared.key
    claim = runs.claim(
        key,
        Owner(me.host, me.pid, me.started - 100),  # the same number, an earlier process
        run_id=key.run_id,
        folder=f"data/runs/{key.run_id}",
        parameters=prepared.binding.record(),
        provenance=prepared.provenance,
        steps=[(step.name, step.notebook) for step in prepared.pipeline.steps],
        running=True,
    )
    for name in ("order", "look"):
        runs.set_step(key.run_id, name, StepState.OK, attempt=claim.run.attempt)
    outcome = runner.run(request("late"))
    assert (outcome.run.state, outcome.run.attempt, outcome.resumed) == (RunState.SUCCEEDED, 2, True)
    assert [step.state for step in runs.steps(key.run_id)] == [StepState.OK, StepState.OK]
    assert [file.name for file in (home / outcome.run.folder).iterdir()] == ["run.json"]
    assert not workbench.journal.read("SELECT 1 FROM batches WHERE run_id=?", (key.run_id,))


def test_two_that_took_one_number_for_a_notebook_are_two_runs(runner: Runner, workbench: Workbench, home: Path) -> None:
    look = RunRequest(home / "pipelines" / "look.ipynb", SESSION, account="looking")
    first, second = runner.prepare(look), runner.stand_by(runner.prepare(look))
    assert (first.key.amendment, second.key.amendment) == (0, 0)
    assert second.steps is not None
    outcomes = [runner.start(prepared) for prepared in (first, second)]
    assert [(o.run.key.amendment, o.run.state, o.already_done, o.resumed) for o in outcomes] == [
        (0, RunState.SUCCEEDED, False, False), (1, RunState.SUCCEEDED, False, False),
    ]  # fmt: skip
    assert outcomes[0].run.folder != outcomes[1].run.folder
