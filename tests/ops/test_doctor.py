"""Every check of the doctor, in a state in which it fails, and the state in which it does not."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.homes import make_home, workbench
from support.hosts import Host, TimeServer, answer, closed_port

from workbench.clock import ManualClock
from workbench.data import _ducklake
from workbench.domain import TradingState
from workbench.errors import ConfigError
from workbench.hardware.disk import read_disk
from workbench.hardware.measurements import Measurements
from workbench.journal import Controls, Journal, Owner, RunJournal, RunKey
from workbench.journal.leases import Leases
from workbench.ops.doctor import Check, examine, installation, stores
from workbench.reports.projection import project
from workbench.settings import Settings, load_settings

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(make_home(tmp_path / "home"), {})


# Examinations that make lines of other names than their own.
LINES = {
    **dict.fromkeys(["memory", "disk", "durable writes", "clock"], "machine"),
    **dict.fromkeys(["trading", "locks", "leases", "reconciliation", "orders", "runs"], "journal"),
}


def lines(settings: Settings, name: str, now: datetime = NOW, env: dict[str, str] | None = None) -> list[Check]:
    """The lines of that name."""
    found = examine(settings, ManualClock(now), only=[LINES.get(name, name)], env=env or {})
    return [check for check in found if check.name == name]


def line(settings: Settings, name: str, now: datetime = NOW, env: dict[str, str] | None = None) -> Check:
    """The gravest line of that name."""
    return max(lines(settings, name, now, env), key=lambda check: ["ok", "warn", "fail"].index(check.state))


def changed(settings: Settings, **sections: dict[str, Any]) -> Settings:
    """The settings with other values in some sections."""
    return settings.model_copy(
        update={name: getattr(settings, name).model_copy(update=values) for name, values in sections.items()}
    )


def open_journal(settings: Settings) -> Journal:
    return Journal(settings.journal_file, ManualClock(NOW))


def claim(settings: Settings, owner: Owner) -> None:
    with open_journal(settings) as journal:
        RunJournal(journal).claim(
            RunKey("paper", "daily", date(2013, 1, 2)), owner, run_id="r", folder="", parameters={}, provenance={},
            steps=[],
        )  # fmt: skip


def test_a_fresh_installation_has_no_failure(settings: Settings) -> None:
    checks = examine(settings, ManualClock(NOW), quick=True)
    assert [check for check in checks if check.state == "fail"] == []
    assert {check.name for check in checks} >= {
        "python", "packages", "lock", "extensions", "kernel", "lab", "credentials", "calendar", "folders",
        "data folder", "memory", "disk", "durable writes", "clock", "lake", "journal", "trading", "locks", "leases",
        "reconciliation", "orders", "reports", "measurements",
    }  # fmt: skip
    assert all(check.fix for check in checks if check.state != "ok")


def test_a_missing_package_fails(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "PACKAGES", (*installation.PACKAGES, "no_such_package"))
    found = line(settings, "packages")
    assert (found.state, found.fix) == ("fail", "run `make venv`")
    assert "no_such_package" in found.found


def test_an_old_python_fails(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    assert line(settings, "python").state == "fail"


def test_versions_other_than_locked_are_named(settings: Settings) -> None:
    assert line(settings, "lock").state == "warn"  # a home without a lock
    (settings.home / "requirements.lock").write_text("pandas==0.1 \\\n    --hash=sha256:0\nno-such==1 \\\n")
    found = line(settings, "lock")
    assert found.state == "warn"
    assert "pandas 2." in found.found
    assert "no-such" not in found.found  # a platform's package that is not for this one


def test_a_folder_that_cannot_be_made_fails(settings: Settings) -> None:
    settings.runs_dir.write_text("a file where a folder should be")
    assert line(settings, "folders").state == "fail"


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("memory", {"min_free_memory_mb": 10**9}),
        ("disk", {"min_free_disk_mb": 10**9}),
        ("durable writes", {"max_fsync_ms": 1e-6}),
    ],
)
def test_a_machine_that_is_not_fit_to_trade_on_fails(settings: Settings, name: str, section: dict[str, Any]) -> None:
    assert line(settings, name).state != "fail"
    found = line(changed(settings, machine=section), name)
    assert found.state == "fail"
    assert found.fix


def test_a_clock_that_a_time_server_contradicts_fails(settings: Settings) -> None:
    with TimeServer(ahead_s=60) as server:
        found = line(changed(settings, machine={"time_server": server.address}), "clock")
    assert found.state == "fail"
    assert "60.0" in found.found
    with TimeServer() as server:
        assert line(changed(settings, machine={"time_server": server.address}), "clock").state == "ok"


@pytest.mark.parametrize(
    ("filesystem", "state"), [("nfs4", "fail"), ("tmpfs", "fail"), ("overlay", "warn"), ("ext4", "ok")]
)
def test_a_journal_on_a_filesystem_that_cannot_hold_it_fails(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, filesystem: str, state: str
) -> None:
    mounts = tmp_path / "root/proc/self/mountinfo"
    mounts.parent.mkdir(parents=True)
    mounts.write_text(f"1 0 0:99 / / rw - {filesystem} something rw\n")
    monkeypatch.setattr(stores, "read_disk", lambda folder: read_disk(folder, tmp_path / "root"))
    assert line(settings, "data folder").state == state


def test_an_engine_that_does_not_load_fails(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "ENGINES", ("json", "no_such_engine"))
    found = line(settings, "engines")
    assert (found.state, found.found, found.fix) == (
        "fail", "no_such_engine: ModuleNotFoundError: No module named 'no_such_engine'", "run `make venv`",
    )  # fmt: skip
    monkeypatch.setattr(installation, "ENGINES", ("json", "csv"))
    assert line(settings, "engines").state == "ok"


def test_an_engine_that_takes_its_process_down_fails(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "crashes.py").write_text("import os\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(installation, "ENGINES", ("crashes",))
    assert line(settings, "engines").found == "crashes: its process was killed by signal 6"


def test_an_extension_of_another_version_fails(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert line(settings, "extensions").state == "ok"
    monkeypatch.setattr(duckdb, "__version__", "1.4.0")
    found = line(settings, "extensions")
    assert (found.state, found.found) == (
        "fail", "the DuckDB extension sqlite_scanner for version 1.4.0 is not installed",
    )  # fmt: skip


def test_an_extension_that_does_not_load_fails(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "sqlite_scanner.duckdb_extension"
    broken.write_bytes(b"no extension" * 500)
    monkeypatch.setattr(_ducklake, "extension_file", lambda name, version: broken)
    assert line(settings, "extensions").state == "fail"


def kernel_of(folder: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel python3 in a folder that Jupyter looks at first, as one that was installed for the user is."""
    spec = folder / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = [program, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(folder))


