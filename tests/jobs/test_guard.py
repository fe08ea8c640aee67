"""A guarded process reaches this machine and nothing else, and what it tried is on record."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.jobs.nbtest import guard


def run(code: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    env = guard.environment(folder / "guard", {**os.environ, guard.LOG: str(folder / "asked"), **more})
    return subprocess.run([sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("code", "host"),
    [
        # 192.0.2.1 is reserved for documentation (RFC 5737): nothing would answer anyway
        ("import socket; socket.create_connection(('192.0.2.1', 80), 1)", "192.0.2.1"),
        ("import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))", "192.0.2.1"),
        ("import socket; socket.gethostbyname('example.org')", "example.org"),
        ("import http.client; http.client.HTTPConnection('example.org').request('GET', '/')", "example.org"),
        ("import subprocess, sys; subprocess.run([sys.executable, '-c', \"import socket; \"\n"
         "\"socket.getaddrinfo('example.org', 80)\"], check=True)", "example.org"),
    ],
)  # fmt: skip
def test_whatever_leads_beyond_this_machine_is_refused(tmp_path: Path, code: str, host: str) -> None:
    done = run(code, tmp_path)
    assert done.returncode != 0
    assert "the network is off while a notebook is tested: socket." in done.stderr
    assert guard.attempts(tmp_path / "asked") == [host]


def test_an_attempt_that_the_code_forgives_is_on_record(tmp_path: Path) -> None:
    code = (
        "import socket\nfor _ in range(2):\n try:\n  socket.create_connection(('192.0.2.1', 80))\n"
        " except Exception:\n  pass"
    )
    assert run(code, tmp_path).returncode == 0
    assert guard.attempts(tmp_path / "asked") == ["192.0.2.1"]


def test_this_machine_can_be_reached(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = (
            f"import socket; socket.create_connection(('localhost', {port})).close();"
            "a, b = socket.socketpair(); socket.gethostbyname(socket.gethostname())"
        )
        done = run(code, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert guard.attempts(tmp_path / "asked") == []


def test_a_customization_that_was_there_before_still_runs(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text("print('own')")
    assert run("pass", tmp_path, PYTHONPATH=str(tmp_path / "own")).stdout == "own\n"
