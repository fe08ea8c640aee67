"""The crash campaign of ``benchmarks/crash_orders.py``, a short one, in a process of its own: it forks."""

from __future__ import annotations

import re
import subprocess
import sys

from support.homes import REPOSITORY, environment

SEED, KILLS = 5, 25


def test_killed_at_random_instants_no_order_is_doubled_or_lost() -> None:
    command = [sys.executable, "benchmarks/crash_orders.py", "--kills", str(KILLS), "--seed", str(SEED)]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "0 doubled, 0 lost, 0 contradicted, 0 filled wrong, 0 books wrong" in said
    # It would prove nothing if it had killed nothing, or before anything was sent.
    kills, intents, orders = (int(re.search(rf"(\d+) {word}", said)[1]) for word in ("kills", "intents", "orders"))  # type: ignore[index]
    assert kills >= KILLS
    assert intents >= orders > KILLS