@pytest.mark.parametrize(
    ("program", "state"), [("/usr/bin/python3.9", "fail"), ("python", "ok"), (sys.executable, "ok")]
)
def test_a_kernel_of_another_environment_fails(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, state: str
) -> None:
    kernel_of(tmp_path / "jupyter", program, monkeypatch)
    found = line(settings, "kernel")
    assert found.state == state
    assert (f"starts {program}, another environment" in found.found) == (state == "fail")


def test_no_kernel_at_all_fails(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    def none(self: object, name: str) -> None:
        raise NoSuchKernel(name)

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", none)
    assert line(settings, "kernel").state == "fail"


def lab_file(folder: Path, settings: Settings, port: int, pid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a running JupyterLab leaves in its runtime folder."""
    folder.mkdir(exist_ok=True)
    server = {"url": f"http://127.0.0.1:{port}/", "token": "t0k", "root_dir": str(settings.home), "pid": pid}
    (folder / f"jpserver-{pid}.json").write_text(json.dumps(server))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder))


def test_a_lab_that_does_not_answer_fails(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    lab_file(runtime, settings, closed_port(), os.getpid(), monkeypatch)
    found = line(settings, "lab")
    assert found.state == "fail"
    assert str(os.getpid()) in found.fix
    with Host(answer(status="403 Forbidden")) as host:
        lab_file(runtime, settings, host.port, os.getpid(), monkeypatch)
        assert line(settings, "lab").state == "fail"


def test_a_lab_that_answers_is_asked_with_its_token_which_is_not_shown(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Host() as host:
        lab_file(tmp_path / "runtime", settings, host.port, os.getpid(), monkeypatch)
        found = line(settings, "lab")
    assert (found.state, found.found) == ("ok", "1 running")
    assert b"GET /api/status" in host.requests[0]
    assert b"Authorization: token t0k" in host.requests[0]


def test_what_a_dead_lab_left_behind_is_passed_over(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lab_file(tmp_path / "runtime", settings, closed_port(), gone.pid, monkeypatch)
    (tmp_path / "runtime" / "jpserver-1.json").write_text("{")
    assert line(settings, "lab").state == "ok"


@pytest.mark.parametrize(
    ("env", "state"),
    [
        ({}, "fail"),
        ({"APCA_API_KEY_ID": "PK-visible"}, "fail"),
        ({"APCA_API_KEY_ID": "PK-visible", "APCA_API_SECRET_KEY": "two words"}, "fail"),
        ({"APCA_API_KEY_ID": "PK-visible", "APCA_API_SECRET_KEY": "s3cret"}, "ok"),
    ],
)
def test_credentials_that_are_missing_fail_and_are_never_shown(
    settings: Settings, env: dict[str, str], state: str
) -> None:
    assert line(settings, "credentials").state == "ok"  # the paper exchange
    found = line(changed(settings, account={"broker": "alpaca"}), "credentials", env=env)
    assert found.state == state
    shown = found.found + found.fix
    assert not any(value in shown for value in env.values())


def test_a_live_address_that_is_not_armed_fails(settings: Settings) -> None:
    live = changed(settings, account={"broker": "alpaca"}, alpaca={"base_url": "https://api.alpaca.markets"})
    keys = {"APCA_API_KEY_ID": "k", "APCA_API_SECRET_KEY": "s"}
    assert line(live, "credentials", env=keys).state == "fail"


def test_a_lease_of_a_process_that_is_gone_is_told(settings: Settings) -> None:
    me = Owner.current()
    assert line(settings, "leases").found == "none held"
    with open_journal(settings) as journal:
        Leases(journal).acquire("account:paper", me, 60)
    assert line(settings, "leases").found == "1 held by running processes"
    with open_journal(settings) as journal:
        Leases(journal).acquire("scheduler", Owner(me.host, me.pid, me.started - 100), 60)
    found = line(settings, "leases")
    assert found.state == "warn"
    assert "scheduler is held by process" in found.found


def test_reports_that_are_behind_the_journal_warn(settings: Settings) -> None:
    claim(settings, Owner.current())
    with open_journal(settings) as journal:
        project(journal, settings.reports_file)
    assert line(settings, "reports").state == "ok"
    with open_journal(settings) as journal:
        RunJournal(journal).claim(
            RunKey("paper", "other", date(2013, 1, 2)), Owner.current(), run_id="s", folder="", parameters={},
            provenance={}, steps=[],
        )  # fmt: skip
    found = line(settings, "reports")
    assert (found.state, found.fix) == ("warn", "run `workbench report`")


def test_a_damaged_block_of_the_reports_fails(settings: Settings) -> None:
    with duckdb.connect(str(settings.reports_file)) as connection:
        connection.execute("CREATE TABLE t AS SELECT range AS i, hash(range)::VARCHAR AS words FROM range(200000)")
        connection.execute("CREATE TABLE watermarks AS SELECT 'run_events' AS source, 0 AS last_id")
    assert line(settings, "reports").state == "ok"
    content = bytearray(settings.reports_file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    settings.reports_file.write_bytes(content)
    assert line(settings, "reports").state == "fail"


def test_a_measurement_that_cannot_be_read_fails(settings: Settings) -> None:
    kept = Measurements.of(settings.data_dir)
    file = kept.add("latency", NOW, {"results": []})
    assert line(settings, "measurements").found == "0 profiles, 1 of latency"
    file.write_text('{"measured_at": "2026-')
    assert line(settings, "measurements").state == "fail"


def test_an_examination_that_does_not_exist_is_named(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="did you mean journal"):
        examine(settings, ManualClock(NOW), only=["jurnal"])


def test_a_calendar_that_ends_soon_warns(settings: Settings) -> None:
    assert line(settings, "calendar").state == "ok"
    assert line(settings, "calendar", now=datetime(2090, 1, 1, tzinfo=UTC)).state == "warn"


def test_an_empty_lake_warns_and_a_broken_one_fails(settings: Settings) -> None:
    assert line(settings, "lake").state == "warn"
    settings.lake_dir.mkdir(parents=True, exist_ok=True)
    (settings.lake_dir / "catalog.sqlite").write_bytes(b"no catalog" * 500)
    assert line(settings, "lake").state == "fail"


def test_a_damaged_journal_fails(settings: Settings) -> None:
    settings.journal_file.write_bytes(b"no journal" * 500)
    found = line(settings, "journal")
    assert found.state == "fail"
    assert "restore a backup" in found.fix


def test_a_halt_is_told_with_who_and_why(settings: Settings) -> None:
    with open_journal(settings) as journal:
        Controls(journal).set_trading_state("*", TradingState.HALTED, "fat finger", "ada")
    found = line(settings, "trading")
    assert found.state == "warn"
    assert "every account, by ada" in found.found
    assert "fat finger" in found.found
    assert found.fix == "`workbench resume`"


def test_a_latched_breaker_is_told_with_the_way_to_reset_it(settings: Settings) -> None:
    with open_journal(settings) as journal:
        Controls(journal).trip("paper", "drawdown", TradingState.HALTED, "down 21 %, the limit is 20 %")
    found = line(settings, "trading")
    assert (found.state, found.found) == (
        "warn",
        "HALTED: account paper, breaker drawdown latched at 2026-06-01T00:00: down 21 %, the limit is 20 %",
    )
    assert "workbench risk reset drawdown" in found.fix


def test_every_stop_has_a_line_of_its_own(settings: Settings) -> None:
    with open_journal(settings) as journal:
        Controls(journal).set_trading_state("*", TradingState.REDUCING, "drill", "ada")
        Controls(journal).trip("paper", "daily_loss", TradingState.HALTED, "lost 4 %")
    said = [check.found for check in lines(settings, "trading")]
    assert [words.partition(",")[0] for words in said] == ["REDUCING: every account", "HALTED: account paper"]


def test_locked_symbols_are_named_until_they_agree_again(settings: Settings) -> None:
    assert line(settings, "locks").state == "ok"
    with open_journal(settings) as journal:
        Controls(journal).set_locks("paper", {"IBM": "10 here, 12 there", "*": "cash differs"}, "me", release=True)
    found = [check.found for check in lines(settings, "locks")]
    assert found == [
        "LOCKED: every symbol in account paper: cash differs",
        "LOCKED: IBM in account paper: 10 here, 12 there",
    ]
    assert "reconcile" in line(settings, "locks").fix
    with open_journal(settings) as journal:
        Controls(journal).set_locks("paper", {}, "me", release=True)
    assert line(settings, "locks").state == "ok"


def test_the_last_reconciliation_of_every_account_is_told(settings: Settings) -> None:
    assert line(settings, "reconciliation").found == "none yet"
    different = [{"kind": "cash", "symbol": "*", "difference": "the books have 10 USD, the venue 9 USD"}]
    with open_journal(settings) as journal:
        for account, moment, found in (("a", "start", different), ("a", "end", []), ("b", "start", different)):
            Controls(journal).record_reconciliation(account, moment, found)
    assert [(check.state, check.found) for check in lines(settings, "reconciliation")] == [
        ("ok", "a at 2026-06-01T00:00 (end): books and venue agree"),
        ("warn", "b at 2026-06-01T00:00 (start): 1 difference: the books have 10 USD, the venue 9 USD"),
    ]


def test_orders_in_doubt_are_counted(settings: Settings) -> None:
    claim(settings, Owner.current())
    raw = sqlite3.connect(settings.journal_file)
    raw.execute("INSERT INTO batches VALUES ('b','r','paper','daily','2013-01-02',0,'s','1','1',1,'','plan','','')")
    raw.execute(
        "INSERT INTO intents (client_order_id, batch_id, account, symbol, side, quantity, type, time_in_force,"
        " reference_price, strategy, sequence, state)"
        " VALUES ('c','b','paper','IBM','buy','1','market','day','1','s',0,'unknown')"
    )
    raw.commit()
    raw.close()
    assert (line(settings, "orders").state, line(settings, "orders").found) == ("warn", "1 orders in doubt")


def test_a_run_whose_process_is_gone_is_told(settings: Settings) -> None:
    me = Owner.current()
    claim(settings, Owner(me.host, me.pid, me.started - 100))
    found = line(settings, "runs")
    assert found.state == "warn"
    assert "its process is gone" in found.found


def test_reports_held_by_another_process_warn_and_damaged_ones_fail(settings: Settings) -> None:
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(settings.reports_file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    found = line(settings, "reports")
    process.communicate("\n")
    assert found.state == "warn"
    assert str(process.pid) in found.found
    settings.reports_file.write_bytes(b"no database" * 2000)
    assert line(settings, "reports").state == "fail"
    assert "rebuild" in line(settings, "reports").fix


def test_a_check_that_breaks_is_a_failure_and_not_a_crash(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "read_disk", lambda folder: 1 / 0)
    found = line(settings, "data folder")
    assert (found.state, found.found) == ("fail", "ZeroDivisionError: division by zero")


def test_the_command_exits_with_1_if_something_fails(settings: Settings) -> None:
    done = workbench(settings.home, "doctor", "--quick", "--json")
    assert done.returncode == 0, done.stdout
    assert {row["state"] for row in json.loads(done.stdout)} <= {"ok", "warn"}
    duckdb.connect(str(settings.reports_file)).close()
    settings.reports_file.write_bytes(b"no database" * 2000)
    assert workbench(settings.home, "doctor", "--quick").returncode == 1
