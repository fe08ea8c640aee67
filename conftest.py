"""Two promises of the tests: nothing leaves this machine, and notebooks never touch the user's own data."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from workbench.jobs.nbtest.scratch import make_scratch
from workbench.settings import load_settings

ROOT = Path(__file__).parent
_LOCAL_NAMES = {"", "localhost", "localhost.localdomain", socket.gethostname()}
_HOME = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


class NetworkRefused(RuntimeError):
    """A test tried to reach beyond this machine."""


def pytest_configure() -> None:
    """Refuse connections in this process; children find a proxy that nobody listens on."""
    sys.addaudithook(_refuse_network)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        os.environ[name] = os.environ[name.upper()] = "http://127.0.0.1:9"
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "localhost,127.0.0.1,::1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Start the kernel of a notebook under test in a home of its own, after one run of the daily job."""
    if item.path.suffix != ".ipynb":
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_CONFIG", str(_notebook_home(item.config) / "workbench.toml"))
        return (yield)


def pytest_unconfigure(config: pytest.Config) -> None:
    home = config.stash.get(_HOME, None)
    if home is not None:
        home.cleanup()


def _notebook_home(config: pytest.Config) -> Path:
    """A home like the repository's, made on first use, whose stores vanish after the tests."""
    made = config.stash.get(_HOME, None)
    if made is not None:
        return Path(made.name) / "home"
    made = config.stash[_HOME] = tempfile.TemporaryDirectory(prefix="workbench-tests-")
    home = Path(made.name) / "home"
    make_scratch(load_settings(ROOT, {}), home, with_lake=False)
    # A real run first, so that the report has an account to show and every pipeline notebook has been a job.
    command = [sys.executable, "-m", "workbench.cli.main", "run", "daily", "--session", "2013-03-01"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WORKBENCH_")}
    done = subprocess.run(command, cwd=home, env=clean, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"the run before the notebooks failed with {done.returncode}: {done.stderr}"
    return home


def _refuse_network(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook: let loopback and unix sockets pass, refuse every other address and name look-up."""
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        # unix sockets have a path, netlink a pair of numbers
        host = address[0] if isinstance(address, tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode()
    if isinstance(host, str) and not _is_local(host):
        raise NetworkRefused(f"tests stay on this machine: {event} to {host}")


def _is_local(host: str) -> bool:
    return host in _LOCAL_NAMES or host.startswith("127.") or host in ("::1", "0.0.0.0", "::")
