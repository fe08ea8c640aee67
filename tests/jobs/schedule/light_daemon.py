"""A scheduler with light workers, as a process that can be killed: HOME MOMENT [--standby]."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from support.offices import Office

from workbench.errors import RunOverlap


def main() -> int:
    office = Office(Path(sys.argv[1]))
    daemon = office.daemon(clock=office.flowing(sys.argv[2]), lease_s=2.0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: daemon.stop())
    try:
        return daemon.run(standby="--standby" in sys.argv)
    except RunOverlap as error:
        print(error)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
