"""A JupyterLab server of the product, and small notebooks for its jobs."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from support.homes import make_home, start

# Bounds of waits on real processes; a loaded machine is slow, not wrong.
PATIENCE_S = 90.0
GRACE_S = 10.0
TOKEN = "secret"

SUM = ["a: int = 1  # first\nb: int = 2  # second", "import os\nprint('total', a + b, 'in', os.getcwd())"]
FAILS = ["a: int = 1", "print('so far')", "1 / 0"]
WAITS = ["door: str", "import time\nopen(door, 'w').write('here')\ntime.sleep(600)"]
ORDERS = ["a: int = 1", "print('would order')"]


def write_notebook(file: Path, sources: list[str], title: str = "# A notebook") -> Path:
    """A notebook whose first code cell is tagged ``parameters``."""
    cells: list[dict[str, object]] = [{"cell_type": "markdown", "id": "title", "metadata": {}, "source": title}]
    for number, source in enumerate(sources):
        cell = {"cell_type": "code", "id": f"c{number}", "source": source, "outputs": [], "execution_count": None}
        cells.append({**cell, "metadata": {"tags": ["parameters"]} if number == 0 else {}})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def make_lab_home(folder: Path) -> Path:
    """An installation with notebooks for jobs: one that adds, one that fails, one that waits, one that may order."""
    home = make_home(folder)
    for name, sources in {"sum": SUM, "fails": FAILS, "waits": WAITS}.items():
        write_notebook(home / "notebooks" / f"{name}.ipynb", sources)
    write_notebook(home / "notebooks" / "orders.ipynb", ORDERS, title="# Rebalance\n\nplaces orders: yes")
    return home


class Door:
    """Where a notebook says that its cell is running: a pipe with a name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def wait(self) -> None:
        """Until the cell has knocked."""
        ready, _, _ = select.select([self._pipe], [], [], PATIENCE_S)
        assert ready, "the notebook never came to its cell"
        os.close(self._pipe)


def wait_for_end(pid: int) -> None:
    """Until a process is gone that need not be a child of this one."""
    with suppress(ProcessLookupError):
        watched = os.pidfd_open(pid)
        ready, _, _ = select.select([watched], [], [], PATIENCE_S)
        os.close(watched)
        assert ready, f"process {pid} still runs"


class LabServer:
    """``workbench lab`` as a user starts it, with a user's folder of its own."""

    def __init__(self, home: Path) -> None:
        self._home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> LabServer:
        user = self._home.parent / "user"
        port = self.url.rpartition(":")[2]
        options = ["--no-browser", "--allow-root", f"--ServerApp.port={port}", f"--IdentityProvider.token={TOKEN}"]
        user.mkdir(exist_ok=True)
        self.process = start(self._home, "lab", *options, HOME=str(user), JUPYTER_CONFIG_DIR=str(user / "config"))
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.ask("GET", "/scheduler/jobs/count")
                return self
            except (urllib.error.URLError, ConnectionError) as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    said = self.stop(signal.SIGKILL)
                    raise AssertionError(f"the server did not start: {said}") from error
                with suppress(subprocess.TimeoutExpired):  # it is still starting: look again in a moment
                    self.process.wait(timeout=0.1)

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGTERM)

    def stop(self, number: signal.Signals) -> str:
        """End the server, if it has not ended; returns what it said."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            said, _ = self.process.communicate(timeout=GRACE_S)
        except subprocess.TimeoutExpired:  # with a request in flight, Jupyter's server waits for its thread for ever
            self.process.kill()
            said, _ = self.process.communicate(timeout=PATIENCE_S)
        return said

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request to the server's interface."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, method=method, data=data, headers={"Authorization": f"token {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            text = answer.read()
        return json.loads(text) if text else None
