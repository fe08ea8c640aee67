"""Single-use kernels for notebooks: one warm helper process per runner, one fresh kernel per notebook.

On Linux a :class:`KernelPool` starts :mod:`workbench.jobs.kernels.zygote`, which imports the libraries once and
forks; elsewhere every notebook gets an ordinary ipykernel process. Either way the interpreter is the
runner's own, whatever kernel a notebook names, and no credential of the runner's environment reaches it.

Only the standard library is imported here, so that the helper starts before the runner's own imports.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from workbench.errors import JobError

if TYPE_CHECKING:
    from workbench.jobs.kernels.managers import PoolKernelManager

# What nearly every notebook imports. The application adds its own modules.
PRELOAD = ("numpy", "pandas", "pyarrow", "duckdb", "pydantic")
# Names of variables that look like credentials, and values that are addresses with a password.
_SECRET_NAME = re.compile(
    r"^(APCA_|AWS_|SSH_|KRB5)|SECRET|TOKEN|PASSW|PASSPHRASE|CREDENTIAL|PRIVATE|API_?KEY|_KEY$|_PWD$|_AUTH$|_DSN$",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(r"://[^/@\s]*:[^/@\s]+@")
_CHANNELS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
_MESSAGE_BYTES = 1 << 16
_SOCKET_PATH_BYTES = 90  # the system's limit is 104 to 108, of which a kernel's name takes a few


def kernel_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The variables a kernel may see: all but those that look like credentials.

    >>> kernel_environment({"HOME": "/home/ada", "APCA_API_KEY_ID": "k", "DB": "postgres://ada:pw@host/db"})
    {'HOME': '/home/ada'}
    """
    return {
        name: value for name, value in env.items() if not _SECRET_NAME.search(name) and not _SECRET_VALUE.search(value)
    }


def can_fork() -> bool:
    """Whether kernels are forked from a warm helper here, or started one by one."""
    return sys.platform == "linux"


