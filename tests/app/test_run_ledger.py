"""What a run leaves on record, whatever happens to it: real processes, real kernels, the ledger read afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.homes import environment, make_home, start, workbench, write_notebook, write_pipeline

SESSION = "2013-02-28"
CANARY = "canary-4f1d0c7e"
# An order step that proposes one order and then goes on for as long as it is left alone.
PROPOSE = (
    f"import workbench; wb = workbench.open(session='{SESSION}')\n"
    "print(wb.propose(wb.orders([wb.ticket('IBM', 'buy', 10)])).orders)"
)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose lake has the sample in it."""
    home = make_home(tmp_path_factory.mktemp("loaded"), loaded=True)
    return home


@pytest.fixture
def home(loaded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(loaded, tmp_path / "home"))


def run(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return workbench(home, "run", *arguments, "--allow-dirty", **more)


def ledger(home: Path) -> list[dict[str, Any]]:
    rows = json.loads(workbench(home, "runs", "--json").stdout)
    assert isinstance(rows, list)
    return rows


def states(home: Path, run_id: str) -> dict[str, list[str]]:
    """By step: its state, then those of its cells."""
    found: dict[str, list[str]] = {}
    for row in json.loads(workbench(home, "runs", run_id, "--json").stdout):
        found.setdefault(row["step"], []).append(row["state"])
    return found


def wait_for(file: Path, process: subprocess.Popen[str]) -> str:
    """The text of a file that a notebook writes."""
    deadline = time.monotonic() + 120
    while not (file.is_file() and file.read_text()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"no {file.name}"
        time.sleep(0.02)
    return file.read_text()


def is_gone(pid: int) -> bool:
    """Whether a process ends within a while."""
    try:
        psutil.Process(pid).wait(timeout=300)
    except psutil.NoSuchProcess:
        return True
    return not psutil.pid_exists(pid)


def test_a_day_without_a_session_is_skipped_and_said_so(home: Path) -> None:
    done = workbench(home, "run", "daily", "--session", "2013-03-02")
    assert (done.returncode, done.stdout) == (
        0,
        "daily for 2013-03-02: skipped, XNYS is closed on 2013-03-02 (Saturday);"
        " the nearest sessions are 2013-03-01 and 2013-03-04\n",
    )
    (row,) = ledger(home)
    assert (row["state"], row["exit_code"], row["trigger"]) == ("skipped", 0, "manual")


def test_what_the_schedule_asks_for_in_vain_is_on_record_as_rejected(home: Path) -> None:
    asked = ("daily", "--session", SESSION, "-p", "tpo=3")
    by_hand = run(home, *asked)
    assert (by_hand.returncode, ledger(home)) == (64, [])
    moment = "2013-02-28T21:30:00+00:00"
    scheduled = run(home, *asked, "--trigger", "schedule", "--scheduled-at", moment)
    assert scheduled.returncode == 64
    (row,) = ledger(home)
    assert (row["state"], row["exit_code"], row["trigger"], row["scheduled_at"]) == ("rejected", 64, "schedule", moment)
    assert "unknown parameter 'tpo'" in row["reason"]
    assert run(home, "daily", "--session", SESSION).returncode == 0  # a person puts it right
    (row,) = ledger(home)
    assert (row["state"], row["reason"]) == ("succeeded", "")


def test_a_notebook_by_itself_has_the_same_ledger_and_may_be_run_again(home: Path) -> None:
    notebook = write_notebook(home / "notebooks" / "7 Look.ipynb", "print(top)", parameters="top: int = 2")
    for top in ("3", "3"):
        done = workbench(home, "run", str(notebook), "--session", SESSION, "-p", f"top={top}")
        assert done.returncode == 0, done.stderr
    rows = ledger(home)
    assert [(r["pipeline"], r["amendment"], r["state"], r["parameters"]) for r in rows] == [
        ("nb-7_look", 0, "succeeded", {"top": 3}),
        ("nb-7_look", 1, "succeeded", {"top": 3}),
    ]
    latest = workbench(home, "run", str(notebook))
    assert latest.returncode == 0, latest.stderr
    assert ledger(home)[-1]["session"] == "2014-12-31"  # the last one in the sample, of whichever symbol
    wrong = workbench(home, "run", str(notebook), "-p", "tpo=3")
    assert (wrong.returncode, len(ledger(home))) == (64, 3)
    missing = workbench(home, "run", "notebooks/none.ipynb")
    assert (missing.returncode, missing.stderr) == (64, "workbench: no notebook notebooks/none.ipynb\n")


@pytest.mark.parametrize("orders", [False, True])
def test_a_run_spares_its_runner_pandas(home: Path, orders: bool) -> None:
    """Half a second of every run; a forgotten import at the top of some module would bring it back unnoticed."""
    if orders:
        before, command = ["daily", "--session", "2013-02-14"], ["daily", "--session", "2013-02-15"]
    else:
        before = command = [write_notebook(home / "small.ipynb", "1 + 1").name]
    assert run(home, *before).returncode == 0  # which keeps the calendar for the next one
    code = (
        "import sys\n"
        "from workbench.cli.main import main\n"
        "try: main(['run', *sys.argv[1:]])\n"
        "except SystemExit as end: print('ended', end.code, sorted({'pandas', 'numpy', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=home, env=environment(), capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == f"ended 0 {['numpy'] if orders else []}"


def test_a_step_that_may_order_has_to_say_what_it_decided(home: Path) -> None:
    write_pipeline(home, "silent", {"decide": ["1 + 1"]}, step_more="orders = true")
    done = run(home, "silent", "--session", SESSION)
    assert done.returncode == 1
    assert "silent_decide.ipynb: it may order, but ended without proposing anything" in done.stderr
    nothing = f"import workbench; wb = workbench.open(session='{SESSION}'); wb.stand_aside('nothing to do')"
    write_pipeline(home, "aside", {"decide": [nothing]}, step_more="orders = true")
    done = run(home, "aside", "--session", SESSION)
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(home / "data" / "journal.sqlite")) as connection:
        assert connection.execute("SELECT note FROM batches").fetchall() == [("nothing to do",)]


def test_a_step_is_tried_again_as_often_as_the_pipeline_says(home: Path) -> None:
    flaky = (
        "from pathlib import Path\ntries = Path('tries.txt')\n"
        "n = int(tries.read_text()) + 1 if tries.exists() else 1\ntries.write_text(str(n))\nassert n > 2, f'try {n}'"
    )
    write_pipeline(home, "flaky", {"try": [flaky]}, step_more="retries = 2\nretry_delay_s = 0.01")
    done = run(home, "flaky", "--session", SESSION)
    assert done.returncode == 0, done.stderr
    assert (home / "tries.txt").read_text() == "3"


def test_nothing_is_tried_again_after_the_first_order(home: Path) -> None:
    after = "from pathlib import Path\nwith Path('tries.txt').open('a') as file: file.write('x')\n1 / 0"
    write_pipeline(
        home, "once", {"order": [PROPOSE, after]}, step_more="orders = true\nretries = 3\nretry_delay_s = 0.01"
    )
    done = run(home, "once", "--session", SESSION)
    assert (done.returncode, (home / "tries.txt").read_text()) == (1, "x")
    assert len(json.loads(workbench(home, "orders", "--json").stdout)) == 1


def test_the_whole_run_has_a_limit(home: Path) -> None:
    write_pipeline(home, "slow", {"one": ["1"], "two": ["import time; time.sleep(60)"]}, more="timeout_s = 8.0")
    done = run(home, "slow", "--session", SESSION)
    assert done.returncode == 124
    (row,) = ledger(home)
    assert (row["state"], states(home, row["run_id"])) == (
        "timed_out",
        {"one": ["ok", "ok"], "two": ["error", "error"]},
    )


CLEANS_UP = (
    "import os, time\nfrom pathlib import Path\n"
    "try:\n    Path('pid.txt').write_text(str(os.getpid()))\n    time.sleep(120)\n"
    "finally:\n    Path('cleaned.txt').write_text('yes')"
)


def test_a_run_is_stopped_cleanly_by_its_id(home: Path) -> None:
    write_pipeline(home, "long", {"wait": ["1", CLEANS_UP, "2"]})
    process = start(home, "run", "long", "--session", SESSION, "--allow-dirty")
    kernel = int(wait_for(home / "pid.txt", process))
    (row,) = ledger(home)
    assert row["state"] == "running"
    assert "RUNNING: long for 2013-02-28" in workbench(home, "status").stdout
    stopped = workbench(home, "stop", row["run_id"])
    assert (stopped.returncode, stopped.stdout.split(",")[0]) == (0, f"{row['run_id']}: cancelled")
    output = process.communicate(timeout=300)[0]
    assert (process.returncode, (home / "cleaned.txt").read_text()) == (143, "yes"), output
    assert is_gone(kernel)
    assert states(home, row["run_id"]) == {"wait": ["error", "ok", "error", "not_run"]}
    again = workbench(home, "stop", row["run_id"])
    assert (again.returncode, "is not going on: cancelled" in again.stderr) == (64, True)


def test_a_halt_interrupts_a_step_that_may_order(home: Path) -> None:
    write_pipeline(home, "order", {"order": [PROPOSE, CLEANS_UP]}, step_more="orders = true")
    process = start(home, "run", "order", "--session", SESSION, "--allow-dirty")
    kernel = int(wait_for(home / "pid.txt", process))
    assert workbench(home, "halt", "--reason", "drill", "--flatten").returncode == 0
    output = process.communicate(timeout=300)[0]
    assert (process.returncode, (home / "cleaned.txt").read_text()) == (143, "yes"), output
    assert "trading was halted: drill" in output
    assert is_gone(kernel)
    rows = ledger(home)
    assert rows[0]["state"] == "cancelled"
    assert {row["status"] for row in json.loads(workbench(home, "orders", "--json").stdout)} == {"canceled"}


def test_a_halt_leaves_a_step_alone_that_may_not_order(home: Path) -> None:
    wait = "import time\nfrom pathlib import Path\nPath('here.txt').write_text('x')\n" + (
        "while not Path('go.txt').exists(): time.sleep(0.01)"
    )
    write_pipeline(home, "look", {"look": [wait]})
    process = start(home, "run", "look", "--session", SESSION, "--allow-dirty")
    wait_for(home / "here.txt", process)
    assert workbench(home, "halt").returncode == 0
    (home / "go.txt").write_text("x")
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output


def test_a_runner_that_is_killed_is_reported_lost_with_the_cell_it_was_at(home: Path) -> None:
    write_pipeline(home, "killed", {"first": ["1"], "wait": ["1", CLEANS_UP, "2"], "last": ["3"]})
    process = start(home, "run", "killed", "--session", SESSION, "--allow-dirty")
    kernel = int(wait_for(home / "pid.txt", process))
    journal = home / "data" / "journal.sqlite"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:  # progress is written four times a second
        with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection:
            if connection.execute("SELECT doing FROM runs").fetchone()[0] == "wait [2/3]":
                break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert is_gone(kernel)
    (row,) = ledger(home)
    assert (row["state"], row["reason"].split(" on ")[0]) == ("lost", f"process {process.pid}")
    assert row["reason"].endswith("is gone at wait [2/3]")
    assert states(home, row["run_id"]) == {
        "first": ["ok", "ok"], "wait": ["error", "ok", "error", "not_run"], "last": ["not_run"],
    }  # fmt: skip
    write_notebook(home / "pipelines" / "killed_wait.ipynb", "1")
    done = run(home, "killed", "--session", SESSION)
    assert done.returncode == 0, done.stderr
    assert "attempt 2" in done.stdout
    assert states(home, row["run_id"]) == {"first": ["ok"], "wait": ["ok", "ok"], "last": ["ok", "ok"]}


def test_the_folder_of_a_finished_run_is_sealed_and_says_what_the_run_was(home: Path) -> None:
    write_pipeline(home, "sealed", {"one": ["assert 0"], "two": ["2"]})
    assert run(home, "sealed", "--session", SESSION).returncode == 1
    write_notebook(home / "pipelines" / "sealed_one.ipynb", "1")
    assert run(home, "sealed", "--session", SESSION).returncode == 0  # a sealed folder is no obstacle
    (row,) = ledger(home)
    folder = home / row["folder"]
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())} == {
        folder.name: 0o555, "run.json": 0o444, "01_one.ipynb": 0o444, "01_one.html": 0o444, "02_two.ipynb": 0o444,
        "02_two.html": 0o444,
    }  # fmt: skip
    record = json.loads((folder / "run.json").read_text())
    assert (record["state"], record["attempt"], record["exit_code"]) == ("succeeded", 2, 0)
    assert [(s["name"], s["state"], [c["state"] for c in s["cells"]]) for s in record["steps"]] == [
        ("one", "ok", ["ok"]), ("two", "ok", ["ok"]),
    ]  # fmt: skip
    facts = record["provenance"]
    assert {"git_commit", "git_dirty", "lock_sha256", "notebooks", "promotion", "workbench"} <= facts.keys()
    os.chmod(folder, 0o755)  # so that the test's folder can be removed


