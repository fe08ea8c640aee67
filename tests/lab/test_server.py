"""The whole of it as a user has it: `workbench lab`, a browser, a click."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from support.browser import PATIENCE_MS, opened_page
from support.lab import TOKEN, Door, LabServer, make_lab_home, wait_for_end

from workbench.clock import SystemClock
from workbench.journal import Journal, RunJournal, RunRecord
from workbench.journal.states import RunState

SESSION = "2013-03-01"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_lab_home(tmp_path / "home")


def runs(home: Path) -> list[RunRecord]:
    with Journal(home / "data" / "journal.sqlite", SystemClock()) as journal:
        return RunJournal(journal).runs()


def fill_form(page: Page, notebook: str, name: str, parameters: dict[str, str]) -> None:
    """Right-click a notebook, "Create Job", a name, parameters, "Create"."""
    page.locator(".jp-DirListing-item", has_text=notebook).click(button="right")
    page.locator(".lm-Menu-itemLabel", has_text="Create Job").click()
    # Until it knows the environment, the form forgets what is typed.
    expect(page.get_by_role("checkbox", name="HTML")).to_be_checked(timeout=PATIENCE_MS)
    page.locator("input[name=jobName]").fill(name)
    for number, (key, value) in enumerate(parameters.items()):
        page.get_by_title("Add new parameter").click()
        page.locator(f"input[name=parameter-{number}-name]").fill(key)
        page.locator(f"input[name=parameter-{number}-value]").fill(value)
        page.keyboard.press("Tab")  # the form checks a field when it is left, and moves what is below
    expect(page.locator("input[name=jobName]")).to_have_value(name)
    page.get_by_role("button", name="Create", exact=True).click()


def reload_until(page: Page, row: Locator, state: str) -> None:
    """Press the list's Reload until a job is in a state; the list does not do so by itself."""
    for _ in range(300):
        with page.expect_response(lambda response: "/scheduler/jobs" in response.url):
            page.get_by_role("button", name="Reload", exact=True).click()
        page.wait_for_timeout(200)
        if row.get_by_text(state, exact=True).is_visible():
            return
    expect(row.get_by_text(state, exact=True)).to_be_visible()


def test_a_click_in_the_browser_is_a_run_in_the_ledger(home: Path, tmp_path: Path) -> None:
    with LabServer(home) as server, opened_page() as page:
        page.goto(f"{server.url}/lab/tree/notebooks/?token={TOKEN}")
        fill_form(page, "sum.ipynb", "good", {"a": "40", "session": SESSION})
        good = page.get_by_role("row").filter(has=page.get_by_text("good", exact=True))
        expect(good).to_be_visible(timeout=PATIENCE_MS)
        fill_form(page, "sum.ipynb", "wrong", {"a": "many", "session": SESSION})
        wrong = page.get_by_role("row").filter(has=page.get_by_text("wrong", exact=True))
        expect(wrong).to_be_visible(timeout=PATIENCE_MS)

        reload_until(page, good, "Completed")
        reload_until(page, wrong, "Failed")
        page.screenshot(path=tmp_path / "jobs.png")
        wrong.get_by_text("wrong", exact=True).click()
        told = page.get_by_text("parameter 'a': 'many' is not a whole number")
        expect(told).to_be_visible(timeout=PATIENCE_MS)
        page.screenshot(path=tmp_path / "wrong.png")
        page.get_by_label("breadcrumb").get_by_text("Jobs", exact=True).click()
        good.get_by_text("Notebook", exact=True).click()
        expect(page.get_by_text(f"total 42 in {home}")).to_be_visible(timeout=PATIENCE_MS)
        page.screenshot(path=tmp_path / "output.png")

    done = [run for run in runs(home) if run.state is not RunState.REJECTED]
    assert [(run.key.pipeline, str(run.key.session), run.state, run.trigger, run.parameters) for run in done] == [
        ("nb-sum", SESSION, RunState.SUCCEEDED, "jupyter", {"a": 40, "b": 2})
    ]
    assert not (tmp_path / "user" / ".local" / "share" / "jupyter" / "scheduler.sqlite").exists()


def test_a_job_outlives_a_killed_server_and_the_next_one_tells_its_end(home: Path, tmp_path: Path) -> None:
    door = Door(tmp_path / "door")
    with LabServer(home) as server:
        (environment,) = server.ask("GET", "/scheduler/runtime_environments")
        asked = {
            "name": "waits", "input_uri": "notebooks/waits.ipynb", "runtime_environment_name": environment["name"],
            "output_formats": ["ipynb"], "parameters": {"session": SESSION, "door": str(door.path)},
        }  # fmt: skip
        job = f"/scheduler/jobs/{server.ask('POST', '/scheduler/jobs', asked)['job_id']}"
        door.wait()
        assert server.process is not None
        os.killpg(server.process.pid, signal.SIGINT)  # Ctrl-C in its terminal, which the server asks about first
        server.stop(signal.SIGKILL)
    (run,) = runs(home)
    assert run.owner.is_alive()
    assert os.getpgid(run.owner.pid) == run.owner.pid  # so that Ctrl-C does not reach it
    with LabServer(home) as server:
        assert server.ask("GET", job)["status"] == "IN_PROGRESS"
        server.ask("PATCH", job, {"status": "STOPPED"})
        wait_for_end(run.owner.pid)
        ended = server.ask("GET", job)
        assert (ended["status"], ended["status_message"][:9]) == ("STOPPED", "cancelled")
    assert runs(home)[0].state is RunState.CANCELLED
