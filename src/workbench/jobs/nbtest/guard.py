"""No network for notebooks under test: a result that depends on it is none that a test can hold.

Sockets of Python are refused by an audit hook, in every Python process that is started with
:func:`environment`; other programs (``!curl``) find a proxy that nobody listens on. Loopback and Unix sockets
pass: kernels talk through them, and a paper exchange may be there.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from workbench.errors import JobError

LOG = "NETWORK_GUARD_LOG"  # names the file in which refused hosts are written down, one a line
_LOCAL_NAMES = frozenset({"", "localhost", "localhost.localdomain"})
_NOWHERE = "http://127.0.0.1:9"
# Runs in every Python process whose PYTHONPATH has its folder, before anything else does.
_CUSTOMIZE = """\
import sys

try:
    from workbench.jobs.nbtest.guard import install
except ImportError:  # an interpreter of another environment, started by the notebook
    pass
else:
    install()
# the module of the same name that this one hides, if there is any
import importlib.machinery
import importlib.util

others = [entry for entry in sys.path if entry != {folder!r}]
spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
if spec is not None and spec.loader is not None:
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""


def install() -> None:
    """Refuse the network to this process, for good; what it tried is written down, should it go on all the same.

    After this a connection, datagram or name look-up beyond this machine raises :class:`JobError`.
    """
    local = _LOCAL_NAMES | {socket.gethostname()}

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        host = _host(event, arguments)
        if host is None or host in local or _is_loopback(host):
            return
        if os.environ.get(LOG):
            with open(os.environ[LOG], "a", encoding="utf-8") as file:
                file.write(f"{host}\n")
        raise JobError(f"the network is off while a notebook is tested: {event} to {host}")

    sys.addaudithook(refuse)


def environment(folder: Path, env: Mapping[str, str]) -> dict[str, str]:
    """``env`` with the guard in it, whose parts are put into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    text = _CUSTOMIZE.format(folder=str(folder))
    (folder / "sitecustomize.py").write_text(text, encoding="utf-8")
    made = dict(env)
    made["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), env.get("PYTHONPATH", "")]))
    for name in ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy"):
        made[name] = made[name.upper()] = _NOWHERE
    made["no_proxy"] = made["NO_PROXY"] = "localhost,127.0.0.1,::1"
    return made


def attempts(file: Path) -> list[str]:
    """The hosts beyond this machine that were asked for, each once; ``file`` is what :data:`LOG` named."""
    return list(dict.fromkeys(file.read_text(encoding="utf-8").splitlines())) if file.is_file() else []


def _host(event: str, arguments: tuple[object, ...]) -> str | None:
    """Where a call of the socket module leads; None if it is about something else."""
    found: object = None
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        # Unix sockets have a path, netlink a pair of numbers
        address = arguments[1]
        found = address[0] if isinstance(address, tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        found = arguments[0]
    if isinstance(found, bytes):
        found = found.decode(errors="replace")
    return found if isinstance(found, str) else None


def _is_loopback(host: str) -> bool:
    return host.startswith("127.") or host in ("::1", "0.0.0.0", "::")
