"""Every check of the doctor, in a state in which it fails, and the state in which it does not."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest
from support.homes import make_home, workbench

from workbench.clock import ManualClock
from workbench.domain import TradingState
from workbench.journal import Controls, Journal, Owner, RunJournal, RunKey
from workbench.ops import doctor
from workbench.ops.doctor import Check, examine
from workbench.settings import Settings, load_settings

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(make_home(tmp_path / "home"), {})


def line(settings: Settings, name: str, now: datetime = NOW) -> Check:
    """The gravest line of that name."""
    lines = [check for check in examine(settings, ManualClock(now)) if check.name == name]
    return max(lines, key=lambda check: ["ok", "warn", "fail"].index(check.state))


def open_journal(settings: Settings) -> Journal:
    return Journal(settings.journal_file, ManualClock(NOW))


def claim(settings: Settings, owner: Owner) -> None:
    with open_journal(settings) as journal:
        RunJournal(journal).claim(
            RunKey("paper", "daily", date(2013, 1, 2)), owner, run_id="r", folder="", parameters={}, provenance={},
            steps=[],
        )  # fmt: skip


def test_a_fresh_installation_has_no_failure(settings: Settings) -> None:
    checks = examine(settings, ManualClock(NOW))
    assert [check for check in checks if check.state == "fail"] == []
    assert {check.name for check in checks} >= {
        "python", "packages", "disk", "calendar", "lake", "journal", "trading", "locks", "reconciliation", "orders",
        "reports",
    }  # fmt: skip
    assert all(check.fix for check in checks if check.state != "ok")


def test_a_missing_package_fails(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", (*doctor.PACKAGES, "no_such_package"))
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


def test_a_full_disk_fails(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(settings.home)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2**20))
    assert line(settings, "disk").state == "fail"


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
    lines = [check.found for check in examine(settings, ManualClock(NOW)) if check.name == "trading"]
    assert [words.partition(",")[0] for words in lines] == ["REDUCING: every account", "HALTED: account paper"]


def test_locked_symbols_are_named_until_they_agree_again(settings: Settings) -> None:
    assert line(settings, "locks").state == "ok"
    with open_journal(settings) as journal:
        Controls(journal).set_locks("paper", {"IBM": "10 here, 12 there", "*": "cash differs"}, "me", release=True)
    found = [check.found for check in examine(settings, ManualClock(NOW)) if check.name == "locks"]
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
    lines = [check for check in examine(settings, ManualClock(NOW)) if check.name == "reconciliation"]
    assert [(check.state, check.found) for check in lines] == [
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
    monkeypatch.setattr(shutil, "disk_usage", lambda _: 1 / 0)
    found = line(settings, "disk")
    assert (found.state, found.found) == ("fail", "ZeroDivisionError: division by zero")


def test_the_command_exits_with_1_if_something_fails(settings: Settings) -> None:
    done = workbench(settings.home, "doctor", "--json")
    assert done.returncode == 0, done.stdout
    assert {row["state"] for row in json.loads(done.stdout)} <= {"ok", "warn"}
    duckdb.connect(str(settings.reports_file)).close()
    settings.reports_file.write_bytes(b"no database" * 2000)
    assert workbench(settings.home, "doctor").returncode == 1
