"""``workbench lab`` is JupyterLab in the right folder with the right configuration."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from support.homes import make_home, start


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    assert isinstance(number, int)
    return number


def test_lab_serves_the_notebooks_of_the_installation(tmp_path: Path, port: int) -> None:
    home = make_home(tmp_path / "home")
    options = ["--no-browser", "--allow-root", f"--ServerApp.port={port}", "--IdentityProvider.token=secret"]
    process = start(home, "lab", *options, HOME=str(tmp_path), JUPYTER_CONFIG_DIR=str(tmp_path / "config"))
    url = f"http://127.0.0.1:{port}/api/contents/notebooks?token=secret"
    deadline = time.monotonic() + 90
    listing = None
    while listing is None and time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=300) as answer:
                listing = json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            with suppress(subprocess.TimeoutExpired):  # it is still starting: look again in a moment
                process.wait(timeout=0.2)
    os.killpg(process.pid, signal.SIGTERM)
    said, _ = process.communicate(timeout=300)
    assert listing is not None, said
    assert "03_backtest.ipynb" in {entry["name"] for entry in listing["content"]}
