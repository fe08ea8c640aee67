"""Two real processes on one journal, and one that is killed in the middle of a record."""

from __future__ import annotations

import multiprocessing
import signal
from decimal import Decimal
from typing import Any

import pytest
from support.journals import Desk, die_in_the_middle, write_beside

ROUNDS = 40
SPAWN = multiprocessing.get_context("spawn")


def test_two_processes_that_write_at_once_lose_nothing_and_do_nothing_twice(desk: Desk) -> None:
    desk.proposed("shared")
    barrier, results = SPAWN.Barrier(2), SPAWN.Queue()
    arguments = (ROUNDS, barrier, results)
    processes = [SPAWN.Process(target=write_beside, args=(desk.journal.file, n, *arguments)) for n in (1, 2)]
    for process in processes:
        process.start()
    told: dict[int, dict[str, list[Any]]] = dict(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    results.close()
    results.join_thread()
    first, second = told[1], told[2]
    for n in range(ROUNDS):  # of two that try the same, one succeeds
        assert first["proposed"][n] is not second["proposed"][n]
        assert first["tripped"][n] is not second["tripped"][n]
    assert len({*first["tokens"], *second["tokens"]}) == len(first["tokens"]) + len(second["tokens"]) > 0
    assert len({*first["asked"], *second["asked"]}) == len(desk.controls.asked("paper")) == 2 * ROUNDS
    # each execution was new to exactly one of them
    assert sum(first["new"]) + sum(second["new"]) == ROUNDS == desk.count("fills")
    assert desk.ledger.books("paper").holdings == {"IBM": Decimal(ROUNDS)}
    assert desk.ledger.books("paper").cash == Decimal(-10 * ROUNDS)
    assert desk.ledger.cursor("paper", "paper") in {f"1:{ROUNDS - 1}", f"2:{ROUNDS - 1}"}
    assert len(desk.controls.breakers("paper")) == desk.count("trading_states") == ROUNDS
    assert desk.count("batches") == desk.count("intents") == ROUNDS + 1
    assert desk.journal.read("PRAGMA integrity_check")[0][0] == "ok"


@pytest.mark.parametrize("after", [0, 1, 9])
def test_a_process_killed_while_it_records_leaves_nothing_of_it(desk: Desk, after: int) -> None:
    desk.proposed("c1")
    desk.record(cursor="before")
    process = SPAWN.Process(target=die_in_the_middle, args=(desk.journal.file, after))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [desk.count(table) for table in ("fills", "external_fills", "activities")] == [0, 0, 0]
    assert desk.ledger.cursor("paper", "paper") == "before"
    desk.controls.ask("paper", "cancel", "me")  # the dead process holds no lock
