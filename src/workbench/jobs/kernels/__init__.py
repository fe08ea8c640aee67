"""Single-use kernels for notebooks: one warm helper process per runner, one fresh kernel per notebook.

On Linux a :class:`KernelPool` starts :mod:`workbench.jobs.kernels.zygote`, which imports the libraries once and
forks; elsewhere every notebook gets an ordinary process. Either way the interpreter is the
runner's own, whatever kernel a notebook names, and no credential of the runner's environment reaches it.

Only the standard library is imported here, so that the helper starts before the runner's own imports.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
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
    import psutil

    from workbench.jobs.kernels.managers import PoolKernelManager

# What nearly every notebook imports. The application adds its own modules.
PRELOAD = ("numpy", "pandas", "pyarrow", "duckdb", "pydantic")
# Names of variables that look like credentials, and values that are addresses with a password.
_SECRET_NAME = re.compile(
    r"^(APCA_|AWS_|SSH_|KRB5)|SECRET|TOKEN|PASSW|PASSPHRASE|CREDENTIAL|PRIVATE|API_?KEY|_KEY$|_PWD$|_AUTH$|_DSN$",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(r"://[^/@\s]*:[^/@\s]+@")
_MESSAGE_BYTES = 1 << 16
_POLL_S = 0.02


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
        self._numbers = itertools.count(1)
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
        """Logs of this pool's kernels: private to the user, gone with the pool."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="wb-"))
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

    def take(self) -> ForkedKernel | PlainKernel:
        """The next kernel, a spare one if there is any. It belongs to the caller."""
        if not self.forks:
            return PlainKernel.start(self.new_log(), self.env)
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
            message = _receive(self._control) if _wait_for(self._control, 500) else b""
            if message:
                return f"it could not import what it preloads: {json.loads(message)['error']}"
        lines = (self.folder / "zygote.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it ended without a message"

    def let_go(self) -> None:
        """Want no more kernels: the helper ends, and with it every kernel, while the caller does something else."""
        with self._lock:
            self._let_go()

    def close(self) -> None:
        """End the helper and every kernel; nothing of the pool is left when this returns."""
        with self._lock:
            self._close()

    def _let_go(self) -> None:
        for kernel in self._spares:
            kernel.let_go()
        self._spares.clear()
        if self._pages is not None:
            self._pages.close()
            self._pages = None
        if self._control is not None:
            self._control.close()
            self._control = None

    def _close(self) -> None:
        self._let_go()
        if self._zygote is not None:
            self._zygote.wait()
            self._zygote = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _start(self) -> None:
        if not self.forks or self._control is not None:
            return
        self._close()  # of a helper that was let go
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

    def new_log(self) -> Path:
        """Where a kernel writes what is not the notebook's: a file that none had before."""
        return self.folder / f"k{next(self._numbers)}.log"

    def _fork(self) -> ForkedKernel:
        """Ask for a kernel. The answer is not waited for: see :meth:`ForkedKernel.ready`."""
        if self._order is None:
            raise ValueError("nobody has said what the helper prepares")
        self._start()
        assert self._control is not None
        kernel, ends = ForkedKernel.create(self, self.new_log())
        try:
            order = json.dumps({"log": str(kernel.log)}).encode()
            socket.send_fds(self._control, [order], [end.fileno() for end in ends])
        except OSError as error:
            kernel.close()
            raise JobError(f"no kernel: the helper process is gone; {self.why_failed()}") from error
        finally:
            for end in ends:
                end.close()
        return kernel


class ForkedKernel:
    """The runner's hold on one forked kernel. It answers like a process."""

    def __init__(self, pool: KernelPool, log: Path, guard: socket.socket, line: socket.socket) -> None:
        self.log = log  # what the kernel wrote outside the notebook: warnings of ipykernel, the stack of a crash
        self.line = line  # the messages of the notebook: see :mod:`workbench.jobs.kernels.wire`
        self.pid: int | None = None
        self.exit_code: int | None = None
        self._pool = pool
        self._guard = guard

    @classmethod
    def create(cls, pool: KernelPool, log: Path) -> tuple[ForkedKernel, list[socket.socket]]:
        """The kernel's near side and the two far ends to send to the helper."""
        pairs = [socket.socketpair(socket.AF_UNIX, kind) for kind in (socket.SOCK_SEQPACKET, socket.SOCK_STREAM)]
        for near, _ in pairs:
            near.setblocking(False)
        return cls(pool, log, pairs[0][0], pairs[1][0]), [far for _, far in pairs]

    def why_failed(self) -> str:
        """Why there is no kernel, in one line."""
        return _last_line(self.log) or f"the helper process is gone; {self._pool.why_failed()}"

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
            self.line.close()
            while self.poll() is None:
                _wait_for(self._guard)
        self.let_go()
        self.log.unlink(missing_ok=True)

    def let_go(self) -> None:
        """Close both lines, whereupon the helper kills what is left."""
        self.line.close()
        self._guard.close()


class PlainKernel:
    """A kernel in an ordinary process in a session of its own, where forks do not work. It looks for its runner."""

    def __init__(self, log: Path, line: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self.log = log
        self.line = line
        self.exit_code: int | None = None
        self._process = process
        self._family: Sequence[psutil.Process] = ()

    @classmethod
    def start(cls, log: Path, env: Mapping[str, str]) -> PlainKernel:
        """Start one that writes what is not the notebook's into ``log``."""
        near, far = socket.socketpair()
        near.setblocking(False)
        with far, log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "workbench.jobs.kernels.app", str(far.fileno()), str(log)],
                env=dict(env),
                pass_fds=[far.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return cls(log, near, process)

    @property
    def pid(self) -> int:
        return self._process.pid

    def why_failed(self) -> str:
        """Why there is no kernel, in one line."""
        return _last_line(self.log) or "it ended while starting"

    def poll(self) -> int | None:
        """The exit code, minus the signal that killed it; None while the kernel lives."""
        if self.exit_code is None:
            self.exit_code = self._process.poll()
            if self.exit_code is not None:
                self._kill_family()
        return self.exit_code

    async def wait(self) -> int:
        """Wait for the kernel's end; the exit code."""
        while (code := self.poll()) is None:
            await asyncio.sleep(_POLL_S)
        return code

    def signal(self, number: int) -> None:
        """Send a signal to the kernel's process group; nothing happens if it has ended."""
        if self.poll() is None:
            self.remember_family()
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def close(self) -> None:
        """Kill what is left and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.line.close()
        self._process.wait()
        self.poll()
        self.log.unlink(missing_ok=True)

    def remember_family(self) -> None:
        """Note what the kernel has started while it can still be asked."""
        import psutil

        if psutil.pid_exists(self.pid):
            self._family = psutil.Process(self.pid).children(recursive=True)

    def _kill_family(self) -> None:
        """End what the notebook started, as far as it is known: there is no subreaper here."""
        with suppress(ProcessLookupError):  # nothing was left
            os.killpg(self.pid, signal.SIGKILL)
        for process in self._family:
            if process.is_running():
                process.kill()


def _last_line(log: Path) -> str | None:
    """What a kernel that did not start has said at last; None if it did not get that far."""
    if not log.exists():
        return None
    lines = log.read_text(errors="replace").strip().splitlines()
    return f"it failed while starting: {lines[-1]}" if lines else "it ended while starting"


def _order(preload: Sequence[str], calendars: Sequence[str], cache: Path | None) -> dict[str, Any]:
    return {"preload": list(preload), "calendars": list(calendars), "cache": None if cache is None else str(cache)}


def _receive(channel: socket.socket) -> bytes:
    """The next message; empty at the end. A reset is reported once, before what the far side had sent."""
    try:
        return channel.recv(_MESSAGE_BYTES)
    except ConnectionResetError:
        return _receive(channel)


def _wait_for(channel: socket.socket, most_ms: float | None = None) -> bool:
    """Wait until there is something to receive; whether there is."""
    waits = select.poll()
    waits.register(channel, select.POLLIN)
    return bool(waits.poll(most_ms))


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
