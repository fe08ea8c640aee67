"""What ``workbench status`` says of halts, breakers and locks."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from support.homes import make_home, workbench

from workbench.clock import ManualClock
from workbench.domain import TradingState
from workbench.journal import Controls, Journal
from workbench.settings import load_settings


def test_status_tells_every_stop_and_every_lock_in_words(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    clock = ManualClock(datetime(2013, 1, 2, 22, tzinfo=UTC))
    with Journal(load_settings(home, {}).journal_file, clock) as journal:
        controls = Controls(journal)
        controls.set_trading_state("*", TradingState.REDUCING, "drill", "ada")
        controls.trip("paper", "drawdown", TradingState.HALTED, "down 21 %, the limit is 20 %")
        controls.set_locks("paper", {"IBM": "10 here, 12 there", "*": "cash differs"}, "me", release=True)
    done = workbench(home, "status")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-4:] == [
        "REDUCING: every account, by ada at 2013-01-02T22:00: drill",
        "HALTED: account paper, breaker drawdown latched at 2013-01-02T22:00: down 21 %, the limit is 20 %",
        "LOCKED: every symbol in account paper: cash differs",
        "LOCKED: IBM in account paper: 10 here, 12 there",
    ]
    (row,) = json.loads(workbench(home, "status", "--json").stdout)
    assert (row["account"], row["trading"], len(row["stops"])) == ("paper", "halted", 2)
    assert row["locks"] == {"*": "cash differs", "IBM": "10 here, 12 there"}