class KernelPool:
    """Where a runner gets its kernels from.

    Parameters
    ----------
    preload
        Modules that the helper imports before it forks, with ``:function`` to be called. One that fails is an error.
        None if that is not known yet: a helper that is started then imports what every kernel needs, and waits for
        :meth:`prepare`.
    calendars
        Exchanges whose calendar the helper builds, so that no notebook has to.
    cache
        The folder of their files (see :func:`workbench.calendars.calendar`).
    env
        Environment of every kernel, before credentials are taken out; the runner's own by default.
    forks
        Whether to fork from a warm helper; by default wherever that works.
    pages
        Whether the helper also forks a writer of pages (:meth:`pages`).

    Examples
    --------
    >>> pool = KernelPool(preload=("numpy",), calendars=())
    >>> pool.close()
    """

    def __init__(
        self,
        preload: Sequence[str] | None = PRELOAD,
        calendars: Sequence[str] = ("XNYS",),
        *,
        cache: Path | None = None,
        env: Mapping[str, str] | None = None,
        forks: bool | None = None,
        pages: bool = False,
    ) -> None:
        self.forks = can_fork() if forks is None else forks
        self.env = kernel_environment(os.environ if env is None else env)
        self._order = None if preload is None else _order(preload, calendars, cache)
        self._folder: Path | None = None
        self._zygote: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._spares: list[ForkedKernel] = []
        self._with_pages = pages and self.forks
        self._pages: socket.socket | None = None
        self._places = itertools.count(1)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        """Sockets and logs of this pool's kernels: private to the user, gone with the pool."""
        if self._folder is None:
            self._folder = _private_folder()
        return self._folder

    def start(self) -> None:
        """Start the helper and return at once; it imports while the caller does something else."""
        with self._lock:
            self._start()

    def prepare(self, preload: Sequence[str], calendars: Sequence[str], *, cache: Path | None = None) -> None:
        """Say what the helper imports and builds before it forks, of a pool that was made without knowing it."""
        if self._order is not None:
            raise ValueError("what the helper prepares is settled already")
        with self._lock:
            self._order = _order(preload, calendars, cache)
            if self._control is not None:
                self._send_order()

    def prestart(self, count: int) -> None:
        """See to it that ``count`` kernels stand ready beside those in use; returns at once."""
        if not self.forks:
            return
        with self._lock:
            while len(self._spares) < count:
                self._spares.append(self._fork())

    def take(self) -> ForkedKernel:
        """The next forked kernel, a spare one if there is any. It belongs to the caller."""
        with self._lock:
            while self._spares:
                kernel = self._spares.pop(0)
                if kernel.poll() is None:
                    return kernel
                kernel.close()
            return self._fork()

    def manager(self) -> PoolKernelManager:
        """A Jupyter kernel manager for one kernel of this pool, as nbclient drives it."""
        from workbench.jobs.kernels.managers import PoolKernelManager

        return PoolKernelManager(pool=self)

    def pages(self) -> socket.socket | None:
        """The line to the writer of pages, which belongs to the caller; None if there is none, or no longer.

        It is a fork of the helper that serves :func:`workbench.jobs.pages.main`, and shares what both import.
        """
        with self._lock:
            self._start()
            line, self._pages = self._pages, None
        return line

    def why_failed(self) -> str:
        """The reason why the helper is not there, in one line."""
        if self._control is not None:
            readable, _, _ = select.select([self._control], [], [], 0.5)
            message = _receive(self._control) if readable else b""
            if message:
                return f"it could not import what it preloads: {json.loads(message)['error']}"
        lines = (self.folder / "zygote.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it ended without a message"

    def close(self) -> None:
        """End the helper and every kernel; nothing of the pool is left when this returns."""
        with self._lock:
            for kernel in self._spares:
                kernel.close()
            self._spares.clear()
            if self._pages is not None:
                self._pages.close()
                self._pages = None
            if self._control is not None:
                self._control.close()
                self._control = None
            if self._zygote is not None:
                self._zygote.wait()
                self._zygote = None
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None

    def _start(self) -> None:
        if self._zygote is not None or not self.forks:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ExitStack() as stack:
            ends = [stack.enter_context(theirs)]
            if self._with_pages:
                self._pages, far = socket.socketpair()
                ends.append(stack.enter_context(far))
            log = stack.enter_context(open(self.folder / "zygote.log", "wb"))
            self._zygote = subprocess.Popen(
                # -P: a file in the working directory must not stand in for a library
                [sys.executable, "-P", "-m", "workbench.jobs.kernels.zygote", *[str(end.fileno()) for end in ends]],
                env=self.env,
                pass_fds=[end.fileno() for end in ends],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C on the terminal is the runner's business
            )
        self._control = ours
        ours.send(json.dumps({"folder": str(self.folder)}).encode())
        if self._order is not None:
            self._send_order()

    def _send_order(self) -> None:
        assert self._control is not None
        with suppress(BrokenPipeError, ConnectionResetError):  # the helper has died, which who needs a kernel is told
            self._control.send(json.dumps(self._order).encode())

    def new_place(self) -> str:
        """Where a kernel's sockets go: the beginning of file names that none had before."""
        return str(self.folder / f"k{next(self._places)}")

    def _fork(self) -> ForkedKernel:
        """Ask for a kernel. The answer is not waited for: see :meth:`ForkedKernel.ready`."""
        if self._order is None:
            raise ValueError("nobody has said what the helper prepares")
        self._start()
        assert self._control is not None
        connection: dict[str, Any] = {"transport": "ipc", "ip": self.new_place()}
        connection |= {channel: number for number, channel in enumerate(_CHANNELS, start=1)}
        connection["key"] = secrets.token_hex(32)
        kernel, ends = ForkedKernel.create(self, connection)
        try:
            socket.send_fds(self._control, [json.dumps(connection).encode()], [end.fileno() for end in ends])
        except OSError as error:
            kernel.close()
            raise JobError(f"no kernel: the helper process is gone; {self.why_failed()}") from error
        finally:
            for end in ends:
                end.close()
        return kernel


class ForkedKernel:
    """The runner's hold on one forked kernel and its guard. It answers like a process."""

    def __init__(
        self, pool: KernelPool, connection: dict[str, Any], guard: socket.socket, kernel: socket.socket
    ) -> None:
        self.connection = connection
        self.pid: int | None = None
        self.exit_code: int | None = None
        self._pool = pool
        self._guard = guard
        self._kernel = kernel

    @classmethod
    def create(cls, pool: KernelPool, connection: dict[str, Any]) -> tuple[ForkedKernel, list[socket.socket]]:
        """The kernel's near side and the two far ends to send to the helper."""
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        for near, _ in pairs:
            near.setblocking(False)
        return cls(pool, connection, pairs[0][0], pairs[1][0]), [far for _, far in pairs]

    @property
    def log(self) -> Path:
        """What the kernel wrote outside the notebook: warnings of ipykernel, the stack of a crash."""
        return Path(f"{self.connection['ip']}.log")

    async def ready(self) -> None:
        """Wait until the kernel listens.

        Raises
        ------
        JobError
            If it ended instead; the message says why.
        """
        try:
            message = await asyncio.get_running_loop().sock_recv(self._kernel, _MESSAGE_BYTES)
        except ConnectionResetError:
            message = b""
        if not message:
            raise JobError(f"no kernel: {self._why_failed()}")

    def assign(self, env: Mapping[str, str], cwd: Path) -> None:
        """Give the kernel its work: variables on top of the pool's environment, and the folder it runs in."""
        self._kernel.send(json.dumps({"env": dict(env), "cwd": str(cwd)}).encode())

    def poll(self) -> int | None:
        """The exit code, minus the signal that killed it; None while the kernel or a child of it lives."""
        while self.exit_code is None:
            try:
                message = _receive(self._guard)
            except BlockingIOError:
                return None
            answer = json.loads(message) if message else {"exit": -signal.SIGKILL}
            self.pid = answer.get("pid", self.pid)
            self.exit_code = answer.get("exit")
        return self.exit_code

    async def wait(self) -> int:
        """Wait for the end of the kernel and of everything it started; the exit code."""
        loop = asyncio.get_running_loop()
        while (code := self.poll()) is None:
            changed = loop.create_future()
            loop.add_reader(self._guard, _set, changed)
            try:
                await changed
            finally:
                loop.remove_reader(self._guard)
        return code

    def signal(self, number: int) -> None:
        """Send a signal to the kernel's process group; nothing happens if it has ended."""
        if self.poll() is not None:
            return
        try:
            self._guard.send(json.dumps({"signal": number}).encode())
        except (BrokenPipeError, ConnectionResetError):
            return

    def close(self) -> None:
        """Kill what is left and wait until it is gone.

        A kernel that the helper has not forked yet is not waited for: it finds its sockets closed and ends.
        """
        if self.poll() is None and self.pid is None:
            self.exit_code = -signal.SIGKILL
        if self.poll() is None:
            self.signal(signal.SIGKILL)
            self._kernel.close()
            while self.poll() is None:
                select.select([self._guard], [], [])
        self._kernel.close()
        self._guard.close()
        for file in (self.log, Path(f"{self.connection['ip']}.json")):
            file.unlink(missing_ok=True)

    def _why_failed(self) -> str:
        if self.log.exists():
            lines = self.log.read_text(errors="replace").strip().splitlines()
            return f"it failed while starting: {lines[-1]}" if lines else "it ended while starting"
        return f"the helper process is gone; {self._pool.why_failed()}"


def _order(preload: Sequence[str], calendars: Sequence[str], cache: Path | None) -> dict[str, Any]:
    return {"preload": list(preload), "calendars": list(calendars), "cache": None if cache is None else str(cache)}


def _receive(channel: socket.socket) -> bytes:
    """The next message; empty at the end. A reset is reported once, before what the far side had sent."""
    try:
        return channel.recv(_MESSAGE_BYTES)
    except ConnectionResetError:
        return _receive(channel)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _private_folder() -> Path:
    """A new folder that only this user can enter, on a path short enough for a Unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="wb-"))
    if len(os.fsencode(folder)) > _SOCKET_PATH_BYTES:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="wb-", dir="/tmp"))
    return folder