def test_no_secret_of_the_environment_is_anywhere_in_what_a_run_leaves(home: Path) -> None:
    look = "import os; print(sorted(os.environ)); print(os.environ)"
    write_pipeline(home, "nosy", {"look": [look]})
    given = 'db_password: str = ""'
    write_notebook(home / "pipelines" / "nosy_look.ipynb", look, "print(db_password)", parameters=given)
    secrets = {name: CANARY for name in ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY", "MY_TOKEN", "DB_PASSWORD")}
    asked = ("nosy", "--session", SESSION, "-p", f"db_password={CANARY}")
    done = run(home, *asked, **secrets, DB_URL=f"postgres://ada:{CANARY}@host/db")
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout + done.stderr
    found = [file for file in home.rglob("*") if file.is_file() and CANARY.encode() in file.read_bytes()]
    assert found == []


def test_a_step_whose_notebook_is_gone_fails_in_its_turn_and_no_other_step_with_it(home: Path) -> None:
    first = "from pathlib import Path\nPath('pipelines/gone_two.ipynb').unlink()"
    # Nothing stands ready under a limit for the whole run, so the second one is read in its turn.
    write_pipeline(home, "gone", {"one": [first, "1"], "two": ["2"], "three": ["3"]}, more="timeout_s = 120.0")
    done = run(home, "gone", "--session", SESSION)
    assert done.returncode != 0
    (row,) = ledger(home)
    assert states(home, row["run_id"]) == {"one": ["ok", "ok", "ok"], "two": ["error"], "three": ["not_run"]}


def test_what_is_not_promoted_is_refused_before_anything_starts(home: Path) -> None:
    write_pipeline(home, "fresh", {"one": ["1"]})
    done = workbench(home, "run", "fresh", "--session", SESSION)
    assert (done.returncode, ledger(home)) == (64, [])
    assert "not promoted" in done.stderr
